package pluginhost

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
)

func TestSummaryCountsWhatWasAsked(t *testing.T) {
	t.Parallel()
	m := newMetrics()
	weather, table := m.of(slotName{"tool", "weather"}), m.of(slotName{"tool", "table"})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 25 {
				weather.took(opCall, time.Now().Add(-20*time.Millisecond), nil)
			}
		})
	}
	wg.Wait()
	weather.took(opOpen, time.Now().Add(-time.Second), apierror.New(apierror.Invalid, "no such place"))
	weather.took(opCall, time.Now().Add(-time.Millisecond), apierror.New(apierror.Canceled, "gone"))
	weather.took(opCall, time.Now().Add(-2*time.Second), errors.New("whatever"))
	table.took(opCall, time.Now(), nil)

	var i Info
	weather.summary(&i)
	if i.Calls != 103 || i.Errors != 2 {
		t.Errorf("calls %d, errors %d, want 103 and 2", i.Calls, i.Errors)
	}
	if i.P50 < 20*time.Millisecond || i.P50 > 200*time.Millisecond || i.P99 < i.P50 {
		t.Errorf("p50 %v, p99 %v, want about 20 ms and not less", i.P50, i.P99)
	}
	var none Info
	m.of(slotName{"engine", "duckdb"}).summary(&none)
	if none != (Info{}) {
		t.Errorf("of a plugin that was asked nothing: %+v", none)
	}
}

func BenchmarkStats(b *testing.B) {
	s := newMetrics().of(slotName{"tool", "weather"})
	start := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		s.took(opCall, start, nil)
	}
}
