package httpapi

import (
	"errors"
	"io"
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
		c := newCorkConn(below)
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

// A deadline that is put off is not told, and what ends at the one before goes on.
func TestDeadlineThatIsPutOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		defer theirs.Close()
		below := &told{Conn: ours}
		c := newCorkConn(below)
		defer c.Close()
		for _, later := range []time.Duration{0, time.Minute} { // 0 stands for none
			c.SetDeadline(time.Now().Add(time.Second))
			go theirs.Write([]byte("x"))
			if n, err := c.Read(make([]byte, 1)); n != 1 || err != nil {
				t.Fatalf("a read gave %d, %v", n, err)
			}
			begin := time.Now()
			one := func() {
				t.Helper()
				go io.ReadFull(theirs, make([]byte, 1))
				if n, err := c.Write([]byte("x")); n != 1 || err != nil {
					t.Fatalf("a write gave %d, %v", n, err)
				}
			}
			one()
			off := time.Time{}
			if later > 0 {
				off = begin.Add(later)
			}
			c.SetDeadline(off)
			w := below.writes.Load()
			one()
			if n := below.writes.Load() - w; n != 0 {
				t.Errorf("told %d times of a deadline that was put off", n)
			}
			came := make([]byte, 3)
			go func() { // past the first deadline
				time.Sleep(time.Second / 2)
				io.ReadFull(theirs, came[:2])
				time.Sleep(30 * time.Second)
				io.ReadFull(theirs, came[2:])
				time.Sleep(10 * time.Second)
				theirs.Write([]byte("y"))
			}()
			if n, err := c.Write([]byte("abc")); n != 3 || err != nil {
				t.Errorf("a write behind the deadline before gave %d, %v", n, err)
			}
			if n, err := c.Read(make([]byte, 1)); n != 1 || err != nil || time.Since(begin) != 40*time.Second+time.Second/2 {
				t.Errorf("a read behind the deadline before gave %d, %v after %s", n, err, time.Since(begin))
			}
			if string(came) != "abc" {
				t.Errorf("%q was written", came)
			}
			if later > 0 {
				if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(begin) != later {
					t.Errorf("a read ended after %s with %v, want its deadline after %s", time.Since(begin), err, later)
				}
			}
			c.SetDeadline(time.Time{})
		}
	})
}

// late does something between the end of a read below and what follows from it.
type late struct {
	net.Conn
	then func()
}

func (c *late) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err != nil && c.then != nil {
		c.then()
		c.then = nil
	}
	return n, err
}

// A deadline counts that is put off while a read ends at the one before.
func TestDeadlineThatIsPutOffLate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		defer theirs.Close()
		below := &late{Conn: ours}
		c := newCorkConn(below)
		defer c.Close()
		c.SetReadDeadline(time.Now().Add(time.Second))
		below.then = func() { c.SetReadDeadline(time.Now().Add(time.Minute)) }
		go func() {
			time.Sleep(2 * time.Second)
			theirs.Write([]byte("x"))
		}()
		if n, err := c.Read(make([]byte, 1)); n != 1 || err != nil {
			t.Errorf("got %d, %v", n, err)
		}
	})
}
