//go:build unix

package main

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sallyport-gateway/sallyport/core/gatewaytest"
)

// reloadLong is when a reload that has not happened never will.
const reloadLong = time.Minute

// A gateway in its own process reads its configuration again at SIGHUP and at
// `sallyport reload`, over its socket and over HTTP, and goes on with the old
// one when the new one is wrong.
func TestReloadOfAProcess(t *testing.T) {
	const token = "dapireload000000000000000000000c1"
	dir, err := os.MkdirTemp("", "sp") // the control socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	file := filepath.Join(dir, "gateway.yaml")
	if err := os.WriteFile(filepath.Join(dir, "token"), []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
	write := func(models string) {
		t.Helper()
		text := "version: 1\nlisten: 127.0.0.1:0\ndata: ./data\nplugins: [" + gatewaytest.Plugins(t) + "]\nproviders: {demo: {translator: demo}}\nmodels:\n  first: {destinations: [{provider: demo, model: demo}]}\n" +
			models + "access:\n  users: [{name: root@example.com, admin: true}]\n  tokens: [{principal: root@example.com, token: {file: token}, scopes: [all]}]\n"
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	model := func(name string) string { return "  " + name + ": {destinations: [{provider: demo, model: demo}]}\n" }
	write("")
	p := gatewaytest.Serve(t, file)
	has := func(name string) bool {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.URL()+"/mlflow/v1/responses", strings.NewReader(`{"model": "`+name+`", "input": "Hello"}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusNotFound {
			t.Fatalf("model %s: %d %s, %v", name, resp.StatusCode, b, err)
		}
		return resp.StatusCode == http.StatusOK
	}
	if !has("first") || has("second") {
		t.Fatal("the gateway does not serve what its first configuration says")
	}

	write(model("second"))
	if has("second") {
		t.Error("a changed file is in force before anybody said so")
	}
	hangup := func() {
		t.Helper()
		if err := syscall.Kill(p.PID(), syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	hangup()
	gatewaytest.Eventually(t, reloadLong, "the model that SIGHUP brings", func() bool { return has("second") })

	write("  second: {destinations: [{provider: nobody, model: demo}]}\n")
	hangup()
	gatewaytest.Eventually(t, reloadLong, "the refusal in the log", func() bool { return strings.Contains(p.Log(), "the new configuration was refused") })
	if !has("second") {
		t.Error("the refused configuration has taken a model away")
	}
	code, _, errs := command(t, "reload", "-c", file)
	if code != 1 || !strings.Contains(errs, `"nobody"`) {
		t.Errorf("reload of a wrong file: exit code %d and %q", code, errs)
	}

	write(model("third") + "metrics: 127.0.0.1:0\n")
	// A plugin that was added is used from the reload on.
	script := filepath.Join(dir, "tool-late")
	if err := os.WriteFile(script, []byte("#!/bin/sh\necho '"+`{"kind":"tool","protocol":1,"manifest":{"type":"late","version":"1"}}`+"'\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if code, out, errs := command(t, "plugin", "add", "--yes", "-c", file, script); code != 0 {
		t.Errorf("plugin add: exit code %d, %s%s", code, out, errs)
	}
	const waiting = "late: was added since the gateway read its list"
	if _, out, errs := command(t, "plugin", "list", "-c", file); !strings.Contains(out, waiting) {
		t.Errorf("plugin list before the reload:\n%s%s", out, errs)
	}
	code, out, errs := command(t, "reload", "-c", file)
	if code != 0 || !strings.Contains(out, "has read its configuration again") || !strings.Contains(out, "metrics acts at the next start only") || strings.Contains(out, "plugins acts") {
		t.Errorf("reload: exit code %d, %q, %q", code, out, errs)
	}
	if _, out, errs := command(t, "plugin", "list", "-c", file); !strings.Contains(out, filepath.Join(dir, "data", "plugins", "tool-late")) || strings.Contains(out, waiting) {
		t.Errorf("plugin list after the reload:\n%s%s", out, errs)
	}
	if has("second") || !has("third") {
		t.Error("the models are not those of the reloaded file")
	}

	write(model("fourth"))
	t.Setenv(urlVar, p.URL())
	t.Setenv(tokenVar, token)
	if code, out, errs := command(t, "reload"); code != 0 || !strings.Contains(out, "has read its configuration again") {
		t.Errorf("reload over HTTP: exit code %d, %q, %q", code, out, errs)
	}
	if has("third") || !has("fourth") {
		t.Error("the models are not those of the file reloaded over HTTP")
	}
}
