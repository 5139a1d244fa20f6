package provider

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"time"
)

// Pauses of a listener that gives no connection: as those of net/http's Server.
const (
	firstAcceptPause = 5 * time.Millisecond
	maxAcceptPause   = time.Second
)

// listener is what the data plane takes connections from: a net.UnixListener.
type listener interface {
	AcceptUnix() (*net.UnixConn, error)
	Addr() net.Addr
	Close() error
}

// accept serves what comes until the listener is closed. Any other failure is
// one that goes by, such as having no descriptor left: who waits to be accepted
// is accepted when there is one again.
func (d *dataPlane) accept() {
	var pause time.Duration
	told := false
	for {
		c, err := d.ln.AcceptUnix()
		switch {
		case err == nil:
			pause = 0
			d.wg.Go(func() { d.serve(c) })
			continue
		case errors.Is(err, net.ErrClosed):
			return
		case !told:
			told = true // once: it may come and go
			slog.Warn("data connections cannot be accepted at the moment; they wait", "error", err)
		}
		pause = min(max(2*pause, firstAcceptPause), maxAcceptPause)
		wait := time.NewTimer(pause)
		select {
		case <-wait.C:
		case <-d.closing:
			wait.Stop()
			return
		}
	}
}

func (d *dataPlane) serve(c *net.UnixConn) {
	if err := d.admit(c); err != nil {
		level := slog.LevelWarn
		if errors.Is(err, errKnock) {
			level = slog.LevelDebug
		}
		slog.Log(context.Background(), level, "data connection refused", "error", err)
		c.Close()
		return
	}
	d.server.conn(c)
}
