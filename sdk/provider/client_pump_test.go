package provider

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
)

// decodeJSON decodes a reply that says it is JSON.
func decodeJSON(ctx context.Context, ex Exchange, body io.Reader) (text string, err error) {
	var b strings.Builder
	for ev, err := range ex.Decode(ctx, Reply{Status: 200, Header: http.Header{"Content-Type": {"application/json"}}, Body: body}) {
		if err != nil {
			return b.String(), err
		}
		b.WriteString(ev.Delta)
	}
	return b.String(), nil
}

// A body arrives whole however long it is: read before anything is sent, or
// begun so and carried on by a goroutine.
func TestWholeBodies(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 1000, writeBuffer - 200, writeBuffer - 20, writeBuffer - 1, writeBuffer, writeBuffer + 1, 3*writeBuffer + 7} {
		for name, split := range map[string]func(io.Reader) io.Reader{
			"whole": func(r io.Reader) io.Reader { return r }, "halves": iotest.HalfReader, "with the end": iotest.DataErrReader,
		} {
			t.Run(fmt.Sprint(n, " ", name), func(t *testing.T) {
				t.Parallel()
				c := loopback(t, lines{})
				want := strings.Repeat("abcdefg", n/7+1)[:n]
				for range 2 { // the connection is used again
					got, err := decodeJSON(t.Context(), begin(t, c, Turn{Op: Generate, Request: request("x")}), io.NopCloser(split(strings.NewReader(want))))
					if got != want || err != nil {
						t.Fatalf("%d bytes, %v, want %d", len(got), err, n)
					}
				}
				if n := len(c.idle); n != 1 {
					t.Errorf("%d connections at rest, want 1", n)
				}
			})
		}
	}
}

func TestWholeBodyThatIsCut(t *testing.T) {
	t.Parallel()
	c := loopback(t, lines{decode: func(_ context.Context, r Reply, out *Output) {
		_, err := io.Copy(io.Discard, r.Body)
		out.Fail(err)
	}})
	for _, n := range []int{10, 2 * writeBuffer} {
		body := io.MultiReader(strings.NewReader(strings.Repeat("a", n)), iotest.ErrReader(apierror.New(apierror.UpstreamTimeout, "Too slow.")))
		_, err := decodeJSON(t.Context(), begin(t, c, Turn{Op: Generate, Request: request("x")}), io.NopCloser(body))
		if !apierror.Is(err, apierror.UpstreamTimeout) {
			t.Errorf("after %d bytes: %v, want %s", n, err, apierror.UpstreamTimeout)
		}
	}
}

// hanging is a body that says nothing until it is closed.
type hanging struct {
	once   sync.Once
	closed chan struct{}
	read   chan struct{} // told of the first Read
}

func (h *hanging) Read([]byte) (int, error) {
	select {
	case h.read <- struct{}{}:
	default:
	}
	<-h.closed
	return 0, errors.New("closed")
}

func (h *hanging) Close() error {
	h.once.Do(func() { close(h.closed) })
	return nil
}

func TestWholeBodyGivenUp(t *testing.T) {
	t.Parallel()
	c := loopback(t, lines{})
	ctx, cancel := context.WithCancel(t.Context())
	h := &hanging{closed: make(chan struct{}), read: make(chan struct{}, 1)}
	go func() {
		<-h.read
		cancel()
	}()
	if _, err := decodeJSON(ctx, begin(t, c, Turn{Op: Generate, Request: request("x")}), h); !apierror.Is(err, apierror.Canceled) {
		t.Errorf("got %v, want %s", err, apierror.Canceled)
	}
	if n := c.InFlight(); n != 0 {
		t.Errorf("InFlight = %d at the end", n)
	}
}

// A front may write before it has everything, also what is no stream: however
// much goes both ways, neither end waits for the other for ever.
func TestFrontThatWritesEarly(t *testing.T) {
	t.Parallel()
	piece := strings.Repeat("x", 1<<20)
	c := loopback(t, plainFront{write: func(_ context.Context, events iter.Seq2[openresponses.Event, error], w io.Writer) error {
		for ev, err := range events {
			if err != nil {
				return err
			}
			if _, err := io.WriteString(w, piece+ev.Delta); err != nil {
				return err
			}
		}
		return nil
	}})
	var b strings.Builder
	if err := accept(t, c, `{"text":"x"}`).Write(t.Context(), said(piece, piece, piece), &b); err != nil {
		t.Fatal(err)
	}
	if n := b.Len(); n < 6<<20 {
		t.Errorf("%d bytes, want the %d of the events and as many between them", n, 3<<20)
	}
}
