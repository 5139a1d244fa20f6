package catalog

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
)

func TestParseName(t *testing.T) {
	t.Parallel()
	tests := []struct {
		in   string
		want Name
		ok   bool
	}{
		{"main.sales.reviews", Name{"main", "sales", "reviews"}, true},
		{"Main.SALES.Reviews", Name{"main", "sales", "reviews"}, true},
		{"`main`.sales.`reviews`", Name{"main", "sales", "reviews"}, true},
		{`"main"."sales"."reviews"`, Name{"main", "sales", "reviews"}, true},
		{" main.sales.reviews ", Name{"main", "sales", "reviews"}, true},
		{"main.sales.my-table", Name{"main", "sales", "my-table"}, true},
		{"haupt.verkäufe.bücher", Name{"haupt", "verkäufe", "bücher"}, true},
		{in: ""},
		{in: "reviews"},
		{in: "sales.reviews"},
		{in: "a.b.c.d"},
		{in: "main..reviews"},
		{in: "main.sales."},
		{in: ".main.sales"},
		{in: "main.sales.re views"},
		{in: "main.sales.`re views`"},
		{in: "main.sales.`reviews"},
		{in: "main.sales.`re`views"},
		{in: "main.sales.``"},
		{in: "main.sales.a/b"},
		{in: "main.sales../../etc/passwd"},
		{in: "main.sales.a\x00b"},
		{in: "main.sales.a'b"},
		{"main.sales." + strings.Repeat("ö", 255), Name{"main", "sales", strings.Repeat("ö", 255)}, true}, // characters, not bytes
		{in: "main.sales." + strings.Repeat("x", 256)},
		{in: "main.sales." + strings.Repeat("ö", 256)},
	}
	for _, tt := range tests {
		got, err := ParseName(tt.in)
		if got != tt.want || (err == nil) != tt.ok {
			t.Errorf("ParseName(%q) = %v, %v, want %v, ok=%v", tt.in, got, err, tt.want, tt.ok)
		}
		if err != nil && (!apierror.Is(err, apierror.Invalid) || !strings.Contains(err.Error(), "three parts")) {
			t.Errorf("ParseName(%q) error %v, want an invalid one that says how", tt.in, err)
		}
	}
}

func FuzzParseName(f *testing.F) {
	for _, s := range []string{"main.sales.reviews", "`a`.\"b\".c", "a.b", "....", "`", "a.b.c`d`"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := ParseName(s)
		if err != nil {
			return
		}
		if again, err := ParseName(n.String()); err != nil || again != n {
			t.Errorf("ParseName(%q) = %v, which reads as %v, %v", s, n, again, err)
		}
		if strings.ContainsAny(n.Catalog+n.Schema+n.Object, "/\\`\"' .") {
			t.Errorf("ParseName(%q) = %v holds what a name may not", s, n)
		}
	})
}

func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	one := func(name string, tb Table) Config {
		return Config{"main": {"sales": {Tables: map[string]Table{name: tb}}}}
	}
	tests := []struct {
		name   string
		cfg    Config
		format Format
		bad    string
	}{
		{name: "parquet", cfg: one("t", Table{Location: "a.parquet"}), format: Parquet},
		{name: "csv", cfg: one("t", Table{Location: "a.CSV.gz"}), format: CSV},
		{name: "json lines", cfg: one("t", Table{Location: "a.jsonl"}), format: JSON},
		{name: "named", cfg: one("t", Table{Location: "dir", Format: "Delta"}), format: Delta},
		{name: "ndjson", cfg: one("t", Table{Location: "dir", Format: "ndjson"}), format: JSON},
		{name: "nothing"},
		{name: "no location", cfg: one("t", Table{}), bad: "catalog.main.sales.tables.t: needs a location"},
		{name: "no format", cfg: one("t", Table{Location: "dir"}), bad: "add format"},
		{name: "unknown format", cfg: one("t", Table{Location: "a", Format: "orc"}), bad: `format "orc" is not known`},
		{name: "object store", cfg: one("t", Table{Location: "s3://b/a.parquet"}), bad: "not read yet"},
		{name: "wildcard", cfg: one("t", Table{Location: "a/*.parquet"}), bad: "without wildcards"},
		{name: "bad table name", cfg: one("t.x", Table{Location: "a.csv"}), bad: "catalog.main.sales.tables.t.x: a name has"},
		{name: "bad schema name", cfg: Config{"main": {"a b": {}}}, bad: "catalog.main.a b: a name has"},
		{name: "bad catalog name", cfg: Config{"": nil}, bad: "a name has"},
		{name: "reserved", cfg: Config{"System": {"x": {}}}, bad: "belongs to the gateway"},
		{name: "same name", cfg: Config{"main": {"sales": {Tables: map[string]Table{"T": {Location: "a.csv"}, "t": {Location: "b.csv"}}}}}, bad: "same name"},
		{name: "same name in two spellings of a schema", cfg: Config{
			"main": {"sales": {Tables: map[string]Table{"t": {Location: "a.csv"}}}, "SALES": {Tables: map[string]Table{"t": {Location: "b.csv"}}}},
		}, bad: "catalog.main.sales: is the same name as catalog.main.SALES"},
		{name: "two spellings of a catalog", cfg: Config{"main": {"a": {}}, "Main": {"b": {}}}, bad: "catalog.main: is the same name as catalog.Main"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			err := tt.cfg.Validate()
			if (err == nil) != (tt.bad == "") || err != nil && !strings.Contains(err.Error(), tt.bad) {
				t.Fatalf("Validate() = %v, want %q", err, tt.bad)
			}
			if err != nil {
				return
			}
			tables, err := tt.cfg.tables("/dir")
			if err != nil {
				t.Fatal(err)
			}
			for _, got := range tables {
				if got.format != tt.format {
					t.Errorf("format = %q, want %q", got.format, tt.format)
				}
				if !strings.HasPrefix(got.location, "/dir/") {
					t.Errorf("location = %q, want it under /dir", got.location)
				}
			}
		})
	}
}

// write makes a file, and its directory.
func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func symlink(t *testing.T, target, path string) {
	t.Helper()
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
}

func TestListTakesOnlyTheFilesOfTheTable(t *testing.T) {
	t.Parallel()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(dir, "table")
	secret := write(t, filepath.Join(dir, "secret.csv"), "password\n")
	write(t, filepath.Join(dir, "table-2", "x.csv"), "a\n")
	for _, name := range []string{"a.csv", "b.CSV", "c.csv.gz", ".hidden.csv", "_started.csv", "notes.txt", "d.parquet", "sub/e.csv"} {
		write(t, filepath.Join(root, name), "a\n")
	}
	write(t, filepath.Join(root, "_real", "f.csv"), "a\n")
	symlink(t, secret, filepath.Join(root, "out.csv"))
	symlink(t, "../secret.csv", filepath.Join(root, "out2.csv"))
	symlink(t, "../table-2/x.csv", filepath.Join(root, "out3.csv"))
	symlink(t, "/dev/zero", filepath.Join(root, "zero.csv"))
	symlink(t, "nowhere.csv", filepath.Join(root, "dangling.csv"))
	symlink(t, "sub", filepath.Join(root, "dir.csv"))
	symlink(t, "_real/f.csv", filepath.Join(root, "g.csv"))
	if err := syscall.Mkfifo(filepath.Join(root, "pipe.csv"), 0o644); err != nil {
		t.Fatal(err)
	}
	tb := &table{location: root, format: CSV}
	got, err := tb.list(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range got.files {
		rel, err := filepath.Rel(root, f.Path)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, rel)
	}
	if want := []string{"a.csv", "b.CSV", "c.csv.gz", "_real/f.csv"}; !slices.Equal(names, want) {
		t.Errorf("files = %q, want %q", names, want)
	}
}

func TestVersionFollowsTheContent(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	tb := &table{location: root, format: CSV}
	seen := map[string]string{}
	step := func(what string, changed bool) {
		t.Helper()
		got, err := tb.list(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if was, ok := seen[got.version]; ok == changed {
			t.Errorf("%s: version %s was seen at %q, want changed=%v", what, got.version, was, changed)
		}
		seen[got.version] = what
	}
	step("empty", true)
	a := write(t, filepath.Join(root, "a.csv"), "x\n1\n")
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(a, old, old); err != nil {
		t.Fatal(err)
	}
	step("one file", true)
	step("the same", false)
	write(t, filepath.Join(root, "notes.txt"), "x")
	step("a file that is not of the table", false)
	if err := os.Chtimes(a, old, old.Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	step("touched", true)
	write(t, filepath.Join(root, "b.csv"), "x\n")
	step("second file", true)
	if err := os.Rename(filepath.Join(root, "b.csv"), filepath.Join(root, "c.csv")); err != nil {
		t.Fatal(err)
	}
	step("renamed", true)
}

func TestListRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe.csv"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "delta", "_delta_log"), 0o755); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		location, want string
		is             error
	}{
		{location: "absent.csv", is: os.ErrNotExist},
		{location: "pipe.csv", want: "neither a file nor a directory"},
		{location: "delta", want: "set its format to delta"},
	}
	for _, tt := range tests {
		_, err := (&table{location: filepath.Join(dir, tt.location), format: CSV}).list(t.Context())
		if err == nil || !strings.Contains(err.Error(), tt.want) || tt.is != nil && !errors.Is(err, tt.is) {
			t.Errorf("list of %s gives %v, want %q %v", tt.location, err, tt.want, tt.is)
		}
	}
}
