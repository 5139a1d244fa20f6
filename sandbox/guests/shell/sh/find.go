package sh

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// found is a file that find looks at.
type found struct {
	name  string // as it is printed
	path  string
	fi    fs.FileInfo
	depth int
	prune bool
}

// findTest is a part of find's expression.
type findTest func(f *found) bool

// A finder is one run of find.
type finder struct {
	c        *call
	args     []string
	max, min int
	depth    bool // contents before their directory
	acts     bool // has an action of its own, so nothing is printed by default
	now      time.Time
	batches  []*findBatch
}

// findBatch is -exec … +.
type findBatch struct{ cmd, names []string }

func find(c *call) int {
	g := &finder{c: c, max: -1, now: time.Now()}
	var roots []string
	args := c.args
	for len(args) > 0 && !strings.HasPrefix(args[0], "-") && args[0] != "(" && args[0] != "!" {
		roots, args = append(roots, args[0]), args[1:]
	}
	if len(roots) == 0 {
		roots = []string{"."}
	}
	g.args = args
	if nested(c, strings.Join(args, " ")) {
		return c.status
	}
	test := findTest(func(*found) bool { return true })
	if len(g.args) > 0 {
		var err error
		if test, err = g.or(); err == nil && len(g.args) > 0 {
			err = fmt.Errorf("unexpected %q", g.args[0])
		}
		if err != nil {
			return c.fail("%v", err)
		}
	}
	if !g.acts {
		inner := test
		test = func(f *found) bool {
			if inner(f) {
				c.line([]byte(f.name))
			}
			return true
		}
	}
	for _, r := range roots {
		fi, err := os.Stat(c.path(r))
		if err != nil {
			c.fail("'%s': %s", r, reason(err))
			continue
		}
		g.walk(&found{name: r, path: c.path(r), fi: fi}, test)
	}
	for _, b := range g.batches {
		if len(b.names) > 0 {
			c.out.Flush()
			if st := c.run(c.ctx, slices.Concat(b.cmd, b.names), nil, pipeOut{c}); st != 0 {
				c.status = 1
			}
		}
	}
	return 0
}

// pipeOut writes through the call's buffer.
type pipeOut struct{ c *call }

func (p pipeOut) Write(b []byte) (int, error) { return p.c.out.Write(b) }

func (g *finder) walk(f *found, test findTest) {
	if g.c.ctx.Err() != nil {
		return
	}
	if !g.depth && f.depth >= g.min {
		test(f)
	}
	if f.fi.IsDir() && !f.prune && (g.max < 0 || f.depth < g.max) {
		entries, err := os.ReadDir(f.path)
		if err != nil {
			g.c.fail("'%s': %s", f.name, reason(err))
		}
		for _, e := range entries {
			if fi, err := e.Info(); err == nil {
				g.walk(&found{name: joined(f.name, e.Name()), path: path.Join(f.path, e.Name()), fi: fi, depth: f.depth + 1}, test)
			}
		}
	}
	if g.depth && f.depth >= g.min {
		test(f)
	}
}

func (g *finder) accept(words ...string) bool {
	if len(g.args) > 0 && slices.Contains(words, g.args[0]) {
		g.args = g.args[1:]
		return true
	}
	return false
}

func (g *finder) or() (findTest, error) {
	a, err := g.and()
	for err == nil && g.accept("-o", "-or") {
		var b findTest
		first := a
		if b, err = g.and(); err == nil {
			a = func(f *found) bool { return first(f) || b(f) }
		}
	}
	return a, err
}

func (g *finder) and() (findTest, error) {
	a, err := g.not()
	for err == nil && len(g.args) > 0 && !slices.Contains([]string{"-o", "-or", ")"}, g.args[0]) {
		g.accept("-a", "-and")
		var b findTest
		first := a
		if b, err = g.not(); err == nil {
			a = func(f *found) bool { return first(f) && b(f) }
		}
	}
	return a, err
}

func (g *finder) not() (findTest, error) {
	if g.accept("!", "-not") {
		t, err := g.not()
		return func(f *found) bool { return !t(f) }, err
	}
	if g.accept("(") {
		t, err := g.or()
		if err == nil && !g.accept(")") {
			err = fmt.Errorf("( without )")
		}
		return t, err
	}
	return g.primary()
}

func (g *finder) value(of string) (string, error) {
	if len(g.args) == 0 {
		return "", fmt.Errorf("%s needs a value", of)
	}
	v := g.args[0]
	g.args = g.args[1:]
	return v, nil
}

// comparison reads 5, +5 and -5.
func comparison(v string) (func(n int64) bool, error) {
	n, err := strconv.ParseInt(strings.TrimLeft(v, "+-"), 10, 64)
	if err != nil {
		return nil, fmt.Errorf("invalid number %q", v)
	}
	switch v[0] {
	case '+':
		return func(x int64) bool { return x > n }, nil
	case '-':
		return func(x int64) bool { return x < n }, nil
	}
	return func(x int64) bool { return x == n }, nil
}

func always(*found) bool { return true }

func (g *finder) primary() (findTest, error) {
	if len(g.args) == 0 {
		return nil, fmt.Errorf("the expression ends too early")
	}
	name := g.args[0]
	g.args = g.args[1:]
	switch name {
	case "-print", "-print0":
		g.acts = true
		end := map[string]string{"-print": "\n", "-print0": "\x00"}[name]
		return func(f *found) bool { g.c.out.WriteString(f.name + end); return true }, nil
	case "-delete":
		g.acts, g.depth = true, true
		return func(f *found) bool {
			if err := os.Remove(f.path); err != nil {
				g.c.fail("cannot delete '%s': %s", f.name, reason(err))
				return false
			}
			return true
		}, nil
	case "-prune":
		return func(f *found) bool { f.prune = true; return true }, nil
	case "-depth":
		g.depth = true
		return always, nil
	case "-true":
		return always, nil
	case "-false":
		return func(*found) bool { return false }, nil
	case "-empty":
		return func(f *found) bool {
			if !f.fi.IsDir() {
				return f.fi.Size() == 0
			}
			e, err := os.ReadDir(f.path)
			return err == nil && len(e) == 0
		}, nil
	case "-exec", "-execdir":
		return g.exec(name)
	}
	v, err := g.value(name)
	if err != nil {
		return nil, err
	}
	switch name {
	case "-name", "-iname", "-path", "-ipath", "-wholename":
		fold := strings.HasPrefix(name, "-i")
		if _, err := path.Match(v, ""); err != nil {
			return nil, fmt.Errorf("invalid pattern %q", v)
		}
		whole := strings.HasSuffix(name, "path") || name == "-wholename"
		if fold {
			v = strings.ToLower(v)
		}
		return func(f *found) bool {
			s := path.Base(f.name)
			if whole {
				s = f.name
			}
			if fold {
				s = strings.ToLower(s)
			}
			return glob(v, s, whole)
		}, nil
	case "-regex", "-iregex":
		flags := ""
		if name == "-iregex" {
			flags = "i"
		}
		re, err := compile("^(?:"+v+")$", perl, flags)
		if err != nil {
			return nil, err
		}
		return func(f *found) bool { return re.MatchString(f.name) }, nil
	case "-type":
		return func(f *found) bool {
			if f.fi.IsDir() {
				return strings.Contains(v, "d")
			}
			return strings.Contains(v, "f")
		}, nil
	case "-size":
		unit := int64(512)
		if i := strings.IndexByte("cwbkMG", v[len(v)-1]); i >= 0 {
			unit = []int64{1, 2, 512, 1 << 10, 1 << 20, 1 << 30}[i]
			v = v[:len(v)-1]
		}
		ok, err := comparison(v)
		return func(f *found) bool { return ok((f.fi.Size() + unit - 1) / unit) }, err
	case "-mtime", "-mmin", "-atime", "-ctime", "-amin", "-cmin":
		unit := 24 * time.Hour
		if strings.HasSuffix(name, "min") {
			unit = time.Minute
		}
		ok, err := comparison(v)
		return func(f *found) bool { return ok(int64(g.now.Sub(f.fi.ModTime()) / unit)) }, err
	case "-newer":
		fi, err := os.Stat(g.c.path(v))
		if err != nil {
			return nil, fmt.Errorf("'%s': %s", v, reason(err))
		}
		return func(f *found) bool { return f.fi.ModTime().After(fi.ModTime()) }, nil
	case "-maxdepth", "-mindepth":
		n, err := strconv.Atoi(v)
		if name == "-maxdepth" {
			g.max = n
		} else {
			g.min = n
		}
		return always, err
	case "-printf":
		g.acts = true
		return func(f *found) bool {
			kind := "f"
			if f.fi.IsDir() {
				kind = "d"
			}
			g.c.out.WriteString(strings.NewReplacer("%%", "%", "%p", f.name, "%f", path.Base(f.name), "%h", path.Dir(f.name), "%s", strconv.FormatInt(f.fi.Size(), 10),
				"%y", kind, "%d", strconv.Itoa(f.depth), "%T@", strconv.FormatInt(f.fi.ModTime().Unix(), 10)).Replace(escapes(v)))
			return true
		}, nil
	case "-perm", "-user", "-group", "-links":
		return always, nil
	}
	return nil, fmt.Errorf("unknown predicate %q", name)
}

// exec reads the command of -exec up to ; or +.
func (g *finder) exec(name string) (findTest, error) {
	g.acts = true
	for i, a := range g.args {
		if a == ";" {
			cmd := g.args[:i]
			g.args = g.args[i+1:]
			if len(cmd) == 0 {
				break
			}
			return func(f *found) bool {
				run := make([]string, len(cmd))
				for j, w := range cmd {
					run[j] = strings.ReplaceAll(w, "{}", f.name)
				}
				return g.c.run(g.c.ctx, run, nil, pipeOut{g.c}) == 0
			}, nil
		}
		if a == "+" && i > 0 && g.args[i-1] == "{}" {
			b := &findBatch{cmd: g.args[:i-1]}
			g.batches = append(g.batches, b)
			g.args = g.args[i+1:]
			return func(f *found) bool { b.names = append(b.names, f.name); return true }, nil
		}
	}
	return nil, fmt.Errorf("%s needs a command that ends with \\; or {} +", name)
}

// glob matches as find does: with whole, * also stands for /.
func glob(pattern, s string, whole bool) bool {
	if whole {
		pattern, s = strings.ReplaceAll(pattern, "/", "\x01"), strings.ReplaceAll(s, "/", "\x01")
	}
	ok, _ := path.Match(pattern, s)
	return ok
}
