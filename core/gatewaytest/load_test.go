//go:build linux

package gatewaytest_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport-gateway/sallyport/core/gatewaytest"
	"github.com/sallyport-gateway/sallyport/core/gatewaytest/upstream"
	"github.com/sallyport-gateway/sallyport/examples/samples"
)

// errand is a kind of request of a load: what the client does and what the
// provider answers.
type errand string

const (
	plain  errand = "plain"  // one turn
	hosted errand = "hosted" // the table is queried, then a second turn
	second errand = "second" // the first destination refuses, the fallback serves
	flaky  errand = "flaky"  // the provider fails once, then serves
	broken errand = "broken" // the provider cuts every reply
	leaves errand = "leaves" // the client leaves while the provider still speaks
	waits  errand = "waits"  // the reply is held in its middle; not of random loads
)

var errands = []errand{plain, plain, plain, plain, plain, hosted, second, flaky, broken, leaves}

// The models of a load, one a dialect, and one with a fallback.
const (
	gpt      = "databricks-gpt-5-2"
	claude   = "databricks-claude-sonnet-4-5"
	google   = "databricks-gemini-2-5-flash"
	fallback = "databricks-with-fallback"
	captured = "databricks-captured" // has an inference table
)

const loadToken = "dapiload0000000000000000000000001"

// providers play OpenAI, Anthropic and Gemini for a load. What a request is
// for stands in its prompt; every request that arrives is noted.
type providers struct {
	openai, anthropic, gemini *upstream.Server
	pace                      time.Duration // between the frames of their replies
	forget                    bool          // note nothing: the load goes on for long

	mu   sync.Mutex
	seen map[string][]sight        // by id, in the order they came
	held map[string]*upstream.Gate // by id, of leaves and waits
}

// sight is a request that arrived at a provider.
type sight struct{ turn int } // how many results of tools are in it

var mark = regexp.MustCompile(`#([\w-]+) (\w+)#`)

func prompt(id string, e errand) string { return fmt.Sprintf("#%s %s# How are the reviews?", id, e) }

func newProviders(t testing.TB) *providers {
	p := &providers{seen: map[string][]sight{}, held: map[string]*upstream.Gate{}}
	p.openai, p.anthropic, p.gemini = upstream.OpenAI(t, "sk-load"), upstream.Anthropic(t, "sk-ant-load"), upstream.Gemini(t, "AIza-load")
	for server, result := range map[*upstream.Server]string{p.openai: `"function_call_output"`, p.anthropic: `"tool_result"`, p.gemini: `"functionResponse"`} {
		server.Play(func(r upstream.Request) upstream.Turn { return p.answer(r, result) })
	}
	return p
}

// count is how many tokens a turn has by the provider's account: different for
// each, and the same whenever it is asked again.
func count(id string, turn int) upstream.Usage {
	h := fnv.New64a()
	fmt.Fprint(h, id, turn)
	n := int(h.Sum64() >> 1)
	return upstream.Usage{Input: 50 + n%1000, Cached: n >> 10 % 500, Output: 20 + n>>20%100, Reasoning: n >> 30 % 40}
}

// answer notes a request and says what is answered.
func (p *providers) answer(r upstream.Request, result string) upstream.Turn {
	m := mark.FindSubmatch(r.Body)
	if m == nil {
		return upstream.Turn{Status: 400}
	}
	id, e, turn := string(m[1]), errand(m[2]), bytes.Count(r.Body, []byte(result))
	p.mu.Lock()
	defer p.mu.Unlock()
	before := len(p.seen[id])
	t := upstream.Turn{Text: "All is well with the reviews.", Usage: count(id, turn), Pace: p.pace}
	switch {
	case e == hosted && turn == 0:
		t.Text = "Let me look."
		t.Calls = []upstream.Call{{Name: "main__sales__reviews", Arguments: `{"sql":"SELECT count(*) AS n FROM main.sales.reviews"}`}}
	case e == second && before == 0:
		t = upstream.Turn{Status: 503, RetryAfter: "60"} // longer than the gateway waits
	case e == flaky && before == 0:
		t = upstream.Turn{Status: 500}
	case e == broken:
		t.Fault = upstream.Cut
	case e == leaves, e == waits:
		t.Middle = p.held[id]
	}
	if p.forget {
		return t
	}
	p.seen[id] = append(p.seen[id], sight{turn})
	return t
}

// hold makes the gate at which the reply to a client that leaves is held.
func (p *providers) hold(id string) *upstream.Gate {
	p.mu.Lock()
	defer p.mu.Unlock()
	g := upstream.NewGate()
	p.held[id] = g
	return g
}

// sights are what has arrived so far.
func (p *providers) sights() map[string][]sight {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make(map[string][]sight, len(p.seen))
	for id, s := range p.seen {
		all[id] = append([]sight(nil), s...)
	}
	return all
}

// refused fails the test if a provider found fault with a request.
func (p *providers) refused(t testing.TB) {
	t.Helper()
	for name, s := range map[string]*upstream.Server{"openai": p.openai, "anthropic": p.anthropic, "gemini": p.gemini} {
		if r := s.Refusals(); len(r) > 0 {
			t.Errorf("%s refused: %q", name, r)
		}
	}
}

// loadPrices are the prices of the load's destinations, by provider, as the
// configuration has them.
var loadPrices = map[string]string{
	"openai":    "{input: 1.75, output: 14, cache_read: 0.175}",
	"anthropic": "{input: 3, output: 15, cache_read: 0.3, cache_write: 3.75, cache_write_1h: 6}",
	"gemini":    "{input: 0.3, output: 2.5, cache_read: 0.03}",
}

// configure writes the configuration of a load into dir and returns the file.
// more is appended; edits change the text.
func (p *providers) configure(t testing.TB, dir, more string, edits ...func(string) string) string {
	t.Helper()
	if _, err := os.Stat(filepath.Join(dir, "samples")); err != nil {
		if err := samples.Write(filepath.Join(dir, "samples"), samples.Seed); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(dir, "sallyport.yaml")
	for name, text := range map[string]string{
		"token": loadToken, "openai": "sk-load", "anthropic": "sk-ant-load", "gemini": "AIza-load",
		"sallyport.yaml": `version: 1
listen: 127.0.0.1:0
plugins: [` + gatewaytest.Plugins(t) + `]
shutdown: 5s
providers:
  openai: {translator: openai, base_url: ` + p.openai.URL + `, key: {file: openai}}
  anthropic: {translator: anthropic, base_url: ` + p.anthropic.URL + `, key: {file: anthropic}}
  gemini: {translator: gemini, base_url: ` + p.gemini.URL + `, key: {file: gemini}}
models:
  ` + gpt + `: {destinations: [{provider: openai, model: gpt-5.2, price: ` + loadPrices["openai"] + `}]}
  ` + claude + `: {destinations: [{provider: anthropic, model: claude-sonnet-4-5, price: ` + loadPrices["anthropic"] + `}]}
  ` + google + `: {destinations: [{provider: gemini, model: gemini-2.5-flash, price: ` + loadPrices["gemini"] + `}]}
  ` + fallback + `:
    destinations: [{provider: openai, model: gpt-5.2, price: ` + loadPrices["openai"] + `}]
    fallback: [{provider: anthropic, model: claude-sonnet-4-5, price: ` + loadPrices["anthropic"] + `}]
  ` + captured + `:
    destinations: [{provider: openai, model: gpt-5.2}]
    inference_table: {parent: main.gateway, prefix: captured}
access:
  users: [{name: root@example.com, admin: true}]
  tokens: [{principal: root@example.com, token: {file: token}, scopes: [all]}]
catalog: {main: {sales: {tables: {reviews: {location: ./samples/reviews.parquet, format: parquet}}}}}
` + more,
	} {
		for _, edit := range edits {
			text = edit(text)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return file
}

// request is one request of a load.
type request struct {
	id     string
	errand errand
	model  string
	stream bool

	padding int // letters more in the prompt
}

// answer is what its client got.
type answer struct {
	status   int    // 0 when no answer came
	end      string // status of the response: completed, failed, …; "" when it did not come
	complete bool   // the whole answer came, and it is a good one
	in, out  int    // tokens the answer says
	raw      []byte
	err      error
}

// send makes one request of the gateway at url.
func (p *providers) send(ctx context.Context, c *http.Client, url string, q request) answer {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	body := map[string]any{"model": q.model, "stream": q.stream, "input": prompt(q.id, q.errand) + strings.Repeat(" x", q.padding/2)}
	if q.errand == hosted {
		body["tools"] = []any{map[string]any{"type": "table", "table": map[string]any{"name": "main.sales.reviews"}}}
	}
	b, err := json.Marshal(body)
	if err != nil {
		return answer{err: err}
	}
	req, err := http.NewRequestWithContext(ctx, "POST", url+"/ai-gateway/mlflow/v1/responses", bytes.NewReader(b))
	if err != nil {
		return answer{err: err}
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+loadToken)
	req.Header.Set("Databricks-Ai-Gateway-Request-Tags", fmt.Sprintf(`{"id": %q, "errand": %q}`, q.id, q.errand))
	if q.errand == leaves {
		gate := p.hold(q.id)
		go func() { // ends with ctx
			select {
			case <-gate.Reached():
				cancel()
			case <-ctx.Done():
			}
		}()
	}
	resp, err := c.Do(req)
	if err != nil {
		return answer{err: err}
	}
	defer resp.Body.Close()
	r := answer{status: resp.StatusCode}
	if r.raw, r.err = io.ReadAll(resp.Body); r.err != nil {
		return r
	}
	r.read(q.stream && resp.StatusCode == http.StatusOK)
	return r
}

// read finds the response in what came.
func (r *answer) read(streamed bool) {
	document := r.raw
	if streamed {
		document = nil
		for lines := bufio.NewScanner(bytes.NewReader(r.raw)); lines.Scan(); {
			if data, ok := strings.CutPrefix(lines.Text(), `data: {`); ok && strings.Contains(data, `"response":{`) {
				document = []byte("{" + data)
			}
		}
	}
	type response struct {
		Status string
		Usage  struct {
			In  int `json:"input_tokens"`
			Out int `json:"output_tokens"`
		}
	}
	var v struct {
		response
		Response *response
	}
	if err := json.Unmarshal(document, &v); err != nil {
		r.err = fmt.Errorf("reply: %w in %.300s", err, r.raw)
		return
	}
	if v.Response == nil {
		v.Response = &v.response
	}
	r.end, r.in, r.out = v.Response.Status, v.Response.Usage.In, v.Response.Usage.Out
	r.complete = r.status == http.StatusOK && r.end == "completed"
}
