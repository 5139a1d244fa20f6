package tool

import (
	"context"
	"errors"
	"io"
	"log/slog"

	"google.golang.org/grpc"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/internal/fault"
	toolv1 "github.com/sallyport-gateway/sallyport/sdk/proto/tool/v1"
)

// NewClient gives the Tool at the other end of conn. Its errors are apierrors:
// those of the tool with their codes; Unavailable when the plugin died,
// Canceled when ctx ended. When Open or Call returns, everything the plugin
// had asked of the Host has ended, so a Service must heed its context.
func NewClient(conn grpc.ClientConnInterface) Tool {
	return &client{rpc: toolv1.NewToolClient(conn), log: slog.Default()}
}

type client struct {
	rpc toolv1.ToolClient
	log *slog.Logger
}

var _ Tool = (*client)(nil)

// Open implements Tool.
func (c *client) Open(ctx context.Context, ds []Declaration, h *Host) (Opened, error) {
	first := &toolv1.ToPlugin{Frame: &toolv1.ToPlugin_Open{Open: encodeDeclarations(ds)}}
	last, err := c.run(ctx, c.rpc.Open, first, h)
	if err != nil {
		return Opened{}, err
	}
	if last.GetOpened() == nil {
		return Opened{}, broken("ended an Open with the result of a Call")
	}
	return decodeOpened(last.GetOpened()), nil
}

// Call implements Tool.
func (c *client) Call(ctx context.Context, call Call, h *Host) (Result, error) {
	first := &toolv1.ToPlugin{Frame: &toolv1.ToPlugin_Call{Call: encodeCall(call)}}
	last, err := c.run(ctx, c.rpc.Call, first, h)
	if err != nil {
		return Result{}, err
	}
	if last.GetResult() == nil {
		return Result{}, broken("ended a Call with the answer to an Open")
	}
	return decodeResult(last.GetResult()), nil
}

// starter is a method of the generated client.
type starter func(context.Context, ...grpc.CallOption) (grpc.BidiStreamingClient[toolv1.ToPlugin, toolv1.ToGateway], error)

// run runs one stream: this goroutine receives and never waits for anything
// else, so the plugin can always send; each Host call has its own.
func (c *client) run(ctx context.Context, start starter, first *toolv1.ToPlugin, h *Host) (*toolv1.ToGateway, error) {
	if err := fault.Fits(first, "The request to the tool"); err != nil {
		return nil, err
	}
	streamCtx, cancel := context.WithCancel(ctx)
	st, err := start(streamCtx, grpc.MaxCallRecvMsgSize(MaxMessage), grpc.MaxCallSendMsgSize(MaxMessage))
	if err != nil {
		cancel()
		return nil, fault.FromStatus(ctx, "tool", err)
	}
	if h == nil {
		h = NewHost(Service{})
	}
	d := newDesk(h, st.Send, c.log)
	defer d.wait()
	defer cancel() // ends the plugin's authority, and the stream
	if err := st.Send(first); err != nil && !errors.Is(err, io.EOF) {
		return nil, fault.FromStatus(ctx, "tool", err)
	} // after io.EOF the reason comes from Recv
	for {
		frame, err := st.Recv()
		switch {
		case errors.Is(err, io.EOF) && ctx.Err() == nil:
			return nil, broken("ended its stream without an answer")
		case err != nil:
			return nil, fault.FromStatus(ctx, "tool", err)
		}
		switch f := frame.GetFrame().(type) {
		case *toolv1.ToGateway_Opened, *toolv1.ToGateway_Result:
			return frame, nil
		case *toolv1.ToGateway_Error:
			return nil, fault.Decode(f.Error)
		case *toolv1.ToGateway_Host:
			if err := d.begin(streamCtx, f.Host); err != nil {
				return nil, err
			}
		case *toolv1.ToGateway_Credit:
			d.credit(f.Credit.GetId(), f.Credit.GetCost())
		case *toolv1.ToGateway_Cancel:
			d.cancel(f.Cancel.GetId())
		}
	}
}

// broken is a plugin that does not keep to the protocol.
func broken(what string) error {
	return apierror.From(errors.New("tool plugin: " + what))
}
