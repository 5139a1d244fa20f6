package provider

import (
	"encoding/binary"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// pump sends the reply to the plugin. It reads the body as the plugin takes it,
// at most one buffer ahead of the socket's.
type pump struct {
	cc   *clientConn
	b    []byte      // frames to write
	stop atomic.Bool // nobody wants the rest of the body
	done chan struct{}
	rest bool // the plugin was told the end of the body; valid after done
}

// startPump begins to send the reply. A body that is whole JSON and fits into a
// buffer is sent when startPump returns: it takes no goroutine, done is nil, and
// the write waits for nobody, since a connection at rest holds more than a buffer.
func (d *decoding) startPump() {
	r, p := &d.r, &d.pump
	b := appendUpHead(appendHeader(d.cc.out[:0], frameUpHead, 0), r.Status, r.Header)
	binary.BigEndian.PutUint32(b, uint32(len(b)-frameHeader))
	if cap(b)-len(b) < writeBuffer/2 { // unusually long headers
		b = append(make([]byte, 0, len(b)+writeBuffer), b...)
	}
	p.cc, p.b = d.cc, b
	switch {
	case r.Body == nil:
		p.b = appendHeader(p.b, frameUpEOF, 0)
		p.rest = p.write(0)
		return
	case d.readsWhole.Load():
		ended := p.whole(r.Body)
		d.readsWhole.Store(false)
		if ended {
			p.rest = p.write(0)
			return
		}
	}
	p.done = make(chan struct{})
	go p.run(r.Body, len(b))
}

// isWhole reports whether the body may be read before anything is sent: it comes
// in one piece, and closing it ends a read.
func (d *decoding) isWhole() bool {
	_, closes := d.r.Body.(io.Closer)
	return closes && d.e.up != nil && !d.e.up.Stream && strings.HasPrefix(d.r.Header.Get("Content-Type"), "application/json")
}

// whole reads what fits into the buffer, as one frame, and reports whether that
// was all.
func (p *pump) whole(body io.Reader) (ended bool) {
	at, n := len(p.b)+frameHeader, 0
	var err error
	for room := p.b[at : cap(p.b)-frameHeader]; err == nil && n < len(room); {
		var more int
		more, err = body.Read(room[n:])
		n += more
	}
	if n > 0 {
		p.b = appendHeader(p.b, frameUpData, n)[:at+n]
	}
	if err != nil {
		p.end(err)
	}
	return err != nil
}

// end adds that the body ended, and how.
func (p *pump) end(err error) {
	tail := appendCut(err)
	p.b = append(appendHeader(p.b, frameUpEOF, len(tail)), tail...)
}

// write writes the frames but for the first n bytes, which went before.
func (p *pump) write(n int) bool {
	if n == len(p.b) {
		return true
	}
	_, err := p.cc.c.Write(p.b[n:])
	return err == nil
}

// run sends a body piece by piece. The first head bytes of the buffer are the
// reply's head, which goes with the first piece unless that is late.
func (p *pump) run(body io.Reader, head int) {
	defer close(p.done)
	var late *lateHead
	if len(p.b) == head {
		late = p.sendLate(p.b)
	} else if !p.write(0) {
		return
	} else {
		p.b = p.b[:0]
	}
	for {
		at := len(p.b) + frameHeader
		n, end := body.Read(p.b[at:cap(p.b)])
		if n > 0 {
			p.b = appendHeader(p.b, frameUpData, n)[:at+n]
		}
		if end == nil && p.stop.Load() {
			end = io.EOF // the plugin passes over the rest without looking
		}
		if end != nil {
			p.end(end)
		}
		sent := 0
		if late != nil && late.sent() {
			sent = head
		}
		if !p.write(sent) {
			return
		}
		if end != nil {
			p.rest = true
			return
		}
		p.b, late = p.b[:0], nil
	}
}

// lateHead sends the head of a reply by itself when the first bytes of the body
// are a long time coming.
type lateHead struct {
	mu    sync.Mutex
	done  bool // by itself, or with the first bytes
	timer *time.Timer
}

func (p *pump) sendLate(head []byte) *lateHead {
	l := new(lateHead)
	l.timer = time.AfterFunc(flushDelay, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if !l.done {
			l.done = true
			p.cc.c.Write(head) // a failure shows again with the next write
		}
	})
	return l
}

// sent reports whether the head went by itself; if not it never will.
func (l *lateHead) sent() bool {
	l.timer.Stop()
	l.mu.Lock()
	defer l.mu.Unlock()
	was := l.done
	l.done = true
	return was
}

// finish ends the pump and reports whether the connection is at rest. A body
// that does not end by itself, or whose exchange did not come to its end, is
// closed when it can be; one that cannot be ends the pump when its owner ends
// it, and the connection is not used again.
func (p *pump) finish(body io.Reader, ended bool) bool {
	if p.done == nil {
		return p.rest
	}
	p.stop.Store(true)
	select {
	case <-p.done:
		return p.rest
	default:
	}
	if ended {
		grace := time.NewTimer(finishGrace)
		defer grace.Stop()
		select {
		case <-p.done:
			return p.rest
		case <-grace.C:
		}
	}
	if c, ok := body.(io.Closer); ok {
		c.Close()
		<-p.done
		return p.rest
	}
	return false
}
