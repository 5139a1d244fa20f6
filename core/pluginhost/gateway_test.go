package pluginhost

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// gatewayEnv makes the test binary a gateway: "<run directory>:<plugin directory>:<launcher>".
const gatewayEnv = "PLUGINHOST_TEST_GATEWAY"

// gateway starts every kind of process a gateway has, prints their ids, and
// waits to be killed.
func gateway() {
	words := strings.Split(os.Getenv(gatewayEnv), ":")
	run, dir := words[0], words[1]
	h, err := New(Config{Dirs: []string{dir}, RunDir: run, Launcher: words[2]}, slog.New(slog.DiscardHandler))
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	tr, _, _ := h.Translator("parent")
	ex, err := tr.Begin(context.Background(), turn("child"))
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	var pids []string
	for _, i := range h.Plugins() {
		pids = append(pids, strconv.Itoa(i.PID))
	}
	fmt.Println(h.run.path, strings.Join(pids, " "), string(ex.Upstream().Body))
	io.Copy(io.Discard, os.Stdin)
	os.Exit(0)
}

func running(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(rest, "Z") && !strings.HasPrefix(rest, "X")
}

func awaitGone(t *testing.T, what string, pid int) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); running(pid); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s %d still runs", what, pid)
		}
	}
}

// freeze stops a process, and waits until each of its threads stands still: on a
// busy machine others go on for a while when one has taken the signal.
func freeze(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	stats, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid)) // none where there is no /proc
	for _, stat := range stats {
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
			text, err := os.ReadFile(stat)
			if _, after, _ := strings.Cut(string(text), ") "); err != nil || strings.HasPrefix(after, "T") {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s: %s, want a thread that is stopped", stat, text)
			}
		}
	}
}

func TestNothingOutlivesAKilledGateway(t *testing.T) {
	t.Parallel()
	run, err := os.MkdirTemp("", "run") // short: sockets live in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(run) })
	dir := plugins(t, "provider-parent")
	gw := exec.Command(os.Args[0])
	gw.Env = append(os.Environ(), gatewayEnv+"="+run+":"+dir+":"+launcher)
	stdin, err := gw.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	stdout, err := gw.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := gw.Start(); err != nil {
		t.Fatal(err)
	}
	line, _ := bufio.NewReader(stdout).ReadString('\n')
	words := strings.Fields(line)
	if len(words) != 3 {
		gw.Process.Kill()
		gw.Wait()
		t.Fatalf("the gateway said %q", line)
	}
	runDir := words[0]
	plugin, _ := strconv.Atoi(words[1])
	child, _ := strconv.Atoi(words[2])
	if !running(plugin) || !running(child) {
		t.Fatal("plugin or its child does not run")
	}

	// A second gateway beside the first leaves its directory alone.
	second, _ := start(t, Config{RunDir: run, Dirs: []string{dir}})
	if _, err := os.Stat(runDir); err != nil {
		t.Fatalf("the first gateway's directory after the second started: %v", err)
	}
	_ = second

	gw.Process.Kill()
	gw.Wait()
	awaitGone(t, "plugin", plugin)
	syscall.Kill(child, syscall.SIGKILL) // a stranger's child is its own affair when the gateway cannot act

	if _, err := os.Stat(filepath.Join(runDir, "owner")); err != nil {
		t.Fatalf("nothing was left to clean: %v", err)
	}
	third, _ := start(t, Config{RunDir: run, Dirs: []string{dir}})
	if _, err := os.Stat(runDir); !os.IsNotExist(err) {
		t.Errorf("directory of the killed gateway: %v, want it removed", err)
	}
	if got, err := ask(t.Context(), translator(t, third, "parent"), "m", "fine"); got != "fine" || err != nil {
		t.Errorf("the gateway after that = %q, %v", got, err)
	}
}

func TestChildOfAKilledPluginIsKilled(t *testing.T) {
	t.Parallel()
	h, _ := start(t, Config{Dirs: []string{plugins(t, "provider-parent")}})
	ex, err := translator(t, h, "parent").Begin(t.Context(), turn("child"))
	if err != nil {
		t.Fatal(err)
	}
	child, err := strconv.Atoi(string(ex.Upstream().Body))
	if err != nil || !running(child) {
		t.Fatalf("child %d does not run: %v", child, err)
	}
	syscall.Kill(info(t, h, "parent").PID, syscall.SIGKILL)
	awaitGone(t, "child", child)
	ex.(io.Closer).Close()
}
