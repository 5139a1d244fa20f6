package plugintest

import (
	"context"
	"net"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/sallyport-gateway/sallyport/sdk/boot"
)

// Conn starts a gRPC server with what register puts on it, in this process,
// and connects to it. Both end with the test. The server is returned for
// tests in which it dies.
func Conn(t testing.TB, register func(s *grpc.Server)) (*grpc.ClientConn, *grpc.Server) {
	t.Helper()
	l := bufconn.Listen(256 << 10)
	s := grpc.NewServer(grpc.MaxRecvMsgSize(boot.MaxMessage), grpc.MaxSendMsgSize(boot.MaxMessage))
	register(s)
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	conn, err := grpc.NewClient("passthrough:///plugin",
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatalf("connect to the plugin: %v", err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Errorf("close the connection: %v", err)
		}
		s.Stop()
		if err := <-served; err != nil {
			t.Errorf("serve the plugin: %v", err)
		}
	})
	return conn, s
}
