package gateway_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sallyport-gateway/sallyport/core/config"
	"github.com/sallyport-gateway/sallyport/core/gatewaytest"
	"github.com/sallyport-gateway/sallyport/core/toolset"
)

// reloadable is a configuration with a model and a grant more or less.
func reloadable(t *testing.T, dir string, models, grants string) *config.Config {
	t.Helper()
	cfg, err := config.Parse([]byte(`
version: 1
listen: 127.0.0.1:0
providers: {demo: {translator: demo}}
models:
  first: {destinations: [{provider: demo, model: demo}]}
`+models+`
access:
  users: [{name: root@example.com, admin: true}, {name: ann@example.com}]
  grants: [`+grants+`]
`), dir)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Launcher = gatewaytest.Launcher(t)
	cfg.Plugins = []string{gatewaytest.Plugins(t)}
	return cfg
}

const (
	mayFirst   = "{to: ann@example.com, privileges: [EXECUTE], on: model first}"
	mayAll     = "{to: ann@example.com, privileges: [EXECUTE], on: schema system.ai}"
	second     = "  second: {destinations: [{provider: demo, model: demo}]}\n"
	remembered = "  second: {destinations: [{provider: demo, model: demo}], inference_table: {parent: main.kept, prefix: second}}\n"
)

func TestApplyDropsNoRequest(t *testing.T) {
	dir := shortDir(t)
	g := gatewaytest.StartConfig(t, reloadable(t, dir, "", mayAll))
	token := g.Token("ann@example.com")
	var (
		wg     sync.WaitGroup
		stop   atomic.Bool
		served atomic.Int64
	)
	for i := range 4 {
		wg.Go(func() {
			for !stop.Load() {
				status, _, raw := g.Post(token, "/ai-gateway/mlflow/v1/responses", object{"model": "first", "input": "Hello", "stream": i%2 == 0})
				if status != http.StatusOK {
					t.Errorf("a request met the reload: status %d: %s", status, raw)
					return
				}
				served.Add(1)
			}
		})
	}
	for i := range 12 {
		models := ""
		if i%2 == 0 {
			models = second
		}
		want := served.Load() + 4
		if _, err := g.Apply(t.Context(), reloadable(t, dir, models, mayAll)); err != nil {
			t.Errorf("Apply: %v", err)
		}
		status, _, raw := g.Post(token, "/ai-gateway/mlflow/v1/responses", object{"model": "second", "input": "Hello"})
		if ok := status == http.StatusOK; ok != (i%2 == 0) {
			t.Errorf("after reload %d the second model answers with status %d: %s", i, status, raw)
		}
		gatewaytest.Eventually(t, waitLong, "requests between two reloads", func() bool { return t.Failed() || served.Load() >= want })
	}
	stop.Store(true)
	wg.Wait()
}

func TestApplyChangesRightsAndTables(t *testing.T) {
	dir := shortDir(t)
	g := gatewaytest.StartConfig(t, reloadable(t, dir, second, mayFirst))
	token := g.Token("ann@example.com")
	ask := func() int {
		status, _, _ := g.Post(token, "/ai-gateway/mlflow/v1/responses", object{"model": "second", "input": "Hello"})
		return status
	}
	if got := ask(); got != http.StatusForbidden {
		t.Fatalf("without a grant: status %d, want 403", got)
	}
	if _, err := g.Apply(t.Context(), reloadable(t, dir, remembered, mayAll)); err != nil {
		t.Fatal(err)
	}
	if got := ask(); got != http.StatusOK {
		t.Fatalf("with the new grant: status %d, want 200", got)
	}
	r := runSQL(t, g, g.Token("root@example.com"), object{"statement": "select count(*) from main.kept.second_payload"})
	if rows := r.rows(t); len(rows) != 1 || rows[0][0] != "1" {
		t.Errorf("the new payload table holds %v, want one row: %s", rows, r.message())
	}
	if _, err := g.Apply(t.Context(), reloadable(t, dir, remembered, mayFirst)); err != nil {
		t.Fatal(err)
	}
	if got := ask(); got != http.StatusForbidden {
		t.Errorf("after the grant was taken back: status %d, want 403", got)
	}
}

func TestBadConfigurationIsRefused(t *testing.T) {
	dir := shortDir(t)
	g := gatewaytest.StartConfig(t, reloadable(t, dir, second, mayFirst))
	root, token := g.Token("root@example.com"), g.Token("ann@example.com")
	var next func() (*config.Config, error)
	g.Load = func() (*config.Config, error) { return next() }
	ask := func(model string) int {
		status, _, _ := g.Post(token, "/ai-gateway/mlflow/v1/responses", object{"model": model, "input": "Hello"})
		return status
	}
	for _, tt := range []struct {
		name string
		next func() (*config.Config, error)
		want string
	}{
		{"a file that cannot be read", func() (*config.Config, error) {
			return nil, fmt.Errorf("config gateway.yaml: line 3: unknown key")
		}, "line 3: unknown key"},
		{"a provider nobody translates", func() (*config.Config, error) {
			cfg := reloadable(t, dir, second, mayAll)
			p := cfg.Providers["demo"]
			p.Translator = "klingon"
			cfg.Providers["demo"] = p
			return cfg, nil
		}, "klingon"},
		{"a tool nobody serves with settings", func() (*config.Config, error) {
			cfg := reloadable(t, dir, second, mayAll)
			tool := cfg.Tools["table"]
			tool.Settings = map[string]any{"no_such_setting": true}
			cfg.Tools = toolset.Config{"table": tool}
			return cfg, nil
		}, "tools.table.settings"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			next = tt.next
			status, _, raw := g.Post(root, "/api/2.0/sallyport/reload", object{})
			if status != http.StatusBadRequest || !strings.Contains(string(raw), tt.want) || !strings.Contains(string(raw), "goes on with the old one") {
				t.Errorf("reload: status %d: %s\nwant 400 and %q", status, raw, tt.want)
			}
			if got := ask("first"); got != http.StatusOK {
				t.Errorf("the first model: status %d, want 200", got)
			}
			if got := ask("second"); got != http.StatusForbidden {
				t.Errorf("a right of the refused file counts: status %d, want 403", got)
			}
		})
	}
	next = func() (*config.Config, error) {
		cfg := reloadable(t, dir, second, mayAll)
		cfg.Metrics = "127.0.0.1:0"
		return cfg, nil
	}
	if status, _, raw := g.Post(token, "/api/2.0/sallyport/reload", object{}); status != http.StatusForbidden {
		t.Errorf("reload by somebody who is no administrator: status %d: %s", status, raw)
	}
	done, err := g.Reload(t.Context())
	if err != nil || !slices.Equal(done.Restart, []string{"metrics"}) {
		t.Errorf("Reload = %+v, %v; want that metrics needs a restart", done, err)
	}
	if got := ask("second"); got != http.StatusOK {
		t.Errorf("with the good file: status %d, want 200", got)
	}
}
