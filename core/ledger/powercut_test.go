package ledger

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// platter is a disk that knows how much of each file an fsync has covered.
type platter struct {
	mu     sync.Mutex
	synced map[string]int64
}

func (p *platter) openFile(path string, flag int) (file, error) {
	f, err := openFile(path, flag)
	if err != nil {
		return nil, err
	}
	return &platterFile{f, p, strings.TrimSuffix(path, tempSuffix)}, nil
}

type platterFile struct {
	file
	platter *platter
	path    string
}

func (f *platterFile) Sync() error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := f.file.Sync(); err != nil {
		return err
	}
	f.platter.mu.Lock()
	f.platter.synced[f.path] = info.Size()
	f.platter.mu.Unlock()
	return nil
}

// cut copies to another directory what a power cut could leave: of what was
// not synced any pages, the others zero, and the file of any length; a file
// that was never synced perhaps not at all.
func (p *platter) cut(t *testing.T, from, to string, rng *rand.Rand) {
	t.Helper()
	const page = 512
	files := segmentFiles(t, from)
	for i, path := range files {
		b, err := os.ReadFile(path)
		if os.IsNotExist(err) {
			continue // trimmed just now
		}
		if err != nil {
			t.Fatal(err)
		}
		p.mu.Lock()
		synced := min(p.synced[path], int64(len(b)))
		p.mu.Unlock()
		if synced == 0 && rng.IntN(3) == 0 {
			continue
		}
		if synced < int64(len(b)) && i < len(files)-1 {
			t.Errorf("%s is not synced and not the last", path)
		}
		b = b[:synced+rng.Int64N(int64(len(b))-synced+1)]
		for at := synced; at < int64(len(b)); at = (at/page + 1) * page {
			if rng.IntN(3) == 0 {
				clear(b[at:min((at/page+1)*page, int64(len(b)))])
			}
		}
		if err := os.WriteFile(filepath.Join(to, filepath.Base(path)), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// What was synced survives a power cut, no reader was ahead of it, and the
// log opens without complaint of damage.
func TestPowerCut(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(7, 7))
	total := 0
	for round := range 20 {
		p := &platter{synced: map[string]int64{}}
		cfg := small(t.TempDir())
		cfg.SegmentBytes, cfg.MaxBytes, cfg.FullWait = 8<<10, 1<<20, time.Minute
		cfg.SyncWithin = time.Duration(rng.IntN(3000)) * time.Microsecond
		l, err := open(cfg, p.openFile)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var mu sync.Mutex
		acked := map[uint64]string{}
		var position, trimmed uint64
		var wg sync.WaitGroup
		for w := range 4 {
			wg.Go(func() {
				for i := 0; ctx.Err() == nil; i++ {
					id := fmt.Sprintf("%d-%d", w, i)
					var seq uint64
					var err error
					if i%4 == 0 {
						if seq, err = l.Start(ctx, id, row(i)); err == nil {
							err = l.Sync(ctx, seq)
						}
					} else {
						seq, err = l.AppendSync(ctx, id, row(i))
					}
					if err == nil {
						mu.Lock()
						acked[seq] = id
						mu.Unlock()
					}
				}
			})
		}
		wg.Go(func() {
			for rec, err := range l.Read(ctx, 0) {
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				position = rec.Seq
				mu.Unlock()
				if rec.Seq%50 == 0 {
					mu.Lock()
					trimmed = rec.Seq
					mu.Unlock()
					if err := l.Trim(ctx, rec.Seq); err != nil && ctx.Err() == nil {
						t.Error(err)
					}
				}
			}
		})
		time.Sleep(time.Duration(5+rng.IntN(40)) * time.Millisecond)

		after := t.TempDir()
		l.trimming.Lock() // no files vanish while they are copied
		l.w.Lock()
		mu.Lock()
		p.cut(t, cfg.Dir, after, rng)
		want, read, low := acked, position, trimmed
		acked = map[uint64]string{}
		mu.Unlock()
		l.w.Unlock()
		l.trimming.Unlock()
		cancel()
		wg.Wait()
		l.Close()

		cfg.Dir = after
		l, err = Open(cfg)
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		found := map[uint64]string{}
		carried := map[uint64]bool{}
		for rec, err := range l.Replay(0) {
			if err != nil {
				t.Fatal(err)
			}
			found[rec.Seq] = rec.ID
			carried[rec.First] = true
		}
		total += len(want)
		for seq, id := range want {
			if found[seq] != id && seq > low && !carried[seq] {
				t.Errorf("round %d: record %d is %q, want %q", round, seq, found[seq], id)
			}
		}
		if last := l.Stats().Last; last < read {
			t.Errorf("round %d: a reader was given %d, the log goes on after %d", round, read, last)
		}
		open := map[string]bool{}
		for rec, err := range l.Unsettled() {
			if err != nil {
				t.Fatal(err)
			}
			open[rec.ID] = true
		}
		for seq, id := range want {
			var w, i int
			fmt.Sscanf(id, "%d-%d", &w, &i)
			if i%4 == 0 && !open[id] {
				t.Errorf("round %d: the open call %s (%d) is lost", round, id, seq)
			}
		}
		l.Close()
	}
	if total < 100 {
		t.Errorf("only %d records were synced before the cuts", total)
	}
}

// The copy of an open call's record is synced before the record goes.
func TestPowerCutAfterCarry(t *testing.T) {
	t.Parallel()
	p := &platter{synced: map[string]int64{}}
	cfg := small(t.TempDir())
	cfg.SyncWithin = time.Hour
	l, err := open(cfg, p.openFile)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	start(t, l, "long", "call")
	fill(t, l, 2, 120)
	if err := l.Trim(t.Context(), 120); err != nil {
		t.Fatal(err)
	}
	if st := l.Stats(); st.First == 1 || st.Segments > 2 {
		t.Fatalf("nothing was carried: %+v", st)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		after := small(t.TempDir())
		p.cut(t, cfg.Dir, after.Dir, rng)
		again := mustOpen(t, after)
		if got := unsettled(t, again); len(got) != 1 || got[0] != "long call" {
			t.Fatalf("unsettled = %q", got)
		}
		again.Close()
	}
}
