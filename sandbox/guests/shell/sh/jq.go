package sh

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"strings"

	"github.com/itchyny/gojq"
)

// jq is gojq, with the options of jq. Keys of objects come sorted.
func jq(c *call) int {
	c.trouble = 2
	f := c.flags()
	raw := f.BoolP("raw-output", "r", false, "strings without quotes")
	join := f.BoolP("join-output", "j", false, "as -r, without newlines")
	compact := f.BoolP("compact-output", "c", false, "one line a value")
	null := f.BoolP("null-input", "n", false, "no input; input and inputs read it")
	slurp := f.BoolP("slurp", "s", false, "all input as one array")
	text := f.BoolP("raw-input", "R", false, "the input is lines of text")
	exit := f.BoolP("exit-status", "e", false, "exit status 1 for a last value of false or null")
	ascii := f.BoolP("ascii-output", "a", false, "escape what is not ASCII")
	tab := f.Bool("tab", false, "indent with tabs")
	indent := f.Int("indent", 2, "columns of an indent")
	f.BoolP("sort-keys", "S", false, "no effect: keys are always sorted")
	f.BoolP("monochrome-output", "M", false, "no effect")
	f.BoolP("color-output", "C", false, "no effect")
	from := f.StringP("from-file", "f", "", "a file with the filter")
	var names []string
	var values []any
	named := map[string]any{}
	args, positional, err := jqVariables(c, func(name string, v any) {
		names, values = append(names, "$"+name), append(values, v)
		named[name] = v
	})
	if err != nil {
		return c.fail("%v", err)
	}
	c.args = args
	if args, err = c.parse(f); err != nil {
		return c.leave(err)
	}
	var filter string
	if *from != "" {
		r, ok := c.open(*from)
		if !ok {
			return 2
		}
		b, err := io.ReadAll(r)
		r.Close()
		if err != nil {
			return c.fail("%s: %s", *from, reason(err))
		}
		filter = string(b)
	} else {
		filter = "."
		if len(args) > 0 {
			filter, args = args[0], args[1:]
		}
	}
	c.trouble = 3
	if nested(c, filter) {
		return c.status
	}
	query, err := gojq.Parse(filter)
	if err != nil {
		return c.fail("compile error: %v", err)
	}
	names, values = append(names, "$ARGS"), append(values, map[string]any{"named": named, "positional": positional})
	in := &jqInput{c: c, names: args, text: *text, slurp: *slurp}
	code, err := gojq.Compile(query, gojq.WithVariables(names), gojq.WithInputIter(in), gojq.WithEnvironLoader(c.all))
	if err != nil {
		return c.fail("compile error: %v", err)
	}
	c.trouble = 2
	format := func(v any) []byte {
		if s, ok := v.(string); ok && (*raw || *join) {
			return []byte(s)
		}
		b, err := gojq.Marshal(v)
		if err != nil {
			c.fail("%v", err)
			return nil
		}
		if !*compact && (*tab || *indent > 0) {
			var out bytes.Buffer
			step := strings.Repeat(" ", min(*indent, 8))
			if *tab {
				step = "\t"
			}
			if json.Indent(&out, b, "", step) == nil {
				b = out.Bytes()
			}
		}
		if *ascii {
			b = escapeASCII(b)
		}
		return b
	}
	result, last := 0, any(nil)
	one := func(v any) bool {
		for it := code.RunWithContext(c.ctx, v, values...); ; {
			v, ok := it.Next()
			if !ok {
				return true
			}
			if err, ok := v.(error); ok {
				var halt *gojq.HaltError
				if errors.As(err, &halt) {
					if v := halt.Value(); v != nil {
						fmt.Fprintf(c.err, "%s\n", format(v))
					}
					result = halt.ExitCode()
					return false
				}
				c.trouble, result = 5, 5
				c.fail("error: %v", err)
				return c.ctx.Err() == nil
			}
			last = v
			c.out.Write(format(v))
			if !*join {
				c.out.WriteByte('\n')
			}
		}
	}
	if *null {
		one(nil)
	} else {
		for {
			v, ok := in.Next()
			if !ok {
				break
			}
			if err, ok := v.(error); ok {
				c.fail("error: %v", err)
				return 2
			}
			if !one(v) {
				break
			}
		}
	}
	if result == 0 && *exit && (last == nil || last == false) {
		return 1
	}
	return result
}

// jqVariables takes --arg and its kin, which have two values, out of the arguments.
func jqVariables(c *call, set func(string, any)) (rest []string, positional []any, err error) {
	positional = []any{}
	a := c.args
	for i := 0; i < len(a); i++ {
		switch a[i] {
		case "--arg", "--argjson", "--slurpfile", "--rawfile":
			if i+2 >= len(a) {
				return nil, nil, fmt.Errorf("%s needs a name and a value", a[i])
			}
			var v any = a[i+2]
			switch a[i] {
			case "--argjson":
				if v, err = decode(json.NewDecoder(strings.NewReader(a[i+2]))); err != nil {
					return nil, nil, fmt.Errorf("--argjson %s: %v", a[i+1], err)
				}
			case "--slurpfile", "--rawfile":
				r, ok := c.open(a[i+2])
				if !ok {
					return nil, nil, fmt.Errorf("%s %s: cannot be read", a[i], a[i+1])
				}
				b, err := io.ReadAll(r)
				r.Close()
				if err != nil {
					return nil, nil, err
				}
				v = string(b)
				if a[i] == "--slurpfile" {
					list := []any{}
					for d := json.NewDecoder(bytes.NewReader(b)); ; {
						x, err := decode(d)
						if err == io.EOF {
							break
						}
						if err != nil {
							return nil, nil, err
						}
						list = append(list, x)
					}
					v = list
				}
			}
			set(a[i+1], v)
			i += 2
		case "--args", "--jsonargs":
			for j := i + 1; j < len(a); j++ {
				if len(rest) == 0 {
					rest = append(rest, a[j])
					continue
				}
				var v any = a[j]
				if a[i] == "--jsonargs" {
					if v, err = decode(json.NewDecoder(strings.NewReader(a[j]))); err != nil {
						return nil, nil, fmt.Errorf("--jsonargs %s: %v", a[j], err)
					}
				}
				positional = append(positional, v)
			}
			return rest, positional, nil
		default:
			rest = append(rest, a[i])
		}
	}
	return rest, positional, nil
}

// decode reads one value with the types that gojq wants.
func decode(d *json.Decoder) (any, error) {
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	return numbers(v), nil
}

func numbers(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			v[k] = numbers(x)
		}
	case []any:
		for i, x := range v {
			v[i] = numbers(x)
		}
	case json.Number:
		if n, err := v.Int64(); err == nil && n >= math.MinInt && n <= math.MaxInt {
			return int(n)
		}
		if n, ok := new(big.Int).SetString(v.String(), 10); ok {
			return n
		}
		x, _ := v.Float64()
		return x
	}
	return v
}

// jqInput reads the inputs value by value.
type jqInput struct {
	c           *call
	names       []string
	text, slurp bool
	started     bool
	dec         *json.Decoder
	lines       *bufio.Reader
	done        bool
}

func (in *jqInput) Next() (any, bool) {
	if !in.started {
		in.started = true
		var all []io.Reader
		names := in.names
		if len(names) == 0 {
			names = []string{"-"}
		}
		for _, n := range names {
			if r, ok := in.c.open(n); ok {
				all = append(all, r, strings.NewReader("\n"))
			} else {
				in.c.status = 2
			}
		}
		if in.text && len(all) > 0 {
			all = all[:len(all)-1]
		}
		r := io.MultiReader(all...)
		in.dec, in.lines = json.NewDecoder(r), bufio.NewReader(r)
	}
	if in.done {
		return nil, false
	}
	switch {
	case in.text && in.slurp:
		in.done = true
		b, err := io.ReadAll(in.lines)
		if err != nil {
			return err, true
		}
		return string(b), true
	case in.text:
		l, err := in.lines.ReadString('\n')
		if err != nil && l == "" {
			in.done = true
			return nil, false
		}
		return strings.TrimSuffix(l, "\n"), true
	case in.slurp:
		in.done = true
		list := []any{}
		for {
			v, err := decode(in.dec)
			if err == io.EOF {
				return list, true
			}
			if err != nil {
				return err, true
			}
			list = append(list, v)
		}
	}
	v, err := decode(in.dec)
	if err == io.EOF {
		in.done = true
		return nil, false
	}
	if err != nil {
		in.done = true
		return fmt.Errorf("invalid JSON: %w", err), true
	}
	return v, true
}

func escapeASCII(b []byte) []byte {
	var out bytes.Buffer
	for _, r := range string(b) {
		switch {
		case r < 0x80:
			out.WriteRune(r)
		case r < 0x10000:
			fmt.Fprintf(&out, `\u%04x`, r)
		default:
			r -= 0x10000
			fmt.Fprintf(&out, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		}
	}
	return out.Bytes()
}
