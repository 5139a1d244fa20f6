package sandbox

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/sallyport-gateway/sallyport/sandbox/internal/wire"
)

// Sandbox keeps the worker processes. It is for many goroutines at once.
type Sandbox struct {
	cfg       Config
	limits    Limits
	tune      tuning
	log       *slog.Logger
	workers   int
	languages []Language // whose files were right at the start
	queue     *queue
	images    chan struct{} // a place for each Image under way
	memory    func(pid int) int64

	ctx    context.Context // of the processes
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu       sync.Mutex
	closed   bool
	changed  chan struct{} // closed and replaced when a worker, session or call changes
	procs    map[*proc]bool
	stateful map[*Session]bool // those with a session in a worker
	waiting  int               // calls without a worker
	broken   map[Language]error

	slow      int   // starts in a row that compiled
	failures  int   // starts in a row
	startErr  error // of the last start, if it failed
	pausing   bool  // after it
	stopPause func() bool
}

// New starts a Sandbox, and its first worker in the background. It fails with
// ErrNoGuests when Config.Guests has none.
func New(cfg Config) (*Sandbox, error) { return start(cfg, defaults) }

func start(cfg Config, tune tuning) (*Sandbox, error) {
	if runtime.GOOS == "windows" || runtime.GOOS == "plan9" {
		return nil, fmt.Errorf("%w: worker processes do not run on %s", ErrNoGuests, runtime.GOOS)
	}
	if cfg.Start == nil {
		return nil, errors.New("sandbox: Config.Start is not set")
	}
	if cfg.Workers < 0 {
		return nil, fmt.Errorf("sandbox: Config.Workers is %d, want 0 or more", cfg.Workers)
	}
	limits, err := cfg.Limits.filled()
	if err != nil {
		return nil, err
	}
	languages, broken, err := Verify(cfg.Guests)
	if err != nil {
		return nil, err
	}
	if cfg.Cache != "" {
		if err := private(cfg.Cache); err != nil {
			return nil, err
		}
	}
	workers := cmp.Or(cfg.Workers, runtime.GOMAXPROCS(0))
	ctx, cancel := context.WithCancel(context.Background())
	b := &Sandbox{
		cfg: cfg, limits: limits, tune: tune, log: cfg.Log, workers: workers, languages: languages, broken: broken,
		queue:  newQueue(max(1, min(workers, runtime.GOMAXPROCS(0)-1)), limits.Queue),
		images: make(chan struct{}, 2), memory: privateMemory,
		ctx: ctx, cancel: cancel, changed: make(chan struct{}), procs: map[*proc]bool{}, stateful: map[*Session]bool{},
	}
	if b.log == nil {
		b.log = slog.Default()
	}
	for l, why := range broken {
		b.log.Error("code execution: a guest is of no use, and models are not offered its language", "language", l, "cause", why)
	}
	b.mu.Lock()
	b.maintain()
	b.mu.Unlock()
	b.wg.Add(1)
	go b.watch()
	return b, nil
}

// filled are l with the defaults.
func (l Limits) filled() (Limits, error) {
	for name, v := range map[string]int64{
		"Memory": l.Memory, "Scratch": l.Scratch, "Inodes": int64(l.Inodes), "Output": int64(l.Output), "Wall": int64(l.Wall), "CPU": int64(l.CPU),
		"Grace": int64(l.Grace), "Idle": int64(l.Idle), "Wait": int64(l.Wait), "Sessions": int64(l.Sessions), "Queue": int64(l.Queue), "Worker": l.Worker,
	} {
		if v < 0 {
			return l, fmt.Errorf("sandbox: Limits.%s is %d, want 0 or more", name, v)
		}
	}
	return Limits{
		Memory: cmp.Or(l.Memory, 256<<20), Scratch: cmp.Or(l.Scratch, 64<<20), Inodes: cmp.Or(l.Inodes, 1000), Output: cmp.Or(l.Output, 256<<10),
		Wall: cmp.Or(l.Wall, 30*time.Second), CPU: cmp.Or(l.CPU, 10*time.Second), Grace: cmp.Or(l.Grace, time.Second), Idle: cmp.Or(l.Idle, 15*time.Minute), Wait: cmp.Or(l.Wait, 30*time.Second),
		Sessions: cmp.Or(l.Sessions, 1000), Queue: cmp.Or(l.Queue, 64), Worker: cmp.Or(l.Worker, 2<<30),
	}, nil
}

// private makes dir, or checks that nobody else can write there: what is in it
// is executed.
func private(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("sandbox: Config.Cache: %w", err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("sandbox: Config.Cache: %w", err)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("sandbox: Config.Cache: %s can be written by others (mode %o); make it 0700, or name another directory", dir, info.Mode().Perm())
	}
	return nil
}

// setup is what a worker loads.
func (b *Sandbox) setup(trusted bool) wire.Setup {
	m := wire.Setup{Guests: b.cfg.Guests, Cache: b.cfg.Cache, Memory: b.limits.Memory}
	for _, l := range b.languages {
		if !trusted || l == SQL {
			m.Languages = append(m.Languages, string(l))
		}
	}
	return m
}

// answerSize bounds what a worker may say in one message.
func (b *Sandbox) answerSize() int { return 8*b.limits.Output + b.limits.Inodes*1100 + 64<<10 }

// watch looks after the workers from time to time.
func (b *Sandbox) watch() {
	defer b.wg.Done()
	t := time.NewTicker(b.tune.watch)
	defer t.Stop()
	for {
		select {
		case now := <-t.C:
			b.tick(now)
		case <-b.ctx.Done():
			return
		}
	}
}

// Close ends all sessions and processes. Programs that run are killed.
func (b *Sandbox) Close() error {
	b.mu.Lock()
	if !b.closed {
		b.closed = true
		b.cancel()
		if b.stopPause != nil {
			b.stopPause()
		}
		for p := range b.procs {
			p.killLocked(nil)
		}
		b.change()
	}
	b.mu.Unlock()
	b.wg.Wait()
	return nil
}

// Stats is what a Sandbox does at the moment.
type Stats struct {
	Workers  int   // processes that are alive
	Sessions int   // with state
	Running  int   // programs
	Waiting  int   // programs
	Memory   int64 // bytes of private memory of all workers, as last seen
	Fault    error // why no worker could be started, if that failed last

	// Preparing is for how long there has been no worker that could run a program
	// and one has been on its way; 0 when there is one, or none was asked for.
	Preparing time.Duration
	// SlowStarts are the last workers in a row that took more than Slow of a
	// processor to start, as they do when they compile the guests. One is what a
	// first start with an empty cache takes; more say that the cache is of no use.
	SlowStarts int
}

// Slow is the processor time from which on a start is slow. With compiled guests
// it takes half a second, and to compile them several.
const Slow = 3 * time.Second

// Stats says what the Sandbox does at the moment.
func (b *Sandbox) Stats() Stats {
	waiting, _ := b.queue.lengths()
	b.mu.Lock()
	defer b.mu.Unlock()
	st := Stats{
		Workers: len(b.procs), Sessions: len(b.stateful), Waiting: waiting, Fault: b.startErr,
		Preparing: b.preparing(time.Now()), SlowStarts: b.slow,
	}
	for p := range b.procs {
		st.Memory += p.private
		st.Running += len(p.calls)
	}
	return st
}
