package sh

import (
	"cmp"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
)

func ls(c *call) int {
	f := c.flags()
	all := f.BoolP("all", "a", false, "names that start with a dot, too")
	almost := f.BoolP("almost-all", "A", false, "as -a, without . and ..")
	long := f.BoolP("long", "l", false, "sizes and times")
	human := f.BoolP("human-readable", "h", false, "sizes as 1.2K")
	one := f.BoolP("one", "1", false, "one name a line, as always")
	dir := f.BoolP("directory", "d", false, "directories themselves")
	deep := f.BoolP("recursive", "R", false, "directories below, too")
	byTime := f.BoolP("by-time", "t", false, "newest first")
	bySize := f.BoolP("by-size", "S", false, "largest first")
	reverse := f.BoolP("reverse", "r", false, "the other way round")
	classify := f.BoolP("classify", "F", false, "mark directories with /")
	slash := f.BoolP("slash", "p", false, "mark directories with /")
	f.BoolP("inode", "i", false, "no effect")
	f.BoolP("numeric", "n", false, "no effect")
	f.BoolP("no-group", "G", false, "no effect")
	f.String("color", "", "no effect")
	f.Lookup("color").NoOptDefVal = "auto"
	names, err := c.parse(f)
	if err != nil {
		return c.leave(err)
	}
	_ = one
	if len(names) == 0 {
		names = []string{"."}
	}
	type entry struct {
		name string
		fi   fs.FileInfo
	}
	show := func(list []entry) {
		slices.SortStableFunc(list, func(a, b entry) int {
			r := cmp.Compare(a.name, b.name)
			if *byTime {
				r = cmp.Or(b.fi.ModTime().Compare(a.fi.ModTime()), r)
			}
			if *bySize {
				r = cmp.Or(cmp.Compare(b.fi.Size(), a.fi.Size()), r)
			}
			if *reverse {
				r = -r
			}
			return r
		})
		width := 1
		for _, e := range list {
			width = max(width, len(sizeText(e.fi.Size(), *human)))
		}
		for _, e := range list {
			name := e.name
			if e.fi.IsDir() && (*classify || *slash) {
				name += "/"
			}
			if *long {
				mode := e.fi.Mode().String()
				fmt.Fprintf(c.out, "%s 1 sandbox sandbox %*s %s ", mode, width, sizeText(e.fi.Size(), *human), e.fi.ModTime().UTC().Format("Jan _2 15:04"))
			}
			c.line([]byte(name))
		}
	}
	var files []entry
	var dirs []string
	for _, n := range names {
		fi, err := os.Stat(c.path(n))
		switch {
		case err != nil:
			c.fail("cannot access '%s': %s", n, reason(err))
			c.status = 2
		case fi.IsDir() && !*dir:
			dirs = append(dirs, n)
		default:
			files = append(files, entry{n, fi})
		}
	}
	show(files)
	heading := len(names) > 1 || *deep
	first := len(files) == 0
	for len(dirs) > 0 {
		n := dirs[0]
		dirs = dirs[1:]
		if heading {
			if !first {
				c.out.WriteByte('\n')
			}
			fmt.Fprintf(c.out, "%s:\n", n)
		}
		first = false
		list, err := os.ReadDir(c.path(n))
		if err != nil {
			c.fail("cannot open '%s': %s", n, reason(err))
			continue
		}
		var entries []entry
		var below []string
		if *all {
			if fi, err := os.Stat(c.path(n)); err == nil {
				entries = append(entries, entry{".", fi}, entry{"..", fi})
			}
		}
		for _, d := range list {
			if strings.HasPrefix(d.Name(), ".") && !*all && !*almost {
				continue
			}
			fi, err := d.Info()
			if err != nil {
				continue
			}
			entries = append(entries, entry{d.Name(), fi})
			if *deep && d.IsDir() {
				below = append(below, joined(n, d.Name()))
			}
		}
		show(entries)
		dirs = append(below, dirs...)
	}
	return 0
}

func sizeText(n int64, human bool) string {
	if !human || n < 1024 {
		return strconv.FormatInt(n, 10)
	}
	v, unit := float64(n), ""
	for _, unit = range []string{"K", "M", "G", "T"} {
		if v /= 1024; v < 1024 {
			break
		}
	}
	if v < 10 {
		return fmt.Sprintf("%.1f%s", v, unit)
	}
	return fmt.Sprintf("%.0f%s", v, unit)
}

func stat(c *call) int {
	f := c.flags()
	format := f.StringP("format", "c", "", "%n name, %s size, %F kind, %Y and %y time, %a and %A mode")
	f.StringVar(format, "printf", "", "as --format")
	names, err := c.parse(f)
	if err != nil {
		return c.leave(err)
	}
	for _, n := range names {
		fi, err := os.Stat(c.path(n))
		if err != nil {
			c.fail("cannot stat '%s': %s", n, reason(err))
			continue
		}
		kind := "regular file"
		switch {
		case fi.IsDir():
			kind = "directory"
		case fi.Size() == 0:
			kind = "regular empty file"
		}
		stamp := fi.ModTime().UTC().Format("2006-01-02 15:04:05.000000000 +0000")
		if *format != "" {
			c.line([]byte(strings.NewReplacer("%%", "%", "%n", n, "%s", strconv.FormatInt(fi.Size(), 10), "%F", kind, "%Y", strconv.FormatInt(fi.ModTime().Unix(), 10),
				"%y", stamp, "%a", strconv.FormatInt(int64(fi.Mode().Perm()), 8), "%A", fi.Mode().String(), "%U", "sandbox", "%G", "sandbox").Replace(*format)))
			continue
		}
		fmt.Fprintf(c.out, "  File: %s\n  Size: %d\t%s\nAccess: (%04o/%s)\nModify: %s\n", n, fi.Size(), kind, fi.Mode().Perm(), fi.Mode(), stamp)
	}
	return 0
}

func du(c *call) int {
	f := c.flags()
	summary := f.BoolP("summarize", "s", false, "one sum an argument")
	human := f.BoolP("human-readable", "h", false, "sizes as 1.2K")
	octets := f.BoolP("bytes", "b", false, "bytes, not KiB")
	all := f.BoolP("all", "a", false, "files, too")
	total := f.BoolP("total", "c", false, "a sum of all")
	depth := f.IntP("max-depth", "d", -1, "no deeper")
	f.BoolP("kilobytes", "k", false, "no effect")
	names, err := c.parse(f)
	if err != nil {
		return c.leave(err)
	}
	if len(names) == 0 {
		names = []string{"."}
	}
	if *summary {
		*depth = 0
	}
	text := func(n int64) string {
		switch {
		case *human:
			return sizeText(n, true)
		case *octets:
			return strconv.FormatInt(n, 10)
		}
		return strconv.FormatInt((n+1023)/1024, 10)
	}
	var walk func(name, p string, level int) int64
	walk = func(name, p string, level int) int64 {
		fi, err := os.Stat(p)
		if err != nil {
			c.fail("cannot access '%s': %s", name, reason(err))
			return 0
		}
		if !fi.IsDir() {
			if (*all || level == 0) && (*depth < 0 || level <= *depth) {
				fmt.Fprintf(c.out, "%s\t%s\n", text(fi.Size()), name)
			}
			return fi.Size()
		}
		entries, err := os.ReadDir(p)
		if err != nil {
			c.fail("cannot read '%s': %s", name, reason(err))
		}
		var sum int64
		for _, e := range entries {
			sum += walk(joined(name, e.Name()), path.Join(p, e.Name()), level+1)
		}
		if *depth < 0 || level <= *depth {
			fmt.Fprintf(c.out, "%s\t%s\n", text(sum), name)
		}
		return sum
	}
	var sum int64
	for _, n := range names {
		sum += walk(n, c.path(n), 0)
	}
	if *total {
		fmt.Fprintf(c.out, "%s\ttotal\n", text(sum))
	}
	return 0
}
