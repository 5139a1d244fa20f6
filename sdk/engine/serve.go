package engine

import (
	"context"
	"log/slog"

	"google.golang.org/grpc"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/boot"
	"github.com/sallyport-gateway/sallyport/sdk/internal/fault"
	enginev1 "github.com/sallyport-gateway/sallyport/sdk/proto/engine/v1"
)

// Serve runs e as a plugin: it is the one line of a plugin's main.
func Serve(m Manifest, e Engine) {
	boot.Main(boot.Engine, m, func(s *grpc.Server) error {
		Register(s, e, slog.Default())
		return nil
	})
}

// Register offers e on a gRPC server. What goes wrong inside e and does not
// concern the gateway is told to log; a panic costs the query it happened in.
func Register(s grpc.ServiceRegistrar, e Engine, log *slog.Logger) {
	enginev1.RegisterEngineServer(s, &server{engine: e, log: log})
}

type server struct {
	enginev1.UnimplementedEngineServer
	engine Engine
	log    *slog.Logger
}

// Inspect implements the generated interface.
func (s *server) Inspect(ctx context.Context, r *enginev1.InspectRequest) (*enginev1.InspectReply, error) {
	st, err := s.inspect(ctx, r.GetSql())
	reply := &enginev1.InspectReply{Statement: &enginev1.Statement{Kind: fault.Text(st.Kind), Names: fault.Texts(st.Names)}}
	if err == nil {
		err = fault.Fits(reply, "The list of names in the statement")
	}
	if err != nil {
		return &enginev1.InspectReply{Error: fault.Encode(s.log, "inspect", err)}, nil
	}
	return reply, nil
}

func (s *server) inspect(ctx context.Context, sql string) (st Statement, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fault.Caught(s.log, "inspect", v)
		}
	}()
	return s.engine.Inspect(ctx, sql)
}

// Query implements the generated interface. A reader that is slow or gone
// holds up the loop in Send, and so the engine.
func (s *server) Query(r *enginev1.QueryRequest, stream grpc.ServerStreamingServer[enginev1.QueryReply]) error {
	err := s.query(stream.Context(), decodeQuery(r), stream.Send)
	if err == nil || stream.Context().Err() != nil {
		return nil
	}
	return stream.Send(&enginev1.QueryReply{Error: fault.Encode(s.log, "query", err)})
}

func (s *server) query(ctx context.Context, q Query, send func(*enginev1.QueryReply) error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fault.Caught(s.log, "query", v)
		}
	}()
	for b, err := range s.engine.Query(ctx, q) {
		if err != nil {
			return err
		}
		for piece := range EncodeBatch(b) {
			reply := &enginev1.QueryReply{Batch: piece}
			if fault.Fits(reply, "A row") != nil {
				return apierror.New(apierror.TooLarge, "A row of the result is larger than 32 MiB. Select fewer or shorter columns.")
			}
			if err := send(reply); err != nil {
				return fault.Canceled(err)
			}
		}
	}
	return nil
}
