//go:build e2e

package clients

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport-gateway/sallyport/core/gatewaytest"
)

// cli is one release of a coding agent, as npm has it.
type cli struct {
	agent   string // as `sallyport setup` calls it
	version string
	pack    string   // the npm package
	finish  []string // run in the package's directory after npm, which may not run its own scripts
}

func (c cli) String() string { return c.agent + "-" + c.version }

var (
	claudeOld = cli{"claude", "2.1.197", "@anthropic-ai/claude-code", []string{"node", "install.cjs"}}
	claudeNew = cli{"claude", "2.1.329", "@anthropic-ai/claude-code", []string{"node", "install.cjs"}}
	codexOld  = cli{"codex", "0.104.0", "@openai/codex", nil}
	codexNew  = cli{"codex", "0.169.0", "@openai/codex", nil}
	geminiCLI = cli{"gemini", "0.61.0", "@google/gemini-cli", nil}
	opencode  = cli{"opencode", "1.18.33", "opencode-ai", []string{"node", "postinstall.mjs"}}
)

// args are the command line for one prompt, answered without asking back.
func (c cli) args(prompt string) []string {
	switch c.agent {
	case "claude":
		return []string{"-p", prompt, "--allowedTools", "Bash"}
	case "codex":
		return []string{"exec", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox", prompt}
	case "gemini":
		return []string{"--yolo", "-p", prompt}
	}
	return []string{"run", prompt}
}

var installing sync.Mutex

// install makes sure that the release is in the cache and returns the
// directory of its programs.
func (c cli) install(t *testing.T) string {
	t.Helper()
	installing.Lock()
	defer installing.Unlock()
	dir := filepath.Join(cache(t), "agents", c.String())
	stamp := filepath.Join(dir, "installed")
	bin := filepath.Join(dir, "node_modules", ".bin")
	if _, err := os.Stat(stamp); err == nil {
		return bin
	}
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, "package.json"), []byte("{}"), 0o644)); err != nil {
		t.Fatal(err)
	}
	run(t, nil, "npm", "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", dir, c.pack+"@"+c.version)
	if c.finish != nil {
		cmd := exec.CommandContext(t.Context(), c.finish[0], c.finish[1:]...)
		cmd.Dir = filepath.Join(dir, "node_modules", c.pack)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", c, err, out)
		}
	}
	if err := os.WriteFile(stamp, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	return bin
}

// TestMain lets many tests wait at once: those of a silent provider do little
// else. Runs that work for their time take turns, by slots.
func TestMain(m *testing.M) {
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f.Value.String() == fmt.Sprint(runtime.GOMAXPROCS(0)) {
		f.Value.Set("24")
	}
	os.Exit(m.Run())
}

var slots = make(chan struct{}, max(2, runtime.NumCPU()))

// desk is a home directory with one agent installed: nothing else of the
// machine's is in its environment.
type desk struct {
	t    *testing.T
	cli  cli
	home string
	env  []string
	idle bool // its runs mostly wait, and take no slot
}

func newDesk(t *testing.T, c cli, env ...string) desk {
	t.Helper()
	bin := c.install(t)
	home := t.TempDir()
	for _, dir := range []string{"work", "tmp"} {
		if err := os.Mkdir(filepath.Join(home, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return desk{t: t, cli: c, home: home, env: append(env, "HOME="+home, "TMPDIR="+filepath.Join(home, "tmp"), "TERM=dumb", "LANG=C.UTF-8",
		"PATH="+bin+":"+filepath.Dir(gatewaytest.Program(t))+":/usr/local/bin:/usr/bin:/bin")}
}

// patience is how long one run of an agent may take on a busy machine.
const patience = 4 * time.Minute

// run runs a program at the desk and returns what it printed, with its exit
// code.
func (d desk) run(name string, args ...string) (string, int) {
	d.t.Helper()
	if !d.idle {
		slots <- struct{}{}
		defer func() { <-slots }()
	}
	ctx, cancel := context.WithTimeout(d.t.Context(), patience)
	defer cancel()
	path := name
	for _, kv := range d.env {
		if list, ok := strings.CutPrefix(kv, "PATH="); ok {
			for _, dir := range filepath.SplitList(list) {
				if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
					path = filepath.Join(dir, name)
					break
				}
			}
		}
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir, cmd.Env = filepath.Join(d.home, "work"), d.env
	cmd.WaitDelay = 5 * time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if ctx.Err() != nil {
		d.t.Errorf("%s %.40q did not end within %v:\n%s", d.cli, args, patience, tail(out.String()))
		return out.String(), -1
	}
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		d.t.Fatalf("%s: %v", path, err)
	}
	return out.String(), cmd.ProcessState.ExitCode()
}

// setup writes the agent's configuration with `sallyport setup`.
func (d *desk) setup(url, token, model string) {
	d.t.Helper()
	if out, code := d.run("sallyport", "setup", d.cli.agent, "--url", url, "--token", token, "--model", model); code != 0 {
		d.t.Fatalf("setup: exit code %d\n%s", code, out)
	}
	// For Codex releases that take the token from nowhere else, and for Gemini
	// CLI, which reads its .env in trusted folders alone, as in scripts.
	d.env = append(d.env, "SALLYPORT_TOKEN="+token, "GEMINI_CLI_TRUST_WORKSPACE=true")
}

// ask runs the agent with a prompt.
func (d desk) ask(prompt string, more ...string) (string, int) {
	d.t.Helper()
	return d.run(d.cli.agent, append(d.cli.args(prompt), more...)...)
}

// wantIn asks and reports an answer without the text.
func (d desk) wantIn(prompt, text string, more ...string) {
	d.t.Helper()
	if out, code := d.ask(prompt, more...); code != 0 || !strings.Contains(out, text) {
		d.t.Errorf("%s: exit code %d, and the answer lacks %q:\n%s", d.cli, code, text, tail(out))
	}
}

// tail is the end of a long output.
func tail(s string) string {
	const most = 3000
	if len(s) > most {
		s = "…" + s[len(s)-most:]
	}
	return s
}

// rows are the usage rows that a condition of SQL selects, as texts.
func rows(t *testing.T, g *gatewaytest.Gateway, columns, where string) [][]string {
	t.Helper()
	return sqlRows(t, g, fmt.Sprintf("SELECT %s FROM system.ai_gateway.usage WHERE %s ORDER BY event_time", columns, where))
}
