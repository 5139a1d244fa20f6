package sh

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"strconv"
	"strings"
	"time"
)

func which(c *call) int {
	st := 0
	for _, n := range c.args {
		switch {
		case strings.HasPrefix(n, "-"):
		case c.known(n):
			c.line([]byte("/bin/" + n))
		default:
			st = 1
		}
	}
	return st
}

func env(c *call) int {
	if c.name == "printenv" && len(c.args) > 0 {
		st := 0
		for _, n := range c.args {
			v := ""
			found := false
			for _, kv := range c.all() {
				if k, val, _ := strings.Cut(kv, "="); k == n {
					v, found = val, true
				}
			}
			if !found {
				st = 1
				continue
			}
			c.line([]byte(v))
		}
		return st
	}
	args := c.args
	var set []string
	for len(args) > 0 && (strings.Contains(args[0], "=") || strings.HasPrefix(args[0], "-")) {
		switch {
		case args[0] == "-u" && len(args) > 1:
			set = append(set, "unset "+quoteAll(args[1:2])+";")
			args = args[1:]
		case strings.HasPrefix(args[0], "-"):
		default:
			k, v, _ := strings.Cut(args[0], "=")
			set = append(set, "export "+k+"="+quoteAll([]string{v})+";")
		}
		args = args[1:]
	}
	if len(args) == 0 {
		for _, kv := range c.all() {
			c.line([]byte(kv))
		}
		return 0
	}
	if len(set) > 0 {
		args = []string{"sh", "-c", strings.Join(set, " ") + " " + quoteAll(args)}
	}
	return c.run(c.ctx, args, c.in, pipeOut{c})
}

// subshell is bash and sh: a shell of its own for a script.
func subshell(c *call) int {
	args := c.args
	for len(args) > 0 && strings.HasPrefix(args[0], "-") && len(args[0]) > 1 {
		o := args[0]
		args = args[1:]
		if strings.HasSuffix(o, "c") && !strings.HasPrefix(o, "--") {
			if len(args) == 0 {
				return c.fail("-c needs a program")
			}
			name := c.name
			if len(args) > 1 {
				name = args[1]
			}
			return c.script(name, args[0], args[min(2, len(args)):], c.in)
		}
	}
	if len(args) == 0 || args[0] == "-" {
		b, err := io.ReadAll(c.in)
		if err != nil {
			c.readError(err)
		}
		return c.script(c.name, string(b), nil, strings.NewReader(""))
	}
	r, ok := c.open(args[0])
	if !ok {
		return 127
	}
	b, err := io.ReadAll(r)
	r.Close()
	if err != nil {
		return c.fail("%s: %s", args[0], reason(err))
	}
	return c.script(args[0], string(b), args[1:], c.in)
}

func sleep(c *call) int {
	var sum time.Duration
	if len(c.args) == 0 {
		return c.fail("needs a time")
	}
	for _, a := range c.args {
		unit := time.Second
		for suffix, u := range map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour} {
			if t, ok := strings.CutSuffix(a, suffix); ok {
				a, unit = t, u
				break
			}
		}
		v, err := strconv.ParseFloat(a, 64)
		if err != nil || v < 0 {
			return c.fail("invalid time '%s'", a)
		}
		sum += time.Duration(v * float64(unit))
	}
	if !pause(c.ctx, sum) {
		return 143
	}
	return 0
}

func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func base64Tool(c *call) int {
	f := c.flags()
	decode := f.BoolP("decode", "d", false, "decode")
	f.BoolVarP(decode, "Decode", "D", false, "the same as -d")
	garbage := f.BoolP("ignore-garbage", "i", false, "skip what is not base64")
	wrap := f.IntP("wrap", "w", 76, "columns; 0 is one line")
	names, err := c.parse(f)
	if err != nil {
		return c.leave(err)
	}
	for _, r := range c.files(names) {
		b, err := io.ReadAll(r)
		if err != nil {
			c.readError(err)
		}
		if *decode {
			clean := bytes.Map(func(r rune) rune {
				if r == '\n' || r == '\r' || r == ' ' || (*garbage && !strings.ContainsRune("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=", r)) {
					return -1
				}
				return r
			}, b)
			out, err := base64.StdEncoding.DecodeString(string(clean))
			c.out.Write(out)
			if err != nil {
				return c.fail("invalid input")
			}
			continue
		}
		s := base64.StdEncoding.EncodeToString(b)
		for *wrap > 0 && len(s) > *wrap {
			c.line([]byte(s[:*wrap]))
			s = s[*wrap:]
		}
		c.out.WriteString(s)
		if *wrap > 0 && len(s) > 0 {
			c.out.WriteByte('\n')
		}
	}
	return 0
}

// digest is md5sum and its kin.
func digest(c *call) int {
	f := c.flags()
	check := f.BoolP("check", "c", false, "compare with the sums in the files")
	f.BoolP("binary", "b", false, "no effect")
	f.BoolP("text", "t", false, "no effect")
	quiet := f.Bool("quiet", false, "with -c: print only what differs")
	names, err := c.parse(f)
	if err != nil {
		return c.leave(err)
	}
	sum := func(r io.Reader) string {
		h := map[string]func() hash.Hash{"md5sum": md5.New, "sha1sum": sha1.New, "sha256sum": sha256.New, "sha512sum": sha512.New}[c.name]()
		if _, err := io.Copy(h, r); err != nil {
			c.readError(err)
		}
		return hex.EncodeToString(h.Sum(nil))
	}
	if !*check {
		for n, r := range c.files(names) {
			fmt.Fprintf(c.out, "%s  %s\n", sum(r), n)
		}
		return 0
	}
	for l := range c.input(names) {
		want, name, ok := strings.Cut(string(l), " ")
		name = strings.TrimPrefix(strings.TrimPrefix(name, " "), "*")
		if !ok {
			continue
		}
		r, ok := c.open(name)
		if !ok {
			continue
		}
		got := sum(r)
		r.Close()
		switch {
		case got != want:
			fmt.Fprintf(c.out, "%s: FAILED\n", name)
			c.status = 1
		case !*quiet:
			fmt.Fprintf(c.out, "%s: OK\n", name)
		}
	}
	return 0
}
