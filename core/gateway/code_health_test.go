package gateway_test

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sallyport-gateway/sallyport/core/config"
	"github.com/sallyport-gateway/sallyport/core/gateway"
	"github.com/sallyport-gateway/sallyport/core/gatewaytest"
	"github.com/sallyport-gateway/sallyport/core/gatewaytest/upstream"
	"github.com/sallyport-gateway/sallyport/sandbox/guests/guesttest"
)

// damagedGuests is a directory in which the guest of SQL is not what was made,
// Python's files are gone, and the shell's are whole.
func damagedGuests(t testing.TB) string {
	t.Helper()
	from, dir := guesttest.Dir(t), t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil { // a worker may be another user
		t.Fatal(err)
	}
	for _, name := range []string{"manifest.json", "sql.wasm", "sql.mem", "shell.wasm", "shell.mem"} {
		b, err := os.ReadFile(filepath.Join(from, name))
		if err != nil {
			t.Fatal(err)
		}
		if name == "sql.mem" {
			b[len(b)/2] ^= 1
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// health is what /health says.
func health(t testing.TB, url string) (said struct {
	Status   string
	Problems []string
	Code     struct {
		Languages                 []string
		Offer, Missing, Preparing string
	} `json:"code_execution"`
}) {
	t.Helper()
	resp, err := http.Get(url + "/health")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil {
		err = json.Unmarshal(b, &said)
	}
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("/health: %d %v %s", resp.StatusCode, err, b)
	}
	return said
}

// A damaged guest costs its language and no other; models are not offered it,
// and /health, the log and `doctor` tell. What a reload changes acts at once.
func TestDamagedGuests(t *testing.T) {
	t.Parallel()
	up := upstream.OpenAI(t, "sk-model")
	text, dir := openaiOnly(t, up, "sk-model")
	compiled, err := guesttest.Compiled()
	if err != nil {
		t.Fatal(err)
	}
	guests, old := damagedGuests(t), filepath.Join(dir, "data", "guests-cache", "wazero-v0-amd64-linux")
	if err := os.MkdirAll(old, 0o700); err != nil {
		t.Fatal(err)
	}
	parsed := func(more string) *config.Config {
		cfg, err := config.Parse([]byte(text+"code_execution: {guests: "+guests+", cache: "+compiled+more+"}\n"), dir)
		if err != nil {
			t.Fatal(err)
		}
		cfg.Listen.Address = "127.0.0.1:0"
		cfg.Launcher, cfg.Worker, cfg.Plugins = gatewaytest.Launcher(t), gatewaytest.Program(t), []string{gatewaytest.Plugins(t)}
		return cfg
	}
	w := &world{Gateway: gatewaytest.StartConfig(t, parsed(", languages: [python, sql]")), openai: up}
	w.token = w.Gateway.Token("root@example.com")
	if got := health(t, w.URL); got.Status != "degraded" || len(got.Code.Languages) != 0 || len(got.Problems) != 2 ||
		!strings.Contains(got.Problems[0], "programs in python cannot be run: its guest is missing; once it is made, the gateway must be started again") ||
		!strings.Contains(got.Problems[1], "programs in sql cannot be run: its guest is damaged") || strings.Contains(strings.Join(got.Problems, ""), "/") {
		t.Errorf("with two damaged guests /health says %+v", got)
	}
	if _, err := os.Stat(filepath.Dir(old)); !os.IsNotExist(err) {
		t.Errorf("compiled guests that are not used stay: %v", err)
	}
	done, err := w.Gateway.Apply(t.Context(), parsed(", languages: [shell, sql], offer: with_hosted_tools, limits: {wall: 7s, table: 5000}"))
	if err != nil || !slices.Equal(done.Restart, []string{"code_execution.limits.wall"}) {
		t.Errorf("the reload gave %+v, %v; want only the wall to wait for the next start", done, err)
	}
	if got := health(t, w.URL); !slices.Equal(got.Code.Languages, []string{"shell"}) || len(got.Problems) != 2 || !strings.Contains(got.Problems[0], "programs in sql") || !strings.Contains(got.Problems[1], "programs see no tables: the guest of sql prepares them, and it is damaged") {
		t.Errorf("after the reload /health says %+v", got)
	}
	got := w.programs(t, compute(false), run(shellExec, "echo $((6 * 7))"))
	if got[0].text() != "42\n" || !strings.Contains(got[0].Note, "main.sales.reviews is not here") {
		t.Errorf("the shell gave %+v", got[0])
	}
	for _, r := range w.openai.Requests() {
		if body := string(r.Body); strings.Contains(body, pythonExec) || strings.Contains(body, sqlExec) || !strings.Contains(body, shellExec) || !strings.Contains(body, "may take 30s") {
			t.Errorf("the model was offered %s", body)
		}
	}
	if log := w.Log(); !strings.Contains(log, "a guest is of no use") || !strings.Contains(log, "sql.mem") {
		t.Error("the log does not name the damaged file")
	}
	if _, err := w.Gateway.Apply(t.Context(), parsed(", offer: never")); err != nil {
		t.Fatal(err)
	}
	if got := health(t, w.URL); got.Status != "ok" || got.Code.Offer != "never" || !slices.Equal(got.Code.Languages, []string{"shell"}) || got.Code.Missing != "" {
		t.Errorf("with what nobody is offered /health says %+v", got)
	}
	report := gateway.CodeExecution(parsed(""))
	said := strings.Join(report.Notes, "\n")
	if !slices.Equal(report.Languages, []string{"shell"}) || !slices.Equal(report.Lost, []string{"python", "sql"}) || !strings.Contains(said, "no programs in sql: its guest in "+guests+" is damaged: file \"sql.mem\"") || !strings.Contains(said, "no programs in python: its guest in "+guests+" is missing: file ") || strings.Count(said, "make build") != 2 || !strings.Contains(said, "sql.mem") || !strings.Contains(said, "python.mem") || !strings.Contains(said, "programs see no tables") {
		t.Errorf("doctor says %+v", report)
	}
	whole, err := os.ReadFile(filepath.Join(guesttest.Dir(t), "sql.mem"))
	if err == nil {
		err = os.WriteFile(filepath.Join(guests, "sql.mem"), whole, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	done, err = w.Gateway.Apply(t.Context(), parsed(""))
	if said := strings.Join(done.Warnings, "\n"); err != nil || !strings.Contains(said, "programs in python cannot be run: its guest is missing") || !strings.HasSuffix(said, "taken when the gateway is started again: sql") {
		t.Errorf("a reload after one guest was made again says %+v, %v", done, err)
	}
}

// Guests that are made while a gateway without any runs are taken by a reload,
// which says what is wrong until then.
func TestReloadTakesGuests(t *testing.T) {
	t.Parallel()
	up := upstream.OpenAI(t, "sk-model")
	text, dir := openaiOnly(t, up, "sk-model")
	compiled, err := guesttest.Compiled()
	if err != nil {
		t.Fatal(err)
	}
	guests := filepath.Join(dir, "guests")
	text += "code_execution: {guests: " + guests + ", cache: " + compiled + "}\n"
	w := &world{Gateway: gatewaytest.Start(t, text, dir), openai: up}
	w.token = w.Gateway.Token("root@example.com")
	reload := func() gateway.Reloaded {
		t.Helper()
		cfg, err := config.Parse([]byte(text), dir)
		if err != nil {
			t.Fatal(err)
		}
		done, err := w.Gateway.Apply(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		return done
	}
	const none = "code execution: no program can be run: there are no guests; the log says where they were looked for, and once they are made `sallyport reload` takes them"
	if got := health(t, w.URL); got.Status != "degraded" || !slices.Equal(got.Problems, []string{none}) { // it answers once the gateway serves
		t.Errorf("/health says %+v", got)
	}
	if done := reload(); !slices.Contains(done.Warnings, none) {
		t.Errorf("a reload without guests says %+v", done)
	}
	if err := os.Symlink(guesttest.Dir(t), guests); err != nil {
		t.Fatal(err)
	}
	if done := reload(); slices.ContainsFunc(done.Warnings, func(s string) bool { return strings.HasPrefix(s, "code execution: ") }) {
		t.Errorf("a reload with guests says %+v", done)
	}
	if got := health(t, w.URL); got.Status != "ok" || len(got.Code.Languages) != 3 || got.Code.Missing != "" {
		t.Errorf("/health says %+v", got)
	}
	if got := w.programs(t, compute(false), run(shellExec, "echo $((6 * 7))")); got[0].text() != "42\n" {
		t.Errorf("the shell gave %+v", got[0])
	}
}

// A directory of compiled guests that is of no use stops no gateway; it has no
// code execution, and says so.
func TestCompiledGuestsOfNoUse(t *testing.T) {
	t.Parallel()
	up := upstream.OpenAI(t, "sk-model")
	text, dir := openaiOnly(t, up, "sk-model")
	write(t, filepath.Join(dir, "file"), "")
	text += "code_execution: {guests: " + guesttest.Dir(t) + ", cache: " + filepath.Join(dir, "file") + "}\n"
	w := &world{Gateway: gatewaytest.Start(t, text, dir), openai: up}
	w.token = w.Gateway.Token("root@example.com")
	if got := health(t, w.URL); got.Status != "degraded" || len(got.Code.Languages) != 0 || len(got.Problems) != 1 || !strings.Contains(got.Problems[0], "the log says why") {
		t.Errorf("/health says %+v", got)
	}
	up.Script(upstream.Turn{Text: answered})
	if a := w.ask(t, compute(false)); a.text() != answered || strings.Contains(string(up.Requests()[0].Body), pythonExec) {
		t.Errorf("got %d %s", a.status, a.raw)
	}
	cfg, err := config.Parse([]byte(text), dir)
	if err != nil {
		t.Fatal(err)
	}
	if r := gateway.CodeExecution(cfg); r.Languages != nil || len(r.Lost) != 3 || len(r.Notes) != 1 || !strings.Contains(r.Notes[0], filepath.Join(dir, "file")+" is not a directory") {
		t.Errorf("doctor says %+v", r)
	}
}
