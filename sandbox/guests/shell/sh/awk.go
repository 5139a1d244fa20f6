package sh

import (
	"io"
	"os"
	"strings"

	"github.com/benhoyt/goawk/interp"
	"github.com/benhoyt/goawk/parser"
)

// awk is goawk. Its commands (system, |) are not available: there are no processes.
func awk(c *call) int {
	c.trouble = 2
	f := c.flags()
	sep := f.StringP("field-separator", "F", " ", "separator of fields")
	vars := f.StringArrayP("assign", "v", nil, "name=value")
	from := f.StringArrayP("file", "f", nil, "a file with the program")
	csv := f.BoolP("csv", "k", false, "the input is CSV")
	header := f.BoolP("header", "H", false, "with --csv: the first line names the fields, for @\"name\"")
	f.SetInterspersed(false)
	args, err := c.parse(f)
	if err != nil {
		return c.leave(err)
	}
	var prog string
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
		prog += string(b) + "\n"
	}
	if len(*from) == 0 {
		if len(args) == 0 {
			return c.fail("no program; use as: awk [-F separator] [-v name=value] program [file…]")
		}
		prog, args = args[0], args[1:]
	}
	if nested(c, prog) {
		return c.status
	}
	parsed, err := parser.ParseProgram([]byte(prog), nil)
	if err != nil {
		return c.fail("%v", err)
	}
	switch *sep {
	case "t":
		*sep = "\t"
	default:
		*sep = escapes(strings.ReplaceAll(*sep, `\|`, `\\|`))
	}
	cfg := &interp.Config{
		Stdin: c.in, Output: c.out, Error: c.err, Argv0: "awk", Args: args, Chars: true, Environ: []string{}, NoExec: true,
		Vars: []string{"FS", *sep},
	}
	for _, v := range *vars {
		name, value, ok := strings.Cut(v, "=")
		if !ok {
			return c.fail("-v %s: use as name=value", v)
		}
		cfg.Vars = append(cfg.Vars, name, escapes(value))
	}
	for _, v := range c.all() {
		name, value, _ := strings.Cut(v, "=")
		cfg.Environ = append(cfg.Environ, name, value)
	}
	if *csv {
		cfg.InputMode = interp.CSVMode
		cfg.CSVInput.Header = *header
	}
	// goawk opens files relative to the process's directory, of which the guest has one.
	if err := os.Chdir(c.dir); err != nil {
		return c.fail("%s: %s", c.dir, reason(err))
	}
	in, err := interp.New(parsed)
	if err != nil {
		return c.fail("%v", err)
	}
	st, err := in.ExecuteContext(c.ctx, cfg)
	if err != nil {
		c.out.Flush()
		text := err.Error()
		if strings.Contains(text, "NoExec") {
			text = "commands inside awk (system, |) are not available; put them after awk with a pipe of the shell"
		}
		return c.fail("%s", text)
	}
	return st
}
