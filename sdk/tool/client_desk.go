package tool

import (
	"context"
	"fmt"
	"log/slog"
	"sync"

	"github.com/sallyport-gateway/sallyport/sdk/internal/fault"
	toolv1 "github.com/sallyport-gateway/sallyport/sdk/proto/tool/v1"
)

// pieceOverhead is charged for each piece on top of its bytes, so that very
// many tiny pieces are bounded too.
const pieceOverhead = 64

// desk is the gateway's end of one stream: it serves the plugin's Host calls.
type desk struct {
	host *Host
	log  *slog.Logger

	sending sync.Mutex
	send    func(*toolv1.ToPlugin) error

	work  sync.WaitGroup
	mu    sync.Mutex
	jobs  map[uint64]*job // those that have no end yet
	owing int             // those whose end is not sent; a plugin that does not read holds them up
}

// job is one Host call under way.
type job struct {
	desk *desk
	id   uint64
	stop context.CancelFunc

	mu    sync.Mutex
	out   int64         // cost of pieces the plugin has not given back
	freed chan struct{} // holds a token when out fell
}

func newDesk(h *Host, send func(*toolv1.ToPlugin) error, log *slog.Logger) *desk {
	return &desk{host: h, log: log, send: send, jobs: map[uint64]*job{}}
}

// wait returns when no Host call is under way.
func (d *desk) wait() { d.work.Wait() }

// begin starts a Host call. An error ends the whole stream.
//
// A plugin may begin its next call when it has the end of another, a moment
// before the gateway knows that this end was sent. Ends are sent one at a time
// and counted down within that, so there is one such moment: owing may be one
// more than maxHostCalls, and never grows beyond.
func (d *desk) begin(ctx context.Context, call *toolv1.HostCall) error {
	ctx, stop := context.WithCancel(ctx)
	j := &job{desk: d, id: call.GetId(), stop: stop, freed: make(chan struct{}, 1)}
	d.mu.Lock()
	many, double := len(d.jobs) >= maxHostCalls || d.owing > maxHostCalls, d.jobs[j.id] != nil
	if !many && !double {
		d.jobs[j.id] = j
		d.owing++
	}
	d.mu.Unlock()
	switch {
	case double:
		stop()
		return broken("used the id of a Host call twice")
	case many:
		stop()
		return broken(fmt.Sprintf("has more than %d Host calls without their end, or does not read what it asked for", maxHostCalls))
	}
	d.work.Go(func() {
		defer stop()
		end, err := j.serve(ctx, call)
		if err == nil {
			err = fault.Fits(end, "The answer of the gateway")
		}
		if err != nil {
			end = &toolv1.HostEnd{Error: fault.Encode(d.log, "host call", err)}
		}
		end.Id = j.id
		d.mu.Lock()
		delete(d.jobs, j.id)
		d.mu.Unlock()
		d.end(end)
	})
	return nil
}

// cancel stops the call id, if it is still under way.
func (d *desk) cancel(id uint64) {
	if j := d.job(id); j != nil {
		j.stop()
	}
}

// credit takes back the cost of pieces that the plugin used.
func (d *desk) credit(id uint64, cost int64) {
	j := d.job(id)
	if j == nil || cost <= 0 {
		return
	}
	j.mu.Lock()
	j.out = max(0, j.out-cost)
	j.mu.Unlock()
	select {
	case j.freed <- struct{}{}:
	default:
	}
}

func (d *desk) job(id uint64) *job {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.jobs[id]
}

func (d *desk) write(f *toolv1.ToPlugin) error {
	d.sending.Lock()
	defer d.sending.Unlock()
	return d.send(f)
}

// end sends the end of a Host call, which then no longer counts.
func (d *desk) end(e *toolv1.HostEnd) {
	d.sending.Lock()
	defer d.sending.Unlock()
	// When this fails the stream is over, and the plugin knows.
	_ = d.send(&toolv1.ToPlugin{Frame: &toolv1.ToPlugin_End{End: e}})
	d.mu.Lock()
	d.owing--
	d.mu.Unlock()
}

// piece sends a part of the answer once the window has room for it.
func (j *job) piece(ctx context.Context, p *toolv1.HostPiece, bytes int64) error {
	p.Id, p.Cost = j.id, bytes+pieceOverhead
	if err := fault.Fits(p, "A piece of the gateway's answer"); err != nil {
		return err
	}
	for {
		j.mu.Lock()
		room := j.out < windowBytes
		if room {
			j.out += p.Cost
		}
		j.mu.Unlock()
		if ctx.Err() != nil {
			return fault.Canceled(context.Cause(ctx))
		}
		if room {
			break
		}
		select {
		case <-j.freed:
		case <-ctx.Done():
		}
	}
	if err := j.desk.write(&toolv1.ToPlugin{Frame: &toolv1.ToPlugin_Piece{Piece: p}}); err != nil {
		return fault.Canceled(err)
	}
	return nil
}
