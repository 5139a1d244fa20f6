//go:build cgo

package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/sallyport-gateway/sallyport/sdk/engine"
)

// relation is an engine.Relation with its name read.
type relation struct {
	engine.Relation
	name name
}

func readRelations(rs []engine.Relation) ([]relation, []name, error) {
	out := make([]relation, len(rs))
	names := make([]name, len(rs))
	seen := map[name]bool{}
	for i, r := range rs {
		n, err := parseName(r.Name)
		if err != nil {
			return nil, nil, invalid("Relation %d: %v.", i+1, err)
		}
		if seen[n.fold()] {
			return nil, nil, invalid("Relation %s is given twice.", n)
		}
		seen[n.fold()] = true
		switch r.Format {
		case "parquet", "csv", "json":
		default:
			return nil, nil, invalid("Table %s has format %q; this engine reads parquet, csv and json.", n, r.Format)
		}
		for _, f := range r.Files {
			if !strings.HasPrefix(f.Path, "/") || strings.ContainsRune(f.Path, 0) {
				return nil, nil, invalid("Table %s: the path of a file is not absolute.", n)
			}
			if strings.ContainsAny(f.Path, "*?[") {
				// DuckDB would list directories to find what matches, and a
				// child may list none.
				return nil, nil, invalid("Table %s: the path of a file holds *, ? or [, which this engine takes for a pattern; move the file.", n)
			}
		}
		for _, c := range r.Columns {
			if c.Name == "" || !plainType(c.Type) {
				return nil, nil, invalid("Table %s: column %q has type %q, which is no type of this engine.", n, c.Name, c.Type)
			}
		}
		if len(r.Columns) == 0 && len(r.Files) == 0 {
			return nil, nil, invalid("Table %s has no files and no declared columns yet; there is nothing to select.", n)
		}
		out[i], names[i] = relation{r, n}, n
	}
	return out, names, nil
}

// plainType reports whether t is written like a type: the letters of types,
// brackets that close. Whether there is such a type is DuckDB's to say.
func plainType(t string) bool {
	depth := 0
	for i := range len(t) {
		c := t[i]
		switch {
		case c == '(':
			depth++
		case c == ')':
			if depth--; depth < 0 {
				return false
			}
		case identByte(c, false), strings.IndexByte(` ,[]"`, c) >= 0:
		default:
			return false
		}
	}
	return t != "" && depth == 0
}

// views makes a view for every relation. An error concerns the relation's
// files, not the statement; it is a *viewError.
func (d *duck) views(rs []relation) error {
	catalogs, schemas := map[string]bool{strings.ToLower(home): true}, map[string]bool{strings.ToLower(home) + ".main": true}
	for _, r := range rs {
		v := r.name.view()
		key := v.fold()
		if !catalogs[key.catalog] {
			catalogs[key.catalog] = true
			schemas[key.catalog+".main"] = true
			if err := d.exec("ATTACH ':memory:' AS " + quote(v.catalog)); err != nil {
				return &viewError{r.name, err}
			}
		}
		if k := key.catalog + "." + key.schema; !schemas[k] {
			schemas[k] = true
			if err := d.exec("CREATE SCHEMA " + quote(v.catalog) + "." + quote(v.schema)); err != nil {
				return &viewError{r.name, err}
			}
		}
		sel, err := d.source(r)
		if err == nil {
			err = d.exec("CREATE VIEW " + v.quoted() + " AS " + sel)
		}
		if err != nil {
			return &viewError{r.name, err}
		}
	}
	return nil
}

type viewError struct {
	name name
	err  error
}

func (e *viewError) Error() string { return fmt.Sprintf("table %s: %v", e.name, e.err) }
func (e *viewError) Unwrap() error { return e.err }

// group is files of one relation with the same constants.
type group struct {
	constants map[string]string
	paths     []string
}

func groups(files []engine.File) []group {
	var out []group
	index := map[string]int{}
	for _, f := range files {
		var key strings.Builder
		for _, c := range slices.Sorted(maps.Keys(f.Constants)) {
			fmt.Fprintf(&key, "%q=%q,", c, f.Constants[c])
		}
		i, ok := index[key.String()]
		if !ok {
			i = len(out)
			index[key.String()] = i
			out = append(out, group{constants: f.Constants})
		}
		out[i].paths = append(out[i].paths, f.Path)
	}
	return out
}

// source is the SELECT over the files of r.
func (d *duck) source(r relation) (string, error) {
	partition := map[string]bool{} // columns that come from constants, in some file
	for _, f := range r.Files {
		for c := range f.Constants {
			partition[strings.ToLower(c)] = true
		}
	}
	if len(r.Files) == 0 {
		return empty(r.Columns), nil
	}
	gs := groups(r.Files)
	if len(gs) > maxUnion {
		return d.joinSource(r, partition)
	}
	var parts []string
	for _, g := range gs {
		sel, err := d.groupSource(r, g, partition)
		if err != nil {
			return "", err
		}
		parts = append(parts, sel)
	}
	union := " UNION ALL "
	if len(r.Columns) == 0 {
		union = " UNION ALL BY NAME "
	}
	return strings.Join(parts, union), nil
}

// empty is a select of no rows with the types of cs.
func empty(cs []engine.Column) string {
	exprs := make([]string, len(cs))
	for i, c := range cs {
		exprs[i] = "CAST(NULL AS " + c.Type + ") AS " + quote(c.Name)
	}
	return "SELECT " + strings.Join(exprs, ", ") + " WHERE false"
}

// groupSource is the SELECT over files that have the same constants.
func (d *duck) groupSource(r relation, g group, partition map[string]bool) (string, error) {
	from := reader(r, g.paths, partition, "")
	constant := map[string]string{}
	for c, v := range g.constants {
		constant[strings.ToLower(c)] = literal(v)
	}
	list, err := d.selectList(r, from, partition, constant, slices.Sorted(maps.Keys(g.constants)))
	return "SELECT " + list + " FROM " + from, err
}

// maxUnion is how many groups of files are put together by UNION ALL, in which
// a condition on a constant spares whole branches. Planning a branch takes
// milliseconds, so that beyond it the constants are joined to the rows.
const maxUnion = 32

// fileColumn is a column with the path of a row's file, under a name that no
// file can have by chance.
const fileColumn = "file" + mark

// joinSource is the SELECT over all files of r, with a table of constants.
func (d *duck) joinSource(r relation, partition map[string]bool) (string, error) {
	names, constant := []string{}, map[string]string{}
	written := map[string]string{} // as some file writes it
	for _, f := range r.Files {
		for c := range f.Constants {
			written[strings.ToLower(c)] = c
		}
	}
	for _, key := range slices.Sorted(maps.Keys(partition)) {
		names = append(names, written[key])
		constant[key] = "constants." + quote(written[key])
	}
	tuples := make([]string, len(r.Files))
	for i, f := range r.Files {
		vs := []string{literal(f.Path)}
		folded := map[string]string{}
		for c, v := range f.Constants {
			folded[strings.ToLower(c)] = literal(v)
		}
		for _, n := range names {
			v, ok := folded[strings.ToLower(n)]
			if !ok {
				v = "NULL"
			}
			vs = append(vs, v)
		}
		tuples[i] = "(" + strings.Join(vs, ", ") + ")"
	}
	from := reader(r, paths([]relation{r}), partition, fileColumn)
	list, err := d.selectList(r, from, partition, constant, names)
	if err != nil {
		return "", err
	}
	heads := []string{quote(fileColumn)}
	for _, n := range names {
		heads = append(heads, quote(n))
	}
	return "SELECT " + list + " FROM " + from + " AS files JOIN (VALUES " + strings.Join(tuples, ", ") + ") AS constants(" + strings.Join(heads, ", ") +
		") ON files." + quote(fileColumn) + " = constants." + quote(fileColumn), nil
}

// selectList gives the columns of r: cast to their types when declared, else
// those in the files and then the constants. Constant holds the expression for
// each constant by its name in lower case, extra their names as written.
func (d *duck) selectList(r relation, from string, partition map[string]bool, constant map[string]string, extra []string) (string, error) {
	p, err := d.prepare("SELECT * FROM " + from)
	if err != nil {
		return "", err
	}
	inFile := slices.DeleteFunc(p.columns(), func(c string) bool { return c == fileColumn })
	p.close()

	qualified := func(c string) string {
		if strings.Contains(from, fileColumn) {
			return "files." + quote(c)
		}
		return quote(c)
	}
	byName := map[string]string{}
	for _, c := range inFile {
		byName[strings.ToLower(c)] = qualified(c)
	}
	var exprs []string
	for _, c := range r.Columns {
		key := strings.ToLower(c.Name)
		expr, ok := constant[key]
		if !ok && !partition[key] {
			expr, ok = byName[key]
		}
		if !ok {
			expr = "NULL"
		}
		exprs = append(exprs, "CAST("+expr+" AS "+c.Type+") AS "+quote(c.Name))
	}
	if len(r.Columns) > 0 {
		return strings.Join(exprs, ", "), nil
	}
	for _, c := range inFile {
		expr, ok := constant[strings.ToLower(c)]
		if !ok {
			expr = qualified(c)
		}
		exprs = append(exprs, expr+" AS "+quote(c))
	}
	for _, c := range extra {
		if _, ok := byName[strings.ToLower(c)]; !ok {
			exprs = append(exprs, constant[strings.ToLower(c)]+" AS "+quote(c))
		}
	}
	return strings.Join(exprs, ", "), nil
}

// reader is the table function over exactly these paths. Nothing is taken from
// how the paths are written. FileColumn, unless empty, is a further column with
// the path.
func reader(r relation, paths []string, partition map[string]bool, fileColumn string) string {
	list := make([]string, len(paths))
	for i, p := range paths {
		list[i] = literal(p)
	}
	files := "[" + strings.Join(list, ", ") + "], union_by_name=true, hive_partitioning=false"
	if fileColumn != "" {
		files += ", filename=" + literal(fileColumn)
	}
	switch r.Format {
	case "csv":
		// With known types the texts are cast by them; without, all rows are
		// read to find types, so that the answer does not depend on the first ones.
		if len(r.Columns) > 0 {
			return "read_csv(" + files + ", header=true, all_varchar=true)"
		}
		return "read_csv(" + files + ", header=true, sample_size=-1)"
	case "json":
		var fields []string
		for _, c := range r.Columns {
			if !partition[strings.ToLower(c.Name)] {
				fields = append(fields, literal(c.Name)+": "+literal(c.Type))
			}
		}
		if len(fields) > 0 {
			return "read_json(" + files + ", format='newline_delimited', columns={" + strings.Join(fields, ", ") + "})"
		}
		return "read_json(" + files + ", format='newline_delimited', records=true, sample_size=-1)"
	}
	return "read_parquet(" + files + ")"
}

// paths are the files of rs, each once.
func paths(rs []relation) []string {
	var out []string
	seen := map[string]bool{}
	for _, r := range rs {
		for _, f := range r.Files {
			if !seen[f.Path] {
				seen[f.Path] = true
				out = append(out, f.Path)
			}
		}
	}
	return out
}
