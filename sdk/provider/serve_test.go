package provider

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	providerv1 "github.com/sallyport-gateway/sallyport/sdk/proto/provider/v1"
)

// control is a control plane without a wire: it answers OpenData.
type control struct {
	grpc.ClientConnInterface
	d      *dataPlane
	change func(*providerv1.OpenDataResponse)
}

func (c control) Invoke(ctx context.Context, _ string, in, out any, _ ...grpc.CallOption) error {
	r, err := c.d.OpenData(ctx, in.(*providerv1.OpenDataRequest))
	if err != nil {
		return err
	}
	if c.change != nil {
		c.change(r)
	}
	to := out.(*providerv1.OpenDataResponse)
	to.Socket, to.Token, to.Frames, to.MaxFrame = r.Socket, r.Token, r.Frames, r.MaxFrame
	return nil
}

// data opens a data plane that lets in the process host.
func data(t *testing.T, host int) (d *dataPlane, dir string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "data") // short: a socket lives in it
	if err != nil {
		t.Fatal(err)
	}
	d, err = listen(newServer(lines{}), dir, host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		d.close()
		left, _ := os.ReadDir(dir)
		if len(left) != 0 {
			t.Errorf("%d files are left beside the closed socket", len(left))
		}
		os.RemoveAll(dir)
	})
	return d, dir
}

// exchangeOver runs one exchange with connections made by dial.
func exchangeOver(t *testing.T, dial func(context.Context) (net.Conn, error)) error {
	t.Helper()
	c := NewClient(ClientConfig{Name: "x", Dial: dial})
	defer c.Close()
	ex, err := c.Begin(t.Context(), Turn{Op: Generate, Request: request("x")})
	if err != nil {
		return err
	}
	_, _, err = collect(t.Context(), ex, strings.NewReader("a\n"))
	return err
}

func TestDialer(t *testing.T) {
	t.Parallel()
	d, dir := data(t, os.Getpid())
	if err := exchangeOver(t, Dialer(control{d: d}, os.Getpid(), dir)); err != nil {
		t.Errorf("exchange: %v", err)
	}
	if n := d.tokens.count(); n != 0 {
		t.Errorf("%d tokens are still good after use", n)
	}
	tests := map[string]struct {
		dial func(context.Context) (net.Conn, error)
		want string
	}{
		"another process listens":   {Dialer(control{d: d}, os.Getppid(), dir), "listens, not the plugin"},
		"socket elsewhere":          {Dialer(control{d: d}, os.Getpid(), dir+"/below"), "is outside of"},
		"socket elsewhere, by dots": {Dialer(control{d: d, change: func(r *providerv1.OpenDataResponse) { r.Socket = dir + "/../x" }}, os.Getpid(), dir), "is outside of"},
		"newer frames":              {Dialer(control{d: d, change: func(r *providerv1.OpenDataResponse) { r.Frames = 2 }}, os.Getpid(), dir), "speaks frame format 2"},
		"wrong token":               {Dialer(control{d: d, change: func(r *providerv1.OpenDataResponse) { r.Token[0] ^= 1 }}, os.Getpid(), dir), ""},
		"long token":                {Dialer(control{d: d, change: func(r *providerv1.OpenDataResponse) { r.Token = make([]byte, 1<<16) }}, os.Getpid(), dir), ""},
	}
	for name, tt := range tests {
		err := exchangeOver(t, tt.dial)
		if !apierror.Is(err, apierror.Unavailable) || !strings.Contains(fmt.Sprint(err), tt.want) {
			t.Errorf("%s: %v, want %s with %q", name, err, apierror.Unavailable, tt.want)
		}
	}
}

func TestTokenIsGoodOnce(t *testing.T) {
	t.Parallel()
	d, dir := data(t, os.Getpid())
	var first []byte
	again := control{d: d, change: func(r *providerv1.OpenDataResponse) {
		if first == nil {
			first = r.Token
		}
		r.Token = first
	}}
	if err := exchangeOver(t, Dialer(again, os.Getpid(), dir)); err != nil {
		t.Errorf("first use: %v", err)
	}
	if err := exchangeOver(t, Dialer(again, os.Getpid(), dir)); !apierror.Is(err, apierror.Unavailable) {
		t.Errorf("second use: %v, want %s", err, apierror.Unavailable)
	}
}

func TestOnlyTheGatewayIsLetIn(t *testing.T) {
	t.Parallel()
	d, dir := data(t, os.Getppid()) // the gateway is another process than this one
	if err := exchangeOver(t, Dialer(control{d: d}, os.Getpid(), dir)); !apierror.Is(err, apierror.Unavailable) {
		t.Errorf("exchange of a stranger: %v, want %s", err, apierror.Unavailable)
	}
}

func TestNothingIsServedWithoutHello(t *testing.T) {
	t.Parallel()
	d, _ := data(t, os.Getpid())
	turn, err := appendTurn(nil, Turn{Op: Generate, Request: request("x")})
	if err != nil {
		t.Fatal(err)
	}
	req := append(appendHeader(nil, frameReq, len(turn)), turn...)
	for _, first := range [][]byte{req, {}, []byte("\x00\x00\x00\x00\x01"), []byte("\x00\x00\x00\x02\x01\x09x"), []byte("\xff\xff\xff\xff\x01")} {
		c, err := net.Dial("unix", d.ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		c.Write(first)
		c.(*net.UnixConn).CloseWrite()
		if b, err := io.ReadAll(c); len(b) != 0 {
			t.Errorf("%q was answered with %q, %v", first, b, err)
		}
		c.Close()
	}
}

// A table that is full drops the oldest token and refuses nobody.
func TestTokensAreBounded(t *testing.T) {
	t.Parallel()
	d, _ := data(t, os.Getpid())
	var given []string
	for range maxTokens + 2 {
		r, err := d.OpenData(t.Context(), &providerv1.OpenDataRequest{Frames: 1})
		if err != nil {
			t.Fatal(err)
		}
		given = append(given, string(r.GetToken()))
	}
	if n := d.tokens.count(); n != maxTokens {
		t.Errorf("%d tokens, want %d", n, maxTokens)
	}
	now := time.Now()
	for i, want := range map[int]bool{0: false, 1: false, 2: true, maxTokens: true, maxTokens + 1: true} {
		if got := d.tokens.take(given[i], now); got != want {
			t.Errorf("token %d is good: %t, want %t", i, got, want)
		}
		if d.tokens.take(given[i], now) {
			t.Errorf("token %d is good twice", i)
		}
	}
	if d.tokens.take(given[3], now.Add(tokenLife+time.Minute)) {
		t.Error("an old token is good")
	}
	d.tokens.give(now.Add(tokenLife + time.Minute))
	if n := d.tokens.count(); n != 1 {
		t.Errorf("%d tokens when all but one are old, want 1", n)
	}
	if _, err := d.OpenData(t.Context(), &providerv1.OpenDataRequest{}); err == nil {
		t.Error("a gateway that speaks no frame format got a token")
	}
}

func TestDialThatFailsKeepsItsCause(t *testing.T) {
	t.Parallel()
	cause := errors.New("no way there")
	err := exchangeOver(t, func(context.Context) (net.Conn, error) { return nil, cause })
	if !apierror.Is(err, apierror.Unavailable) || !errors.Is(err, cause) {
		t.Errorf("error %v, want %s because of %v", err, apierror.Unavailable, cause)
	}
}
