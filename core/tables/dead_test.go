package tables

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func letters(t *testing.T, w *world) (all []letter) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(w.dirs.Log, "dead", "letters.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(data) {
		var l letter
		if err := json.Unmarshal(line, &l); err != nil {
			t.Fatal(err)
		}
		all = append(all, l)
	}
	return all
}

func TestDeadLetters(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	wide := *w.defs[1].Kind // its rows do not fit its schema
	wide.Name, wide.Decode = "wide", func(b []byte) (any, error) { return map[string]any{"id": "x"}, nil }
	w.defs[1].Kind = &wide
	s := w.open()
	appendRows(t, s, tableA, 0, 2)
	poison := map[string]struct{ payload, reason string }{
		"json":    {string(Header(nil, tableA)) + "{", "unexpected end of JSON input"},
		"panic":   {string(Header(nil, tableA)) + "panic", "decoding panics: poison"},
		"unfit":   {string(Header(nil, tableB)) + "{}", `column "id"`},
		"unknown": {string(Header(nil, "main.no.table")) + "{}", "no such table"},
		"escape":  {string(Header(nil, "../../etc.x.y")) + "{}", "no such table"},
		"empty":   {"", "the record is empty"},
		"form":    {"\x07abc", "the record is of form 7; this program reads 1"},
		"cut":     {"\x01\x40abc", "ends within its table's name"},
	}
	for id, p := range poison {
		if _, err := s.Log().Append(t.Context(), id, []byte(p.payload)); err != nil {
			t.Fatal(err)
		}
	}
	appendRows(t, s, tableA, 2, 4)
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	check := func() {
		t.Helper()
		wantIDs(t, w.dir(tableA), upTo(0, 4))
		got := letters(t, w)
		for _, l := range got {
			if !strings.Contains(l.Reason, poison[l.ID].reason) || !strings.HasSuffix(poison[l.ID].payload, string(l.Body)) {
				t.Errorf("letter %+v, want the reason %q", l, poison[l.ID].reason)
			}
		}
		if len(got) != len(poison) {
			t.Errorf("%d letters, want %d", len(got), len(poison))
		}
		wantProblem(t, s, w.dirs, "dead letters: 8 rows cannot be put into a table")
	}
	check()
	if st := s.Log().Stats(); st.Trimmed != st.Last {
		t.Errorf("trimmed up to %d of %d", st.Trimmed, st.Last)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = w.open() // reads them again
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	check()
}

func TestDeadLettersAreBounded(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d, err := openDead(dir, (&logs{}).logger())
	if err != nil {
		t.Fatal(err)
	}
	var all []letter
	for i := range maxLetters + 10 {
		all = append(all, letter{Seq: uint64(i + 1)})
	}
	for part := range slices.Chunk(all, 1000) {
		if err := d.write(part); err != nil {
			t.Fatal(err)
		}
	}
	if kept, dropped := d.counts(); kept != maxLetters || dropped != 10 {
		t.Errorf("%d kept and %d given up, want %d and 10", kept, dropped, maxLetters)
	}
}

func TestAHalfWrittenLetterIsCutOff(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d, err := openDead(dir, (&logs{}).logger())
	if err != nil {
		t.Fatal(err)
	}
	if err := d.write([]letter{{Seq: 1}, {Seq: 2}}); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(d.file, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`{"seq":3,"id`); err != nil {
		t.Fatal(err)
	}
	f.Close()
	if d, err = openDead(dir, (&logs{}).logger()); err != nil {
		t.Fatal(err)
	}
	if err := d.write([]letter{{Seq: 2}, {Seq: 3}}); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(d.file)
	if err != nil || bytes.Count(data, []byte("\n")) != 3 || bytes.Count(data, []byte(`{"seq"`)) != 3 {
		t.Errorf("the file has %q, %v", data, err)
	}
}

// A table that no Definition names any more takes what the ledger holds for it.
func TestATableThatIsNotDefinedAnyMore(t *testing.T) {
	t.Parallel()
	for name, known := range map[string]bool{"its kind is known": true, "its kind is unknown": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			other := *w.defs[1].Kind
			other.Name = "other"
			w.defs[1].Kind = &other
			s := w.open()
			appendRows(t, s, tableB, 0, 2)
			fresh(t, s, tableB)
			resume, err := s.Pause(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			appendRows(t, s, tableB, 2, 5)
			// As after kill -9: what waits is in the ledger alone.
			copied := filepath.Join(t.TempDir(), "log")
			if err := s.Log().Sync(t.Context(), s.Log().Stats().Last); err != nil {
				t.Fatal(err)
			}
			if err := os.CopyFS(copied, os.DirFS(w.dirs.Log)); err != nil {
				t.Fatal(err)
			}
			tables := filepath.Join(t.TempDir(), "tables")
			if err := os.CopyFS(tables, os.DirFS(w.dirs.Tables)); err != nil {
				t.Fatal(err)
			}
			resume()
			w.dirs = Dirs{Log: copied, Tables: tables}
			w.defs = w.defs[:1]
			if known {
				w.cfg.Kinds = []*Kind{&other}
			}
			s = w.open()
			if err := s.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			if known {
				wantIDs(t, w.dir(tableB), upTo(0, 5))
				return
			}
			wantIDs(t, w.dir(tableB), upTo(0, 2))
			if got := letters(t, w); len(got) != 5 || !strings.Contains(got[0].Reason, `kind "other", version 1, which this program does not know`) {
				t.Errorf("letters = %+v", got)
			}
		})
	}
}
