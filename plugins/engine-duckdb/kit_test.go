//go:build cgo

package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/sallyport-gateway/sallyport/sdk/boot"
	"github.com/sallyport-gateway/sallyport/sdk/engine"
	"github.com/sallyport-gateway/sallyport/sdk/plugintest"
)

// The checks that every engine has to pass, behind gRPC.
func TestKit(t *testing.T) {
	plugintest.Engine(t, testEngine(t, config{}), plugintest.EngineOptions{Manifest: manifest, Slow: engine.Query{SQL: endless}})
}

// The program itself: it describes itself, and its children are its own.
func TestProgram(t *testing.T) {
	t.Parallel()
	bin := program(t)
	out, err := exec.Command(bin, "describe").Output()
	if want := `{"kind":"engine","protocol":1,"manifest":` + string(mustJSON(t, manifest)) + "}\n"; err != nil || string(out) != want {
		t.Errorf("describe: %s, %v, want %s", out, err, want)
	}
	if out, err := exec.Command(bin, childArg).CombinedOutput(); err == nil {
		t.Errorf("a child started by hand: %s, want an error", out)
	}

	// As the gateway runs it.
	host := goplugin.NewClient(&goplugin.ClientConfig{
		HandshakeConfig: boot.Handshake(), VersionedPlugins: map[int]goplugin.PluginSet{boot.Protocol: {"engine": grpcPlugin{}}},
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC}, Cmd: exec.Command(bin), Logger: hclog.NewNullLogger(),
	})
	defer host.Kill()
	client, err := host.Client()
	if err != nil {
		t.Fatal(err)
	}
	conn, err := client.Dispense("engine")
	if err != nil {
		t.Fatal(err)
	}
	e := engine.NewClient(conn.(*grpc.ClientConn))
	rel := reviews(t, t.TempDir())
	for range 2 {
		got, err := all(t.Context(), e, engine.Query{SQL: "SELECT count(*) FROM main.sales.reviews", Relations: []engine.Relation{rel}})
		if err != nil || rows(got) != "[1000]" {
			t.Errorf("rows %s, %v, want [1000]", rows(got), err)
		}
	}
	if got, err := e.Inspect(t.Context(), "SELECT * FROM x"); err != nil || got.Kind != "select" {
		t.Errorf("Inspect: %+v, %v", got, err)
	}
	// Gone in whatever way, it takes its children along.
	before := programs(t, bin)
	if before < 2 {
		t.Errorf("%d processes of the plugin, want itself and its spare child", before)
	}
	pid, err := strconv.Atoi(host.ID())
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for programs(t, bin) > 0 {
		time.Sleep(time.Millisecond)
	}
}

// program is the plugin as a file that no other test runs. `make test` builds it
// first and says so in SALLYPORT_BUILT.
func program(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "engine-duckdb")
	if os.Getenv("SALLYPORT_BUILT") == "" {
		if out, err := exec.Command("go", "build", "-o", bin, ".").CombinedOutput(); err != nil {
			t.Fatalf("build: %v\n%s", err, out)
		}
		return bin
	}
	b, err := os.ReadFile("../../bin/plugins/engine-duckdb")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(bin, b, 0o700); err != nil {
		t.Fatal(err)
	}
	return bin
}

// programs counts the processes that run the file bin.
func programs(t *testing.T, bin string) int {
	t.Helper()
	exes, err := filepath.Glob("/proc/[0-9]*/exe")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, exe := range exes {
		if target, err := os.Readlink(exe); err == nil && target == bin {
			n++
		}
	}
	return n
}

// grpcPlugin hands out the connection.
type grpcPlugin struct {
	goplugin.NetRPCUnsupportedPlugin
}

func (grpcPlugin) GRPCServer(*goplugin.GRPCBroker, *grpc.Server) error { return nil }

func (grpcPlugin) GRPCClient(_ context.Context, _ *goplugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return conn, nil
}
