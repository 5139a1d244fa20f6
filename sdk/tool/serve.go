package tool

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"

	"google.golang.org/grpc"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/boot"
	"github.com/sallyport-gateway/sallyport/sdk/internal/fault"
	toolv1 "github.com/sallyport-gateway/sallyport/sdk/proto/tool/v1"
)

// Configurer is the ability of a Tool to take the operator's settings: a JSON
// object that fits Manifest.Config, "{}" when the operator set nothing. It is
// called once, before anything else; an error keeps the plugin from starting,
// and its text is for the operator.
type Configurer interface {
	Configure(ctx context.Context, settings json.RawMessage) error
}

// Serve runs t as a plugin: it is the one line of a plugin's main. A Tool that
// is no Configurer has no settings.
func Serve(m Manifest, t Tool) {
	p := boot.Plugin{Kind: boot.Tool, Manifest: m, Register: func(s *grpc.Server) error {
		Register(s, t, slog.Default())
		return nil
	}}
	if c, ok := t.(Configurer); ok {
		p.Configure = c.Configure
	}
	boot.Run(p)
}

// Register offers t on a gRPC server. What goes wrong inside t and does not
// concern the gateway is told to log; a panic costs the call it happened in.
func Register(s grpc.ServiceRegistrar, t Tool, log *slog.Logger) {
	toolv1.RegisterToolServer(s, &server{tool: t, log: log})
}

type server struct {
	toolv1.UnimplementedToolServer
	tool Tool
	log  *slog.Logger
}

// Open implements the generated interface.
func (s *server) Open(st grpc.BidiStreamingServer[toolv1.ToPlugin, toolv1.ToGateway]) error {
	return s.serve(st, "open", func(ctx context.Context, first *toolv1.ToPlugin, h *Host) (*toolv1.ToGateway, error) {
		if first.GetOpen() == nil {
			return nil, apierror.New(apierror.Internal, "The stream of an Open does not begin with one.")
		}
		o, err := s.tool.Open(ctx, decodeDeclarations(first.GetOpen()), h)
		return &toolv1.ToGateway{Frame: &toolv1.ToGateway_Opened{Opened: encodeOpened(o)}}, err
	})
}

// Call implements the generated interface.
func (s *server) Call(st grpc.BidiStreamingServer[toolv1.ToPlugin, toolv1.ToGateway]) error {
	return s.serve(st, "call", func(ctx context.Context, first *toolv1.ToPlugin, h *Host) (*toolv1.ToGateway, error) {
		if first.GetCall() == nil {
			return nil, apierror.New(apierror.Internal, "The stream of a Call does not begin with one.")
		}
		r, err := s.tool.Call(ctx, decodeCall(first.GetCall()), h)
		return &toolv1.ToGateway{Frame: &toolv1.ToGateway_Result{Result: encodeResult(r)}}, err
	})
}

// work is one Open or Call of the author.
type work func(ctx context.Context, first *toolv1.ToPlugin, h *Host) (*toolv1.ToGateway, error)

// serve runs one stream: the author works on a goroutine of its own, while
// this one hands it what the gateway answers. The stream ends when the gateway
// closes it, which it does once it has the last frame.
func (s *server) serve(st grpc.BidiStreamingServer[toolv1.ToPlugin, toolv1.ToGateway], step string, w work) error {
	first, err := st.Recv()
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(st.Context())
	ses := newSession(st.Send)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer cancel()
		ses.finish(s.answer(ctx, step, w, first, ses.host()))
	}()
	for {
		frame, err := st.Recv()
		if err != nil {
			break
		}
		ses.deliver(frame)
	}
	cancel()
	ses.end()
	<-done
	return nil
}

// answer runs the author's code and gives the last frame. A panic, and an end
// of the goroutine, are errors of this call only.
func (s *server) answer(ctx context.Context, step string, w work, first *toolv1.ToPlugin, h *Host) *toolv1.ToGateway {
	var last *toolv1.ToGateway
	err := errors.New("the tool ended its goroutine instead of returning")
	done := make(chan struct{})
	go func() { // so that runtime.Goexit in the author's code costs no answer
		defer close(done)
		defer func() {
			if v := recover(); v != nil {
				err = fault.Caught(s.log, step, v)
			}
		}()
		last, err = w(ctx, first, h)
	}()
	<-done
	if err == nil {
		err = fault.Fits(last, "The answer of the tool")
	}
	if err != nil {
		return &toolv1.ToGateway{Frame: &toolv1.ToGateway_Error{Error: fault.Encode(s.log, step, err)}}
	}
	return last
}
