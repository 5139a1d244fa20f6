package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sallyport-gateway/sallyport/core/pluginlock"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

// built and launcher are the paths of the test plugin, see testdata/plugin, and
// of the program that confines it; both are built once.
var built, launcher string

// hostileEnv names, in a test process that was started for hostile plugins, the
// directory with the programs that the first one built.
const hostileEnv = "PLUGINHOST_TEST_HOSTILE"

func TestMain(m *testing.M) {
	if os.Getenv(gatewayEnv) != "" {
		gateway()
	}
	if dir := os.Getenv(hostileEnv); dir != "" { // built by the process that started this one
		built, launcher = filepath.Join(dir, "plugin"), filepath.Join(dir, launcherName)
		os.Exit(m.Run())
	}
	code := 1
	dir, err := os.MkdirTemp("", "pluginhost-test-")
	if err == nil {
		built, launcher = filepath.Join(dir, "plugin"), filepath.Join(dir, "sallyport-confine")
		err = errors.Join(build(built, "./testdata/plugin"), build(launcher, "../cmd/sallyport-confine"))
	}
	if err == nil {
		code = m.Run()
	} else {
		fmt.Fprintln(os.Stderr, err)
	}
	os.RemoveAll(dir)
	os.Exit(code)
}

func build(to, dir string) error {
	cmd := exec.Command("go", "build", "-o", to, dir)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", dir, err, out)
	}
	return nil
}

// plugins makes a plugin directory with the test plugin under the given names,
// all of them added.
func plugins(t testing.TB, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, n := range names {
		if err := os.Symlink(built, filepath.Join(dir, n)); err != nil {
			t.Fatal(err)
		}
	}
	add(t, dir, names...)
	return dir
}

// add puts files of a plugin directory into its list, as the operator does.
func add(t testing.TB, dir string, names ...string) {
	t.Helper()
	var entries []pluginlock.Plugin
	for _, n := range names {
		c, err := Find(filepath.Join(dir, n), "")
		if err == nil {
			_, err = c.Describe(t.Context(), Config{Launcher: launcher}, slog.New(slog.DiscardHandler))
		}
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, c.Entry)
	}
	err := pluginlock.Update(dir, func(l *pluginlock.Lock) error {
		for _, e := range entries {
			l.Put(e)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// write makes a plugin file of its own, not a link to the common one, and adds
// it.
func write(t testing.TB, dir, name string, b []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, b, 0o755); err != nil {
		t.Fatal(err)
	}
	add(t, dir, name)
	return path
}

// content is the content of the test plugin.
func content(t testing.TB) []byte {
	t.Helper()
	b, err := os.ReadFile(built)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// records is a log handler that keeps what it is given.
type records struct {
	mu  sync.Mutex
	all []string
}

func (r *records) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, string(p))
	return len(p), nil
}

func (r *records) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.all, "")
}

// await waits for a line with all of the words.
func (r *records) await(t testing.TB, words ...string) string {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for time.Now().Before(deadline) {
		for line := range strings.Lines(r.String()) {
			found := true
			for _, w := range words {
				found = found && strings.Contains(line, w)
			}
			if found {
				return line
			}
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("no log line with %q in:\n%s", words, r)
	return ""
}

// start makes a host over dir, which is closed at the end of the test.
func start(t testing.TB, cfg Config) (*Host, *records) {
	t.Helper()
	logged := new(records)
	cfg.Launcher = launcher
	h, err := New(cfg, slog.New(slog.NewTextHandler(logged, &slog.HandlerOptions{Level: slog.LevelDebug})))
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := h.Close(ctx); err != nil {
			t.Errorf("Close: %v", err)
		}
		if _, err := os.Stat(h.run.path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("run directory after Close: %v, want none", err)
		}
	})
	return h, logged
}

func translator(t testing.TB, h *Host, name string) provider.Translator {
	t.Helper()
	tr, m, ok := h.Translator(name)
	if !ok || m.Name != name || m.Version != "1.2.3" {
		t.Fatalf("Translator(%q) = %+v, %t", name, m, ok)
	}
	return tr
}

func turn(model string) provider.Turn {
	return provider.Turn{Op: provider.Generate, Model: model, Request: &openresponses.Request{
		Model: model, Input: []openresponses.Item{openresponses.Text("user", "hello")},
	}}
}

// ask runs one exchange with a reply of the given pieces.
func ask(ctx context.Context, tr provider.Translator, model string, pieces ...string) (text string, err error) {
	ex, err := tr.Begin(ctx, turn(model))
	if err != nil {
		return "", err
	}
	return decode(ctx, ex, strings.NewReader(sse(pieces...)))
}

func sse(pieces ...string) string {
	var b strings.Builder
	for _, p := range pieces {
		fmt.Fprintf(&b, "data: {\"t\":\"%s\"}\n\n", p)
	}
	return b.String()
}

func decode(ctx context.Context, ex provider.Exchange, body io.Reader) (string, error) {
	var text strings.Builder
	terminal := false
	for ev, err := range ex.Decode(ctx, provider.Reply{Status: 200, Body: body}) {
		if err != nil {
			return text.String(), err
		}
		if ev.Type == openresponses.EventTextDelta {
			text.WriteString(ev.Delta)
		}
		terminal = ev.IsTerminal()
	}
	if !terminal {
		return text.String(), errors.New("stream ended without a terminal event")
	}
	return text.String(), nil
}

func info(t testing.TB, h *Host, name string) Info {
	t.Helper()
	for _, i := range h.Plugins() {
		if i.Name == name {
			return i
		}
	}
	t.Fatalf("no plugin %q in %+v", name, h.Plugins())
	return Info{}
}

func TestProviderIsStartedWhenFirstUsed(t *testing.T) {
	t.Parallel()
	h, _ := start(t, Config{Dirs: []string{plugins(t, "provider-echo")}})
	if i := info(t, h, "echo"); i.State != Idle || i.PID != 0 || i.Version != "1.2.3" || i.Kind != "provider" {
		t.Errorf("before use: %+v, want idle", i)
	}
	got, err := ask(t.Context(), translator(t, h, "echo"), "m", "one ", "two")
	if got != "one two" || err != nil {
		t.Errorf("exchange = %q, %v", got, err)
	}
	if i := info(t, h, "echo"); i.State != Running || i.PID == 0 || i.InFlight != 0 {
		t.Errorf("after use: %+v, want running", i)
	}
	if _, _, ok := h.Translator("other"); ok {
		t.Error("Translator of a name that no plugin has: ok")
	}
}

func TestConcurrentFirstUsesStartOneProcess(t *testing.T) {
	t.Parallel()
	h, logged := start(t, Config{Dirs: []string{plugins(t, "provider-echo")}})
	tr := translator(t, h, "echo")
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			var pieces []string
			for k := range 200 {
				pieces = append(pieces, fmt.Sprintf("%d.%d ", i, k))
			}
			got, err := ask(t.Context(), tr, "m", pieces...)
			if want := strings.Join(pieces, ""); got != want || err != nil {
				t.Errorf("stream %d: %d bytes, %v, want %d", i, len(got), err, len(want))
			}
		})
	}
	wg.Wait()
	if n := strings.Count(logged.String(), "plugin started"); n != 1 {
		t.Errorf("%d processes were started, want 1", n)
	}
}

func TestFailedStartSaysWhy(t *testing.T) {
	t.Parallel()
	dir := plugins(t, "provider-exits", "provider-prints", "provider-hangs", "provider-version", "provider-panics")
	h, _ := start(t, Config{Dirs: []string{dir}, StartTimeout: 2 * time.Second})
	tests := map[string]string{
		"exits":   `The plugin "exits" exited with status 3 at once: cannot find my heart.`,
		"prints":  `The plugin "prints" printed "debug" to stdout before the handshake; log to stderr.`,
		"hangs":   `The plugin "hangs" did not finish its handshake in 2s; the last it said was: thinking.`,
		"version": `The plugin "version" speaks protocol 2, this gateway speaks 1.`,
		"panics":  `The plugin "panics" exited with status 2 at once: panic: no luck today.`,
	}
	var wg sync.WaitGroup
	for name, want := range tests {
		wg.Go(func() {
			_, err := translator(t, h, name).Begin(t.Context(), turn("m"))
			e, ok := errors.AsType[*apierror.Error](err)
			if !ok || e.Code != apierror.Unavailable || e.Message != want {
				t.Errorf("%s: %v\nwant %s", name, err, want)
			}
		})
	}
	wg.Wait()
	if i := info(t, h, "exits"); i.State != Idle || !strings.Contains(i.LastError, "cannot find my heart") {
		t.Errorf("info after the failed start = %+v", i)
	}
}

// go-plugin takes a certificate in the handshake for one that it asked for,
// and ends the program when it has not.
func TestCertificateInTheHandshake(t *testing.T) {
	t.Parallel()
	h, _ := start(t, Config{Dirs: []string{plugins(t, "provider-certified", "provider-echo")}})
	_, err := translator(t, h, "certified").Begin(t.Context(), turn("m"))
	if !apierror.Is(err, apierror.Unavailable) || strings.Contains(apierror.From(err).Message, h.run.path) {
		t.Errorf("Begin = %v, want unavailable, without the run directory", err)
	}
	if got, err := ask(t.Context(), translator(t, h, "echo"), "m", "fine"); got != "fine" || err != nil {
		t.Errorf("another plugin = %q, %v", got, err)
	}
}

func TestHandshakeForGoPlugin(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"1|1|unix|/a/b|grpc|":             "1|1|unix|/a/b|grpc",
		"1|1|unix|/a/b|grpc|MIIB…|true|x": "1|1|unix|/a/b|grpc",
		"1|1|unix|/a/b":                   "1|1|unix|/a/b",
		"hello":                           "hello",
		"":                                "",
	} {
		if got := handshake(in); got != want {
			t.Errorf("handshake(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestNoBroker(t *testing.T) {
	t.Parallel()
	var opened []string
	open := func(_ context.Context, _ *grpc.StreamDesc, _ *grpc.ClientConn, method string, _ ...grpc.CallOption) (grpc.ClientStream, error) {
		opened = append(opened, method)
		return nil, nil
	}
	if _, err := withoutBroker(t.Context(), nil, nil, "/plugin.GRPCBroker/StartStream", open); status.Code(err) != codes.Unimplemented {
		t.Errorf("the broker's stream: %v, want unimplemented", err)
	}
	if _, err := withoutBroker(t.Context(), nil, nil, "/sallyport.tool.v1.Tool/Call", open); err != nil || len(opened) != 1 {
		t.Errorf("a call: %v, opened %q", err, opened)
	}
}

func TestFileThatCannotRun(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := write(t, dir, "provider-echo", content(t))
	h, _ := start(t, Config{Dirs: []string{dir}})
	if err := os.Chmod(path, 0o644); err != nil { // after it was added
		t.Fatal(err)
	}
	_, err := ask(t.Context(), translator(t, h, "echo"), "m")
	if want := `The plugin "echo" could not be started: ` + path + " is not executable; chmod +x it."; err == nil || apierror.From(err).Message != want {
		t.Errorf("file without x: %v, want %s", err, want)
	}
}

func TestPanicCostsItsExchangeOnly(t *testing.T) {
	t.Parallel()
	h, logged := start(t, Config{Dirs: []string{plugins(t, "provider-echo")}})
	tr := translator(t, h, "echo")
	if _, err := ask(t.Context(), tr, "panic-in-begin"); !apierror.Is(err, apierror.Internal) {
		t.Errorf("panic in Begin: %v, want %s", err, apierror.Internal)
	}
	pid := info(t, h, "echo").PID
	if _, err := ask(t.Context(), tr, "panic-in-decode", "x"); !apierror.Is(err, apierror.Internal) {
		t.Errorf("panic in Decode: %v, want %s", err, apierror.Internal)
	}
	if got, err := ask(t.Context(), tr, "m", "fine"); got != "fine" || err != nil {
		t.Errorf("next exchange = %q, %v", got, err)
	}
	if i := info(t, h, "echo"); i.PID != pid || i.Restarts != 0 {
		t.Errorf("after panics: %+v, want the same process %d", i, pid)
	}
	logged.await(t, "level=ERROR", "translator panicked", "in decode", "plugin=echo", "stack=")
}

func TestCrashInBegin(t *testing.T) {
	t.Parallel()
	h, logged := start(t, Config{Dirs: []string{plugins(t, "provider-echo")}})
	tr := translator(t, h, "echo")
	_, err := ask(t.Context(), tr, "exit-in-begin")
	if want := `The plugin "echo" exited with status 7 in the middle of the request; try again.`; !apierror.Is(err, apierror.Unavailable) || apierror.From(err).Message != want {
		t.Errorf("exit in Begin: %v, want %s", err, want)
	}
	if got, err := ask(t.Context(), tr, "m", "fine"); got != "fine" || err != nil {
		t.Errorf("next exchange = %q, %v", got, err)
	}
	_, err = ask(t.Context(), tr, "crash-in-begin")
	if want := `panic: in a goroutine of its own`; !apierror.Is(err, apierror.Unavailable) || !strings.Contains(err.Error(), want) {
		t.Errorf("crash in Begin: %v, want it to hold %s", err, want)
	}
	logged.await(t, "level=ERROR", "goroutine ", "plugin=echo")
	if got, err := ask(t.Context(), tr, "m", "fine"); got != "fine" || err != nil {
		t.Errorf("next exchange = %q, %v", got, err)
	}
	if i := info(t, h, "echo"); i.Restarts != 2 || !strings.Contains(i.LastError, "status 2") {
		t.Errorf("info = %+v, want 2 restarts", i)
	}
}

func TestKillInMidStream(t *testing.T) {
	t.Parallel()
	h, _ := start(t, Config{Dirs: []string{plugins(t, "provider-echo")}})
	tr := translator(t, h, "echo")
	ex, err := tr.Begin(t.Context(), turn("m"))
	if err != nil {
		t.Fatal(err)
	}
	pr, pw := io.Pipe()
	go io.WriteString(pw, sse("first"))
	var last error
	events := 0
	for ev, err := range ex.Decode(t.Context(), provider.Reply{Status: 200, Body: pr}) {
		last = err
		events++
		if ev.Type == openresponses.EventTextDelta {
			syscall.Kill(info(t, h, "echo").PID, syscall.SIGKILL)
		}
	}
	want := `The plugin "echo" was killed by signal 9 (killed) in the middle of the request; try again.`
	if !apierror.Is(last, apierror.Unavailable) || apierror.From(last).Message != want {
		t.Errorf("stream ended with %v, want %s", last, want)
	}
	if events < 2 {
		t.Errorf("%d events came, want those before the kill too", events)
	}
	begun := time.Now()
	if got, err := ask(t.Context(), tr, "m", "fine"); got != "fine" || err != nil {
		t.Errorf("next exchange = %q, %v", got, err)
	}
	t.Logf("back %s after the kill was seen", time.Since(begun))
	if n := info(t, h, "echo").InFlight; n != 0 {
		t.Errorf("%d in flight, want 0", n)
	}
}

func TestKillAtRestIsNotSeen(t *testing.T) {
	t.Parallel()
	h, logged := start(t, Config{Dirs: []string{plugins(t, "provider-echo")}})
	tr := translator(t, h, "echo")
	for range 3 {
		if got, err := ask(t.Context(), tr, "m", "fine"); got != "fine" || err != nil {
			t.Fatalf("exchange = %q, %v", got, err)
		}
		pid := info(t, h, "echo").PID
		syscall.Kill(pid, syscall.SIGKILL)
		logged.await(t, "plugin ended", fmt.Sprintf("pid=%d ", pid))
	}
}

func TestBreaker(t *testing.T) {
	t.Parallel()
	h, _ := start(t, Config{
		Dirs:    []string{plugins(t, "provider-exits", "provider-echo")},
		Breaker: Breaker{Crashes: 3, Within: time.Minute, Open: time.Hour},
	})
	tr := translator(t, h, "exits")
	for i := range 3 {
		if _, err := tr.Begin(t.Context(), turn("m")); !strings.Contains(fmt.Sprint(err), "exited with status 3") {
			t.Fatalf("start %d: %v", i, err)
		}
	}
	_, err := tr.Begin(t.Context(), turn("m"))
	e, ok := errors.AsType[*apierror.Error](err)
	want := `The plugin "exits" keeps crashing and is not started again for 1h0m0s. Last: plugin "exits" exited with status 3 at once: cannot find my heart`
	if !ok || e.Code != apierror.Unavailable || e.Message != want || e.RetryAfter < 59*time.Minute {
		t.Errorf("with the breaker open: %+v\nwant %s", e, want)
	}
	if i := info(t, h, "exits"); i.State != Broken || i.RetryIn < 59*time.Minute {
		t.Errorf("info = %+v, want broken", i)
	}
	if got, err := ask(t.Context(), translator(t, h, "echo"), "m", "fine"); got != "fine" || err != nil {
		t.Errorf("another plugin meanwhile = %q, %v", got, err)
	}
}

func TestHangingCallEndsWithItsContext(t *testing.T) {
	t.Parallel()
	h, _ := start(t, Config{Dirs: []string{plugins(t, "provider-echo")}})
	tr := translator(t, h, "echo")
	ask(t.Context(), tr, "m")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := tr.Begin(ctx, turn("hang-in-begin")); !apierror.Is(err, apierror.Canceled) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("hanging Begin: %v, want %s", err, apierror.Canceled)
	}
	if n := info(t, h, "echo").InFlight; n != 0 {
		t.Errorf("%d in flight, want 0", n)
	}
}

func TestStoppedProcessIsKilledByItsHealthCheck(t *testing.T) {
	t.Parallel()
	h, logged := start(t, Config{Dirs: []string{plugins(t, "provider-echo")}, HealthEvery: time.Second}) // three seconds without an answer: more than a busy machine takes
	tr := translator(t, h, "echo")
	ask(t.Context(), tr, "m")
	freeze(t, info(t, h, "echo").PID)
	logged.await(t, "plugin ended", "signal 9")
	if got, err := ask(t.Context(), tr, "m", "fine"); got != "fine" || err != nil {
		t.Errorf("next exchange = %q, %v", got, err)
	}
}

func TestEnvironmentIsScrubbed(t *testing.T) {
	t.Setenv("SALLYPORT_CANARY_KEY", "canary-3f9a")
	h, _ := start(t, Config{Dirs: []string{plugins(t, "provider-echo")}})
	tr := translator(t, h, "echo")
	ex, err := tr.Begin(t.Context(), turn("environ"))
	if err != nil {
		t.Fatal(err)
	}
	proc, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", info(t, h, "echo").PID))
	if err != nil {
		t.Fatal(err)
	}
	for _, env := range []string{string(ex.Upstream().Body), strings.ReplaceAll(string(proc), "\x00", "\n")} {
		if strings.Contains(env, "canary") || strings.Contains(env, "CANARY") {
			t.Errorf("the gateway's secret is in the plugin's environment:\n%s", env)
		}
		for line := range strings.Lines(env) {
			name, _, _ := strings.Cut(line, "=")
			switch {
			case strings.HasPrefix(name, "PLUGIN_"), strings.HasPrefix(name, "SALLYPORT_"), name == "TMPDIR", strings.TrimSpace(name) == "":
			default:
				if !contains(passed, name) {
					t.Errorf("variable %s reached the plugin", name)
				}
			}
		}
	}
	ex.(io.Closer).Close()
	if ex, err = tr.Begin(t.Context(), turn("stdin")); err != nil || len(ex.Upstream().Body) != 0 {
		t.Errorf("stdin: %v, want it empty", err)
	}
	ex.(io.Closer).Close()
}

func contains(list []string, s string) bool {
	for _, l := range list {
		if l == s {
			return true
		}
	}
	return false
}

func TestLogs(t *testing.T) {
	t.Parallel()
	h, logged := start(t, Config{Dirs: []string{plugins(t, "provider-chatty")}})
	tr := translator(t, h, "chatty")
	ask(t.Context(), tr, "print")
	logged.await(t, "level=WARN", "msg=structured", "answer=42", "plugin=chatty")
	logged.await(t, "level=DEBUG", `msg="plain line"`, "plugin=chatty")
	logged.await(t, "level=DEBUG", `@message`, "plugin=chatty") // not understood, so told as it is
	logged.await(t, "level=WARN", "printed to stdout", `line="a stray print"`, "plugin=chatty")
	if got, err := ask(t.Context(), tr, "m", "fine"); got != "fine" || err != nil {
		t.Errorf("exchange after a print = %q, %v", got, err)
	}
}
