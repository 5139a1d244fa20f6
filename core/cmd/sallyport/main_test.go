package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sallyport-gateway/sallyport/core/gatewaytest"
)

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
	file := filepath.Join(t.TempDir(), "gateway.yaml")
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
		{[]string{"tokne"}, 1, "token"},
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

func TestCheck(t *testing.T) {
	t.Parallel()
	t.Run("valid", func(t *testing.T) {
		code, out, errs := command(t, "check", "-c", configFile(t, "budgets: [{each: user, usd: 5, per: month}]\ncatalog: {main: {s: {tables: {gone: {location: ./gone.parquet}}}}}\n"))
		if code != 0 || !strings.Contains(out, "the configuration is valid") {
			t.Fatalf("got exit code %d, %q, %q", code, out, errs)
		}
		for _, want := range []string{"note: budgets", "warning: table main.s.gone"} {
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
		if code, _, errs := command(t, "check", "-c", file); code != 1 || !strings.Contains(errs, "demoo") {
			t.Errorf("got exit code %d and %q", code, errs)
		}
	})
}

// Without a gateway, tokens are made in the store.
func TestTokens(t *testing.T) {
	t.Parallel()
	file := configFile(t, "")
	code, out, errs := command(t, "token", "create", "-c", file, "-p", "alice@example.com", "--comment", "laptop", "--lifetime", "30d", "--scopes", "ai-gateway,unity-catalog")
	if code != 0 {
		t.Fatalf("create: exit code %d, %s", code, errs)
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
	file := configFile(t, "connections: {x: {type: mcp, transport: http, url: http://127.0.0.1:1/, auth: {type: bearer, token: {env: SALLYPORT_TEST_CANARY}}}}\n")
	t.Setenv("SALLYPORT_TEST_CANARY", "canary-2718281828")
	code, out, errs := command(t, "config", "show", "--effective", "-c", file)
	if code != 0 || !strings.Contains(out, "SALLYPORT_TEST_CANARY") || !strings.Contains(out, "127.0.0.1:8080") {
		t.Errorf("got exit code %d, %q, %q", code, out, errs)
	}
	if strings.Contains(out+errs, "canary-2718281828") {
		t.Errorf("the secret is shown:\n%s", out)
	}
}

func TestPluginList(t *testing.T) {
	t.Parallel()
	_, out, _ := command(t, "plugin", "list", "-c", configFile(t, ""))
	for _, want := range []string{"openai", "anthropic", "gemini", "demo", "table", "duckdb"} {
		if !strings.Contains(out, want) {
			t.Errorf("the list lacks %q:\n%s", want, out)
		}
	}
}
