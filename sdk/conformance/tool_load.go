package conformance

import (
	"context"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/golden"
	"github.com/sallyport-gateway/sallyport/sdk/tool"
)

// overlap is how long answers of the Host are held back at most, so that calls
// side by side overlap.
const overlap = 5 * time.Millisecond

// complaints collects what goes wrong in calls that run side by side.
type complaints struct {
	mu   sync.Mutex
	list [][2]string // sent, got
}

func (l *complaints) add(sent, format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, [2]string{sent, fmt.Sprintf(format, args...)})
}

// together runs f n times side by side.
func together(n int, f func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { f(i) })
	}
	wg.Wait()
}

// checkToolsTogether plays each dialogue many times at once, and one while many
// others wait for their Host.
func (c *checker) checkToolsTogether(ctx context.Context) {
	ts := c.opened()
	for _, t := range ts {
		p := c.process(ctx)
		if p == nil {
			return
		}
		sent := fmt.Sprintf("%s, %d times at once", t.name(), sideBySide)
		var wrong complaints
		within, cancel := c.within(ctx)
		alone, err := c.transcript(within, p.conn, t, &wrong)
		wrong = complaints{} // what goes wrong alone is told elsewhere
		if err == nil {
			together(sideBySide, func(int) {
				got, err := c.transcript(within, p.conn, t, &wrong)
				if err != nil {
					wrong.add(sent, "%v", err)
				} else if got != alone {
					wrong.add(sent, "%s", difference(got, alone))
				}
			})
		}
		late := within.Err() != nil && ctx.Err() == nil
		cancel()
		switch {
		case !c.alive(sent):
			return
		case late:
			c.find("calls-block", sent, fmt.Sprintf("not all had ended after %v", c.cfg.Patience))
		default:
			for _, w := range wrong.list {
				c.find("calls-mixed", w[0], w[1])
			}
		}
		c.blocked(ctx, t)
	}
}

// transcript plays a dialogue and gives everything that was answered, as one
// text. Host calls that do not belong to it are complained of.
func (c *checker) transcript(ctx context.Context, conn grpc.ClientConnInterface, t *toolCase, wrong *complaints) (string, error) {
	h, script, err := c.host(t, func(format string, args ...any) { wrong.add(t.name()+", played side by side", format, args...) })
	if err != nil {
		return "", err
	}
	if script != nil {
		script.Delay = overlap
	}
	own := *t.ToolDialogue // Play writes to it
	var all string
	err = own.Play(ctx, tool.NewClient(conn), h, func(_ int, got any) {
		text, perr := golden.Pretty(got)
		if perr != nil {
			text = []byte(perr.Error())
		}
		all += string(text)
	})
	return all, err
}

// blocked makes one call while many others wait for their Host.
func (c *checker) blocked(ctx context.Context, t *toolCase) {
	p := c.process(ctx)
	if p == nil {
		return
	}
	held, release := context.WithCancel(ctx)
	asked := make(chan struct{}, sideBySide)
	waiting := tool.NewHost(golden.Unanswering(func() {
		select {
		case asked <- struct{}{}:
		default:
		}
	}))
	client := tool.NewClient(p.conn)
	var wg sync.WaitGroup
	for range sideBySide {
		wg.Go(func() { _, _ = client.Open(held, t.Declarations, waiting) }) // how they end is of no interest
		for _, call := range t.Sample() {
			wg.Go(func() { _, _ = client.Call(held, call, waiting) })
		}
	}
	defer wg.Wait()
	defer release()
	select {
	case <-asked:
		pause(ctx, 50*time.Millisecond)
	case <-time.After(200 * time.Millisecond): // it may not need its Host
	}
	sent := fmt.Sprintf("%s, while %d calls wait for their Host", t.name(), 2*sideBySide)
	within, cancel := c.within(ctx)
	defer cancel()
	if err := p.ping(within); err != nil {
		c.find("calls-block", "a health check, while many calls wait for their Host", err.Error())
		return
	}
	var wrong complaints
	if _, err := c.transcript(within, p.conn, t, &wrong); err != nil || within.Err() != nil {
		c.find("calls-block", sent, fmt.Sprintf("nothing within %v", c.cfg.Patience))
	}
}

// checkToolsCanceled cancels Open and each function while the Host does not
// answer, and looks whether the plugin stops its work.
func (c *checker) checkToolsCanceled(ctx context.Context) {
	ts := c.opened()
	for _, t := range ts {
		if !c.cancels(ctx, "Open of "+t.name(), openFrame(t.Declarations)) {
			return
		}
		for _, call := range t.Sample() {
			if !c.cancels(ctx, "Call "+call.Function, callFrame(call)) {
				return
			}
		}
		c.capacity(ctx, t)
	}
}

// capacity cancels many calls and then wants one answered: a plugin that works
// on for calls nobody waits for has none left at some point.
func (c *checker) capacity(ctx context.Context, t *toolCase) {
	p := c.process(ctx)
	if p == nil {
		return
	}
	client := tool.NewClient(p.conn)
	const many = 4 * sideBySide
	together(many, func(int) {
		short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		defer cancel()
		for _, call := range t.Sample() {
			_, _ = client.Call(short, call, tool.NewHost(golden.Unanswering(func() {}))) // it is canceled
		}
	})
	sent := fmt.Sprintf("%s, after %d calls that were canceled", t.name(), many)
	within, cancel := context.WithTimeout(ctx, stopWithin)
	defer cancel()
	var wrong complaints
	if _, err := c.transcript(within, p.conn, t, &wrong); err != nil || within.Err() != nil {
		if c.alive(sent) && !apierror.Is(err, apierror.Unavailable) {
			c.find("ignores-cancel", sent, fmt.Sprintf("no answer within %v", stopWithin))
		}
	}
}
