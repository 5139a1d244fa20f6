package pluginhost

import (
	"context"
	"fmt"
	"io"
	"iter"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

// Each of many exchanges and dialogues has a connection of its own, and all of
// them get on.
func TestManyExchangesAtOnce(t *testing.T) {
	t.Parallel()
	const at = 600
	h, logged := start(t, Config{Dirs: []string{plugins(t, "provider-front")}})
	tr, f := translator(t, h, "front"), h.Fronts()[0].Front
	var all, begun sync.WaitGroup
	begun.Add(at)
	for i := range at {
		all.Go(func() {
			want := fmt.Sprint("piece ", i)
			var first sync.Once
			defer first.Do(begun.Done)
			if i%2 == 0 {
				ex, err := tr.Begin(t.Context(), turn("m"))
				if err != nil {
					t.Errorf("Begin: %v", err)
					return
				}
				first.Do(begun.Done)
				begun.Wait() // all at once
				if got, err := decode(t.Context(), ex, strings.NewReader(sse(want))); got != want || err != nil {
					t.Errorf("exchange %d: %q, %v", i, got, err)
				}
				return
			}
			d, err := f.Accept(t.Context(), provider.ClientRequest{Surface: "front", Route: "/ask", Body: []byte("x")})
			if err != nil {
				t.Errorf("Accept: %v", err)
				return
			}
			first.Do(begun.Done)
			begun.Wait()
			var b strings.Builder
			if err := d.Write(t.Context(), textOf(want), &b); b.String() != want+"\n" || err != nil {
				t.Errorf("dialogue %d: %q, %v", i, b.String(), err)
			}
		})
	}
	all.Wait()
	i := info(t, h, "front")
	if i.Restarts != 0 || i.InFlight != 0 {
		t.Errorf("%d restarts, %d in flight, want none\n%s", i.Restarts, i.InFlight, logged)
	}
	if n := settle(func() int { return fds(t, i.PID) }, 100); n > 100 {
		t.Errorf("%d open files in the plugin at the end", n)
	}
}

func textOf(pieces ...string) iter.Seq2[openresponses.Event, error] {
	return func(yield func(openresponses.Event, error) bool) {
		out := provider.NewOutput(yield)
		for _, p := range pieces {
			out.Text(p)
		}
		out.Finish(openresponses.Terminal{Status: openresponses.StatusCompleted})
	}
}

// A process that was stopped is replaced, whatever its health checks say, and
// those who waited for it hear of it.
func TestStoppedPluginIsReplaced(t *testing.T) {
	t.Parallel()
	h, logged := start(t, Config{Dirs: []string{plugins(t, "provider-front")}, AnswerTimeout: 300 * time.Millisecond, HealthEvery: time.Hour})
	tr, f := translator(t, h, "front"), h.Fronts()[0]
	s := open(t, tr) // under way when the process stops
	s.say("before")
	if got, err := f.write(t.Context(), "x", "a"); got != "a\n" || err != nil {
		t.Fatalf("before: %q, %v", got, err)
	}
	old := info(t, h, "front").PID
	freeze(t, old)
	var all sync.WaitGroup
	for range 3 { // over a connection that was kept, and over new ones
		all.Go(func() {
			if _, err := tr.Begin(t.Context(), turn("m")); !apierror.Is(err, apierror.Unavailable) {
				t.Errorf("Begin: %v, want %s", err, apierror.Unavailable)
			}
		})
		all.Go(func() {
			if _, err := f.write(t.Context(), "x", "a"); !apierror.Is(err, apierror.Unavailable) {
				t.Errorf("Accept: %v, want %s", err, apierror.Unavailable)
			}
		})
	}
	all.Wait()
	logged.await(t, "plugin ended", "nor let a connection in", fmt.Sprintf("pid=%d ", old))
	if _, err := s.end(); !apierror.Is(err, apierror.Unavailable) {
		t.Errorf("the exchange that was under way: %v, want %s", err, apierror.Unavailable)
	}
	if got, err := ask(t.Context(), tr, "m", "x"); got != "x" || err != nil {
		t.Errorf("afterwards: %q, %v", got, err)
	}
	if i := info(t, h, "front"); i.PID == old || !strings.Contains(i.LastError, "nor let a connection in") {
		t.Errorf("info %+v, want another process and the reason", i)
	}
}

// One request that its translator never answers ends alone.
func TestRequestThatHangsEndsAlone(t *testing.T) {
	t.Parallel()
	h, logged := start(t, Config{Dirs: []string{plugins(t, "provider-echo")}, AnswerTimeout: 300 * time.Millisecond})
	tr := translator(t, h, "echo")
	s := open(t, tr)
	s.say("before")
	was := info(t, h, "echo")
	_, err := tr.Begin(t.Context(), turn("hang-in-begin"))
	if !apierror.Is(err, apierror.Unavailable) || !strings.Contains(err.Error(), `The plugin "echo" did nothing about the request for 300ms`) {
		t.Errorf("Begin: %v, want %s", err, apierror.Unavailable)
	}
	logged.await(t, "plugin did nothing about a request", "plugin=echo")
	s.say("after")
	if last, err := s.end(); err != nil || !last.IsTerminal() {
		t.Errorf("the other exchange ended with %+v, %v", last, err)
	}
	if i := info(t, h, "echo"); i.PID != was.PID || i.Restarts != was.Restarts {
		t.Errorf("info %+v, want the process of before", i)
	}
}

// Beyond the bound an exchange is refused at once, and as soon as there is room
// it is not.
func TestExchangesBeyondTheBound(t *testing.T) {
	t.Parallel()
	const most = 40
	h, _ := start(t, Config{Dirs: []string{plugins(t, "provider-echo")}})
	if h.conns+openFiles > openFiles+dataConns || h.conns < 16 {
		t.Errorf("%d connections to a provider; it has %d descriptors", h.conns, openFiles+dataConns)
	}
	h.conns = most
	tr := translator(t, h, "echo")
	var held []provider.Exchange
	defer func() {
		for _, ex := range held {
			ex.(io.Closer).Close()
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var refused error
	for refused == nil {
		ex, err := tr.Begin(ctx, turn("m"))
		if err == nil {
			held = append(held, ex)
		}
		refused = err
	}
	if e := apierror.From(refused); e.Code != apierror.Unavailable || e.RetryAfter != time.Second || len(held) != most {
		t.Errorf("after %d exchanges: %#v, want %s after %d", len(held), refused, apierror.Unavailable, most)
	}
	held[0].(io.Closer).Close()
	if got, err := ask(ctx, tr, "m", "x"); got != "x" || err != nil {
		t.Errorf("when there is room: %q, %v", got, err)
	}
	if i := info(t, h, "echo"); i.Restarts != 0 {
		t.Errorf("%d restarts", i.Restarts)
	}
}

// A provider that has more descriptors than connections is ended; a plugin of
// another kind gets no more from the kernel.
func TestDescriptorsThatNoConnectionExplains(t *testing.T) {
	t.Parallel()
	h, logged := start(t, Config{Dirs: []string{plugins(t, "provider-echo")}})
	tr := translator(t, h, "echo")
	ex, err := tr.Begin(t.Context(), turn("hoard"))
	if err != nil {
		t.Fatal(err)
	}
	defer ex.(io.Closer).Close()
	logged.await(t, "plugin ended", "files and sockets open; 256 beside the gateway's connections to it are possible")
	if got, err := ask(t.Context(), tr, "m", "x"); got != "x" || err != nil {
		t.Errorf("afterwards: %q, %v", got, err)
	}
	program, err := os.Open(built)
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	for kind, want := range map[string]int{"provider": openFiles + dataConns, "tool": openFiles, "engine": openFiles, "": openFiles} {
		p, err := policy(Launch{Kind: kind, Path: built, Dir: t.TempDir()}, program)
		if err != nil || p.MaxOpenFiles != want {
			t.Errorf("limit of kind %q: %d, %v, want %d", kind, p.MaxOpenFiles, err, want)
		}
	}
}

// A process may keep its ends of connections that were closed for a while.
func TestAllowedDescriptors(t *testing.T) {
	t.Parallel()
	var c conns
	t0 := time.Now()
	if n := c.allowed(t0); n != openFiles {
		t.Errorf("before there is a client: %d, want %d", n, openFiles)
	}
	most := 0
	ask := func() int { return most }
	c.most.Store(&ask)
	for _, tt := range []struct {
		at         time.Duration
		most, want int
	}{
		{time.Second, 1000, 1000},
		{2 * time.Second, 3, 1000},
		{connsLinger - 1, 2000, 2000}, // at the end of a time
		{connsLinger, 0, 2000},
		{2*connsLinger - 1, 7, 2000},
		{2 * connsLinger, 5, 7},
		{3 * connsLinger, 0, 5},
		{10 * connsLinger, 0, 0}, // nobody looked for long
	} {
		most = tt.most
		if n := c.allowed(t0.Add(tt.at)); n != openFiles+tt.want {
			t.Errorf("after %s: %d, want %d", tt.at, n, openFiles+tt.want)
		}
	}
}
