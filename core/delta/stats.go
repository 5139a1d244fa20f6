package delta

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/parquet-go/parquet-go"
)

// statLength is how many characters of a string its bounds keep.
// Source: Delta protocol, "Per-file Statistics"; the number is the reference
// implementation's.
const statLength = 32

// leafStats gathers what the statistics of a file say of one Parquet column.
type leafStats struct {
	leaf     *leaf
	nulls    int64
	seen     bool // min and max are set
	nan      bool
	min, max parquet.Value
}

// stats gathers the statistics of one file.
// Source: Delta protocol, "Per-file Statistics".
type stats struct {
	layout *layout
	rows   int64
	leaves []leafStats // those with statistics, in order
}

// newStats gathers for the leaves that want accepts, by the path of the
// column that counts the nulls.
func newStats(l *layout, want func(i int, path string) bool) *stats {
	s := &stats{layout: l}
	n := 0
	for _, lf := range l.leaves {
		if lf.counts == nil {
			continue
		}
		if want(n, lf.counts.path) {
			s.leaves = append(s.leaves, leafStats{leaf: lf})
		}
		n++
	}
	return s
}

// observe adds the values of whole rows; values is by leaf.
func (s *stats) observe(values [][]parquet.Value, rows int) {
	s.rows += int64(rows)
	for i := range s.leaves {
		s.leaves[i].observe(values[s.leaves[i].leaf.index])
	}
}

func (s *leafStats) observe(values []parquet.Value) {
	def := s.leaf.counts.def
	if !s.leaf.ordered {
		for i := range values {
			if values[i].DefinitionLevel() < def && values[i].RepetitionLevel() == 0 {
				s.nulls++
			}
		}
		return
	}
	switch s.leaf.typ {
	case String:
		s.observeStrings(values)
		return
	case Double, Float:
		s.observeFloats(values)
		return
	}
	if d, ok := s.leaf.typ.(Decimal); ok && d.Precision > 18 {
		s.observeLarge(values)
		return
	}
	s.observeInts(values)
}

func (s *leafStats) observeInts(values []parquet.Value) {
	low, high := int64(math.MaxInt64), int64(math.MinInt64)
	n, kind := 0, parquet.Int64
	for i := range values {
		if values[i].IsNull() {
			continue
		}
		n++
		x := values[i].Int64()
		if kind = values[i].Kind(); kind == parquet.Int32 {
			x = int64(values[i].Int32())
		}
		low, high = min(low, x), max(high, x)
	}
	s.nulls += int64(len(values) - n)
	if n == 0 {
		return
	}
	if s.seen {
		low, high = min(low, integer(s.min)), max(high, integer(s.max))
	}
	s.seen, s.min, s.max = true, parquet.Int64Value(low), parquet.Int64Value(high)
	if kind == parquet.Int32 {
		s.min, s.max = parquet.Int32Value(int32(low)), parquet.Int32Value(int32(high))
	}
}

// observeLarge is for decimals that are larger than an int64.
func (s *leafStats) observeLarge(values []parquet.Value) {
	for _, v := range values {
		switch {
		case v.IsNull():
			s.nulls++
		case !s.seen:
			s.seen, s.min, s.max = true, v.Clone(), v.Clone()
		case unscaled(v).Cmp(unscaled(s.min)) < 0:
			s.min = v.Clone()
		case unscaled(v).Cmp(unscaled(s.max)) > 0:
			s.max = v.Clone()
		}
	}
}

func (s *leafStats) observeFloats(values []parquet.Value) {
	get := func(v parquet.Value) float64 { return v.Double() }
	if s.leaf.typ == Float {
		get = func(v parquet.Value) float64 { return float64(v.Float()) }
	}
	for i := range values {
		v := values[i]
		if v.IsNull() {
			s.nulls++
			continue
		}
		switch f := get(v); {
		case f != f:
			s.nan = true
		case !s.seen:
			s.seen, s.min, s.max = true, v, v
		case f < get(s.min):
			s.min = v
		case f > get(s.max):
			s.max = v
		}
	}
}

func (s *leafStats) observeStrings(values []parquet.Value) {
	low, high := s.min.ByteArray(), s.max.ByteArray()
	for i := range values {
		if values[i].IsNull() {
			s.nulls++
			continue
		}
		switch b := values[i].ByteArray(); {
		case !s.seen:
			s.seen, low, high = true, b, b
		case bytes.Compare(b, low) < 0:
			low = b
		case bytes.Compare(b, high) > 0:
			high = b
		}
	}
	if s.seen { // the values are the caller's
		s.min, s.max = own(s.min, low), own(s.max, high)
	}
}

// own is old if it is b, else a value of its own.
func own(old parquet.Value, b []byte) parquet.Value {
	if !old.IsNull() && bytes.Equal(old.ByteArray(), b) {
		return old
	}
	return parquet.ByteArrayValue(b).Clone()
}

func integer(v parquet.Value) int64 {
	if v.Kind() == parquet.Int32 {
		return int64(v.Int32())
	}
	return v.Int64()
}

// encode is the statistics as the log has them: JSON in which nested columns
// are nested objects. A bound that JSON or a reader could not hold is left
// out, as are both bounds of a column with NaN, which engines order
// differently.
func (s *stats) encode() string {
	by := make(map[*column]*leafStats, len(s.leaves))
	for i := range s.leaves {
		by[s.leaves[i].leaf.counts] = &s.leaves[i]
	}
	b := append(make([]byte, 0, 1024), `{"numRecords":`...)
	b = strconv.AppendInt(b, s.rows, 10)
	part := func(name string, text func(*leafStats) string) {
		b = append(b, `,"`+name+`":`...)
		before := len(b)
		if b = appendObject(b, s.layout.columns, by, text); len(b) == before {
			b = append(b, "{}"...)
		}
	}
	part("minValues", func(l *leafStats) string { return boundText(l, l.min, false) })
	part("maxValues", func(l *leafStats) string { return boundText(l, l.max, true) })
	part("nullCount", func(l *leafStats) string { return strconv.FormatInt(l.nulls, 10) })
	return string(append(b, '}'))
}

// appendObject writes the statistics of columns as an object, or nothing when
// it would be empty.
func appendObject(b []byte, columns []*column, by map[*column]*leafStats, text func(*leafStats) string) []byte {
	start := len(b)
	for _, c := range columns {
		mark := len(b)
		if b = append(b, ','); mark == start {
			b[mark] = '{'
		}
		b = append(append(b, quote(c.name)...), ':')
		value := len(b)
		if _, ok := c.typ.(Struct); ok {
			b = appendObject(b, c.children, by, text)
		} else if l := by[c]; l != nil {
			b = append(b, text(l)...)
		}
		if len(b) == value {
			b = b[:mark]
		}
	}
	if len(b) == start {
		return b
	}
	return append(b, '}')
}

func quote(s string) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if e.Encode(s) != nil {
		return nil // a string always encodes
	}
	return bytes.TrimSpace(b.Bytes())
}

// boundText is a bound in JSON, or "" when it is left out.
func boundText(l *leafStats, v parquet.Value, upper bool) string {
	if !l.seen || l.nan || !l.leaf.ordered {
		return ""
	}
	switch t := l.leaf.typ.(type) {
	case Decimal:
		return decimalText(t, unscaled(v))
	case Primitive:
		switch t {
		case String:
			s, ok := cut(string(v.ByteArray()), upper)
			if !ok {
				return ""
			}
			return string(quote(s))
		case Double:
			return floatText(v.Double(), 64)
		case Float:
			return floatText(float64(v.Float()), 32)
		case Date:
			return quoteTime(time.Unix(int64(v.Int32())*86400, 0).UTC(), time.DateOnly)
		case Timestamp:
			return quoteTime(time.UnixMicro(v.Int64()).UTC(), "2006-01-02T15:04:05.000000Z07:00")
		}
	}
	return strconv.FormatInt(integer(v), 10)
}

func floatText(f float64, bits int) string {
	if math.IsInf(f, 0) || math.IsNaN(f) {
		return ""
	}
	b, err := json.Marshal(f)
	if bits == 32 {
		b, err = json.Marshal(float32(f))
	}
	if err != nil {
		return ""
	}
	if !bytes.ContainsAny(b, ".eE") {
		b = append(b, ".0"...) // so that no reader takes it for an integer
	}
	return string(b)
}

func quoteTime(t time.Time, form string) string {
	if t.Year() < 1 || t.Year() > 9999 {
		return ""
	}
	return `"` + t.Format(form) + `"`
}

// cut shortens a bound to statLength characters: a lower one to a prefix, an
// upper one to a prefix whose last character is raised, so that it is still a
// bound by bytes, which is the order of code points too. ok is false when
// there is no such prefix, or s is no UTF-8.
func cut(s string, upper bool) (_ string, ok bool) {
	if !utf8.ValidString(s) {
		return "", false
	}
	if utf8.RuneCountInString(s) <= statLength {
		return s, true
	}
	r := []rune(s)[:statLength]
	if !upper {
		return string(r), true
	}
	for i := len(r) - 1; i >= 0; i-- {
		switch {
		case r[i] == utf8.MaxRune:
			continue
		case r[i] == 0xD7FF: // the surrogates behind it are no characters
			r[i] = 0xE000
		default:
			r[i]++
		}
		return string(r[:i+1]), true
	}
	return "", false
}

// fileStats is what this package reads of a file's statistics.
type fileStats struct {
	NumRecords *int64         `json:"numRecords"`
	MinValues  map[string]any `json:"minValues"`
	MaxValues  map[string]any `json:"maxValues"`
	NullCount  map[string]any `json:"nullCount"`
}

// parseStats reads statistics. Ones that are missing or damaged give none:
// they only ever save work.
func parseStats(text string) fileStats {
	var s fileStats
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	if d.Decode(&s) != nil {
		return fileStats{}
	}
	if s.NumRecords != nil && *s.NumRecords < 0 {
		s.NumRecords = nil
	}
	return s
}

// timeBound reads the bound of a date or timestamp column as microseconds
// since 1970. A writer may have cut a timestamp down to milliseconds, so an
// upper bound is taken to lie at the end of its millisecond.
func timeBound(bounds map[string]any, path []string, upper bool) (int64, bool) {
	for len(path) > 1 {
		next, ok := bounds[path[0]].(map[string]any)
		if !ok {
			return 0, false
		}
		bounds, path = next, path[1:]
	}
	text, ok := bounds[path[0]].(string)
	if !ok {
		return 0, false
	}
	for _, form := range []string{time.RFC3339Nano, time.DateOnly, "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999", "2006-01-02T15:04:05.999999999Z0700"} {
		if t, err := time.Parse(form, text); err == nil {
			us := t.UnixMicro()
			if upper && form != time.DateOnly && us%1000 == 0 {
				us += 999
			}
			return us, true
		}
	}
	return 0, false
}
