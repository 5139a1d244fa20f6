package engine

import (
	"context"
	"errors"
	"io"
	"iter"

	"google.golang.org/grpc"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/internal/fault"
	enginev1 "github.com/sallyport-gateway/sallyport/sdk/proto/engine/v1"
)

// NewClient gives the Engine at the other end of conn. Its errors are
// apierrors: those of the engine with their codes; Unavailable when the
// plugin died, Canceled when ctx ended. Stopping the loop over a Query stops
// the query in the plugin.
func NewClient(conn grpc.ClientConnInterface) Engine {
	return &client{rpc: enginev1.NewEngineClient(conn)}
}

type client struct{ rpc enginev1.EngineClient }

var _ Engine = (*client)(nil)

func callOptions() []grpc.CallOption {
	return []grpc.CallOption{grpc.MaxCallRecvMsgSize(MaxMessage), grpc.MaxCallSendMsgSize(MaxMessage)}
}

// Inspect implements Engine.
func (c *client) Inspect(ctx context.Context, sql string) (Statement, error) {
	reply, err := c.rpc.Inspect(ctx, &enginev1.InspectRequest{Sql: fault.Text(sql)}, callOptions()...)
	if err != nil {
		return Statement{}, fault.FromStatus(ctx, "engine", err)
	}
	if reply.GetError() != nil {
		return Statement{}, fault.Decode(reply.GetError())
	}
	return Statement{Kind: reply.GetStatement().GetKind(), Names: reply.GetStatement().GetNames()}, nil
}

// Query implements Engine. The query starts when the loop does.
func (c *client) Query(ctx context.Context, q Query) iter.Seq2[Batch, error] {
	return func(yield func(Batch, error) bool) {
		request, err := encodeQuery(q)
		if err != nil {
			yield(Batch{}, apierror.Wrap(apierror.Invalid, err, "The query's arguments cannot be bound: %v.", err))
			return
		}
		streamCtx, cancel := context.WithCancel(ctx)
		defer cancel() // also tells an engine that is still at work
		stream, err := c.rpc.Query(streamCtx, request, callOptions()...)
		if err != nil {
			yield(Batch{}, fault.FromStatus(ctx, "engine", err))
			return
		}
		for {
			reply, err := stream.Recv()
			switch {
			case errors.Is(err, io.EOF):
				if ctx.Err() != nil { // the engine may end a canceled query in good order
					yield(Batch{}, fault.Canceled(context.Cause(ctx)))
				}
				return
			case err != nil:
				yield(Batch{}, fault.FromStatus(ctx, "engine", err))
				return
			case reply.GetError() != nil:
				yield(Batch{}, fault.Decode(reply.GetError()))
				return
			}
			if reply.GetBatch() == nil {
				continue // a newer engine's reply that we do not know
			}
			if !yield(DecodeBatch(reply.GetBatch()), nil) {
				return
			}
		}
	}
}
