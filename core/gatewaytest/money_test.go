//go:build linux

package gatewaytest_test

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/sallyport-gateway/sallyport/core/gatewaytest"
	"github.com/sallyport-gateway/sallyport/core/gatewaytest/upstream"
)

// The dialogue that every provider answers: it reasons and queries the table,
// then speaks. The counts are the same everywhere; no dialect but Anthropic's
// has a place for what is written to a cache, so elsewhere that is input.
var dialogue = []upstream.Turn{
	{Reasoning: "I need a number.", Text: "Let me look.", Calls: []upstream.Call{{Name: "main__sales__reviews", Arguments: `{"sql":"SELECT count(*) AS n FROM main.sales.reviews"}`}},
		Usage: upstream.Usage{Input: 100_313, Cached: 40_721, Cached5m: 31_199, Cached1h: 20_507, Output: 5_351, Reasoning: 3_119}},
	{Reasoning: "Now I know.", Text: "There are many reviews.",
		Usage: upstream.Usage{Input: 7_717, Cached: 170_749, Cached5m: 1_301, Cached1h: 701, Output: 21_139, Reasoning: 1_723}},
}

// The prices of the money tests, in USD per million tokens: equal for all, and
// one by which writing to a cache costs more.
const (
	equalPrice = "{input: 2.515, output: 10.07, cache_read: 0.2515, cache_write: 2.515, cache_write_1h: 2.515}"
	claudePays = "{input: 2.515, output: 10.07, cache_read: 0.2515, cache_write: 3.14375, cache_write_1h: 5.03}"
)

// moneyModels are the models of the money tests by their name.
const moneyModels = `
  equal-openai: {destinations: [{provider: openai, model: gpt-5.2, price: EQUAL}]}
  equal-chat: {destinations: [{provider: chat, model: gpt-5.2, price: EQUAL}]}
  equal-anthropic: {destinations: [{provider: anthropic, model: claude-sonnet-4-5, price: EQUAL}]}
  equal-gemini: {destinations: [{provider: gemini, model: gemini-2.5-flash, price: EQUAL}]}
  cache-anthropic: {destinations: [{provider: anthropic, model: claude-sonnet-4-5, price: CLAUDE}]}
  free-openai: {destinations: [{provider: openai, model: gpt-5.2}]}
  second-openai: {destinations: [{provider: broken, model: claude-sonnet-4-5, price: CLAUDE}], fallback: [{provider: openai, model: gpt-5.2, price: EQUAL}]}
  second-chat: {destinations: [{provider: broken, model: claude-sonnet-4-5, price: CLAUDE}], fallback: [{provider: chat, model: gpt-5.2, price: EQUAL}]}
  second-anthropic: {destinations: [{provider: broken, model: claude-sonnet-4-5, price: CLAUDE}], fallback: [{provider: anthropic, model: claude-sonnet-4-5, price: EQUAL}]}
  second-gemini: {destinations: [{provider: broken, model: claude-sonnet-4-5, price: CLAUDE}], fallback: [{provider: gemini, model: gemini-2.5-flash, price: EQUAL}]}
`

// bill is what a usage row says of tokens and money.
type bill struct {
	model, service, source         string
	in, out, total                 int64
	read, created, reasoning       int64
	uncached, written5m, written1h int64
	cost                           *big.Rat // nil is NULL
	attempts                       []attemptBill
	price                          map[string]json.Number
}

type attemptBill struct {
	Destination string      `json:"destination_name"`
	In          int64       `json:"input_tokens"`
	Out         int64       `json:"output_tokens"`
	Cost        json.Number `json:"cost_usd"`
}

// The same dialogue costs the same, whoever answers, and every reader of the
// table comes to the same sum.
func TestMoney(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := newProviders(t)
	broken := upstream.Anthropic(t, "sk-ant-load") // counts its input, then breaks off
	models := strings.NewReplacer("EQUAL", equalPrice, "CLAUDE", claudePays).Replace(moneyModels)
	file := p.configure(t, dir, "", func(text string) string {
		text = strings.Replace(text, "models:\n", "models:"+models, 1)
		return strings.Replace(text, "providers:\n", "providers:\n  chat: {translator: openai, base_url: "+p.openai.URL+", key: {file: openai}, settings: {api: chat}}\n"+
			"  broken: {translator: anthropic, base_url: "+broken.URL+", key: {file: anthropic}}\n", 1)
	})
	s := &site{providers: p, dir: dir, file: file, Process: gatewaytest.Serve(t, file)}
	broken.Repeat(upstream.Turn{Fault: upstream.ErrorEvent, Usage: dialogue[0].Usage}) // says nothing that would commit the gateway to it
	for _, up := range []*upstream.Server{p.openai, p.anthropic, p.gemini} {
		up.Play(nil) // a script again
	}

	playedBy := map[string]*upstream.Server{"openai": p.openai, "chat": p.openai, "anthropic": p.anthropic, "gemini": p.gemini}
	for kind, names := range map[string][]string{"equal": {"openai", "chat", "anthropic", "gemini"}, "second": {"openai", "chat", "anthropic", "gemini"}, "cache": {"anthropic"}, "free": {"openai"}} {
		for _, name := range names {
			for _, stream := range []bool{false, true} {
				up := playedBy[name]
				up.Script(dialogue...)
				model := kind + "-" + name
				status, body := s.call(t, "POST", "/ai-gateway/mlflow/v1/responses", fmt.Sprintf(`{"model":%q,"stream":%t,"input":"How many?","reasoning":{"effort":"medium"},`+
					`"tools":[{"type":"table","table":{"name":"main.sales.reviews"}}]}`, model, stream))
				if status != http.StatusOK || !strings.Contains(body, "There are many reviews.") || up.Left() != 0 {
					t.Fatalf("%s: got %d %s; %d turns left", model, status, body, up.Left())
				}
			}
		}
	}
	p.refused(t)

	bills := readBills(t, file)
	dialects := map[string][]bill{}
	for _, b := range bills {
		switch kind, _, _ := strings.Cut(b.model, "-"); {
		case b.service != "":
			if b.cost != nil || b.total != 0 {
				t.Errorf("a tool call has tokens or a cost: %+v", b)
			}
		case kind == "second":
			checkSecond(t, b)
		default:
			checkCounts(t, b)
		}
		dialects[b.model] = append(dialects[b.model], b)
	}
	for _, name := range []string{"openai", "chat", "anthropic", "gemini"} {
		same(t, "equal-openai", dialects["equal-openai"], "equal-"+name, dialects["equal-"+name])
		same(t, "second-openai", last(t, dialects["second-openai"]), "second-"+name, last(t, dialects["second-"+name]))
	}
	sums(t, file, bills)
	s.Stop()
	sums(t, file, bills) // read without a gateway
}

func readBills(t *testing.T, file string) []bill {
	t.Helper()
	var all []bill
	whole := func(v any) int64 { n, _ := v.(json.Number); i, _ := n.Int64(); return i }
	text := func(v any) string { s, _ := v.(string); return s }
	for _, v := range gatewaytest.SQL(t, file, `SELECT endpoint_name, service_type, token_source, input_tokens, output_tokens, total_tokens,
			token_details.cache_read_input_tokens, token_details.cache_creation_input_tokens, token_details.output_reasoning_tokens,
			uncached_input_tokens, cache_write_5m_tokens, cache_write_1h_tokens, CAST(cost_usd AS VARCHAR),
			CAST(to_json(attempt_costs) AS VARCHAR), CAST(to_json(price) AS VARCHAR)
			FROM system.ai_gateway.usage ORDER BY invocation_id`) {
		b := bill{model: text(v[0]), service: text(v[1]), source: text(v[2]), in: whole(v[3]), out: whole(v[4]), total: whole(v[5]),
			read: whole(v[6]), created: whole(v[7]), reasoning: whole(v[8]), uncached: whole(v[9]), written5m: whole(v[10]), written1h: whole(v[11])}
		if s := text(v[12]); s != "" {
			b.cost = rat(t, s)
		}
		for i, into := range map[int]any{13: &b.attempts, 14: &b.price} {
			if s := text(v[i]); s != "" {
				d := json.NewDecoder(strings.NewReader(s))
				d.UseNumber()
				if err := d.Decode(into); err != nil {
					t.Fatalf("%v in %s", err, s)
				}
			}
		}
		all = append(all, b)
	}
	return all
}

func rat(t *testing.T, s string) *big.Rat {
	t.Helper()
	r, ok := new(big.Rat).SetString(strings.TrimSpace(s))
	if !ok {
		t.Fatalf("%q is no decimal", s)
	}
	return r
}

// checkCounts holds a row of one attempt against what the provider counted and
// the prices.
func checkCounts(t *testing.T, b bill) {
	t.Helper()
	turn := slices.IndexFunc(dialogue, func(d upstream.Turn) bool { return int64(d.Usage.Cached) == b.read })
	if turn < 0 {
		t.Errorf("%s: no turn has %d tokens from the cache: %+v", b.model, b.read, b)
		return
	}
	u := dialogue[turn].Usage
	want := bill{model: b.model, source: "provider", in: int64(u.Input + u.Cached + u.Cached5m + u.Cached1h), out: int64(u.Output + u.Reasoning),
		read: int64(u.Cached), reasoning: int64(u.Reasoning), uncached: int64(u.Input + u.Cached5m + u.Cached1h)}
	want.total = want.in + want.out
	if strings.HasSuffix(b.model, "-anthropic") {
		want.uncached, want.written5m, want.written1h = int64(u.Input), int64(u.Cached5m), int64(u.Cached1h)
		want.created = want.written5m + want.written1h
	}
	price := equalPrice
	switch {
	case strings.HasPrefix(b.model, "cache-"):
		price = claudePays
	case strings.HasPrefix(b.model, "free-"):
		price = ""
	}
	cost := charge(t, price, want.uncached, want.read, want.written5m, want.written1h, want.out)
	if price == "" {
		if b.cost != nil || b.price != nil {
			t.Errorf("%s: without a price there is a cost: %+v", b.model, b)
		}
	} else if b.cost == nil || b.cost.Cmp(cost) != 0 {
		t.Errorf("%s: the cost is %v, want %s", b.model, b.cost, cost.FloatString(12))
	} else {
		checkPrice(t, b, price)
	}
	got := b
	got.cost, got.attempts, got.price = nil, nil, nil
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// checkPrice wants the price that was in force in the row.
func checkPrice(t *testing.T, b bill, price string) {
	t.Helper()
	for name, want := range prices(t, price) {
		if got, ok := b.price[name]; !ok || rat(t, got.String()).Cmp(want) != 0 {
			t.Errorf("%s: price.%s is %v, want %s", b.model, name, got, want.FloatString(6))
		}
	}
}

// checkSecond holds a row against the attempts in it: the first one broke off
// after its input was counted, and costs what its destination asks.
func checkSecond(t *testing.T, b bill) {
	t.Helper()
	if len(b.attempts) < 2 || b.cost == nil {
		t.Errorf("%s: want the cost of two attempts or more: %+v", b.model, b)
		return
	}
	var in, out int64
	cost := new(big.Rat)
	for _, a := range b.attempts {
		in, out = in+a.In, out+a.Out
		c := rat(t, a.Cost.String())
		cost.Add(cost, c)
		if c.Sign() <= 0 && a.In > 0 {
			t.Errorf("%s: the attempt at %s cost %s", b.model, a.Destination, c.FloatString(12))
		}
	}
	if b.in != in || b.out != out || b.total != in+out || b.cost.Cmp(cost) != 0 {
		t.Errorf("%s: %d, %d tokens and %s are not the sum of the attempts: %+v", b.model, b.in, b.out, b.cost.FloatString(12), b.attempts)
	}
	checkPrice(t, b, equalPrice) // of the one that answered
}

// charge is what tokens cost by a price of the configuration.
func charge(t *testing.T, price string, uncached, read, written5m, written1h, out int64) *big.Rat {
	t.Helper()
	total := new(big.Rat)
	for name, perMillion := range prices(t, price) {
		n := map[string]int64{"input": uncached, "cache_read": read, "cache_write": written5m, "cache_write_1h": written1h, "output": out}[name]
		total.Add(total, new(big.Rat).Mul(perMillion, big.NewRat(n, 1_000_000)))
	}
	return total
}

// prices reads a price of the configuration.
func prices(t *testing.T, price string) map[string]*big.Rat {
	t.Helper()
	all := map[string]*big.Rat{}
	for part := range strings.SplitSeq(strings.Trim(price, "{}"), ",") {
		if name, value, ok := strings.Cut(part, ":"); ok {
			all[strings.TrimSpace(name)] = rat(t, value)
		}
	}
	return all
}

// same compares two models' rows, call by call.
func same(t *testing.T, nameA string, a []bill, nameB string, b []bill) {
	t.Helper()
	if len(a) != len(b) || len(a) == 0 {
		t.Errorf("%s has %d rows, %s has %d", nameA, len(a), nameB, len(b))
		return
	}
	for i := range a {
		x, y := a[i], b[i]
		if x.service != y.service || x.in != y.in || x.out != y.out || x.total != y.total || x.read != y.read || x.reasoning != y.reasoning || (x.cost == nil) != (y.cost == nil) || x.cost != nil && x.cost.Cmp(y.cost) != 0 {
			t.Errorf("row %d of %s is %+v,\nof %s %+v", i, nameA, x, nameB, y)
		}
	}
}

// last leaves of each row what the destination that answered counted and cost.
// What the one that broke off is charged may be an estimate, from what it was
// sent, and that is not the same in every dialect.
func last(t *testing.T, all []bill) []bill {
	t.Helper()
	var out []bill
	for _, b := range all {
		if n := len(b.attempts); n > 0 {
			a := b.attempts[n-1]
			b.in, b.out, b.total, b.cost = a.In, a.Out, a.In+a.Out, rat(t, a.Cost.String())
			b.read, b.reasoning = 0, 0
		}
		out = append(out, b)
	}
	return out
}

// sums compares the sum of the table by SQL, of the export and of the report.
func sums(t *testing.T, file string, bills []bill) {
	t.Helper()
	want := new(big.Rat)
	for _, b := range bills {
		if b.cost != nil {
			want.Add(want, b.cost)
		}
	}
	if want.Sign() <= 0 {
		t.Fatal("the rows cost nothing")
	}
	v := gatewaytest.SQL(t, file, "SELECT CAST(sum(cost_usd) AS VARCHAR) FROM system.ai_gateway.usage")
	if s, _ := v[0][0].(string); rat(t, s).Cmp(want) != 0 {
		t.Errorf("sum(cost_usd) is %s, the rows add up to %s", s, want.FloatString(12))
	}
	for _, by := range []string{"", "user", "model", "day"} {
		args := []string{"usage", "export", "--csv"}
		if by != "" {
			args = append(args, "--by", by)
		}
		out, err := gatewaytest.Command(t, file, args...)
		if err != nil {
			t.Error(err)
			continue
		}
		if got := column(t, out, "cost_usd"); got.Cmp(want) != 0 {
			t.Errorf("%s adds up to %s, want %s:\n%.500s", strings.Join(args, " "), got.FloatString(12), want.FloatString(12), out)
		}
	}
	out, err := gatewaytest.Command(t, file, "usage", "report")
	if cents := want.FloatString(2); err != nil || !strings.Contains(out, cents) {
		t.Errorf("usage report does not say %s: %v\n%s", cents, err, out)
	}
}

// column adds up a column of CSV text.
func column(t *testing.T, text, name string) *big.Rat {
	t.Helper()
	all, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	if err != nil || len(all) < 2 {
		t.Fatalf("%v in %.300s", err, text)
	}
	at := slices.Index(all[0], name)
	if at < 0 {
		t.Fatalf("no column %s in %v", name, all[0])
	}
	sum := new(big.Rat)
	for _, row := range all[1:] {
		if row[at] != "" {
			sum.Add(sum, rat(t, row[at]))
		}
	}
	return sum
}
