package router

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/sallyport-gateway/sallyport/core/usage"
)

// end ends the row, and then gives what is left of the reply.
func (st *streamed) end() result {
	s := st.s
	st.first()
	if st.failed == nil {
		st.a.finished(&st.t, st.partial)
	} else {
		st.measure()
		st.a.failed(context.Background(), st.failed, true) // for the log
		st.a.close(false, st.failed.Code)
		s.out.Status, s.out.Code, s.err = usage.Failed, st.failed.Code, st.failed
	}
	if st.have > 0 {
		s.keep(st.a, st.buf[:st.have])
	}
	s.settle()
	err := st.head()
	if err == nil && st.have > 0 {
		_, err = s.w.Write(st.buf[:st.have])
	}
	late := time.AfterFunc(endGrace, st.a.body.Cancel)
	defer late.Stop()
	for err == nil {
		n, rerr := st.a.body.Read(st.buf)
		if n > 0 {
			_, err = s.w.Write(st.buf[:n])
		}
		if rerr != nil { // the reply is there, however this ended
			break
		}
	}
	return result{}
}

// early ends an attempt whose stream began with an error. If no other follows,
// it is what the client gets, so it is read to its end.
func (st *streamed) early(ctx context.Context) result {
	late := time.AfterFunc(endGrace, st.a.body.Cancel)
	defer late.Stop()
	text := bytes.Clone(st.buf[:st.have])
	for len(text) < holdBytes {
		n, err := st.a.body.Read(st.buf)
		text = append(text, st.buf[:n]...)
		if err != nil {
			break
		}
	}
	st.measure()
	res := st.a.failed(ctx, st.a.inStream(st.failure), false)
	res.answer = &answer{st.reply.Status, st.reply.Header, text}
	return res
}

// cut ends an attempt whose stream was not ended by the provider. One that the
// client has seen a part of is ended in its dialect.
func (st *streamed) cut(ctx context.Context, err error) result {
	st.measure()
	s, a := st.s, st.a
	res := a.failed(ctx, err, st.begun)
	if !st.begun {
		return res
	}
	if ctx.Err() != nil {
		return a.left()
	}
	a.close(false, res.err.Code)
	s.err = s.last(res.err)
	s.out.Status = usage.Failed
	var end []byte
	if s.Dialect.Cut != "" {
		if st.torn {
			end = append(end, '\n')
		}
		if st.open || st.torn || st.hold >= 0 {
			end = append(end, '\n')
		}
		end = append(end, cutText(s.Dialect.Cut, s.err.Message)...)
		s.keep(a, end)
	}
	s.settle()
	if end == nil {
		s.broken = s.err
		return result{}
	}
	_, _ = s.w.Write(end) // a client that left knows
	return result{}
}

// cutText is what ends a stream that was cut, as the dialect has it.
func cutText(text, message string) string {
	quoted, err := json.Marshal(message)
	if err != nil { // a string always has a JSON form
		quoted = []byte(`""`)
	}
	return strings.ReplaceAll(text, "$MESSAGE", string(quoted))
}
