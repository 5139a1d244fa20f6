//go:build unix

package sandbox

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sallyport-gateway/sallyport/sandbox/internal/wire"
)

// rogue is a worker that model code has taken over, or another process of the
// tests, as role says.
func rogue(role string) int {
	switch role {
	case "parent":
		return parent()
	case "dead":
		return 1
	}
	c, err := net.FileConn(os.NewFile(3, "socket"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	conn := c.(*net.UnixConn)
	in, out := wire.NewReader(wire.NewFileReader(conn)), wire.NewSender(conn)
	for {
		f, err := in.Next()
		if err != nil {
			return 1
		}
		switch f.Kind {
		case wire.KindSetup:
			if role == "silent" {
				continue
			}
			out.Send(wire.KindReady, 0, 0, wire.Ready{Languages: []string{"shell"}, Broken: []wire.Broken{{Language: "python", Why: "it is no module"}}}.Encode())
		case wire.KindExec:
			if f.More || role == "deaf" {
				continue
			}
			misbehave(role, f, conn, out)
		}
	}
}

// raw is a frame with a header that a Sender does not write.
func raw(kind wire.Kind, flags, files byte, session, call, length uint32, payload []byte) []byte {
	b := binary.LittleEndian.AppendUint32(nil, length)
	b = append(b, byte(kind), flags, files, 0)
	b = binary.LittleEndian.AppendUint32(b, session)
	b = binary.LittleEndian.AppendUint32(b, call)
	return append(b, payload...)
}

// wrongs are the ways in which a worker answers a call wrongly. Each of them
// ends the worker.
var wrongs = map[string]func(f wire.Frame, conn *net.UnixConn, out *wire.Sender){
	"noise": func(_ wire.Frame, conn *net.UnixConn, _ *wire.Sender) { conn.Write(bytes.Repeat([]byte("?"), 4096)) },
	"large frame": func(f wire.Frame, conn *net.UnixConn, _ *wire.Sender) {
		conn.Write(raw(wire.KindResult, 0, 0, f.Session, f.Call, 1<<31, nil))
	},
	"half a frame": func(f wire.Frame, conn *net.UnixConn, _ *wire.Sender) {
		conn.Write(raw(wire.KindResult, 0, 0, f.Session, f.Call, 1000, []byte("x")))
		conn.CloseWrite()
	},
	"small parts": func(f wire.Frame, conn *net.UnixConn, _ *wire.Sender) {
		conn.Write(raw(wire.KindResult, 1, 0, f.Session, f.Call, 1, []byte("x")))
	},
	"unknown flag": func(f wire.Frame, conn *net.UnixConn, _ *wire.Sender) {
		conn.Write(raw(wire.KindResult, 2, 0, f.Session, f.Call, 0, nil))
	},
	"endless result": func(f wire.Frame, conn *net.UnixConn, _ *wire.Sender) {
		part := raw(wire.KindResult, 1, 0, f.Session, f.Call, wire.MaxPayload, make([]byte, wire.MaxPayload))
		for _, err := conn.Write(part); err == nil; _, err = conn.Write(part) {
		}
	},
	"descriptors": func(f wire.Frame, conn *net.UnixConn, _ *wire.Sender) {
		conn.WriteMsgUnix(raw(wire.KindResult, 0, 1, f.Session, f.Call, 0, nil), syscall.UnixRights(0, 1, 2), nil)
	},
	"unknown kind":     func(f wire.Frame, _ *net.UnixConn, out *wire.Sender) { out.Send(99, f.Session, f.Call, nil) },
	"kind to a worker": func(f wire.Frame, _ *net.UnixConn, out *wire.Sender) { out.Send(wire.KindExec, f.Session, f.Call, nil) },
	"ready again": func(f wire.Frame, _ *net.UnixConn, out *wire.Sender) {
		out.Send(wire.KindReady, 0, 0, wire.Ready{}.Encode())
	},
	"another call": func(f wire.Frame, _ *net.UnixConn, out *wire.Sender) {
		out.Send(wire.KindError, f.Session, f.Call+1, nil)
	},
	"another session": func(f wire.Frame, _ *net.UnixConn, out *wire.Sender) {
		out.Send(wire.KindError, f.Session+1, f.Call, nil)
	},
	"session that goes on": func(f wire.Frame, _ *net.UnixConn, out *wire.Sender) { out.Send(wire.KindClosed, f.Session, 0, nil) },
	"session of nobody":    func(f wire.Frame, _ *net.UnixConn, out *wire.Sender) { out.Send(wire.KindClosed, 77, 0, nil) },
	"data": func(f wire.Frame, _ *net.UnixConn, out *wire.Sender) {
		out.Send(wire.KindData, f.Session, f.Call, []byte("x"))
	},
	"awake": func(f wire.Frame, _ *net.UnixConn, out *wire.Sender) {
		out.Send(wire.KindAwake, f.Session, f.Call, nil)
	},
	"endless naps": func(f wire.Frame, _ *net.UnixConn, out *wire.Sender) {
		for out.Send(wire.KindAsleep, f.Session, f.Call, nil) == nil && out.Send(wire.KindAwake, f.Session, f.Call, nil) == nil {
		}
	},
	"result of noise": func(f wire.Frame, _ *net.UnixConn, out *wire.Sender) {
		out.Send(wire.KindResult, f.Session, f.Call, []byte("noise"))
	},
	"killed by magic": func(f wire.Frame, _ *net.UnixConn, out *wire.Sender) {
		result := wire.Result{Killed: "magic"}
		send(f, out, result)
	},
	"negative file": func(f wire.Frame, _ *net.UnixConn, out *wire.Sender) {
		send(f, out, wire.Result{Files: []wire.File{{Name: "x", Size: -1}}})
	},
	"end": func(_ wire.Frame, conn *net.UnixConn, _ *wire.Sender) { conn.Close() },
}

func send(f wire.Frame, out *wire.Sender, m wire.Result) {
	body, err := m.Encode()
	if err != nil {
		panic(err)
	}
	out.Send(wire.KindResult, f.Session, f.Call, body)
}

func misbehave(role string, f wire.Frame, conn *net.UnixConn, out *wire.Sender) {
	if wrong := wrongs[role]; wrong != nil {
		wrong(f, conn, out)
	}
}

func TestWorkersThatWereTakenOver(t *testing.T) {
	before := descriptors(t)
	for role := range wrongs {
		t.Run(role, func(t *testing.T) {
			b := box(t, func(c *Config, _ *tuning) { c.Start, c.Workers = startAs(role), 1 })
			s, other := open(t, b, "alice"), open(t, b, "bob")
			for range 2 { // it is replaced
				r, err := s.Exec(t.Context(), Program{Language: Shell, Wall: time.Second})
				if err != nil || r.Killed != "worker" || r.Stdout != "" || r.Files != nil {
					t.Errorf("%+v, %v", r, err)
				}
			}
			if r, err := other.Exec(t.Context(), Program{Language: Shell, Wall: time.Second}); err != nil || r.Killed != "worker" || r.Lost != "" {
				t.Errorf("another principal: %+v, %v", r, err)
			}
			allLeft(t, b, 1)
			b.Close()
		})
	}
	if after := descriptors(t); len(after) > len(before) {
		t.Errorf("descriptors before:\n%s\nafter:\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
}

// descriptors are those that this process has open.
func descriptors(t testing.TB) (list []string) {
	t.Helper()
	for fd := range 1000 {
		target, err := os.Readlink(fmt.Sprintf("/dev/fd/%d", fd))
		if err == nil && !strings.HasPrefix(target, "anon_inode:[event") { // the runtime's, made when first needed
			list = append(list, target)
		}
	}
	slices.Sort(list)
	return list
}

func TestAWorkerThatIsNeverReady(t *testing.T) {
	b := box(t, func(c *Config, tune *tuning) { c.Start, tune.start = startAs("silent"), time.Millisecond })
	until(t, b, "a failure", func() bool { return b.startErr != nil })
	if st := b.Stats(); st.Fault == nil || !strings.Contains(st.Fault.Error(), "not ready") {
		t.Errorf("%v", st.Fault)
	}
}

// parent is a process with workers that ends without a word.
func parent() int {
	cfg := Config{Guests: os.Args[1], Cache: os.Args[2], Workers: 1, Log: slog.New(slog.DiscardHandler)}
	cfg.Start = startProgram(os.Args[3], "worker")
	b, err := New(cfg)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	s, err := b.Open(b.ctx, "alice", nil)
	if err == nil {
		_, err = s.Exec(b.ctx, Program{Language: Shell, Code: "print"})
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	go s.Exec(b.ctx, Program{Language: Shell, Code: "loop"})
	b.mu.Lock()
	for len(s.at.calls) == 0 { // until it loops
		changed := b.changed
		b.mu.Unlock()
		select {
		case <-changed:
		case <-time.After(time.Millisecond):
		}
		b.mu.Lock()
	}
	for p := range b.procs {
		if p.ready {
			fmt.Println(p.pid)
		}
	}
	b.mu.Unlock()
	fmt.Println("done")
	select {}
}

func TestNoWorkerOutlivesItsParent(t *testing.T) {
	guests, cache := testGuests(t)
	program, err := workerProgram()
	if err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := command(exe, "parent")
	cmd.Args = append(cmd.Args, guests, cache, program)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var workers []int
	for lines := bufio.NewScanner(out); lines.Scan() && lines.Text() != "done"; {
		var pid int
		if _, err := fmt.Sscan(lines.Text(), &pid); err != nil {
			t.Errorf("it says %q", lines.Text())
			continue
		}
		workers = append(workers, pid)
	}
	if len(workers) == 0 {
		t.Error("no workers")
	}
	cmd.Process.Kill()
	cmd.Wait()
	for _, pid := range workers {
		for !ended(pid) {
			time.Sleep(time.Millisecond)
			if t.Context().Err() != nil {
				t.Fatalf("worker %d lives on", pid)
			}
		}
	}
}

// ended reports whether process pid is no more, or only its entry is left for
// whoever is its parent now.
func ended(pid int) bool {
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return true
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return os.IsNotExist(err)
	}
	_, state, _ := strings.Cut(string(b), ") ")
	return strings.HasPrefix(state, "Z") || strings.HasPrefix(state, "X")
}

func TestCloseEndsAllProcesses(t *testing.T) {
	before := descriptors(t)
	b := box(t, func(c *Config, _ *tuning) { c.Workers = 2 })
	done := make(chan error)
	var sessions []*Session
	for i := range 4 {
		s := open(t, b, fmt.Sprint("user", i))
		sessions = append(sessions, s)
		run(t, s, "print")
	}
	for _, s := range sessions {
		go func() {
			_, err := s.Exec(t.Context(), Program{Language: Shell, Code: "loop"})
			done <- err
		}()
	}
	until(t, b, "a program that runs", func() bool {
		n := 0
		for p := range b.procs {
			n += len(p.calls)
		}
		return n > 0
	})
	b.mu.Lock()
	var workers []int
	for p := range b.procs {
		if p.pid > 0 {
			workers = append(workers, p.pid)
		}
	}
	b.mu.Unlock()
	go b.Close()
	b.Close()
	for range sessions {
		if err := <-done; !errors.Is(err, ErrClosed) {
			t.Errorf("a program that was running: %v", err)
		}
	}
	for _, pid := range workers {
		if !ended(pid) {
			t.Errorf("worker %d lives on", pid)
		}
	}
	if _, err := b.Open(t.Context(), "alice", nil); !errors.Is(err, ErrClosed) {
		t.Errorf("Open: %v", err)
	}
	if _, err := sessions[0].Exec(t.Context(), Program{Language: Shell}); !errors.Is(err, ErrClosed) {
		t.Errorf("Exec: %v", err)
	}
	for _, s := range sessions {
		s.Close()
	}
	if after := descriptors(t); len(after) > len(before) {
		t.Errorf("descriptors before:\n%s\nafter:\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
}

// FuzzFromWorker gives the gateway's side whatever a worker may send.
func FuzzFromWorker(f *testing.F) {
	seed := func(frames ...[]byte) { f.Add(bytes.Join(frames, nil)) }
	good, err := wire.Result{Stdout: "hello", Columns: []string{"a"}, Rows: [][]any{{nil, true, "x"}}, Files: []wire.File{{Name: "x", Size: 1}}}.Encode()
	if err != nil {
		f.Fatal(err)
	}
	frame := func(kind wire.Kind, session, call uint32, payload []byte) []byte {
		return raw(kind, 0, 0, session, call, uint32(len(payload)), payload)
	}
	seed(frame(wire.KindResult, 1, 1, good), frame(wire.KindClosed, 2, 0, nil))
	seed(raw(wire.KindResult, 1, 0, 1, 1, wire.MaxPayload, make([]byte, wire.MaxPayload)), frame(wire.KindResult, 1, 1, nil))
	seed(frame(wire.KindAsleep, 1, 1, nil), frame(wire.KindAwake, 1, 1, nil), frame(wire.KindError, 1, 1, []byte("no")))
	seed(frame(wire.KindData, 3, 2, []byte("abc")), frame(wire.KindReady, 0, 0, wire.Ready{Languages: []string{"sql"}}.Encode()))
	seed(frame(wire.KindFailed, 0, 0, []byte("text")))
	f.Fuzz(func(t *testing.T, in []byte) {
		limits, err := Limits{Output: 1 << 10, Inodes: 1}.filled()
		if err != nil {
			t.Fatal(err)
		}
		b := &Sandbox{limits: limits, languages: []Language{SQL}, broken: map[Language]error{}, log: slog.New(slog.DiscardHandler), queue: newQueue(1, 8), closed: true, changed: make(chan struct{}), procs: map[*proc]bool{}, stateful: map[*Session]bool{}}
		b.ctx, b.cancel = t.Context(), func() {}
		ticket, err := b.queue.join("alice")
		if err != nil || ticket.await(t.Context(), nil) != nil {
			t.Fatal(err)
		}
		s := &Session{box: b, who: "alice"}
		conn, peer, err := socketpair()
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		defer peer.Close()
		p := &proc{quit: make(chan struct{}),
			box: b, ready: len(in)%2 == 0, out: wire.NewSender(conn), conn: conn, joined: wire.NewAssembler(b.answerSize()), killed: true, pid: 1 << 30, // there is no process
			owners: map[uint32]*Session{1: s, 2: nil, 3: nil}, calls: map[uint32]*call{},
		}
		p.calls[1] = &call{session: 1, done: make(chan struct{}), ticket: ticket, naps: 3}
		got := 0
		p.calls[2] = &call{session: 3, done: make(chan struct{}), data: func(b []byte) error {
			if got += len(b); got > 10 {
				return wire.ErrMalformed
			}
			return nil
		}}
		s.at, s.id, s.opened = p, 1, true
		late := time.NewTimer(time.Hour)
		defer late.Stop()
		r := wire.NewReader(bytes.NewReader(in))
		for err == nil {
			var f wire.Frame
			if f, err = r.Next(); err == nil {
				err = p.handle(f, late)
			}
		}
		if !errors.Is(err, io.EOF) && !errors.Is(err, wire.ErrMalformed) && strings.Contains(err.Error(), "\n") && len(err.Error()) > 2000 {
			t.Errorf("error %q", err)
		}
		if p.owners[1] != s {
			t.Error("a session was lost that nobody closed")
		}
		if c := p.calls[1]; c != nil {
			p.finish(1, c, wire.Result{}, nil)
		}
		ticket.leave()
		b.wg.Wait()
		if waiting, free := b.queue.lengths(); waiting != 0 || free != 1 {
			t.Errorf("%d wait and %d may run", waiting, free)
		}
	})
}
