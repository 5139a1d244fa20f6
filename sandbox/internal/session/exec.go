package session

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/sallyport-gateway/sallyport/sandbox/internal/engine"
	"github.com/sallyport-gateway/sallyport/sandbox/internal/wasi"
)

// Program is one program.
type Program struct {
	Language string
	Code     string
	Wall     time.Duration // 0 means Limits.Wall, which it cannot exceed
	Tables   []string      // full names of the tables it may see; nil means all of the session
}

// File is a file that a program wrote.
type File struct {
	Name string // below tmp
	Size int64
}

// Result is what a program did.
type Result struct {
	Stdout, Stderr string
	Columns        []string // of SQL
	Rows           [][]any  // of SQL: nil, string, json.Number
	Exit           int      // 0 fine, 1 exception or error, else what the program exits with; 137 killed
	// Killed says why the instance is gone: "time", "cpu", "memory", "caller",
	// "closed", "crash", "exit"; "" means that it is still there. Files in tmp
	// and the other languages' instances stay.
	Killed string
	// Interrupted says why the program was asked to stop, if it was: "time",
	// "cpu", "caller". Its state is kept unless Killed is set too.
	Interrupted   string
	Truncated     bool
	Files         []File // written by this program, at most 100
	Duration, CPU time.Duration
}

// maxCode bounds the size of a program.
const maxCode = 4 << 20

// Exec runs a program after those that came before it. An error is one of the
// sandbox or of the call; what the program did wrong is in the result. When ctx
// ends, the program is interrupted, and killed after the grace time.
func (s *Session) Exec(ctx context.Context, p Program) (res Result, err error) {
	switch {
	case len(p.Code) > maxCode:
		return Result{}, fmt.Errorf("program of %d bytes: at most %d are allowed", len(p.Code), maxCode)
	case !s.setup.Trusted && (strings.IndexByte(p.Code, 0) >= 0 || strings.HasPrefix(p.Code, "\x01")):
		// what guests read as orders of the host
		return Result{}, errors.New("program has a NUL byte, or starts with the byte 1")
	}
	if _, err := s.engine.Guest(p.Language); err != nil {
		return Result{}, err
	}
	if err := s.do(ctx, func() { res, err = s.exec(ctx, p) }); err != nil {
		return Result{}, err
	}
	return res, err
}

func (s *Session) exec(ctx context.Context, p Program) (Result, error) {
	tables, err := s.visible(p.Tables)
	if err != nil {
		return Result{}, err
	}
	r := newRun(ctx, s.limits)
	defer r.end()
	if !s.begin(r) {
		return Result{}, ErrClosed
	}
	defer s.finish()
	if err := r.admit(s.setup.Admit); err != nil {
		if r.control.Killed() == engine.Closed {
			err = ErrClosed
		}
		return Result{}, err
	}
	start := time.Now()
	s.show(tables)
	s.fs.NewRun()
	wall := s.limits.Wall
	if p.Wall > 0 {
		wall = min(wall, p.Wall)
	}
	r.arm(wall)

	i, err := s.instance(p.Language, r)
	if err != nil {
		return Result{}, err
	}
	code := p.Code
	if p.Language == SQL && !s.setup.Trusted {
		code = rewriteNames(code, tables)
	}
	out, err := i.Exec(code, r.control)
	if err == engine.ErrTooLong {
		return Result{Exit: 1, Stderr: err.Error() + "\n", Duration: time.Since(start)}, nil
	}
	if err != nil {
		return Result{}, err
	}
	res := Result{
		Exit:        int(out.Status),
		Killed:      out.Killed.String(),
		Interrupted: out.Interrupted.String(),
		CPU:         out.CPU,
	}
	s.takeOutput(i.Proc, p.Language, &res)
	for _, f := range s.fs.Written() {
		res.Files = append(res.Files, File(f))
	}
	if i.Dead() {
		s.drop(p.Language)
	}
	s.weigh()
	res.Duration = time.Since(start)
	return res, nil
}

func (s *Session) takeOutput(p *wasi.Proc, language string, res *Result) {
	stdout, cutOut := p.Stdout.Take()
	stderr, cutErr := p.Stderr.Take()
	res.Stderr = text(stderr)
	res.Truncated = cutOut || cutErr
	if language == SQL && res.Killed == "" && res.Exit == 0 {
		parseRows(stdout, s.limits.Output, res)
		return
	}
	res.Stdout = text(stdout)
}

// text makes valid UTF-8 of what a guest wrote; a cut may have split a letter.
func text(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	return strings.ToValidUTF8(string(b), "\uFFFD")
}

// begin makes r the running execution, unless the session is closing.
func (s *Session) begin(r *run) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.running = r
	return true
}

func (s *Session) finish() {
	s.mu.Lock()
	s.running = nil
	s.mu.Unlock()
}

// visible resolves the names of the tables that a program may see.
func (s *Session) visible(names []string) ([]Table, error) {
	if names == nil {
		return s.tables, nil
	}
	out := []Table{}
	for _, name := range names {
		i := slices.IndexFunc(s.tables, func(t Table) bool { return t.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("table %q is not one of the session's", name)
		}
		out = append(out, s.tables[i])
	}
	return out, nil
}

// show makes exactly the given tables visible: as files, and to SQL. An SQL
// instance that has others attached is given up.
func (s *Session) show(tables []Table) {
	key := tableKey(tables)
	if i := s.instances[SQL]; i != nil && i.tables != key {
		s.drop(SQL)
	}
	s.fs.Show(dataFiles(tables))
	s.showing = tables
}

// run is one execution as others see it.
type run struct {
	ctx     context.Context // of the caller, ended early by a kill
	cancel  context.CancelFunc
	control *engine.Control
	grace   time.Duration
	unhook  func() bool
	give    func() // gives back the leave to run; nil while there is none

	mu     sync.Mutex
	timers []*time.Timer
	ended  bool
}

func newRun(ctx context.Context, l Limits) *run {
	r := &run{control: engine.NewControl(), grace: l.Grace}
	r.control.MaxCPU, r.control.Grace = l.CPU, l.Grace
	r.ctx, r.cancel = context.WithCancel(ctx)
	r.unhook = context.AfterFunc(ctx, func() { r.interrupt(engine.Caller) })
	return r
}

// arm starts the clock.
func (r *run) arm(wall time.Duration) {
	r.after(wall, func() { r.interrupt(engine.Time) })
}

func (r *run) after(d time.Duration, f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.ended {
		r.timers = append(r.timers, time.AfterFunc(d, f))
	}
}

// interrupt stops softly now, and hard after the grace time.
func (r *run) interrupt(why engine.Cause) {
	r.control.Interrupt(why)
	r.after(r.grace, func() { r.kill(why) })
}

func (r *run) kill(why engine.Cause) {
	r.control.Kill(why)
	r.cancel()
}

// admit waits for leave to run.
func (r *run) admit(admit func(context.Context) (func(), error)) error {
	if admit == nil {
		return nil
	}
	release, err := admit(r.ctx)
	if err != nil {
		return err
	}
	r.give = release
	return nil
}

func (r *run) release() {
	if r.give != nil {
		r.give()
		r.give = nil
	}
}

// end stops the clock and gives back what the run holds.
func (r *run) end() {
	r.unhook()
	r.cancel()
	r.release()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = true
	for _, t := range r.timers {
		t.Stop()
	}
}
