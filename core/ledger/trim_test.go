package ledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func start(t testing.TB, l *Log, id string, payload string) {
	t.Helper()
	if _, err := l.Start(t.Context(), id, []byte(payload)); err != nil {
		t.Fatal(err)
	}
}

func settle(t testing.TB, l *Log, id string) {
	t.Helper()
	if _, err := l.Settle(t.Context(), id, nil); err != nil {
		t.Fatal(err)
	}
}

func unsettled(t testing.TB, l *Log) []string {
	t.Helper()
	var got []string
	for rec, err := range l.Unsettled() {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, rec.ID+" "+string(rec.Payload))
	}
	return got
}

func TestUnsettled(t *testing.T) {
	cfg := small(t.TempDir())
	l := mustOpen(t, cfg)
	start(t, l, "a", "1")
	start(t, l, "b", "2")
	fill(t, l, 3, 50)
	start(t, l, "c", "3")
	settle(t, l, "a")
	start(t, l, "a", "again")
	settle(t, l, "b")
	if got := unsettled(t, l); got != nil {
		t.Errorf("of this process: %q", got)
	}
	l.Close()

	l = mustOpen(t, cfg)
	start(t, l, "new", "4")
	if got := unsettled(t, l); !slices.Equal(got, []string{"c 3", "a again"}) || l.Report().Unsettled != 2 {
		t.Errorf("after a restart: %q, report %+v", got, l.Report())
	}
	for rec, err := range l.Unsettled() { // settled while it runs
		if err != nil {
			t.Fatal(err)
		}
		settle(t, l, rec.ID)
	}
	if got := unsettled(t, l); got != nil {
		t.Errorf("settled, and still %q", got)
	}
	l.Close()
	l = mustOpen(t, cfg)
	if got := unsettled(t, l); !slices.Equal(got, []string{"new 4"}) {
		t.Errorf("after the second restart: %q", got)
	}
}

func TestTrimKeepsWhatIsNeeded(t *testing.T) {
	l := mustOpen(t, small(t.TempDir()))
	fill(t, l, 1, 100)
	n := l.Stats().Segments
	for _, tt := range []struct {
		to          uint64
		first, from uint64
	}{
		{0, 1, 1},
		{5, 1, 1}, // within the first segment
		{40, 37, 37},
		{20, 37, 37}, // backwards: nothing happens
		{100, 91, 91},
	} {
		if err := l.Trim(t.Context(), tt.to); err != nil {
			t.Fatal(err)
		}
		if got := l.Stats().First; got != tt.first {
			t.Errorf("trimmed to %d: first is %d, want %d", tt.to, got, tt.first)
		}
		if got := replay(t, l, 0); got[0] != fmt.Sprintf("%d row t %d", tt.from, tt.from) || len(got) != int(101-tt.from) {
			t.Errorf("trimmed to %d: replay = %q", tt.to, got)
		}
	}
	if st := l.Stats(); st.Segments != 1 || n < 5 || st.Bytes > 4<<10 || len(segmentFiles(t, l.cfg.Dir)) != 1 {
		t.Errorf("%d segments became %d with %d bytes", n, st.Segments, st.Bytes)
	}
}

func TestLongCallDoesNotHoldTheLog(t *testing.T) {
	cfg := small(t.TempDir())
	l := mustOpen(t, cfg)
	start(t, l, "long", "what it began with")
	start(t, l, "short", "")
	settle(t, l, "short")
	var most int64
	seq := 4
	for range 40 {
		fill(t, l, seq, seq+20)
		seq += 21
		if err := l.Trim(t.Context(), l.Stats().Synced); err != nil {
			t.Fatal(err)
		}
		most = max(most, l.Stats().Bytes)
	}
	if most > 7*cfg.SegmentBytes {
		t.Errorf("an open call held %d bytes", most)
	}
	if got := replay(t, l, 0); slices.Contains(got, "1 started long what it began with") {
		t.Errorf("it was not carried: %q", got)
	}
	l.Close()

	l = mustOpen(t, cfg)
	if got := unsettled(t, l); !slices.Equal(got, []string{"long what it began with"}) {
		t.Fatalf("after a restart: %q", got)
	}
	// Carried once more, it is still one call of the earlier process.
	for range 40 {
		fill(t, l, seq, seq+20)
		seq += 21
		if err := l.Trim(t.Context(), l.Stats().Synced); err != nil {
			t.Fatal(err)
		}
	}
	if got := unsettled(t, l); !slices.Equal(got, []string{"long what it began with"}) {
		t.Fatalf("after carrying it again: %q", got)
	}
	settle(t, l, "long")
	if _, err := l.Settle(t.Context(), "long", nil); !errors.Is(err, ErrNotStarted) {
		t.Errorf("settled twice: %v", err)
	}
	l.Close()
	l = mustOpen(t, cfg)
	if got := unsettled(t, l); got != nil || l.Stats().Open != 0 {
		t.Errorf("after it settled: %q", got)
	}
}

// When a segment is nothing but open calls, copying it frees nothing; the log
// is not written over and over, until it is half full.
func TestManyLongCallsAreNotCopiedForNothing(t *testing.T) {
	cfg := small(t.TempDir())
	l := mustOpen(t, cfg)
	for i := range 100 {
		start(t, l, fmt.Sprint(i), string(row(i)))
	}
	fill(t, l, 101, 120)
	before := l.Stats().Last
	if err := l.Trim(t.Context(), before); err != nil {
		t.Fatal(err)
	}
	if got := l.Stats(); got.Last != before || got.First != 1 {
		t.Errorf("trimmed to %+v", got)
	}
	for i := range 100 {
		settle(t, l, fmt.Sprint(i))
	}
	fill(t, l, 221, 221)
	if err := l.Trim(t.Context(), 221); err != nil {
		t.Fatal(err)
	}
	if got := l.Stats(); got.Segments != 1 || got.Open != 0 {
		t.Errorf("after all settled: %+v", got)
	}
}

func TestReadFollowsTheEnd(t *testing.T) {
	l := mustOpen(t, small(t.TempDir()))
	fill(t, l, 1, 5)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var next uint64 = 3
	for rec, err := range l.Read(ctx, next) {
		if err != nil || rec.Seq != next {
			t.Fatalf("record %d, %v, want %d", rec.Seq, err, next)
		}
		if next++; next > 200 {
			break
		}
		if next > 5 {
			if _, err := l.Append(t.Context(), "t", row(int(next))); err != nil {
				t.Fatal(err)
			}
		}
	}
	if next != 201 {
		t.Errorf("ended before record %d", next)
	}
	// It ends with its context, also when it has nothing to give.
	short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	for rec, err := range l.Read(short, 1000) {
		t.Errorf("record %v, %v", rec, err)
	}
}

// Many producers, readers and trims at once: every reader sees every record
// that was acknowledged, once and in order, with its payload.
func TestAllAtOnce(t *testing.T) {
	cfg := small(t.TempDir())
	cfg.SegmentBytes, cfg.MaxBytes, cfg.FullWait = 64<<10, 1<<20, time.Minute
	l := mustOpen(t, cfg)
	const producers, each, readers = 16, 300, 3
	var mu sync.Mutex
	acked := map[uint64]string{} // by sequence
	ack := func(seq uint64, id string) {
		mu.Lock()
		acked[seq] = id
		mu.Unlock()
	}
	var work sync.WaitGroup
	for p := range producers {
		work.Go(func() {
			rng := rand.New(rand.NewPCG(1, uint64(p)))
			for i := range each {
				id := fmt.Sprintf("%d-%d", p, i)
				payload := bytes.Repeat([]byte(id), 1+rng.IntN(100))
				var seq uint64
				var err error
				switch rng.IntN(3) {
				case 0:
					seq, err = l.AppendSync(t.Context(), id, payload)
				case 1:
					seq, err = l.Append(t.Context(), id, payload)
				default:
					if seq, err = l.Start(t.Context(), id, payload); err == nil {
						ack(seq, id)
						seq, err = l.Settle(t.Context(), id, payload)
					}
				}
				if err != nil {
					t.Error(err)
					return
				}
				ack(seq, id)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	var consumers sync.WaitGroup
	var positions [readers]atomic.Uint64
	seen := make([]map[uint64]string, readers)
	for r := range readers {
		seen[r] = map[uint64]string{}
		consumers.Go(func() {
			for rec, err := range l.Read(ctx, 0) {
				if err != nil {
					t.Error(err)
					return
				}
				if rec.Seq <= positions[r].Load() {
					t.Errorf("record %d after %d", rec.Seq, positions[r].Load())
				}
				if !bytes.HasPrefix(rec.Payload, []byte(rec.ID)) || len(rec.Payload)%len(rec.ID) != 0 {
					t.Errorf("record %d is not what was written", rec.Seq)
				}
				if rec.Kind != Carried {
					seen[r][rec.Seq] = rec.ID
				}
				positions[r].Store(rec.Seq)
			}
		})
	}
	consumers.Go(func() {
		for ctx.Err() == nil {
			low := positions[0].Load()
			for i := range positions {
				low = min(low, positions[i].Load())
			}
			if err := l.Trim(ctx, low); err != nil && ctx.Err() == nil {
				t.Error(err)
			}
			time.Sleep(time.Millisecond)
		}
	})
	work.Wait()
	last := l.Stats().Last
	if err := l.Sync(t.Context(), last); err != nil {
		t.Fatal(err)
	}
	for i := range positions {
		for positions[i].Load() < last && !t.Failed() {
			time.Sleep(time.Millisecond)
		}
	}
	cancel()
	consumers.Wait()
	for r := range seen {
		if len(seen[r]) != len(acked) {
			t.Errorf("reader %d saw %d records of %d", r, len(seen[r]), len(acked))
		}
		for seq, id := range acked {
			if seen[r][seq] != id {
				t.Errorf("reader %d: record %d is %q, want %q", r, seq, seen[r][seq], id)
				break
			}
		}
	}
}
