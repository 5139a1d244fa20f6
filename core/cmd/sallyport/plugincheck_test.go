package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/sallyport-gateway/sallyport/core/gatewaytest"
	"github.com/sallyport-gateway/sallyport/core/gatewaytest/upstream"
	"github.com/sallyport-gateway/sallyport/sdk/conformance"
	"github.com/sallyport-gateway/sallyport/sdk/golden"
)

// sample builds the kit's sample plugin, once.
var sample = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "sp-sample-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "faulty")
	cmd := exec.Command("go", "build", "-o", path, "./sdk/conformance/testdata/faulty")
	cmd.Dir = filepath.Join("..", "..", "..")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, out)
	}
	return os.ReadFile(path)
})

// faulty is the kit's sample plugin under a name that chooses its kind and
// fault.
func faulty(t *testing.T, name string) string {
	t.Helper()
	gatewaytest.Plugins(t) // builds the launcher
	program, err := sample()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), name)
	if err := errors.Join(os.Chmod(filepath.Dir(path), 0o755), os.WriteFile(path, program, 0o755)); err != nil {
		t.Fatal(err)
	}
	return path
}

// Every bundled plugin passes, confined. The program itself tests them: the kit
// in a test with the race detector takes five times as long, and its own tests
// run it so.
func TestPluginTestBundled(t *testing.T) {
	t.Parallel()
	dir := gatewaytest.Plugins(t)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".lock") {
			continue
		}
		t.Run(e.Name(), func(t *testing.T) {
			t.Parallel()
			golden := filepath.Join(gatewaytest.Root(t), "plugins", e.Name(), "testdata")
			cmd := exec.CommandContext(t.Context(), gatewaytest.Program(t), "plugin", "test", filepath.Join(dir, e.Name()), "--testdata", golden, "--json")
			var out, errs bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &errs
			err := cmd.Run()
			var r conformance.Report
			if err := json.Unmarshal(out.Bytes(), &r); err != nil {
				t.Fatalf("the report is %q: %v; %s", &out, err, &errs)
			}
			if err != nil || !r.OK() || len(r.Passed) == 0 {
				t.Errorf("%v, findings %v; %s", err, r.Findings, &errs)
			}
		})
	}
}

func TestPluginTestFinds(t *testing.T) {
	t.Parallel()
	code, out, errs := command(t, "plugin", "test", faulty(t, "tool-wrong-declaration"), "--only", "functions")
	for _, want := range []string{"function-declaration", "sent  Open", "came  function \"", "hint  Function.declaration is", ", 1 finding, "} {
		if !strings.Contains(out, want) {
			t.Errorf("the report lacks %q:\n%s", want, out)
		}
	}
	if code != 1 || !strings.Contains(errs, "1 finding") {
		t.Errorf("exit code %d, %s", code, errs)
	}
}

// What a plugin may not read shows as a finding that says what to do.
func TestPluginTestMissingRead(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("no python3 here")
	}
	gatewaytest.Plugins(t) // builds the launcher
	dir := t.TempDir()
	data := filepath.Join(t.TempDir(), "cities.json")
	script := filepath.Join(dir, "cities")
	text := "#!/usr/bin/env python3\nimport json\nprint(json.dumps({'kind': 'tool', 'protocol': 1, 'manifest': json.load(open('" + data + "'))}))\n"
	for path, text := range map[string]string{script: text, data: `{"type":"cities","version":"1"}`} {
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range []string{dir, filepath.Dir(data), filepath.Dir(dir)} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	_, out, _ := command(t, "plugin", "test", script)
	if !strings.Contains(out, "describe-fails") || !strings.Contains(out, "Permission denied") || !strings.Contains(out, "--read") {
		t.Errorf("without --read the report is\n%s", out)
	}
	_, out, _ = command(t, "plugin", "test", script, "--read", data)
	if strings.Contains(out, "describe-fails") {
		t.Errorf("with --read the report is\n%s", out)
	}
}

func TestPluginRun(t *testing.T) {
	t.Setenv("SALLYPORT_TEST_FACTS_KEY", "facts-key-123")
	var got *http.Request
	facts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r
		_, _ = io.WriteString(w, "on the Spree") // to a test's client
	}))
	t.Cleanup(facts.Close)
	path := faulty(t, "tool-none")
	dir := t.TempDir()
	file := func(name, text string) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	declaration := file("d.json", `{"type":"cities","cities":{}}`)
	args := []string{
		"plugin", "run", path, "--declaration", declaration, "--call", file("c.json", `{"name":"city_facts","arguments":{"city":"Berlin"}}`),
		"--target", "facts=" + facts.URL + "/api", "--key", "facts=env:SALLYPORT_TEST_FACTS_KEY", "--settings", file("s.json", `{"greeting":"Moin"}`),
	}
	code, out, errs := command(t, args...)
	if code != 0 || !strings.Contains(out, "function city_facts") || !strings.Contains(out, "Moin, Berlin: on the Spree") {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
	if got == nil || got.URL.Path != "/api/city" || got.Header.Get("Authorization") != "Bearer facts-key-123" {
		t.Errorf("the target was asked %+v", got)
	}
	code, out, _ = command(t, append(args, "--json")...)
	var both struct {
		Opened struct{ Functions []struct{ Name string } }
		Result struct{ Content []struct{ Text string } }
	}
	if err := json.Unmarshal([]byte(out), &both); code != 0 || err != nil || len(both.Opened.Functions) != 1 || both.Result.Content[0].Text != "Moin, Berlin: on the Spree" {
		t.Errorf("exit code %d, %v: %s", code, err, out)
	}
	for _, tt := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"plugin", "run", path}, 2, "--declaration is missing"},
		{[]string{"plugin", "run", path, "--declaration", file("o.json", `{"type":"towns"}`)}, 1, `the plugin serves "cities"`},
		{[]string{"plugin", "run", path, "--declaration", declaration, "--call", file("n.json", `{"name":"nothing"}`)}, 1, "there is city_facts"},
		{[]string{"plugin", "run", path, "--declaration", declaration, "--key", "facts=env:X"}, 2, "there is no --target facts"},
		{[]string{"plugin", "run", path, "--declaration", declaration, "--target", "facts=http://127.0.0.1:1", "--key", "facts=sk-secret"}, 2, "env:VARIABLE"},
		{[]string{"plugin", "run", faulty(t, "tool-crash-on-start"), "--declaration", declaration}, 1, "no such table: cities"},
	} {
		if code, _, errs := command(t, tt.args...); code != tt.code || !strings.Contains(errs, tt.want) {
			t.Errorf("%q: exit code %d, %q; want %d, %q", tt.args[2:], code, errs, tt.code, tt.want)
		}
	}
}

// A dialogue that was recorded passes the kit, and holds nothing of the account.
func TestPluginRecord(t *testing.T) {
	const key = "sk-test-0123456789abcdef"
	t.Setenv("SALLYPORT_TEST_OPENAI_KEY", key)
	provider := upstream.OpenAI(t, key)
	provider.Script(upstream.Turn{Text: "Hello there."}, upstream.Turn{Status: 401}, upstream.Turn{Text: "Cut.", Fault: upstream.Cut})
	plugin := filepath.Join(gatewaytest.Plugins(t), "provider-openai")
	dir := filepath.Join(t.TempDir(), "recorded")
	request := filepath.Join(t.TempDir(), "r.json")
	if err := os.WriteFile(request, []byte(`{"model":"gpt-5.2","input":"Say hello","stream":true}`), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"plugin", "record", plugin, "--base-url", provider.URL, "--key", "env:SALLYPORT_TEST_OPENAI_KEY", "--request", request, "--out", dir}
	code, out, errs := command(t, args...)
	if code != 0 || !strings.Contains(out, `"type":"response.completed"`) || !strings.Contains(errs, "recorded-001.txtar") {
		t.Fatalf("exit code %d\n%s%s", code, out, errs)
	}
	for range 2 { // an error and a cut reply are dialogues too
		if code, _, errs = command(t, args...); code != 1 || !strings.Contains(errs, "recorded ") {
			t.Errorf("exit code %d, %s", code, errs)
		}
	}
	as, err := golden.ReadDir(dir)
	if err != nil || len(as) != 3 {
		t.Fatalf("%d dialogues, %v", len(as), err)
	}
	for _, a := range as {
		text := string(a.Bytes())
		for _, secret := range []string{key, "Authorization", "Set-Cookie", "Openai-Organization"} {
			if strings.Contains(text, secret) {
				t.Errorf("%s holds %s:\n%s", a.Name(), secret, text)
			}
		}
	}
	code, out, errs = command(t, "plugin", "test", plugin, "--testdata", dir, "--only", "splits", "--only", "cut replies")
	if code != 0 {
		t.Errorf("the recorded dialogues do not pass: exit code %d\n%s%s", code, out, errs)
	}
}
