package engine

import (
	"bytes"
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport-gateway/sallyport/sandbox/internal/toy"
	"github.com/sallyport-gateway/sallyport/sandbox/internal/wasi"
)

const session = 32 << 20 // bytes of memory, of an instance of these tests

// loadToy loads "python" of the toy guests, unless o says which.
func loadToy(t *testing.T, o Options) *Engine {
	t.Helper()
	o.Cache = toy.Cache(t)
	if o.Only == nil {
		o.Only = []string{"python"}
	}
	e, err := Load(context.Background(), toy.Dir(t), o)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func startToy(t *testing.T, e *Engine, language string, memory int64) *Instance {
	t.Helper()
	g, err := e.Guest(language)
	if err != nil {
		t.Fatal(err)
	}
	files, err := wasi.NewFS(e.Files(), nil, wasi.Quota{Bytes: 1 << 20, Inodes: 10, Files: 10})
	if err != nil {
		t.Fatal(err)
	}
	i, err := e.Start(g, files, Bounds{Memory: memory, Output: 1000})
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func run(t *testing.T, i *Instance, code string) (string, Outcome) {
	t.Helper()
	o, err := i.Exec(code, NewControl())
	if err != nil {
		t.Fatal(err)
	}
	out, _ := i.Proc.Stdout.Take()
	return string(out), o
}

// ready returns the spares of a language once there are n.
func ready(t *testing.T, e *Engine, language string, n int) []*machine {
	t.Helper()
	g, err := e.Guest(language)
	if err != nil {
		t.Fatal(err)
	}
	for {
		g.spares.mu.Lock()
		ms := append([]*machine(nil), g.spares.ready...)
		g.spares.mu.Unlock()
		if len(ms) == n {
			return ms
		}
		time.Sleep(time.Millisecond)
	}
}

// alone takes all spares away, and ends the goroutine that would make others.
func alone(t *testing.T, e *Engine) {
	t.Helper()
	close(e.quit)
	<-e.done
	e.quit = nil
	for _, g := range e.guests {
		if err := g.spares.close(); err != nil {
			t.Error(err)
		}
		g.spares.closed = false
	}
}

func checkClosed(t *testing.T, e *Engine) {
	t.Helper()
	if err := e.Close(context.Background()); err != nil {
		t.Error(err)
	}
	if runtime.GOOS != "linux" {
		return
	}
	b, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(b), "memfd:sallyport-"); n != 0 {
		t.Errorf("%d mappings are left of a closed engine", n)
	}
}

// TestSpareIsTheSnapshot compares all that can change in a machine, after a
// session that changed it and after the engine made it ready.
func TestSpareIsTheSnapshot(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("no spares where memory is copied")
	}
	e := loadToy(t, Options{})
	defer checkClosed(t, e)
	image, err := os.ReadFile(filepath.Join(toy.Dir(t), "toy.mem"))
	if err != nil {
		t.Fatal(err)
	}
	check := func(when string, m *machine) {
		t.Helper()
		b, ok := m.mod.Memory().Read(0, m.mod.Memory().Size())
		if !ok || !bytes.Equal(b[:len(image)], image) || !bytes.Equal(b[len(image):], make([]byte, len(b)-len(image))) {
			t.Errorf("%s: the memory is not the snapshot's", when)
		}
		if len(m.state) < 2 {
			t.Errorf("%s: %d globals", when, len(m.state))
		}
		for n, k := range m.state {
			if k.global.Get() != k.value {
				t.Errorf("%s: global %d is %d, not %d", when, n, k.global.Get(), k.value)
			}
		}
	}
	check("made", ready(t, e, "python", 1)[0])
	if warm, _ := e.guests["python"].spares.room(); len(warm) == 0 {
		t.Error("no page is known that every program writes to")
	}

	alone(t, e)
	i := startToy(t, e, "python", session)
	run(t, i, "set a secret\nfill /tmp/f secret\ndirty 10")
	r := rand.New(rand.NewPCG(1, 1))
	for range 1000 { // whatever a program could write to
		i.mod.Memory().WriteByte(r.Uint32N(i.mod.Memory().Size()), byte(r.Uint32()))
	}
	for _, k := range i.state {
		k.global.Set(k.value + 1)
	}
	old := i.machine
	if err := i.Close(); err != nil {
		t.Fatal(err)
	}
	if got := ready(t, e, "python", 1)[0]; got != old {
		t.Fatal("the machine was not kept")
	}
	check("left by a session", old)

	i = startToy(t, e, "python", session)
	if i.machine != old {
		t.Error("the spare was not used")
	}
	if got, _ := run(t, i, "get a\nget born\nls /tmp"); got != "\nin the snapshot\n" {
		t.Errorf("a session on it sees %q", got)
	}
	first, _ := run(t, i, "rand")
	if err := i.Close(); err != nil {
		t.Fatal(err)
	}
	i = startToy(t, e, "python", session)
	if second, _ := run(t, i, "rand"); first == second {
		t.Errorf("two sessions on one machine got the random number %q", first)
	}
	if err := i.Close(); err != nil {
		t.Error(err)
	}
}

// TestWhatIsKept: only a machine whose programs all returned, and whose memory
// is as large as the snapshot, serves another session.
func TestWhatIsKept(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("no spares where memory is copied")
	}
	e := loadToy(t, Options{})
	defer checkClosed(t, e)
	alone(t, e)
	for _, tt := range []struct {
		code string
		stop bool // before the start
		kept int
	}{
		{code: "", kept: 1},
		{code: "print x", kept: 1},
		{code: "nonsense", kept: 1}, // an error of the program
		{code: "open 3", kept: 1},   // with open files
		{code: "alloc 20"},          // its memory has grown
		{code: "fault"},
		{code: "panic"},
		{code: "exit 0"},
		{code: "print x", stop: true},
	} {
		i := startToy(t, e, "python", session)
		c := NewControl()
		if tt.stop {
			c.Kill(Caller)
		}
		if tt.code != "" {
			if _, err := i.Exec(tt.code, c); err != nil {
				t.Fatal(err)
			}
		}
		if err := i.Close(); err != nil {
			t.Error(err)
		}
		if got := len(e.guests["python"].spares.ready); got != tt.kept {
			t.Errorf("%q, stopped %v: %d spares, want %d", tt.code, tt.stop, got, tt.kept)
		}
		if err := e.guests["python"].spares.close(); err != nil {
			t.Error(err)
		}
		e.guests["python"].spares.closed = false
	}

	var is []*Instance
	for range maxSpares + 2 {
		is = append(is, startToy(t, e, "python", session))
	}
	for _, i := range is {
		if err := i.Close(); err != nil {
			t.Error(err)
		}
	}
	if got := len(e.guests["python"].spares.ready); got != maxSpares {
		t.Errorf("%d spares after more sessions, want %d", got, maxSpares)
	}
}

// TestSpareKeepsTheBoundsOfItsSession: not those that it was made with.
func TestSpareKeepsTheBoundsOfItsSession(t *testing.T) {
	for _, o := range []Options{{}, {Copy: true}} {
		e := loadToy(t, o)
		alone(t, e)
		for _, tt := range []struct {
			memory int64
			code   string
			killed Cause
		}{
			{memory: 2 * session, code: "alloc 40"},
			{memory: session, code: "print x"}, // leaves a spare
			{memory: session, code: "alloc 40", killed: Memory},
			{memory: session, code: "print x"},
			{memory: 2 * session, code: "alloc 40"}, // as much as the spare could have
			{memory: session, code: "print x"},
			{memory: 2 * spareMemory, code: "alloc 260"}, // more than that
		} {
			if o.Copy && tt.memory > session { // slow to grow
				continue
			}
			i := startToy(t, e, "python", tt.memory)
			if _, o := run(t, i, tt.code); o.Killed != tt.killed {
				t.Errorf("%+v: killed %q", tt, o.Killed)
			}
			if err := i.Close(); err != nil {
				t.Error(err)
			}
		}
		files, _ := wasi.NewFS(e.Files(), nil, wasi.Quota{})
		if _, err := e.Start(e.guests["python"], files, Bounds{Memory: pageSize}); err == nil || !strings.Contains(err.Error(), "smaller than its image") {
			t.Errorf("a memory smaller than the image: %v", err)
		}
		if got := len(e.guests["python"].spares.ready); o.Copy && got != 0 {
			t.Errorf("%d spares that hold a copy of the image each", got)
		}
		checkClosed(t, e)
	}
}

// TestSparesFromAllSides starts, kills and closes instances of all guests at
// once while spares are made, and the engine as soon as they are closed. The
// race detector and the kernel's list of mappings tell what is wrong.
func TestSparesFromAllSides(t *testing.T) {
	codes := []string{"print x", "set a b", "spin", "deaf", "alloc 10", "fault", "exit 1", "sleep 1000"}
	for seed := range uint64(2) {
		e := loadToy(t, Options{Only: []string{"python", "shell"}})
		var wg sync.WaitGroup
		for n := range uint64(6) {
			r := rand.New(rand.NewPCG(seed, n))
			wg.Go(func() {
				for range 8 {
					i := startToy(t, e, []string{"python", "shell"}[r.IntN(2)], int64(1+r.IntN(2))*session)
					if got, _ := run(t, i, "get a"); got != "\n" {
						t.Errorf("a fresh instance has %q", got)
					}
					c := NewControl()
					timer := time.AfterFunc(time.Duration(r.IntN(5000))*time.Microsecond, func() { c.Kill(Caller) })
					if _, err := i.Exec(codes[r.IntN(len(codes))], c); err != nil {
						t.Error(err)
					}
					timer.Stop()
					if err := i.Close(); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		checkClosed(t, e)
	}
}
