package router

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/sallyport-gateway/sallyport/core/access"
	"github.com/sallyport-gateway/sallyport/core/egress"
	"github.com/sallyport-gateway/sallyport/core/usage"
	"github.com/sallyport-gateway/sallyport/core/usage/usagetest"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

// statusOf gives each code a status that a test can tell from the others.
func statusOf(c apierror.Code) int { return 400 + slices.Index(apierror.Codes, c) }

func usd(v float64) *float64 { return &v }

// priced is at with prices: p0 costs 3 in, 15 out, and what a cache costs; p1
// costs ten times as much, without a word on caches; others cost nothing known.
func priced(bases ...string) Config {
	cfg := at(bases...)
	m := cfg.Models["m"]
	m.Destinations[0].Price = &usage.Price{Input: usd(3), Output: usd(15), CacheRead: usd(0.3), CacheWrite: usd(3.75), CacheWrite1h: usd(6)}
	if len(m.Fallback) > 0 {
		m.Fallback[0].Price = &usage.Price{Input: usd(30), Output: usd(150)}
	}
	return cfg
}

// row is the one of a call of alice's that p0 answered, with changes: a column
// of "" is null.
func row(changes usagetest.Row) usagetest.Row {
	r := usagetest.Row{
		"schema_version": "2", "operation": "generate", "request_id": "req-1", "session_id": "s-1", "request_tags": "[team:search]",
		"requester": "alice", "requester_type": "USER", "requester_groups": "analysts, staff",
		"endpoint_name": "m", "destination_type": "EXTERNAL_FOUNDATION_MODEL", "destination_name": "p0", "destination_model": "x", "destination_id": "served-1",
		"status": "completed", "status_code": "200", "routing_information.attempts": "primary p0/x 200", "lost_fields": "top_k", "tool_calls": "0",
		"price.input": "3", "price.output": "15", "price.cache_read": "0.3", "price.cache_write": "3.75", "price.cache_write_1h": "6",
	}
	maps.Copy(r, counted(7, 3, "provider"))
	r["cost_usd"] = "0.000066"
	maps.Copy(r, changes)
	maps.DeleteFunc(r, func(_, v string) bool { return v == "" })
	return r
}

// counted is the columns of tokens without a cache or reasoning.
func counted(input, output int, source string) usagetest.Row {
	return usagetest.Row{
		"input_tokens": fmt.Sprint(input), "output_tokens": fmt.Sprint(output), "total_tokens": fmt.Sprint(input + output), "token_source": source,
		"token_details.cache_read_input_tokens": "0", "token_details.cache_creation_input_tokens": "0", "token_details.output_reasoning_tokens": "0",
		"uncached_input_tokens": fmt.Sprint(input), "cache_write_5m_tokens": "0", "cache_write_1h_tokens": "0",
	}
}

// with joins changes; the later ones win.
func with(rows ...usagetest.Row) usagetest.Row {
	all := usagetest.Row{}
	for _, r := range rows {
		maps.Copy(all, r)
	}
	return all
}

// diff says how got differs from want, column by column.
func diff(got, want usagetest.Row) string {
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(with(got, want))) {
		if got[k] != want[k] {
			fmt.Fprintf(&b, "\n\t%s = %q, want %q", k, got[k], want[k])
		}
	}
	return b.String()
}

var caller = &access.Principal{Name: "alice", Kind: access.KindUser, Groups: []string{"analysts", "staff"}, Scopes: []string{access.ScopeAll}}

func recorded(model string) Call {
	c := ask(model)
	c.Source = &usage.Source{RequestID: "req-1", Session: "s-1", Tags: map[string]string{"team": "search"}}
	return c
}

// free are the columns of a row whose tokens cost nothing, as an attempt that
// brought nothing leaves them.
var free = with(counted(0, 0, "none"), usagetest.Row{"cost_usd": "0", "destination_id": ""})

// estimated are those of n tokens of input and output that nobody counted, at
// the price of p0.
func estimated(input, output int) usagetest.Row {
	return with(counted(input, output, "estimated"), usagetest.Row{
		"cost_usd": strings.TrimRight(fmt.Sprintf("%.6f", float64(3*input+15*output)/1e6), "0"), "destination_id": "",
	})
}

var atP1 = usagetest.Row{"destination_name": "p1", "price.input": "30", "price.output": "150", "price.cache_read": "30", "price.cache_write": "30", "price.cache_write_1h": "30"}

// Every way out of a call leaves one row, which is there before the consumer
// sees the end, and none is begun after a provider was asked.
func TestOneRowOnEveryExit(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		first  []http.HandlerFunc // of p0
		second []http.HandlerFunc // of p1; nil means there is none
		tr     *lines             // nil means a plain one
		do     func(b *bench, seq iter.Seq2[openresponses.Event, error], cancel func())
		want   usagetest.Row
	}{
		{name: "finished", first: []http.HandlerFunc{says(good)}, want: row(nil)},
		{name: "finished, with all kinds of tokens", first: []http.HandlerFunc{says("item; part; text hello; usage 1 2 30 400 5000 60000; end")}, want: row(usagetest.Row{
			"input_tokens": "5431", "output_tokens": "60002", "total_tokens": "65433", "token_details.cache_read_input_tokens": "30",
			"token_details.cache_creation_input_tokens": "5400", "token_details.output_reasoning_tokens": "60000",
			"uncached_input_tokens": "1", "cache_write_5m_tokens": "400", "cache_write_1h_tokens": "5000",
			"cost_usd": "0.931542"})}, // 1×3 + 30×0.3 + 400×3.75 + 5000×6 + 60002×15
		{name: "finished, nothing counted", first: []http.HandlerFunc{says("item; part; text 12345678; end")},
			want: row(with(estimated(4, 2), usagetest.Row{"destination_id": "served-1"}))},
		{name: "asks for tools", first: []http.HandlerFunc{says("call f {}; call g {}; usage 7 3; finish")},
			want: row(usagetest.Row{"tool_calls": "2", "invocation_metadata.service_tier": "flex"})},
		{name: "incomplete", first: []http.HandlerFunc{says("item; part; text he; usage 7 3; cut-short")}, want: row(usagetest.Row{"status": "incomplete"})},

		{name: "refused by the provider", first: []http.HandlerFunc{status(400)}, want: row(with(free, usagetest.Row{
			"status": "failed", "error_code": "upstream_invalid", "status_code": fmt.Sprint(statusOf(apierror.UpstreamInvalid)), "routing_information.attempts": "primary p0/x 400"}))},
		{name: "fails twice", first: []http.HandlerFunc{status(500)}, want: row(with(free, usagetest.Row{
			"status": "failed", "error_code": "upstream_invalid", "status_code": fmt.Sprint(statusOf(apierror.UpstreamInvalid)), "routing_information.attempts": "primary p0/x 500, retry p0/x 500",
			"attempt_costs": "p0 x 0 0 0, p0 x 0 0 0"}))},
		{name: "refused by the translator", first: []http.HandlerFunc{says(good)}, tr: &lines{begin: func(context.Context, provider.Turn) error {
			return apierror.At(apierror.Invalid, "top_p", "no top_p here")
		}}, want: row(with(free, usagetest.Row{
			"status": "failed", "error_code": "invalid", "status_code": fmt.Sprint(statusOf(apierror.Invalid)), "routing_information.attempts": "primary p0/x", "lost_fields": ""}))},
		{name: "cut in mid-stream", first: []http.HandlerFunc{saysThen("item; part; usage 9 1; text 1234567890", abort)}, second: []http.HandlerFunc{says(good)},
			want: row(with(estimated(9, 3), usagetest.Row{"status": "failed", "error_code": "upstream_failed", "status_code": fmt.Sprint(statusOf(apierror.UpstreamFailed))}))},

		{name: "retry", first: []http.HandlerFunc{status(503), says(good)}, want: row(usagetest.Row{
			"routing_information.attempts": "primary p0/x 503, retry p0/x 200", "attempt_costs": "p0 x 0 0 0, p0 x 7 3 0.000066"})},
		{name: "fallback, each with tokens at its own price", first: []http.HandlerFunc{says("item; usage 100 10; part; fail upstream_timeout slow")}, second: []http.HandlerFunc{says(good)},
			want: row(with(atP1, counted(107, 13, "provider"), usagetest.Row{ // 100×3 + 10×15, and 7×30 + 3×150
				"routing_information.attempts": "primary p0/x 200, fallback p1/x 200", "attempt_costs": "p0 x 100 10 0.00045, p1 x 7 3 0.00066", "cost_usd": "0.00111"}))},
		{name: "retry, then fallback that fails", first: []http.HandlerFunc{status(503)}, second: []http.HandlerFunc{status(400)}, want: row(with(free, atP1, usagetest.Row{
			"status": "failed", "error_code": "upstream_invalid", "status_code": fmt.Sprint(statusOf(apierror.UpstreamInvalid)),
			"routing_information.attempts": "primary p0/x 503, retry p0/x 503, fallback p1/x 400", "attempt_costs": "p0 x 0 0 0, p0 x 0 0 0, p1 x 0 0 0"}))},

		{name: "client gone before the first event", first: []http.HandlerFunc{hang},
			do: func(b *bench, seq iter.Seq2[openresponses.Event, error], cancel func()) {
				b.up.arrived(cancel)
				seq(func(openresponses.Event, error) bool { return true })
			},
			want: row(with(estimated(4, 0), usagetest.Row{"status": "canceled", "error_code": "canceled", "status_code": "499", "routing_information.attempts": "primary p0/x"}))},
		{name: "client gone in mid-stream", first: []http.HandlerFunc{saysThen("item; part; text hello", hang)},
			do: func(_ *bench, seq iter.Seq2[openresponses.Event, error], cancel func()) {
				seq(func(ev openresponses.Event, _ error) bool {
					if ev.Delta != "" {
						cancel()
					}
					return true
				})
			},
			want: row(with(estimated(4, 2), usagetest.Row{"status": "canceled", "error_code": "canceled", "status_code": "499"}))},
		{name: "consumer leaves in mid-stream", first: []http.HandlerFunc{saysThen("item; part; text hello", hang)},
			do: func(_ *bench, seq iter.Seq2[openresponses.Event, error], _ func()) {
				seq(func(ev openresponses.Event, _ error) bool { return ev.Delta == "" })
			},
			want: row(with(estimated(4, 2), usagetest.Row{"status": "canceled", "error_code": "canceled", "status_code": "499"}))},
		{name: "consumer leaves at the last event", first: []http.HandlerFunc{says(good)},
			do: func(_ *bench, seq iter.Seq2[openresponses.Event, error], _ func()) {
				seq(func(ev openresponses.Event, _ error) bool { return !ev.IsTerminal() })
			},
			want: row(nil)},
		{name: "consumer panics", first: []http.HandlerFunc{saysThen("item; part; text hello", hang)},
			do: func(_ *bench, seq iter.Seq2[openresponses.Event, error], _ func()) {
				defer func() { _ = recover() }()
				seq(func(ev openresponses.Event, _ error) bool {
					if ev.Delta != "" {
						panic("a bug in the consumer")
					}
					return true
				})
			},
			want: row(with(estimated(4, 2), usagetest.Row{"status": "failed", "error_code": "internal", "status_code": fmt.Sprint(statusOf(apierror.Internal))}))},
		{name: "canceled while it waits to try again", first: []http.HandlerFunc{status(503, "Retry-After", "4"), says(good)},
			do: func(b *bench, seq iter.Seq2[openresponses.Event, error], cancel func()) {
				b.failed = cancel // what is logged of an attempt that failed comes before the wait
				seq(func(openresponses.Event, error) bool { return true })
			},
			want: row(with(free, usagetest.Row{"status": "canceled", "error_code": "canceled", "status_code": "499", "routing_information.attempts": "primary p0/x 503"}))},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			log := usagetest.New(t, statusOf)
			early := func(steps []http.HandlerFunc) (checked []http.HandlerFunc) {
				for _, step := range steps {
					checked = append(checked, func(w http.ResponseWriter, r *http.Request) {
						if n := log.Open(); n != 1 {
							t.Errorf("%d calls are open when the provider is asked, want 1", n)
						}
						step(w, r)
					})
				}
				return checked
			}
			first := newUpstream(t, early(tt.first)...)
			bases := []string{first.URL}
			if tt.second != nil {
				bases = append(bases, newUpstream(t, early(tt.second)...).URL)
			}
			tr := tt.tr
			if tr == nil {
				tr = &lines{}
			}
			b := newRecordedBench(t, priced(bases...), plugins{"lines": tr}, log.Recorder)
			b.up = first
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			seq := func(yield func(openresponses.Event, error) bool) {
				b.Generate(ctx, caller, recorded("m"))(func(ev openresponses.Event, err error) bool {
					if n := log.Open(); (err != nil || ev.IsTerminal()) && n != 0 {
						t.Errorf("the call is open when its end is given on")
					}
					return yield(ev, err)
				})
			}
			if tt.do == nil {
				seq(func(openresponses.Event, error) bool { return true })
			} else {
				tt.do(b, seq, cancel)
			}
			rows := log.Rows()
			if len(rows) != 1 || log.Open() != 0 {
				t.Fatalf("%d rows and %d open calls, want 1 and none", len(rows), log.Open())
			}
			if d := diff(rows[0], tt.want); d != "" {
				t.Errorf("the row differs:%s", d)
			}
		})
	}
}

// A call that is refused before any provider is asked is a row too, unless
// permission is what it lacks.
func TestRefusedCalls(t *testing.T) {
	t.Parallel()
	log := usagetest.New(t, statusOf)
	up := newUpstream(t, says(good))
	b := newRecordedBench(t, priced(up.URL), plugins{"lines": &lines{}}, log.Recorder)
	if got := collect(b.Generate(t.Context(), mallory, recorded("m"))); got.err == nil || got.err.Code != apierror.Denied {
		t.Errorf("error = %v, want denied", got.err)
	}
	if rows := log.Rows(); len(rows) != 0 {
		t.Errorf("a denied call has the row %v", rows[0])
	}
	deep := recorded("m")
	deep.Header = http.Header{egress.DepthHeader: {"3"}}
	inner := recorded("m") // of a tool, which has no headers
	inner.Depth = 3
	for _, c := range []Call{deep, inner} {
		if got := collect(b.Generate(t.Context(), caller, c)); got.err == nil || got.err.Code != apierror.Invalid {
			t.Errorf("error = %v, want the loop refused", got.err)
		}
	}
	want := row(with(free, usagetest.Row{"status": "refused", "error_code": "invalid", "status_code": fmt.Sprint(statusOf(apierror.Invalid)),
		"destination_type": "", "destination_name": "", "destination_model": "", "routing_information.attempts": "", "lost_fields": "", "cost_usd": "",
		"price.input": "", "price.output": "", "price.cache_read": "", "price.cache_write": "", "price.cache_write_1h": ""}))
	rows := log.Rows()
	if len(rows) != 2 || up.requests() != 0 {
		t.Fatalf("%d rows and %d requests, want 2 and none", len(rows), up.requests())
	}
	for _, r := range rows {
		if d := diff(r, want); d != "" {
			t.Errorf("the row differs:%s", d)
		}
	}
}

// A call that cannot be recorded is not made.
func TestFullLedgerRefuses(t *testing.T) {
	t.Parallel()
	log := usagetest.New(t, statusOf)
	up := newUpstream(t, says(good))
	b := newRecordedBench(t, priced(up.URL), plugins{"lines": &lines{}}, log.Recorder)
	log.Fill(t.Context())
	got := collect(b.Generate(t.Context(), caller, recorded("m")))
	if got.err == nil || got.err.Code != apierror.Unavailable || !strings.Contains(got.err.Message, "full") {
		t.Errorf("error = %v, want that the log is full", got.err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if got := collect(b.Generate(gone, caller, recorded("m"))); got.err == nil || got.err.Code != apierror.Canceled {
		t.Errorf("error = %v, want canceled", got.err)
	}
	if rows := log.Rows(); len(rows) != 0 || up.requests() != 0 || log.Open() != 0 {
		t.Errorf("%d rows, %d requests, %d open calls; want none of each", len(rows), up.requests(), log.Open())
	}
	for _, want := range []record{{status: usage.Refused, code: apierror.Unavailable}, {status: usage.Canceled, code: apierror.Canceled}} {
		if rec := <-b.records; rec.status != want.status || rec.code != want.code {
			t.Errorf("log line with status %s and code %s, want %s and %s", rec.status, rec.code, want.status, want.code)
		}
	}
}

// A translator without HTTP is recorded like the others; and so is a call that
// no HTTP request asked for.
func TestOfflineRow(t *testing.T) {
	t.Parallel()
	log := usagetest.New(t, statusOf)
	b := newRecordedBench(t, offline(1), plugins{"offline": deltas{4}}, log.Recorder)
	robot := &access.Principal{Name: "robot", Kind: access.KindServicePrincipal, Scopes: []string{access.ScopeAll}}
	collect(b.Generate(t.Context(), robot, Call{Request: &openresponses.Request{Model: "m"}}))
	want := row(with(counted(0, 5, "estimated"), usagetest.Row{"destination_name": "p", "destination_model": "d0", "destination_id": "", "routing_information.attempts": "primary p/d0",
		"request_id": "", "session_id": "", "request_tags": "", "requester": "robot", "requester_type": "SERVICE_PRINCIPAL", "requester_groups": "", "lost_fields": "", "cost_usd": "",
		"price.input": "", "price.output": "", "price.cache_read": "", "price.cache_write": "", "price.cache_write_1h": ""}))
	if rows := log.Rows(); len(rows) != 1 || diff(rows[0], want) != "" {
		t.Errorf("rows = %v, want one:\n%v", rows, want)
	}
}
