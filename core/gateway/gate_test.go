package gateway_test

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/sallyport-gateway/sallyport/core/gatewaytest"
	"github.com/sallyport-gateway/sallyport/examples/samples"
)

// demo is a gateway over the sample tables with a user who may do everything
// that analysts may, one who may do nothing, and an administrator.
const demo = `version: 1
data: ./data
providers: {demo: {translator: demo}}
models: {databricks-demo: {destinations: [{provider: demo, model: demo}]}}
access:
  users:
    - {name: alice@example.com, groups: [analysts]}
    - {name: nobody@example.com}
    - {name: root@example.com, admin: true}
  grants:
    - {to: analysts, privileges: [USE CATALOG, USE SCHEMA], on: catalog main}
    - {to: analysts, privileges: [SELECT], on: table main.sales.reviews}
    - {to: analysts, privileges: [EXECUTE], on: schema system.ai}
catalog: {main: {sales: {tables: {
  reviews: {location: ./samples/reviews.parquet, format: parquet, comment: One row per customer review},
  orders: {location: ./samples/orders.parquet, format: parquet, comment: One row per order},
  products: {location: ./samples/products.csv, format: csv},
  stores: {location: ./samples/stores.jsonl, format: json}}}}}
`

// sampleDir is a directory with the sample tables.
func sampleDir(t testing.TB, seed uint64) string {
	t.Helper()
	dir := t.TempDir()
	writeSamples(t, dir, seed)
	return dir
}

// sampleFiles are the files of the sample tables by their seed. They are made
// once: most tests begin with them.
var sampleFiles struct {
	sync.Mutex
	of map[uint64]fstest.MapFS
}

// writeSamples puts the sample tables into samples below dir.
func writeSamples(t testing.TB, dir string, seed uint64) {
	t.Helper()
	sampleFiles.Lock()
	defer sampleFiles.Unlock()
	to := filepath.Join(dir, "samples")
	if files, ok := sampleFiles.of[seed]; ok {
		if err := os.CopyFS(to, files); err != nil {
			t.Fatal(err)
		}
		return
	}
	if err := samples.Write(to, seed); err != nil {
		t.Fatal(err)
	}
	written, err := os.ReadDir(to)
	if err != nil {
		t.Fatal(err)
	}
	files := fstest.MapFS{}
	for _, f := range written {
		data, err := os.ReadFile(filepath.Join(to, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		files[f.Name()] = &fstest.MapFile{Data: data, Mode: 0o644}
	}
	if sampleFiles.of == nil {
		sampleFiles.of = map[uint64]fstest.MapFS{}
	}
	sampleFiles.of[seed] = files
}

const ask = `{"model":"databricks-demo","input":"How many reviews are there?","tools":[{"type":"table","table":{"name":"main.sales.reviews"}}]}`

var wildcard = regexp.MustCompile(`\{[^}]*\}`)

// One gate: no route reaches a model, a table or a tool without
// authentication, scope and permission. The whole route table is walked.
func TestOneGate(t *testing.T) {
	t.Parallel()
	g := gatewaytest.Start(t, demo, sampleDir(t, samples.Seed))
	open := map[string]bool{
		"GET /health": true, "GET /{$}": true, "GET /.well-known/databricks-config": true, "POST /oidc/v1/token": true,
		"GET /oidc/.well-known/oauth-authorization-server": true, "GET /oidc/.well-known/openid-configuration": true,
	}
	// What coding tools ask for before they have a token, to see that somebody is
	// there.
	for _, base := range []string{"/anthropic", "/anthropic/api/hello", "/gemini", "/openai/v1", "/codex/v1", "/cursor/v1"} {
		for _, method := range []string{"GET ", "HEAD "} {
			open[method+base], open[method+"/ai-gateway"+base] = true, true
		}
	}
	request := func(method, path, token string) (int, string) {
		path = wildcard.ReplaceAllString(strings.TrimSuffix(path, "{$}"), "databricks-demo")
		req, err := http.NewRequestWithContext(t.Context(), method, g.URL+path, strings.NewReader(ask))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(b)
	}
	narrow := g.Token("alice@example.com", "genie")
	nobody := g.Token("nobody@example.com")
	for _, rt := range g.Routes() {
		name := rt.Method + " " + rt.Path
		if rt.Open != open[name] {
			t.Errorf("%s: open is %v; a route that needs no token must be listed in this test", name, rt.Open)
		}
		if rt.Open {
			if st, body := request(rt.Method, rt.Path, ""); st >= 500 || strings.Contains(body, "databricks-demo") {
				t.Errorf("%s, which is open: got %d %s", name, st, body)
			}
			continue
		}
		if st, body := request(rt.Method, rt.Path, ""); st != 401 {
			t.Errorf("%s without a token: got %d %s", name, st, body)
		}
		if st, body := request(rt.Method, rt.Path, "dapi-not-a-token"); st != 401 {
			t.Errorf("%s with an unknown token: got %d %s", name, st, body)
		}
		if st, body := request(rt.Method, rt.Path, narrow); rt.Scope != "" && st != 403 {
			t.Errorf("%s with a token of another scope: got %d %s", name, st, body)
		}
		st, body := request(rt.Method, rt.Path, nobody)
		if st == 200 && (strings.Contains(body, "databricks-demo") || strings.Contains(body, "output_text")) {
			t.Errorf("%s without any grant: got %d %s", name, st, body)
		}
	}
	if st, body := request("POST", "/ai-gateway/mlflow/v1/responses", g.Token("alice@example.com")); st != 200 || !strings.Contains(body, "output_text") {
		t.Errorf("with token and grants: got %d %s", st, body)
	}
}

func TestCompressedRequestIsNamed(t *testing.T) {
	t.Parallel()
	g := gatewaytest.Start(t, demo, sampleDir(t, samples.Seed))
	st, _, body := g.Post(g.Token("alice@example.com"), "/mlflow/v1/responses", ask, "Content-Encoding", "gzip")
	if st != 400 || !strings.Contains(string(body), "Content-Encoding gzip") {
		t.Errorf("got %d %s", st, body)
	}
}
