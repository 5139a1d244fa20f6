package wire

import (
	"net"
	"os"
	"sync"
	"time"
)

// SendTimeout is how long a peer may leave a frame unread before sending fails.
const SendTimeout = time.Minute

// Sender writes messages. It is for many goroutines at once.
type Sender struct {
	conn *net.UnixConn
	mu   sync.Mutex // held for one frame
	buf  []byte
}

// NewSender writes messages to conn.
func NewSender(conn *net.UnixConn) *Sender { return &Sender{conn: conn} }

// Send writes a message in as many frames as it takes. The descriptors of
// files arrive before its last frame or with it.
func (s *Sender) Send(kind Kind, session, call uint32, body []byte, files ...*os.File) error {
	for {
		n, nf := min(len(body), MaxPayload), min(len(files), MaxFiles)
		f := Frame{Kind: kind, Session: session, Call: call, Files: nf, More: n < len(body) || nf < len(files)}
		if err := s.frame(f, body[:n], files[:nf]); err != nil {
			return err
		}
		if !f.More {
			return nil
		}
		body, files = body[n:], files[nf:]
	}
}

func (s *Sender) frame(f Frame, payload []byte, files []*os.File) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buf = append(appendHeader(s.buf[:0], f, len(payload)), payload...)
	if err := s.conn.SetWriteDeadline(time.Now().Add(SendTimeout)); err != nil {
		return err
	}
	if len(files) == 0 {
		_, err := s.conn.Write(s.buf)
		return err
	}
	return sendFiles(s.conn, s.buf, files)
}
