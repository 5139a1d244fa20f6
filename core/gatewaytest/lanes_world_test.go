//go:build linux

package gatewaytest_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport-gateway/sallyport/core/gatewaytest"
)

// workload is what the clients of a measurement ask for.
type workload struct {
	name     string // stands in the prompt, and tells the provider what to answer
	clients  int    // at once
	requests int    // of all of them, a round
	prompt   int    // letters
	reply    int    // letters of a reply that is no stream
	chunks   int    // of a stream
	pace     time.Duration
	budget   map[string]string // by lane
}

const laneChunks = 200

var (
	smallBudget = map[string]string{"native": "0.10 CPU-s", "translated": "0.35 CPU-s"}
	largeBudget = map[string]string{"native": "0.15 CPU-s", "translated": "0.35 CPU-s"}
	burstBudget = map[string]string{"native": "6 µs", "translated": "12 µs"}
	pacedBudget = map[string]string{"native": "2 copies", "translated": "7 copies"}
)

var workloads = []workload{
	{name: "small", clients: 1, requests: 1500, prompt: 40, reply: 40, budget: smallBudget},
	{name: "small", clients: 32, requests: 8000, prompt: 40, reply: 40, budget: smallBudget},
	{name: "10-kb", clients: 1, requests: 1000, prompt: 10 << 10, reply: 10 << 10, budget: largeBudget},
	{name: "10-kb", clients: 32, requests: 5000, prompt: 10 << 10, reply: 10 << 10, budget: largeBudget},
	{name: "burst", clients: 1, requests: 300, prompt: 40, chunks: laneChunks, budget: burstBudget},
	{name: "burst", clients: 32, requests: 960, prompt: 40, chunks: laneChunks, budget: burstBudget},
	// 200 chunks a second of each stream, more than most models write; 40 is usual.
	{name: "paced-200", clients: 1, requests: 6, prompt: 40, chunks: laneChunks, pace: 5 * time.Millisecond, budget: pacedBudget},
	{name: "paced-200", clients: 32, requests: 64, prompt: 40, chunks: laneChunks, pace: 5 * time.Millisecond, budget: pacedBudget},
	{name: "paced-40", clients: 32, requests: 32, prompt: 40, chunks: laneChunks, pace: 25 * time.Millisecond, budget: pacedBudget},
	{name: "paced-40", clients: 512, requests: 512, prompt: 40, chunks: laneChunks, pace: 25 * time.Millisecond, budget: pacedBudget},
}

func (k workload) letters() string { return strings.Repeat("word ", k.reply/5) }

// laneWorld is a gateway with its providers.
type laneWorld struct {
	gateway  *gatewaytest.Process
	file     string
	provider *beside
	copier   *beside
	client   *http.Client
	sent     int // requests that the gateway has taken
}

const laneToken = "dapilanes000000000000000000000001"

func newLaneWorld(b *testing.B) *laneWorld {
	b.Helper()
	provider := startBeside(b, "TestLanesProvider", "all")
	dir := b.TempDir()
	limits := `[{each: user, requests: 100000000, tokens: 100000000000, per: minute}, {of: group coders, tokens: 100000000000, per: hour}]`
	for name, text := range map[string]string{
		"token": laneToken, "key": "sk-lanes",
		"sallyport.yaml": `version: 1
listen: 127.0.0.1:0
plugins: [` + gatewaytest.Plugins(b) + `]
providers:
  anthropic: {translator: anthropic, base_url: ` + provider.url + `, key: {file: key}}
  openai: {translator: openai, base_url: ` + provider.url + `/openai/v1, key: {file: key}}
models:
  native:
    destinations: [{provider: anthropic, model: claude-sonnet-4-5, price: ` + loadPrices["anthropic"] + `}]
    limits: ` + limits + `
  translated:
    destinations: [{provider: openai, model: gpt-5.2, price: ` + loadPrices["openai"] + `}]
    limits: ` + limits + `
budgets: [{each: user, usd: 1000000, per: month, alert: [80, 100], then: block}]
access:
  users: [{name: alice@example.com, groups: [coders]}, {name: root@example.com, admin: true}]
  tokens: [{principal: alice@example.com, token: {file: token}, scopes: [all]}]
  grants: [{to: coders, privileges: [EXECUTE], on: schema system.ai}]
`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	w := &laneWorld{file: filepath.Join(dir, "sallyport.yaml"), provider: provider}
	w.gateway = gatewaytest.Serve(b, w.file, "--log-level", "info")
	w.client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}}
	b.Cleanup(w.client.CloseIdleConnections)
	return w
}

// measure has the clients of a workload ask on a lane.
func (w *laneWorld) measure(b *testing.B, k workload, lane string) laneResult {
	b.Helper()
	url := w.gateway.URL() + "/anthropic"
	model := lane
	pid := w.gateway.PID()
	switch lane {
	case "direct":
		url, model, pid = w.provider.url, "claude-sonnet-4-5", w.provider.pid
	case "copy":
		url, model, pid = w.copier.url, "claude-sonnet-4-5", w.copier.pid
	default:
		w.sent += k.requests
	}
	body, err := json.Marshal(map[string]any{
		"model": model, "max_tokens": 1000, "stream": k.chunks > 0, "metadata": map[string]string{"user_id": `{"session_id":"s-1"}`},
		"messages": []any{map[string]string{"role": "user", "content": "#" + k.name + "# " + strings.Repeat("word ", k.prompt/5)}},
	})
	if err != nil {
		b.Fatal(err)
	}
	next := make(chan bool, k.requests)
	for range k.requests {
		next <- true
	}
	close(next)
	r := laneResult{requests: k.requests}
	var mu sync.Mutex
	var clients sync.WaitGroup
	cpu, begun := cpuOf(b, pid), time.Now()
	for range k.clients {
		clients.Go(func() {
			for range next {
				first, whole, err := w.ask(b, url+"/v1/messages", body, k)
				if err != nil {
					b.Errorf("%s, %s: %v", k.name, lane, err)
					return
				}
				mu.Lock()
				r.first, r.whole = append(r.first, first), append(r.whole, whole)
				mu.Unlock()
			}
		})
	}
	clients.Wait()
	r.elapsed = time.Since(begun)
	r.cpu = []float64{(cpuOf(b, pid) - cpu).Seconds() / float64(k.requests)}
	if b.Failed() {
		b.FailNow()
	}
	return r
}

// ask makes one request, and looks whether the reply is whole.
func (w *laneWorld) ask(b *testing.B, url string, body []byte, k workload) (first, whole time.Duration, err error) {
	req, err := http.NewRequestWithContext(b.Context(), "POST", url, bytes.NewReader(body))
	if err != nil {
		return 0, 0, err
	}
	req.Header = http.Header{
		"Content-Type": {"application/json"}, "Authorization": {"Bearer " + laneToken}, "Anthropic-Version": {"2023-06-01"},
		"User-Agent": {"claude-cli/2.1.197 (external, sdk-cli)"}, "X-Claude-Code-Session-Id": {"s-1"},
	}
	begun := time.Now()
	resp, err := w.client.Do(req)
	if err != nil {
		return 0, 0, err
	}
	defer resp.Body.Close()
	b1 := make([]byte, 1)
	if _, err := io.ReadFull(resp.Body, b1); err != nil {
		return 0, 0, err
	}
	first = time.Since(begun)
	rest, err := io.ReadAll(resp.Body)
	whole = time.Since(begun)
	if err != nil {
		return 0, 0, err
	}
	good := resp.StatusCode == http.StatusOK
	if k.chunks > 0 {
		good = good && bytes.Count(rest, []byte(`"text_delta"`)) == k.chunks && bytes.Contains(rest, []byte("event: message_stop"))
	} else {
		good = good && bytes.Contains(rest, []byte(`"text":"`+k.letters()+`"`))
	}
	if !good {
		err = fmt.Errorf("got %d %.2000s", resp.StatusCode, rest)
	}
	return first, whole, err
}

// cpuOf is the CPU time that a process and those below it have used.
func cpuOf(b *testing.B, root int) time.Duration {
	b.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		b.Fatal(err)
	}
	parents := map[int]int{}
	for _, file := range all {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // ended
		}
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		parents[pid], _ = strconv.Atoi(strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))[1]) // the fourth field
	}
	var sum time.Duration
	for pid := range parents {
		for p := pid; p > 1; p = parents[p] {
			if p == root {
				sum += cpuOfOne(b, pid)
				break
			}
		}
	}
	return sum
}

// cpuOfOne is the CPU time of the threads of one process, in nanoseconds: the
// hundredths of a second of /proc/PID/stat are more than a slow stream takes.
func cpuOfOne(b *testing.B, pid int) time.Duration {
	b.Helper()
	all, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil {
		b.Fatal(err)
	}
	var sum time.Duration
	for _, file := range all {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // ended; threads of Go programs stay
		}
		used, _, _ := strings.Cut(string(text), " ")
		n, err := strconv.ParseInt(used, 10, 64)
		if err != nil {
			b.Fatalf("%s says %q", file, text)
		}
		sum += time.Duration(n)
	}
	return sum
}

// settle waits until the gateway has done what a start brings with it.
func (w *laneWorld) settle(b *testing.B) {
	b.Helper()
	last := cpuOf(b, w.gateway.PID())
	gatewaytest.Eventually(b, time.Minute, "the gateway to come to rest", func() bool {
		time.Sleep(300 * time.Millisecond)
		now := cpuOf(b, w.gateway.PID())
		rest := now-last <= 10*time.Millisecond
		last = now
		return rest
	})
}

// laneReplies are what a provider answers, ready to be sent.
type laneReplies struct {
	body   map[string]string // by workload
	stream []string          // events
}

// TestLanesProvider is the provider's process, in every dialect.
func TestLanesProvider(t *testing.T) {
	mux := http.NewServeMux()
	mux.Handle("POST /v1/messages", lanesProvider{anthropicReplies()})
	mux.Handle("POST /openai/v1/responses", lanesProvider{openaiReplies()})
	if os.Getenv(besideOf) != "" {
		http.Serve(listenBeside(t), mux) // ends with the listener
		return
	}
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest("POST", "/v1/messages", strings.NewReader("#small#")))
	if !strings.Contains(w.Body.String(), "word word") {
		t.Errorf("got %d %q", w.Code, w.Body)
	}
}

// lanesProvider answers what the prompt says, as fast as it can.
type lanesProvider struct{ laneReplies }

func (p lanesProvider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	for _, k := range workloads {
		if !bytes.Contains(body, []byte("#"+k.name+"#")) {
			continue
		}
		if k.chunks == 0 {
			w.Header().Set("Content-Type", "application/json")
			io.WriteString(w, p.body[k.name])
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		tick := time.NewTicker(max(k.pace, 1))
		defer tick.Stop()
		for i, ev := range p.stream {
			if i > 0 && k.pace > 0 { // a stream begins at once
				<-tick.C
			}
			if _, err := io.WriteString(w, ev); err != nil {
				return
			}
			w.(http.Flusher).Flush()
		}
		return
	}
	http.Error(w, "no such workload", http.StatusBadRequest)
}

// event is a server-sent event whose data has its type.
func laneEvent(typ, rest string) string {
	return "event: " + typ + "\ndata: {\"type\":\"" + typ + "\"" + rest + "}\n\n"
}

func anthropicReplies() laneReplies {
	const message = `"id":"msg_01","type":"message","role":"assistant","model":"claude-sonnet-4-5"`
	const usage = `"input_tokens":100,"cache_creation_input_tokens":0,"cache_read_input_tokens":0`
	r := laneReplies{body: map[string]string{}, stream: []string{
		laneEvent("message_start", `,"message":{`+message+`,"content":[],"stop_reason":null,"stop_sequence":null,"usage":{`+usage+`,"output_tokens":1}}`) +
			laneEvent("content_block_start", `,"index":0,"content_block":{"type":"text","text":""}`),
	}}
	for range laneChunks {
		r.stream = append(r.stream, laneEvent("content_block_delta", `,"index":0,"delta":{"type":"text_delta","text":"word and "}`))
	}
	r.stream = append(r.stream, laneEvent("content_block_stop", `,"index":0`)+
		laneEvent("message_delta", `,"delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":200}`)+laneEvent("message_stop", ""))
	for _, k := range workloads {
		r.body[k.name] = `{` + message + `,"content":[{"type":"text","text":"` + k.letters() + `"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{` + usage + `,"output_tokens":200}}`
	}
	return r
}

func openaiReplies() laneReplies {
	const head = `"id":"resp_01","object":"response","created_at":1700000000,"model":"gpt-5.2"`
	const usage = `"usage":{"input_tokens":100,"input_tokens_details":{"cached_tokens":0},"output_tokens":200,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":300}`
	n := 0
	event := func(typ, rest string) string {
		n++
		return laneEvent(typ, fmt.Sprintf(`,"sequence_number":%d`, n-1)+rest)
	}
	item := func(status, content string) string {
		return `{"id":"msg_01","type":"message","status":"` + status + `","role":"assistant","content":[` + content + `]}`
	}
	text := func(s string) string {
		return `{"type":"output_text","text":"` + s + `","annotations":[],"logprobs":[]}`
	}
	const place = `,"item_id":"msg_01","output_index":0,"content_index":0`
	r := laneReplies{body: map[string]string{}, stream: []string{
		event("response.created", `,"response":{`+head+`,"status":"in_progress","output":[]}`) +
			event("response.in_progress", `,"response":{`+head+`,"status":"in_progress","output":[]}`) +
			event("response.output_item.added", `,"output_index":0,"item":`+item("in_progress", "")) +
			event("response.content_part.added", place+`,"part":`+text("")),
	}}
	for range laneChunks {
		r.stream = append(r.stream, event("response.output_text.delta", place+`,"delta":"word and ","logprobs":[],"obfuscation":"aBcDeFgHi"`))
	}
	whole := strings.Repeat("word and ", laneChunks)
	r.stream = append(r.stream, event("response.output_text.done", place+`,"text":"`+whole+`","logprobs":[]`)+
		event("response.content_part.done", place+`,"part":`+text(whole))+
		event("response.output_item.done", `,"output_index":0,"item":`+item("completed", text(whole)))+
		event("response.completed", `,"response":{`+head+`,"status":"completed","output":[`+item("completed", text(whole))+`],`+usage+`}`))
	for _, k := range workloads {
		r.body[k.name] = `{` + head + `,"status":"completed","output":[` + item("completed", text(k.letters())) + `],` + usage + `}`
	}
	return r
}
