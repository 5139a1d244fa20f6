package httpapi

import (
	"errors"
	"net"
	"os"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// told counts what a connection is told of deadlines.
type told struct {
	net.Conn
	reads, writes atomic.Int32
}

func (c *told) SetReadDeadline(t time.Time) error {
	c.reads.Add(1)
	return c.Conn.SetReadDeadline(t)
}

func (c *told) SetWriteDeadline(t time.Time) error {
	c.writes.Add(1)
	return c.Conn.SetWriteDeadline(t)
}

// A deadline counts for what is under way and for what follows it, whether or not
// the connection was told at once.
func TestDeadlinesOfAConnection(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		defer theirs.Close()
		below := &told{Conn: ours}
		c := &corkConn{Conn: below}
		defer c.Close()
		ended := func(what string, do func([]byte) (int, error), after time.Duration) {
			t.Helper()
			begin := time.Now()
			if _, err := do(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(begin) != after {
				t.Errorf("a %s ended after %s with %v, want its deadline after %s", what, time.Since(begin), err, after)
			}
		}
		for range 5 {
			c.SetReadDeadline(time.Now().Add(time.Minute))
			c.SetWriteDeadline(time.Time{})
		}
		c.SetReadDeadline(time.Now().Add(time.Second))
		c.SetWriteDeadline(time.Now().Add(2 * time.Second))
		if n := below.reads.Load() + below.writes.Load(); n != 0 {
			t.Errorf("told %d times before anything waited", n)
		}
		ended("read", c.Read, time.Second)
		ended("write", c.Write, time.Second) // one has passed
		ended("read", c.Read, 0)             // the deadline is still that one
		if r, w := below.reads.Load(), below.writes.Load(); r != 1 || w != 1 {
			t.Errorf("told %d and %d times, want once each", r, w)
		}

		c.SetDeadline(time.Time{})
		time.AfterFunc(time.Hour, func() { c.SetReadDeadline(time.Unix(1, 0)) })
		ended("read", c.Read, time.Hour)
		time.AfterFunc(time.Hour, func() { c.SetWriteDeadline(time.Now().Add(time.Minute)) })
		ended("write", c.Write, time.Hour+time.Minute)

		c.SetDeadline(time.Time{})
		go theirs.Write([]byte("x"))
		if n, err := c.Read(make([]byte, 1)); n != 1 || err != nil {
			t.Errorf("a read without deadline gave %d, %v", n, err)
		}
	})
}
