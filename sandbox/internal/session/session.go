// Package session runs the programs of one principal's request: Python, SQL and
// shell over the same tables and the same scratch files.
//
// A session is one goroutine. It makes an instance of a language when that
// language is first used, runs one program at a time, and is the only one that
// touches its instances; everybody else sends it a job or sets a flag.
package session

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sallyport-gateway/sallyport/sandbox/internal/engine"
	"github.com/sallyport-gateway/sallyport/sandbox/internal/wasi"
)

// The languages that a session treats in its own way.
const (
	Python = "python"
	SQL    = "sql"
	Shell  = "shell"
)

// Limits of a session; zero values are the defaults.
type Limits struct {
	Memory  int64         // bytes of each instance; 0 means 256 MiB
	Scratch int64         // bytes of files in tmp; 0 means 64 MiB
	Inodes  int           // files and directories in tmp; 0 means 1000
	Files   int           // files an instance may have open; 0 means 128
	Output  int           // bytes of stdout, of stderr, and of rows; 0 means 256 KiB
	Wall    time.Duration // of an execution; 0 means 30 s
	CPU     time.Duration // of an execution; 0 means 10 s
	Grace   time.Duration // between asking a program to stop and stopping it; 0 means 1 s
}

func (l Limits) withDefaults() Limits {
	set(&l.Memory, 256<<20)
	set(&l.Scratch, 64<<20)
	set(&l.Inodes, 1000)
	set(&l.Files, 128)
	set(&l.Output, 256<<10)
	set(&l.Wall, 30*time.Second)
	set(&l.CPU, 10*time.Second)
	set(&l.Grace, time.Second)
	return l
}

func set[T int | int64 | time.Duration](v *T, def T) {
	if *v <= 0 {
		*v = def
	}
}

// Setup is what a session is made of.
type Setup struct {
	Tables []Table
	Limits Limits

	// Trusted leaves the SQL guest unlocked, so that it may attach files of
	// tmp. No program of a model may ever run in such a session.
	Trusted bool

	// Admit waits for leave to run; release gives it back. A guest that sleeps
	// does not hold it. nil means no waiting.
	Admit func(context.Context) (release func(), err error)
}

// Session is one session. Its methods may be called by any goroutine.
type Session struct {
	engine *engine.Engine
	limits Limits
	setup  Setup
	jobs   chan job
	quit   chan struct{} // closed by the first Close
	done   chan struct{} // closed when everything is released

	held atomic.Int64 // see Held

	mu      sync.Mutex
	closed  bool
	running *run // nil while idle

	// The rest belongs to the session's goroutine.
	fs        *wasi.FS
	instances map[string]*instance
	tables    []Table
	showing   []Table // what the running program sees
}

type instance struct {
	*engine.Instance
	tables string // names of the tables that the SQL guest has attached
}

// job is something for the session's goroutine to do.
type job struct {
	do   func()
	done chan struct{}
}

// ErrClosed says that the session is closed.
var ErrClosed = errors.New("the session is closed")

// Open makes a session. It is cheap: instances are made when they are needed.
func Open(e *engine.Engine, setup Setup) (*Session, error) {
	s := &Session{
		engine:    e,
		limits:    setup.Limits.withDefaults(),
		setup:     setup,
		jobs:      make(chan job),
		quit:      make(chan struct{}),
		done:      make(chan struct{}),
		instances: map[string]*instance{},
		tables:    setup.Tables,
	}
	if err := checkTables(s.tables); err != nil {
		return nil, err
	}
	var err error
	s.fs, err = wasi.NewFS(e.Files(), dataFiles(s.tables), wasi.Quota{
		Bytes: s.limits.Scratch, Inodes: s.limits.Inodes, Files: s.limits.Files,
	})
	if err != nil {
		return nil, err
	}
	go s.loop()
	return s, nil
}

// loop is the session's goroutine.
func (s *Session) loop() {
	defer close(s.done)
	for {
		select {
		case j := <-s.jobs:
			j.do()
			close(j.done)
		case <-s.quit:
			for language := range s.instances {
				s.drop(language)
			}
			return
		}
	}
}

// do runs f on the session's goroutine and waits for it. The context bounds the
// waiting for earlier jobs only.
func (s *Session) do(ctx context.Context, f func()) error {
	j := job{do: f, done: make(chan struct{})}
	select {
	case s.jobs <- j:
		<-j.done
		return nil
	case <-s.quit:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// drop ends the instance of a language.
func (s *Session) drop(language string) {
	if i := s.instances[language]; i != nil {
		delete(s.instances, language)
		// Closing fails only when unmapping does, which leaves nothing to do.
		_ = i.Close()
	}
}

// Interrupt asks the running program to stop and keep its state; it is stopped
// hard when it has not done so after the grace time. It does nothing when no
// program runs.
func (s *Session) Interrupt() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running != nil {
		s.running.interrupt(engine.Caller)
	}
}

// Kill stops the running program now, with the state of its language. It does
// nothing when no program runs.
func (s *Session) Kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running != nil {
		s.running.kill(engine.Caller)
	}
}

// Close stops what runs and releases everything. It returns when nothing of
// the session is left, so that the bytes of its tables may be unmapped. It may
// be called more than once, by several goroutines, and not from Admit.
func (s *Session) Close() {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.quit)
	}
	if s.running != nil {
		s.running.kill(engine.Closed)
	}
	s.mu.Unlock()
	<-s.done
}

// ReadFile returns a file of the session, such as "tmp/out.csv".
func (s *Session) ReadFile(ctx context.Context, path string) (b []byte, err error) {
	if err := s.do(ctx, func() { b, err = s.fs.ReadFile(path) }); err != nil {
		return nil, err
	}
	return b, err
}

// WriteFile writes a file below tmp, within the session's quota.
func (s *Session) WriteFile(ctx context.Context, path string, b []byte) (err error) {
	if err := s.do(ctx, func() { err = s.fs.WriteFile(path, b) }); err != nil {
		return err
	}
	return err
}

// Held is how many bytes of memory the session holds after its last program, at
// most: what its guests took beyond their shared images, and its files.
func (s *Session) Held() int64 { return s.held.Load() }

func (s *Session) weigh() {
	n, _ := s.fs.Used()
	for _, i := range s.instances {
		n += i.Held()
	}
	s.held.Store(n)
}

// instance returns the instance of a language, made if there is none.
func (s *Session) instance(language string, r *run) (*instance, error) {
	if i := s.instances[language]; i != nil {
		return i, nil
	}
	g, err := s.engine.Guest(language)
	if err != nil {
		return nil, err
	}
	output := s.limits.Output
	if language == SQL {
		output = sqlOutput(output)
	}
	ei, err := s.engine.Start(g, s.fs, engine.Bounds{Memory: s.limits.Memory, Output: output, Asleep: s.asleep})
	if err != nil {
		return nil, err
	}
	i := &instance{Instance: ei}
	if language == SQL {
		if err := s.attach(i, r); err != nil {
			return nil, errors.Join(fmt.Errorf("sql: %w", err), i.Close())
		}
	}
	s.instances[language] = i
	return i, nil
}

// asleep gives back the leave to run while the guest waits.
func (s *Session) asleep() (awake func()) {
	r := s.running // set and cleared by this goroutine only
	if s.setup.Admit == nil || r == nil {
		return func() {}
	}
	r.release()
	return func() { r.admit(s.setup.Admit) }
}
