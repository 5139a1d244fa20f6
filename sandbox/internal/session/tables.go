package session

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/sallyport-gateway/sallyport/sandbox/internal/engine"
)

// Table is a table that programs see, read-only: as data/NAME.db, data/NAME.csv
// and in SQL under its name.
type Table struct {
	Name     string // with its catalog and schema: main.sales.reviews
	Columns  []Column
	Rows     int64
	Cut      bool   // the table has more rows than these
	Database []byte // SQLite database with one table "t"; nil means none
	CSV      []byte // with a head line; nil means none
}

// Column is a column of a table.
type Column struct{ Name, Type string }

func checkTables(tables []Table) error {
	seen := map[string]bool{}
	for _, t := range tables {
		key := strings.ToLower(t.Name)
		switch {
		case t.Name == "" || strings.ContainsAny(t.Name, "/\x00") || len(t.Name) > 240:
			return fmt.Errorf("table %q: a name has no slash and at most 240 bytes", t.Name)
		case seen[key]:
			return fmt.Errorf("table %q is there twice", t.Name)
		}
		seen[key] = true
	}
	return nil
}

// dataFiles are the tables' files, by path below data.
func dataFiles(tables []Table) map[string][]byte {
	files := map[string][]byte{}
	for _, t := range tables {
		if t.Database != nil {
			files[t.Name+".db"] = t.Database
		}
		if t.CSV != nil {
			files[t.Name+".csv"] = t.CSV
		}
	}
	return files
}

func tableKey(tables []Table) string {
	var b strings.Builder
	for _, t := range tables {
		b.WriteString(t.Name)
		b.WriteByte('/')
	}
	return b.String()
}

// attach prepares a new SQL instance: each table becomes a view under its full
// name, and under its last part where that is unique. Then the guest is locked.
func (s *Session) attach(i *instance, r *run) error {
	if err := i.Call("sbx_trust", 1, r.control); err != nil {
		return err
	}
	var sql strings.Builder
	for n, t := range s.showing {
		if t.Database == nil {
			continue
		}
		fmt.Fprintf(&sql, "ATTACH 'file:/data/%s.db?mode=ro&immutable=1' AS s%d;\n", uriEscape(t.Name), n)
		fmt.Fprintf(&sql, "CREATE TEMP VIEW %s AS SELECT * FROM s%d.t;\n", quoteName(viewName(t.Name)), n)
		if bare := bareName(t.Name); bare != t.Name && !reserved(bare) && bareUnique(s.showing, bare) {
			fmt.Fprintf(&sql, "CREATE TEMP VIEW %s AS SELECT * FROM s%d.t;\n", quoteName(bare), n)
		}
	}
	if sql.Len() > 0 {
		out, err := i.Exec(sql.String(), r.control)
		if err != nil {
			return err
		}
		if out.Killed != engine.None || out.Status != 0 {
			stderr, _ := i.Proc.Stderr.Take()
			return fmt.Errorf("attach tables: status %d: %s", out.Status, stderr)
		}
		i.Proc.Stdout.Take()
	}
	i.tables = tableKey(s.showing)
	if s.setup.Trusted {
		return nil
	}
	return i.Call("sbx_trust", 0, r.control)
}

// viewName is what the view of a table is called: its full name, or where SQLite
// keeps such names for itself one that no table has.
func viewName(full string) string {
	if reserved(full) {
		return "/" + full
	}
	return full
}

// reserved reports whether SQLite refuses to make something of that name.
func reserved(name string) bool {
	const prefix = "sqlite_"
	return len(name) >= len(prefix) && strings.EqualFold(name[:len(prefix)], prefix)
}

// bareName is the last part of a full name.
func bareName(full string) string { return full[strings.LastIndexByte(full, '.')+1:] }

func bareUnique(tables []Table, bare string) bool {
	n := 0
	for _, t := range tables {
		if strings.EqualFold(bareName(t.Name), bare) || strings.EqualFold(t.Name, bare) {
			n++
		}
	}
	return n == 1
}

func quoteName(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// uriEscape writes a name for a file URI inside an SQL string.
func uriEscape(name string) string {
	var b strings.Builder
	for _, c := range []byte(name) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '_', c == '-', c >= 0x80:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// sqlOutput is how much is kept of the SQL guest's own output, from which rows
// are then cut to max: JSON is longer than what it says.
func sqlOutput(max int) int { return 4*max + 64<<10 }

// parseRows reads the answer of the SQL guest,
// {"columns":[…],"rows":[[…],…],"cut":bool}, and keeps what max bytes hold. An
// answer that ends in the middle gives the rows that are whole.
func parseRows(b []byte, max int, res *Result) {
	if len(bytes.TrimSpace(b)) == 0 {
		return
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := readRows(d, max, res); err != nil {
		res.Truncated = true
		if !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
			res.Stderr += "the answer of the SQL guest cannot be read: " + err.Error() + "\n"
			res.Exit = 1
		}
	}
}

func readRows(d *json.Decoder, max int, res *Result) error {
	if err := expect(d, '{'); err != nil {
		return err
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return err
		}
		switch key {
		case "columns":
			if err := d.Decode(&res.Columns); err != nil {
				return err
			}
		case "cut":
			var cut bool
			if err := d.Decode(&cut); err != nil {
				return err
			}
			res.Truncated = res.Truncated || cut
		case "rows":
			if err := expect(d, '['); err != nil {
				return err
			}
			for d.More() {
				var row []any
				if err := d.Decode(&row); err != nil {
					return err
				}
				if d.InputOffset() > int64(max) {
					res.Truncated = true
					return nil
				}
				res.Rows = append(res.Rows, row)
			}
			if err := expect(d, ']'); err != nil {
				return err
			}
		default:
			return fmt.Errorf("unknown key %v", key)
		}
	}
	return expect(d, '}')
}

func expect(d *json.Decoder, want json.Delim) error {
	t, err := d.Token()
	if err == nil && t != want {
		err = fmt.Errorf("%v where %v is due", t, want)
	}
	return err
}

// lookup finds the table of a full name, in any case.
func lookup(tables []Table, parts []string) (Table, bool) {
	name := strings.Join(parts, ".")
	i := slices.IndexFunc(tables, func(t Table) bool { return strings.EqualFold(t.Name, name) })
	if i < 0 {
		return Table{}, false
	}
	return tables[i], true
}

// lookupSuffix finds the one table whose name ends in the given parts.
func lookupSuffix(tables []Table, parts []string) (Table, bool) {
	suffix := "." + strings.Join(parts, ".")
	var found []Table
	for _, t := range tables {
		if len(t.Name) > len(suffix) && strings.EqualFold(t.Name[len(t.Name)-len(suffix):], suffix) {
			found = append(found, t)
		}
	}
	if len(found) != 1 {
		return Table{}, false
	}
	return found[0], true
}
