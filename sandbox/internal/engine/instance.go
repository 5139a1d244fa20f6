package engine

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/tetratelabs/wazero/sys"

	"github.com/sallyport-gateway/sallyport/sandbox/internal/wasi"
)

// quantum is the fuel between two looks at the flags: about 30 µs of a loop in
// machine code. Other goroutines wait for a running guest about that long.
const quantum = 10_000

// Bounds are the limits of one instance.
type Bounds struct {
	Memory  int64                         // bytes the guest's memory may grow to
	Output  int                           // bytes kept of stdout, and of stderr
	Request func(q []byte) ([]byte, bool) // answers sbx.call; nil refuses
	Asleep  func() (awake func())         // called when the guest starts to wait; awake when it goes on; nil does nothing
}

// Instance is one running guest. It belongs to one goroutine, but for the
// Control of an execution.
type Instance struct {
	Proc *wasi.Proc

	*machine                 // nil after Close
	ctx      context.Context // carries Proc into the host functions, nothing else
	bounds   Bounds

	run  *Control // of the execution that is on
	soft Cause    // why it was asked to stop
	dead bool
	cpu  time.Duration // used by this execution
	last time.Duration // reading of threadCPU up to which cpu counts
	at   time.Time     // time of that reading
}

var _ wasi.Host = (*Instance)(nil)

// ErrDead says that an instance ended in an earlier execution.
var ErrDead = errors.New("the guest has ended")

// Start makes an instance of a guest on the files of its session, from a spare
// if one is ready.
func (e *Engine) Start(g *Guest, fs *wasi.FS, b Bounds) (*Instance, error) {
	if b.Memory < int64(g.imageSize()) {
		return nil, fmt.Errorf("guest %q: a memory of %d bytes is smaller than its image of %d", g.Language, b.Memory, g.imageSize())
	}
	m, err := e.take(g, uint64(b.Memory))
	if err != nil {
		return nil, err
	}
	return bind(m, fs, b), nil
}

// bind gives a machine to a session.
func bind(m *machine, fs *wasi.FS, b Bounds) *Instance {
	i := &Instance{machine: m, bounds: b}
	i.Proc = wasi.NewProc(fs, i, b.Output)
	i.ctx = i.Proc.Context(context.Background())
	return i
}

// Outcome is how an execution ended.
type Outcome struct {
	Status      int32 // what sbx_exec returned, or the exit code
	Killed      Cause // not None: the instance is dead
	Interrupted Cause // the guest was asked to stop, whether or not it did
	CPU         time.Duration
}

// Exec runs one program. An error is one of the engine itself; whatever the
// program did is in the outcome.
func (i *Instance) Exec(code string, c *Control) (Outcome, error) {
	if i.dead {
		return Outcome{}, ErrDead
	}
	i.begin(c)
	var stack [1]uint64
	stack[0] = uint64(uint32(len(code)))
	err := i.buf.CallWithStack(i.ctx, stack[:])
	if err == nil {
		at := uint32(stack[0])
		if at == 0 {
			i.end()
			return Outcome{Status: 1}, ErrTooLong
		}
		if !i.mod.Memory().WriteString(at, code) {
			err = fmt.Errorf("guest %q: its buffer is outside its memory", i.guest.Language)
		}
	}
	if err == nil {
		stack[0] = uint64(uint32(len(code)))
		err = i.exec.CallWithStack(i.ctx, stack[:])
	}
	i.end()
	return i.outcome(int32(uint32(stack[0])), err), nil
}

// ErrTooLong says that the guest has no room for the program.
var ErrTooLong = errors.New("the program is too long for the guest's memory")

// Call calls a function of the guest that takes one number and may return one:
// for the session's own use, such as sbx_trust.
func (i *Instance) Call(name string, arg uint32, c *Control) error {
	if i.dead {
		return ErrDead
	}
	f := i.mod.ExportedFunction(name)
	if f == nil {
		return fmt.Errorf("guest %q has no function %q", i.guest.Language, name)
	}
	i.begin(c)
	stack := []uint64{uint64(arg)}
	err := f.CallWithStack(i.ctx, stack)
	i.end()
	if o := i.outcome(0, err); o.Killed != None {
		return fmt.Errorf("guest %q, %s: %w", i.guest.Language, name, err)
	}
	return nil
}

func (i *Instance) begin(c *Control) {
	i.run, i.soft, i.cpu = c, None, 0
	i.mem.refused() // forget earlier refusals, which the guest survived
	i.last, i.at = threadCPU(), time.Now()
	i.fuel.Set(quantum)
}

func (i *Instance) end() { i.count() }

// outcome sorts the ways in which a call ends. After any error the guest may be
// in the middle of anything, so it is dead.
func (i *Instance) outcome(status int32, err error) Outcome {
	o := Outcome{Status: status, Interrupted: i.soft, CPU: i.cpu}
	if err == nil {
		return o
	}
	i.dead = true
	o.Interrupted = Cause(i.run.soft.Load()) // it may have had no time to look
	var exit *sys.ExitError
	killed := i.run.Killed()
	switch {
	case errors.As(err, &exit) && exit.ExitCode() == wasi.Killed && killed != None:
		o.Killed, o.Status = killed, wasi.Killed
	case i.mem.refused():
		o.Killed, o.Status = Memory, wasi.Killed
	case exit != nil:
		o.Killed, o.Status = Exit, int32(exit.ExitCode())
	default:
		o.Killed, o.Status = Crash, wasi.Killed
	}
	return o
}

// Dead says whether the instance ended in an execution.
func (i *Instance) Dead() bool { return i.dead }

// ownPages is about what a fresh instance writes to of its image.
const ownPages = 1 << 20

// Held is how many bytes the instance may hold for itself.
func (i *Instance) Held() int64 {
	image := int64(i.guest.imageSize())
	return int64(i.mod.Memory().Size()) - image + min(image, ownPages)
}

// Close ends the instance and releases its memory, or leaves its machine, renewed,
// to another session; not one on which a program did not return. Only its owner
// calls it, and not from within a call.
func (i *Instance) Close() error {
	m, returned := i.machine, !i.dead
	i.machine, i.dead = nil, true
	i.Proc.Close()
	switch {
	case m == nil: // closed before
		return nil
	case returned:
		return m.guest.leave(m)
	}
	return m.close()
}

// Tick is called by the guest when its fuel is used up.
func (i *Instance) Tick() {
	i.count()
	i.attend()
	runtime.Gosched()
	i.last, i.at = threadCPU(), time.Now()
	i.fuel.Set(quantum)
}

// Enter is called by the guest's calls into the host: they cost fuel too, so
// that a program of nothing but calls is stopped as soon as any other.
func (i *Instance) Enter(units int64) {
	left := int64(int32(uint32(i.fuel.Get()))) - units
	i.fuel.Set(uint64(uint32(int32(max(left, -1<<30)))))
	if i.run.kill.Load() != 0 {
		i.stop()
	}
}

// Sleep waits on behalf of the guest.
func (i *Instance) Sleep(d time.Duration) {
	i.count()
	awake := func() {}
	if i.bounds.Asleep != nil {
		awake = i.bounds.Asleep()
	}
	t := time.NewTimer(d)
	select {
	case <-t.C:
	case <-i.run.wake:
	}
	t.Stop()
	awake()
	i.last, i.at = threadCPU(), time.Now()
	i.attend()
}

// Request answers the guest's question to the host.
func (i *Instance) Request(q []byte) ([]byte, bool) {
	if i.bounds.Request == nil {
		return nil, false
	}
	return i.bounds.Request(q)
}

// count adds the processor time since the last reading. A goroutine may have
// changed its thread in a host function, so what cannot be is left out.
func (i *Instance) count() {
	d := threadCPU() - i.last
	if d > 0 {
		i.cpu += min(d, time.Since(i.at))
	}
}

// attend looks at the flags and at the processor time.
func (i *Instance) attend() {
	c := i.run
	if c.MaxCPU > 0 && i.cpu > c.MaxCPU {
		c.Interrupt(CPU)
		if i.cpu > c.MaxCPU+c.Grace {
			c.Kill(CPU)
		}
	}
	if soft := Cause(c.soft.Load()); soft != None && i.soft == None {
		if !i.poke() {
			c.Kill(soft)
		}
		i.soft = soft
	}
	if c.kill.Load() != 0 {
		i.stop()
	}
}

// stop leaves the guest for good; it unwinds to the call.
func (i *Instance) stop() { panic(sys.NewExitError(wasi.Killed)) }

// poke asks the guest to raise an interrupt, as a signal would: it sets the
// first two addresses to 1 and bit 1 of the third. Source: CPython 3.13,
// _PyRuntime.signals and _PY_SIGNALS_PENDING_BIT. Address 0 is left out.
func (i *Instance) poke() bool {
	if len(i.guest.Interrupt) == 0 {
		return false
	}
	mem := i.mod.Memory()
	for n, at := range i.guest.Interrupt {
		if at == 0 {
			continue
		}
		v := uint32(1)
		if n == 2 {
			old, _ := mem.ReadUint32Le(at)
			v = old | 2
		}
		mem.WriteUint32Le(at, v)
	}
	return true
}
