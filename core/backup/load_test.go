package backup_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"

	"github.com/sallyport-gateway/sallyport/core/backup"
	"github.com/sallyport-gateway/sallyport/core/delta"
	"github.com/sallyport-gateway/sallyport/core/store"
	"github.com/sallyport-gateway/sallyport/core/tables"
)

// row is a row of the tables; its body is its JSON.
type row struct {
	ID   string    `delta:"id" json:"id"`
	Time time.Time `delta:"event_time" json:"time"`
	Date time.Time `delta:"event_date" json:"-"`

	Fill string `delta:"-" json:"fill,omitempty"` // so that segments of the ledger fill up
}

func definitions() (defs []tables.Definition) {
	kind := &tables.Kind{Name: "event", Version: 1, Partition: []string{"event_date"}, TimeColumn: "event_time",
		Schema: delta.Schema{{Name: "id", Type: delta.String}, {Name: "event_time", Type: delta.Timestamp}, {Name: "event_date", Type: delta.Date}},
		Decode: func(body []byte) (any, error) {
			r := &row{}
			err := json.Unmarshal(body, r)
			r.Date = r.Time.UTC()
			return r, err
		}}
	for _, n := range names {
		defs = append(defs, tables.Definition{Name: n, Kind: kind})
	}
	return defs
}

var names = []string{"system.events.a", "system.events.b"}

// data is a data directory whose ledger and tables core/tables writes.
type data struct {
	backup.Source
	db  *store.DB
	set *tables.Set
}

func openData(t *testing.T, dir string) data {
	t.Helper()
	d := data{Source: backup.Source{Dir: dir, Log: filepath.Join(dir, "log"), Tables: filepath.Join(dir, "tables"), State: "sqlite:" + filepath.Join(dir, "state.db")}}
	log := slog.New(slog.DiscardHandler)
	var err error
	if d.db, err = store.Open(t.Context(), d.State, log); err != nil {
		t.Fatal(err)
	}
	d.set, err = tables.Open(t.Context(), tables.Dirs{Log: d.Log, Tables: d.Tables}, tables.Config{FlushAfter: 50 * time.Millisecond}, definitions(), d.db, log)
	if err != nil {
		t.Fatal(errors.Join(err, d.db.Close()))
	}
	d.Pause = d.set.Pause
	return d
}

func (d data) close(t *testing.T) {
	t.Helper()
	if err := errors.Join(d.set.Close(), d.db.Close()); err != nil {
		t.Error(err)
	}
}

// acked are the rows and calls that were acknowledged.
type acked struct {
	mu    sync.Mutex
	rows  map[string]string // id → table
	calls map[string]string // started
}

func (a *acked) add(m func(*acked) map[string]string, id, table string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	m(a)[id] = table
}

func (a *acked) now() (rows, calls map[string]string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return maps.Clone(a.rows), maps.Clone(a.calls)
}

func rowsOf(a *acked) map[string]string  { return a.rows }
func callsOf(a *acked) map[string]string { return a.calls }

var fill = strings.Repeat("x", 4<<10)

func body(t *testing.T, id string) []byte {
	t.Helper()
	b, err := json.Marshal(row{ID: id, Fill: fill, Time: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)})
	if err != nil {
		t.Error(err)
	}
	return b
}

// write appends rows, and starts and settles calls, until stop.
func (d data) write(t *testing.T, writer int, a *acked, stop *atomic.Bool) {
	ctx := context.Background()
	random := rand.New(rand.NewPCG(7, uint64(writer)))
	for i := 0; !stop.Load(); i++ {
		table := names[random.IntN(len(names))]
		id := fmt.Sprintf("row-%d-%d", writer, i)
		if _, err := d.set.Append(ctx, table, body(t, id)); err != nil {
			t.Errorf("append: %v", err)
			return
		}
		a.add(rowsOf, id, table)
		call := fmt.Sprintf("call-%d-%d", writer, i)
		payload := append(tables.Header(nil, table), body(t, call)...)
		if _, err := d.set.Log().Start(ctx, call, tables.Header(nil, table)); err != nil {
			t.Errorf("start: %v", err)
			return
		}
		a.add(callsOf, call, table)
		if random.IntN(20) == 0 {
			continue // it stays open
		}
		if _, err := d.set.Log().Settle(ctx, call, payload); err != nil {
			t.Errorf("settle: %v", err)
			return
		}
		a.add(rowsOf, call, table)
		time.Sleep(time.Duration(random.IntN(4000)) * time.Microsecond)
	}
}

// While writers append and tables are committed, compacted and trimmed, every
// backup has what was acknowledged before it began exactly once, and what came
// later at most once; a call is settled or open, and never both.
func TestBackupUnderLoad(t *testing.T) {
	t.Parallel()
	parent := t.TempDir()
	d := openData(t, filepath.Join(parent, "data"))
	a := &acked{rows: map[string]string{}, calls: map[string]string{}}
	var stop atomic.Bool
	var load sync.WaitGroup
	for w := range 3 {
		load.Go(func() { d.write(t, w, a, &stop) })
	}
	load.Go(func() {
		for i := 0; !stop.Load(); i++ {
			var err error
			if i%10 == 9 {
				err = d.set.Housekeep(context.Background())
			} else {
				err = d.set.Flush(context.Background())
			}
			if err != nil {
				t.Errorf("flush or housekeeping: %v", err)
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
	})
	type made struct {
		dir         string
		rows, calls map[string]string
		paused      time.Duration
	}
	var all []made
	for i := range 4 {
		// Each of another amount: the load goes on meanwhile.
		for n := 0; n < 250*(i+1); {
			rows, _ := a.now()
			n = len(rows)
			if t.Failed() {
				break
			}
			time.Sleep(time.Millisecond)
		}
		m := made{dir: filepath.Join(parent, fmt.Sprintf("backup-%d", i))}
		m.rows, m.calls = a.now()
		r, err := backup.Create(t.Context(), d.Source, m.dir)
		if err != nil {
			t.Errorf("create: %v", err)
			break
		}
		m.paused = r.Paused
		all = append(all, m)
	}
	stop.Store(true)
	load.Wait()
	d.close(t)

	everything, started := a.now()
	for _, m := range all {
		r, err := backup.Verify(t.Context(), m.dir, nil)
		if err != nil {
			t.Error(err)
			continue
		}
		to := filepath.Join(parent, "restored-"+filepath.Base(m.dir))
		if _, err := backup.Restore(t.Context(), m.dir, backup.Target{Dir: to, Log: filepath.Join(to, "log"), Tables: filepath.Join(to, "tables"), State: "sqlite:" + filepath.Join(to, "state.db")}); err != nil {
			t.Error(err)
			continue
		}
		c := openData(t, to)
		if err := c.set.Flush(t.Context()); err != nil {
			t.Error(err)
		}
		open := map[string]bool{}
		for rec, err := range c.set.Log().Unsettled() {
			if err != nil {
				t.Fatal(err)
			}
			open[rec.ID] = true
		}
		if len(open) != r.Log.Open {
			t.Errorf("%s: %d calls are open, the report says %d", m.dir, len(open), r.Log.Open)
		}
		count := map[string]int{}
		for _, table := range names {
			for _, id := range ids(t, c.set.Locations()[table]) {
				count[id]++
				if _, known := everything[id]; !known {
					t.Errorf("%s has %s, which nobody wrote", m.dir, id)
				} else if everything[id] != table {
					t.Errorf("%s has %s in %s, want %s", m.dir, id, table, everything[id])
				}
			}
		}
		for id := range m.rows {
			if count[id] != 1 {
				t.Errorf("%s has %s %d times, want once: it was acknowledged before", m.dir, id, count[id])
			}
		}
		for id, n := range count {
			if n > 1 || open[id] {
				t.Errorf("%s has %s %d times; open: %v", m.dir, id, n, open[id])
			}
		}
		for id := range m.calls {
			if (count[id] == 1) == open[id] {
				t.Errorf("%s: call %s, started before, has %d rows; open: %v", m.dir, id, count[id], open[id])
			}
		}
		for id := range open {
			if _, known := started[id]; !known {
				t.Errorf("%s has the call %s, which nobody started", m.dir, id)
			}
		}
		t.Logf("%s: %d rows acknowledged before, %d in it, %d open calls, commits held for %v", filepath.Base(m.dir), len(m.rows), len(count), len(open), m.paused)
		c.close(t)
	}
}

// ids reads the column id of a table from its files.
func ids(t *testing.T, dir string) (out []string) {
	t.Helper()
	snap, err := delta.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	type idOnly struct {
		ID string `parquet:"id,optional"`
	}
	for _, file := range snap.Files {
		f, err := os.Open(file.Path)
		if err != nil {
			t.Fatal(err)
		}
		r := parquet.NewGenericReader[idOnly](f)
		buf := make([]idOnly, 100)
		for {
			n, err := r.Read(buf)
			for _, v := range buf[:n] {
				out = append(out, v.ID)
			}
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		r.Close()
		f.Close()
	}
	return out
}
