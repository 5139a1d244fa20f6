package delta

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"
)

const (
	proto1  = `{"protocol":{"minReaderVersion":1,"minWriterVersion":2}}`
	schema1 = `{\"type\":\"struct\",\"fields\":[{\"name\":\"id\",\"type\":\"long\",\"nullable\":true,\"metadata\":{\"comment\":\"the key\"}},{\"name\":\"day\",\"type\":\"date\",\"nullable\":true,\"metadata\":{}}]}`
	meta1   = `{"metaData":{"id":"t-1","description":"a table","format":{"provider":"parquet","options":{}},"schemaString":"` + schema1 + `","partitionColumns":["day"],"configuration":{"otel.schemaVersion":"v1"},"createdTime":1}}`
)

func addLine(path, day string) string {
	return fmt.Sprintf(`{"add":{"path":%q,"partitionValues":{"day":%s},"size":3,"modificationTime":1,"dataChange":true,"stats":"{}"}}`, path, day)
}

func removeLine(path string) string {
	return fmt.Sprintf(`{"remove":{"path":%q,"deletionTimestamp":1,"dataChange":true}}`, path)
}

// table makes a table of the given commits, with every data file it may need.
func table(t *testing.T, commits ...string) string {
	t.Helper()
	root := t.TempDir()
	for _, f := range []string{"a.parquet", "b.parquet", "with space.parquet", "day=2026-01-01/c.parquet"} {
		write(t, filepath.Join(root, f), "PAR")
	}
	for v, c := range commits {
		write(t, filepath.Join(root, logDir, commitFile(int64(v))), c)
	}
	return root
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func lines(l ...string) string { return strings.Join(l, "\n") + "\n" }

// names lists the live files of a snapshot below root.
func names(t *testing.T, root string, s *Snapshot) []string {
	t.Helper()
	real, err := filepath.EvalSymlinks(root)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, f := range s.Files {
		rel, err := filepath.Rel(real, f.Path)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, rel)
	}
	return out
}

func TestOpen(t *testing.T) {
	t.Parallel()
	root := table(t,
		lines(`{"commitInfo":{"operation":"CREATE TABLE"}}`, proto1, meta1),
		lines(addLine("a.parquet", `"2026-01-01"`), addLine("with%20space.parquet", `null`)),
		lines(removeLine("a.parquet"), addLine("day=2026-01-01/c.parquet", `""`), `{"txn":{"appId":"x","version":4}}`, `{"somethingNew":{}}`, ``),
	)
	s, err := Open(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	if s.Version != 2 || s.ID != "t-1" || s.Description != "a table" {
		t.Errorf("got version %d, id %q, description %q", s.Version, s.ID, s.Description)
	}
	wantCols := []Column{{"id", "BIGINT", "the key"}, {"day", "DATE", ""}}
	if !reflect.DeepEqual(s.Columns, wantCols) || !reflect.DeepEqual(s.Partition, []string{"day"}) {
		t.Errorf("got columns %v, partition %v", s.Columns, s.Partition)
	}
	if got, want := names(t, root, s), []string{"day=2026-01-01/c.parquet", "with space.parquet"}; !reflect.DeepEqual(got, want) {
		t.Errorf("got files %v, want %v", got, want)
	}
	for _, f := range s.Files {
		if len(f.Partition) != 0 {
			t.Errorf("%s: got partition %v, want none: null and empty are absent", f.Path, f.Partition)
		}
	}
	if v, err := Latest(root); v != 2 || err != nil {
		t.Errorf("Latest = %d, %v; want 2", v, err)
	}
}

func TestOpenFromCheckpoint(t *testing.T) {
	t.Parallel()
	day := "2026-01-01"
	rows := []action{
		{Protocol: &protocol{MinReaderVersion: 3, MinWriterVersion: 7, ReaderFeatures: []string{"timestampNtz"}}},
		{MetaData: &metadata{ID: "t-2", SchemaString: strings.ReplaceAll(schema1, `\"`, `"`), PartitionColumns: []string{"day"}, Configuration: map[string]string{"k": "v"}}},
		{Add: &add{Path: "a.parquet", PartitionValues: map[string]*string{"day": &day}, Size: 7}},
		{Add: &add{Path: "b.parquet", PartitionValues: map[string]*string{"day": nil}}},
		{Remove: &remove{Path: "gone.parquet"}},
	}
	tests := map[string][][]action{
		"10.checkpoint.parquet":                                {rows},
		"10.checkpoint.0000000001.0000000002.parquet in parts": {rows[:2], rows[2:]},
	}
	for name, parts := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := table(t)
			for i, part := range parts {
				file := fmt.Sprintf("%020d.checkpoint.parquet", 10)
				if len(parts) > 1 {
					file = fmt.Sprintf("%020d.checkpoint.%010d.%010d.parquet", 10, i+1, len(parts))
				}
				path := filepath.Join(root, logDir, file)
				write(t, path, "")
				if err := parquet.WriteFile(path, part); err != nil {
					t.Fatal(err)
				}
			}
			// An unfinished newer checkpoint, and the commit it would cover.
			write(t, filepath.Join(root, logDir, fmt.Sprintf("%020d.checkpoint.%010d.%010d.parquet", 11, 1, 2)), "half")
			write(t, filepath.Join(root, logDir, commitFile(11)), lines(removeLine("b.parquet")))
			s, err := Open(t.Context(), root)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := names(t, root, s), []string{"a.parquet"}; !reflect.DeepEqual(got, want) || s.Version != 11 {
				t.Errorf("got version %d with %v, want 11 with %v", s.Version, got, want)
			}
			if got := s.Files[0].Partition["day"]; got != day || s.Files[0].Size != 7 {
				t.Errorf("got partition day %q, size %d", got, s.Files[0].Size)
			}
		})
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	head := lines(proto1, meta1)
	with := func(features string) string {
		return lines(`{"protocol":{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":[`+features+`]}}`, meta1)
	}
	tests := []struct {
		name    string
		commits []string
		want    string
		is      error
	}{
		{"no log", nil, "no _delta_log", ErrNotDelta},
		{"reader version", []string{lines(`{"protocol":{"minReaderVersion":4}}`, meta1)}, "reader version 4", ErrUnsupported},
		{"unknown feature", []string{with(`"timestampNtz","variantType"`)}, `"variantType"`, ErrUnsupported},
		{"checkpoints of version 2", []string{with(`"v2Checkpoint"`)}, `"v2Checkpoint"`, ErrUnsupported},
		{"column mapping", []string{lines(proto1, strings.Replace(meta1, `"otel.schemaVersion":"v1"`, `"delta.columnMapping.mode":"name"`, 1))}, "mapped by name", ErrUnsupported},
		{"deletion vector", []string{with(`"deletionVectors"`), `{"add":{"path":"a.parquet","size":1,"deletionVector":{"storageType":"u","pathOrInlineDv":"x","offset":1}}}`}, "deletion vector", ErrUnsupported},
		{"variant column", []string{lines(proto1, strings.Replace(meta1, `\"long\"`, `\"variant\"`, 1))}, `"variant"`, ErrUnsupported},
		{"no protocol", []string{lines(meta1)}, "no protocol", nil},
		{"no metadata", []string{lines(proto1)}, "no metaData", nil},
		{"broken line", []string{head, `{"add":`}, "version 1: line 1", nil},
		{"path above", []string{head, addLine("../secret.parquet", "null")}, "outside the table", nil},
		{"path above, escaped", []string{head, addLine("%2e%2e/secret.parquet", "null")}, "outside the table", nil},
		{"path above, inside", []string{head, addLine("x/../../secret.parquet", "null")}, "outside the table", nil},
		{"absolute path", []string{head, addLine("/etc/passwd", "null")}, "outside the table", nil},
		{"URL", []string{head, addLine("s3://bucket/a.parquet", "null")}, "outside the table", nil},
		{"file URL", []string{head, addLine("file:///etc/passwd", "null")}, "outside the table", nil},
		{"empty path", []string{head, addLine("", "null")}, "outside the table", nil},
		{"missing file", []string{head, addLine("nowhere.parquet", "null")}, "does not exist", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := Open(t.Context(), table(t, tt.commits...))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got error %v, want one with %q", err, tt.want)
			}
			if tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("got error %v, want one that is %v", err, tt.is)
			}
		})
	}
}

func TestOpenRefusesMissingVersion(t *testing.T) {
	t.Parallel()
	root := table(t, lines(proto1, meta1), "", "")
	if err := os.Remove(filepath.Join(root, logDir, commitFile(1))); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), root); err == nil || !strings.Contains(err.Error(), "version 1 is missing") {
		t.Errorf("got %v, want an error that version 1 is missing", err)
	}
}

func TestOpenRefusesLinks(t *testing.T) {
	t.Parallel()
	outside := t.TempDir()
	write(t, filepath.Join(outside, "secret.parquet"), "PAR")
	write(t, filepath.Join(outside, "commit.json"), lines(proto1, meta1))
	link := func(t *testing.T, from, to string) {
		t.Helper()
		if err := os.Symlink(to, from); err != nil {
			t.Fatal(err)
		}
	}
	tests := map[string]func(t *testing.T, root string){
		"data file": func(t *testing.T, root string) {
			link(t, filepath.Join(root, "l.parquet"), filepath.Join(outside, "secret.parquet"))
			write(t, filepath.Join(root, logDir, commitFile(1)), addLine("l.parquet", "null"))
		},
		"directory": func(t *testing.T, root string) {
			link(t, filepath.Join(root, "d"), outside)
			write(t, filepath.Join(root, logDir, commitFile(1)), addLine("d/secret.parquet", "null"))
		},
		"commit": func(t *testing.T, root string) {
			link(t, filepath.Join(root, logDir, commitFile(1)), filepath.Join(outside, "commit.json"))
		},
		"log": func(t *testing.T, root string) {
			if err := os.Rename(filepath.Join(root, logDir), filepath.Join(outside, "log")); err != nil {
				t.Fatal(err)
			}
			link(t, filepath.Join(root, logDir), filepath.Join(outside, "log"))
		},
	}
	for name, prepare := range tests {
		t.Run(name, func(t *testing.T) {
			root := table(t, lines(proto1, meta1))
			prepare(t, root)
			if s, err := Open(t.Context(), root); err == nil {
				t.Errorf("got %v, want an error", s.Files)
			}
		})
	}
}

func TestTypes(t *testing.T) {
	t.Parallel()
	tests := []struct{ delta, want string }{
		{`"string"`, "VARCHAR"}, {`"timestamp"`, "TIMESTAMP WITH TIME ZONE"}, {`"decimal(10,2)"`, "DECIMAL(10,2)"}, {`"decimal(10, 2)"`, "DECIMAL(10,2)"},
		{`{"type":"array","elementType":"integer","containsNull":true}`, "INTEGER[]"},
		{`{"type":"map","keyType":"string","valueType":"string","valueContainsNull":true}`, "MAP(VARCHAR, VARCHAR)"},
		{`{"type":"struct","fields":[{"name":"a\"b","type":"long"},{"name":"c","type":{"type":"array","elementType":"double"}}]}`, `STRUCT("a""b" BIGINT, "c" DOUBLE[])`},
	}
	for _, tt := range tests {
		got, err := sqlOf(tt.delta)
		if err != nil || got != tt.want {
			t.Errorf("sqlOf(%s) = %q, %v; want %q", tt.delta, got, err, tt.want)
		}
	}
}

func sqlOf(text string) (string, error) {
	t, err := parseType([]byte(text), 0)
	if err != nil {
		return "", err
	}
	return t.SQL(), nil
}

func FuzzCommit(f *testing.F) {
	f.Add(lines(proto1, meta1, addLine("a.parquet", "null"), removeLine("a.parquet")))
	f.Add(`{"add":{"path":"..","partitionValues":{"day":null}}}`)
	f.Fuzz(func(t *testing.T, text string) {
		root := table(t, text)
		s, err := Open(t.Context(), root)
		if err != nil {
			return
		}
		for _, n := range names(t, root, s) {
			if !filepath.IsLocal(n) {
				t.Errorf("file %q is outside the table", n)
			}
		}
	})
}

// A damaged checkpoint gives an error, whatever the bytes are.
func FuzzCheckpoint(f *testing.F) {
	path := filepath.Join(f.TempDir(), "c.parquet")
	if err := parquet.WriteFile(path, []action{{Add: &add{Path: "a"}}, {Protocol: &protocol{MinReaderVersion: 1}}}); err != nil {
		f.Fatal(err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:len(good)/2])
	f.Fuzz(func(t *testing.T, b []byte) {
		root := t.TempDir()
		write(t, filepath.Join(root, logDir, "c.parquet"), string(b))
		d, err := OpenDir(root)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		st := newState()
		if err := st.loadCheckpoint(t.Context(), d, "c.parquet"); err == nil && len(st.live) > maxFiles {
			t.Error("more files than a table may have")
		}
	})
}
