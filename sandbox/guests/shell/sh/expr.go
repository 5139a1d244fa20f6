package sh

import (
	"errors"
	"math/big"
	"strconv"
	"strings"
)

// An exprParser reads the words of expr.
type exprParser struct{ args []string }

var errExpr = errors.New("syntax error")

func expr(c *call) int {
	if len(c.args) == 0 {
		return c.fail("needs an expression")
	}
	if nested(c, strings.Join(c.args, " ")) {
		return c.status
	}
	p := &exprParser{args: c.args}
	v, err := p.level(0)
	if err == nil && len(p.args) > 0 {
		err = errExpr
	}
	if err != nil {
		return c.fail("%v", err)
	}
	c.line([]byte(v))
	if v == "" || strings.Trim(v, "-0") == "" {
		return 1
	}
	return 0
}

var exprLevels = [][]string{{"|"}, {"&"}, {"<", "<=", "=", "==", "!=", ">=", ">"}, {"+", "-"}, {"*", "/", "%"}, {":"}}

func (p *exprParser) level(n int) (string, error) {
	if n == len(exprLevels) {
		return p.word()
	}
	a, err := p.level(n + 1)
	for err == nil && len(p.args) > 0 {
		op := ""
		for _, o := range exprLevels[n] {
			if p.args[0] == o {
				op = o
			}
		}
		if op == "" {
			break
		}
		p.args = p.args[1:]
		var b string
		if b, err = p.level(n + 1); err == nil {
			a, err = exprApply(a, op, b)
		}
	}
	return a, err
}

func (p *exprParser) word() (string, error) {
	if len(p.args) == 0 {
		return "", errExpr
	}
	w := p.args[0]
	p.args = p.args[1:]
	operands := func(n int) ([]string, error) {
		var list []string
		for range n {
			v, err := p.word()
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		return list, nil
	}
	switch {
	case w == "(":
		v, err := p.level(0)
		if err == nil && (len(p.args) == 0 || p.args[0] != ")") {
			return "", errExpr
		}
		if err == nil {
			p.args = p.args[1:]
		}
		return v, err
	case w == "length" && len(p.args) > 0:
		o, err := operands(1)
		if err != nil {
			return "", err
		}
		return strconv.Itoa(len([]rune(o[0]))), nil
	case w == "substr" && len(p.args) > 2:
		o, err := operands(3)
		if err != nil {
			return "", err
		}
		r := []rune(o[0])
		pos, err1 := strconv.Atoi(o[1])
		n, err2 := strconv.Atoi(o[2])
		if err1 != nil || err2 != nil || pos < 1 || pos > len(r) || n < 1 {
			return "", nil
		}
		return string(r[pos-1 : min(len(r), pos-1+n)]), nil
	case w == "index" && len(p.args) > 1:
		o, err := operands(2)
		if err != nil {
			return "", err
		}
		return strconv.Itoa(strings.IndexAny(o[0], o[1]) + 1), nil
	}
	return w, nil
}

func exprApply(a, op, b string) (string, error) {
	x, okA := new(big.Int).SetString(a, 10)
	y, okB := new(big.Int).SetString(b, 10)
	zero := func(s string) bool { return s == "" || s == "0" }
	truth := func(v bool) (string, error) { return map[bool]string{true: "1", false: "0"}[v], nil }
	switch op {
	case "|":
		if !zero(a) {
			return a, nil
		}
		return b, nil
	case "&":
		if zero(a) || zero(b) {
			return "0", nil
		}
		return a, nil
	case ":":
		re, err := compile(`\(`+b+`\)`, basic, "s")
		if err != nil {
			return "", err
		}
		m := re.FindStringSubmatchIndex(a)
		if m == nil || m[0] != 0 {
			if re.NumSubexp() > 1 {
				return "", nil
			}
			return "0", nil
		}
		if re.NumSubexp() > 1 {
			if m[4] < 0 {
				return "", nil
			}
			return a[m[4]:m[5]], nil
		}
		return strconv.Itoa(len([]rune(a[:m[1]]))), nil
	case "<", "<=", "=", "==", "!=", ">=", ">":
		r := strings.Compare(a, b)
		if okA && okB {
			r = x.Cmp(y)
		}
		return truth(map[string]bool{"<": r < 0, "<=": r <= 0, "=": r == 0, "==": r == 0, "!=": r != 0, ">=": r >= 0, ">": r > 0}[op])
	}
	if !okA || !okB {
		return "", errors.New("non-integer argument")
	}
	switch op {
	case "+":
		return x.Add(x, y).String(), nil
	case "-":
		return x.Sub(x, y).String(), nil
	case "*":
		return x.Mul(x, y).String(), nil
	}
	if y.Sign() == 0 {
		return "", errors.New("division by zero")
	}
	if op == "/" {
		return x.Quo(x, y).String(), nil
	}
	return x.Rem(x, y).String(), nil
}
