//go:build cgo

package main

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
)

// functionList names every scalar, aggregate and macro of the pinned DuckDB
// that computes from its arguments only. What tells of settings, sessions,
// files or other statements is not in it; a test compares it with the library.
//
//go:embed functions.txt
var functionList string

// rules is what a statement may consist of. Whatever it does not name is
// refused, so that a construct of a newer DuckDB is not let through unseen.
type rules struct {
	functions, tableFunctions map[string]bool
	classes, types            map[string]bool
}

func newRules() *rules {
	return &rules{
		functions: set(append(strings.Fields(functionList),
			"unnest", "unpack", "row_number", "rank", "dense_rank", "rank_dense", "percent_rank", "cume_dist", "ntile", "lead", "lag",
			"first_value", "last_value", "nth_value", "fill", "struct_pack", "struct_extract", "")...),
		tableFunctions: set("range", "generate_series", "unnest"),
		classes: set("BETWEEN", "CASE", "CAST", "COLLATE", "COLUMN_REF", "COMPARISON", "CONJUNCTION", "CONSTANT", "DEFAULT", "FUNCTION",
			"LAMBDA", "LAMBDA_REF", "OPERATOR", "PARAMETER", "POSITIONAL_REFERENCE", "STAR", "SUBQUERY", "WINDOW"),
		types: set("SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE",
			"BASE_TABLE", "EMPTY", "EXPRESSION_LIST", "JOIN", "PIVOT", "SUBQUERY", "TABLE_FUNCTION",
			"LIMIT_MODIFIER", "LIMIT_PERCENT_MODIFIER", "ORDER_MODIFIER", "DISTINCT_MODIFIER", "ORDER_DEFAULT", "ASCENDING", "DESCENDING",
			"DECIMAL_TYPE_INFO", "LIST_TYPE_INFO", "STRUCT_TYPE_INFO", "ARRAY_TYPE_INFO", "STRING_TYPE_INFO", "GENERIC_TYPE_INFO", "UNBOUND_TYPE_INFO", "INTEGER_LITERAL_TYPE_INFO"),
	}
}

func set(names ...string) map[string]bool {
	m := make(map[string]bool, len(names))
	for _, n := range names {
		m[n] = true
	}
	return m
}

// maxSQL is the longest statement, in bytes.
const maxSQL = 256 << 10

// parsed is a statement in the form DuckDB gives it as JSON.
type parsed struct {
	rules  *rules
	sql    string
	tables []mention
	longs  []mention // column references with four or more parts
	err    error     // the first thing that is not allowed
}

// mention is a name at a place in the text.
type mention struct {
	name name
	at   int
}

type syntaxTree struct {
	Error      bool             `json:"error"`
	Type       string           `json:"error_type"`
	Message    string           `json:"error_message"`
	Position   string           `json:"position"`
	Statements []map[string]any `json:"statements"`
}

var errSeveral = apierror.New(apierror.Invalid, "Only one statement at a time is possible; send the others separately.")

func invalid(format string, args ...any) error {
	return apierror.New(apierror.Invalid, format, args...)
}

// parse reads the tree that json_serialize_sql made of sql. Its error is about
// text that is no single statement; what a statement may not do is in
// parsed.err. Kind is "select", or the statement's first word.
func (r *rules) parse(sql, tree string) (kind string, p *parsed, err error) {
	dec := json.NewDecoder(strings.NewReader(tree))
	dec.UseNumber()
	var t syntaxTree
	if err := dec.Decode(&t); err != nil {
		return "", nil, fmt.Errorf("syntax tree: %w", err)
	}
	kind = firstWord(sql)
	switch {
	case t.Error && t.Type == "not implemented":
		p = &parsed{rules: r, sql: sql, err: notSelect(kind)}
		return kind, p, nil
	case t.Error:
		where := ""
		if n, err := strconv.Atoi(t.Position); err == nil {
			where = " at " + excerpt(sql, n)
		}
		return "", nil, invalid("The SQL cannot be read: %s%s.", strings.TrimSuffix(clean(t.Message), "."), where)
	case len(t.Statements) == 0:
		return "", nil, invalid("The SQL is empty; send one SELECT.")
	case len(t.Statements) > 1:
		return "", nil, errSeveral
	}
	p = &parsed{rules: r, sql: sql}
	p.walk(t.Statements[0], nil)
	slices.SortFunc(p.tables, func(a, b mention) int { return a.at - b.at })
	if p.err == nil || kind != "show" && kind != "describe" && kind != "desc" && kind != "summarize" {
		kind = "select"
	}
	return kind, p, nil
}

func notSelect(kind string) error {
	if kind == "pivot" || kind == "unpivot" {
		return invalid("Only SELECT over the declared tables is possible; write %s as SELECT … FROM (table) %s (… IN (…)).", strings.ToUpper(kind), strings.ToUpper(kind))
	}
	if kind == "" {
		return invalid("Only SELECT over the declared tables is possible.")
	}
	return invalid("Only SELECT over the declared tables is possible; %s is not available.", strings.ToUpper(kind))
}

// scope is the WITH names that can be seen, inner before outer.
type scope struct {
	table string
	outer *scope
}

func (s *scope) has(table string) bool {
	for ; s != nil; s = s.outer {
		if strings.EqualFold(s.table, table) {
			return true
		}
	}
	return false
}

func (p *parsed) refuse(format string, args ...any) {
	if p.err == nil {
		p.err = invalid(format, args...)
	}
}

// walk visits every node below v. sc is what WITH names v can see.
func (p *parsed) walk(v any, sc *scope) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			p.walk(e, sc)
		}
	case map[string]any:
		if class, ok := v["class"].(string); ok {
			p.expression(class, v, sc)
			return
		}
		if typ, ok := v["type"].(string); ok {
			p.node(typ, v, sc)
			return
		}
		p.children(v, sc)
	}
}

func (p *parsed) children(v map[string]any, sc *scope, except ...string) {
	for k, e := range v {
		if !slices.Contains(except, k) {
			p.walk(e, sc)
		}
	}
}

func (p *parsed) expression(class string, v map[string]any, sc *scope) {
	if !p.rules.classes[class] {
		p.refuse("This kind of expression (%s) is not available here.", strings.ToLower(class))
		return
	}
	switch class {
	case "CONSTANT": // a value of the text, with nothing below that runs
		return
	case "FUNCTION", "WINDOW":
		p.function(v, p.rules.functions)
	case "COLUMN_REF":
		if names, _ := v["column_names"].([]any); len(names) >= 4 {
			var n [3]string
			for i := range n {
				n[i], _ = names[i].(string)
			}
			p.longs = append(p.longs, mention{name{n[0], n[1], n[2]}, location(v)})
		}
	}
	p.children(v, sc)
}

func (p *parsed) function(v map[string]any, allowed map[string]bool) {
	fn, _ := v["function_name"].(string)
	schema, _ := v["schema"].(string)
	catalog, _ := v["catalog"].(string)
	if !allowed[strings.ToLower(fn)] || schema != "" && schema != "main" || catalog != "" {
		p.refuse("Function %s is not available here; functions that compute from their arguments are, and so are range, generate_series and unnest in FROM.", name{catalog, schema, fn})
	}
}

func (p *parsed) node(typ string, v map[string]any, sc *scope) {
	if typ == "SHOW_REF" {
		p.refuse("Only SELECT over the declared tables is possible; %s is not available. Read a few rows with LIMIT instead.", strings.ToUpper(firstWord(p.sql)))
		return
	}
	if !p.rules.types[typ] {
		p.refuse("This kind of query part (%s) is not available here.", strings.ToLower(typ))
		return
	}
	switch typ {
	case "BASE_TABLE":
		p.table(v, sc)
	case "TABLE_FUNCTION":
		fn, _ := v["function"].(map[string]any)
		if fn == nil {
			p.refuse("This table function is not available here.")
			return
		}
		p.function(fn, p.rules.tableFunctions)
		p.children(fn, sc)
		p.children(v, sc, "function")
	case "SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE":
		sc = p.with(v, sc)
		if typ == "RECURSIVE_CTE_NODE" {
			p.walk(v["left"], sc)
			own, _ := v["cte_name"].(string)
			p.walk(v["right"], &scope{own, sc})
			p.children(v, sc, "cte_map", "left", "right")
			return
		}
		p.children(v, sc, "cte_map")
	default:
		p.children(v, sc)
	}
}

// with visits the WITH queries of v: each sees the ones before it, and not
// itself. It returns what v itself can see.
func (p *parsed) with(v map[string]any, sc *scope) *scope {
	ctes, _ := v["cte_map"].(map[string]any)
	entries, _ := ctes["map"].([]any)
	for _, e := range entries {
		entry, _ := e.(map[string]any)
		key, _ := entry["key"].(string)
		p.walk(entry["value"], sc)
		sc = &scope{key, sc}
	}
	return sc
}

func (p *parsed) table(v map[string]any, sc *scope) {
	var n name
	n.catalog, _ = v["catalog_name"].(string)
	n.schema, _ = v["schema_name"].(string)
	n.table, _ = v["table_name"].(string)
	if v["at_clause"] != nil {
		p.refuse("Table %s: only the newest version can be read; leave AT out.", n)
	}
	p.children(v, sc, "at_clause")
	if n.catalog == "" && n.schema == "" && sc.has(n.table) {
		return
	}
	p.tables = append(p.tables, mention{n, location(v)})
}

func location(v map[string]any) int {
	n, _ := v["query_location"].(json.Number)
	at, err := strconv.Atoi(string(n))
	if err != nil {
		return -1
	}
	return at
}

// names are the tables mentioned, each once, as written.
func (p *parsed) names() []string {
	var out []string
	seen := map[name]bool{}
	for _, m := range p.tables {
		if !seen[m.name.fold()] {
			seen[m.name.fold()] = true
			out = append(out, m.name.String())
		}
	}
	return out
}

// resolve checks the statement against the relations there are, and gives the
// text with every table at the place where its view is.
func (p *parsed) resolve(relations []name) (string, error) {
	if p.err != nil {
		return "", p.err
	}
	known := map[name]name{}
	for _, r := range relations {
		known[r.fold()] = r
	}
	var edits []mention
	for _, m := range p.tables {
		if _, ok := known[m.name.fold()]; !ok {
			return "", absent(m.name, relations)
		}
		edits = append(edits, m)
	}
	for _, m := range p.longs {
		if _, ok := known[m.name.fold()]; ok {
			edits = append(edits, m)
		}
	}
	slices.SortFunc(edits, func(a, b mention) int { return a.at - b.at })
	var b strings.Builder
	done := 0
	for _, m := range edits {
		if m.at < done {
			return "", unusual(m.name)
		}
		end, err := p.find(m)
		if err != nil {
			return "", err
		}
		b.WriteString(p.sql[done:m.at])
		b.WriteString(known[m.name.fold()].view().quoted())
		done = end
	}
	b.WriteString(p.sql[done:])
	return b.String(), nil
}

// find makes sure that the name of m is in the text where the tree says, and
// returns where it ends.
func (p *parsed) find(m mention) (int, error) {
	parts := []string{m.name.catalog, m.name.schema, m.name.table}
	for parts[0] == "" {
		parts = parts[1:]
	}
	end := m.at
	for i, want := range parts {
		if i > 0 {
			dot := skipSpace(p.sql, end)
			if dot >= len(p.sql) || p.sql[dot] != '.' {
				return 0, unusual(m.name)
			}
			end = skipSpace(p.sql, dot+1)
		}
		got, after, ok := identifier(p.sql, end)
		if !ok || !strings.EqualFold(got, want) {
			return 0, unusual(m.name)
		}
		end = after
	}
	return end, nil
}

func unusual(n name) error {
	return invalid("Table %s is written in a way that cannot be read here; write the name plainly, with ordinary spaces around it.", n)
}

func absent(n name, relations []name) error {
	if len(relations) == 0 {
		return invalid("Table %s does not exist here. No table is declared.", n)
	}
	const shown = 20
	var b strings.Builder
	for i, r := range relations {
		if i == shown {
			fmt.Fprintf(&b, " and %d more", len(relations)-shown)
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(r.String())
	}
	return invalid("Table %s does not exist here. Available: %s.", n, b.String())
}
