package sh

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
)

// A grepper holds one run of grep.
type grepper struct {
	c                                         *call
	match                                     func(l []byte) [][]int // where it matches; at most one place unless all are wanted
	invert, count, names, number, only, quiet bool
	listed, unlisted                          bool
	before, after, limit                      int
	matched, separate                         bool
}

func grep(c *call) int {
	c.trouble = 2
	c.args = numeric(c.args, "-C", "-e", "-f", "-m", "-A", "-B", "-C")
	f := c.flags()
	g := &grepper{c: c}
	e := f.BoolP("extended-regexp", "E", false, "extended patterns")
	fix := f.BoolP("fixed-strings", "F", false, "the patterns are plain text")
	p := f.BoolP("perl-regexp", "P", false, "Perl patterns, without look-around")
	f.BoolP("basic-regexp", "G", false, "basic patterns, as without it")
	fold := f.BoolP("ignore-case", "i", false, "ignore case")
	f.BoolVarP(fold, "no-case", "y", false, "the same as -i")
	f.BoolVarP(&g.invert, "invert-match", "v", false, "lines that do not match")
	f.BoolVarP(&g.count, "count", "c", false, "how many lines")
	f.BoolVarP(&g.number, "line-number", "n", false, "number of the line")
	f.BoolVarP(&g.only, "only-matching", "o", false, "only what matches")
	f.BoolVarP(&g.quiet, "quiet", "q", false, "only the exit status")
	f.BoolVar(&g.quiet, "silent", false, "the same as -q")
	f.BoolVarP(&g.listed, "files-with-matches", "l", false, "names of files that match")
	f.BoolVarP(&g.unlisted, "files-without-match", "L", false, "names of files that do not match")
	word := f.BoolP("word-regexp", "w", false, "whole words")
	line := f.BoolP("line-regexp", "x", false, "whole lines")
	deep := f.BoolP("recursive", "r", false, "all files below the directories")
	f.BoolVarP(deep, "dereference-recursive", "R", false, "the same as -r")
	with := f.BoolP("with-filename", "H", false, "names of files")
	without := f.BoolP("no-filename", "h", false, "no names of files")
	silent := f.BoolP("no-messages", "s", false, "no errors about files")
	f.BoolP("text", "a", false, "no effect")
	f.BoolP("binary", "U", false, "no effect")
	f.Bool("line-buffered", false, "no effect")
	f.String("color", "", "no effect")
	f.Lookup("color").NoOptDefVal = "auto"
	f.IntVarP(&g.after, "after-context", "A", 0, "lines after")
	f.IntVarP(&g.before, "before-context", "B", 0, "lines before")
	around := f.IntP("context", "C", 0, "lines before and after")
	f.IntVarP(&g.limit, "max-count", "m", -1, "no more lines of a file")
	patterns := f.StringArrayP("regexp", "e", nil, "a pattern; may be repeated")
	from := f.StringArrayP("file", "f", nil, "a file of patterns")
	include := f.StringArray("include", nil, "only files of these names, with -r")
	exclude := f.StringArray("exclude", nil, "no files of these names, with -r")
	excludeDir := f.StringArray("exclude-dir", nil, "no directories of these names, with -r")
	args, err := c.parse(f)
	if err != nil {
		return c.leave(err)
	}
	for _, n := range *from {
		r, ok := c.open(n)
		if !ok {
			return 2
		}
		b, err := io.ReadAll(r)
		r.Close()
		if err != nil {
			return c.fail("%s: %s", n, reason(err))
		}
		if len(b) > 0 {
			*patterns = append(*patterns, strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")...)
		}
	}
	if len(*patterns) == 0 && len(*from) == 0 {
		if len(args) == 0 {
			return c.fail("no pattern; use as: grep [-rinvcoEFwlAB] pattern [file…]")
		}
		*patterns, args = strings.Split(args[0], "\n"), args[1:]
	}
	kind := basic
	switch {
	case *fix || c.name == "fgrep":
		kind = fixed
	case *p:
		kind = perl
	case *e || c.name == "egrep":
		kind = extended
	}
	re, err := union(*patterns, kind, *fold, *word, *line)
	if err != nil {
		return c.fail("%v", err)
	}
	if g.before, g.after = max(g.before, *around), max(g.after, *around); *around > 0 && f.Changed("after-context") {
		g.after, _ = f.GetInt("after-context")
	}
	if g.match = g.matcher(re); len(*patterns) == 0 {
		g.match = func([]byte) [][]int { return nil }
	}
	if *silent {
		c.err = io.Discard
	}
	if len(args) == 0 {
		args = []string{"-"}
		if *deep {
			args = []string{"."}
		}
	}
	g.names = (len(args) > 1 || *deep || *with) && !*without
	if *deep {
		args = c.below(args, *include, *exclude, *excludeDir)
	}
	for name, r := range c.files(args) {
		if g.file(name, r) && g.quiet {
			c.status = 0
			return 0
		}
	}
	if c.status > 0 {
		return 2
	}
	if g.matched {
		return 0
	}
	return 1
}

// union makes one pattern of several.
func union(patterns []string, kind syntaxOf, fold, word, line bool) (*regexp.Regexp, error) {
	flags := ""
	if fold {
		flags = "i"
	}
	var parts []string
	for _, p := range patterns {
		re, err := compile(p, kind, "")
		if err != nil {
			return nil, err
		}
		s := re.String()
		switch {
		case line:
			s = "^(?:" + s + ")$"
		case word:
			s = `(?:\b|^)(?:` + s + `)(?:\b|$)`
		}
		parts = append(parts, s)
	}
	re, err := compile(strings.Join(parts, "|"), perl, flags)
	if err == nil && kind != perl {
		re.Longest()
	}
	return re, err
}

// matcher prefers a plain search where the pattern is plain text.
func (g *grepper) matcher(re *regexp.Regexp) func(l []byte) [][]int {
	if prefix, _ := re.LiteralPrefix(); prefix != "" && !g.only && re.String() == regexp.QuoteMeta(prefix) {
		text := []byte(prefix)
		return func(l []byte) [][]int {
			if i := bytes.Index(l, text); i >= 0 {
				return [][]int{{i, i + len(text)}}
			}
			return nil
		}
	}
	if g.only && !g.invert {
		return func(l []byte) [][]int { return re.FindAllIndex(l, -1) }
	}
	return func(l []byte) [][]int {
		if at := re.FindIndex(l); at != nil {
			return [][]int{at}
		}
		return nil
	}
}

// file searches one file and reports whether a line was selected.
func (g *grepper) file(name string, r io.Reader) bool {
	label := name
	if name == "-" {
		label = "(standard input)"
	}
	type held struct {
		n int
		l []byte
	}
	var before []held
	n, hits, after, last := 0, 0, 0, 0
	show := !g.quiet && !g.count && !g.listed && !g.unlisted
	context := g.before > 0 || g.after > 0
	for l := range g.c.lines(r) {
		n++
		at := g.match(l)
		if (at != nil) == g.invert {
			switch {
			case after > 0 && show:
				g.print(label, '-', n, l)
				after--
				last = n
			case g.before > 0 && show:
				if len(before) == g.before {
					before = before[1:]
				}
				before = append(before, held{n, bytes.Clone(l)})
			}
			if g.limit >= 0 && hits >= g.limit && after == 0 {
				break
			}
			continue
		}
		if g.limit >= 0 && hits >= g.limit {
			break
		}
		hits++
		if !show {
			if !g.count {
				break
			}
			if g.limit >= 0 && hits >= g.limit {
				break
			}
			continue
		}
		if first := n - len(before); context && !g.only && g.separate && (last == 0 || first > last+1) {
			g.c.out.WriteString("--\n")
		}
		g.separate = true
		if !g.only {
			for _, h := range before {
				g.print(label, '-', h.n, h.l)
			}
		}
		before, after, last = before[:0], g.after, n
		if g.only {
			after = 0
			for _, m := range at {
				if m[1] > m[0] {
					g.print(label, ':', n, l[m[0]:m[1]])
				}
			}
		} else {
			g.print(label, ':', n, l)
		}
		if g.limit >= 0 && hits >= g.limit && after == 0 {
			break
		}
	}
	switch {
	case g.quiet:
	case g.listed && hits > 0, g.unlisted && hits == 0:
		g.c.line([]byte(label))
	case g.count:
		if g.names {
			fmt.Fprintf(g.c.out, "%s:", label)
		}
		fmt.Fprintf(g.c.out, "%d\n", hits)
	}
	g.matched = g.matched || hits > 0
	return hits > 0
}

func (g *grepper) print(label string, sep byte, n int, l []byte) {
	if g.names {
		g.c.out.WriteString(label)
		g.c.out.WriteByte(sep)
	}
	if g.number {
		fmt.Fprintf(g.c.out, "%d%c", n, sep)
	}
	g.c.line(l)
}

// below lists the files below the arguments, by the names that the arguments give them.
func (c *call) below(args, include, exclude, excludeDir []string) []string {
	var list []string
	like := func(globs []string, name string) bool {
		for _, g := range globs {
			if ok, _ := path.Match(g, name); ok {
				return true
			}
		}
		return false
	}
	for _, a := range args {
		root := c.path(a)
		if fi, err := os.Stat(root); err != nil || !fi.IsDir() {
			list = append(list, a)
			continue
		}
		filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
			if err != nil {
				c.fail("%s: %s", p, reason(err))
				return nil
			}
			if d.IsDir() {
				if p != root && like(excludeDir, d.Name()) {
					return fs.SkipDir
				}
				return nil
			}
			if (len(include) > 0 && !like(include, d.Name())) || like(exclude, d.Name()) {
				return nil
			}
			list = append(list, joined(a, strings.TrimPrefix(p, root)))
			return nil
		})
	}
	return list
}

// joined puts a path below a directory as the user wrote it: "." and "x" are "./x".
func joined(dir, rest string) string {
	rest = strings.TrimPrefix(rest, "/")
	if rest == "" {
		return dir
	}
	return strings.TrimSuffix(dir, "/") + "/" + rest
}
