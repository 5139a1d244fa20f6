//go:build cgo

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/confine"
	"github.com/sallyport-gateway/sallyport/sdk/engine"
)

// config is what an engine may be told. The zero value is the one in use.
type config struct {
	Program    string // that is started as a child; "" means this one
	Children   int    // queries at a time; 0 means twice the number of processors. More wait
	Cold       bool   // keep no spare child
	Unconfined bool   // run children where the system cannot confine them
}

// limits of a query that sets none; see engine.Query.
const (
	defaultRows   = 1000
	defaultBytes  = 1 << 20
	defaultMemory = 512 << 20
	defaultWall   = 30 * time.Second
	startTime     = 10 * time.Second // for a child to open its database
	leastMemory   = 64 << 20
	mostBytes     = 64 << 20
)

// duckEngine runs every query in a child of its own.
type duckEngine struct {
	cfg     config
	spawner *spawner
	slots   chan struct{} // one for each running query
	wake    chan struct{} // a spare was taken: make another
	checker checker
	told    sync.Once

	life context.Context // ends with Close
	stop context.CancelFunc
	work sync.WaitGroup

	mu    sync.Mutex
	spare *process
}

var _ engine.Engine = (*duckEngine)(nil)

// newEngine makes an engine; Close ends its children.
func newEngine(cfg config) *duckEngine {
	if cfg.Children == 0 {
		cfg.Children = 2 * runtime.NumCPU()
	}
	e := &duckEngine{cfg: cfg, slots: make(chan struct{}, cfg.Children), wake: make(chan struct{}, 1)}
	e.life, e.stop = context.WithCancel(context.Background())
	return e
}

// open starts what runs beside queries, at the first one: `describe` needs no
// children.
func (e *duckEngine) open() error {
	var err error
	e.told.Do(func() {
		if e.cfg.Program == "" {
			if e.cfg.Program, err = ownProgram(); err != nil {
				return
			}
		}
		granted := confine.Probe()
		slog.Info("confinement of queries", "granted", granted)
		if (granted.Landlock == 0 || !granted.Seccomp) && !e.cfg.Unconfined {
			slog.Error("no SQL: this system cannot confine queries; " + unconfinedVar + "=allow runs them all the same")
			return
		}
		e.spawner = newSpawner(e.cfg.Program)
		if !e.cfg.Cold {
			e.wake <- struct{}{}
			e.work.Go(e.keepSpare)
		}
	})
	if err == nil && (e.spawner == nil || e.life.Err() != nil) {
		err = errors.New("it is closed, or this system cannot confine queries")
	}
	return err
}

// Close kills the children and waits for them. No query may run any more.
func (e *duckEngine) Close() {
	e.stop()
	e.work.Wait()
	e.checker.close()
	if p := e.takeSpare(); p != nil {
		p.kill()
	}
	e.told.Do(func() {}) // from now on open fails
	if e.spawner != nil {
		e.spawner.close()
	}
}

// keepSpare has one child ready, with its database open and no data.
func (e *duckEngine) keepSpare() {
	pause := time.Duration(0)
	for {
		select {
		case <-e.life.Done():
			return
		case <-e.wake:
		}
		if pause > 0 {
			select {
			case <-e.life.Done():
				return
			case <-time.After(pause):
			}
		}
		if e.hasSpare() {
			continue
		}
		p, err := e.spawn(e.life)
		if err != nil {
			// The next query reports it; here it must not become a loop.
			slog.Warn("no spare child", "error", err)
			pause = min(max(2*pause, 100*time.Millisecond), 10*time.Second)
			continue
		}
		pause = 0
		e.mu.Lock()
		e.spare = p
		e.mu.Unlock()
	}
}

func (e *duckEngine) hasSpare() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.spare != nil
}

func (e *duckEngine) spawn(ctx context.Context) (*process, error) {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	return e.spawner.spawn(ctx)
}

func (e *duckEngine) takeSpare() *process {
	e.mu.Lock()
	defer e.mu.Unlock()
	p := e.spare
	e.spare = nil
	return p
}

// child gives a child for one query, the spare one if it lives.
func (e *duckEngine) child(ctx context.Context) (*process, error) {
	p := e.takeSpare()
	select {
	case e.wake <- struct{}{}:
	default:
	}
	if p != nil {
		if p.alive() {
			return p, nil
		}
		slog.Warn("spare child was gone", "end", p.end())
		p.kill()
	}
	return e.spawn(ctx)
}

// Query implements engine.Engine.
func (e *duckEngine) Query(ctx context.Context, q engine.Query) iter.Seq2[engine.Batch, error] {
	return func(yield func(engine.Batch, error) bool) {
		if err := e.query(ctx, q, func(b engine.Batch) bool { return yield(b, nil) }); err != nil {
			yield(engine.Batch{}, err)
		}
	}
}

// request fills in the defaults of q and checks what can be checked here.
func (e *duckEngine) request(q engine.Query) (request, time.Duration, error) {
	r := request{SQL: q.SQL, Relations: q.Relations, MaxRows: q.MaxRows, MaxBytes: int(min(q.MaxBytes, mostBytes)), MaxMemory: q.MaxMemory, Loose: e.cfg.Unconfined}
	if r.MaxRows == 0 {
		r.MaxRows = defaultRows
	}
	if r.MaxBytes == 0 {
		r.MaxBytes = defaultBytes
	}
	if r.MaxMemory == 0 {
		r.MaxMemory = defaultMemory
	}
	wall := q.Wall
	if wall == 0 {
		wall = defaultWall
	}
	if r.MaxRows < 0 || r.MaxBytes < 0 || r.MaxMemory < leastMemory || wall < 0 {
		return r, 0, invalid("A limit of the query is negative, or its memory is below %d MiB.", leastMemory>>20)
	}
	// A child uses one processor, and a little more to start and to encode.
	r.MaxCPU = 2*int64(wall/time.Second) + 5
	var err error
	r.Args, err = arguments(q.Args)
	return r, wall, err
}

func (e *duckEngine) query(ctx context.Context, q engine.Query, yield func(engine.Batch) bool) error {
	r, wall, err := e.request(q)
	if err != nil {
		return err
	}
	if err := e.open(); err != nil {
		return apierror.Wrap(apierror.Unavailable, err, "The query engine is not running.")
	}
	payload, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("request: %w", err)
	}
	if len(payload) > maxRequest {
		return invalid("The statement and the list of files are larger than %d MiB.", maxRequest>>20)
	}
	select {
	case e.slots <- struct{}{}:
	case <-ctx.Done():
		return canceled(ctx)
	case <-time.After(wall):
		return &apierror.Error{Code: apierror.Unavailable, Message: "All query processes are busy; try again.", RetryAfter: time.Second}
	}
	defer func() { <-e.slots }()

	p, err := e.child(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return canceled(ctx)
		}
		return apierror.Wrap(apierror.Unavailable, err, "The query engine could not start a process; try again.")
	}
	defer p.kill()
	return e.run(ctx, p, payload, r, wall, yield)
}

func canceled(ctx context.Context) error {
	return apierror.Wrap(apierror.Canceled, context.Cause(ctx), "The query was canceled.")
}

// errWall is the cause of a context that ended by a query's own limit.
var errWall = errors.New("time limit of the query")

// run has p answer one request, and kills it when time is up.
func (e *duckEngine) run(parent context.Context, p *process, payload []byte, r request, wall time.Duration, yield func(engine.Batch) bool) error {
	ctx, cancel := context.WithTimeoutCause(parent, wall, errWall)
	defer cancel()
	defer context.AfterFunc(ctx, p.signal)()

	more, truncated, err := e.read(p, payload, r, yield)
	if err == nil {
		if more && truncated {
			yield(engine.Batch{Truncated: true})
		}
		return nil
	}
	// What a child says after its time was up is about being interrupted.
	if answered, ok := errors.AsType[*apierror.Error](err); ok && ctx.Err() == nil {
		return answered
	}
	p.kill()
	switch {
	case parent.Err() != nil:
		return canceled(parent)
	case ctx.Err() != nil:
		return invalid("The query took longer than %s, which is the most one query may; filter earlier, join less, or aggregate.", wall)
	case p.ranOut():
		slog.Info("query ran out of memory", "end", p.end())
		return outOfMemory()
	}
	slog.Warn("query process ended", "error", err, "end", p.end())
	return apierror.Wrap(apierror.Unavailable, err, "The process that ran the query ended unexpectedly; run the query again.")
}

// read sends the request and hands the answer on. The child's last word is its
// own error as an *apierror.Error; any other error is about the child.
func (e *duckEngine) read(p *process, payload []byte, r request, yield func(engine.Batch) bool) (more, truncated bool, err error) {
	if err := writeFrame(p.in, frameQuery, payload); err != nil {
		return false, false, err
	}
	columns, rows, bytes := -1, 0, 0
	for {
		typ, b, err := readFrame(p.out, r.MaxBytes+1<<20)
		if err != nil {
			return false, false, err
		}
		var out engine.Batch
		switch {
		case typ == frameError:
			return false, false, p.failure(b)
		case typ == frameColumns && columns < 0:
			if err := json.Unmarshal(b, &out.Columns); err != nil {
				return false, false, err
			}
			columns = len(out.Columns)
		case typ == frameRows && columns >= 0:
			if out.Rows, err = lines(b); err != nil {
				return false, false, err
			}
			rows, bytes = rows+len(out.Rows), bytes+len(b)-len(out.Rows)
			if rows > r.MaxRows || bytes > r.MaxBytes {
				return false, false, errors.New("a child sent more than it may")
			}
		case typ == frameDone && columns >= 0:
			var d done
			err := json.Unmarshal(b, &d)
			return true, d.Truncated, err
		default:
			return false, false, fmt.Errorf("a child sent a frame of type %q out of turn", typ)
		}
		if !yield(out) {
			return false, false, nil
		}
	}
}

// failure is the error a child reports.
func (p *process) failure(b []byte) error {
	var f failure
	if err := json.Unmarshal(b, &f); err != nil || f.Error == nil {
		return fmt.Errorf("a child's error: %w", errors.Join(err, errors.New("is unreadable")))
	}
	if f.Log != "" {
		slog.Info("query failed", "code", f.Error.Code, "cause", f.Log)
	}
	return f.Error
}
