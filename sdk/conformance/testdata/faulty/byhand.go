package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/sallyport-gateway/sallyport/sdk/boot"
	toolv1 "github.com/sallyport-gateway/sallyport/sdk/proto/tool/v1"
	"github.com/sallyport-gateway/sallyport/sdk/tool"
)

// serveByHand is a plugin without the sdk's server, for faults that the sdk
// does not let an author make.
func serveByHand(m tool.Manifest) {
	if len(os.Args) == 2 {
		manifest, _ := json.Marshal(m) // of strings
		line, _ := json.Marshal(boot.Description{Kind: boot.Tool, Protocol: boot.Protocol, Manifest: manifest})
		fmt.Println(string(line))
		return
	}
	if h := boot.Handshake(); os.Getenv(h.MagicCookieKey) != h.MagicCookieValue {
		fmt.Fprintln(os.Stderr, "a plugin of the Sallyport gateway")
		os.Exit(2)
	}
	signal.Ignore(syscall.SIGINT)
	path := filepath.Join(os.Getenv("PLUGIN_UNIX_SOCKET_DIR"), "plugin.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		panic(err)
	}
	s := grpc.NewServer(grpc.MaxRecvMsgSize(boot.MaxMessage))
	hs := health.NewServer()
	state := grpc_health_v1.HealthCheckResponse_SERVING
	if fault == "wrong-health" {
		state = grpc_health_v1.HealthCheckResponse_NOT_SERVING
	}
	hs.SetServingStatus("plugin", state)
	grpc_health_v1.RegisterHealthServer(s, hs)
	toolv1.RegisterToolServer(s, byHand{})
	s.RegisterService(&grpc.ServiceDesc{ServiceName: "plugin.GRPCController", HandlerType: (*any)(nil), Methods: []grpc.MethodDesc{{
		MethodName: "Shutdown",
		Handler: func(any, context.Context, func(any) error, grpc.UnaryServerInterceptor) (any, error) {
			go s.Stop()
			return &emptypb.Empty{}, nil
		},
	}}}, struct{}{})
	fmt.Printf("1|1|unix|%s|grpc|\n", path)
	if err := s.Serve(l); err != nil {
		panic(err)
	}
}

// byHand is a tool of one function.
type byHand struct{ toolv1.UnimplementedToolServer }

func (byHand) Open(st grpc.BidiStreamingServer[toolv1.ToPlugin, toolv1.ToGateway]) error {
	first, err := st.Recv()
	if err != nil {
		return err
	}
	if err := strict(first); err != nil {
		return err
	}
	var fs []*toolv1.Function
	for _, d := range first.GetOpen().GetDeclarations() {
		fs = append(fs, &toolv1.Function{Declaration: d.GetIndex(), Name: "now", Description: "Tells nothing.", Parameters: []byte(`{"type":"object","additionalProperties":false}`)})
	}
	return end(st, &toolv1.ToGateway{Frame: &toolv1.ToGateway_Opened{Opened: &toolv1.Opened{Functions: fs}}})
}

func (byHand) Call(st grpc.BidiStreamingServer[toolv1.ToPlugin, toolv1.ToGateway]) error {
	first, err := st.Recv()
	if err != nil {
		return err
	}
	if err := strict(first); err != nil {
		return err
	}
	var m map[string]any
	d := json.NewDecoder(bytes.NewReader(first.GetCall().GetArguments()))
	r := &toolv1.Result{Content: []*toolv1.Content{{Type: "text", Text: "Nothing."}}}
	if d.Decode(&m) != nil || d.More() || m == nil || len(m) > 0 || first.GetCall().GetFunction() != "now" {
		r = &toolv1.Result{IsError: true, Content: []*toolv1.Content{{Type: "text", Text: "Call now without arguments."}}}
	}
	return end(st, &toolv1.ToGateway{Frame: &toolv1.ToGateway_Result{Result: r}})
}

// strict has the fault of refusing what is new.
func strict(f *toolv1.ToPlugin) error {
	if fault != "refuses-unknown-fields" {
		return nil
	}
	if len(f.ProtoReflect().GetUnknown())+len(f.GetOpen().ProtoReflect().GetUnknown())+len(f.GetCall().ProtoReflect().GetUnknown()) > 0 {
		return status.Error(codes.InvalidArgument, "unknown field")
	}
	return nil
}

// end sends the last frame, and has the fault of going on after it.
func end(st grpc.BidiStreamingServer[toolv1.ToPlugin, toolv1.ToGateway], last *toolv1.ToGateway) error {
	if err := st.Send(last); err != nil {
		return err
	}
	if fault != "host-after-end" {
		return nil
	}
	return st.Send(&toolv1.ToGateway{Frame: &toolv1.ToGateway_Host{Host: &toolv1.HostCall{Id: 1, Call: &toolv1.HostCall_Progress{Progress: &toolv1.ProgressCall{Message: "still here"}}}}})
}
