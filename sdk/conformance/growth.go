package conformance

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/sallyport-gateway/sallyport/sdk/boot"
	"github.com/sallyport-gateway/sallyport/sdk/engine"
	"github.com/sallyport-gateway/sallyport/sdk/golden"
	"github.com/sallyport-gateway/sallyport/sdk/tool"
)

// size is what a process holds.
type size struct {
	threads, files int
	memory         int64 // resident bytes
}

// errNoSize says that this system, or this process, does not tell.
var errNoSize = errors.New("the system does not tell how large another process is")

const (
	memoryLeak = 64 << 10 // bytes a call, over the rounds that are measured
	leastLeak  = 8 << 20  // bytes of a round: what a heap that is not collected yet may grow
	settle     = 300 * time.Millisecond
)

// checkGrowth makes many calls in a fresh process, some of them given up, and
// compares what the process holds before and after.
func (c *checker) checkGrowth(ctx context.Context) {
	call := c.sampleCall()
	if call == nil {
		c.skip = "no dialogue to repeat"
		return
	}
	n := c.cfg.Calls
	if c.description.Kind == boot.Engine {
		n = min(n, 30) // a query may cost a process
	}
	p := c.fresh(ctx)
	if p == nil {
		return
	}
	sent := fmt.Sprintf("%d calls after %d to warm up", 2*n, n)
	var sizes []size
	for range 3 {
		if !c.repeat(ctx, p, n, call) {
			return
		}
		pause(ctx, settle)
		s, err := measure(p.pid)
		if err != nil {
			c.skip = err.Error()
			break
		}
		sizes = append(sizes, s)
	}
	if len(sizes) == 3 {
		c.grown(sent, n, sizes)
	}
	if c.goProgram {
		c.goroutines(p, sent, n)
	}
	c.stopProcess()
}

// grown compares the sizes after each third of the calls. Memory counts only
// when it grows in both of the later ones: a heap that is not collected yet
// grows once.
func (c *checker) grown(sent string, n int, s []size) {
	if d := s[2].threads - s[0].threads; d > n/4 {
		c.find("leaks-threads", sent, fmt.Sprintf("%d threads, then %d", s[0].threads, s[2].threads))
	}
	if d := s[2].files - s[0].files; d > n/4 {
		c.find("leaks-descriptors", sent, fmt.Sprintf("%d open files, then %d", s[0].files, s[2].files))
	}
	least := max(int64(n)*memoryLeak, leastLeak)
	if s[1].memory-s[0].memory > least && s[2].memory-s[1].memory > least {
		c.find("leaks-memory", sent, fmt.Sprintf("%d MiB, then %d, then %d", s[0].memory>>20, s[1].memory>>20, s[2].memory>>20))
	}
}

// repeat makes n calls, a few at a time, every eighth of them given up half-way.
func (c *checker) repeat(ctx context.Context, p *process, n int, call func(ctx context.Context, p *process, giveUp bool)) bool {
	within, cancel := context.WithTimeout(ctx, 3*c.cfg.Patience)
	defer cancel()
	const workers = 4
	together(workers, func(w int) {
		for i := w; i < n && within.Err() == nil; i += workers {
			call(within, p, i%8 == 7)
		}
	})
	sent := fmt.Sprintf("%d calls", n)
	if within.Err() != nil && ctx.Err() == nil && c.alive(sent) {
		c.find("no-answer", sent, fmt.Sprintf("not done after %v", 3*c.cfg.Patience))
		return false
	}
	return c.alive(sent)
}

// sampleCall gives a func that makes one call; nil when there is none to make.
func (c *checker) sampleCall() func(ctx context.Context, p *process, giveUp bool) {
	short := func(ctx context.Context) (context.Context, context.CancelFunc) {
		return context.WithTimeout(ctx, 10*time.Millisecond)
	}
	switch c.description.Kind {
	case boot.Tool:
		ts := c.opened()
		if len(ts) == 0 {
			return nil
		}
		return func(ctx context.Context, p *process, giveUp bool) {
			if giveUp {
				ctx, cancel := short(ctx)
				defer cancel()
				for _, call := range ts[0].Sample() {
					_, _ = tool.NewClient(p.conn).Call(ctx, call, tool.NewHost(golden.Unanswering(func() {}))) // given up
				}
				return
			}
			var wrong complaints // looked at in other checks
			_, _ = c.transcript(ctx, p.conn, ts[0], &wrong)
		}
	case boot.Provider:
		t := c.madeUpTurn()
		if ts := c.replied(1); len(ts) > 0 {
			t = ts[0]
		}
		c.skip = ""
		return func(ctx context.Context, p *process, giveUp bool) {
			client := c.translator(p)
			if giveUp {
				if ex, err := client.Begin(ctx, t.Turn.Turn); err == nil {
					closeExchange(ex)
				}
				return
			}
			ex, err := client.Begin(ctx, t.Turn.Turn)
			if err != nil {
				return
			}
			if t.Header == nil && ex.Upstream() != nil {
				closeExchange(ex)
				return
			}
			golden.Decode(ctx, ex, t.Reply(t.Body))
		}
	case boot.Engine:
		if len(c.queries) == 0 {
			return nil
		}
		return func(ctx context.Context, p *process, giveUp bool) {
			for range engine.NewClient(p.conn).Query(ctx, c.queries[0].q) {
				if giveUp {
					break
				}
			}
		}
	}
	return nil
}

var (
	goroutineHead = regexp.MustCompile(`^goroutine \d+ `)
	createdBy     = regexp.MustCompile(`^created by (\S+)`)
)

// goroutines has a Go program print its goroutines, which ends it, and looks
// for many of the same origin.
func (c *checker) goroutines(p *process, sent string, n int) {
	if syscall.Kill(p.pid, syscall.SIGQUIT) != nil || !p.waitEnded(stopWithin) {
		return // it handles the signal in its own way
	}
	p.told = true
	counts := map[string]int{}
	example := map[string]string{}
	for _, block := range strings.Split(p.stderr.String(), "\n\n") {
		lines := strings.Split(strings.TrimSpace(block), "\n")
		at := slices.IndexFunc(lines, goroutineHead.MatchString)
		if at < 0 {
			continue
		}
		for _, l := range lines[at:] {
			if m := createdBy.FindStringSubmatch(l); m != nil {
				counts[m[1]]++
				example[m[1]] = strings.Join(lines[at:min(len(lines), at+12)], "\n")
			}
		}
	}
	for origin, count := range counts {
		if count > max(20, n/8) {
			c.find("leaks-goroutines", sent, fmt.Sprintf("%d goroutines created by %s, such as\n%s", count, origin, example[origin]))
		}
	}
}
