package delta

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
)

func TestCreate(t *testing.T) {
	t.Parallel()
	table, d := testTable(t, Definition{ID: "my-id", Name: "n", Description: "what it is", Schema: everything(), Partition: []string{"day", "s"}, Properties: map[string]string{"otel.schemaVersion": "v1", propAppendOnly: "true"}}, Options{Engine: "test/1"})
	if table.Version() != 0 || table.ID() != "my-id" || table.Properties()["otel.schemaVersion"] != "v1" || !slices.Equal(table.Partition(), []string{"day", "s"}) {
		t.Errorf("got version %d, id %q, %v, %v", table.Version(), table.ID(), table.Properties(), table.Partition())
	}
	s, err := Open(t.Context(), d.Path())
	if err != nil {
		t.Fatal(err)
	}
	if s.ID != "my-id" || s.Description != "what it is" || len(s.Columns) != 20 || s.Columns[0] != (Column{"id", "BIGINT", "the key"}) {
		t.Errorf("got %+v", s)
	}
	if _, err := Create(t.Context(), d, Definition{Schema: small()}, Options{}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second Create: got %v, want fs.ErrExist", err)
	}
	again, err := OpenTable(t.Context(), d, Options{})
	if err != nil || again.Schema().String() != everything().String() {
		t.Errorf("OpenTable: %v, %v", again, err)
	}
}

func TestCreateRefuses(t *testing.T) {
	t.Parallel()
	long := Schema{{Name: "a", Type: Long}}
	with := func(f Field) Definition { return Definition{Schema: Schema{{Name: "a", Type: Long}, f}} }
	tests := []struct {
		name string
		def  Definition
		want string
	}{
		{"no column", Definition{}, "needs a column"},
		{"no type", with(Field{Name: "b"}), `column "b" has no type`},
		{"same name", with(Field{Name: "A", Type: Long}), "occurs twice"},
		{"character", with(Field{Name: "b c", Type: Long}), "has one of the characters"},
		{"empty name", with(Field{Type: Long}), "no name"},
		{"empty struct", with(Field{Name: "b", Type: Struct{}}), "a struct without fields"},
		{"precision", with(Field{Name: "b", Type: Decimal{39, 0}}), "precision is 1 to 38"},
		{"scale", with(Field{Name: "b", Type: Decimal{3, 4}}), "precision is 1 to 38"},
		{"timestamp without zone", with(Field{Name: "b", Type: Array{Element: timestampNTZ}}), "cannot be written"},
		{"unknown type", with(Field{Name: "b", Type: Primitive("variant")}), "cannot be written"},
		{"invariant", with(Field{Name: "b", Type: Long, Metadata: map[string]any{"delta.invariants": "x"}}), "invariant"},
		{"partition unknown", Definition{Schema: long, Partition: []string{"b"}}, `"b" is not in the schema`},
		{"partition type", Definition{Schema: Schema{{Name: "a", Type: Long}, {Name: "b", Type: Double}}, Partition: []string{"b"}}, "of type double"},
		{"only partitions", Definition{Schema: long, Partition: []string{"a"}}, "no partition column"},
		{"property of a feature", Definition{Schema: long, Properties: map[string]string{"delta.enableDeletionVectors": "true"}}, "delta.enableDeletionVectors"},
		{"constraint", Definition{Schema: long, Properties: map[string]string{"delta.constraints.c": "a > 0"}}, "delta.constraints.c"},
		{"interval", Definition{Schema: long, Properties: map[string]string{propLogRetention: "1 moon"}}, "interval 7 days"},
		{"checkpoint interval", Definition{Schema: long, Properties: map[string]string{propCheckpointInterval: "0"}}, "at least 1"},
	}
	for _, tt := range tests {
		d, err := MakeDir(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		if _, err := Create(t.Context(), d, tt.def, Options{}); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want an error with %q", tt.name, err, tt.want)
		}
		if entries, _ := os.ReadDir(d.Path()); len(entries) != 0 {
			t.Errorf("%s: it left %v", tt.name, entries)
		}
	}
}

func TestWriterRefusesTables(t *testing.T) {
	t.Parallel()
	meta := func(config, schema string) string {
		m := metadata{ID: "x", Format: fileFormat{Provider: "parquet"}, SchemaString: schema, PartitionColumns: []string{}, Configuration: map[string]string{}}
		if err := json.Unmarshal([]byte(config), &m.Configuration); err != nil {
			t.Fatal(err)
		}
		return jsonText(action{MetaData: &m})
	}
	plain := small().String()
	tests := []struct {
		name, protocol, meta, want string
	}{
		{"writer 3", `"minReaderVersion":1,"minWriterVersion":3`, meta(`{}`, plain), "writer version 3; this writer does 1 and 2"},
		{"reader 2", `"minReaderVersion":2,"minWriterVersion":2`, meta(`{}`, plain), "reader version 2"},
		{"features", `"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["deletionVectors"],"writerFeatures":["rowTracking","deletionVectors"]`, meta(`{}`, plain), "it has the features deletionVectors, rowTracking"},
		{"writer features alone", `"minReaderVersion":1,"minWriterVersion":7,"writerFeatures":["domainMetadata"]`, meta(`{}`, plain), "it has the features domainMetadata"},
		{"column mapping", `"minReaderVersion":1,"minWriterVersion":2`, meta(`{"delta.columnMapping.mode":"id"}`, plain), "mapped by id"},
		{"invariant", `"minReaderVersion":1,"minWriterVersion":2`, meta(`{}`, strings.Replace(plain, `"metadata":{}`, `"metadata":{"delta.invariants":"{}"}`, 1)), `column "id" has an invariant`},
		{"bad property", `"minReaderVersion":1,"minWriterVersion":2`, meta(`{"delta.deletedFileRetentionDuration":"soon"}`, plain), propFileRetention},
	}
	for _, tt := range tests {
		root := table(t, lines(`{"protocol":{`+tt.protocol+`}}`, tt.meta))
		d := must(OpenDir(root))(t)
		defer d.Close()
		if _, err := OpenTable(t.Context(), d, Options{}); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want an error with %q", tt.name, err, tt.want)
		}
	}
	d := must(MakeDir(t.TempDir()))(t)
	defer d.Close()
	if _, err := OpenTable(t.Context(), d, Options{}); !errors.Is(err, ErrNotDelta) {
		t.Errorf("empty directory: got %v, want ErrNotDelta", err)
	}
}
