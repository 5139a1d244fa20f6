package gateway_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-gateway/sallyport/core/config"
	"github.com/sallyport-gateway/sallyport/core/gatewaytest"
	"github.com/sallyport-gateway/sallyport/core/gatewaytest/upstream"
	"github.com/sallyport-gateway/sallyport/core/supervisor/lint"
	"github.com/sallyport-gateway/sallyport/core/supervisor/render"
	"github.com/sallyport-gateway/sallyport/examples/samples"
)

type object = map[string]any

// canaries are the secrets of a world. None of them may appear anywhere but in
// the one header it is made for.
type canaries struct{ openai, anthropic, gemini, etl, alice string }

func (c canaries) all() []string {
	return []string{c.openai, c.anthropic, c.gemini, c.etl, c.alice}
}

// canaryEnv begins the names of the variables that secrets come from when they
// are set; else they come from files.
const canaryEnv = "SALLYPORT_CANARY_"

// waitLong is when a test gives up waiting for what must happen.
const waitLong = time.Minute

// world is a gateway with the configuration of the contract, its providers
// played by strict upstreams.
type world struct {
	*gatewaytest.Gateway
	openai, anthropic, gemini *upstream.Server
	secrets                   canaries
	token                     string // alice's
	dir                       string
	text                      string // the configuration
}

const (
	gpt    = "databricks-gpt-5-2"
	chat   = "databricks-gpt-5-2-chat"
	claude = "databricks-claude-sonnet-4-5"
	google = "databricks-gemini-2-5-flash"
)

// newWorld starts a gateway over the sample tables of a seed. edits are pairs
// of texts to replace in the configuration.
func newWorld(t testing.TB, seed uint64, edits ...string) *world {
	t.Helper()
	w := &world{dir: sampleDir(t, seed)}
	w.secrets = canaries{
		openai: "sk-canary-openai-7f3d", anthropic: "sk-ant-canary-91c2", gemini: "AIza-canary-55e0", etl: "canary-etl-secret-a8b4", alice: "dapicanaryalice00000000000000000c1",
	}
	for name, p := range map[string]*string{"OPENAI": &w.secrets.openai, "ANTHROPIC": &w.secrets.anthropic, "GEMINI": &w.secrets.gemini, "ETL": &w.secrets.etl, "ALICE": &w.secrets.alice} {
		if v := os.Getenv(canaryEnv + name); v != "" {
			*p = v
		}
	}
	w.openai, w.anthropic, w.gemini = upstream.OpenAI(t, w.secrets.openai), upstream.Anthropic(t, w.secrets.anthropic), upstream.Gemini(t, w.secrets.gemini)
	contract, err := os.ReadFile(filepath.Join(gatewaytest.Root(t), "core", "config", "testdata", "contract.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	text := string(contract)
	secret := func(name, value string) string {
		if env := canaryEnv + strings.ToUpper(name); os.Getenv(env) != "" {
			return "{env: " + env + "}"
		}
		path := filepath.Join(w.dir, name)
		if err := os.WriteFile(path, []byte(value+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return "{file: " + path + "}"
	}
	edits = append([]string{
		"https://api.openai.com/v1", w.openai.URL, "{env: SALLYPORT_TEST_NO_SUCH_VARIABLE}", secret("openai", w.secrets.openai),
		"https://api.anthropic.com", w.anthropic.URL, "{file: /run/secrets/anthropic}", secret("anthropic", w.secrets.anthropic),
		"https://generativelanguage.googleapis.com", w.gemini.URL, "{env: GEMINI_API_KEY}", secret("gemini", w.secrets.gemini),
		"{env: ETL_SECRET}", secret("etl", w.secrets.etl), "{env: ALICE_TOKEN}", secret("alice", w.secrets.alice),
		"  demo:      {translator: demo}", "  demo:      {translator: demo}\n  chat: {translator: openai, base_url: " + w.openai.URL + ", key: " + secret("openai", w.secrets.openai) + ", settings: {api: chat}}",
		"requests: 60, tokens: 400000,", "requests: 60000000, tokens: 400000000000,", "tokens: 2000000,", "tokens: 900000000000,", // the limits have tests of their own
		"  databricks-demo:", "  " + chat + ": {destinations: [{provider: chat, model: gpt-5.2}]}\n  databricks-demo:",
	}, edits...)
	for i := 0; i+1 < len(edits); i += 2 {
		if !strings.Contains(text, edits[i]) {
			t.Fatalf("the contract's configuration holds no %q", edits[i])
		}
		text = strings.ReplaceAll(text, edits[i], edits[i+1])
	}
	w.Gateway, w.text = gatewaytest.Start(t, text, w.dir), text
	w.token = w.secrets.alice
	t.Cleanup(func() { w.checkSecrets(t) })
	return w
}

// apply puts the configuration in the place of the current one.
func (w *world) apply(t testing.TB) {
	t.Helper()
	cfg, err := config.Parse([]byte(w.text), w.dir)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Plugins, cfg.Launcher, cfg.Worker = []string{gatewaytest.Plugins(t)}, gatewaytest.Launcher(t), gatewaytest.Program(t)
	if _, err := w.Apply(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
}

// checkSecrets holds the log against the secrets.
func (w *world) checkSecrets(t testing.TB) {
	log := w.Log()
	for _, s := range w.secrets.all() {
		if strings.Contains(log, s) {
			t.Errorf("the secret %s is in the gateway's log", s)
		}
	}
}

// upstreams are the three providers by the model that leads to them.
func (w *world) upstream(model string) *upstream.Server {
	return map[string]*upstream.Server{gpt: w.openai, chat: w.openai, claude: w.anthropic, google: w.gemini}[model]
}

// refused fails the test if a provider refused anything.
func (w *world) refused(t testing.TB) {
	t.Helper()
	for name, s := range map[string]*upstream.Server{"openai": w.openai, "anthropic": w.anthropic, "gemini": w.gemini} {
		if r := s.Refusals(); len(r) > 0 {
			t.Errorf("%s refused: %q", name, r)
			for _, q := range s.Requests() {
				if q.Refused != "" {
					t.Logf("%s %s\n%s", q.Path, q.Query, q.Body)
				}
			}
		}
	}
}

// answer is what a client got.
type answer struct {
	status   int
	raw      []byte
	response object // the response, or the error body
	events   []string
}

// ask sends one request to the Supervisor and checks the form of the reply.
func (w *world) ask(t testing.TB, body object, header ...string) answer {
	t.Helper()
	status, _, raw := w.Post(w.token, "/ai-gateway/mlflow/v1/responses", body, header...)
	return read(t, status, raw, body["stream"] == true)
}

// read checks and takes apart a reply.
func read(t testing.TB, status int, raw []byte, streamed bool) answer {
	t.Helper()
	a := answer{status: status, raw: raw}
	if status != http.StatusOK || !streamed {
		if err := json.Unmarshal(raw, &a.response); err != nil {
			t.Fatalf("reply of status %d: %v in %s", status, err, raw)
		}
		if status == http.StatusOK {
			if err := lint.Response(render.Databricks, raw); err != nil {
				t.Errorf("response: %v\n%s", err, raw)
			}
		}
		return a
	}
	if err := lint.SSE(render.Databricks, raw); err != nil {
		t.Errorf("stream: %v\n%s", err, raw)
	}
	for line := range bytes.SplitSeq(raw, []byte("\n")) {
		if name, ok := bytes.CutPrefix(line, []byte("event: ")); ok {
			a.events = append(a.events, string(name))
		}
		data, ok := bytes.CutPrefix(line, []byte("data: {"))
		if !ok {
			continue
		}
		var ev object
		if err := json.Unmarshal(append([]byte("{"), data...), &ev); err != nil {
			t.Fatalf("event: %v in %s", err, line)
		}
		if r, ok := ev["response"].(object); ok {
			a.response = r
		}
	}
	return a
}

// output lists the items of one type.
func (a answer) output(typ string) []object {
	var items []object
	all, _ := a.response["output"].([]any)
	for _, v := range all {
		if it, _ := v.(object); it["type"] == typ {
			items = append(items, it)
		}
	}
	return items
}

// results are the outputs of calls, in order.
func (a answer) results() []string {
	var out []string
	for _, it := range a.output("function_call_output") {
		out = append(out, fmt.Sprint(it["output"]))
	}
	return out
}

func (a answer) text() string {
	var b strings.Builder
	for _, m := range a.output("message") {
		parts, _ := m["content"].([]any)
		for _, p := range parts {
			text, _ := p.(object)["text"].(string)
			b.WriteString(text)
		}
	}
	return b.String()
}

// failure is the code and message of an error, wherever the reply has it.
func (a answer) failure() (code, message string) {
	e, _ := a.response["error"].(object)
	code, _ = e["code"].(string)
	message, _ = e["message"].(string)
	return code, message
}

// echo is the output as programs send it back: OpenAI's Python client adds
// members with null.
func (a answer) echo() []any {
	all, _ := a.response["output"].([]any)
	var out []any
	for _, v := range all {
		it := v.(object)
		c := object{}
		for k, v := range it {
			c[k] = v
		}
		nulls := map[string][]string{"message": {"phase"}, "function_call": {"caller", "namespace"},
			"function_call_output": {"caller", "created_by", "name", "namespace"}, "reasoning": {"content", "encrypted_content", "status"}}
		for _, k := range nulls[it["type"].(string)] {
			if _, ok := c[k]; !ok {
				c[k] = nil
			}
		}
		out = append(out, c)
	}
	return out
}

// tools are the table and the function of the tests' request.
func tools() []any {
	return []any{
		object{"type": "table", "table": object{"name": "main.sales.reviews", "description": "Reads customer reviews"}},
		object{"type": "function", "name": "flag_review", "description": "Marks a review as urgent",
			"parameters": object{"type": "object", "properties": object{"review_id": object{"type": "integer"}}, "required": []string{"review_id"}, "additionalProperties": false}},
	}
}

func user(text string) object {
	return object{"type": "message", "role": "user", "content": text}
}

// sql is a scripted call of the reviews table.
func sql(query string) upstream.Call {
	b, _ := json.Marshal(object{"sql": query})
	return upstream.Call{Name: "main__sales__reviews", Arguments: string(b)}
}

// open begins a request and gives the reply to read by pieces.
func (w *world) open(t testing.TB, body object) *http.Response {
	t.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), "POST", w.URL+"/ai-gateway/mlflow/v1/responses", bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+w.token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return resp
}

// start sends a request in the background; the channel gives its answer.
func (w *world) start(t testing.TB, body object) <-chan answer {
	t.Helper()
	ch := make(chan answer, 1)
	b, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), "POST", w.URL+"/ai-gateway/mlflow/v1/responses", bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+w.token)
	go func() {
		defer close(ch)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Errorf("request: %v", err)
			return
		}
		defer resp.Body.Close()
		raw, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Errorf("reply: %v after %s", err, raw)
			return
		}
		ch <- answer{status: resp.StatusCode, raw: raw}
	}()
	return ch
}

// wait takes the answer of start.
func wait(t testing.TB, ch <-chan answer, streamed bool) answer {
	t.Helper()
	a, ok := <-ch
	if !ok {
		t.FailNow()
	}
	return read(t, a.status, a.raw, streamed)
}

// openaiOnly is a configuration over the sample tables with one model, at up.
func openaiOnly(t testing.TB, up *upstream.Server, key string) (text, dir string) {
	t.Helper()
	dir = sampleDir(t, samples.Seed)
	write(t, filepath.Join(dir, "key"), key)
	text = strings.Replace(demo, "providers: {demo: {translator: demo}}", "providers: {openai: {translator: openai, base_url: "+up.URL+", key: {file: key}}}", 1)
	return strings.Replace(text, "models: {databricks-demo: {destinations: [{provider: demo, model: demo}]}}", "models: {databricks-gpt-5-2: {destinations: [{provider: openai, model: gpt-5.2}]}}", 1), dir
}

// tail is the rest of a stream.
func tail(t testing.TB, r *bufio.Reader) string {
	t.Helper()
	var b strings.Builder
	if _, err := r.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
