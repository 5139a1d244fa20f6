package sh

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"
)

// target is where a source goes: into to when it is a directory.
func (c *call) target(from, to string, intoDir bool) string {
	if intoDir {
		return path.Join(c.path(to), path.Base(from))
	}
	return c.path(to)
}

func (c *call) isDir(name string) bool {
	fi, err := os.Stat(c.path(name))
	return err == nil && fi.IsDir()
}

// sources splits the operands of cp and mv.
func (c *call) sources(names []string, into string) (from []string, to string, dir, ok bool) {
	if into != "" {
		names = append(names, into)
	}
	if len(names) < 2 {
		c.fail("needs a source and a destination")
		return nil, "", false, false
	}
	from, to = names[:len(names)-1], names[len(names)-1]
	dir = c.isDir(to)
	if (len(from) > 1 || into != "") && !dir {
		c.fail("target '%s' is not a directory", to)
		return nil, "", false, false
	}
	return from, to, dir, true
}

func cp(c *call) int {
	f := c.flags()
	deep := f.BoolP("recursive", "r", false, "directories, too")
	f.BoolVarP(deep, "Recursive", "R", false, "the same as -r")
	f.BoolVarP(deep, "archive", "a", false, "the same as -r")
	keep := f.BoolP("no-clobber", "n", false, "do not overwrite")
	verbose := f.BoolP("verbose", "v", false, "print what is done")
	f.BoolP("force", "f", false, "no effect")
	f.BoolP("preserve", "p", false, "no effect")
	f.BoolP("update", "u", false, "no effect")
	into := f.StringP("target-directory", "t", "", "where to")
	names, err := c.parse(f)
	if err != nil {
		return c.leave(err)
	}
	from, to, dir, ok := c.sources(names, *into)
	if !ok {
		return 1
	}
	for _, n := range from {
		src, dst := c.path(n), c.target(n, to, dir)
		fi, err := os.Stat(src)
		switch {
		case err != nil:
			c.fail("cannot stat '%s': %s", n, reason(err))
			continue
		case fi.IsDir() && !*deep:
			c.fail("-r not specified; omitting directory '%s'", n)
			continue
		case src == dst:
			c.fail("'%s' and '%s' are the same file", n, to)
			continue
		case fi.IsDir() && strings.HasPrefix(dst, src+"/"):
			c.fail("cannot copy '%s' into itself", n)
			continue
		}
		if err := copyTree(src, dst, *keep); err != nil {
			c.fail("'%s': %s", n, reason(err))
		} else if *verbose {
			fmt.Fprintf(c.out, "'%s' -> '%s'\n", n, dst)
		}
	}
	return 0
}

func copyTree(src, dst string, keep bool) error {
	return filepath.WalkDir(src, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		to := path.Join(dst, strings.TrimPrefix(p, src))
		if d.IsDir() {
			if err := os.Mkdir(to, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
				return err
			}
			return nil
		}
		if _, err := os.Stat(to); err == nil && keep {
			return nil
		}
		return copyFile(p, to)
	})
}

func copyFile(src, dst string) error {
	in, err := os.Open(src)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(dst)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		out.Close()
		return err
	}
	return out.Close()
}

func mv(c *call) int {
	f := c.flags()
	keep := f.BoolP("no-clobber", "n", false, "do not overwrite")
	verbose := f.BoolP("verbose", "v", false, "print what is done")
	f.BoolP("force", "f", false, "no effect")
	into := f.StringP("target-directory", "t", "", "where to")
	names, err := c.parse(f)
	if err != nil {
		return c.leave(err)
	}
	from, to, dir, ok := c.sources(names, *into)
	if !ok {
		return 1
	}
	for _, n := range from {
		src, dst := c.path(n), c.target(n, to, dir)
		if _, err := os.Stat(src); err != nil {
			c.fail("cannot stat '%s': %s", n, reason(err))
			continue
		}
		if src == dst {
			c.fail("'%s' and '%s' are the same file", n, to)
			continue
		}
		if _, err := os.Stat(dst); err == nil && *keep {
			continue
		}
		err := os.Rename(src, dst)
		if err != nil { // the file system of the guest does not rename directories
			if strings.HasPrefix(dst, src+"/") {
				c.fail("cannot move '%s' into itself", n)
				continue
			}
			if err = copyTree(src, dst, false); err == nil {
				err = os.RemoveAll(src)
			}
		}
		if err != nil {
			c.fail("cannot move '%s': %s", n, reason(err))
		} else if *verbose {
			fmt.Fprintf(c.out, "renamed '%s' -> '%s'\n", n, dst)
		}
	}
	return 0
}

func rm(c *call) int {
	f := c.flags()
	deep := f.BoolP("recursive", "r", false, "directories, too")
	f.BoolVarP(deep, "Recursive", "R", false, "the same as -r")
	force := f.BoolP("force", "f", false, "no error for what is not there")
	empty := f.BoolP("dir", "d", false, "empty directories, too")
	verbose := f.BoolP("verbose", "v", false, "print what is done")
	names, err := c.parse(f)
	if err != nil {
		return c.leave(err)
	}
	if len(names) == 0 && !*force {
		return c.fail("needs a file")
	}
	for _, n := range names {
		p := c.path(n)
		fi, err := os.Lstat(p)
		switch {
		case err != nil && *force && errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
		case fi.IsDir() && *deep:
			err = os.RemoveAll(p)
		case fi.IsDir() && !*empty:
			c.fail("cannot remove '%s': Is a directory", n)
			continue
		default:
			err = os.Remove(p)
		}
		if err != nil {
			c.fail("cannot remove '%s': %s", n, reason(err))
		} else if *verbose {
			fmt.Fprintf(c.out, "removed '%s'\n", n)
		}
	}
	return 0
}

func mkdir(c *call) int {
	f := c.flags()
	parents := f.BoolP("parents", "p", false, "those above, too; no error when it is there")
	f.StringP("mode", "m", "", "no effect")
	verbose := f.BoolP("verbose", "v", false, "print what is done")
	names, err := c.parse(f)
	if err != nil {
		return c.leave(err)
	}
	if len(names) == 0 {
		return c.fail("needs a directory")
	}
	for _, n := range names {
		make := os.Mkdir
		if *parents {
			make = os.MkdirAll
		}
		if err := make(c.path(n), 0o755); err != nil {
			c.fail("cannot create directory '%s': %s", n, reason(err))
		} else if *verbose {
			fmt.Fprintf(c.out, "created directory '%s'\n", n)
		}
	}
	return 0
}

func rmdir(c *call) int {
	if len(c.args) == 0 {
		return c.fail("needs a directory")
	}
	for _, n := range c.args {
		if !c.isDir(n) {
			c.fail("failed to remove '%s': Not a directory", n)
			continue
		}
		if err := os.Remove(c.path(n)); err != nil {
			c.fail("failed to remove '%s': %s", n, reason(err))
		}
	}
	return 0
}

func touch(c *call) int {
	f := c.flags()
	noCreate := f.BoolP("no-create", "c", false, "do not make files")
	when := f.StringP("date", "d", "", "the time to set")
	f.BoolP("access", "a", false, "no effect")
	f.BoolP("modification", "m", false, "no effect")
	names, err := c.parse(f)
	if err != nil {
		return c.leave(err)
	}
	at := time.Now()
	if *when != "" {
		if at, err = parseTime(*when, at); err != nil {
			return c.fail("%v", err)
		}
	}
	for _, n := range names {
		p := c.path(n)
		if _, err := os.Stat(p); err != nil {
			if *noCreate {
				continue
			}
			file, err := os.Create(p)
			if err != nil {
				c.fail("cannot touch '%s': %s", n, reason(err))
				continue
			}
			file.Close()
		}
		if err := os.Chtimes(p, at, at); err != nil && *when != "" {
			c.fail("cannot set the time of '%s': %s", n, reason(err))
		}
	}
	return 0
}

func mktemp(c *call) int {
	f := c.flags()
	dir := f.BoolP("directory", "d", false, "make a directory")
	where := f.StringP("tmpdir", "p", "", "where")
	f.BoolP("t", "t", false, "no effect")
	dry := f.BoolP("dry-run", "u", false, "only print a name")
	names, err := c.parse(f)
	if err != nil {
		return c.leave(err)
	}
	template := "tmp.XXXXXXXXXX"
	base := c.env("TMPDIR")
	if len(names) > 0 {
		template, base = names[0], c.dir
	}
	if *where != "" {
		base = c.path(*where)
	}
	stem := strings.TrimRight(template, "X")
	if len(template)-len(stem) < 3 {
		return c.fail("too few X's in template '%s'", template)
	}
	random := fresh()
	for range 100 {
		name := stem
		for range len(template) - len(stem) {
			name += string("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"[random.IntN(62)])
		}
		p := name
		if !path.IsAbs(p) {
			p = path.Join(base, name)
		}
		switch {
		case *dry:
			err = nil
		case *dir:
			err = os.Mkdir(p, 0o700)
		default:
			var file *os.File
			if file, err = os.OpenFile(p, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600); err == nil {
				file.Close()
			}
		}
		if err == nil {
			c.line([]byte(p))
			return 0
		}
		if !errors.Is(err, fs.ErrExist) {
			break
		}
	}
	return c.fail("cannot make '%s': %s", template, reason(err))
}

func basename(c *call) int {
	f := c.flags()
	many := f.BoolP("multiple", "a", false, "several names")
	suffix := f.StringP("suffix", "s", "", "cut this end off")
	names, err := c.parse(f)
	if err != nil {
		return c.leave(err)
	}
	if len(names) == 0 {
		return c.fail("needs a name")
	}
	if !*many && *suffix == "" {
		if len(names) == 2 {
			*suffix = names[1]
		} else if len(names) > 2 {
			return c.fail("too many names; use -a")
		}
		names = names[:1]
	}
	for _, n := range names {
		b := path.Base(n)
		if b != *suffix {
			b = strings.TrimSuffix(b, *suffix)
		}
		c.line([]byte(b))
	}
	return 0
}

func dirname(c *call) int {
	if len(c.args) == 0 {
		return c.fail("needs a name")
	}
	for _, n := range c.args {
		c.line([]byte(path.Dir(strings.TrimRight(n, "/") + map[bool]string{true: "/", false: ""}[strings.Trim(n, "/") == ""])))
	}
	return 0
}

func realpath(c *call) int {
	for _, n := range c.args {
		if strings.HasPrefix(n, "-") {
			continue
		}
		c.line([]byte(c.path(n)))
	}
	return 0
}
