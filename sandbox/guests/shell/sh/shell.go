// Package sh is the shell of the sandbox: a Bourne shell with the usual text
// tools inside, so that it needs no process, no pipe of an operating system and
// no file but those of the guest. A tool reads and writes only what its call
// gives it; its exit status and its errors are those of its Unix namesake.
package sh

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"sync/atomic"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/interp"
	"mvdan.cc/sh/v3/syntax"
)

// A Shell runs programs one after the other. Variables, functions and the
// directory are kept from one to the next; options (set -e) are not.
type Shell struct {
	runner  *interp.Runner
	tools   map[string]tool
	clear   *syntax.File // what is run after each program
	scratch string
	calls   atomic.Uint32 // commands so far
	err     *saidOnce
}

// New returns a shell that works in dir, an absolute path, and writes there what it needs.
func New(dir string, stdout, stderr io.Writer) (*Shell, error) {
	s := &Shell{tools: table(), scratch: dir, err: &saidOnce{Writer: stderr}}
	env := expand.ListEnviron("PATH=/bin", "HOME="+dir, "TMPDIR="+dir, "PWD="+dir, "USER=sandbox", "LANG=C.UTF-8", "IFS= \t\n")
	r, err := interp.New(
		interp.Env(env),
		interp.Dir(dir),
		interp.StdIO(nil, stdout, s.err),
		interp.CallHandler(s.call),
		interp.ExecHandlers(func(interp.ExecHandlerFunc) interp.ExecHandlerFunc { return s.exec }),
		interp.OpenHandler(s.open),
	)
	if err != nil {
		return nil, fmt.Errorf("start the shell: %w", err)
	}
	s.runner = r
	s.clear, err = syntax.NewParser().Parse(strings.NewReader("trap EXIT; trap ERR"), "")
	return s, err
}

// Seed gives the variable RANDOM numbers of its own. Without it they are those of
// the moment at which the shell was made, which a snapshot repeats.
func (s *Shell) Seed(ctx context.Context) error {
	var b [4]byte
	rand.Read(b[:])
	file, err := syntax.NewParser().Parse(strings.NewReader(fmt.Sprintf("RANDOM=%d", binary.LittleEndian.Uint32(b[:])>>1)), "")
	if err != nil {
		return err
	}
	return s.runner.Run(ctx, file.Stmts[0])
}

// Run runs one program and returns its exit status.
func (s *Shell) Run(ctx context.Context, code string) (status int) {
	defer func() {
		if r := recover(); r != nil {
			fmt.Fprintf(s.err, "shell: internal error: %v\n", r)
			status = 2
		}
	}()
	s.err.said.Store(false)
	file, err := parse(code, "shell")
	if err != nil {
		fmt.Fprintln(s.err, err)
		return 2
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // jobs in the background end with the program
	defer s.removeSubstitutions()
	interp.Params("+e", "+u", "+f", "+x", "+n", "+a", "+o", "pipefail")(s.runner)
	interp.Params("--")(s.runner)

	err = s.runner.Run(ctx, file)
	for _, st := range s.clear.Stmts {
		s.runner.Run(ctx, st)
	}
	var exit interp.ExitStatus
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return int(exit)
	}
	fmt.Fprintln(s.err, err)
	if errors.Is(err, errDeep) {
		return 2
	}
	return 1
}

// call answers what the interpreter would look for in the file system, where a
// command is, and refuses what is nested too deeply.
func (s *Shell) call(ctx context.Context, args []string) ([]string, error) {
	if s.tooDeep() || s.opensDeep(ctx, args) {
		return nil, errDeep
	}
	switch {
	case args[0] == "command" && len(args) > 2 && (args[1] == "-v" || args[1] == "-V"):
		return s.locate(ctx, args, 2), nil
	case args[0] == "type" && len(args) > 1:
		return s.locate(ctx, args, 1), nil
	case args[0] == "printf" && len(args) > 3 && args[1] == "-v":
		var text bytes.Buffer
		formatted(&text, args[3], args[4:], interp.HandlerCtx(ctx).Stderr)
		return []string{"eval", args[2] + "=" + quoteAll([]string{text.String()})}, nil
	case args[0] == "trap":
		return traps(args), nil
	case args[0] == "printf" && len(args) > 1 && args[1] != "-v":
		args[0] = "/bin/printf" // that of the interpreter knows no precision
	case strings.HasPrefix(args[0], "/bin/") || strings.HasPrefix(args[0], "/usr/bin/"):
		if _, ok := s.tools[path.Base(args[0])]; ok {
			args[0] = path.Base(args[0])
		}
	}
	return args, nil
}

// traps leaves out the signals, which nobody sends here and the interpreter
// refuses, and the "-" that it takes for an option.
func traps(args []string) []string {
	if len(args) < 3 {
		return args
	}
	kept := []string{"trap", args[1]}
	if args[1] == "-" {
		kept[1] = ""
	}
	for _, name := range args[2:] {
		switch strings.TrimPrefix(strings.ToUpper(name), "SIG") {
		case "EXIT", "0":
			kept = append(kept, "EXIT")
		case "ERR":
			kept = append(kept, "ERR")
		case "INT", "TERM", "HUP", "QUIT", "PIPE", "ALRM", "USR1", "USR2":
		default:
			return args
		}
	}
	if len(kept) == 2 {
		return []string{"true"}
	}
	return kept
}

// locate turns the question for tools into a call of which; the shell answers for its own.
func (s *Shell) locate(_ context.Context, args []string, from int) []string {
	for _, a := range args[from:] {
		if _, ok := s.tools[a]; !ok || interp.IsBuiltin(a) {
			return args
		}
	}
	return append([]string{"which"}, args[from:]...)
}

// exec runs a tool.
func (s *Shell) exec(ctx context.Context, args []string) error {
	hc := interp.HandlerCtx(ctx)
	if status := s.tool(ctx, hc, args, hc.Stdin, hc.Stdout); status != 0 {
		return interp.ExitStatus(status)
	}
	return nil
}

func (s *Shell) tool(ctx context.Context, hc interp.HandlerContext, args []string, in io.Reader, out io.Writer) int {
	name := strings.TrimPrefix(args[0], "/bin/")
	t, ok := s.tools[name]
	if !ok {
		if strings.Contains(name, "/") {
			return s.runFile(ctx, hc, args, in, out)
		}
		fmt.Fprintf(hc.Stderr, "%s: command not found\n", name)
		return 127
	}
	if r, ok := in.(*os.File); ok && r == nil {
		in = nil
	}
	c := newCall(ctx, name, args[1:], in, out, hc.Stderr)
	c.dir = hc.Dir
	c.env = func(k string) string { return hc.Env.Get(k).String() }
	c.script = func(name, code string, params []string, in io.Reader) int {
		return s.sub(ctx, hc, name, code, params, in, pipeOut{c})
	}
	c.known = func(n string) bool { return s.tools[n] != nil || interp.IsBuiltin(n) }
	c.all = func() []string { return exported(hc.Env) }
	c.run = func(ctx context.Context, args []string, in io.Reader, out io.Writer) int {
		if len(args) == 0 {
			return 0
		}
		if _, ok := s.tools[args[0]]; !ok && interp.IsBuiltin(args[0]) {
			return s.sub(ctx, hc, "shell", quoteAll(args), nil, in, out)
		}
		return s.tool(ctx, hc, args, in, out)
	}
	return c.do(t)
}

// runFile runs a file of shell commands.
func (s *Shell) runFile(ctx context.Context, hc interp.HandlerContext, args []string, in io.Reader, out io.Writer) int {
	p := args[0]
	if !path.IsAbs(p) {
		p = path.Join(hc.Dir, p)
	}
	code, err := os.ReadFile(p)
	if err != nil {
		fmt.Fprintf(hc.Stderr, "%s: %s\n", args[0], reason(err))
		return 127
	}
	return s.sub(ctx, hc, args[0], string(code), args[1:], in, out)
}

// sub runs code in a shell of its own that calls itself name, with the environment of the caller.
func (s *Shell) sub(ctx context.Context, hc interp.HandlerContext, name, code string, params []string, in io.Reader, out io.Writer) int {
	if depth(ctx) >= 50 {
		fmt.Fprintln(hc.Stderr, "shell: too many shells inside each other")
		return 1
	}
	file, err := parse(code, name)
	if err != nil {
		fmt.Fprintln(hc.Stderr, err)
		return 2
	}
	r, err := interp.New(
		interp.Env(expand.ListEnviron(exported(hc.Env)...)),
		interp.Dir(hc.Dir),
		interp.StdIO(in, out, hc.Stderr),
		interp.CallHandler(s.call),
		interp.ExecHandlers(func(interp.ExecHandlerFunc) interp.ExecHandlerFunc { return s.exec }),
		interp.OpenHandler(s.open),
		interp.Params(append([]string{"--"}, params...)...),
	)
	if err == nil {
		err = r.Run(context.WithValue(ctx, depthKey{}, depth(ctx)+1), file)
	}
	var exit interp.ExitStatus
	if errors.As(err, &exit) {
		return int(exit)
	}
	if err != nil {
		fmt.Fprintln(hc.Stderr, err)
		return 1
	}
	return 0
}

type depthKey struct{}

func depth(ctx context.Context) int {
	n, _ := ctx.Value(depthKey{}).(int)
	return n
}

// open opens the files of redirections.
func (s *Shell) open(ctx context.Context, name string, flag int, perm os.FileMode) (io.ReadWriteCloser, error) {
	hc := interp.HandlerCtx(ctx)
	switch name {
	case "/dev/null":
		return null{}, nil
	case "/dev/zero":
		return zero{}, nil
	case "/dev/stdout":
		return stream{hc.Stdout}, nil
	case "/dev/stderr":
		return stream{hc.Stderr}, nil
	}
	p := name
	if !path.IsAbs(p) {
		p = path.Join(hc.Dir, p)
	}
	f, err := os.OpenFile(p, flag, perm)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: errors.New(reason(err))}
	}
	return f, nil
}

type null struct{}

func (null) Read([]byte) (int, error)    { return 0, io.EOF }
func (null) Write(p []byte) (int, error) { return len(p), nil }
func (null) Close() error                { return nil }

type stream struct{ io.Writer }

func (stream) Read([]byte) (int, error) { return 0, io.EOF }
func (stream) Close() error             { return nil }

// exported lists the variables that a command sees.
func exported(env expand.Environ) []string {
	values := map[string]string{} // a later variable covers an earlier one of its name
	for name, v := range env.Each {
		if v.Exported && v.IsSet() {
			values[name] = v.String()
		} else {
			delete(values, name)
		}
	}
	var list []string
	for _, name := range sorted(values) {
		list = append(list, name+"="+values[name])
	}
	return list
}

func quoteAll(args []string) string {
	q := make([]string, len(args))
	for i, a := range args {
		q[i] = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
	}
	return strings.Join(q, " ")
}
