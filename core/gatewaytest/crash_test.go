//go:build linux

package gatewaytest_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport-gateway/sallyport/core/gatewaytest"
)

// Every request that reached a provider has exactly one usage row, whatever
// happens to the process. The long form is TestCrashLoopLong.
func TestCrashLoop(t *testing.T) {
	t.Parallel()
	c := newCrashLoop(t, 20261121)
	c.run(t, 4)
	c.compare(t)
}

// crashLoop is a gateway that is killed at random moments under load.
type crashLoop struct {
	*providers
	dir, file string
	rng       *rand.Rand

	mu      sync.Mutex
	sent    map[string]request
	replies map[string]answer
	kills   int
}

func newCrashLoop(t *testing.T, seed uint64) *crashLoop {
	c := &crashLoop{providers: newProviders(t), dir: t.TempDir(), rng: rand.New(rand.NewPCG(seed, 4)), sent: map[string]request{}, replies: map[string]answer{}}
	c.pace = 8 * time.Millisecond // so that many kills meet a reply in its middle
	return c
}

// tablesSettings take turns: rows that stay in the log, and rows that are
// committed, compacted and trimmed all the time.
var tablesSettings = []string{
	"",
	"tables: {flush_after: 100ms, compact_every: 1s}\n",
	"tables: {flush_after: 500ms}\n",
}

// run kills the gateway n times under load, and now and then once more while
// it starts.
func (c *crashLoop) run(t *testing.T, n int) {
	for round := range n {
		c.file = c.configure(t, c.dir, tablesSettings[round%len(tablesSettings)])
		if round > 0 && c.rng.IntN(3) == 0 {
			p := gatewaytest.Launch(t, c.file)
			time.Sleep(time.Duration(c.rng.IntN(400)) * time.Millisecond) // a random moment
			p.Kill()
			c.kills++
		}
		p := gatewaytest.Launch(t, c.file)
		url := p.URL()
		var clients sync.WaitGroup
		dying := make(chan struct{})
		for i := range 8 {
			rng := rand.New(rand.NewPCG(c.rng.Uint64(), uint64(i)))
			clients.Go(func() { c.client(t, url, fmt.Sprintf("r%d-c%d", round, i), dying, rng) })
		}
		clients.Go(func() { c.reader(t, url, fmt.Sprintf("r%d-sql", round), dying) })
		before := len(c.sights())
		gatewaytest.Eventually(t, time.Minute, "requests to reach a provider", func() bool { return len(c.sights()) >= before+8 })
		time.Sleep(time.Duration(c.rng.IntN(1500)) * time.Millisecond) // a random moment
		close(dying)
		p.Kill()
		c.kills++
		clients.Wait()
	}
}

// client sends one request after the other until the gateway is to be killed.
func (c *crashLoop) client(t *testing.T, url, name string, dying <-chan struct{}, rng *rand.Rand) {
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	for n := 0; ; n++ {
		select {
		case <-dying:
			return
		default:
		}
		q := request{id: fmt.Sprintf("%s-%d", name, n), errand: errands[rng.IntN(len(errands))], stream: rng.IntN(2) == 0}
		q.model = []string{gpt, claude, google, captured}[rng.IntN(4)]
		if q.errand == second {
			q.model = fallback
		}
		c.mu.Lock()
		c.sent[q.id] = q
		c.mu.Unlock()
		r := c.send(t.Context(), client, url, q)
		c.mu.Lock()
		c.replies[q.id] = r
		c.mu.Unlock()
		if r.status >= 400 && (r.status != http.StatusBadGateway || q.errand != broken) {
			t.Errorf("%+v: got %d %s", q, r.status, r.raw)
		}
	}
}

// reader asks for the row of each of its calls as soon as it has the answer,
// until the gateway is to be killed.
func (c *crashLoop) reader(t *testing.T, url, name string, dying <-chan struct{}) {
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	for n := 0; ; n++ {
		select {
		case <-dying:
			return
		default:
		}
		q := request{id: fmt.Sprintf("%s-%d", name, n), errand: plain, model: captured, stream: n%2 == 0}
		r := c.send(t.Context(), client, url, q)
		c.mu.Lock()
		c.sent[q.id], c.replies[q.id] = q, r
		c.mu.Unlock()
		if !r.complete {
			continue
		}
		sql := fmt.Sprintf(`{"statement":"SELECT count(*) AS n, count(DISTINCT invocation_id) AS i, count_if(request_tags['id'] = '%s') AS mine FROM system.ai_gateway.usage"}`, q.id)
		req, err := http.NewRequestWithContext(t.Context(), "POST", url+"/api/2.0/sql/statements", strings.NewReader(sql))
		if err != nil {
			t.Error(err)
			return
		}
		req.Header.Set("Authorization", "Bearer "+loadToken)
		resp, err := client.Do(req)
		if err != nil {
			continue // killed
		}
		var answer struct {
			Status struct{ State string }
			Result struct {
				Rows [][]string `json:"data_array"`
			}
		}
		err = json.NewDecoder(resp.Body).Decode(&answer)
		resp.Body.Close()
		if err != nil {
			continue // killed
		}
		if rows := answer.Result.Rows; answer.Status.State != "SUCCEEDED" || len(rows) != 1 || rows[0][0] != rows[0][1] || rows[0][2] != "1" {
			t.Errorf("%s, at once after its answer: %+v, want as many rows as invocations, and 1", q.id, answer)
		}
	}
}

// row is a row of the usage table.
type row struct {
	id, request, invocation, status, service string
	in, out, total                           int
	attempts                                 []attempt
}

type attempt struct {
	Status *int `json:"status_code"`
}

// usageRows reads the whole table, by the id that its requests carry.
func usageRows(t *testing.T, file string) map[string][]row {
	t.Helper()
	all := map[string][]row{}
	text := func(v any) string { s, _ := v.(string); return s }
	number := func(v any) int {
		n, _ := v.(json.Number)
		i, _ := n.Int64()
		return int(i)
	}
	for _, v := range gatewaytest.SQL(t, file, `SELECT request_tags['id'], request_id, invocation_id, status, service_type, input_tokens, output_tokens, total_tokens,
		to_json(routing_information.attempts) FROM system.ai_gateway.usage ORDER BY event_time, invocation_id`) {
		r := row{id: text(v[0]), request: text(v[1]), invocation: text(v[2]), status: text(v[3]), service: text(v[4]), in: number(v[5]), out: number(v[6]), total: number(v[7])}
		if s := text(v[8]); s != "" && s != "null" {
			if err := json.Unmarshal([]byte(s), &r.attempts); err != nil {
				t.Fatalf("attempts of %s: %v", r.invocation, err)
			}
		}
		all[r.id] = append(all[r.id], r)
	}
	return all
}

// compare holds the usage table against what the providers saw and the clients
// got.
func (c *crashLoop) compare(t *testing.T) {
	t.Helper()
	c.file = c.configure(t, c.dir, "")
	p := gatewaytest.Serve(t, c.file)
	defer p.Stop()
	rows, seen := usageRows(t, c.file), c.sights()
	if len(seen) < 20 {
		t.Fatalf("only %d requests reached a provider", len(seen))
	}
	c.refused(t)
	var total, interrupted, unseen, answered int
	invocations := map[string]string{}
	for id, all := range rows {
		if _, ok := c.sent[id]; !ok {
			t.Errorf("a row has the id %q, which nobody sent: %+v", id, all)
		}
		for _, r := range all {
			total++
			if r.invocation == "" || invocations[r.invocation] != "" {
				t.Errorf("invocation_id %q is in the table twice: for %s and %s", r.invocation, invocations[r.invocation], id)
			}
			invocations[r.invocation] = id
			if r.request != all[0].request {
				t.Errorf("%s: two request_ids: %q and %q", id, r.request, all[0].request)
			}
			if r.status == "interrupted" {
				interrupted++
			}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(c.sent)) {
		q, r := c.sent[id], c.replies[id]
		extra := fit(q.errand, rows[id], seen[id])
		if extra < 0 || extra > 1 {
			t.Errorf("%+v: providers saw %+v, the table has %+v", q, seen[id], rows[id])
		}
		if extra == 1 {
			unseen++
		}
		if !r.complete {
			continue
		}
		answered++
		if problem := asAnswered(q, r, rows[id]); problem != "" {
			t.Errorf("%+v: its client got a complete answer; %s: %+v", q, problem, rows[id])
		}
	}
	for _, v := range gatewaytest.SQL(t, c.file, `SELECT invocation_id, latency_ms, time_to_first_byte_ms FROM system.ai_gateway.usage
		WHERE latency_ms < 0 OR time_to_first_byte_ms < 0 OR time_to_first_byte_ms > latency_ms OR event_time > now() OR event_date <> CAST(event_time AS DATE)`) {
		t.Errorf("times that cannot be: %v", v)
	}
	for _, v := range gatewaytest.SQL(t, c.file, `SELECT invocation_id, token_source, input_tokens, cost_usd FROM system.ai_gateway.usage
		WHERE status = 'interrupted' AND service_type IS NULL AND (token_source <> 'estimated' OR input_tokens <= 0 OR total_tokens < input_tokens)`) {
		t.Errorf("a call that was interrupted has no estimate: %v", v)
	}
	payloads := comparePayloads(t, c, invocations, rows)
	t.Logf("%d kills; %d requests sent, %d reached a provider, %d answered completely; %d rows, %d of them interrupted, %d of those killed before their request left the gateway; %d payload rows",
		c.kills, len(c.sent), len(seen), answered, total, interrupted, unseen, payloads)
}

// comparePayloads holds the inference table against the usage table: a payload
// belongs to a call, and a call that ended has one.
func comparePayloads(t *testing.T, c *crashLoop, invocations map[string]string, rows map[string][]row) int {
	t.Helper()
	payloads := map[string]int{}
	for _, v := range gatewaytest.SQL(t, c.file, "SELECT invocation_id, request FROM main.gateway.captured_payload") {
		invocation, _ := v[0].(string)
		request, _ := v[1].(string)
		payloads[invocation]++
		if id, ok := invocations[invocation]; !ok || !strings.Contains(request, "#"+id+" ") || payloads[invocation] > 1 {
			t.Errorf("payload of %q, a call of %q, is there %d times: %.300s", invocation, id, payloads[invocation], request)
		}
	}
	for id, all := range rows {
		for _, r := range all {
			if c.sent[id].model == captured && r.service == "" && r.status != "interrupted" && payloads[r.invocation] != 1 {
				t.Errorf("%s: the call has no payload: %+v", id, r)
			}
		}
	}
	return len(payloads)
}

// fit compares the rows of a request with what the providers saw of it. It
// returns how many calls are recorded that no provider saw: 0, or 1 when the
// gateway was killed in between. Anything else is wrong.
func fit(e errand, rows []row, seen []sight) int {
	const impossible = 100
	mostModels, mostTools := 1, 0
	if e == hosted {
		mostModels, mostTools = 2, 1
	}
	turns := map[int]bool{}
	for _, s := range seen {
		turns[s.turn] = true
	}
	var models, tools, least, most int
	for i, r := range rows {
		if r.status == "interrupted" && i < len(rows)-1 {
			return impossible // nothing follows it
		}
		if r.service != "" {
			tools++
			continue
		}
		models++
		if r.status == "interrupted" { // nobody knows how often it was sent
			most += len(seen)
		}
		for _, a := range r.attempts {
			most++
			if a.Status != nil && *a.Status != 0 {
				least++
			}
		}
	}
	extra := models - len(turns)
	interrupted := len(rows) > 0 && rows[len(rows)-1].status == "interrupted"
	if extra > 0 && !interrupted || models > mostModels || tools > mostTools || least > len(seen) || most < len(seen) {
		return impossible
	}
	return extra
}

// asAnswered says what is wrong with the rows of a request whose client got
// its answer.
func asAnswered(q request, r answer, rows []row) string {
	wantModels, wantTools := 1, 0
	if q.errand == hosted {
		wantModels, wantTools = 2, 1
	}
	models, tools, in, out := 0, 0, 0, 0
	for _, row := range rows {
		if row.status != "completed" {
			return "a row is not completed"
		}
		if row.service != "" {
			tools++
			continue
		}
		u := count(q.id, models)
		if row.in != u.Input+u.Cached || row.out != u.Output+u.Reasoning || row.total != row.in+row.out {
			return fmt.Sprintf("turn %d has %+v tokens", models, u)
		}
		models++
		in, out = in+row.in, out+row.out
	}
	switch {
	case models != wantModels || tools != wantTools:
		return fmt.Sprintf("want %d model calls and %d tool calls", wantModels, wantTools)
	case in != r.in || out != r.out:
		return fmt.Sprintf("it was told of %d and %d tokens", r.in, r.out)
	}
	return ""
}
