package wire

import "fmt"

// Assembler joins the frames of messages.
type Assembler struct {
	max     int // bytes of one message
	pending map[key]*partial
}

type key struct {
	kind          Kind
	session, call uint32
}

type partial struct {
	b     []byte
	files int
}

// NewAssembler joins frames to messages of at most limit bytes. Whoever uses it
// bounds the number of messages under way: it passes on no frame of a call that
// it did not start.
func NewAssembler(limit int) *Assembler {
	return &Assembler{max: limit, pending: map[key]*partial{}}
}

// Add takes f. When f ends a message it returns the body, valid until the next
// frame is read, and the number of descriptors that came with it.
func (a *Assembler) Add(f Frame) (body []byte, files int, done bool, err error) {
	k := key{f.Kind, f.Session, f.Call}
	p := a.pending[k]
	if p == nil && !f.More {
		if len(f.Payload) > a.max {
			return nil, 0, false, fmt.Errorf("%w: a message of more than %d bytes", ErrMalformed, a.max)
		}
		return f.Payload, f.Files, true, nil
	}
	if p == nil {
		p = &partial{}
		a.pending[k] = p
	}
	if len(p.b)+len(f.Payload) > a.max {
		return nil, 0, false, fmt.Errorf("%w: a message of more than %d bytes", ErrMalformed, a.max)
	}
	p.b = append(p.b, f.Payload...)
	p.files += f.Files
	if f.More {
		return nil, 0, false, nil
	}
	delete(a.pending, k)
	return p.b, p.files, true, nil
}

// Drop forgets what came of messages of a session that are not whole.
func (a *Assembler) Drop(session uint32) {
	for k := range a.pending {
		if k.session == session {
			delete(a.pending, k)
		}
	}
}
