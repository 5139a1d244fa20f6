package sandbox

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// imageFile is where the database is made, below the guest's root.
const imageFile = "tmp/image.db"

// text writes rows as SQL and as CSV.
type text struct {
	kinds []kind
	names []string // unique for SQLite

	sql     []byte
	mark    int   // where the last row begins in sql
	size    int64 // of the database, roughly
	file    *os.File
	csv     []byte
	csvMark int   // where the last row begins in csv
	written int64 // bytes of the CSV file, those in csv included
}

// kind is what becomes of a column's values.
type kind int

const (
	kindText kind = iota
	kindInteger
	kindReal
	kindDecimal
	kindBool
	kindBytes
	kindTime
	kindDate
)

func (k kind) sql() string {
	switch k {
	case kindInteger, kindBool:
		return "INTEGER"
	case kindReal:
		return "REAL"
	case kindDecimal:
		return "NUMERIC"
	case kindBytes:
		return "BLOB"
	}
	return "TEXT"
}

// kindOf reads a type as Unity Catalog or DuckDB name it.
func kindOf(typ string) kind {
	t := strings.ToUpper(strings.TrimSpace(typ))
	if strings.HasSuffix(t, "]") { // a list
		return kindText
	}
	name, _, _ := strings.Cut(t, "(")
	switch strings.TrimSpace(name) {
	case "BIGINT", "INT", "INTEGER", "SMALLINT", "TINYINT", "LONG", "SHORT", "BYTE", "UTINYINT", "USMALLINT", "UINTEGER":
		return kindInteger
	case "DOUBLE", "FLOAT", "REAL":
		return kindReal
	case "DECIMAL", "DEC", "NUMERIC", "HUGEINT", "UHUGEINT", "UBIGINT":
		return kindDecimal
	case "BOOLEAN", "BOOL":
		return kindBool
	case "BINARY", "BLOB", "BYTEA", "VARBINARY":
		return kindBytes
	case "DATE":
		return kindDate
	case "TIMESTAMP", "TIMESTAMP_NTZ", "TIMESTAMP_LTZ", "TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ", "DATETIME", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS":
		return kindTime
	}
	return kindText
}

func newText(csv *os.File, cols []Column) *text {
	t := &text{file: csv}
	var header []string
	seen := map[string]bool{}
	for _, c := range cols {
		t.kinds = append(t.kinds, kindOf(c.Type))
		// For SQLite two names that differ in case are one.
		name := c.Name
		for n := 2; seen[strings.ToLower(name)]; n++ {
			name = c.Name + "_" + strconv.Itoa(n)
		}
		seen[strings.ToLower(name)] = true
		t.names = append(t.names, name)
		header = append(header, c.Name)
	}
	for i, h := range header {
		t.field(i, h, true)
	}
	t.line()
	return t
}

// create is the SQL that begins.
func (t *text) create() string {
	var cols []string
	for i, name := range t.names {
		cols = append(cols, `"`+strings.ReplaceAll(strings.ReplaceAll(name, "\x00", ""), `"`, `""`)+`" `+t.kinds[i].sql())
	}
	return "ATTACH 'file:/" + imageFile + "' AS image; PRAGMA image.journal_mode=OFF; PRAGMA image.synchronous=OFF; BEGIN; CREATE TABLE image.t (" + strings.Join(cols, ", ") + ");"
}

// add appends a row.
func (t *text) add(row []any) error {
	if len(row) != len(t.kinds) {
		return fmt.Errorf("%d values, want %d", len(row), len(t.kinds))
	}
	t.mark, t.csvMark = len(t.sql), len(t.csv)
	if len(t.sql) == 0 {
		t.sql = append(t.sql, "INSERT INTO image.t VALUES "...)
	} else {
		t.sql = append(t.sql, ',')
	}
	before := len(t.sql)
	t.sql = append(t.sql, '(')
	for i, v := range row {
		if i > 0 {
			t.sql = append(t.sql, ',')
		}
		if err := t.value(i, v); err != nil {
			return fmt.Errorf("column %q: %w", t.names[i], err)
		}
	}
	t.sql = append(t.sql, ')')
	t.size += rowCost
	if len(t.sql)-before > maxRow {
		return fmt.Errorf("it is larger than %d MiB", maxRow>>20)
	}
	t.line()
	return nil
}

// undo takes the last row back.
func (t *text) undo() {
	t.sql = t.sql[:t.mark]
	t.written -= int64(len(t.csv) - t.csvMark)
	t.csv = t.csv[:t.csvMark]
}

// take is the SQL of the rows since the last time.
func (t *text) take() string {
	if len(t.sql) == 0 {
		return ""
	}
	s := string(append(t.sql, ';'))
	t.sql = t.sql[:0]
	return s
}

var number = regexp.MustCompile(`^[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?$`)

// value appends one value in both forms.
func (t *text) value(i int, v any) error {
	k := t.kinds[i]
	switch v := v.(type) {
	case nil:
		t.both(i, "NULL", "", 0)
	case bool:
		n := "0"
		if v {
			n = "1"
		}
		t.both(i, n, strconv.FormatBool(v), 1)
	case int64:
		t.digits(i, strconv.FormatInt(v, 10))
	case int, int8, int16, int32, uint, uint8, uint16, uint32, uint64:
		t.digits(i, fmt.Sprint(v))
	case float32:
		return t.value(i, float64(v))
	case float64:
		t.float(i, v)
	case json.Number:
		return t.value(i, v.String())
	case []byte:
		t.blob(i, v)
	case time.Time:
		t.str(i, moment(k, v))
	case string:
		switch {
		case (k == kindInteger || k == kindReal || k == kindDecimal || k == kindBool) && number.MatchString(v):
			t.digits(i, v)
		case k == kindReal:
			f, err := strconv.ParseFloat(v, 64) // "NaN", "Infinity"
			if err != nil {
				return err
			}
			t.float(i, f)
		case k == kindBytes:
			b, err := base64.StdEncoding.DecodeString(v)
			if err != nil {
				return err
			}
			t.blob(i, b)
		case k == kindTime || k == kindDate:
			t.str(i, parsedMoment(k, v))
		default:
			t.str(i, v)
		}
	default:
		b, err := json.Marshal(v)
		if err != nil {
			return err
		}
		t.str(i, string(b))
	}
	return nil
}

func (t *text) both(i int, sql, csv string, size int64) {
	t.sql = append(t.sql, sql...)
	t.size += size + 1
	t.field(i, csv, false)
}

func (t *text) digits(i int, s string) {
	if t.kinds[i] == kindText { // a number in a column of text, such as that of a type we do not know
		t.str(i, s)
		return
	}
	t.both(i, strings.TrimPrefix(s, "+"), s, min(int64(len(s)), 8))
}

func (t *text) float(i int, f float64) {
	switch {
	case math.IsNaN(f):
		t.both(i, "NULL", "NaN", 0)
	case math.IsInf(f, 1):
		t.both(i, "9e999", "inf", 8)
	case math.IsInf(f, -1):
		t.both(i, "-9e999", "-inf", 8)
	default:
		s := strconv.FormatFloat(f, 'g', -1, 64)
		t.both(i, s, s, 8)
	}
}

func (t *text) blob(i int, b []byte) {
	t.sql = append(hex.AppendEncode(append(t.sql, "X'"...), b), '\'')
	t.size += int64(len(b)) + 2
	t.field(i, base64.StdEncoding.EncodeToString(b), true)
}

func (t *text) str(i int, s string) {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	if strings.IndexByte(s, 0) >= 0 { // which would end the statement
		t.sql = append(hex.AppendEncode(append(t.sql, "CAST(X'"...), []byte(s)), "' AS TEXT)"...)
	} else {
		t.sql = append(t.sql, '\'')
		for rest := s; ; {
			part, after, more := strings.Cut(rest, "'")
			t.sql = append(t.sql, part...)
			if !more {
				break
			}
			t.sql, rest = append(t.sql, "''"...), after
		}
		t.sql = append(t.sql, '\'')
	}
	t.size += int64(len(s)) + 2
	t.field(i, s, true)
}

// field appends a field to the CSV line. Text without a character is quoted, so
// that it is not null.
func (t *text) field(i int, s string, isText bool) {
	if i > 0 {
		t.csv = append(t.csv, ',')
	}
	empty := s == "" && (isText || len(t.kinds) == 1) // a line of nothing is no row for most readers
	if !empty && !strings.ContainsAny(s, ",\"\r\n") && !strings.HasPrefix(s, " ") {
		t.csv = append(t.csv, s...)
		return
	}
	t.csv = append(t.csv, '"')
	t.csv = append(t.csv, strings.ReplaceAll(s, `"`, `""`)...)
	t.csv = append(t.csv, '"')
}

// line ends a CSV line.
func (t *text) line() {
	t.csv = append(t.csv, '\n')
	t.written += int64(len(t.csv) - t.csvMark)
}

// spill writes the CSV lines so far to the file.
func (t *text) spill() error {
	_, err := t.file.Write(t.csv)
	t.csv, t.csvMark = t.csv[:0], 0
	return err
}

// The forms of a moment in SQLite, which compares them as text.
const (
	momentForm = "2006-01-02 15:04:05.999999999"
	dateForm   = "2006-01-02"
)

func moment(k kind, at time.Time) string {
	if k == kindDate {
		return at.Format(dateForm)
	}
	return at.UTC().Format(momentForm)
}

// parsedMoment gives a text that says a moment the form that all have, and
// leaves others as they are: "infinity".
func parsedMoment(k kind, s string) string {
	for _, form := range []string{"2006-01-02T15:04:05.999999999Z07:00", "2006-01-02 15:04:05.999999999Z07:00", "2006-01-02 15:04:05.999999999Z07", "2006-01-02T15:04:05.999999999", momentForm, dateForm} {
		if at, err := time.Parse(form, s); err == nil {
			return moment(k, at)
		}
	}
	return s
}
