package provider

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
)

// patience is ClientConfig.Patience where it is 0. Translators do no I/O: what
// takes longer never ends, save on a machine that is overloaded beyond use.
const patience = 30 * time.Second

// looks is how often a client looks at its connections in the time of its
// patience.
const looks = 6

// errStuck is the failure of an exchange whose plugin neither took nor gave
// anything, though it was its turn.
var errStuck = errors.New("no answer")

// turns tells whose turn it is on a connection, and whether anything happens.
type turns struct {
	plugin atomic.Uint64 // odd while the plugin has to take or to answer something
	client atomic.Uint64 // odd while what it gave is written to the client
	stuck  atomic.Bool   // the watch has given it up

	seenPlugin, seenClient uint64 // the watch's
	since                  time.Time
}

// overdue reports whether it has been the plugin's turn for d, and nothing has
// happened.
func (t *turns) overdue(now time.Time, d time.Duration) bool {
	p, c := t.plugin.Load(), t.client.Load()
	if p != t.seenPlugin || c != t.seenClient || p%2 == 0 || c%2 == 1 {
		t.seenPlugin, t.seenClient, t.since = p, c, now
		return false
	}
	return now.Sub(t.since) >= d
}

// watchLocked has a goroutine look after the connections in use.
func (c *Client) watchLocked() {
	if c.watching || c.cfg.Patience < 0 {
		return
	}
	c.watching = true
	go c.watch() // ends when none is in use, or with Close
}

func (c *Client) watch() {
	tick := time.NewTicker(c.cfg.Patience / looks)
	defer tick.Stop()
	for {
		select {
		case <-c.ctx.Done():
			return
		case now := <-tick.C:
			if !c.look(now) {
				return
			}
		}
	}
}

// look gives up what is stuck, and reports whether there is anything to look
// after.
func (c *Client) look(now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.used) == 0 {
		c.watching = false
		return false
	}
	for cc := range c.used {
		if cc.overdue(now, c.cfg.Patience) {
			cc.stuck.Store(true)
			cc.interrupt()
		}
	}
	return true
}

// hung is the error of an exchange that is stuck.
func (c *Client) hung() error {
	if c.cfg.Hung != nil {
		c.cfg.Hung()
	}
	return apierror.Wrap(apierror.Unavailable, errStuck, "The plugin %q did nothing about the request for %s; try again.", c.cfg.Name, c.cfg.Patience)
}

// scarce is the error of an exchange for which this process had no descriptor
// left: the plugin has nothing to do with it.
func (c *Client) scarce(cause error) error {
	e := apierror.Wrap(apierror.Unavailable, cause, "The gateway has as many files and connections open as the system lets it have; try again.")
	e.RetryAfter = time.Second
	return e
}

// full is the error of an exchange for which there is no connection.
func (c *Client) full(cause error) error {
	e := apierror.Wrap(apierror.Unavailable, cause, "The plugin %q has as many requests under way as it takes at once; try again.", c.cfg.Name)
	e.RetryAfter = time.Second
	return e
}
