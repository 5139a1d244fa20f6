package tables

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sallyport-gateway/sallyport/core/delta"
)

// laterKind is eventKind after two changes: a column more, and rows as
// delta.Row in the order of its own schema.
func laterKind() *Kind {
	k := eventKind()
	k.Version = 3
	k.Schema = slices.Concat(k.Schema, delta.Schema{{Name: "who", Type: delta.String}, {Name: "more", Type: delta.Struct{{Name: "n", Type: delta.Long}}}})
	k.Decode = func(body []byte) (any, error) {
		var e event
		err := json.Unmarshal(body, &e)
		return delta.Row{e.ID, e.Time, e.Time, e.Text, "ana", delta.Row{int64(7)}}, err
	}
	return k
}

func TestAnOlderTableGetsItsColumns(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.open()
	appendRows(t, s, tableA, 0, 3)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	k := laterKind()
	w.defs[0].Kind, w.defs[1].Kind = k, k
	for range 2 {
		s = w.open()
		appendRows(t, s, tableA, 3, 5)
		fresh(t, s, tableA)
		if p := problems(s); p != nil {
			t.Errorf("Health = %q", p)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	wantIDs(t, w.dir(tableA), []int64{0, 1, 2, 3, 3, 4, 4})
	d, err := delta.OpenDir(w.dir(tableA))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	table, err := delta.OpenTable(t.Context(), d, delta.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got := table.Properties()[propVersion]; got != "3" {
		t.Errorf("%s = %q, want 3", propVersion, got)
	}
	if got, want := table.Schema().String(), k.Schema.String(); got != want {
		t.Errorf("the schema is\n%s, want\n%s", got, want)
	}
	if st := table.Stats(); st.Version != 4 { // created, rows, columns, rows, rows
		t.Errorf("the table is at version %d, want 4", st.Version)
	}
}

// Rows as delta.Row follow the table's order, whoever gave it columns.
func TestAColumnOfSomebodyElseIsLeftAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.open()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	d, err := delta.OpenDir(w.dir(tableA))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	table, err := delta.OpenTable(t.Context(), d, delta.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := table.AddColumns(t.Context(), delta.Schema{{Name: "theirs", Type: delta.Long}}, nil); err != nil {
		t.Fatal(err)
	}
	w.defs[0].Kind, w.defs[1].Kind = laterKind(), laterKind()
	s = w.open()
	appendRows(t, s, tableA, 0, 3)
	fresh(t, s, tableA)
	wantIDs(t, w.dir(tableA), upTo(0, 3))
	if p := problems(s); p != nil {
		t.Errorf("Health = %q", p)
	}
}

// A change of the schema while the gateway runs fails the commit in progress,
// which is made again.
func TestASchemaChangedMeanwhile(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.open()
	appendRows(t, s, tableA, 0, 3)
	fresh(t, s, tableA)
	d, err := delta.OpenDir(w.dir(tableA))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	table, err := delta.OpenTable(t.Context(), d, delta.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := table.AddColumns(t.Context(), delta.Schema{{Name: "theirs", Type: delta.Long}}, nil); err != nil {
		t.Fatal(err)
	}
	appendRows(t, s, tableA, 3, 6)
	fresh(t, s, tableA)
	wantIDs(t, w.dir(tableA), upTo(0, 6))
	if p := problems(s); p != nil {
		t.Errorf("Health = %q", p)
	}
}

// files lists the files below the directories with their sizes and contents.
func files(t *testing.T, roots ...string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, root := range roots {
		err := filepath.WalkDir(root, func(path string, e os.DirEntry, err error) error {
			if err == nil && e.Type().IsRegular() && e.Name() != "lock" {
				var data []byte
				data, err = os.ReadFile(path)
				all[path] = string(data)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func TestTablesThatAreRefused(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change func(k *Kind)
		want   []string
		newer  bool
	}{
		"a newer version": {func(k *Kind) { k.Version = 2 }, []string{tableA, "its schema has version 3 and this program knows kind event up to 2", "nothing was changed"}, true},
		"another kind":    {func(k *Kind) { k.Name = "thing" }, []string{tableA, `its rows are of kind "event", version 3, and the configuration wants "thing", version 3`}, false},
		"another type": {func(k *Kind) {
			k.Version = 4
			k.Schema = slices.Clone(k.Schema)
			k.Schema[3].Type = delta.Long
		}, []string{tableA, `version 3 does not fit version 4 of kind event: column "text" is of type VARCHAR in the table and not BIGINT`}, false},
		"another partition": {func(k *Kind) { k.Partition = nil }, []string{tableA, "partitioned by [event_date] and not []"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.defs = w.defs[:1]
			w.defs[0].Kind = laterKind()
			s := w.open()
			appendRows(t, s, tableA, 0, 3)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			k := laterKind()
			tt.change(k)
			w.defs = append([]Definition{{Name: "system.a.first", Kind: eventKind()}}, w.defs...)
			w.defs[0].Kind.Name = "first"
			w.defs[1].Kind = k
			before := files(t, w.dirs.Log, w.dirs.Tables)
			_, err := w.tryOpen()
			for _, want := range tt.want {
				if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
					t.Errorf("Open = %v, want one line with %q", err, want)
				}
			}
			var newer *NewerError
			if errors.As(err, &newer) != tt.newer {
				t.Errorf("Open = %T, a NewerError: %v", err, tt.newer)
			}
			after := files(t, w.dirs.Log, w.dirs.Tables)
			if len(after) != len(before) {
				t.Errorf("%d files, %d before", len(after), len(before))
			}
			for path, data := range before {
				if after[path] != data {
					t.Errorf("%s was changed", path)
				}
			}
		})
	}
}

func TestDefinitionsAreChecked(t *testing.T) {
	t.Parallel()
	k := eventKind()
	other := eventKind()
	other.Version = 9
	for want, defs := range map[string][]Definition{
		"write catalog.schema.table":            {{Name: "system.usage", Kind: k}},
		`"a/b" cannot be the name`:              {{Name: "system.a/b.c", Kind: k}},
		"defined twice":                         {{Name: tableA, Kind: k}, {Name: tableA, Kind: k}},
		"without a kind":                        {{Name: tableA}},
		`kind "event" has the versions 1 and 9`: {{Name: tableA, Kind: k}, {Name: tableB, Kind: other}},
		"needs a time column":                   {{Name: tableA, Kind: &Kind{Name: "x", Decode: k.Decode}, Retention: 1}},
	} {
		w := newWorld(t)
		w.defs = defs
		if _, err := w.tryOpen(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Open = %v, want %q", err, want)
		}
	}
}

func TestDefineAddsTables(t *testing.T) {
	w := newWorld(t)
	s := w.open()
	added := Definition{Name: "system.events.later", Comment: "added while open", Kind: eventKind()}
	if err := s.Define(t.Context(), append(w.defs, added)); err != nil {
		t.Fatal(err)
	}
	appendRows(t, s, added.Name, 1, 5)
	if err := s.Fresh(t.Context(), added.Name); err != nil {
		t.Fatal(err)
	}
	if got := s.Locations()[added.Name]; got != w.dir(added.Name) {
		t.Errorf("location %q, want %q", got, w.dir(added.Name))
	}
	infos, err := s.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]int64{}
	for _, i := range infos {
		rows[i.Name] = i.Rows
	}
	if rows[added.Name] == 0 {
		t.Errorf("rows of the tables: %v, want some in %s", rows, added.Name)
	}
	other := eventKind()
	other.Name = "unheard"
	if err := s.Define(t.Context(), []Definition{{Name: "system.events.x", Kind: other}}); err == nil {
		t.Error("a kind that was not there at Open was accepted")
	}
}
