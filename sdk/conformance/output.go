package conformance

import (
	"bufio"
	"context"
	"io"
	"strings"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/emptypb"
)

// readStdout reads the handshake, and what comes after it.
func (p *process) readStdout(r io.Reader) {
	defer close(p.first)
	if p.all != nil {
		io.Copy(p.all, io.LimitReader(r, 2*maxDescribe)) // more is too much anyway
		return
	}
	lines := bufio.NewReaderSize(r, 64<<10)
	for n := 0; ; n++ {
		line, more, err := lines.ReadLine()
		if err != nil {
			return
		}
		if n == 0 {
			p.first <- string(line)
		} else if !more {
			p.addNoise(string(line))
		}
	}
}

func (p *process) addNoise(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.noise) < maxNoise {
		p.noise = append(p.noise, line)
	}
}

// printed is what it wrote to stdout after the handshake.
func (p *process) printed() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.noise
}

// said is what the process wrote to stderr: the crash when there is one, else
// the last lines.
func (p *process) said() string {
	text := p.stderr.String()
	for _, mark := range []string{"panic: ", "fatal error: ", "Traceback (most recent call last)"} {
		if i := strings.LastIndex(text, mark); i >= 0 {
			return cut(text[i:], 900)
		}
	}
	lines := strings.Split(strings.TrimSpace(text), "\n")
	last := strings.Join(lines[max(0, len(lines)-5):], "\n")
	if last == "" {
		return "(nothing)"
	}
	return last
}

// readStdio follows go-plugin's stream of prints. Plugins without go-plugin
// have none.
func (p *process) readStdio(ctx context.Context) {
	st, err := p.conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, "/plugin.GRPCStdio/StreamStdio")
	if err != nil {
		return
	}
	if st.SendMsg(&emptypb.Empty{}) != nil || st.CloseSend() != nil {
		return
	}
	for {
		var m emptypb.Empty // its unknown fields are the message: channel = 1, data = 2
		if st.RecvMsg(&m) != nil {
			return
		}
		for b := m.ProtoReflect().GetUnknown(); len(b) > 0; {
			num, typ, n := protowire.ConsumeTag(b)
			if n < 0 {
				return
			}
			b = b[n:]
			if num == 2 && typ == protowire.BytesType {
				if data, n := protowire.ConsumeBytes(b); n > 0 {
					p.addNoise(strings.TrimSpace(string(data)))
				}
			}
			if n = protowire.ConsumeFieldValue(num, typ, b); n < 0 {
				return
			}
			b = b[n:]
		}
	}
}

// tail keeps the end of what is written to it.
type tail struct {
	mu sync.Mutex
	b  []byte
}

func (t *tail) add(b []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, b...)
	if len(t.b) > maxKept {
		t.b = append(t.b[:0], t.b[len(t.b)-maxKept/2:]...)
	}
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.b)
}
