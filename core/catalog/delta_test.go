package catalog

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/sallyport-gateway/sallyport/core/access"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/engine"
)

const protocol = `{"protocol":{"minReaderVersion":1,"minWriterVersion":2}}`

func metadata(id string) string {
	return fmt.Sprintf(`{"metaData":{"id":%q,"description":"Visits by day","format":{"provider":"parquet","options":{}},`+
		`"schemaString":"{\"type\":\"struct\",\"fields\":[{\"name\":\"day\",\"type\":\"date\",\"nullable\":true,\"metadata\":{}},`+
		`{\"name\":\"n\",\"type\":\"long\",\"nullable\":true,\"metadata\":{\"comment\":\"how many\"}}]}",`+
		`"partitionColumns":["day"],"configuration":{},"createdTime":1}}`, id)
}

func added(path, day string) string {
	return fmt.Sprintf(`{"add":{"path":%q,"partitionValues":{"day":%q},"size":1,"modificationTime":1,"dataChange":true}}`, path, day)
}

func commit(t *testing.T, root string, version int, actions ...string) {
	t.Helper()
	write(t, filepath.Join(root, "_delta_log", fmt.Sprintf("%020d.json", version)), strings.Join(actions, "\n")+"\n")
}

func TestDeltaTable(t *testing.T) {
	t.Parallel()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(dir, "visits")
	for _, f := range []string{"a.parquet", "b.parquet", "orphan.parquet"} {
		write(t, filepath.Join(root, f), "n\n1\n")
	}
	acc := service(t, access.Config{Users: []access.User{{Name: "root", Admin: true}}})
	eng := &scanner{}
	c, err := New(Config{"main": {"web": {Tables: map[string]Table{
		"visits": {Location: "visits", Format: "delta", Columns: map[string]Column{"Day": {Comment: "UTC"}}},
	}}}}, dir, Own{}, acc, eng, quiet())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	p, err := acc.Lookup("root", nil, "")
	if err != nil {
		t.Fatal(err)
	}
	v := c.As(p)
	seen := map[string]bool{}
	columns := []engine.Column{{Name: "day", Type: "DATE", Comment: "UTC"}, {Name: "n", Type: "BIGINT", Comment: "how many"}}
	step := func(what string, files ...engine.File) {
		t.Helper()
		o, err := v.Object(t.Context(), "table", "main.web.visits")
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if seen[o.Version] {
			t.Errorf("%s: version %s was there before", what, o.Version)
		}
		seen[o.Version] = true
		if !reflect.DeepEqual(o.Columns, columns) || o.Format != "delta" || o.Comment != "Visits by day" {
			t.Errorf("%s: Object = %+v, want columns %v", what, o, columns)
		}
		asked := len(eng.asked())
		if _, err := rows(t.Context(), v, Query{SQL: "SELECT * FROM main.web.visits"}); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		got := eng.asked()[asked:]
		if len(got) != 1 || len(got[0].Relations) != 1 {
			t.Fatalf("%s: the engine was asked %+v, want one relation", what, got)
		}
		rel := got[0].Relations[0]
		if rel.Format != "parquet" || len(rel.Columns) != 2 || len(rel.Files) != len(files) {
			t.Fatalf("%s: relation %+v, want parquet with %v", what, rel, files)
		}
		for i, f := range files {
			if f.Path = filepath.Join(root, f.Path); !reflect.DeepEqual(rel.Files[i], f) {
				t.Errorf("%s: file %+v, want %+v", what, rel.Files[i], f)
			}
		}
	}
	a := engine.File{Path: "a.parquet", Constants: map[string]string{"day": "2026-01-01"}}
	b := engine.File{Path: "b.parquet", Constants: map[string]string{"day": "2026-01-02"}}
	commit(t, root, 0, protocol, metadata("one"))
	step("no file yet")
	commit(t, root, 1, added("a.parquet", "2026-01-01"))
	step("one file", a)
	commit(t, root, 2, added("b.parquet", "2026-01-02"), `{"remove":{"path":"a.parquet","deletionTimestamp":1,"dataChange":true}}`)
	step("another", b)
	if err := os.RemoveAll(filepath.Join(root, "_delta_log")); err != nil {
		t.Fatal(err)
	}
	commit(t, root, 0, protocol, metadata("two"))
	commit(t, root, 1)
	commit(t, root, 2, added("a.parquet", "2026-01-01"))
	step("made anew, at the same version", a)

	// A file that is swapped for a link after its snapshot was remembered.
	secret := write(t, filepath.Join(dir, "secret.parquet"), "n\n1\n")
	if err := os.Remove(filepath.Join(root, "a.parquet")); err != nil {
		t.Fatal(err)
	}
	symlink(t, secret, filepath.Join(root, "a.parquet"))
	asked := len(eng.asked())
	if _, err := rows(t.Context(), v, Query{SQL: "SELECT * FROM main.web.visits"}); !apierror.Is(err, apierror.Unavailable) || len(eng.asked()) != asked {
		t.Errorf("a file that became a link gives %v, want unavailable, and the engine left alone", err)
	}

	refusals := []struct {
		name, action string
		code         apierror.Code
	}{
		{"unknown reader feature", `{"protocol":{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["telepathy"],"writerFeatures":["telepathy"]}}`, apierror.Unsupported},
		{"file outside", added("../../etc/passwd", "x"), apierror.Unavailable},
		{"absolute file", added("/etc/passwd", "x"), apierror.Unavailable},
		{"no log", `not json`, apierror.Unavailable},
	}
	for i, tt := range refusals {
		// Each is committed to a table of its own, at the same place.
		if err := os.RemoveAll(filepath.Join(root, "_delta_log")); err != nil {
			t.Fatal(err)
		}
		commit(t, root, 0, protocol, metadata(fmt.Sprint("refused", i)))
		commit(t, root, 1, tt.action)
		asked := len(eng.asked())
		_, err := rows(t.Context(), v, Query{SQL: "SELECT * FROM main.web.visits"})
		if e := apierror.From(err); e == nil || e.Code != tt.code || strings.Contains(e.Message, dir) {
			t.Errorf("%s: %v, want %s without a path", tt.name, err, tt.code)
		}
		if len(eng.asked()) != asked {
			t.Errorf("%s: the engine was asked", tt.name)
		}
	}
}
