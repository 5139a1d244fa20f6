package tables

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport-gateway/sallyport/core/store"
)

// clocks are the two that housekeeping goes by.
type clocks struct {
	mu   sync.Mutex
	wall time.Time
	mono time.Duration
}

func (c *clocks) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.wall
}

func (c *clocks) elapsed() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mono
}

// pass lets time pass, and the wall clock jump.
func (c *clocks) pass(d, jump time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mono += d
	c.wall = c.wall.Add(d + jump)
}

const oneDay = 24 * time.Hour

// timed is a world whose clocks stand at the day of the events, and whose
// table a keeps rows for 30 days.
func timed(t *testing.T) (*world, *clocks) {
	w := newWorld(t)
	c := &clocks{wall: day}
	w.cfg.now, w.cfg.elapsed = c.now, c.elapsed
	w.defs[0].Retention = 30 * oneDay
	return w, c
}

func (w *world) state() *store.DB {
	w.t.Helper()
	db, err := store.Open(w.t.Context(), "sqlite:"+filepath.Join(w.t.TempDir(), "state.db"), w.logs.logger())
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { db.Close() })
	return db
}

func (w *world) openWith(db *store.DB) *Set {
	w.t.Helper()
	s, err := Open(w.t.Context(), w.dirs, w.cfg, w.defs, db, w.logs.logger())
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { s.Close() })
	return s
}

func keepHouse(t *testing.T, s *Set) {
	t.Helper()
	if err := s.Housekeep(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func dataFiles(t *testing.T, dir string) (n int) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if strings.HasSuffix(path, ".parquet") && !strings.Contains(path, "_delta_log") {
			n++
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func liveFiles(t *testing.T, s *Set, table string) int {
	t.Helper()
	info, err := s.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range info {
		if i.Name == table {
			return i.Files
		}
	}
	t.Fatalf("%s is not in %+v", table, info)
	return 0
}

func TestHousekeepingMakesFewFilesAndDeletesOldRows(t *testing.T) {
	t.Parallel()
	w, c := timed(t)
	s := w.openWith(w.state())
	row := func(table string, id int64, at time.Time) {
		t.Helper()
		if _, err := s.Append(t.Context(), table, bodyAt(id, at)); err != nil {
			t.Fatal(err)
		}
		fresh(t, s, table)
	}
	for id := range int64(6) {
		row(tableA, id, day)
		row(tableB, id, day)
	}
	row(tableA, 100, day.Add(-40*oneDay))
	row(tableB, 100, day.Add(-40*oneDay))
	keepHouse(t, s)
	wantIDs(t, w.dir(tableA), upTo(0, 6))
	wantIDs(t, w.dir(tableB), append(upTo(0, 6), 100)) // kept for ever
	if n := liveFiles(t, s, tableA); n != 1 {
		t.Errorf("table a has %d files, want 1", n)
	}
	if n := liveFiles(t, s, tableB); n != 2 {
		t.Errorf("table b has %d files, want 2: of two days", n)
	}
	for range 30 { // rows of the day itself are kept to the end of the last one
		c.pass(oneDay, 0)
		keepHouse(t, s)
	}
	wantIDs(t, w.dir(tableA), upTo(0, 6))
	c.pass(oneDay, 0)
	keepHouse(t, s)
	wantIDs(t, w.dir(tableA), nil)
	for range 9 {
		c.pass(oneDay, 0)
		keepHouse(t, s)
	}
	if p := problems(s); p != nil {
		t.Errorf("Health = %q", p)
	}
	info, err := s.Info(t.Context())
	if err != nil || info[0].Rows != 0 || info[1].Rows != 7 {
		t.Errorf("Info = %+v, %v", info, err)
	}
}

// Vacuum goes by the times of the files, which no test can set but by hand.
func TestHousekeepingRemovesFiles(t *testing.T) {
	t.Parallel()
	w, c := timed(t)
	c.wall = time.Now()
	s := w.openWith(nil)
	for id := range int64(6) {
		if _, err := s.Append(t.Context(), tableA, bodyAt(id, c.now())); err != nil {
			t.Fatal(err)
		}
		fresh(t, s, tableA)
	}
	keepHouse(t, s)
	if n := dataFiles(t, w.dir(tableA)); n != 7 {
		t.Errorf("%d files, want the 6 old ones and the new one", n)
	}
	for range 8 {
		c.pass(oneDay, 0)
		keepHouse(t, s)
	}
	if n := dataFiles(t, w.dir(tableA)); n != 1 {
		t.Errorf("%d files after a week, want 1", n)
	}
	wantIDs(t, w.dir(tableA), upTo(0, 6))
}

func TestAClockThatJumpsDeletesNothing(t *testing.T) {
	t.Parallel()
	w, c := timed(t)
	s := w.openWith(w.state())
	appendRows(t, s, tableA, 0, 3)
	fresh(t, s, tableA)
	keepHouse(t, s)
	c.pass(time.Hour, 400*oneDay)
	for range 23 {
		keepHouse(t, s)
		c.pass(time.Hour, 0)
	}
	wantIDs(t, w.dir(tableA), upTo(0, 3))
	wantProblem(t, s, w.dirs, "housekeeping: old rows are not deleted for the next 1h0m0s of steady running, because the clock was set by 9600h0m0s")
	c.pass(0, -400*oneDay) // it was a mistake
	keepHouse(t, s)
	wantProblem(t, s, w.dirs, "24h0m0s of steady running, because the clock was set by -9600h0m0s")
	for range 24 {
		c.pass(time.Hour, 0)
		keepHouse(t, s)
	}
	wantIDs(t, w.dir(tableA), upTo(0, 3))
	if p := problems(s); p != nil {
		t.Errorf("Health = %q", p)
	}
	if n := strings.Count(w.logs.String(), "housekeeping deletes nothing"); n != 1 {
		t.Errorf("the log says it %d times, want once", n)
	}
}

// A process that starts under a wrong clock has only the last housekeeping, or
// the tables themselves, to tell.
func TestAClockThatWasWrongAtTheStart(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		withState bool
		jump      time.Duration
		want      string
	}{
		"after long, by the state":    {true, 400 * oneDay, "because the last housekeeping was 400 days ago"},
		"in the past, by the state":   {true, -oneDay, "because the last housekeeping lies 24h0m0s in the future"},
		"after long, by the tables":   {false, 400 * oneDay, "because the last housekeeping was 400 days ago"},
		"after a week, by the state":  {true, 7 * oneDay, ""},
		"after a week, by the tables": {false, 7 * oneDay, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, c := timed(t)
			var db *store.DB
			if tt.withState {
				db = w.state()
			}
			s := w.openWith(db)
			appendRows(t, s, tableA, 0, 3)
			fresh(t, s, tableA)
			keepHouse(t, s)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			c.pass(0, tt.jump)
			s = w.openWith(db)
			for range 24 {
				keepHouse(t, s)
				wantIDs(t, w.dir(tableA), upTo(0, 3))
				if tt.want != "" {
					wantProblem(t, s, w.dirs, tt.want)
				} else if p := problems(s); p != nil {
					t.Fatalf("Health = %q", p)
				}
				c.pass(time.Hour, 0)
			}
			keepHouse(t, s)
			if p := problems(s); p != nil {
				t.Errorf("Health after a day = %q", p)
			}
			want := upTo(0, 3)
			if tt.jump > 31*oneDay { // the clock was right
				want = nil
			}
			wantIDs(t, w.dir(tableA), want)
		})
	}
}

// Two gateways with ledgers of their own over the same tables.
func TestHousekeepingIsOfOneGateway(t *testing.T) {
	t.Parallel()
	w, _ := timed(t)
	db := w.state()
	s := w.openWith(db)
	second := *w
	second.dirs.Log = filepath.Join(t.TempDir(), "log")
	other := second.openWith(db)
	for id := range int64(6) {
		appendRows(t, []*Set{s, other}[id%2], tableA, id, id+1)
		fresh(t, []*Set{s, other}[id%2], tableA)
	}
	wantIDs(t, w.dir(tableA), upTo(0, 6))
	name, err := s.leaseName()
	if err != nil {
		t.Fatal(err)
	}
	if again, err := other.leaseName(); err != nil || again != name {
		t.Errorf("leaseName = %q, %v, want %q", again, err, name)
	}
	if got, err := db.Lease(t.Context(), name, other.instance, time.Hour); err != nil || !got {
		t.Fatal(got, err)
	}
	keepHouse(t, s)
	if n := liveFiles(t, s, tableA); n != 6 {
		t.Errorf("%d files: compacted without the lease", n)
	}
	keepHouse(t, other)
	if n := liveFiles(t, s, tableA); n != 1 {
		t.Errorf("%d files, want 1", n)
	}
	if got, err := db.Lease(t.Context(), name, s.instance, time.Hour); err != nil || !got {
		t.Errorf("the lease was not given back: %v, %v", got, err)
	}
	wantIDs(t, w.dir(tableA), upTo(0, 6))
}

// A Pause breaks a compaction off, which begins again after it.
func TestPauseBreaksHousekeepingOff(t *testing.T) {
	t.Parallel()
	w, _ := timed(t)
	s := w.openWith(nil)
	for id := range int64(40) {
		if _, err := s.Append(t.Context(), tableA, bodyAt(id, day.Add(time.Duration(id%8)*oneDay))); err != nil {
			t.Fatal(err)
		}
		if id%8 == 7 {
			fresh(t, s, tableA)
		}
	}
	done := make(chan error, 1)
	go func() { done <- s.Housekeep(t.Context()) }()
	for range 20 {
		resume, err := s.Pause(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		before := files(t, w.dir(tableA)+"/_delta_log")
		time.Sleep(time.Millisecond)
		if after := files(t, w.dir(tableA)+"/_delta_log"); len(after) != len(before) {
			t.Errorf("%d commits in a pause", len(after)-len(before))
		}
		resume()
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	wantIDs(t, w.dir(tableA), upTo(0, 40))
	if n := liveFiles(t, s, tableA); n != 8 {
		t.Errorf("%d files, want one for each day", n)
	}
	if _, err := os.Stat(filepath.Join(w.dirs.Tables, leaseFile)); err != nil {
		t.Error(err)
	}
}
