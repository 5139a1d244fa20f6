package delta

import (
	"encoding/json"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// statsOf writes rows of one column and returns the file's statistics.
func statsOf(t testing.TB, typ Type, properties map[string]string, values ...any) map[string]any {
	t.Helper()
	table, _ := testTable(t, Definition{Schema: Schema{{Name: "v", Type: typ}}, Properties: properties}, Options{})
	rows := make([]Row, len(values))
	for i, v := range values {
		rows[i] = Row{v}
	}
	if _, err := table.Append(t.Context(), Txn{}, Rows(rows...)); err != nil {
		t.Fatal(err)
	}
	for _, a := range table.state.live {
		var m map[string]any
		d := json.NewDecoder(strings.NewReader(a.Stats))
		d.UseNumber()
		if err := d.Decode(&m); err != nil {
			t.Fatalf("%s: %v", a.Stats, err)
		}
		return m
	}
	return nil
}

// overBatches is rows of several batches, the extremes among them.
func overBatches(most, low, high any) []any {
	values := slices.Repeat([]any{most}, 4*batchRows)
	values[batchRows+1], values[3*batchRows-1] = low, high
	return values
}

func TestStatistics(t *testing.T) {
	t.Parallel()
	n := func(s string) any { return json.Number(s) }
	long := strings.Repeat("x", 31)
	tests := []struct {
		name     string
		typ      Type
		values   []any
		min, max any // nil when left out
		nulls    any
	}{
		{"long", Long, []any{3, nil, -7}, n("-7"), n("3"), n("1")},
		{"long extremes", Long, []any{math.MinInt64, math.MaxInt64}, n("-9223372036854775808"), n("9223372036854775807"), n("0")},
		{"byte", Byte, []any{-3, 4}, n("-3"), n("4"), n("0")},
		{"integer extremes", Integer, []any{math.MaxInt32, nil, math.MinInt32}, n("-2147483648"), n("2147483647"), n("1")},
		{"only nulls", Long, []any{nil, nil}, nil, nil, n("2")},
		{"double", Double, []any{1.5, -2}, n("-2.0"), n("1.5"), n("0")},
		{"float", Float, []any{float32(0.1)}, n("0.1"), n("0.1"), n("0")},
		{"NaN leaves both bounds out", Double, []any{1.0, math.NaN(), 2.0}, nil, nil, n("0")},
		{"infinity leaves its bound out", Double, []any{1.0, inf}, n("1.0"), nil, n("0")},
		{"minus infinity", Double, []any{1.0, -inf}, nil, n("1.0"), n("0")},
		{"NaN float", Float, []any{float32(math.NaN())}, nil, nil, n("0")},
		{"string", String, []any{"b", "a", "c", nil}, "a", "c", n("1")},
		{"empty string", String, []any{"b", nil, ""}, "", "b", n("1")},
		{"string, over batches", String, overBatches("m", "b", "y"), "b", "y", n("0")},
		{"integer, over batches", Integer, overBatches(5, -3, 9), n("-3"), n("9"), n("0")},
		{"string with quotes", String, []any{"\"<&>\n"}, "\"<&>\n", "\"<&>\n", n("0")},
		{"long string", String, []any{long + "yz"}, long + "y", long + "z", n("0")},
		{"long string of 32", String, []any{long + "y"}, long + "y", long + "y", n("0")},
		{"long string before surrogates", String, []any{long + "\uD7FFz"}, long + "\uD7FF", long + "\uE000", n("0")},
		{"long string that cannot be raised there", String, []any{strings.Repeat("x", 30) + "a\U0010FFFFz"}, strings.Repeat("x", 30) + "a\U0010FFFF", strings.Repeat("x", 30) + "b", n("0")},
		{"long string that cannot be raised", String, []any{strings.Repeat("\U0010FFFF", 40)}, strings.Repeat("\U0010FFFF", 32), nil, n("0")},
		{"date", Date, []any{"2026-11-21", "1969-12-31"}, "1969-12-31", "2026-11-21", n("0")},
		{"date outside ISO", Date, []any{-1000000}, nil, nil, n("0")},
		{"timestamp", Timestamp, []any{time.Date(2026, 1, 2, 3, 4, 5, 678901000, time.UTC), int64(-1)}, "1969-12-31T23:59:59.999999Z", "2026-01-02T03:04:05.678901Z", n("0")},
		{"decimal", Decimal{5, 2}, []any{"-0.05", "123.4"}, n("-0.05"), n("123.40"), n("0")},
		{"decimal of nine digits", Decimal{9, 0}, []any{"999999999", "-999999999", nil}, n("-999999999"), n("999999999"), n("1")},
		{"decimal of eighteen digits", Decimal{18, 0}, []any{"-999999999999999999", "999999999999999999"}, n("-999999999999999999"), n("999999999999999999"), n("0")},
		{"wide decimal", Decimal{38, 0}, []any{"99999999999999999999999999999999999999", "-99999999999999999999999999999999999999"}, n("-99999999999999999999999999999999999999"), n("99999999999999999999999999999999999999"), n("0")},
		{"boolean has no bounds", Boolean, []any{true, nil}, nil, nil, n("1")},
		{"binary has no bounds", Binary, []any{[]byte{1}, nil}, nil, nil, n("1")},
		{"array counts its own nulls", Array{Element: Long}, []any{[]int{1, 2}, nil, []any{nil}, []int{}}, nil, nil, n("1")},
		{"map counts its own nulls", Map{Key: String, Value: Long}, []any{map[string]int{"a": 1}, nil}, nil, nil, n("1")},
		{"struct", Struct{{Name: "x", Type: Long}, {Name: "y", Type: Struct{{Name: "z", Type: String}}}}, []any{Row{1, nil}, nil, Row{2, Row{"q"}}},
			map[string]any{"x": n("1"), "y": map[string]any{"z": "q"}}, map[string]any{"x": n("2"), "y": map[string]any{"z": "q"}}, map[string]any{"x": n("1"), "y": map[string]any{"z": n("2")}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := statsOf(t, tt.typ, nil, tt.values...)
			got := func(key string) any { return s[key].(map[string]any)["v"] }
			if !reflect.DeepEqual(got("minValues"), tt.min) || !reflect.DeepEqual(got("maxValues"), tt.max) || !reflect.DeepEqual(got("nullCount"), tt.nulls) {
				t.Errorf("got %v, want min %v, max %v, nulls %v", s, tt.min, tt.max, tt.nulls)
			}
		})
	}
}

func TestStatisticsColumns(t *testing.T) {
	t.Parallel()
	typ := Struct{{Name: "x", Type: Long}, {Name: "y", Type: Long}}
	tests := []struct {
		name       string
		properties map[string]string
		want       string
	}{
		{"first one", map[string]string{propStatsColumns: "1"}, `{"numRecords":1,"minValues":{"v":{"x":1}},"maxValues":{"v":{"x":1}},"nullCount":{"v":{"x":0}}}`},
		{"none", map[string]string{propStatsColumns: "0"}, `{"numRecords":1,"minValues":{},"maxValues":{},"nullCount":{}}`},
		{"by name", map[string]string{propStatsNames: "v.y"}, `{"numRecords":1,"minValues":{"v":{"y":2}},"maxValues":{"v":{"y":2}},"nullCount":{"v":{"y":0}}}`},
	}
	for _, tt := range tests {
		var want map[string]any
		d := json.NewDecoder(strings.NewReader(tt.want))
		d.UseNumber()
		if err := d.Decode(&want); err != nil {
			t.Fatal(err)
		}
		if got := statsOf(t, typ, tt.properties, Row{1, 2}); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %v, want %v", tt.name, got, want)
		}
	}
}

func TestTimeBound(t *testing.T) {
	t.Parallel()
	tests := []struct {
		text  string
		upper bool
		want  int64
		ok    bool
	}{
		{`{"at":"1970-01-01T00:00:01.5Z"}`, false, 1500000, true},
		{`{"at":"1970-01-01T00:00:01.500Z"}`, true, 1500999, true}, // cut down to a millisecond
		{`{"at":"1970-01-01T00:00:01.500001Z"}`, true, 1500001, true},
		{`{"at":"1970-01-01T01:00:01+01:00"}`, false, 1000000, true},
		{`{"at":"1970-01-02"}`, true, 86400000000, true},
		{`{"at":"soon"}`, false, 0, false},
		{`{"at":5}`, false, 0, false},
		{`{}`, false, 0, false},
	}
	for _, tt := range tests {
		var m map[string]any
		if err := json.Unmarshal([]byte(tt.text), &m); err != nil {
			t.Fatal(err)
		}
		if got, ok := timeBound(m, []string{"at"}, tt.upper); got != tt.want || ok != tt.ok {
			t.Errorf("timeBound(%s, %v) = %d, %v; want %d, %v", tt.text, tt.upper, got, ok, tt.want, tt.ok)
		}
	}
	nested := map[string]any{"a": map[string]any{"b": "1970-01-02"}}
	if got, ok := timeBound(nested, []string{"a", "b"}, false); !ok || got != 86400000000 {
		t.Errorf("nested: got %d, %v", got, ok)
	}
}

// A cut bound is a bound, whatever the text.
func FuzzCut(f *testing.F) {
	f.Add(strings.Repeat("é", 40))
	f.Add(strings.Repeat("\U0010FFFF", 33))
	f.Fuzz(func(t *testing.T, s string) {
		if low, ok := cut(s, false); ok && low > s {
			t.Errorf("%q is above %q", low, s)
		}
		if high, ok := cut(s, true); ok && high < s {
			t.Errorf("%q is below %q", high, s)
		}
	})
}

// Statistics of any form never stop a retention and never decide against the
// text they were read from.
func FuzzStats(f *testing.F) {
	f.Add(`{"numRecords":3,"minValues":{"at":"2026-01-01T00:00:00Z","s":{"x":1}},"maxValues":{"at":"2026-01-02T00:00:00.123Z"},"nullCount":{"at":0,"s":{"x":0}}}`)
	f.Add(`{"numRecords":-1,"minValues":[],"nullCount":{"at":{"x":0}}}`)
	f.Add(`{"minValues":null}`)
	f.Fuzz(func(t *testing.T, text string) {
		for _, path := range [][]string{{"at"}, {"s", "x"}, {"s", "x", "y"}} {
			c := &condition{path: path, micros: 1767225600000000}
			s := parseStats(text)
			got := c.decide(&add{Stats: text})
			if got == dropFile && !noNulls(s.NullCount, path) {
				t.Errorf("%q: drops a file that may have nulls", text)
			}
			if s.NumRecords != nil && *s.NumRecords < 0 {
				t.Errorf("%q: a negative number of rows", text)
			}
		}
	})
}

// Any line is an action or an error, and what is written is read back.
func FuzzAction(f *testing.F) {
	f.Add(addLine("a.parquet", `"x"`))
	f.Add(removeLine("a.parquet"))
	f.Add(proto1)
	f.Add(meta1)
	f.Add(`{"txn":{"appId":"x","version":4}}`)
	f.Add(`{"commitInfo":{"timestamp":"late","txnId":5}}`)
	f.Fuzz(func(t *testing.T, line string) {
		a, err := parseAction([]byte(line))
		if err != nil {
			return
		}
		a.info()
		st := newWriterState()
		st.apply(a)
		b, err := encodeActions([]action{a})
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		again, err := parseAction(b)
		if err != nil {
			t.Fatalf("%q was written as %q: %v", line, b, err)
		}
		if (a.Add == nil) != (again.Add == nil) || a.Add != nil && (a.Add.Path != again.Add.Path || a.Add.Size != again.Add.Size) {
			t.Errorf("%q was read back as %q", line, b)
		}
	})
}

func FuzzSchema(f *testing.F) {
	f.Add(everything().String())
	f.Add(strings.ReplaceAll(schema1, `\"`, `"`))
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseSchema(text)
		if err != nil || s.check() != nil {
			return
		}
		again, err := ParseSchema(s.String())
		if err != nil || again.String() != s.String() {
			t.Errorf("%q: read back as %q, %v", s, again, err)
		}
		newLayout(s, func(string) bool { return false })
	})
}
