package catalog

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
)

// Config is the `catalog` section of the configuration: catalog → schema.
type Config map[string]map[string]Schema

// Schema is what one schema holds.
type Schema struct {
	Comment string           `yaml:"comment,omitempty"`
	Owner   string           `yaml:"owner,omitempty"` // a principal; "" leaves it to the administrators
	Tables  map[string]Table `yaml:"tables,omitempty"`
}

// Table is a table over files.
type Table struct {
	// Location is a file, or a directory whose files of the format together
	// are the table; of a Delta table its directory. Relative to the
	// configuration file.
	Location string `yaml:"location"`
	// Format is parquet, csv, json (one object a line) or delta. "" takes it
	// from the ending of Location.
	Format  string            `yaml:"format,omitempty"`
	Comment string            `yaml:"comment,omitempty"` // for people and for the model
	Owner   string            `yaml:"owner,omitempty"`   // a principal; "" leaves it to the administrators
	Columns map[string]Column `yaml:"columns,omitempty"` // what to say about columns; the columns themselves come from the files
}

// Column describes a column of a Table.
type Column struct {
	Comment string `yaml:"comment"`
}

// Format is how the files of a table are written.
type Format string

// The formats.
const (
	Parquet Format = "parquet"
	CSV     Format = "csv"
	JSON    Format = "json"
	Delta   Format = "delta"
)

// endings are the file names that belong to a format.
var endings = map[Format][]string{
	Parquet: {".parquet", ".parq"},
	CSV:     {".csv", ".tsv", ".csv.gz", ".tsv.gz"},
	JSON:    {".json", ".jsonl", ".ndjson", ".json.gz", ".jsonl.gz", ".ndjson.gz"},
}

// hasEnding reports whether a file of that name belongs to f.
func (f Format) hasEnding(name string) bool {
	name = strings.ToLower(name)
	return slices.ContainsFunc(endings[f], func(e string) bool { return strings.HasSuffix(name, e) })
}

// reserved is the catalog that the gateway's own objects live in.
const reserved = "system"

// Validate checks everything that can be told without looking at the files. It
// returns all errors, each with the path of the entry it is about.
func (c Config) Validate() error {
	_, err := c.tables("")
	return err
}

// tables turns the Config into tables by name, locations absolute from dir.
func (c Config) tables(dir string) (map[Name]*table, error) {
	out := map[Name]*table{}
	var errs []error
	bad := func(path, format string, args ...any) {
		errs = append(errs, fmt.Errorf("catalog.%s: %w", path, fmt.Errorf(format, args...)))
	}
	seen := map[string]string{} // how a name is written, by its canonical form
	taken := func(name, path string) bool {
		other, twice := seen[strings.ToLower(name)]
		if twice {
			bad(path, "is the same name as catalog.%s: letter case makes no difference", other)
		}
		seen[strings.ToLower(name)] = path
		return twice
	}
	for _, cn := range slices.Sorted(maps.Keys(c)) {
		if !identifier(cn) {
			bad(cn, "%s", badIdentifier)
			continue
		}
		if strings.EqualFold(cn, reserved) {
			bad(cn, "the catalog system belongs to the gateway; choose another name")
			continue
		}
		if taken(cn, cn) {
			continue
		}
		for _, sn := range slices.Sorted(maps.Keys(c[cn])) {
			path := cn + "." + sn
			if !identifier(sn) {
				bad(path, "%s", badIdentifier)
				continue
			}
			if taken(path, path) {
				continue
			}
			for _, tn := range slices.Sorted(maps.Keys(c[cn][sn].Tables)) {
				path := path + ".tables." + tn
				name := Name{strings.ToLower(cn), strings.ToLower(sn), strings.ToLower(tn)}
				if !identifier(tn) {
					bad(path, "%s", badIdentifier)
					continue
				}
				if taken(name.String(), path) {
					continue
				}
				t, err := c[cn][sn].Tables[tn].table(name, dir)
				if err != nil {
					bad(path, "%w", err)
					continue
				}
				out[name] = t
			}
		}
	}
	return out, errors.Join(errs...)
}

// Has reports whether the configuration names a table so; letter case makes no
// difference.
func (c Config) Has(name string) bool {
	for cn, schemas := range c {
		for sn, s := range schemas {
			for tn := range s.Tables {
				if strings.EqualFold(cn+"."+sn+"."+tn, name) {
					return true
				}
			}
		}
	}
	return false
}

// Locations lists the files and directories of all tables, each once; dir is
// what relative ones resolve against.
func (c Config) Locations(dir string) []string {
	var paths []string
	for _, schemas := range c {
		for _, s := range schemas {
			for _, t := range s.Tables {
				if t.Location != "" {
					paths = append(paths, t.path(dir))
				}
			}
		}
	}
	slices.Sort(paths)
	return slices.Compact(paths)
}

// path is the absolute location.
func (t Table) path(dir string) string {
	if filepath.IsAbs(t.Location) {
		return filepath.Clean(t.Location)
	}
	return filepath.Join(dir, t.Location)
}

// table checks one entry.
func (t Table) table(name Name, dir string) (*table, error) {
	if t.Location == "" {
		return nil, errors.New("needs a location: a file, or a directory of files")
	}
	if strings.Contains(t.Location, "://") || strings.ContainsAny(t.Location, "*?") {
		return nil, fmt.Errorf("location %q: a location is a local file or directory, without wildcards; object stores are not read yet", t.Location)
	}
	f := Format(strings.ToLower(t.Format))
	if f == "" {
		for _, known := range []Format{Parquet, CSV, JSON} {
			if known.hasEnding(t.Location) {
				f = known
			}
		}
	}
	switch f {
	case Parquet, CSV, JSON, Delta:
	case "jsonl", "ndjson":
		f = JSON
	case "":
		return nil, fmt.Errorf("location %q does not tell the format; add format: parquet, csv, json or delta", t.Location)
	default:
		return nil, fmt.Errorf("format %q is not known; the formats are parquet, csv, json (one object a line) and delta", t.Format)
	}
	comments := map[string]string{}
	for col, c := range t.Columns {
		comments[strings.ToLower(col)] = c.Comment
	}
	return &table{name: name, location: t.path(dir), format: f, comment: t.Comment, owner: t.Owner, columnComments: comments}, nil
}
