package ledger

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// healthy waits until the log says so by itself.
func healthy(t *testing.T, l *Log) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		err := l.Health()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("still unhealthy: %v", err)
		}
	}
}

func TestFailedWriteLeavesNothing(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		what  string
		fault func(d *faults)
	}{
		{"nothing written", func(d *faults) { d.set(&d.write, syscall.ENOSPC) }},
		{"one half written", func(d *faults) { d.short.Store(true); d.set(&d.write, syscall.ENOSPC) }},
		{"all written, and refused all the same", func(d *faults) { d.late.Store(true); d.set(&d.write, syscall.ENOSPC) }},
		{"one half written, and it stays", func(d *faults) {
			d.short.Store(true)
			d.set(&d.write, syscall.ENOSPC)
			d.set(&d.truncate, syscall.EIO)
		}},
		{"and no new segment", func(d *faults) {
			d.set(&d.write, syscall.ENOSPC)
			d.set(&d.truncate, syscall.EIO)
			d.set(&d.create, syscall.ENOSPC)
		}},
	} {
		t.Run(tt.what, func(t *testing.T) {
			t.Parallel()
			cfg := small(t.TempDir())
			l, d := openFaulty(t, cfg)
			fill(t, l, 1, 3)
			start(t, l, "open", "")
			tt.fault(d)
			for range 2 {
				for what, try := range map[string]func() (uint64, error){
					"append": func() (uint64, error) { return l.Append(t.Context(), "t", []byte("never")) },
					"start":  func() (uint64, error) { return l.Start(t.Context(), "refused", nil) },
					"settle": func() (uint64, error) { return l.Settle(t.Context(), "open", nil) },
				} {
					_, err := try()
					var de *DiskError
					if !errors.As(err, &de) || !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), cfg.Dir) || !strings.Contains(err.Error(), "free space") {
						t.Errorf("%s: %v", what, err)
					}
				}
			}
			if !errors.Is(l.Health(), syscall.ENOSPC) {
				t.Errorf("health: %v", l.Health())
			}
			if d.truncate.Load() == nil { // if the process dies now
				died := small(t.TempDir())
				for name, b := range contents(t, cfg.Dir) {
					if err := os.WriteFile(filepath.Join(died.Dir, name), []byte(b), 0o600); err != nil {
						t.Fatal(err)
					}
				}
				if got := replay(t, mustOpen(t, died), 0); len(got) != 4 {
					t.Errorf("what was refused is there: %q", got)
				}
			}
			d.heal()
			healthy(t, l)
			fill(t, l, 5, 6)
			settle(t, l, "open")
			if _, err := l.AppendSync(t.Context(), "t", nil); err != nil {
				t.Fatal(err)
			}
			want := []string{"1 row t 1", "2 row t 2", "3 row t 3", "4 started open ", "5 row t 5", "6 row t 6", "7 settled open ", "8 row t "}
			if got := replay(t, l, 0); !slices.Equal(got, want) {
				t.Errorf("replay = %q", got)
			}
			l.Close()
			l = mustOpen(t, cfg)
			if got := replay(t, l, 0); !slices.Equal(got, want) {
				t.Errorf("replay after a restart = %q", got)
			}
		})
	}
}

// Writes and fsyncs fail now and then while many produce: who got a sequence finds the
// record there, who got an error does not.
func TestWritesThatFailNowAndThen(t *testing.T) {
	t.Parallel()
	cfg := small(t.TempDir())
	cfg.MaxBytes = 64 << 20
	l, d := openFaulty(t, cfg)
	d.short.Store(true)
	var mu sync.Mutex
	acked := map[uint64]string{}
	var wg sync.WaitGroup
	for p := range 16 {
		wg.Go(func() {
			for i := range 200 {
				id := fmt.Sprintf("%d-%d", p, i)
				seq, err := l.Append(t.Context(), id, row(i))
				if err == nil {
					mu.Lock()
					if acked[seq] != "" {
						t.Errorf("%d was given to %s and %s", seq, acked[seq], id)
					}
					acked[seq] = id
					mu.Unlock()
				}
			}
		})
	}
	done := make(chan bool)
	go func() { wg.Wait(); close(done) }()
	for i := 0; ; i++ {
		select {
		case <-done:
		case <-time.After(300 * time.Microsecond):
			if i%3 == 0 {
				d.set(&d.write, syscall.EIO)
			} else {
				d.heal()
			}
			if i%5 == 0 {
				d.set(&d.truncate, syscall.EIO)
			}
			if i%7 == 0 {
				d.syncOnce.Store(true)
			}
			continue
		}
		break
	}
	d.heal()
	healthy(t, l)
	if _, err := l.AppendSync(t.Context(), "last", nil); err != nil {
		t.Fatal(err)
	}
	check := func() {
		t.Helper()
		n := 0
		for rec, err := range l.Replay(0) {
			if err != nil {
				t.Fatal(err)
			}
			if rec.ID == "last" {
				continue
			}
			if n++; acked[rec.Seq] != rec.ID {
				t.Fatalf("record %d is %q, want %q", rec.Seq, rec.ID, acked[rec.Seq])
			}
		}
		if n != len(acked) || n == 0 {
			t.Errorf("%d records, %d were acknowledged", n, len(acked))
		}
	}
	check()
	l.Close()
	l = mustOpen(t, cfg)
	check()
}

func TestFailedSyncIsCopied(t *testing.T) {
	t.Parallel()
	for _, before := range []int{0, 3} { // synced records in the segment
		cfg := small(t.TempDir())
		l, d := openFaulty(t, cfg)
		if before > 0 {
			fill(t, l, 1, before)
		}
		d.syncOnce.Store(true) // that of the copy works
		fill(t, l, before+1, before+4)
		if d.syncOnce.Load() {
			t.Fatal("no fsync failed")
		}
		fill(t, l, before+5, before+6)
		var want []string
		for i := 1; i <= before+6; i++ {
			want = append(want, fmt.Sprintf("%d row t %d", i, i))
		}
		if got := replay(t, l, 0); !slices.Equal(got, want) {
			t.Errorf("replay = %q", got)
		}
		if err := l.Health(); err != nil {
			t.Errorf("health: %v", err)
		}
		l.Close()
		l = mustOpen(t, cfg)
		if got := replay(t, l, 0); !slices.Equal(got, want) || l.Report().Damaged != nil {
			t.Errorf("after a restart: %q, %+v", got, l.Report())
		}
	}
}

func TestFailedSyncThatCannotBeCopied(t *testing.T) {
	t.Parallel()
	for _, forget := range []bool{false, true} {
		cfg := small(t.TempDir())
		l, d := openFaulty(t, cfg)
		fill(t, l, 1, 3)
		d.set(&d.sync, syscall.EIO)
		d.forget.Store(forget)
		_, err := l.AppendSync(t.Context(), "t", row(4))
		var de *DiskError
		if !errors.As(err, &de) || !errors.Is(err, syscall.EIO) || de.Op != "sync" {
			t.Errorf("append: %v", err)
		}
		if !errors.Is(l.Health(), syscall.EIO) {
			t.Errorf("health: %v", l.Health())
		}
		if got := replay(t, l, 0); len(got) != 3 {
			t.Errorf("replay = %q", got)
		}
		if _, err := l.Append(t.Context(), "t", nil); !errors.Is(err, syscall.EIO) {
			t.Errorf("append to a disk that does not sync: %v", err)
		}
		if forget {
			time.Sleep(5 * probeEvery / 2) // it is tried, in vain
		}
		d.heal()
		healthy(t, l)
		fill(t, l, 5, 6)
		if err := l.Sync(t.Context(), 4); !errors.Is(err, syscall.EIO) {
			t.Errorf("waiting for it later: %v", err)
		}
		// Nobody knows of record 4; the others are there.
		got := replay(t, l, 0)
		if i := slices.Index(got, "4 row t 4"); i >= 0 {
			got = slices.Delete(got, i, i+1)
		}
		if want := []string{"1 row t 1", "2 row t 2", "3 row t 3", "5 row t 5", "6 row t 6"}; !slices.Equal(got, want) {
			t.Errorf("replay = %q", got)
		}
		l.Close()
	}
}

func TestEachAppendWaitsForItsSync(t *testing.T) {
	t.Parallel()
	cfg := small(t.TempDir())
	cfg.SyncWithin = -1
	l, d := openFaulty(t, cfg)
	start(t, l, "a", "")
	if st := l.Stats(); st.Synced != 1 {
		t.Errorf("stats = %+v", st)
	}
	d.set(&d.sync, syscall.EIO)
	if _, err := l.Settle(t.Context(), "a", nil); !errors.Is(err, syscall.EIO) {
		t.Errorf("settle: %v", err)
	}
}

func TestSyncComesByItself(t *testing.T) {
	t.Parallel()
	l := mustOpen(t, small(t.TempDir()))
	if _, err := l.Append(t.Context(), "t", nil); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(5 * time.Second); l.Stats().Synced != 1; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("nothing was synced")
		}
	}
}

func TestDirectoryTakenAway(t *testing.T) {
	t.Parallel()
	cfg := small(filepath.Join(t.TempDir(), "ledger"))
	l := mustOpen(t, cfg)
	fill(t, l, 1, 3)
	aside := cfg.Dir + ".aside"
	if err := os.Rename(cfg.Dir, aside); err != nil {
		t.Fatal(err)
	}
	for range 2 { // gone, then another one in its place
		_, err := l.AppendSync(t.Context(), "t", []byte("lost"))
		var de *DiskError
		if !errors.As(err, &de) || !errors.Is(err, errGone) || !strings.Contains(err.Error(), cfg.Dir) || !strings.Contains(err.Error(), "deleted or replaced") {
			t.Errorf("append: %v", err)
		}
		if l.Health() == nil {
			t.Error("healthy without a directory")
		}
		if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(cfg.Dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(aside, cfg.Dir); err != nil {
		t.Fatal(err)
	}
	healthy(t, l)
	if _, err := l.AppendSync(t.Context(), "t", []byte("back")); err != nil {
		t.Fatal(err)
	}
	got := replay(t, l, 0)
	if len(got) < 4 || !strings.HasSuffix(got[len(got)-1], "back") {
		t.Errorf("replay = %q", got)
	}
}

func TestSegmentDeletedUnderneath(t *testing.T) {
	t.Parallel()
	cfg := small(t.TempDir())
	l := mustOpen(t, cfg)
	fill(t, l, 1, 3)
	if err := os.Remove(segmentFiles(t, cfg.Dir)[0]); err != nil {
		t.Fatal(err)
	}
	// What had not been synced is copied into a new segment.
	fill(t, l, 4, 5)
	if got := replay(t, l, 4); !slices.Equal(got, []string{"4 row t 4", "5 row t 5"}) {
		t.Errorf("replay = %q", got)
	}
	for _, err := range l.Replay(1) {
		if !errors.Is(err, os.ErrNotExist) {
			t.Errorf("reading what was deleted: %v", err)
		}
	}
}
