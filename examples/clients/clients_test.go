//go:build e2e

// The client programs of this folder, run as they are against the real
// gateway program. The clients come from PyPI and npm.
package clients

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport-gateway/sallyport/examples/samples"
)

const config = `version: 1
listen: 127.0.0.1:0
data: ./data
providers: {demo: {translator: demo}}
models: {databricks-demo: {destinations: [{provider: demo, model: demo}]}}
access:
  users: [{name: alice@example.com, groups: [analysts]}, {name: root@example.com, admin: true}]
  service_principals: [{name: etl, secret: {env: ETL_SECRET}, groups: [analysts]}]
  grants:
    - {to: analysts, privileges: [USE CATALOG, USE SCHEMA], on: catalog main}
    - {to: analysts, privileges: [SELECT], on: schema main.sales}
    - {to: analysts, privileges: [EXECUTE], on: schema system.ai}
catalog: {main: {sales: {tables: {
  reviews: {location: ./samples/reviews.parquet, format: parquet, comment: One row per customer review},
  visits: {location: ./visits, format: delta, comment: One row per visit to a shop}}}}}
`

// The secrets that must never be seen anywhere but with their owner.
const etlSecret = "canary-etl-secret-3141592653"

type gateway struct {
	url, alice string
	log        func() string
}

// start runs bin/sallyport in dir and returns once it serves.
func start(t *testing.T, dir string) gateway {
	t.Helper()
	if err := samples.Write(filepath.Join(dir, "samples"), samples.Seed); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "gateway.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	bin, err := filepath.Abs("../../bin/sallyport")
	if err != nil {
		t.Fatal(err)
	}
	env := append(os.Environ(), "ETL_SECRET="+etlSecret)
	cmd := exec.Command(bin, "serve", "--config", file, "--welcome", "--log-level", "debug")
	cmd.Env = env
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var log strings.Builder
	cmd.Stderr = writerFunc(func(p []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return log.Write(p)
	})
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v (run `make build` first)", err)
	}
	read := func() string { mu.Lock(); defer mu.Unlock(); return log.String() }
	t.Cleanup(func() {
		cmd.Process.Signal(os.Interrupt)
		if err := cmd.Wait(); err != nil {
			t.Errorf("the gateway ended with %v", err)
		}
		if t.Failed() {
			t.Logf("the gateway's log:\n%s", read())
		}
		if strings.Contains(read(), etlSecret) {
			t.Error("the gateway's log shows the service principal's secret")
		}
	})
	urls := make(chan string, 1)
	go func() {
		for sc := bufio.NewScanner(out); sc.Scan(); {
			if f := strings.Fields(sc.Text()); len(f) == 2 && f[0] == "URL" {
				urls <- f[1]
			}
		}
		close(urls)
	}()
	var g gateway
	select {
	case g.url = <-urls:
	case <-time.After(2 * time.Minute):
	}
	if g.url == "" {
		t.Fatalf("the gateway did not start:\n%s", read())
	}
	create := exec.Command(bin, "token", "create", "--config", file, "--principal", "alice@example.com")
	create.Env = env
	token, err := create.Output()
	if err != nil {
		t.Fatalf("token create: %v", err)
	}
	g.alice, g.log = strings.TrimSpace(string(token)), read
	return g
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// run runs a client program with the given variables and nothing else of
// ours, and returns what it printed.
func run(t *testing.T, env []string, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	for _, e := range os.Environ() {
		if k, _, _ := strings.Cut(e, "="); !strings.HasPrefix(k, "DATABRICKS_") && !strings.HasPrefix(k, "OPENAI_") {
			cmd.Env = append(cmd.Env, e)
		}
	}
	cmd.Env = append(cmd.Env, env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", filepath.Base(name), strings.Join(args, " "), err, out)
	}
	return string(out)
}

// cache is where the downloaded clients are kept.
func cache(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../../.cache")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

var requirements = []string{"python/requirements.txt", "python/requirements-databricks.txt", "testdata/requirements.txt"}

// python makes a virtual environment with the pinned clients.
func python(t *testing.T) string {
	t.Helper()
	venv := filepath.Join(cache(t), "python")
	bin := filepath.Join(venv, "bin", "python")
	var want []byte
	for _, f := range requirements {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, b...)
	}
	stamp := filepath.Join(venv, "requirements.txt")
	if have, _ := os.ReadFile(stamp); string(have) == string(want) {
		return bin
	}
	run(t, nil, "python3", "-m", "venv", "--clear", venv)
	run(t, nil, bin, "-m", "pip", "install", "--quiet", "uv==0.13.8") // its resolver needs seconds where pip's needs minutes
	run(t, nil, filepath.Join(venv, "bin", "uv"), "pip", "install", "--quiet", "--python", bin, "-r", requirements[0], "-r", requirements[1], "-r", requirements[2])
	if err := os.WriteFile(stamp, want, 0o644); err != nil {
		t.Fatal(err)
	}
	return bin
}

// node makes a folder with the pinned clients and the programs.
func node(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(cache(t), "node")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("node/*.*")
	if err != nil || len(files) == 0 {
		t.Fatalf("no Node programs: %v", err)
	}
	for _, f := range files {
		if filepath.Base(f) == "package-lock.json" {
			continue
		}
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(f)), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	run(t, nil, "npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", dir)
	return dir
}

// reviewsByCountry computes from the sample rows what the programs ask for.
func reviewsByCountry() map[string]string {
	n := map[string]int{}
	for _, r := range samples.Reviews(samples.Seed) {
		n[r.Country]++
	}
	out := map[string]string{}
	for c, k := range n {
		out[c] = fmt.Sprint(k)
	}
	return out
}

func TestClients(t *testing.T) {
	g := start(t, t.TempDir())
	sallyport := []string{"SALLYPORT_URL=" + g.url, "SALLYPORT_TOKEN=" + g.alice}
	pat := []string{"DATABRICKS_HOST=" + g.url, "DATABRICKS_TOKEN=" + g.alice}
	m2m := []string{"DATABRICKS_HOST=" + g.url, "DATABRICKS_CLIENT_ID=etl", "DATABRICKS_CLIENT_SECRET=" + etlSecret}
	counts := reviewsByCountry()

	t.Run("curl", func(t *testing.T) {
		out := run(t, sallyport, "curl/table.sh", "How many reviews are there by country?")
		var resp struct {
			Status string
			Output []struct{ Type string }
		}
		if err := json.Unmarshal([]byte(out), &resp); err != nil || resp.Status != "completed" || len(resp.Output) != 3 {
			t.Errorf("got %s (%v)", out, err)
		}
		for c, n := range counts {
			if !strings.Contains(out, c) || !strings.Contains(out, n) {
				t.Errorf("the answer lacks %s: %s\n%s", c, n, out)
			}
		}
		streamed := run(t, append(sallyport, "SALLYPORT_STREAM=true"), "curl/table.sh")
		if !regexp.MustCompile(`(?s)^event: response\.created\n.*event: response\.completed\n.*data: \[DONE\]\n\n$`).MatchString(streamed) {
			t.Errorf("got the stream\n%s", streamed)
		}
	})
	t.Run("python", func(t *testing.T) {
		py := python(t)
		for _, tt := range []struct {
			name string
			env  []string
			args []string
		}{
			{"openai, table", sallyport, []string{"python/openai_table.py"}},
			{"openai, functions", sallyport, []string{"python/functions.py", "openai"}},
			{"databricks, table, token", pat, []string{"python/databricks_table.py"}},
			{"databricks, table, client credentials", m2m, []string{"python/databricks_table.py"}},
			{"databricks, functions", pat, []string{"python/functions.py", "databricks"}},
			{"agents", sallyport, []string{"python/agents_sdk.py"}},
		} {
			t.Run(tt.name, func(t *testing.T) {
				out := run(t, tt.env, py, tt.args...)
				if strings.Contains(tt.name, "openai, table") {
					for c, n := range counts {
						if !strings.Contains(out, n) {
							t.Errorf("the answer lacks %s: %s\n%s", c, n, out)
						}
					}
				}
			})
		}
	})
	t.Run("node", func(t *testing.T) {
		dir := node(t)
		for _, f := range []string{"table.mjs", "functions.mjs", "agents.mjs"} {
			t.Run(f, func(t *testing.T) { run(t, sallyport, "node", filepath.Join(dir, f)) })
		}
	})
}

// writeVisits makes a Delta table with another implementation of the protocol:
// partitions, a checkpoint, commits after it, and a deletion.
const writeVisits = `
import sys, pyarrow as pa
from deltalake import DeltaTable, write_deltalake
path = sys.argv[1]
def part(i):
    return pa.table({"visit": pa.array(range(i * 10, i * 10 + 10), pa.int64()),
                     "region": ["north west" if k % 2 else None for k in range(10)],
                     "minutes": pa.array([float(i)] * 10)})
for i in range(4): write_deltalake(path, part(i), mode="append", partition_by=["region"])
DeltaTable(path).create_checkpoint()
for i in range(4, 6): write_deltalake(path, part(i), mode="append", partition_by=["region"])
DeltaTable(path).delete("visit = 5")
`

// Tables that delta-rs wrote are read as it reads them.
func TestDeltaTable(t *testing.T) {
	py := python(t)
	dir := t.TempDir()
	run(t, nil, py, "-c", writeVisits, filepath.Join(dir, "visits"))
	g := start(t, dir)
	body := `{"model":"databricks-demo","input":"What are the count and the sum of minutes by region?","tools":[{"type":"table","table":{"name":"main.sales.visits"}}]}`
	out := run(t, nil, "curl", "--silent", "--show-error", g.url+"/ai-gateway/mlflow/v1/responses", "-H", "Authorization: Bearer "+g.alice, "-H", "Content-Type: application/json", "-d", body)
	// 60 rows less one; 30 of "north west" but for visit 5; minutes are 10 × (0+1+2+3+4+5), half each.
	for _, want := range []string{`[null,30,75]`, `["north west",29,75]`} {
		if !strings.Contains(strings.ReplaceAll(strings.ReplaceAll(out, `\"`, `"`), ".0", ""), want) {
			t.Errorf("the answer lacks %s:\n%s", want, out)
		}
	}
}
