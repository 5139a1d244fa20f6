//go:build cgo

package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/sallyport-gateway/sallyport/sdk/engine"
)

// Every type as a constant, through a child: SQL, its JSON, its type's name.
func TestTypes(t *testing.T) {
	t.Parallel()
	many := newSeries(t)
	tests := []struct{ sql, json, typ string }{
		{"true", "true", "BOOLEAN"},
		{"(-128)::TINYINT", "-128", "TINYINT"},
		{"255::UTINYINT", "255", "UTINYINT"},
		{"(-32768)::SMALLINT", "-32768", "SMALLINT"},
		{"65535::USMALLINT", "65535", "USMALLINT"},
		{"(-2147483648)::INTEGER", "-2147483648", "INTEGER"},
		{"4294967295::UINTEGER", "4294967295", "UINTEGER"},
		{"9223372036854775807::BIGINT", "9223372036854775807", "BIGINT"},
		{"18446744073709551615::UBIGINT", "18446744073709551615", "UBIGINT"},
		{"(-170141183460469231731687303715884105728)::HUGEINT", "-170141183460469231731687303715884105728", "HUGEINT"},
		{"-1::HUGEINT", "-1", "HUGEINT"},
		{"340282366920938463463374607431768211455::UHUGEINT", "340282366920938463463374607431768211455", "UHUGEINT"},
		{"'123456789012345678901234567890123456789012345'::BIGNUM", "123456789012345678901234567890123456789012345", "BIGNUM"},
		{"'-123456789012345678901234567890123456789012345'::BIGNUM", "-123456789012345678901234567890123456789012345", "BIGNUM"},
		{"0::BIGNUM", "0", "BIGNUM"},
		{"1.50::DECIMAL(4,2)", "1.50", "DECIMAL(4,2)"},
		{"-0.05::DECIMAL(9,2)", "-0.05", "DECIMAL(9,2)"},
		{"12345678901234.5678::DECIMAL(18,4)", "12345678901234.5678", "DECIMAL(18,4)"},
		{"'-99999999999999999999999999999999999.999'::DECIMAL(38,3)", "-99999999999999999999999999999999999.999", "DECIMAL(38,3)"},
		{"7::DECIMAL(5,0)", "7", "DECIMAL(5,0)"},
		{"0.1::DOUBLE", "0.1", "DOUBLE"},
		{"1e300::DOUBLE", "1e+300", "DOUBLE"},
		{"0.1::FLOAT", "0.1", "FLOAT"},
		{"'nan'::DOUBLE", `"NaN"`, "DOUBLE"},
		{"'inf'::FLOAT", `"Infinity"`, "FLOAT"},
		{"'-inf'::DOUBLE", `"-Infinity"`, "DOUBLE"},
		{`'a"\' || chr(10) || chr(1) || 'é🙂'`, `"a\"\\\n\u0001é🙂"`, "VARCHAR"},
		{"'longer than twelve bytes, so not inside'", `"longer than twelve bytes, so not inside"`, "VARCHAR"},
		{"''", `""`, "VARCHAR"},
		{"'\\x00\\xFFabc'::BLOB", `"AP9hYmM="`, "BLOB"},
		{"'10110'::BIT", `"10110"`, "BIT"},
		{"'101100001'::BIT", `"101100001"`, "BIT"},
		{"'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::UUID", `"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"`, "UUID"},
		{"'00000000-0000-0000-0000-000000000001'::UUID", `"00000000-0000-0000-0000-000000000001"`, "UUID"},
		{"DATE '2024-02-29'", `"2024-02-29"`, "DATE"},
		{"DATE '0044-03-15 (BC)'", `"-43-03-15"`, "DATE"},
		{"DATE '12024-01-02'", `"+12024-01-02"`, "DATE"},
		{"'infinity'::DATE", `"infinity"`, "DATE"},
		{"TIME '03:04:05.006'", `"03:04:05.006"`, "TIME"},
		{"TIME '24:00:00'", `"24:00:00"`, "TIME"},
		{"'03:04:05+02:30'::TIMETZ", `"03:04:05+02:30"`, "TIME WITH TIME ZONE"},
		{"'03:04:05-05'::TIMETZ", `"03:04:05-05:00"`, "TIME WITH TIME ZONE"},
		{"TIMESTAMP '1969-12-31 23:59:59.999999'", `"1969-12-31T23:59:59.999999"`, "TIMESTAMP"},
		{"TIMESTAMP '2024-01-02 03:04:05'", `"2024-01-02T03:04:05"`, "TIMESTAMP"},
		{"'-infinity'::TIMESTAMP", `"-infinity"`, "TIMESTAMP"},
		{"'2024-01-02 03:04:05.5+02'::TIMESTAMPTZ", `"2024-01-02T01:04:05.5Z"`, "TIMESTAMP WITH TIME ZONE"},
		{"'2024-01-02 03:04:05'::TIMESTAMP_S", `"2024-01-02T03:04:05"`, "TIMESTAMP_S"},
		{"'2024-01-02 03:04:05.123'::TIMESTAMP_MS", `"2024-01-02T03:04:05.123"`, "TIMESTAMP_MS"},
		{"'2024-01-02 03:04:05.123456789'::TIMESTAMP_NS", `"2024-01-02T03:04:05.123456789"`, "TIMESTAMP_NS"},
		{"INTERVAL '14 months 3 days 04:05:06.5'", `"P1Y2M3DT4H5M6.5S"`, "INTERVAL"},
		{"INTERVAL '-1 second'", `"PT-1S"`, "INTERVAL"},
		{"INTERVAL '0 days'", `"PT0S"`, "INTERVAL"},
		{"'b'::ENUM('a', 'b')", `"b"`, "ENUM('a', 'b')"},
		{"[1, NULL, 3]", "[1,null,3]", "INTEGER[]"},
		{"[]::VARCHAR[]", "[]", "VARCHAR[]"},
		{"[[1], [], NULL, [2, 3]]", "[[1],[],null,[2,3]]", "INTEGER[][]"},
		{"[1, 2]::INTEGER[2]", "[1,2]", "INTEGER[2]"},
		{"{'b': 1, 'a': 'x', 'c': NULL::DATE}", `{"b":1,"a":"x","c":null}`, `STRUCT("b" INTEGER, "a" VARCHAR, "c" DATE)`},
		{"row(1, 'x')", `[1,"x"]`, `STRUCT(INTEGER, VARCHAR)`},
		{"[{'a': 1.5::DECIMAL(3,1)}, NULL]", `[{"a":1.5},null]`, `STRUCT("a" DECIMAL(3,1))[]`},
		{"MAP {'k': [1], 'l': NULL}", `{"k":[1],"l":null}`, "MAP(VARCHAR, INTEGER[])"},
		{"MAP {1: 'x', 2: 'y'}", `{"1":"x","2":"y"}`, "MAP(INTEGER, VARCHAR)"},
		{"MAP {}", `{}`, "MAP(INTEGER, INTEGER)"},
		{"union_value(n := 5)::UNION(s VARCHAR, n INTEGER)", `{"n":5}`, `UNION("s" VARCHAR, "n" INTEGER)`},
		{`'{"a": [1, 2], "b": 12345678901234567890}'::JSON`, `{"a":[1,2],"b":12345678901234567890}`, "JSON"},
		{"NULL", "null", "INTEGER"},
		{"NULL::VARCHAR[]", "null", "VARCHAR[]"},
	}
	for _, tt := range tests {
		// Beside the constant, a whole chunk in which every second row is null.
		sql := "SELECT CASE WHEN i % 2 = 0 THEN v END AS v FROM (SELECT i, (" + tt.sql + ") AS v FROM range(6) r(i))"
		if strings.Contains(tt.sql, "INTEGER[2]") || tt.sql == "MAP {}" { // CASE does not take them
			sql = "SELECT (" + tt.sql + ") AS v"
		}
		got, err := many.ask(engine.Query{SQL: sql}, false)
		if err != nil {
			t.Errorf("%s: %v", tt.sql, err)
			continue
		}
		if got.Columns[0].Type != tt.typ {
			t.Errorf("%s has type %s, want %s", tt.sql, got.Columns[0].Type, tt.typ)
		}
		for i, r := range got.Rows {
			want := "[" + tt.json + "]"
			if i%2 == 1 {
				want = "[null]"
			}
			if string(r) != want || !json.Valid(r) {
				t.Errorf("%s, row %d: %s, want %s", tt.sql, i, r, want)
			}
		}
	}
}

func TestArguments(t *testing.T) {
	t.Parallel()
	e := testEngine(t, config{})
	got, err := all(t.Context(), e, engine.Query{
		SQL:  "SELECT ?, ?, ?, ?, ?, ?",
		Args: []any{nil, true, int64(9223372036854775807), 0.1, "o'x\n", "'; SELECT 1 --"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := `[null,true,9223372036854775807,0.1,"o'x\n","'; SELECT 1 --"]`; rows(got) != want {
		t.Errorf("row %s, want %s", rows(got), want)
	}
	_, err = all(t.Context(), e, engine.Query{SQL: "SELECT ?"})
	wantCode(t, err, "invalid", "1 parameters")
	_, err = all(t.Context(), e, engine.Query{SQL: "SELECT 1", Args: []any{[]int{1}}})
	wantCode(t, err, "invalid", "Argument 1")
}

func TestAppendText(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"", "a", "\"\\\b\f\n\r\t\x7f\x1f", "é\u2028🙂", "a\xffb", "\xed\xa0\x80", strings.Repeat("x", 100)} {
		var got string
		if err := json.Unmarshal(appendText(nil, s), &got); err != nil {
			t.Errorf("appendText(%q): %v", s, err)
		}
		if want := strings.ToValidUTF8(strings.ReplaceAll(s, "\xed\xa0\x80", "\ufffd\ufffd\ufffd"), "\ufffd"); got != want {
			t.Errorf("appendText(%q) reads back as %q, want %q", s, got, want)
		}
	}
}
