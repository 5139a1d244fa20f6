package pluginhost

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sallyport-gateway/sallyport/sdk/tool"
)

const devSource = `package main

import (
	"context"
	"log/slog"

	"github.com/sallyport-gateway/sallyport/sdk/tool"
)

type saying struct{}

func (saying) Open(context.Context, []tool.Declaration, *tool.Host) (tool.Opened, error) {
	return tool.Opened{}, nil
}

func (saying) Call(_ context.Context, c tool.Call, _ *tool.Host) (tool.Result, error) {
	slog.Debug("called", "function", c.Function)
	return tool.Text("%s"), nil
}

func main() { tool.Serve(tool.Manifest{Type: "saying", Version: "0"}, saying{}) }
`

// source makes a plugin's directory inside this module, whose sdk it needs.
func source(t *testing.T, text string) string {
	t.Helper()
	dir, err := os.MkdirTemp("testdata", "dev-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	save(t, dir, text)
	return dir
}

func save(t *testing.T, dir, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "main.go"), fmt.Appendf(nil, devSource, text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func says(t *testing.T, h *Host) string {
	t.Helper()
	tl, _, ok := h.Tool("saying", "")
	if !ok {
		t.Fatal("no tool")
	}
	r, err := tl.Call(t.Context(), tool.Call{ID: "1", Function: "f"}, tool.NewHost(tool.Service{}))
	if err != nil {
		t.Fatal(err)
	}
	return r.Content[0].Text
}

func awaitSays(t *testing.T, h *Host, want string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); says(t, h) != want; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the plugin says %q, want %q", says(t, h), want)
		}
	}
}

func TestPluginUnderDevelopment(t *testing.T) {
	t.Parallel()
	dir := source(t, "one")
	logged := new(records)
	h, err := New(Config{Launcher: launcher, HealthEvery: 50 * time.Millisecond, Dev: []Dev{{Name: "saying", Dir: dir}}},
		slog.New(slog.NewTextHandler(logged, nil))) // the level is info
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close(t.Context())
	logged.await(t, "level=WARN", "NOT PINNED", dir)
	attach := logged.await(t, "dlv attach ")
	if got := says(t, h); got != "one" {
		t.Errorf("the plugin says %q, want one", got)
	}
	logged.await(t, "level=DEBUG", "called", "function=f")
	i := info(t, h, "saying")
	if !i.Dev || !strings.Contains(attach, fmt.Sprintf("dlv attach %d", i.PID)) {
		t.Errorf("info = %+v, want dev and the process of %s", i, attach)
	}

	save(t, dir, "two")
	awaitSays(t, h, "two")
	awaitGone(t, "old process", i.PID)

	two := info(t, h, "saying").PID
	save(t, dir, `broken" + undefined + "`)
	logged.await(t, "level=ERROR", "undefined: undefined")
	if got, pid := says(t, h), info(t, h, "saying").PID; got != "two" || pid != two {
		t.Errorf("after a build that failed the plugin says %q from process %d, want two from %d", got, pid, two)
	}
	save(t, dir, "three")
	awaitSays(t, h, "three")

	// A debugger that holds it makes nobody kill it.
	pid := info(t, h, "saying").PID
	freeze(t, pid)
	logged.await(t, "a debugger may hold it")
	logged.await(t, "it is left alone") // after as many health checks as kill others
	syscall.Kill(pid, syscall.SIGCONT)
	if got := says(t, h); got != "three" || info(t, h, "saying").PID != pid {
		t.Errorf("after it was stopped for a while the plugin says %q from process %d, want three from %d", got, info(t, h, "saying").PID, pid)
	}
	if builds, _ := filepath.Glob(filepath.Join(h.run.path, "*", filepath.Base(dir))); len(builds) != 1 {
		t.Errorf("%d builds are kept, want the one in use: %q", len(builds), builds)
	}
}

// A script is not built: a change starts it again from a fresh copy.
func TestScriptUnderDevelopment(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "x")
	describe := func(version int) string {
		return "#!/bin/sh\necho '{\"kind\":\"tool\",\"protocol\":1,\"manifest\":{\"type\":\"demo\",\"version\":\"" + strconv.Itoa(version) + "\"}}'\n"
	}
	program := filepath.Join(dir, "plugin")
	if err := errors.Join(os.Mkdir(dir, 0o755), os.WriteFile(program, []byte(describe(1)), 0o755)); err != nil {
		t.Fatal(err)
	}
	added := plugins(t, "tool-demo")
	h, _ := start(t, Config{Dirs: []string{added}, Dev: []Dev{{Name: "demo", Dir: dir}}})
	if i := info(t, h, "demo"); i.Version != "1" || !i.Dev || i.Path != dir || len(h.Plugins()) != 1 {
		t.Errorf("info = %+v, want the one under development in the place of the other", i)
	}
	if err := os.WriteFile(program, []byte(describe(2)), 0o755); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); info(t, h, "demo").Version != "2"; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("info = %+v, want version 2", info(t, h, "demo"))
		}
	}
	if err := h.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if i := info(t, h, "demo"); !i.Dev || len(h.Plugins()) != 1 {
		t.Errorf("after a reload: %+v", h.Plugins())
	}
	_, err := New(Config{Launcher: launcher, Dev: []Dev{{Name: "other", Dir: dir}}}, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), `it calls itself tool "demo"; start the gateway with --dev demo`) {
		t.Errorf("New with another name: %v", err)
	}
}
