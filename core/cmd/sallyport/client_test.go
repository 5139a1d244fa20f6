package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sallyport-gateway/sallyport/core/gatewaytest"
	"github.com/sallyport-gateway/sallyport/core/standing"
)

const clientToken = "dapi-canary-client-1618"

// fakeGateway answers GET /me for a caller with these models.
func fakeGateway(t *testing.T, me myself) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/me" || r.Header.Get("Authorization") != "Bearer "+clientToken {
			w.WriteHeader(http.StatusUnauthorized)
			w.Write([]byte(`{"error_code":"UNAUTHENTICATED","message":"The token is not known."}`))
			return
		}
		json.NewEncoder(w).Encode(me)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

var models = []myModel{{Name: "databricks-a", Native: []string{"gemini"}}, {Name: "databricks-b", Native: []string{"anthropic"}, Aliases: []string{"b"}}}

// newHome makes the home directory, and nothing else, the environment's.
func newHome(t *testing.T) string {
	t.Helper()
	home := t.TempDir()
	for _, k := range []string{"CLAUDE_CONFIG_DIR", "CODEX_HOME", "GEMINI_CLI_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", urlVar, tokenVar} {
		t.Setenv(k, "")
	}
	t.Setenv("HOME", home)
	return home
}

func TestSetup(t *testing.T) {
	home, gateway := newHome(t), fakeGateway(t, myself{Name: "alice@example.com", Models: models})
	settings := filepath.Join(home, ".claude", "settings.json")
	args := []string{"setup", "claude", "--url", gateway, "--token", clientToken}

	code, out, errs := command(t, append(args, "--dry-run")...)
	if code != 0 || !strings.Contains(out, "+++ "+settings) || !strings.Contains(out, `"ANTHROPIC_MODEL": "databricks-b"`) || strings.Contains(out, clientToken) {
		t.Errorf("dry run: exit code %d, %s%s", code, out, errs)
	}
	if left, _ := os.ReadDir(home); len(left) != 0 {
		t.Errorf("the dry run has written %v", left)
	}
	code, out, errs = command(t, args...)
	if code != 0 || !strings.Contains(out, "wrote "+settings) || !strings.Contains(out, "Claude Code uses databricks-b at "+gateway) {
		t.Fatalf("exit code %d, %s%s", code, out, errs)
	}
	b, err := os.ReadFile(settings)
	if err != nil || strings.Contains(string(b), clientToken) {
		t.Errorf("the agent's own file holds the token (%v):\n%s", err, b)
	}
	var written struct {
		Helper string `json:"apiKeyHelper"`
	}
	if err := json.Unmarshal(b, &written); err != nil {
		t.Fatal(err)
	}
	file := written.Helper[strings.LastIndex(written.Helper, " ")+1:]
	if code, out, errs := command(t, "token", "--file", file); code != 0 || out != clientToken+"\n" {
		t.Errorf("the helper gives exit code %d, %q, %q", code, out, errs)
	}
	code, out, errs = command(t, append(args, "--model", "databricks-bb", "--unlisted")...)
	if code != 0 || !strings.Contains(out, "has no model databricks-bb for alice@example.com; did you mean databricks-b?") {
		t.Errorf("a model that is not there: exit code %d, %s%s", code, out, errs)
	}
	if b, err = os.ReadFile(settings); err != nil {
		t.Fatal(err)
	}
	if code, out, errs = command(t, "setup", "claude", "--undo", "--dry-run"); code != 0 || !strings.Contains(out, "would remove "+settings) {
		t.Errorf("a dry undo: exit code %d, %s%s", code, out, errs)
	}
	if now, err := os.ReadFile(settings); err != nil || string(now) != string(b) {
		t.Errorf("the dry undo has changed the file (%v):\n%s", err, now)
	}
	edited := strings.Replace(string(b), `"ANTHROPIC_MODEL": "databricks-bb"`, `"ANTHROPIC_MODEL": "mine"`, 1)
	if err := os.WriteFile(settings, []byte(edited), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out, errs = command(t, "setup", "claude", "--undo", "--dry-run"); code != 0 || !strings.Contains(out, "would leave as changed since: env.ANTHROPIC_MODEL\n") {
		t.Errorf("a dry undo after a change: exit code %d, %s%s", code, out, errs)
	}
	if code, out, errs = command(t, args...); code != 0 {
		t.Errorf("a setup after a change: exit code %d, %s%s", code, out, errs)
	}
	if code, out, errs = command(t, "setup", "claude", "--undo"); code != 0 || !strings.Contains(out, "removed "+settings) {
		t.Errorf("undo: exit code %d, %s%s", code, out, errs)
	}
	if left, _ := os.ReadDir(home); len(left) != 0 {
		t.Errorf("the undo has left %v", left)
	}
	if code, _, errs = command(t, "setup", "claude", "--undo"); code != 1 || !strings.Contains(errs, "nothing was set up here") {
		t.Errorf("a second undo: exit code %d, %s", code, errs)
	}
}

func TestClientWrongUse(t *testing.T) {
	home, gateway := newHome(t), fakeGateway(t, myself{Name: "alice@example.com"})
	for _, tt := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"setup"}, 2, "which client? claude, codex, gemini, cursor, opencode, copilot, qwen"},
		{[]string{"setup", "cluade"}, 2, `unknown client "cluade"; did you mean "claude"?`},
		{[]string{"setup", "claude", "codex"}, 2, `one client at a time: what is "codex"?`},
		{[]string{"setup", "claude", "--url", "localhost:8080", "--token", "x"}, 2, "is no URL"},
		{[]string{"me", "--url", gateway + "/anthropic", "--token", "x"}, 2, "has the path /anthropic: give scheme, host and port alone"},
		{[]string{"setup", "claude", "--url", gateway, "--token", "x", "--helper", "y"}, 2, "--token or --helper, not both"},
		{[]string{"setup", "claude", "--url", gateway, "--token", "wrong"}, 1, "the token is not good: ask an administrator"},
		{[]string{"setup", "claude", "--url", gateway, "--token", "wrong", "--model", "m"}, 1, "the token is not good"},
		{[]string{"setup", "claude", "--url", gateway, "--token", clientToken}, 1, "alice@example.com may use no model"},
		{[]string{"setup", "claude", "--url", gateway}, 1, "there is no token for " + gateway},
		{[]string{"setup", "claude", "--url", gateway, "--token", clientToken, "--model", "m"}, 1, "has no model m for alice@example.com; you may use none; nothing was written (--unlisted writes it all the same"},
		{[]string{"setup", "claude", "--url", gateway, "--token", clientToken, "--model", "m", "--unlisted", "--profile", "p"}, 1, "Claude Code has no profiles"},
		{[]string{"launch", "cursor"}, 2, "Cursor cannot be started for one run: use `sallyport setup cursor`"},
		{[]string{"launch", "claude", "-p"}, 2, "unknown shorthand flag"},
		{[]string{"launch", "claude", "doctor"}, 2, "put the arguments of Claude Code behind --: sallyport launch claude -- doctor"},
		{[]string{"me", "--url", gateway, "--token", "wrong"}, 1, "status 401: The token is not known."},
		{[]string{"token"}, 2, "there is no token to print: set SALLYPORT_TOKEN, or give --file"},
		{[]string{"token", "--file", filepath.Join(home, "none")}, 1, "no such file"},
		{[]string{"cert", "--host", "https://x"}, 2, "leave out scheme and port"},
	} {
		code, _, errs := command(t, tt.args...)
		if code != tt.code || !strings.Contains(errs, tt.want) {
			t.Errorf("%q: got exit code %d and %q, want %d and %q", tt.args, code, errs, tt.code, tt.want)
		}
	}
	if left, _ := os.ReadDir(home); len(left) != 0 {
		t.Errorf("the home directory now holds %v", left)
	}
	t.Setenv("PATH", home)
	if code, _, errs := command(t, "launch", "claude"); code != 1 || !strings.Contains(errs, "Claude Code is not installed: there is no program claude in PATH") {
		t.Errorf("got exit code %d and %q", code, errs)
	}
	t.Setenv(tokenVar, clientToken)
	if code, out, errs := command(t, "token"); code != 0 || out != clientToken+"\n" {
		t.Errorf("token: got exit code %d, %q, %q", code, out, errs)
	}
}

// agentScript plays an agent: it tells what it was given, and then waits to be
// told to end.
const agentScript = `#!/bin/sh
printf '%s\n' "args: $*"
env | grep -E '^(ANTHROPIC|GEMINI|GOOGLE|OPENCODE|SALLYPORT)_' | sort
trap 'echo got TERM; exit 7' TERM
trap 'echo got INT; exit 8' INT
echo ready
read line
echo "read $line"
exit 3
`

// launchFake starts `sallyport launch` with an agent that is the script.
func launchFake(t *testing.T, agent, home, stdin string) (*exec.Cmd, *strings.Builder) {
	t.Helper()
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, agent), []byte(agentScript), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(gatewaytest.Program(t), "launch", agent, "--model", "databricks-b", "--", "-x", "a b")
	cmd.Env = []string{"HOME=" + home, "PATH=" + bin + ":/usr/bin:/bin", urlVar + "=" + fakeGateway(t, myself{Models: models}), tokenVar + "=" + clientToken, "ANTHROPIC_API_KEY=sk-old"}
	out := &strings.Builder{}
	cmd.Stdout, cmd.Stderr = out, out
	if stdin != "" {
		cmd.Stdin = strings.NewReader(stdin)
	}
	return cmd, out
}

// An agent that is launched has the gateway in its environment, its input, its
// exit code, and leaves no trace.
func TestLaunch(t *testing.T) {
	t.Parallel()
	for agent, want := range map[string][]string{
		"claude":   {"args: --settings {", "-x a b", "ANTHROPIC_MODEL=databricks-b", "SALLYPORT_TOKEN=" + clientToken},
		"codex":    {`-c model="databricks-b"`, "-x a b", "SALLYPORT_TOKEN=" + clientToken},
		"gemini":   {"args: -x a b", "GEMINI_MODEL=databricks-b", "GEMINI_CLI_HOME=", "GEMINI_API_KEY=" + clientToken},
		"opencode": {"args: -x a b", "OPENCODE_CONFIG_CONTENT={"},
	} {
		home := t.TempDir()
		cmd, out := launchFake(t, agent, home, "hello\n")
		cmd.Run()
		if code := cmd.ProcessState.ExitCode(); code != 3 || !strings.Contains(out.String(), "read hello") {
			t.Errorf("%s: exit code %d:\n%s", agent, code, out)
		}
		for _, w := range want {
			if !strings.Contains(out.String(), w) {
				t.Errorf("%s: the output lacks %q:\n%s", agent, w, out)
			}
		}
		if strings.Contains(out.String(), "sk-old") && agent == "claude" {
			t.Errorf("%s: a key of the environment was left:\n%s", agent, out)
		}
		for _, kv := range strings.Split(out.String(), "\n") {
			if dir, ok := strings.CutPrefix(kv, "GEMINI_CLI_HOME="); ok {
				if _, err := os.Stat(dir); !os.IsNotExist(err) {
					t.Errorf("%s was left behind (%v)", dir, err)
				}
			}
		}
		if left, _ := os.ReadDir(home); len(left) != 0 {
			t.Errorf("%s: the home directory now holds %v", agent, left)
		}
	}
}

// A model that the gateway does not have is said before the agent starts; a
// name that an alias stands for is one that it has.
func TestLaunchOfAModelThatIsNotThere(t *testing.T) {
	t.Parallel()
	home, bin := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "claude"), []byte("#!/bin/sh\necho started\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	offered := []myModel{{Name: "databricks-b", Aliases: []string{"b", "claude-*-haiku"}}}
	gateway := fakeGateway(t, myself{Name: "alice@example.com", Models: offered})
	for _, tt := range []struct {
		model    string
		unlisted bool
		errs     string // "" when the agent is started
	}{
		{"databricks-b", false, ""},
		{"system.ai.databricks-b", false, ""},
		{"b", false, ""},
		{"claude-4-5-haiku", false, ""},
		{"claude-4-5-haikus", false, "has no model claude-4-5-haikus for alice@example.com; you may use databricks-b; Claude Code was not started"},
		{"databricks-c", false, "did you mean databricks-b?; Claude Code was not started (--unlisted starts it"},
		{"databricks-c", true, ""},
	} {
		args := []string{"launch", "claude", "--url", gateway, "--token", clientToken, "--model", tt.model}
		if tt.unlisted {
			args = append(args, "--unlisted")
		}
		cmd := exec.CommandContext(t.Context(), gatewaytest.Program(t), args...)
		cmd.Env = []string{"HOME=" + home, "PATH=" + bin + ":/usr/bin:/bin"}
		out, err := cmd.CombinedOutput()
		if begun := strings.Contains(string(out), "started\n"); begun != (tt.errs == "") || (err == nil) != begun || !strings.Contains(string(out), tt.errs) {
			t.Errorf("%s: got %v, want %q:\n%s", tt.model, err, tt.errs, out)
		}
	}
}

// Copilot CLI has no file: its token is kept, and the line that prints it works.
func TestSetupOfCopilot(t *testing.T) {
	home, gateway := newHome(t), fakeGateway(t, myself{Name: "alice@example.com", Models: models})
	code, out, errs := command(t, "setup", "copilot", "--url", gateway, "--token", clientToken)
	_, line, _ := strings.Cut(out, "export COPILOT_PROVIDER_API_KEY=$(")
	line, _, _ = strings.Cut(line, ")")
	words := strings.Fields(line)
	if code != 0 || len(words) < 2 || strings.Contains(out, clientToken) || strings.Contains(out, "Copilot CLI uses") || !strings.Contains(out, "Take it back with: sallyport setup copilot --undo") {
		t.Fatalf("exit code %d, %s%s", code, out, errs)
	}
	if code, out, errs := command(t, words[1:]...); code != 0 || out != clientToken+"\n" {
		t.Errorf("%s gives exit code %d, %q, %q", line, code, out, errs)
	}
	if code, out, errs := command(t, "setup", "copilot", "--undo"); code != 0 || !strings.Contains(out, "removed ") {
		t.Errorf("undo: exit code %d, %s%s", code, out, errs)
	}
	if left, _ := os.ReadDir(home); len(left) != 0 {
		t.Errorf("the undo has left %v", left)
	}
}

// Signals reach the agent: in place of the command, and as its child.
func TestLaunchSignals(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		agent  string
		signal syscall.Signal
		code   int
	}{{"claude", syscall.SIGTERM, 7}, {"gemini", syscall.SIGTERM, 7}, {"gemini", syscall.SIGINT, 8}} {
		cmd, _ := launchFake(t, tt.agent, t.TempDir(), "")
		cmd.Stdout = nil
		stdin, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		stdout, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var seen strings.Builder
		buf := make([]byte, 4<<10)
		for !strings.Contains(seen.String(), "ready\n") {
			n, err := stdout.Read(buf)
			seen.Write(buf[:n])
			if err != nil {
				t.Fatalf("%s: %v:\n%s", tt.agent, err, &seen)
			}
		}
		cmd.Process.Signal(tt.signal)
		for {
			n, err := stdout.Read(buf)
			seen.Write(buf[:n])
			if err != nil {
				break
			}
		}
		cmd.Wait()
		stdin.Close()
		if code := cmd.ProcessState.ExitCode(); code != tt.code {
			t.Errorf("%s after %v: exit code %d, want %d:\n%s", tt.agent, tt.signal, code, tt.code, &seen)
		}
	}
}

// A gateway on this machine is found by its configuration.
func TestLocalGateway(t *testing.T) {
	newHome(t)
	file := configFile(t, "data: ./data\nlisten: 127.0.0.1:0\n")
	if code, _, errs := command(t, "me", "-c", file); code != 1 || !strings.Contains(errs, "no gateway runs over") {
		t.Errorf("me without a gateway: exit code %d, %s", code, errs)
	}
	if code, _, errs := command(t, "reload", "-c", file); code != 1 || !strings.Contains(errs, "no gateway runs over") {
		t.Errorf("reload without a gateway: exit code %d, %s", code, errs)
	}
	p := gatewaytest.Serve(t, file)
	// It is asked for the address that it listens on, which the file does not name.
	if code, out, errs := command(t, "me", "-c", file); code != 0 || !strings.Contains(out, " (administrator) at http://127.0.0.1:") || strings.Contains(out, ":0\n") {
		t.Errorf("me: exit code %d, %s%s", code, out, errs)
	}
	if code, out, errs := command(t, "reload", "-c", file); code != 0 || !strings.Contains(out, "has read its configuration again") {
		t.Errorf("reload: exit code %d, %s%s", code, out, errs)
	}
	admin, err := os.ReadFile(filepath.Join(filepath.Dir(file), "data", adminToken))
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(urlVar, p.URL())
	t.Setenv(tokenVar, strings.TrimSpace(string(admin)))
	code, out, errs := command(t, "me")
	if code != 0 || !strings.Contains(out, "root@example.com (administrator) at "+p.URL()) || !strings.Contains(out, "databricks-demo") {
		t.Errorf("me: exit code %d, %s%s", code, out, errs)
	}
	code, out, errs = command(t, "me", "--json")
	if code != 0 || !json.Valid([]byte(out)) || strings.Count(out, "\n") != 1 {
		t.Errorf("me --json: exit code %d, %s%s", code, out, errs)
	}
	if code, out, errs = command(t, "reload"); code != 0 {
		t.Errorf("reload over HTTP: exit code %d, %s%s", code, out, errs)
	}
	if err := os.WriteFile(file, []byte("version: 1\nlissten: x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, errs = command(t, "reload"); code != 1 || !strings.Contains(errs, `did you mean "listen"?`) {
		t.Errorf("reload of a bad file: exit code %d, %s", code, errs)
	}
}

func TestStandingText(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC)
	soon := now.Add(90 * time.Second)
	s := myself{Name: "alice@example.com", Groups: []string{"analysts"}, Models: models, Standing: standing.Standing{
		Limits: []standing.Limit{{Model: "databricks-b", Scope: "group analysts", Per: "minute", Requests: &standing.Amount{Limit: 60, Used: 3, Left: 57},
			Tokens: &standing.Amount{Limit: 400000, Used: 1200, Left: 398800}, Count: []string{"input", "output"}, Resets: &soon},
			{Model: "databricks-b", Scope: "all traffic", Op: "count_tokens", Per: "hour", Requests: &standing.Amount{Limit: 5, Used: 5}}},
		Budgets: []standing.Budget{{Scope: "user alice@example.com", Per: "month", USD: 300, Spent: 0.0042, Left: 299.9958, Then: "block", Resets: soon},
			{Scope: "group analysts", Per: "day", USD: 5, Spent: 6, Then: "alert", Resets: soon}}}}
	var b strings.Builder
	if err := s.write(&b, "http://gw", now); err != nil {
		t.Fatal(err)
	}
	want := `alice@example.com at http://gw
groups: analysts

BUDGET                            USD     SPENT   LEFT    WHEN SPENT         RESETS
user alice@example.com per month  300.00  0.0042  300.00  calls are refused  in 1m30s
group analysts per day            5.00    6.00    0.00    calls go on        in 1m30s

LIMIT           MODEL         WHAT                     ALLOWED            USED  LEFT    RESETS
group analysts  databricks-b  requests                 60 per minute      3     57      in 1m30s
group analysts  databricks-b  tokens of input, output  400000 per minute  1200  398800  in 1m30s
all traffic     databricks-b  requests (count_tokens)  5 per hour         5     0       -

MODEL         SPEAKS     ALSO CALLED
databricks-a  gemini     -
databricks-b  anthropic  b
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", &b, want)
	}
}

func TestCert(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "tls")
	code, out, errs := command(t, "cert", "--dir", dir, "--host", "gateway.example.com", "--host", "127.0.0.1")
	if code != 0 {
		t.Fatalf("exit code %d, %s%s", code, out, errs)
	}
	for _, want := range []string{"NODE_EXTRA_CA_CERTS=" + filepath.Join(dir, "ca.pem"), "CODEX_CA_CERTIFICATE=", "SSL_CERT_FILE=", "tls: {cert: " + filepath.Join(dir, "cert.pem")} {
		if !strings.Contains(out, want) {
			t.Errorf("the output lacks %q:\n%s", want, out)
		}
	}
	read := func(name string) *x509.Certificate {
		t.Helper()
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		block, _ := pem.Decode(b)
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	ca, leaf := read("ca.pem"), read("cert.pem")
	if !ca.IsCA || leaf.IsCA || leaf.KeyUsage&x509.KeyUsageCertSign != 0 {
		t.Error("the server's certificate is an authority's, or the authority's is none")
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	for _, host := range []string{"gateway.example.com", "127.0.0.1"} {
		if _, err := leaf.Verify(x509.VerifyOptions{DNSName: host, Roots: roots}); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
	if _, err := leaf.Verify(x509.VerifyOptions{DNSName: "localhost", Roots: roots}); err == nil {
		t.Error("the certificate is for a host that was not asked for")
	}
	if _, err := tls.LoadX509KeyPair(filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")); err != nil {
		t.Error(err)
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 4 {
		t.Errorf("got the files %v (%v)", files, err)
	}
	for _, f := range files {
		if info, err := f.Info(); err != nil || info.Mode().Perm() != map[string]os.FileMode{"ca.pem": 0o644, "cert.pem": 0o644, "ca-key.pem": 0o600, "key.pem": 0o600}[f.Name()] {
			t.Errorf("%s has the mode %v (%v)", f.Name(), info.Mode(), err)
		}
	}
	if code, out, errs := command(t, "cert", "--dir", dir); code != 0 || !strings.Contains(out, "kept the authority") {
		t.Errorf("a second time: exit code %d, %s%s", code, out, errs)
	}
	if again := read("ca.pem"); !again.Equal(ca) {
		t.Error("the authority is another one")
	}
	if next := read("cert.pem"); next.SerialNumber.Cmp(leaf.SerialNumber) == 0 || next.VerifyHostname("localhost") != nil {
		t.Error("the certificate is the old one")
	}
	if err := os.Remove(filepath.Join(dir, "ca-key.pem")); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := command(t, "cert", "--dir", dir); code != 1 || !strings.Contains(errs, "put the key back") {
		t.Errorf("without the authority's key: exit code %d, %s", code, errs)
	}
}
