package delta

import (
	"context"
	"fmt"
	"math"
	"math/big"
	"testing"
	"time"
)

// everything is a schema with every type, nested and not.
func everything() Schema {
	return Schema{
		{Name: "id", Type: Long, NotNull: true, Comment: "the key"},
		{Name: "s", Type: String}, {Name: "i", Type: Integer}, {Name: "h", Type: Short}, {Name: "b", Type: Byte},
		{Name: "d", Type: Double}, {Name: "f", Type: Float}, {Name: "t", Type: Boolean}, {Name: "bin", Type: Binary},
		{Name: "day", Type: Date}, {Name: "at", Type: Timestamp},
		{Name: "d9", Type: Decimal{9, 2}}, {Name: "d18", Type: Decimal{18, 6}}, {Name: "d38", Type: Decimal{38, 10}},
		{Name: "st", Type: Struct{{Name: "x", Type: Long}, {Name: "y", Type: Struct{{Name: "name", Type: String}, {Name: "score", Type: Double}}}}},
		{Name: "xs", Type: Array{Element: Long}},
		{Name: "ss", Type: Array{Element: Array{Element: String}}},
		{Name: "m", Type: Map{Key: String, Value: String}},
		{Name: "ms", Type: Map{Key: String, Value: Struct{{Name: "n", Type: Long}, {Name: "tags", Type: Array{Element: String}}}}},
		{Name: "points", Type: Array{Element: Struct{{Name: "x", Type: Double}, {Name: "attrs", Type: Map{Key: String, Value: Long}}}}},
	}
}

// everyRow is a row of everything, all of it null now and then.
func everyRow(i int) Row {
	if i%7 == 3 {
		r := make(Row, 20)
		r[0] = int64(i)
		return r
	}
	at := time.Date(2026, 11, 21, 13, 14, 15, 123456000, time.UTC).Add(time.Duration(i) * time.Hour)
	tags := []any{"a", nil, fmt.Sprint(i)}
	return Row{
		int64(i), fmt.Sprintf("text %d", i), int32(-i), int16(i % 30000), int8(i % 100),
		float64(i) / 4, float32(i) / 2, i%2 == 0, []byte{0, 1, byte(i)},
		at, at,
		fmt.Sprintf("%d.25", i), fmt.Sprintf("-%d.000001", i), new(big.Rat).SetFrac64(int64(i)*1e10+1, 1e10),
		Row{int64(i), Row{fmt.Sprintf("nested %d", i), float64(i) * 1.5}},
		[]int64{int64(i), int64(i) + 1},
		[][]string{{"p", "q"}, {}, nil, {fmt.Sprint(i)}},
		map[string]string{"k": fmt.Sprint(i), "l": "ü"},
		Pairs{{"one", Row{int64(1), tags}}, {"none", nil}},
		[]any{Row{float64(i), map[string]int64{"a": int64(i)}}, nil, Row{nil, nil}},
	}
}

func everyRows(from, to int) func(func(any, error) bool) {
	return func(yield func(any, error) bool) {
		for i := from; i < to; i++ {
			if !yield(everyRow(i), nil) {
				return
			}
		}
	}
}

// testTable makes a table in a new directory.
func testTable(t testing.TB, def Definition, o Options) (*Table, *Dir) {
	t.Helper()
	d, err := MakeDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	table, err := Create(context.Background(), d, def, o)
	if err != nil {
		t.Fatal(err)
	}
	return table, d
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// small is a schema for tests of the log.
func small() Schema {
	return Schema{{Name: "id", Type: Long}, {Name: "at", Type: Timestamp}, {Name: "word", Type: String}, {Name: "part", Type: String}}
}

func smallRow(id int, part any) Row {
	return Row{int64(id), time.Unix(int64(id), 0), fmt.Sprintf("word %d", id), part}
}

var inf = math.Inf(1)
