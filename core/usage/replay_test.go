package usage

import (
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-gateway/sallyport/core/delta"
	"github.com/sallyport-gateway/sallyport/core/tables"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

// TestRows: calls come back as they were recorded, from the table and from the
// ledger, those of the days before left out.
func TestRows(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := openWorld(t, dir, tables.Config{FlushAfter: time.Hour})
	var want []Record
	add := func(change func(*Start, *Outcome), r Record) {
		s, o := sampleStart(), sampleOutcome()
		change(&s, &o)
		if o.Status == Refused {
			if err := w.rec.Refuse(t.Context(), s, o); err != nil {
				t.Fatal(err)
			}
		} else {
			c, err := w.rec.Begin(t.Context(), s)
			if err != nil {
				t.Fatal(err)
			}
			if o.Status != Interrupted {
				c.End(o)
			}
		}
		if r.Model != "" {
			want = append(want, r)
		}
	}
	sample := Record{
		Time: noon, Op: provider.Generate, Model: "databricks-claude-sonnet-4-5", Requester: "ana@example.com", Groups: []string{"analysts", "engineers"},
		Tags: map[string]string{"team": "search", "cost_centre": "42"}, Status: Completed,
		Usage:    openresponses.Usage{Input: 1000, CacheRead: 8000, CacheWrite: 500, CacheWrite1h: 20, Output: 300, Reasoning: 40},
		CostPico: 1000*3e6 + 8000*3e5 + 500*3.75e6 + 20*6e6 + 340*15e6,
	}
	add(func(*Start, *Outcome) {}, sample)
	add(func(s *Start, _ *Outcome) { s.Time = noon.Add(-13 * time.Hour) }, Record{})                // the day before
	add(func(s *Start, _ *Outcome) { s.Time = noon.Add(-2 * time.Hour) }, Record{})                 // the day, but before
	add(func(s *Start, _ *Outcome) { s.Service = &Service{Type: HostedTool, Name: "x"} }, Record{}) // a tool call
	if err := w.tables.Fresh(t.Context(), UsageTable); err != nil {
		t.Fatal(err)
	}
	other := sample
	other.Op, other.ServicePrincipal, other.Requester, other.Groups, other.Tags, other.Time = provider.CountTokens, true, "etl", nil, nil, noon.Add(time.Hour)
	other.Usage, other.CostPico, other.Status = openresponses.Usage{Output: 5}, 0, Failed
	add(func(s *Start, o *Outcome) {
		s.Op, s.ServicePrincipal, s.Requester, s.Groups, s.Source, s.Time = provider.CountTokens, true, "etl", nil, nil, noon.Add(time.Hour)
		o.Attempts[0].Usage, o.Attempts[0].Price, o.Status, o.Code = openresponses.Usage{Output: 5}, nil, Failed, apierror.UpstreamFailed
	}, other)
	kept := sample
	kept.Status, kept.Usage, kept.CostPico = Refused, openresponses.Usage{}, 0
	add(func(_ *Start, o *Outcome) { *o = Outcome{Status: Refused, Code: apierror.BudgetExceeded} }, kept)
	interrupted := sample
	interrupted.Status, interrupted.Usage, interrupted.CostPico = Interrupted, openresponses.Usage{Input: 1200}, 1200*3e6
	add(func(_ *Start, o *Outcome) { o.Status = Interrupted }, interrupted)
	w.rec.Close()
	w.tables.Close()

	w = openWorld(t, dir, tables.Config{FlushAfter: time.Hour}) // settles the call that is open
	var got []Record
	for r, err := range Rows(t.Context(), w.tables, noon.Add(-time.Hour), noon) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, r)
	}
	order := func(a, b Record) int {
		return strings.Compare(fmt.Sprint(a.Time.UnixMicro(), a.Status), fmt.Sprint(b.Time.UnixMicro(), b.Status))
	}
	slices.SortFunc(got, order)
	slices.SortFunc(want, order)
	for i := range want {
		want[i].Time = want[i].Time.Truncate(time.Microsecond)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
	// Of days before, only what they cost is read.
	n := 0
	for r, err := range Rows(t.Context(), w.tables, noon.Add(-time.Hour), noon.AddDate(0, 0, 1)) {
		if n++; err != nil || r.Tags != nil || r.Usage.Total() > 0 || r.Status == Completed && r.CostPico != sample.CostPico {
			t.Errorf("%+v, %v", r, err)
		}
	}
	if n != len(want) {
		t.Errorf("%d rows, want %d", n, len(want))
	}
	for range Rows(t.Context(), w.tables, noon.Add(-time.Hour), noon) {
		break // leaving early is fine
	}
}

// TestCostOfCall: what a call is charged for is what its row says.
func TestCostOfCall(t *testing.T) {
	t.Parallel()
	o := sampleOutcome()
	o.Attempts = append(o.Attempts, o.Attempts[0], Attempt{Usage: openresponses.Usage{Input: 7}})
	r := rowOf(sampleStart(), o)
	if cost, known := Cost(o.Attempts); !known || cost != int64(*r.Cost) {
		t.Errorf("%d, %v; the row says %d", cost, known, *r.Cost)
	}
	if cost, known := Cost(o.Attempts[2:]); known || cost != 0 {
		t.Errorf("without a price: %d, %v", cost, known)
	}
}

// BenchmarkRows is how long a gateway takes at its start to read the calls of a
// month: 100,000 of them, or USAGE_BENCH_ROWS.
func BenchmarkRows(b *testing.B) {
	n := 100_000
	if text := os.Getenv("USAGE_BENCH_ROWS"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			b.Fatal(err)
		}
	}
	w := openWorld(b, b.TempDir(), tables.Config{})
	d, err := delta.OpenDir(w.tables.Locations()[UsageTable])
	if err != nil {
		b.Fatal(err)
	}
	defer d.Close()
	table, err := delta.OpenTable(b.Context(), d, delta.Options{})
	if err != nil {
		b.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 1))
	const days = 20
	for day := range days {
		wr := table.NewWriter()
		for i := range n / days {
			s, o := sampleStart(), sampleOutcome()
			s.Time = noon.AddDate(0, 0, -day).Add(-time.Duration(i) * 12 * time.Hour / time.Duration(n/days))
			s.Requester = fmt.Sprintf("user%d@example.com", r.IntN(200))
			o.Attempts[0].Usage.Input = r.Int64N(10_000)
			row := rowOf(s, o)
			row.InvocationID = fmt.Sprint(day, i)
			if err := wr.Write(b.Context(), row); err != nil {
				b.Fatal(err)
			}
		}
		if _, err := wr.Commit(b.Context(), delta.Txn{}); err != nil {
			b.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name  string
		since time.Time
		rows  int
	}{{"month", noon.AddDate(0, 0, -days), n / days * days}, {"hour", noon.Add(-time.Hour), n/days/12 + 1}} {
		b.Run(tt.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				got := 0
				for _, err := range Rows(b.Context(), w.tables, tt.since, noon.Add(-time.Hour)) {
					if err != nil {
						b.Fatal(err)
					}
					got++
				}
				if got != tt.rows {
					b.Fatalf("%d rows, want %d", got, tt.rows)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/float64(tt.rows), "µs/row")
		})
	}
}
