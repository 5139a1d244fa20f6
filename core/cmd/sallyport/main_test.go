package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sallyport-gateway/sallyport/core/gateway"
	"github.com/sallyport-gateway/sallyport/core/gatewaytest"
)

// TestMain puts the launcher beside the test program, where the commands look
// for it.
func TestMain(m *testing.M) {
	exe, err := os.Executable()
	if err == nil {
		var launcher string
		launcher, err = filepath.Abs("../../../bin/sallyport-confine")
		err = errors.Join(err, os.Symlink(launcher, filepath.Join(filepath.Dir(exe), "sallyport-confine")))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	for _, end := range atEnd {
		if err := end(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// atEnd is done when all tests have ended, by those who share something.
var atEnd []func() error

// running has a gateway run over the data of a configuration, until end: the
// commands ask it, and need not open the data each anew.
func running(t *testing.T, file string) (end func() error) {
	t.Helper()
	cfg, err := load(file)
	if err != nil {
		t.Fatal(err)
	}
	g, err := gateway.New(context.Background(), cfg, version, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := g.ServeControl(context.Background()); err != nil {
		g.Close()
		t.Fatal(err)
	}
	return g.Close
}

// command runs the program's command line and returns exit code and output.
func command(t *testing.T, args ...string) (int, string, string) {
	t.Helper()
	var out, errs bytes.Buffer
	code := run(t.Context(), args, &out, &errs)
	return code, out.String(), errs.String()
}

// configFile writes a configuration whose plugins are the bundled ones.
func configFile(t *testing.T, more string) string {
	t.Helper()
	return configIn(t, t.TempDir(), more)
}

func configIn(t *testing.T, dir, more string) string {
	t.Helper()
	file := filepath.Join(dir, "gateway.yaml")
	text := "version: 1\nplugins: [" + gatewaytest.Plugins(t) + "]\n" + `providers: {demo: {translator: demo}}
models: {databricks-demo: {destinations: [{provider: demo, model: demo}]}}
access: {users: [{name: alice@example.com}, {name: root@example.com, admin: true}]}
` + more
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestWrongUse(t *testing.T) {
	t.Parallel()
	file := configFile(t, "")
	tests := []struct {
		args []string
		code int
		want string
	}{
		{[]string{"tokne"}, 2, `unknown command "tokne" for "sallyport"; did you mean "token"?`},
		{[]string{"tokne", "create", "-p", "x"}, 2, `did you mean "token"?`},
		{[]string{"xyzzy"}, 2, `unknown command "xyzzy" for "sallyport"; there is backup, cert, check`},
		{[]string{"--no-such-flag"}, 2, "--no-such-flag"},
		{[]string{"token", "craete"}, 2, `unknown command "craete" for "sallyport token"; did you mean "create"?`},
		{[]string{"token", "craete", "-c", file, "--principal", "x"}, 2, `did you mean "create"?`},
		{[]string{"plugin", "lits"}, 2, `did you mean "list"?`},
		{[]string{"config", "xyzzy"}, 2, `unknown command "xyzzy" for "sallyport config"; there is show`},
		{[]string{"token", "list", "mine"}, 2, `sallyport token list takes no argument: what is "mine"?`},
		{[]string{"token", "revoke"}, 2, "which token? give the id that `sallyport token list` shows"},
		{[]string{"token", "revoke", "a", "b"}, 2, "one token at a time"},
		{[]string{"serve", "--no-such-flag"}, 2, "--no-such-flag"},
		{[]string{"serve", "--listen", "nowhere", "-c", file}, 2, "host:port"},
		{[]string{"serve", "--log-level", "loud"}, 2, "debug, info, warn or error"},
		{[]string{"serve", "-c", "/no/such/file"}, 1, "/no/such/file"},
		{[]string{"token", "create", "-c", file}, 2, "--principal is missing"},
		{[]string{"token", "create", "-c", file, "-p", "alice@example.com", "--lifetime", "soon"}, 2, "90d"},
		{[]string{"token", "create", "-c", file, "-p", "alcie@example.com"}, 1, "alice@example.com"},
		{[]string{"token", "revoke", "-c", file, "no-such-id"}, 1, "no-such-id"},
		{[]string{"check", "-c", configFile(t, "lissten: x\n")}, 1, `did you mean "listen"?`},
		{[]string{"check", "-c", configFile(t, "plugin: [x]\n")}, 1, `did you mean "plugins"?`},
	}
	for _, tt := range tests {
		code, _, errs := command(t, tt.args...)
		if code != tt.code || !strings.Contains(errs, tt.want) {
			t.Errorf("%v: got exit code %d and %q, want %d and %q", tt.args, code, errs, tt.code, tt.want)
		}
	}
}

func TestRightUse(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"version"}, "sallyport version " + version + "\n"},
		{[]string{"--version"}, "sallyport version " + version + "\n"},
		{nil, "Available Commands"},
		{[]string{"token", "--help"}, "create      make a token"},
		{[]string{"help", "token", "create"}, "--principal"},
	} {
		if code, out, errs := command(t, tt.args...); code != 0 || !strings.Contains(out, tt.want) {
			t.Errorf("%v: got exit code %d, %q, %q, want %q", tt.args, code, out, errs, tt.want)
		}
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	t.Run("valid", func(t *testing.T) {
		code, out, errs := command(t, "check", "-c", configFile(t, "code_execution: {offer: always}\ncatalog: {main: {s: {tables: {gone: {location: ./gone.parquet}}}}}\n"))
		if code != 0 || !strings.Contains(out, "the configuration is valid") {
			t.Fatalf("got exit code %d, %q, %q", code, out, errs)
		}
		for _, want := range []string{"note: code execution: models run no programs: there are no guests in ", "warning: table main.s.gone"} {
			if !strings.Contains(out, want) {
				t.Errorf("got %q, want a line with %q", out, want)
			}
		}
	})
	t.Run("leaves no data behind", func(t *testing.T) {
		file := configFile(t, "")
		command(t, "check", "-c", file)
		if _, err := os.Stat(filepath.Join(filepath.Dir(file), "sallyport-data")); !os.IsNotExist(err) {
			t.Errorf("the data directory was made: %v", err)
		}
	})
	t.Run("unknown translator", func(t *testing.T) {
		file := configFile(t, "")
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, bytes.Replace(b, []byte("translator: demo"), []byte("translator: demoo"), 1), 0o600); err != nil {
			t.Fatal(err)
		}
		if code, _, errs := command(t, "check", "-c", file); code != 1 || !strings.Contains(errs, `"demoo"; did you mean "demo"?`) {
			t.Errorf("got exit code %d and %q", code, errs)
		}
	})
}

// What check refuses serve refuses, in the same words.
func TestCheckAndServeAgree(t *testing.T) {
	t.Parallel()
	for provider, want := range map[string]string{
		`{translator: demo, base_url: "http://127.0.0.1:1/v1"}`:           `providers.demo: base_url: translator "demo" answers without any network; leave base_url out`,
		`{translator: demo, base_url: "no url"}`:                          `providers.demo: base_url: translator "demo" answers without any network; leave base_url out`,
		`{translator: demo, key: {env: SALLYPORT_TEST_NO_SUCH_VARIABLE}}`: `providers.demo: key: translator "demo" takes no key`,
		`{translator: openai, base_url: "http://"}`:                       "providers.demo: base_url",
		`{translator: demo, settings: {mood: good}}`:                      `settings: translator "demo" takes none`,
	} {
		file := configFile(t, "listen: 127.0.0.1:0\n")
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, bytes.Replace(b, []byte("{translator: demo}"), []byte(provider), 1), 0o600); err != nil {
			t.Fatal(err)
		}
		checked, _, said := command(t, "check", "-c", file)
		served, _, log := command(t, "serve", "-c", file)
		lines := strings.SplitAfter(strings.TrimSuffix(log, "\n")+"\n", "\n")
		if checked != 1 || served != 1 || !strings.Contains(said, want) || lines[len(lines)-2] != said {
			t.Errorf("%s: check gave %d %q, serve %d %q, want %q", provider, checked, said, served, log, want)
		}
	}
}

// Without a gateway, tokens are made in the store.
func TestTokens(t *testing.T) {
	t.Parallel()
	file := configFile(t, "")
	code, out, errs := command(t, "token", "create", "-c", file, "-p", "alice@example.com", "--comment", "laptop", "--lifetime", "30d", "--scopes", "ai-gateway,unity-catalog")
	if code != 0 {
		t.Fatalf("create: exit code %d, %s", code, errs)
	}
	if !strings.Contains(errs, "for alice@example.com, valid until 20") {
		t.Errorf("create does not say when the token ends: %s", errs)
	}
	token := strings.TrimSpace(out)
	_, out, _ = command(t, "token", "list", "-c", file)
	if !strings.Contains(out, "alice@example.com") || !strings.Contains(out, "laptop") || !strings.Contains(out, "ai-gateway,unity-catalog") || strings.Contains(out, token) {
		t.Errorf("list: got\n%s", out)
	}
	id := strings.Fields(strings.Split(out, "\n")[1])[0]
	if code, out, errs := command(t, "token", "revoke", "-c", file, id); code != 0 || !strings.Contains(out, id) {
		t.Errorf("revoke: got exit code %d, %q, %q", code, out, errs)
	}
	if _, out, _ = command(t, "token", "list", "-c", file); strings.Contains(out, "laptop") {
		t.Errorf("list after revoke: got\n%s", out)
	}
}

func TestConfigShowHidesSecrets(t *testing.T) {
	file := configFile(t, "connections: {x: {type: mcp, transport: http, url: 'http://u:PASSWORD@127.0.0.1:1/', auth: {type: bearer, token: {env: SALLYPORT_TEST_CANARY}}}}\n")
	t.Setenv("SALLYPORT_TEST_CANARY", "canary-2718281828")
	code, out, errs := command(t, "config", "show", "--effective", "-c", file)
	if code != 0 || !strings.Contains(out, "SALLYPORT_TEST_CANARY") || !strings.Contains(out, "127.0.0.1:8080") {
		t.Errorf("got exit code %d, %q, %q", code, out, errs)
	}
	if strings.Contains(out+errs, "canary-2718281828") || strings.Contains(out+errs, "PASSWORD") {
		t.Errorf("the secret is shown:\n%s", out)
	}
}
