package sqlapi

import (
	"bytes"
	"encoding/json"
	"testing"
)

func TestTypes(t *testing.T) {
	t.Parallel()
	tests := []struct{ in, text, name string }{
		{"BIGINT", "BIGINT", "LONG"},
		{"INTEGER", "INT", "INT"},
		{"HUGEINT", "DECIMAL(38,0)", "DECIMAL"},
		{"DECIMAL(18,12)", "DECIMAL(18,12)", "DECIMAL"},
		{"VARCHAR", "STRING", "STRING"},
		{"JSON", "STRING", "STRING"},
		{"UUID", "STRING", "STRING"},
		{"ENUM('a,b', ')')", "STRING", "STRING"},
		{"UNION(\"a\" INTEGER)", "STRING", "STRING"},
		{"TIMESTAMP WITH TIME ZONE", "TIMESTAMP", "TIMESTAMP"},
		{"TIMESTAMP", "TIMESTAMP_NTZ", "TIMESTAMP"},
		{"BIGINT[]", "ARRAY<BIGINT>", "ARRAY"},
		{"FLOAT[3][]", "ARRAY<ARRAY<FLOAT>>", "ARRAY"},
		{"MAP(VARCHAR, INTEGER[])", "MAP<STRING, ARRAY<INT>>", "MAP"},
		{`STRUCT("a" BIGINT, "b c" DECIMAL(18,6))`, "STRUCT<a: BIGINT, `b c`: DECIMAL(18,6)>", "STRUCT"},
		{`STRUCT("x,""y)" MAP(VARCHAR, BIGINT))[]`, "ARRAY<STRUCT<`x,\"y)`: MAP<STRING, BIGINT>>>", "ARRAY"},
		{"STRUCT(INTEGER, VARCHAR)", "STRUCT<col1: INT, col2: STRING>", "STRUCT"},
		{"", "STRING", "STRING"},
		{"]", "STRING", "STRING"},
	}
	for _, tt := range tests {
		if got := column(tt.in); got.TypeText != tt.text || got.TypeName != tt.name {
			t.Errorf("column(%s) = %s (%s), want %s (%s)", tt.in, got.TypeText, got.TypeName, tt.text, tt.name)
		}
	}
	if c := column("DECIMAL(18,12)"); c.Precision != 18 || c.Scale != 12 {
		t.Errorf("DECIMAL(18,12) has precision %d and scale %d", c.Precision, c.Scale)
	}
}

func TestFields(t *testing.T) {
	t.Parallel()
	got := Fields(column("STRUCT(\"a\" BIGINT, \"b, `c`: d\" STRUCT(\"x\" VARCHAR, \"y\" BIGINT[]), \"e\" MAP(VARCHAR, BIGINT))").TypeText)
	want := []Column{{Name: "a", TypeText: "BIGINT"}, {Name: "b, `c`: d", TypeText: "STRUCT<x: STRING, y: ARRAY<BIGINT>>", Position: 1}, {Name: "e", TypeText: "MAP<STRING, BIGINT>", Position: 2}}
	if len(got) != len(want) {
		t.Fatalf("Fields = %+v, want %+v", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("field %d = %+v, want %+v", i, got[i], want[i])
		}
	}
	for _, plain := range []string{"BIGINT", "ARRAY<STRUCT<a: BIGINT>>", "MAP<STRING, STRUCT<a: BIGINT>>", "STRUCT<"} {
		if got := Fields(plain); got != nil {
			t.Errorf("Fields(%s) = %+v, want none", plain, got)
		}
	}
}

func TestRows(t *testing.T) {
	t.Parallel()
	tests := []struct {
		row  string
		n    int
		want string // "" is an error
	}{
		{`[1,"a",null,true,1.50]`, 5, `["1","a",null,"true","1.50"]`},
		{`[12345678901234567890.123456789012]`, 1, `["12345678901234567890.123456789012"]`},
		{`["a\"],[\\", "\u00e9,"]`, 2, `["a\"],[\\","\u00e9,"]`},
		{`[{"a":[1,{"b":"}"}]},[1,"x]"],[]]`, 3, `["{\"a\":[1,{\"b\":\"}\"}]}","[1,\"x]\"]","[]"]`},
		{` [ 1 , 2 ] `, 2, `["1","2"]`},
		{`[]`, 0, `[]`},
		{`[1]`, 2, ""},
		{`[1,2]`, 1, ""},
		{`[1,]`, 1, ""},
		{`{"a":1}`, 1, ""},
		{`"x"`, 1, ""},
		{``, 0, ""},
	}
	for _, tt := range tests {
		var b bytes.Buffer
		err := appendRow(&b, []byte(tt.row), tt.n)
		if got := b.String(); err == nil != (tt.want != "") || err == nil && got != tt.want {
			t.Errorf("row %s of %d = %s, %v, want %q", tt.row, tt.n, got, err, tt.want)
		}
	}
}

// Any row comes out as strings that hold the same values.
func FuzzRows(f *testing.F) {
	f.Add(`[1,"a,]\"",{"b":[null]},null]`)
	f.Fuzz(func(t *testing.T, row string) {
		var values []json.RawMessage
		if json.Unmarshal([]byte(row), &values) != nil || values == nil {
			return
		}
		var b bytes.Buffer
		if err := appendRow(&b, []byte(row), len(values)); err != nil {
			t.Fatalf("%s: %v", row, err)
		}
		var texts []*string
		if err := json.Unmarshal(b.Bytes(), &texts); err != nil || len(texts) != len(values) {
			t.Fatalf("%s gave %s: %v", row, b.Bytes(), err)
		}
		for i, v := range values {
			var s *string
			switch {
			case string(v) == "null":
			case v[0] == '"':
				if err := json.Unmarshal(v, &s); err != nil {
					t.Fatal(err)
				}
			default:
				text := string(v)
				s = &text
			}
			if (s == nil) != (texts[i] == nil) || s != nil && *s != *texts[i] {
				t.Fatalf("%s: value %d is %v, want %s", row, i, texts[i], v)
			}
		}
	})
}
