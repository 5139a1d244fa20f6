package pluginhost

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/boot"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

// confined runs a program as a plugin is run, and returns what it printed.
func confined(t *testing.T, l Launch) (string, error) {
	t.Helper()
	l.Dir = t.TempDir()
	cmd, err := ConfinedCommand(launcher, l, false)
	if err != nil {
		return "", err
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Run()
	closeFiles(cmd.ExtraFiles)
	return out.String(), err
}

// Scripts run with what is theirs, and nothing else of the system.
func TestInterpreters(t *testing.T) {
	t.Parallel()
	files := t.TempDir()
	if err := os.WriteFile(filepath.Join(files, "beside"), []byte("a file beside"), 0o600); err != nil {
		t.Fatal(err)
	}
	outside := filepath.Join(t.TempDir(), "granted")
	if err := os.WriteFile(outside, []byte("a granted file"), 0o600); err != nil {
		t.Fatal(err)
	}
	scripts := []struct{ interpreter, text string }{
		{"/usr/bin/python3", `
import asyncio, json, os, socket, ssl, sys, threading
print(open(os.path.join(os.path.dirname(__file__), "beside")).read(), open(sys.argv[1]).read())
s = socket.socket(socket.AF_UNIX); s.bind(os.environ["TMPDIR"] + "/s"); s.listen(); print("listens")
t = threading.Thread(target=print, args=("thread",)); t.start(); t.join()
asyncio.run(asyncio.sleep(0)); sys.stdout.flush()
open("/etc/passwd")`},
		{"/usr/bin/node", `
const fs = require("fs"), net = require("net"), path = require("path"), os = require("os"), { Worker } = require("worker_threads");
console.log(fs.readFileSync(path.join(__dirname, "beside"), "utf8"), fs.readFileSync(process.argv[2], "utf8"));
if (os.cpus().length === 0) throw new Error("no processors");
new WebAssembly.Memory({ initial: 1 });
net.createServer().listen(process.env.TMPDIR + "/s", () => {
  console.log("listens");
  new Worker("", { eval: true }).on("exit", () => { console.log("thread"); fs.readFileSync("/etc/passwd"); });
});`},
	}
	for _, tt := range scripts {
		t.Run(filepath.Base(tt.interpreter), func(t *testing.T) {
			t.Parallel()
			if _, err := os.Stat(tt.interpreter); err != nil {
				t.Skipf("not installed: %v", err)
			}
			script := filepath.Join(files, filepath.Base(tt.interpreter))
			if err := os.WriteFile(script, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			out, err := confined(t, Launch{Path: script, Interpreter: []string{tt.interpreter}, Files: files, Args: []string{outside}, Requires: boot.Requires{Read: []string{outside}}})
			for _, want := range []string{"a file beside a granted file\n", "listens\n", "thread\n"} {
				if !strings.Contains(out, want) {
					t.Errorf("no %q", want)
				}
			}
			hint := ""
			for line := range strings.Lines(out) {
				if h := denied(line); h != "" {
					hint = h
				}
			}
			if err == nil || !strings.HasPrefix(hint, "may not read /etc/passwd; ") {
				t.Errorf("end %v, hint %q, want /etc/passwd refused", err, hint)
			}
			if t.Failed() {
				t.Logf("%s", out)
			}
		})
	}
}

// An environment of Python is found by the name of the interpreter inside it.
func TestVirtualEnvironment(t *testing.T) {
	t.Parallel()
	const python = "/usr/bin/python3"
	env := filepath.Join(t.TempDir(), ".venv")
	if out, err := exec.Command(python, "-m", "venv", "--without-pip", env).CombinedOutput(); err != nil {
		t.Skipf("no virtual environment can be made here: %v\n%s", err, out)
	}
	site, err := filepath.Glob(filepath.Join(env, "lib", "python3*", "site-packages"))
	if err != nil || len(site) != 1 {
		t.Fatalf("site-packages: %q, %v", site, err)
	}
	script := filepath.Join(t.TempDir(), "x.py")
	for path, text := range map[string]string{filepath.Join(site[0], "inside.py"): "where = 'of the environment'", script: "import inside, sys\nprint(inside.where)\nimport outside"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	interpreter := filepath.Join(env, "bin", "python3")
	reads, err := interpreterDirs(interpreter)
	if err != nil {
		t.Fatal(err)
	}
	out, err := confined(t, Launch{Path: script, Interpreter: []string{interpreter}, Read: reads})
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if err == nil || lines[0] != "of the environment" {
		t.Errorf("%v:\n%s", err, out)
	}
	if got := denied(lines[len(lines)-1]); !strings.HasPrefix(got, `cannot import the Python module "outside"`) {
		t.Errorf("hint %q of %q", got, lines[len(lines)-1])
	}
}

func TestStartsThatCannotBe(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	shim := filepath.Join(dir, "python3")
	if err := os.WriteFile(shim, []byte("#!/bin/sh\nexec python3 \"$@\""), 0o755); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		launcher string
		launch   Launch
		want     string
	}{
		{filepath.Join(dir, "absent"), Launch{Path: built}, "cannot be confined: the launcher " + filepath.Join(dir, "absent") + " is missing"},
		{launcher, Launch{Path: built, Requires: boot.Requires{Read: []string{"/opt/absent"}}}, "requires to read /opt/absent, which cannot be found: no such file or directory"},
		{launcher, Launch{Path: shim, Interpreter: []string{filepath.Join(dir, "gone")}}, "needs the interpreter " + filepath.Join(dir, "gone") + ", which does not exist any more"},
		{launcher, Launch{Path: shim, Interpreter: []string{shim}}, "has the interpreter " + shim + ", which is a script itself"},
	}
	for _, tt := range tests {
		tt.launch.Dir = dir
		_, err := ConfinedCommand(tt.launcher, tt.launch, false)
		if _, ok := errors.AsType[*startError](err); !ok || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%v, want %s…", err, tt.want)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestPolicyIsWhatTheProgramNeeds(t *testing.T) {
	t.Parallel()
	open := func(path string) *os.File {
		t.Helper()
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	dir := t.TempDir()
	static, err := policy(Launch{Path: built, Dir: dir}, open(built))
	if err != nil || len(static.ExecFiles) != 0 || slices.Contains(static.ReadDirs, "/usr/lib") || slices.Contains(static.ReadDirs, "/proc") || static.Exec || static.MaxMemory != 1<<30 {
		t.Errorf("static program: %+v, %v", static, err)
	}
	dynamic, err := policy(Launch{Path: "/bin/sh", Dir: dir}, open("/bin/sh"))
	if err != nil || len(dynamic.ExecFiles) != 1 || !slices.Contains(dynamic.ReadDirs, "/usr/lib") {
		t.Errorf("dynamic program: %+v, %v", dynamic, err)
	}
	more, err := policy(Launch{Path: built, Dir: dir, Requires: boot.Requires{Programs: true, Memory: 2 << 30, Read: []string{dir}}, Read: []string{"/absent", "/etc/hosts"}}, open(built))
	if err != nil || !more.Exec || more.MaxMemory != 2<<30 || !slices.Contains(more.ReadDirs, dir) || !slices.Contains(more.ReadFiles, "/etc/hosts") || slices.Contains(more.ReadFiles, "/absent") {
		t.Errorf("program that requires: %+v, %v", more, err)
	}
}

// A plugin's words before it ends, as the caller and the operator read them.
func TestWhatAConfinedPluginSays(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, script, want string }{
		{"passwd", `echo "PermissionError: [Errno 13] Permission denied: '/etc/passwd'" >&2; exit 1`,
			`The plugin "passwd" may not read /etc/passwd; name it in the manifest's requires.read and add the plugin again, or run: sallyport plugin add --read /etc/passwd.`},
		{"chatty", `echo debug; read x`, `The plugin "chatty" printed "debug" to stdout before the handshake; log to stderr.`},
		{"crash", `echo "panic: my heart" >&2; exit 2`, `The plugin "crash" exited with status 2 at once: panic: my heart.`},
		{"liar", `echo "1|1|unix|/run/other.sock|grpc|"; while :; do :; done`,
			`The plugin "liar" names the address "unix /run/other.sock", which is not a unix socket in PLUGIN_UNIX_SOCKET_DIR.`},
	}
	dir := t.TempDir()
	for _, tt := range tests {
		text := fmt.Sprintf("#!/bin/sh\nif [ \"$1\" = describe ]; then\n  echo '{\"kind\":\"provider\",\"protocol\":1,\"manifest\":{\"name\":%q,\"version\":\"1\",\"ops\":[\"generate\"]}}'\n  exit\nfi\n%s\n", tt.name, tt.script)
		if err := os.WriteFile(filepath.Join(dir, tt.name), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
		add(t, dir, tt.name)
	}
	h, _ := start(t, Config{Dirs: []string{dir}})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tr, _, ok := h.Translator(tt.name)
			if !ok {
				t.Fatalf("not there: %+v", h.Plugins())
			}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			_, err := tr.Begin(ctx, provider.Turn{Op: provider.Generate, Model: "m"})
			if err == nil || apierror.From(err).Message != tt.want {
				t.Errorf("%v\nwant %s", err, tt.want)
			}
		})
	}
}
