package sh

import "regexp"

func (e *editor) at(a *sedAddress) bool {
	switch {
	case a.last:
		return !e.more
	case a.step > 0:
		return e.n >= a.line && (e.n-a.line)%a.step == 0
	case a.re != nil || a.same:
		return e.regexp(a.re).Match(e.space)
	}
	return e.n == a.line
}

// regexp is re, or the last one used when the pattern was empty.
func (e *editor) regexp(re *regexp.Regexp) *regexp.Regexp {
	if re != nil {
		e.last = re
	}
	if e.last == nil {
		e.last = regexp.MustCompile("")
	}
	return e.last
}

func (e *editor) selects(i int, cmd *sedCommand) bool {
	if cmd.from == nil {
		return true
	}
	if cmd.to == nil {
		return e.at(cmd.from)
	}
	if !e.active[i] {
		if !(cmd.from.zero && e.n == 1) && !e.at(cmd.from) {
			return false
		}
		e.active[i] = true
		switch {
		case cmd.from.zero:
			e.active[i] = !e.at(cmd.to)
		case cmd.to.plus:
			e.until[i] = e.n + cmd.to.line
			e.active[i] = cmd.to.line > 0
		case cmd.to.re == nil && !cmd.to.same && !cmd.to.last:
			e.until[i] = cmd.to.line
			e.active[i] = e.n < cmd.to.line
		case cmd.to.last:
			e.active[i] = e.more
		}
		return true
	}
	switch {
	case cmd.to.re == nil && !cmd.to.same && !cmd.to.last:
		if e.n >= e.until[i] {
			e.active[i] = false
			return e.n == e.until[i] || cmd.to.plus
		}
	case e.at(cmd.to):
		e.active[i] = false
	}
	return true
}
