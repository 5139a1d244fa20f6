package usage

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sallyport-gateway/sallyport/core/ledger"
	"github.com/sallyport-gateway/sallyport/core/tables"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
)

// smallLog is a recorder over a ledger of 1 MiB, which waits for nothing.
func smallLog(t *testing.T, dir string) (*Recorder, *ledger.Log) {
	t.Helper()
	l, err := ledger.Open(ledger.Config{Dir: dir, SegmentBytes: 64 << 10, MaxBytes: 1 << 20, FullWait: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	r, err := newRecorder(t.Context(), l, Config{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r, l
}

// fill fills a ledger until it takes nothing but the ends of calls.
func fill(t *testing.T, l *ledger.Log) {
	t.Helper()
	for size := 64 << 10; size > 0; {
		if _, err := l.Append(t.Context(), "filler", make([]byte, size)); errors.Is(err, ledger.ErrFull) {
			size /= 2
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// reader takes what the ledger holds as the tables do.
type reader struct {
	next    uint64
	status  map[string][]string // of the rows, by call
	payload map[string]int      // rows, by call
}

// take reads what is new, and lets the ledger forget it.
func (x *reader) take(t *testing.T, l *ledger.Log) {
	t.Helper()
	last := l.Stats().Last
	if err := l.Sync(t.Context(), last); err != nil {
		t.Fatal(err)
	}
	for rec, err := range l.Replay(x.next) {
		if err != nil {
			t.Fatal(err)
		}
		if rec.Seq > last {
			break
		}
		if rec.Kind != ledger.Settled && rec.Kind != ledger.Row || rec.ID == "filler" {
			continue
		}
		name, body, err := tables.Split(rec.Payload)
		if err != nil {
			t.Fatal(err)
		}
		if name == payloadTable {
			p, err := decodePayload(body)
			if err != nil {
				t.Fatal(err)
			}
			x.payload[p.InvocationID]++
			continue
		}
		r, err := decodeRow(body)
		if err != nil || name != UsageTable {
			t.Fatalf("table %s: %v", name, err)
		}
		x.status[r.InvocationID] = append(x.status[r.InvocationID], r.Status)
	}
	x.next = last + 1
	if err := l.Trim(t.Context(), last); err != nil {
		t.Fatal(err)
	}
}

// largeOutcome makes a row of some 8 KiB.
func largeOutcome() Outcome {
	o := sampleOutcome()
	for len(o.Attempts) < 8 {
		o.Attempts = append(o.Attempts, Attempt{Provider: strings.Repeat("p", maxName), Model: strings.Repeat("m", maxName)})
	}
	return o
}

// TestFullLedger: no call begins, those that have begun end, what does not fit
// waits, and all of it is written when there is room again.
func TestFullLedger(t *testing.T) {
	t.Parallel()
	r, l := smallLog(t, t.TempDir())
	var calls []*Call
	for range 60 {
		s := sampleStart()
		s.PayloadTable = payloadTable
		c, err := r.Begin(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		calls = append(calls, c)
	}
	fill(t, l)
	const want = "The call cannot be recorded, so it was not made: the usage log is full."
	_, err := r.Begin(t.Context(), sampleStart())
	if e := apierror.From(err); e.Code != apierror.Unavailable || !strings.Contains(e.Message, want) {
		t.Errorf("Begin: %v", err)
	}
	err = r.Refuse(t.Context(), sampleStart(), Outcome{})
	if e := apierror.From(err); e.Code != apierror.Unavailable || !strings.Contains(e.Message, want) {
		t.Errorf("Refuse: %v", err)
	}
	for _, c := range calls {
		c.Payload().Request([]byte(`{"input":"hello"}`))
		c.End(largeOutcome())
	}
	if n := l.Stats().Open; n == 0 || n == len(calls) {
		t.Errorf("%d calls are open, want some", n)
	}
	health := r.Health()
	if len(health) != 1 || health[0].Part != "usage" || health[0].Fatal || !strings.HasSuffix(health[0].Message, "of calls that have ended could not be written: the usage log is full") {
		t.Errorf("health: %+v", health)
	}
	x := reader{1, map[string][]string{}, map[string]int{}}
	for r.Health() != nil {
		x.take(t, l)
		time.Sleep(time.Millisecond)
	}
	x.take(t, l)
	for _, c := range calls {
		if len(x.status[c.ID()]) != 1 || x.payload[c.ID()] != 1 {
			t.Errorf("call %s: rows %q, %d payloads", c.ID(), x.status[c.ID()], x.payload[c.ID()])
		}
	}
	if !r.loaded.TryAcquire(loadedAtOnce) {
		t.Error("memory for payloads is still taken")
	}
}

// TestClose: it writes what waits, gives up what cannot be written in time, and
// the next start has a row for each call all the same.
func TestClose(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r, l := smallLog(t, dir)
	r.late.wait = 100 * time.Millisecond
	var calls []*Call
	for range 60 {
		c, err := r.Begin(t.Context(), sampleStart())
		if err != nil {
			t.Fatal(err)
		}
		calls = append(calls, c)
	}
	// As if the disk had failed when this one ended, which is none of ours.
	r.defers(&lateCall{id: "never started", row: tables.Header(nil, UsageTable)}, &ledger.DiskError{Op: "write", Path: "/secret", Err: syscall.ENOSPC})
	if h := r.Health(); len(h) == 1 && strings.Contains(h[0].Message, "secret") {
		t.Errorf("health shows a path: %s", h[0].Message)
	}
	fill(t, l)
	for _, c := range calls[1:] {
		c.End(largeOutcome())
	}
	if err := r.Close(); err == nil || !strings.Contains(err.Error(), "could not be written: the usage log is full; the next start") {
		t.Errorf("Close: %v", err)
	}
	if err := r.Close(); err != nil {
		t.Errorf("the second Close: %v", err)
	}
	waiting := len(r.late.rows)
	calls[0].End(largeOutcome()) // nobody would write it later
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}

	again, l := smallLog(t, dir)
	x := reader{1, map[string][]string{}, map[string]int{}}
	for again.Health() != nil {
		x.take(t, l)
		time.Sleep(time.Millisecond)
	}
	x.take(t, l)
	count := map[string]int{}
	for _, c := range calls {
		count[strings.Join(x.status[c.ID()], "+")]++
	}
	if want := map[string]int{Completed: 59 - waiting, Interrupted: waiting + 1}; !maps.Equal(count, want) || waiting == 0 || waiting == 59 {
		t.Errorf("%v, want %v", count, want)
	}
}

func TestReason(t *testing.T) {
	t.Parallel()
	disk := func(err error) error { return &ledger.DiskError{Op: "write", Path: "/secret/log", Err: err} }
	tests := []struct {
		err  error
		want string
	}{
		{fmt.Errorf("%w: 5 calls are open", ledger.ErrFull), "the usage log is full"},
		{ledger.ErrClosed, "the gateway is stopping"},
		{disk(syscall.ENOSPC), "the disk of the usage log is full"},
		{disk(syscall.EFBIG), "the disk of the usage log is full"},
		{disk(syscall.EROFS), "the disk of the usage log is read-only"},
		{disk(&os.PathError{Op: "open", Path: "/secret", Err: syscall.ENOENT}), "the directory of the usage log is gone"},
		{disk(syscall.EACCES), "the gateway may not write its usage log"},
		{disk(syscall.EIO), "the usage log cannot be written"},
	}
	for _, tt := range tests {
		if got := reason(tt.err); got != tt.want {
			t.Errorf("%v: %q, want %q", tt.err, got, tt.want)
		}
		e := apierror.From(refusal(tt.err))
		if e.Code != apierror.Unavailable || strings.Contains(e.Message, "secret") || !strings.Contains(e.Message, tt.want) || !errors.Is(e, tt.err) {
			t.Errorf("%v: a client is told %+v", tt.err, e)
		}
	}
}
