package wasi

import (
	"context"
	"math/rand/v2"
	"time"
)

// firstFile is the first descriptor after stdin, stdout, stderr and the root.
const firstFile = 4

// Host is what a Proc asks of the engine that runs its guest. All methods are
// called on the goroutine that called into the guest.
type Host interface {
	// Enter is called at each call of the guest into the host. It does not
	// return when the guest must stop: it panics with the exit error.
	Enter(units int64)
	// Tick is called when the fuel is used up.
	Tick()
	// Sleep waits for d or until somebody wants the guest's attention.
	Sleep(d time.Duration)
	// Request answers the guest's question to the host; false refuses.
	Request(q []byte) ([]byte, bool)
}

// Proc is what the system knows of one guest instance: its open files, its
// output, its clock.
type Proc struct {
	FS             *FS
	Stdout, Stderr Output

	host   Host
	frozen *frozen
	files  []*handle // by descriptor; nil is free
	start  time.Time
	answer []byte // of sbx.call, until the guest fetches it
}

// NewProc makes the system side of one guest. Output is the cap of stdout and
// of stderr, each.
func NewProc(fs *FS, host Host, output int) *Proc {
	p := &Proc{FS: fs, host: host, start: time.Now()}
	p.Stdout.max, p.Stderr.max = output, output
	p.files = []*handle{
		{stdin: true},
		{out: &p.Stdout},
		{out: &p.Stderr},
		{n: fs.root, root: true},
	}
	return p
}

// frozen is a clock and a generator that are the same in every run.
type frozen struct {
	passed time.Duration
	random *rand.ChaCha8
}

// wall is the frozen time of day.
func (f *frozen) wall() time.Time {
	return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(f.passed)
}

// Freeze gives the guest a clock, for its files too, and a generator that are the same in every
// run, so that a snapshot depends on its inputs only: time starts with the year
// 2026 and moves a microsecond at each look.
func (p *Proc) Freeze() {
	p.frozen = &frozen{random: rand.NewChaCha8([32]byte([]byte("a snapshot is made of its inputs")))}
	p.FS.setClock(p.frozen.wall)
}

// Close closes the guest's files, after the guest's last call.
func (p *Proc) Close() {
	for i, h := range p.files {
		if h != nil && !h.root {
			p.FS.close(h)
		}
		p.files[i] = nil
	}
	p.files = nil
}

type procKey struct{}

// procContext carries a Proc into host functions without a chain of values.
type procContext struct {
	context.Context
	p *Proc
}

func (c procContext) Value(key any) any {
	if key == (procKey{}) {
		return c.p
	}
	return c.Context.Value(key)
}

// Context returns the context that every call into p's guest must be made with.
func (p *Proc) Context(ctx context.Context) context.Context { return procContext{ctx, p} }

// procOf panics for a call without a Proc, which ends that call with an error.
func procOf(ctx context.Context) *Proc {
	if p, ok := ctx.Value(procKey{}).(*Proc); ok {
		return p
	}
	panic("guest was called without its context")
}

func (p *Proc) enter(units int64) { p.host.Enter(units) }
func (p *Proc) tick()             { p.host.Tick() }

// file returns the handle of a descriptor.
func (p *Proc) file(fd uint32) (*handle, Errno) {
	if uint64(fd) >= uint64(len(p.files)) || p.files[fd] == nil {
		return nil, EBADF
	}
	return p.files[fd], 0
}

// dir returns the directory of a descriptor.
func (p *Proc) dir(fd uint32) (*node, Errno) {
	h, errno := p.file(fd)
	switch {
	case errno != 0:
		return nil, errno
	case h.n == nil || !h.n.dir:
		return nil, ENOTDIR
	}
	return h.n, 0
}

// full says whether the guest may open nothing more.
func (p *Proc) full() bool { return p.OpenFiles() >= p.FS.quota.Files }

// OpenFiles counts what the guest has open, besides its streams and the root.
func (p *Proc) OpenFiles() (open int) {
	for _, h := range p.files[min(firstFile, len(p.files)):] {
		if h != nil {
			open++
		}
	}
	return open
}

// add gives a handle the lowest free descriptor.
func (p *Proc) add(h *handle) uint32 {
	for fd := firstFile; fd < len(p.files); fd++ {
		if p.files[fd] == nil {
			p.files[fd] = h
			return uint32(fd)
		}
	}
	p.files = append(p.files, h)
	return uint32(len(p.files) - 1)
}

// maxRequest bounds a question of a guest to its host.
const maxRequest = 1 << 20

// hostCall is sbx.call(p, n, out, cap) -> i32. With p it asks, and returns the
// size of the answer; without p it fetches the answer. -1 is a refusal.
func hostCall(c *call) int32 {
	at, n, out, size := c.u32(0), c.u32(1), c.u32(2), c.u32(3)
	if at == 0 {
		if uint64(len(c.answer)) > uint64(size) || !c.mem.Write(out, c.answer) {
			return -1
		}
		got := int32(len(c.answer))
		c.answer = nil
		return got
	}
	c.answer = nil
	if n > maxRequest {
		return -1
	}
	q, ok := c.mem.Read(at, n)
	if !ok {
		return -1
	}
	c.enter(int64(n) >> costShift)
	answer, ok := c.host.Request(q)
	if !ok || len(answer) > maxRequest {
		return -1
	}
	c.answer = answer
	return int32(len(answer))
}
