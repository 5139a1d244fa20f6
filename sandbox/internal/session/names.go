package session

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// rewriteNames replaces the names of tables, main.sales.reviews and
// sales.reviews, by the quoted names of their views, outside strings and
// comments. Where a table stands in a FROM list without an alias it gets its
// last part as one, so that reviews.stars names its column as in other
// databases; a name of two parts is a table only in a FROM list. A longer one
// there that is no table's is quoted too: SQLite then says that there is no such
// table, and not that it expects no second dot. A view that a program makes
// becomes a temporary one, as those of the tables are: SQLite lets no other refer
// to them.
func rewriteNames(sql string, tables []Table) string {
	w := &rewriter{tokens: tokenize(sql), tables: tables}
	w.clauses = []clause{{}}
	for w.at < len(w.tokens) {
		w.step()
	}
	return w.out.String()
}

type kind byte

const (
	other  kind = iota // punctuation, numbers, strings
	space              // white space and comments
	word               // a plain identifier or keyword
	quoted             // an identifier in quotes
)

type token struct {
	kind kind
	text string // as written
	name string // of an identifier, without its quotes
}

func (t token) is(keyword string) bool { return t.kind == word && strings.EqualFold(t.text, keyword) }

// clause is where in a query, at one depth of parentheses, the rewriter stands.
type clause struct {
	from bool // in a FROM list
}

type rewriter struct {
	tokens  []token
	at      int
	tables  []Table
	clauses []clause
	due     bool // the next name is that of a table
	out     strings.Builder
}

// endsFrom are the words after which a comma does not continue a FROM list.
var endsFrom = []string{"WHERE", "GROUP", "ORDER", "HAVING", "LIMIT", "WINDOW", "UNION", "EXCEPT", "INTERSECT", "SELECT", "SET", "VALUES", "RETURNING"}

// notAlias are the words that may follow a table and are no alias.
var notAlias = append([]string{"AS", "JOIN", "INNER", "LEFT", "RIGHT", "FULL", "OUTER", "CROSS", "NATURAL", "ON", "USING", "INDEXED", "NOT", "WITH"}, endsFrom...)

func isWord(t token, words []string) bool {
	return t.kind == word && slices.ContainsFunc(words, t.is)
}

func (w *rewriter) step() {
	t := w.tokens[w.at]
	top := &w.clauses[len(w.clauses)-1]
	switch {
	case t.kind == space:
		w.copy(1)
		return
	case t.is("CREATE"):
		w.copy(1)
		if i := w.skipSpace(w.at); i < len(w.tokens) && w.tokens[i].is("VIEW") {
			w.out.WriteString(" TEMP")
		}
		w.due = false
		return
	case t.is("FROM"), t.is("JOIN"):
		top.from, w.due = true, true
		w.copy(1)
		return
	case t.text == "(":
		w.clauses = append(w.clauses, clause{from: w.due})
		w.copy(1) // due stays: FROM (a JOIN b)
		return
	case t.text == ")":
		if len(w.clauses) > 1 {
			w.clauses = w.clauses[:len(w.clauses)-1]
		}
	case t.text == ",":
		w.due = top.from
		w.copy(1)
		return
	case t.text == ";":
		w.clauses = []clause{{}}
	case isWord(t, endsFrom):
		top.from = false
	case t.kind == word || t.kind == quoted:
		w.name()
		w.due = false
		return
	}
	w.due = false
	w.copy(1)
}

// copy writes the next n tokens as they are.
func (w *rewriter) copy(n int) {
	for _, t := range w.tokens[w.at : w.at+n] {
		w.out.WriteString(t.text)
	}
	w.at += n
}

// name writes a chain of identifiers with dots between them.
func (w *rewriter) name() {
	parts := []string{w.tokens[w.at].name}
	ends := []int{w.at + 1} // where in the tokens each part ends
	for i := w.at + 1; ; {
		dot := w.skipSpace(i)
		if dot >= len(w.tokens) || w.tokens[dot].text != "." {
			break
		}
		i = w.skipSpace(dot + 1)
		if i >= len(w.tokens) || w.tokens[i].kind != word && w.tokens[i].kind != quoted {
			break
		}
		parts = append(parts, w.tokens[i].name)
		i++
		ends = append(ends, i)
	}
	t, n := w.table(parts)
	if n == 0 && w.due && len(parts) > 2 {
		w.out.WriteString(quoteName(strings.Join(parts, ".")))
		w.at = ends[len(ends)-1]
		return
	}
	if n == 0 {
		w.copy(ends[len(ends)-1] - w.at)
		return
	}
	bare := bareName(t.Name)
	unique := bareUnique(w.tables, bare)
	if w.due || !unique {
		w.out.WriteString(quoteName(viewName(t.Name)))
	} else {
		w.out.WriteString(quoteName(bare))
	}
	w.at = ends[n-1]
	if w.due && n == len(parts) && unique && !w.aliased() {
		w.out.WriteString(" AS " + quoteName(bare))
	}
	w.copy(ends[len(ends)-1] - w.at)
}

// table finds the table that a chain of names starts with, and how many parts
// of the chain name it.
func (w *rewriter) table(parts []string) (Table, int) {
	for n := len(parts); n >= 2; n-- {
		if t, ok := lookup(w.tables, parts[:n]); ok {
			return t, n
		}
	}
	// schema.table in a FROM list, schema.table.column elsewhere
	if n := len(parts); n >= 2 && (w.due && n == 2 || !w.due && n >= 3) {
		if t, ok := lookupSuffix(w.tables, parts[:2]); ok {
			return t, 2
		}
	}
	return Table{}, 0
}

// aliased says whether an alias follows.
func (w *rewriter) aliased() bool {
	i := w.skipSpace(w.at)
	if i >= len(w.tokens) {
		return false
	}
	t := w.tokens[i]
	return t.is("AS") || t.kind == quoted || t.kind == word && !isWord(t, notAlias)
}

func (w *rewriter) skipSpace(i int) int {
	for i < len(w.tokens) && w.tokens[i].kind == space {
		i++
	}
	return i
}

// tokenize splits SQL as SQLite does, as far as names are concerned. The texts
// of the tokens, put together, are the input.
func tokenize(sql string) []token {
	var out []token
	for len(sql) > 0 {
		t := nextToken(sql)
		out = append(out, t)
		sql = sql[len(t.text):]
	}
	return out
}

func nextToken(sql string) token {
	c := sql[0]
	switch {
	case c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f':
		return token{kind: space, text: sql[:1]}
	case strings.HasPrefix(sql, "--"):
		n := strings.IndexByte(sql, '\n')
		if n < 0 {
			n = len(sql)
		}
		return token{kind: space, text: sql[:n]}
	case strings.HasPrefix(sql, "/*"):
		n := strings.Index(sql[2:], "*/")
		if n < 0 {
			return token{kind: space, text: sql}
		}
		return token{kind: space, text: sql[:n+4]}
	case c == '\'':
		n, _ := quotedEnd(sql, '\'')
		return token{text: sql[:n]}
	case c == '"' || c == '`':
		n, closed := quotedEnd(sql, c)
		if !closed {
			return token{text: sql}
		}
		q := string(c)
		return token{kind: quoted, text: sql[:n], name: strings.ReplaceAll(sql[1:n-1], q+q, q)}
	case c == '[':
		n := strings.IndexByte(sql, ']')
		if n < 0 {
			return token{text: sql}
		}
		return token{kind: quoted, text: sql[:n+1], name: sql[1:n]}
	case c >= '0' && c <= '9':
		n := 1
		for n < len(sql) && (wordByte(sql[n]) || sql[n] == '.') {
			n++
		}
		return token{text: sql[:n]}
	case wordByte(c):
		n := 1
		for n < len(sql) && wordByte(sql[n]) {
			n++
		}
		// x'0f' is a blob: the quote belongs to it
		if n == 1 && (c == 'x' || c == 'X') && n < len(sql) && sql[n] == '\'' {
			end, _ := quotedEnd(sql[n:], '\'')
			return token{text: sql[:n+end]}
		}
		return token{kind: word, text: sql[:n], name: sql[:n]}
	}
	_, n := utf8.DecodeRuneInString(sql)
	return token{text: sql[:n]}
}

// wordByte is a byte of an identifier; SQLite takes every letter beyond ASCII.
func wordByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '$' || c >= 0x80
}

// quotedEnd is the length of a quoted piece, in which a doubled quote is a
// quote.
func quotedEnd(s string, q byte) (n int, closed bool) {
	for i := 1; i < len(s); i++ {
		if s[i] != q {
			continue
		}
		if i+1 < len(s) && s[i+1] == q {
			i++
			continue
		}
		return i + 1, true
	}
	return len(s), false
}
