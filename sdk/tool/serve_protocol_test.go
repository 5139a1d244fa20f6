package tool_test

import (
	"context"
	"io"
	"log/slog"
	"testing"
	"testing/synctest"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/plugintest"
	toolv1 "github.com/sallyport-gateway/sallyport/sdk/proto/tool/v1"
	"github.com/sallyport-gateway/sallyport/sdk/tool"
)

// foreign is a plugin that speaks the protocol by itself, as one in another
// language does.
type foreign struct {
	toolv1.UnimplementedToolServer
	call func(st grpc.BidiStreamingServer[toolv1.ToPlugin, toolv1.ToGateway]) error
}

func (f *foreign) Call(st grpc.BidiStreamingServer[toolv1.ToPlugin, toolv1.ToGateway]) error {
	if _, err := st.Recv(); err != nil {
		return err
	}
	return f.call(st)
}

func object(id uint64) *toolv1.ToGateway {
	return &toolv1.ToGateway{Frame: &toolv1.ToGateway_Host{Host: &toolv1.HostCall{Id: id, Call: &toolv1.HostCall_Object{Object: &toolv1.ObjectCall{}}}}}
}

func result(text string) *toolv1.ToGateway {
	return &toolv1.ToGateway{Frame: &toolv1.ToGateway_Result{Result: &toolv1.Result{Content: []*toolv1.Content{{Type: "text", Text: text}}}}}
}

// newer is m as a later version of the protocol would send it.
func newer[M proto.Message](m M) M {
	m.ProtoReflect().SetUnknown(protowire.AppendString(protowire.AppendTag(nil, 9999, protowire.BytesType), "new"))
	return m
}

func TestForeignPlugins(t *testing.T) {
	t.Parallel()
	waiting := tool.Service{Object: func(ctx context.Context, _, _ string) (tool.Object, error) {
		<-ctx.Done()
		return tool.Object{}, ctx.Err()
	}}
	tests := []struct {
		name string
		call func(st grpc.BidiStreamingServer[toolv1.ToPlugin, toolv1.ToGateway]) error
		code apierror.Code // "" when the call succeeds
	}{
		{name: "ends its stream after the answer", call: func(st grpc.BidiStreamingServer[toolv1.ToPlugin, toolv1.ToGateway]) error {
			return st.Send(result("done"))
		}},
		{name: "leaves its stream open after the answer", call: func(st grpc.BidiStreamingServer[toolv1.ToPlugin, toolv1.ToGateway]) error {
			_ = st.Send(result("done"))
			_, err := st.Recv()
			return err
		}},
		{name: "frames and fields from the future", call: func(st grpc.BidiStreamingServer[toolv1.ToPlugin, toolv1.ToGateway]) error {
			_ = st.Send(newer(&toolv1.ToGateway{}))
			_ = st.Send(&toolv1.ToGateway{Frame: &toolv1.ToGateway_Host{Host: newer(&toolv1.HostCall{Id: 1})}})
			f, err := st.Recv()
			if err != nil {
				return err
			}
			var e apierror.Error
			if err := e.UnmarshalJSON(f.GetEnd().GetError()); err != nil || e.Code != apierror.Unsupported {
				return st.Send(&toolv1.ToGateway{Frame: &toolv1.ToGateway_Error{Error: []byte(`{"code":"conflict"}`)}})
			}
			return st.Send(newer(result("done")))
		}},
		{name: "credit and cancel of nothing", call: func(st grpc.BidiStreamingServer[toolv1.ToPlugin, toolv1.ToGateway]) error {
			_ = st.Send(&toolv1.ToGateway{Frame: &toolv1.ToGateway_Credit{Credit: &toolv1.HostCredit{Id: 7, Cost: -1}}})
			_ = st.Send(&toolv1.ToGateway{Frame: &toolv1.ToGateway_Cancel{Cancel: &toolv1.HostCancel{Id: 7}}})
			return st.Send(result("done"))
		}},
		{name: "cancel is confirmed by an end", call: func(st grpc.BidiStreamingServer[toolv1.ToPlugin, toolv1.ToGateway]) error {
			_ = st.Send(object(3))
			_ = st.Send(&toolv1.ToGateway{Frame: &toolv1.ToGateway_Cancel{Cancel: &toolv1.HostCancel{Id: 3}}})
			if f, err := st.Recv(); err != nil || f.GetEnd().GetId() != 3 {
				return err
			}
			return st.Send(result("done"))
		}},
		{name: "no answer", code: apierror.Internal, call: func(grpc.BidiStreamingServer[toolv1.ToPlugin, toolv1.ToGateway]) error { return nil }},
		{name: "answer to the other method", code: apierror.Internal, call: func(st grpc.BidiStreamingServer[toolv1.ToPlugin, toolv1.ToGateway]) error {
			return st.Send(&toolv1.ToGateway{Frame: &toolv1.ToGateway_Opened{Opened: &toolv1.Opened{}}})
		}},
		{name: "error that is no JSON", code: apierror.Internal, call: func(st grpc.BidiStreamingServer[toolv1.ToPlugin, toolv1.ToGateway]) error {
			return st.Send(&toolv1.ToGateway{Frame: &toolv1.ToGateway_Error{Error: []byte("oh")}})
		}},
		{name: "code outside the list", code: apierror.Internal, call: func(st grpc.BidiStreamingServer[toolv1.ToPlugin, toolv1.ToGateway]) error {
			return st.Send(&toolv1.ToGateway{Frame: &toolv1.ToGateway_Error{Error: []byte(`{"code":"new"}`)}})
		}},
		{name: "one id twice", code: apierror.Internal, call: func(st grpc.BidiStreamingServer[toolv1.ToPlugin, toolv1.ToGateway]) error {
			_ = st.Send(object(1))
			_ = st.Send(object(1))
			<-st.Context().Done()
			return nil
		}},
		{name: "too many Host calls", code: apierror.Internal, call: func(st grpc.BidiStreamingServer[toolv1.ToPlugin, toolv1.ToGateway]) error {
			for id := range uint64(33) {
				_ = st.Send(object(id))
			}
			<-st.Context().Done()
			return nil
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			conn, _ := plugintest.Conn(t, func(s *grpc.Server) { toolv1.RegisterToolServer(s, &foreign{call: tt.call}) })
			got, err := tool.NewClient(conn).Call(t.Context(), tool.Call{}, tool.NewHost(waiting))
			if apierror.CodeOf(err) != tt.code {
				t.Fatalf("err = %v, want code %q", err, tt.code)
			}
			if tt.code == "" && (len(got.Content) != 1 || got.Content[0].Text != "done") {
				t.Errorf("Call = %+v, want done", got)
			}
		})
	}
}

func TestPluginWithoutTheProtocolIsUnavailable(t *testing.T) {
	t.Parallel()
	conn, _ := plugintest.Conn(t, func(*grpc.Server) {})
	if _, err := tool.NewClient(conn).Open(t.Context(), nil, nil); !apierror.Is(err, apierror.Unavailable) {
		t.Errorf("err = %v, want unavailable", err)
	}
}

func TestGatewayFromTheFuture(t *testing.T) {
	t.Parallel()
	conn, _ := plugintest.Conn(t, func(s *grpc.Server) {
		tool.Register(s, calls(func(ctx context.Context, c tool.Call, h *tool.Host) (tool.Result, error) {
			o, err := h.Object(ctx, "table", "x")
			return tool.Text(c.Function + " " + o.Name), err
		}), slog.New(slog.DiscardHandler))
	})
	st, err := toolv1.NewToolClient(conn).Call(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	send := func(f *toolv1.ToPlugin) {
		t.Helper()
		if err := st.Send(newer(f)); err != nil {
			t.Fatal(err)
		}
	}
	send(&toolv1.ToPlugin{Frame: &toolv1.ToPlugin_Call{Call: newer(&toolv1.CallRequest{Function: "f"})}})
	f, err := st.Recv()
	if err != nil {
		t.Fatal(err)
	}
	id := f.GetHost().GetId()
	send(&toolv1.ToPlugin{})                                                                       // a frame we do not know
	send(&toolv1.ToPlugin{Frame: &toolv1.ToPlugin_End{End: &toolv1.HostEnd{Id: id + 1}}})          // of a call never made
	send(&toolv1.ToPlugin{Frame: &toolv1.ToPlugin_Piece{Piece: newer(&toolv1.HostPiece{Id: id})}}) // a piece nobody asked for
	send(&toolv1.ToPlugin{Frame: &toolv1.ToPlugin_End{End: &toolv1.HostEnd{Id: id, Answer: &toolv1.HostEnd_Object{Object: newer(&toolv1.Object{Name: "o"})}}}})
	f, err = st.Recv()
	if err != nil || f.GetResult().GetContent()[0].GetText() != "f o" {
		t.Errorf("last frame = %v, %v; want the text f o", f, err)
	}
	if err := st.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := st.Recv(); err != io.EOF {
		t.Errorf("after the gateway closed: %v, want EOF", err)
	}
}

// A bubble ends only when all its goroutines have: those of both adapters, of
// calls that were left early, and of a Host that outlived its call.
func TestNoGoroutineStays(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		stopped := make(chan struct{})
		c := connect(t, calls(func(ctx context.Context, c tool.Call, h *tool.Host) (tool.Result, error) {
			go func() { _, _ = h.Exec(context.WithoutCancel(ctx), tool.Program{}) }()
			for _, err := range h.Query(ctx, tool.Query{}) {
				if c.Function == "stop" || err != nil {
					break
				}
			}
			return tool.Text("done"), ctx.Err()
		}))
		h := tool.NewHost(tool.Service{
			Query: endless(nil, stopped),
			Exec: func(ctx context.Context, _ tool.Program) (tool.Output, error) {
				<-ctx.Done()
				return tool.Output{}, ctx.Err()
			},
		})
		if _, err := c.Call(t.Context(), tool.Call{Function: "stop"}, h); err != nil {
			t.Errorf("left by the author: %v", err)
		}
		<-stopped
		stopped = make(chan struct{})
		h = tool.NewHost(tool.Service{Query: endless(nil, stopped)})
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			synctest.Wait() // until everybody waits: for ever, if nobody cancels
			cancel()
		}()
		c2 := connect(t, calls(func(ctx context.Context, _ tool.Call, _ *tool.Host) (tool.Result, error) {
			<-ctx.Done()
			return tool.Result{}, ctx.Err()
		}))
		if _, err := c2.Call(ctx, tool.Call{}, h); !apierror.Is(err, apierror.Canceled) {
			t.Errorf("left by the gateway: %v, want canceled", err)
		}
	})
}
