package pluginhost

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sallyport-gateway/sallyport/sdk/boot"
	"github.com/sallyport-gateway/sallyport/sdk/tool"
)

// canary is a secret of the gateway's environment.
const (
	canary    = "canary-Xu7vPz"
	canaryEnv = "PLUGINHOST_TEST_SECRET"
)

// TestHostile runs the tests below in a process of their own, as root and as an
// ordinary user when the tests run as root.
func TestHostile(t *testing.T) {
	t.Parallel()
	uids := []int{os.Getuid()}
	if os.Getuid() == 0 {
		uids = append(uids, 65534)
	}
	for _, uid := range uids {
		t.Run(fmt.Sprintf("uid %d", uid), func(t *testing.T) {
			t.Parallel()
			// Not t.TempDir: a directory above it is closed to other users.
			dir, err := os.MkdirTemp("", "hostile-")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { os.RemoveAll(dir) })
			for name, from := range map[string]string{"test": "/proc/self/exe", "plugin": built, "sallyport-confine": launcher, "hostile.py": "testdata/hostile.py"} {
				b, err := os.ReadFile(from)
				if err == nil {
					err = os.WriteFile(filepath.Join(dir, name), b, 0o755)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			if err := build(filepath.Join(dir, "tool-hostile"), "./testdata/hostile"); err != nil {
				t.Fatal(err)
			}
			if err := os.Mkdir(filepath.Join(dir, "tmp"), 0o700); err != nil {
				t.Fatal(err)
			}
			for _, path := range []string{dir, filepath.Join(dir, "tmp"), filepath.Join(dir, "tool-hostile"), filepath.Join(dir, "hostile.py")} {
				if err := os.Chown(path, uid, -1); err != nil {
					t.Fatal(err)
				}
			}
			cmd := exec.CommandContext(t.Context(), filepath.Join(dir, "test"), "-test.run=^TestHostilePlugins$", "-test.v", "-test.timeout=3m")
			cmd.Dir = dir
			cmd.Env = append(os.Environ(), hostileEnv+"="+dir, "TMPDIR="+filepath.Join(dir, "tmp"), canaryEnv+"="+canary)
			if uid != os.Getuid() {
				cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: 65534}}
			}
			out, err := cmd.CombinedOutput()
			if err != nil || !bytes.Contains(out, []byte("--- PASS: TestHostilePlugins")) {
				t.Errorf("%v\n%s", err, out)
			} else {
				t.Logf("%s", out)
			}
		})
	}
}

// TestHostilePlugins is one gateway with an honest and a hostile plugin.
func TestHostilePlugins(t *testing.T) {
	if os.Getenv(hostileEnv) == "" {
		t.Skip("run by TestHostile")
	}
	home := os.Getenv(hostileEnv)
	plugindir := filepath.Join(home, "plugins")
	if err := os.Mkdir(plugindir, 0o700); err != nil {
		t.Fatal(err)
	}
	for from, to := range map[string]string{"plugin": "provider-echo", "tool-hostile": "tool-hostile"} {
		b, err := os.ReadFile(filepath.Join(home, from))
		if err == nil {
			err = os.WriteFile(filepath.Join(plugindir, to), b, 0o700)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	add(t, plugindir, "provider-echo", "tool-hostile")
	h, logged := start(t, Config{Dirs: []string{plugindir}})
	tr := translator(t, h, "echo")
	if _, err := ask(t.Context(), tr, "m", "hello"); err != nil {
		t.Fatal(err)
	}
	targets := furnishHostile(t, home, plugindir, h)

	// The honest plugin's calls go on all the while.
	stop, done := make(chan bool), make(chan string)
	go func() {
		calls, failed := 0, ""
		for {
			select {
			case <-stop:
				done <- fmt.Sprintf("%d %s", calls, failed)
				return
			default:
			}
			if got, err := ask(t.Context(), tr, "m", "hello"); got != "hello" || err != nil {
				failed = fmt.Sprintf("call %d: %q, %v", calls, got, err)
			}
			calls++
			time.Sleep(time.Millisecond)
		}
	}()

	free := runFree(t, exec.Command(filepath.Join(home, "tool-hostile"), "attempts"), targets)
	compare(t, "go", free, inTool(t, h, "attempts", targets), unreal())
	for _, what := range []string{"become", "again"} {
		if got := askHostile(t, h, what, nil); got != "refused" {
			t.Errorf("to %s: %s, want refused", what, got)
		}
	}
	hostilePrograms(t, home, free, targets)
	hostilePython(t, home, targets)
	hostileFloods(t, h, home, logged)

	close(stop)
	end := <-done
	if calls, failed, _ := strings.Cut(end, " "); failed != "" || calls == "0" {
		t.Errorf("the honest plugin: %s calls, %s", calls, failed)
	} else {
		t.Logf("%s calls of the honest plugin went well meanwhile", calls)
	}
	if i := info(t, h, "echo"); i.Restarts != 0 {
		t.Errorf("the honest plugin was restarted %d times", i.Restarts)
	}
	h.Close(t.Context())
	if left, _ := filepath.Glob(filepath.Join(os.Getenv("TMPDIR"), "sp-*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// runFree runs attempts without confinement: they are real.
func runFree(t *testing.T, cmd *exec.Cmd, targets hostileTargets) map[string]string {
	t.Helper()
	// It may well succeed in replacing what it is told to.
	scratch := t.TempDir()
	for _, p := range []*string{&targets.Own, &targets.Lock} {
		to := filepath.Join(scratch, filepath.Base(*p))
		b, err := os.ReadFile(*p)
		if err == nil {
			err = os.WriteFile(to, b, 0o700)
		}
		if err != nil {
			t.Fatal(err)
		}
		*p = to
	}
	in, err := json.Marshal(targets)
	if err != nil {
		t.Fatal(err)
	}
	if len(cmd.Args) == 2 && strings.HasSuffix(cmd.Path, "python3") {
		cmd.Args = append(cmd.Args, string(in))
	}
	cmd.Stdin = bytes.NewReader(in)
	cmd.Env = append(os.Environ(), "TMPDIR="+scratch)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("unconfined: %v\n%s", err, stderr.Bytes())
	}
	return results(t, out)
}

func results(t *testing.T, out []byte) map[string]string {
	t.Helper()
	var got map[string]string
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("the hostile program answered %q: %v", out, err)
	}
	return got
}

// compare wants every attempt done by the free program and refused to the
// confined one. Those of never are refused to both.
func compare(t *testing.T, lang string, free, confined map[string]string, never map[string]bool) {
	t.Helper()
	if len(free) != len(confined) || len(free) < 20 {
		t.Errorf("%s: %d attempts unconfined, %d confined", lang, len(free), len(confined))
	}
	for _, name := range slices.Sorted(maps.Keys(free)) {
		t.Logf("%s: %-24s unconfined %s, confined %s", lang, name, free[name], confined[name])
		if free[name] != "done" && !never[name] {
			t.Errorf("%s: %s unconfined: %s, want done, else the attempt says nothing", lang, name, free[name])
		}
		if confined[name] != "refused" {
			t.Errorf("%s: %s: %s, want refused", lang, name, confined[name])
		}
	}
}

// unreal are the attempts that no process succeeds in here.
func unreal() map[string]bool {
	never := map[string]bool{"descriptors": true, "write own process": true}
	// Kernels below 6.13 do not have the call.
	if _, _, errno := syscall.Syscall6(unix.SYS_SETXATTRAT, 0, 0, 0, 0, 0, 0); errno == unix.ENOSYS {
		never["mode by attribute"] = true
	}
	return never
}

func inTool(t *testing.T, h *Host, function string, targets hostileTargets) map[string]string {
	t.Helper()
	in, err := json.Marshal(targets)
	if err != nil {
		t.Fatal(err)
	}
	return results(t, []byte(askHostile(t, h, function, in)))
}

func askHostile(t *testing.T, h *Host, function string, in json.RawMessage) string {
	t.Helper()
	tl, _, ok := h.Tool("hostile", "")
	if !ok {
		t.Fatalf("no hostile plugin: %+v", h.Plugins())
	}
	r, err := tl.Call(t.Context(), tool.Call{ID: "1", Function: function, Arguments: in}, tool.NewHost(tool.Service{}))
	if err != nil {
		return err.Error()
	}
	return r.Content[0].Text
}

// hostilePython starts a script as a plugin's program is started.
func hostilePython(t *testing.T, home string, targets hostileTargets) {
	const python = "/usr/bin/python3"
	if _, err := os.Stat(python); err != nil {
		t.Logf("no %s: the attempts in Python were not made", python)
		return
	}
	script := filepath.Join(home, "hostile.py")
	free := runFree(t, exec.Command(python, script), targets)
	in, err := json.Marshal(targets)
	if err != nil {
		t.Fatal(err)
	}
	got := runConfined(t, home, Launch{Path: script, Interpreter: []string{python}, Args: []string{string(in)}}, nil)
	if os.Getuid() != 0 {
		// The threads of an ordinary user are not counted by process; the guard
		// ends a plugin that has too many.
		delete(free, "threads")
		delete(got, "threads")
	}
	compare(t, "python", free, got, nil)
}

// hostilePrograms is a plugin whose manifest asked for new processes, and whose
// operator allowed that.
func hostilePrograms(t *testing.T, home string, free map[string]string, targets hostileTargets) {
	in, err := json.Marshal(targets)
	if err != nil {
		t.Fatal(err)
	}
	got := runConfined(t, home, Launch{Path: filepath.Join(home, "tool-hostile"), Args: []string{"attempts"}, Requires: boot.Requires{Programs: true}}, in)
	// It sees that there are other processes, and how many files they have open.
	for _, name := range []string{"processes", "gateway cmdline", "gateway status", "gateway descriptors"} {
		if got[name] != "done" {
			t.Errorf("with programs: %s: %s, want done", name, got[name])
		}
		got[name] = "refused"
	}
	compare(t, "with programs", free, got, unreal())
}

// runConfined starts a program that makes its attempts and ends.
func runConfined(t *testing.T, home string, l Launch, stdin []byte) map[string]string {
	t.Helper()
	l.Dir = t.TempDir()
	cmd, err := ConfinedCommand(filepath.Join(home, launcherName), l, false)
	if err != nil {
		t.Fatal(err)
	}
	s := newStarter()
	defer s.close()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), w, w
	err = s.run(cmd)
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(r)
	if err := errors.Join(err, cmd.Wait()); err != nil {
		t.Fatalf("%s: %v\n%s", l.Path, err, out)
	}
	return results(t, out)
}

// hostileFloods has the plugin take what it can get. It is ended, with the
// reason in the error, and comes back.
func hostileFloods(t *testing.T, h *Host, home string, logged *records) {
	for _, what := range []string{"threads", "files", "constant"} {
		cmd := exec.Command(filepath.Join(home, "tool-hostile"), "flood-"+what)
		cmd.Env = append(os.Environ(), "TMPDIR="+t.TempDir())
		if out, err := cmd.Output(); err != nil || string(out) != "done\n" {
			t.Errorf("%s unconfined: %q, %v, want done, else the attempt says nothing", what, out, err)
		}
	}
	// Root's plugins have a limit of their own for threads; the Go runtime ends
	// when it gets none.
	for what, reasons := range map[string][]string{"threads": {"threads; at most", "newosproc"}, "files": {"files; plugins write none"}, "memory": {"out of memory"}, "constant": {"MiB were accepted"}} {
		began := time.Now()
		got := askHostile(t, h, what, nil)
		t.Logf("flood of %s, after %s: %s", what, time.Since(began).Round(time.Millisecond), got)
		if got == "done" || strings.HasSuffix(got, "blocks of memory") || !slices.ContainsFunc(reasons, func(r string) bool { return strings.Contains(got, r) }) {
			t.Errorf("flood of %s: %s, want the plugin ended with a reason", what, got)
		}
	}
	if got := askHostile(t, h, "become", nil); got != "refused" {
		t.Errorf("after the floods: %s, want the plugin back", got)
	}
	logged.await(t, "plugin ended", "hostile")
}
