package ledger

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// small is a configuration whose segments roll after 4 KiB.
func small(dir string) Config {
	return Config{Dir: dir, SegmentBytes: 4 << 10, MaxBytes: 64 << 10, FullWait: -1, Log: slog.New(slog.DiscardHandler)}
}

func mustOpen(t testing.TB, cfg Config) *Log {
	t.Helper()
	l, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// fill appends rows "first" to "last", 200 bytes each, and syncs them.
func fill(t testing.TB, l *Log, first, last int) {
	t.Helper()
	for i := first; i <= last; i++ {
		seq, err := l.Append(t.Context(), "t", row(i))
		if err != nil {
			t.Fatal(err)
		}
		if i == last {
			if err := l.Sync(t.Context(), seq); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func row(i int) []byte { return fmt.Appendf(nil, "%-200d", i) }

// replay returns what is on disk, each record as "seq kind id payload".
func replay(t testing.TB, l *Log, from uint64) []string {
	t.Helper()
	var got []string
	for rec, err := range l.Replay(from) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, describe(rec))
	}
	return got
}

func describe(r Record) string {
	s := fmt.Sprintf("%d %s %s %s", r.Seq, r.Kind, r.ID, strings.TrimSpace(string(r.Payload)))
	if r.First != 0 {
		s += fmt.Sprintf(" first %d", r.First)
	}
	return s
}

func segmentFiles(t testing.TB, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*"+segmentSuffix))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestReopenKeepsRecordsAndSequence(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "ledger")
	l := mustOpen(t, small(dir))
	ctx := t.Context()
	for _, step := range []func() (uint64, error){
		func() (uint64, error) { return l.Start(ctx, "a", []byte("begun")) },
		func() (uint64, error) { return l.Append(ctx, "main.t", nil) },
		func() (uint64, error) { return l.Settle(ctx, "a", []byte("done")) },
		func() (uint64, error) { return l.AppendSync(ctx, "", []byte("row")) },
	} {
		if _, err := step(); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("directory: %v, %v", info.Mode(), err)
	}

	l = mustOpen(t, small(dir))
	want := []string{"1 started a begun", "2 row main.t ", "3 settled a done", "4 row  row"}
	if got := replay(t, l, 0); !slices.Equal(got, want) {
		t.Errorf("replay = %q, want %q", got, want)
	}
	if got := replay(t, l, 3); !slices.Equal(got, want[2:]) {
		t.Errorf("replay from 3 = %q", got)
	}
	if r := l.Report(); r.Records != 4 || r.Last != 4 || r.Unsettled != 0 || r.Cut != nil || r.Damaged != nil {
		t.Errorf("report = %+v", r)
	}
	if seq, err := l.Append(ctx, "t", nil); seq != 5 || err != nil {
		t.Errorf("next = %d, %v", seq, err)
	}
}

func TestOneCallOneSettlement(t *testing.T) {
	l := mustOpen(t, small(t.TempDir()))
	ctx := t.Context()
	start := func(id string) error { _, err := l.Start(ctx, id, nil); return err }
	settle := func(id string) error { _, err := l.Settle(ctx, id, nil); return err }
	for _, tt := range []struct {
		what string
		err  error
		want error
	}{
		{"settle before start", settle("a"), ErrNotStarted},
		{"start", start("a"), nil},
		{"start again", start("a"), ErrStarted},
		{"settle", settle("a"), nil},
		{"settle again", settle("a"), ErrNotStarted},
		{"the id is free again", start("a"), nil},
		{"another", start("b"), nil},
	} {
		if !errors.Is(tt.err, tt.want) || tt.want == nil && tt.err != nil {
			t.Errorf("%s: %v, want %v", tt.what, tt.err, tt.want)
		}
	}
	if err := start(""); err == nil {
		t.Error("a call without an id was started")
	}
	if err := start(strings.Repeat("x", MaxID+1)); err == nil {
		t.Error("a call with an id that is too long was started")
	}
	if got := l.Stats(); got.Last != 4 || got.Open != 2 {
		t.Errorf("stats = %+v", got)
	}
}

func TestBounds(t *testing.T) {
	cfg := small(t.TempDir())
	cfg.MaxRecord, cfg.MaxOpen = 100, 2
	l := mustOpen(t, cfg)
	if _, err := l.Append(t.Context(), "t", make([]byte, 101)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("over MaxRecord: %v", err)
	}
	for i := range 3 {
		_, err := l.Start(t.Context(), fmt.Sprint(i), nil)
		if full := errors.Is(err, ErrFull); full != (i == 2) {
			t.Errorf("start %d: %v", i, err)
		}
	}
	if err := l.Sync(t.Context(), 99); err == nil {
		t.Error("waited for a record that is not there")
	}
	if err := l.Trim(t.Context(), 99); err == nil {
		t.Error("trimmed what nobody has read")
	}

	for _, cfg := range []Config{
		{},
		{Dir: "x", SegmentBytes: 1},
		{Dir: "x", SegmentBytes: 1 << 20, MaxBytes: 1 << 20},
		{Dir: "x", MaxRecord: 64 << 20},
		{Dir: "x", MaxOpen: -1},
	} {
		if l, err := Open(cfg); err == nil {
			l.Close()
			t.Errorf("Open(%+v) gave no error", cfg)
		}
	}
}

func TestLargeRecord(t *testing.T) {
	dir := t.TempDir()
	big := make([]byte, 16<<20)
	for i := range big {
		big[i] = byte(i * i >> 7)
	}
	l := mustOpen(t, Config{Dir: dir})
	fill(t, l, 1, 1)
	if _, err := l.AppendSync(t.Context(), "t", big); err != nil {
		t.Fatal(err)
	}
	fill(t, l, 3, 3)
	l.Close()
	l = mustOpen(t, Config{Dir: dir})
	n := 0
	for rec, err := range l.Replay(0) {
		n++
		if err != nil || n == 2 && !slices.Equal(rec.Payload, big) {
			t.Errorf("record %d: %d bytes, %v", rec.Seq, len(rec.Payload), err)
		}
	}
	if n != 3 {
		t.Errorf("%d records", n)
	}
}

func TestFullWaitsForTrim(t *testing.T) {
	cfg := small(t.TempDir())
	cfg.MaxBytes = 16 << 10
	cfg.FullWait = 20 * time.Millisecond
	l := mustOpen(t, cfg)
	if _, err := l.Start(t.Context(), "call", nil); err != nil {
		t.Fatal(err)
	}
	n := 1
	var err error
	for ; err == nil && n < 1000; n++ {
		_, err = l.Append(t.Context(), "t", row(n))
	}
	if !errors.Is(err, ErrFull) || !strings.Contains(err.Error(), cfg.Dir) {
		t.Fatalf("after %d rows: %v", n, err)
	}
	if st := l.Stats(); st.Bytes > cfg.MaxBytes || st.Bytes < cfg.MaxBytes*3/4 {
		t.Errorf("full with %d bytes", st.Bytes)
	}
	// A call that was let in can end, with a row that would be refused.
	if _, err := l.Settle(t.Context(), "call", slices.Concat(row(n), row(n))); err != nil {
		t.Errorf("settle: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := l.Append(ctx, "t", row(n)); !errors.Is(err, ErrFull) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("with a context that ends: %v", err)
	}

	l.cfg.FullWait = time.Minute
	done := make(chan error)
	go func() {
		_, err := l.Append(t.Context(), "t", row(n))
		done <- err
	}()
	for l.Health() == nil { // says that appends wait
		time.Sleep(time.Millisecond)
	}
	last := l.Stats().Last
	if err := l.Sync(t.Context(), last); err != nil {
		t.Fatal(err)
	}
	if err := l.Trim(t.Context(), last); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Errorf("append after trim: %v", err)
	}
	if err := l.Health(); err != nil {
		t.Errorf("health: %v", err)
	}
}

func TestClose(t *testing.T) {
	cfg := small(t.TempDir())
	cfg.MaxBytes, cfg.FullWait = 16<<10, time.Minute
	l := mustOpen(t, cfg)
	ended := make(chan error, 2)
	go func() {
		for _, err := range l.Read(t.Context(), 0) {
			if err != nil {
				ended <- err
				return
			}
		}
		ended <- nil
	}()
	go func() {
		for {
			if _, err := l.Append(t.Context(), "t", row(1)); err != nil {
				ended <- err
				return
			}
		}
	}()
	for l.Health() == nil {
		time.Sleep(time.Millisecond)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := <-ended; err != nil && !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	}
	if _, err := l.Append(t.Context(), "t", nil); !errors.Is(err, ErrClosed) {
		t.Errorf("append: %v", err)
	}
	if err := l.Health(); !errors.Is(err, ErrClosed) {
		t.Errorf("health: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Errorf("second close: %v", err)
	}
}

func TestAfterRaisesTheSequence(t *testing.T) {
	dir := t.TempDir()
	cfg := small(dir)
	l := mustOpen(t, cfg)
	fill(t, l, 1, 3)
	l.Close()
	for _, after := range []uint64{500, 2, 0} {
		cfg.After = after
		l = mustOpen(t, cfg)
		if st := l.Stats(); st.Last < 3 || after == 500 && st.Last != 500 {
			t.Fatalf("after %d: %+v", after, st)
		}
		fill(t, l, 0, 0)
		l.Close()
	}
	l = mustOpen(t, cfg)
	want := []string{"1 row t 1", "2 row t 2", "3 row t 3", "501 row t 0", "502 row t 0", "503 row t 0"}
	if got := replay(t, l, 0); !slices.Equal(got, want) {
		t.Errorf("replay = %q", got)
	}
	if got := replay(t, l, 4); !slices.Equal(got, want[3:]) {
		t.Errorf("replay over the gap = %q", got)
	}
}
