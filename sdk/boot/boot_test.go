package boot

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	basev1 "github.com/sallyport-gateway/sallyport/sdk/proto/base/v1"
)

// roleEnv makes the test binary a plugin, or the parent of one.
const roleEnv = "BOOT_TEST_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(roleEnv) {
	case "plugin":
		os.Args = append([]string{"/somewhere/tool-demo"}, os.Args[1:]...)
		early := os.Stdout // as a logger made in a package variable has it
		Run(Plugin{
			Kind: Tool, Manifest: map[string]string{"type": "demo"},
			Register: func(*grpc.Server) error {
				fmt.Fprintln(early, "printed early")
				log.Print("through log")
				slog.Info("through slog", "n", 1)
				return nil
			},
			Configure: func(_ context.Context, s json.RawMessage) error {
				if strings.Contains(string(s), "bad") {
					return errors.New("bad is no setting")
				}
				return nil
			},
			Close: func() { fmt.Fprintln(os.NewFile(2, "stderr"), "closed") },
		})
		os.Exit(0)
	case "bare":
		os.Args[0] = "tool-bare"
		Main(Tool, nil, nil)
		os.Exit(0)
	case "parent":
		cmd := pluginCommand("plugin", os.Getenv("BOOT_TEST_DIR"))
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		line, _ := bufio.NewReader(out).ReadString('\n')
		fmt.Println(cmd.Process.Pid, line)
		select {}
	}
	os.Exit(m.Run())
}

// pluginCommand runs this test binary as a plugin, the way the gateway would.
func pluginCommand(role, dir string, args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = []string{
		roleEnv + "=" + role, cookieKey + "=" + cookieValue, "PLUGIN_PROTOCOL_VERSIONS=1",
		"PLUGIN_UNIX_SOCKET_DIR=" + dir, EnvHostPID + "=" + strconv.Itoa(os.Getpid()),
	}
	return cmd
}

// running is a plugin process under test.
type running struct {
	cmd    *exec.Cmd
	stderr *bytes.Buffer
	conn   *grpc.ClientConn
	dir    string
}

func startPlugin(t *testing.T, role string) *running {
	t.Helper()
	dir, err := os.MkdirTemp("", "boot")
	if err != nil {
		t.Fatal(err)
	}
	r := &running{cmd: pluginCommand(role, dir), stderr: new(bytes.Buffer), dir: dir}
	r.cmd.Stderr = r.stderr
	out, err := r.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r.cmd.Process.Kill()
		r.cmd.Wait()
		os.RemoveAll(dir)
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	parts := strings.Split(strings.TrimSpace(line), "|")
	if err != nil || len(parts) < 5 || parts[0] != "1" || parts[1] != "1" || parts[2] != "unix" || parts[4] != "grpc" {
		t.Fatalf("first line on stdout is %q, %v, want the handshake", line, err)
	}
	r.conn, err = grpc.NewClient("passthrough:plugin", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", parts[3])
		}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.conn.Close() })
	return r
}

func (r *running) healthy(t *testing.T) {
	t.Helper()
	_, err := grpc_health_v1.NewHealthClient(r.conn).Check(t.Context(), &grpc_health_v1.HealthCheckRequest{Service: "plugin"})
	if err != nil {
		t.Fatalf("health: %v", err)
	}
}

func sockets(t *testing.T, dir string) int {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func TestDescribe(t *testing.T) {
	t.Parallel()
	cmd := exec.Command(os.Args[0], "describe") // no cookie
	cmd.Env = []string{roleEnv + "=plugin"}
	out, err := cmd.Output()
	if want := `{"kind":"tool","protocol":1,"manifest":{"type":"demo"}}` + "\n"; string(out) != want || err != nil {
		t.Errorf("describe printed %q, %v, want %q", out, err, want)
	}
	var stdout, stderr bytes.Buffer
	code := Plugin{Kind: Tool, Manifest: make(chan int)}.run([]string{"x", "describe"}, os.Getenv, &stdout, &stderr)
	if code != 1 || stdout.Len() != 0 || !strings.Contains(stderr.String(), "manifest") {
		t.Errorf("a manifest that is not JSON: code %d, %q", code, stderr.String())
	}
}

func TestByHandItSaysWhatItIs(t *testing.T) {
	t.Parallel()
	var stdout, stderr bytes.Buffer
	noEnv := func(string) string { return "" }
	code := Plugin{Kind: Provider}.run([]string{"/bin/provider-acme"}, noEnv, &stdout, &stderr)
	want := "provider-acme is a provider plugin of the Sallyport gateway, which starts it by itself.\n" +
		"Check it with `sallyport plugin test PATH`, add it with `sallyport plugin add PATH`.\n" +
		"`provider-acme describe` prints what it offers.\n"
	if code != 2 || stdout.Len() != 0 || stderr.String() != want {
		t.Errorf("code %d, stdout %q, stderr:\n%s", code, stdout.String(), stderr.String())
	}
}

func TestPrintsDoNotBreakTheHandshake(t *testing.T) {
	t.Parallel()
	r := startPlugin(t, "plugin")
	r.healthy(t)
	r.cmd.Process.Signal(syscall.SIGTERM)
	if err := r.cmd.Wait(); err != nil {
		t.Errorf("after SIGTERM: %v", err)
	}
	said := r.stderr.String()
	for _, want := range []string{
		`"@level":"warn","@message":"plugin printed to stdout; log to stderr instead","line":"printed early"`,
		`"@level":"info","@message":"through log"`,
		`"@level":"info","@message":"through slog","n":1`,
		"closed\n",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("stderr lacks %s:\n%s", want, said)
		}
	}
	if n := sockets(t, r.dir); n != 0 {
		t.Errorf("%d socket files are left", n)
	}
}

func TestInterruptIsTheGatewaysAffair(t *testing.T) {
	t.Parallel()
	r := startPlugin(t, "plugin")
	for range 3 {
		r.cmd.Process.Signal(syscall.SIGINT)
	}
	r.healthy(t)
}

func TestConfigure(t *testing.T) {
	t.Parallel()
	tests := []struct {
		role, settings string
		code           codes.Code
	}{
		{"plugin", ``, codes.OK}, {"plugin", `{"good":1}`, codes.OK}, {"plugin", `{"bad":1}`, codes.InvalidArgument},
		{"bare", ``, codes.OK}, {"bare", `{}`, codes.OK}, {"bare", `{"good":1}`, codes.InvalidArgument},
	}
	plugins := map[string]*running{"plugin": startPlugin(t, "plugin"), "bare": startPlugin(t, "bare")}
	for _, tt := range tests {
		_, err := basev1.NewBaseClient(plugins[tt.role].conn).Configure(t.Context(), &basev1.ConfigureRequest{Json: []byte(tt.settings)})
		if status.Code(err) != tt.code {
			t.Errorf("Configure(%s, %s): %v, want %s", tt.role, tt.settings, err, tt.code)
		}
	}
	if _, err := basev1.NewBaseClient(plugins["bare"].conn).Drain(t.Context(), &basev1.DrainRequest{}); err != nil {
		t.Errorf("Drain: %v", err)
	}
}

func TestEndsWhenItsParentIsGone(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "boot")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	parent := exec.Command(os.Args[0])
	parent.Env = []string{roleEnv + "=parent", "BOOT_TEST_DIR=" + dir}
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	line, _ := bufio.NewReader(out).ReadString('\n')
	pid, err := strconv.Atoi(strings.Fields(line + " x")[0])
	if err != nil || !strings.Contains(line, "|grpc|") {
		parent.Process.Kill()
		parent.Wait()
		t.Fatalf("the parent said %q", line)
	}
	if n := sockets(t, dir); n != 1 {
		t.Errorf("%d sockets, want 1", n)
	}
	parent.Process.Kill()
	io.Copy(io.Discard, out)
	parent.Wait()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(filepath.Join("/proc", strconv.Itoa(pid), "fd", "0")); err != nil {
			break
		}
		if time.Now().After(deadline) {
			syscall.Kill(pid, syscall.SIGKILL)
			t.Fatal("the plugin outlived its parent")
		}
	}
	if n := sockets(t, dir); n != 0 {
		t.Errorf("%d socket files are left", n)
	}
}
