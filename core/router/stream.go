package router

import (
	"bytes"
	"context"
	"io"
	"slices"
	"time"

	"github.com/sallyport-gateway/sallyport/core/egress"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
)

const (
	// maxLine bounds what is held of a line. One that is longer goes on in
	// pieces, and is not read for the records.
	maxLine = 4 << 20
	// endGrace is how long a provider may take to end its reply after the
	// dialect's last event.
	endGrace = 2 * time.Second
	// firstRead bounds what is read at once before the client has been given
	// anything: to read a whole burst along takes longer than to pass on how it
	// begins.
	firstRead = 2 << 10
)

// streamed is a stream of server-sent events on its way to the client, as it
// is: complete lines as they come, the last event once the row is ended. It
// reads along.
type streamed struct {
	s     *serving
	a     *attempt
	reply *egress.Response
	p     *probe
	t     tally

	buf    []byte
	have   int // bytes in buf
	seen   int // of them in lines that were read
	looked int // of them searched for the end of a line
	hold   int // where the last event begins in buf; -1 when it is not known yet
	torn   bool

	// The event that is open.
	kind  kind
	named bool   // kind is by its own line
	data  []byte // what there is of data in several lines
	open  bool   // a line of it was read

	decided bool   // the reply is good so far: the client is given it
	begun   bool   // the client has been given something
	failure []byte // the data of an error before anything was given
	any     bool   // there was data
	ended   bool   // the dialect's last event is there
	partial bool
	failed  *apierror.Error // the last event is one

	name    [2]int // where the line that was read names the model; zero for nowhere
	renamed bool   // the first that did was changed
}

// stream relays a reply that is a stream of events.
func (s *serving) stream(ctx context.Context, a *attempt, reply *egress.Response) result {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	st := &streamed{s: s, a: a, reply: reply, p: s.r.probe(a.d.account, &s.Ask), buf: *buf, hold: -1}
	defer st.measure()
	for {
		room := st.buf[st.have:]
		if !st.begun {
			room = room[:min(len(room), firstRead)]
		}
		n, err := a.body.Read(room)
		st.have += n
		st.lines()
		if err == io.EOF && !st.ended {
			st.rest()
		}
		if st.failure != nil {
			return st.early(ctx)
		}
		if st.ended {
			return st.end()
		}
		if werr := st.pass(err != nil); werr != nil {
			st.measure()
			return a.left()
		}
		switch {
		case err == nil:
		case err == io.EOF && st.complete():
			return st.end()
		case err == io.EOF:
			return st.cut(ctx, apierror.New(apierror.UpstreamFailed, "Provider %q ended its reply before it was complete.", a.d.account.name))
		default:
			a.reply.fail(err)
			return st.cut(ctx, err)
		}
	}
}

// lines reads the lines that are there.
func (st *streamed) lines() {
	for st.seen < st.have && !st.ended && st.failure == nil {
		n := st.next()
		if n == 0 {
			return
		}
		line := st.buf[st.seen : st.seen+n]
		if st.torn { // its end; what it says is not known
			st.torn, st.any, st.decided = false, true, true
			st.ended, st.partial = st.kind.end, st.kind.partial
		} else {
			st.line(bytes.TrimRight(line, "\r\n"))
			n += st.rename()
		}
		if st.hold < 0 && st.kind.end && !st.ended {
			st.hold = st.seen
		}
		st.seen += n
		st.looked = st.seen
	}
}

// next is the length of the next line with its end, 0 when that is not there
// yet. A line may end in a carriage return alone.
func (st *streamed) next() int {
	from := max(st.looked, st.seen)
	end := bytes.IndexByte(st.buf[from:st.have], '\n')
	upto := st.have
	if end >= 0 {
		upto = from + end
	}
	if r := bytes.IndexByte(st.buf[from:upto], '\r'); r >= 0 && from+r+1 < upto {
		return from + r + 1 - st.seen
	}
	if end < 0 {
		st.looked = max(from, st.have-1) // a carriage return there may be half an end
		return 0
	}
	return upto + 1 - st.seen
}

// rest reads a last line that has no end.
func (st *streamed) rest() {
	if st.seen < st.have && !st.torn {
		st.line(bytes.TrimRight(st.buf[st.seen:st.have], "\r"))
	}
	st.seen = st.have
	if st.failure == nil && !st.ended {
		st.line(nil)
	}
}

func (st *streamed) line(b []byte) {
	if !st.any {
		b = bytes.TrimPrefix(b, []byte("\ufeff"))
	}
	st.open = len(b) > 0
	switch {
	case len(b) == 0:
		if st.data != nil {
			st.event(st.data)
			st.data = nil
		}
		switch { // it had no data
		case st.ended || st.failure != nil:
		case st.kind.failure && !st.decided:
			st.failure = []byte("{}")
		case st.kind.end:
			st.finish(st.kind)
		}
		st.kind, st.named = kind{}, false
	case b[0] == 'e' && bytes.HasPrefix(b, []byte("event:")):
		name := bytes.TrimSpace(b[len("event:"):])
		if st.named = len(name) > 0 && string(name) != "message"; st.named { // that is the name of those that have none
			st.kind = st.p.kinds[string(name)]
			st.decided = st.decided || !st.kind.failure
		}
	case b[0] == 'd' && bytes.HasPrefix(b, []byte("data:")):
		b = b[len("data:"):]
		switch {
		case st.data != nil:
			if len(st.data)+len(b) < maxLine {
				st.data = append(append(st.data, '\n'), b...)
			}
		case looksWhole(b):
			st.event(b)
		default:
			st.data = bytes.Clone(b)
		}
	}
}

// event reads the data of one.
func (st *streamed) event(b []byte) {
	st.any = true
	b = bytes.TrimSpace(b)
	if isEnd := slices.ContainsFunc(st.p.ends, func(sign string) bool { return sign == string(b) }); isEnd || len(b) == 0 || b[0] != '{' && b[0] != '[' {
		if st.decided = true; isEnd {
			st.finish(kind{})
		}
		return
	}
	k, failed := st.p.walk(b, st.kind, st.named, &st.t)
	switch {
	case failed && !st.decided:
		st.failure = bytes.Clone(b)
	case failed:
		st.failed = st.a.inStream(b)
		st.finish(k)
	default:
		st.decided = true
		if k.end {
			st.finish(k)
		}
	}
	if at := cap(st.buf) - cap(b); st.t.named[1] > 0 && st.data == nil { // b is a part of buf
		st.name = [2]int{at + st.t.named[0], at + st.t.named[1]}
	}
}

// rename has the line that was read name the model as the client expects it. It
// gives by how much the line is longer now.
func (st *streamed) rename() int {
	from, to := st.name[0], st.name[1]
	st.name = [2]int{}
	if to == 0 {
		return 0
	}
	name := st.s.echo()
	if name == nil || st.renamed {
		return 0
	}
	st.renamed = true
	buf := slices.Replace(st.buf[:st.have], from, to, name...)
	st.have, st.buf = len(buf), buf[:cap(buf)]
	return len(name) - (to - from)
}

func (st *streamed) finish(k kind) { st.ended, st.partial = true, k.partial }

// complete reports whether a stream that has ended is all there.
func (st *streamed) complete() bool {
	return st.any && len(st.p.ends) == 0 && st.seen == st.have
}

// pass gives the client the lines that were read. closing tells that nothing
// more will come.
func (st *streamed) pass(closing bool) error {
	if !st.decided {
		// Comments and the like. Of a provider that sends them for long, the
		// client gets them.
		if st.have < holdBytes && time.Since(st.a.head) < holdTime || st.kind.failure || closing || st.seen == 0 {
			return st.grow()
		}
		st.decided = true
	}
	upto := st.seen
	if st.hold >= 0 {
		upto = st.hold
	}
	if upto > 0 {
		if err := st.give(st.buf[:upto]); err != nil {
			return err
		}
		st.drop(upto)
	}
	return st.grow()
}

// grow makes room for more.
func (st *streamed) grow() error {
	if st.have < len(st.buf) {
		return nil
	}
	if len(st.buf) < maxLine {
		st.buf = append(st.buf, make([]byte, len(st.buf))...)
		return nil
	}
	st.torn, st.decided = st.seen < st.have, true
	err := st.give(st.buf[:st.have])
	st.drop(st.have)
	return err
}

// drop forgets the first n bytes.
func (st *streamed) drop(n int) {
	copy(st.buf, st.buf[n:st.have])
	st.have -= n
	st.seen, st.looked = max(0, st.seen-n), max(0, st.looked-n)
	if st.hold = st.hold - n; st.hold < 0 {
		st.hold = -1
	}
}

// give sends b.
func (st *streamed) give(b []byte) error {
	if err := st.head(); err != nil {
		return err
	}
	st.s.keep(st.a, b)
	_, err := st.s.w.Write(b)
	return err
}

func (st *streamed) head() error {
	if st.begun {
		return nil
	}
	st.begun = true
	st.first()
	return st.s.w.Head(st.reply.Status, st.reply.Header)
}

func (st *streamed) first() {
	if st.s.out.FirstByte == 0 {
		st.s.out.FirstByte = max(time.Since(st.s.began), 1)
	}
}

// measure notes what was counted so far.
func (st *streamed) measure() {
	st.a.meter.said, st.a.meter.text = st.t.usage(), st.t.text
	st.s.out.ToolCalls = st.t.calls
}
