package sqlapi

import (
	"reflect"
	"strings"
	"testing"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
)

func value(s string) *string { return &s }

func TestBind(t *testing.T) {
	t.Parallel()
	text := func(names ...string) (ps []Parameter) {
		for _, n := range names {
			ps = append(ps, Parameter{Name: n, Value: value("v")})
		}
		return ps
	}
	tests := []struct {
		sql  string
		ps   []Parameter
		want string
	}{
		{"SELECT 1", nil, "SELECT 1"},
		{"SELECT :x", nil, "SELECT :x"}, // without parameters nothing is looked for
		{"SELECT :x", text("x"), "SELECT $1"},
		{":x", text("x"), "$1"},
		{"SELECT :b, :a, :b", text("a", "b"), "SELECT $2, $1, $2"},
		{"WHERE a=:x AND b>:y", text("x", "y"), "WHERE a=$1 AND b>$2"},
		{"f(:x,:x)", text("x"), "f($1,$1)"},
		{"SELECT :x::INT", text("x"), "SELECT $1::INT"},
		{"SELECT a::x, :x", text("x"), "SELECT a::x, $1"},
		{"SELECT {'a':x, 'b': :x}", text("x"), "SELECT {'a':x, 'b': $1}"},
		{"SELECT l[1:x], :x", text("x"), "SELECT l[1:x], $1"},
		{"SELECT ':x', \":x\", `:x`, :x", text("x"), "SELECT ':x', \":x\", `:x`, $1"},
		{"SELECT 'it''s :x', :x", text("x"), "SELECT 'it''s :x', $1"},
		{`SELECT E'\':x', :x`, text("x"), `SELECT E'\':x', $1`},
		{`SELECT 'a\', :x, 'b'`, text("x"), `SELECT 'a\', $1, 'b'`},
		{`SELECT THE'\', :x`, text("x"), `SELECT THE'\', $1`},
		{`SELECT é||e'\':x', :x`, text("x"), `SELECT é||e'\':x', $1`},
		{"SELECT $$ :x $$, $q$ :x $$ $q$, :x", text("x"), "SELECT $$ :x $$, $q$ :x $$ $q$, $1"},
		{"SELECT 1 -- :x\n, :x /* :x /* :x */ :x */", text("x"), "SELECT 1 -- :x\n, $1 /* :x /* :x */ :x */"},
		{"SELECT :x_1, :x1", text("x_1", "x1"), "SELECT $1, $2"},
		{"SELECT :x 'open", text("x"), "SELECT $1 'open"},
		{"SELECT :x /* open", text("x"), "SELECT $1 /* open"},
		{"LIMIT :n", []Parameter{{Name: "n", Value: value("5"), Type: "int"}}, "LIMIT $1"},
		{"d > :d", []Parameter{{Name: "d", Value: value("2026-11-01"), Type: "DATE"}}, "d > CAST($1 AS DATE)"},
		{"d > :d", []Parameter{{Name: "d", Type: "DATE"}}, "d > CAST($1 AS DATE)"},
		{"d > :d", []Parameter{{Name: "d", Value: value("1.5"), Type: "decimal(18, 6)"}}, "d > CAST($1 AS DECIMAL(18, 6))"},
		{"d > :d", []Parameter{{Name: "d", Value: value("1"), Type: "DECIMAL"}}, "d > CAST($1 AS DECIMAL(10,0))"},
		{"d > :d", []Parameter{{Name: "d", Value: value("x"), Type: "TIMESTAMP"}}, "d > CAST($1 AS TIMESTAMP WITH TIME ZONE)"},
	}
	for _, tt := range tests {
		got, args, err := bind(tt.sql, tt.ps)
		if err != nil || got != tt.want || len(args) != len(tt.ps) {
			t.Errorf("bind(%q) = %q, %v, %v, want %q", tt.sql, got, args, err, tt.want)
		}
	}
}

func TestBoundValues(t *testing.T) {
	t.Parallel()
	ps := []Parameter{
		{Name: "a", Value: value("'; DROP TABLE t; --")}, {Name: "b", Value: value(" 7 "), Type: "BIGINT"}, {Name: "c"}, {Name: "d", Type: "VOID"},
		{Name: "e", Value: value("1.10"), Type: "DECIMAL(10,2)"}, {Name: "f", Value: value("-128"), Type: "TINYINT"}, {Name: "g", Type: "BIGINT"},
	}
	_, args, err := bind("SELECT :a, :b, :c, :d, :e, :f, :g", ps)
	if want := []any{"'; DROP TABLE t; --", int64(7), nil, nil, "1.10", int64(-128), nil}; err != nil || !reflect.DeepEqual(args, want) {
		t.Errorf("args = %v, %v, want %v", args, err, want)
	}
}

func TestParametersThatAreRefused(t *testing.T) {
	t.Parallel()
	one := func(p Parameter) []Parameter { return []Parameter{p} }
	tests := []struct {
		sql   string
		ps    []Parameter
		param string
		says  string
	}{
		{"SELECT :x", one(Parameter{Name: "y"}), "parameters", "marker :x"},
		{"SELECT 1", one(Parameter{Name: "y"}), "parameters[0].name", "no marker :y"},
		{"SELECT ':y'", one(Parameter{Name: "y"}), "parameters[0].name", "no marker :y"},
		{"SELECT l[:y]", one(Parameter{Name: "y"}), "statement", "[(:y)"},
		{"SELECT ?", one(Parameter{Value: value("x")}), "parameters[0].name", "by position"},
		{"SELECT :1", one(Parameter{Name: "1"}), "parameters[0].name", "letters"},
		{"SELECT :y", []Parameter{{Name: "y"}, {Name: "y"}}, "parameters[1].name", "two parameters called y"},
		{"SELECT :y", one(Parameter{Name: "y", Value: value("x"), Type: "ARRAY<INT>"}), "parameters[0].type", `"ARRAY<INT>" cannot be bound`},
		{"SELECT :y", one(Parameter{Name: "y", Value: value("x"), Type: "INT); DROP"}), "parameters[0].type", "cannot be bound"},
		{"SELECT :y", one(Parameter{Name: "y", Value: value("x"), Type: "DECIMAL(1,1)) --"}), "parameters[0].type", "cannot be bound"},
		{"SELECT :y", one(Parameter{Name: "y", Value: value("1.5"), Type: "INT"}), "parameters[0].value", `"1.5" is no INT`},
		{"SELECT :y", one(Parameter{Name: "y", Value: value("300"), Type: "TINYINT"}), "parameters[0].value", "TINYINT"},
		{"SELECT :y", one(Parameter{Name: "y", Value: value("x"), Type: "VOID"}), "parameters[0].value", "VOID"},
		{"SELECT :y", make([]Parameter, maxParameters+1), "parameters", "at most 256"},
	}
	for _, tt := range tests {
		_, _, err := bind(tt.sql, tt.ps)
		e := apierror.From(err)
		if err == nil || e.Param != tt.param || !strings.Contains(e.Message, tt.says) || e.Code != apierror.Invalid && e.Code != apierror.Unsupported {
			t.Errorf("bind(%q, %v) = %v (%s), want it at %s with %q", tt.sql, tt.ps, err, e.Param, tt.param, tt.says)
		}
	}
}

// Whatever the text, only markers change, and only to what the engine numbers.
func FuzzBind(f *testing.F) {
	f.Add("SELECT :x, ':x' -- :x")
	f.Add("E'\\' $a$ :x $a$ /* :x")
	f.Add("[:x::x")
	f.Fuzz(func(t *testing.T, sql string) {
		got, _, err := bind(sql, []Parameter{{Name: "x", Value: value("v")}})
		if err != nil {
			return
		}
		back, rest := "", got
		for orig := sql; ; {
			i := 0
			for i < len(rest) && i < len(orig) && rest[i] == orig[i] {
				i++
			}
			back, rest, orig = back+rest[:i], rest[i:], orig[i:]
			if rest == "" && orig == "" {
				break
			}
			if !strings.HasPrefix(rest, "$1") || !strings.HasPrefix(orig, ":x") {
				t.Fatalf("bind(%q) = %q", sql, got)
			}
			back, rest, orig = back+":x", rest[2:], orig[2:]
		}
		if back != sql {
			t.Fatalf("bind(%q) = %q", sql, got)
		}
	})
}
