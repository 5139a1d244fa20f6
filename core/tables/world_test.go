package tables

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"

	"github.com/sallyport-gateway/sallyport/core/delta"
)

// event is a row of the kind that the tests use. Its body is its JSON.
type event struct {
	ID   int64     `delta:"id" json:"id"`
	Time time.Time `delta:"event_time" json:"time"`
	Date time.Time `delta:"event_date" json:"-"`
	Text string    `delta:"text" json:"text"`
}

// day is when the events of the tests happen.
var day = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func eventKind() *Kind {
	return &Kind{Name: "event", Version: 1, Partition: []string{"event_date"}, TimeColumn: "event_time",
		Schema: delta.Schema{{Name: "id", Type: delta.Long}, {Name: "event_time", Type: delta.Timestamp}, {Name: "event_date", Type: delta.Date}, {Name: "text", Type: delta.String}},
		Decode: func(body []byte) (any, error) {
			if string(body) == "panic" {
				panic("poison")
			}
			e := &event{}
			err := json.Unmarshal(body, e)
			e.Date = e.Time.UTC()
			return e, err
		}}
}

func body(id int64) []byte { return bodyAt(id, day) }

func bodyAt(id int64, at time.Time) []byte {
	b, err := json.Marshal(event{ID: id, Time: at, Text: fmt.Sprintf("text %d", id)})
	if err != nil {
		panic(err)
	}
	return b
}

// world is the directories of a Set, with two tables.
type world struct {
	t    testing.TB
	dirs Dirs
	cfg  Config
	defs []Definition
	logs *logs
}

const (
	tableA = "system.events.a"
	tableB = "system.events.b"
)

func newWorld(t testing.TB) *world {
	root := t.TempDir()
	k := eventKind()
	return &world{t: t, dirs: Dirs{Log: filepath.Join(root, "log"), Tables: filepath.Join(root, "tables")}, logs: &logs{},
		defs: []Definition{{Name: tableA, Comment: "the a's", Kind: k}, {Name: tableB, Kind: k}}}
}

func (w *world) tryOpen() (*Set, error) {
	return Open(context.Background(), w.dirs, w.cfg, w.defs, nil, w.logs.logger())
}

func (w *world) open() *Set {
	w.t.Helper()
	s, err := w.tryOpen()
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { s.Close() })
	return s
}

func (w *world) dir(table string) string {
	dir, err := location(w.dirs.Tables, table)
	if err != nil {
		w.t.Fatal(err)
	}
	return dir
}

// logs keeps what was logged.
type logs struct {
	mu   sync.Mutex
	text []byte
}

func (l *logs) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, b...)
	return len(b), nil
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.text)
}

func appendRows(t testing.TB, s *Set, table string, from, to int64) {
	t.Helper()
	for id := from; id < to; id++ {
		if _, err := s.Append(t.Context(), table, body(id)); err != nil {
			t.Fatal(err)
		}
	}
}

func fresh(t testing.TB, s *Set, table string) {
	t.Helper()
	if err := s.Fresh(t.Context(), table); err != nil {
		t.Fatal(err)
	}
}

// ids reads the column id of a table from its files.
func ids(t testing.TB, dir string) []int64 {
	t.Helper()
	out, err := readIDs(dir)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func readIDs(dir string) ([]int64, error) {
	snap, err := delta.Open(context.Background(), dir)
	if err != nil {
		return nil, err
	}
	var out []int64
	for _, file := range snap.Files {
		rows, err := readFile(file.Path)
		if err != nil {
			return nil, err
		}
		out = append(out, rows...)
	}
	slices.Sort(out)
	return out, nil
}

func readFile(path string) ([]int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r := parquet.NewGenericReader[struct {
		ID int64 `parquet:"id,optional"`
	}](f)
	defer r.Close()
	var out []int64
	rows := make([]struct {
		ID int64 `parquet:"id,optional"`
	}, 100)
	for {
		n, err := r.Read(rows)
		for _, row := range rows[:n] {
			out = append(out, row.ID)
		}
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

func wantIDs(t testing.TB, dir string, want []int64) {
	t.Helper()
	if got := ids(t, dir); !slices.Equal(got, want) {
		t.Errorf("the table in %s has %d rows %v, want %d rows %v", dir, len(got), got, len(want), want)
	}
}

func upTo(from, to int64) []int64 {
	out := []int64{}
	for ; from < to; from++ {
		out = append(out, from)
	}
	return out
}

// problems is Health as lines.
func problems(s *Set) (lines []string) {
	for _, p := range s.Health() {
		line := p.Part + ": " + p.Message
		if p.Fatal {
			line = "FATAL " + line
		}
		lines = append(lines, line)
	}
	return lines
}

func (l *logs) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }
