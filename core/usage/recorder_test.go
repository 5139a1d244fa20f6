package usage

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport-gateway/sallyport/core/tables"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
)

// begin is Begin without an error.
func (w *world) begin(tb testing.TB, s Start) *Call {
	tb.Helper()
	c, err := w.rec.Begin(tb.Context(), s)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// TestRowsReachTheTable: what a call was is in the files of its table, column
// by column.
func TestRowsReachTheTable(t *testing.T) {
	t.Parallel()
	w := openWorld(t, t.TempDir(), tables.Config{})
	call := w.begin(t, sampleStart())
	call.End(sampleOutcome())
	call.End(Outcome{Status: Failed}) // does nothing

	s := sampleStart()
	s.Service = &Service{Type: MCPService, Name: "main.tools.tickets", ToolType: "mcp", Function: "create_ticket"}
	w.begin(t, s).End(Outcome{Status: Completed, Latency: time.Second})

	if err := w.rec.Refuse(t.Context(), Start{Time: noon, Requester: "job", ServicePrincipal: true, Model: "m"}, Outcome{Code: apierror.RateLimited}); err != nil {
		t.Fatal(err)
	}
	rows := w.committed(t, UsageTable)
	if len(rows) != 3 {
		t.Fatalf("%d rows, want 3", len(rows))
	}
	if rows[0]["invocation_id"] != call.ID() {
		t.Errorf("the id is %v, want %s", rows[0]["invocation_id"], call.ID())
	}
	want := []string{
		`account_id "acme"
agent_id "a7"
api_type "mlflow/v1/responses"
cache_write_1h_tokens 20
cache_write_5m_tokens 500
coding_tool "claude-code"
coding_tool_mode "interactive"
coding_tool_version "2.1.329"
cost_usd 0.012495
destination_id "claude-sonnet-4-5-20250929"
destination_model "claude-sonnet-4-5-20250929"
destination_name "anthropic"
destination_type "EXTERNAL_FOUNDATION_MODEL"
endpoint_name "databricks-claude-sonnet-4-5"
event_time 1795262400123456
input_tokens 9520
invocation_metadata {"service_tier":"standard","source":null}
ip_address "10.1.2.3"
latency_ms 2345
lost_fields []
operation "generate"
output_tokens 340
price {"cache_read":0.3,"cache_write":3.75,"cache_write_1h":6,"input":3,"output":15}
request_id "0a5c7e9e-5a43-4a7c-9f39-58a6ef3f7a11"
request_tags {"cost_centre":"42","team":"search"}
requester "ana@example.com"
requester_groups ["analysts","engineers"]
requester_type "USER"
response_content_type "text/event-stream"
routing_information {"attempts":[{"action":"primary","destination":"anthropic/claude-sonnet-4-5-20250929","latency_ms":2340,"status_code":200}]}
schema_version 2
session_id "6f1adc1e-8f56-4f2f-8a55-06a2d6a0e9f6"
status "completed"
status_code 200
time_to_first_byte_ms 432
token_details {"cache_creation_input_tokens":520,"cache_read_input_tokens":8000,"output_reasoning_tokens":40}
token_source "provider"
tool_calls 1
total_tokens 9860
turn_id "t3"
uncached_input_tokens 1000
url "/ai-gateway/mlflow/v1/responses"
user_agent "claude-cli/2.1.329 (external, cli)"
`,
		`account_id "acme"
agent_id "a7"
api_type "mlflow/v1/responses"
coding_tool "claude-code"
coding_tool_mode "interactive"
coding_tool_version "2.1.329"
event_time 1795262400123456
ip_address "10.1.2.3"
latency_ms 1000
lost_fields []
mcp_metadata {"client_name":"claude-code","json_rpc_method":"tools/call","server_type":"mcp","tool_name":"create_ticket"}
request_id "0a5c7e9e-5a43-4a7c-9f39-58a6ef3f7a11"
request_tags {"cost_centre":"42","team":"search"}
requester "ana@example.com"
requester_groups ["analysts","engineers"]
requester_type "USER"
response_content_type "text/event-stream"
schema_version 2
service_name "main.tools.tickets"
service_type "MCP_SERVICE"
session_id "6f1adc1e-8f56-4f2f-8a55-06a2d6a0e9f6"
status "completed"
status_code 200
token_source "none"
turn_id "t3"
url "/ai-gateway/mlflow/v1/responses"
user_agent "claude-cli/2.1.329 (external, cli)"
`,
		`account_id "acme"
cache_write_1h_tokens 0
cache_write_5m_tokens 0
endpoint_name "m"
error_code "rate_limited"
event_time 1795262400123456
input_tokens 0
latency_ms 0
lost_fields []
operation "generate"
output_tokens 0
request_tags {}
requester "job"
requester_groups []
requester_type "SERVICE_PRINCIPAL"
routing_information {"attempts":[]}
schema_version 2
status "refused"
status_code 429
token_details {"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_reasoning_tokens":0}
token_source "none"
tool_calls 0
total_tokens 0
uncached_input_tokens 0
`,
	}
	for i, row := range rows {
		delete(row, "invocation_id")
		if got := show(t, row); got != want[i] {
			t.Errorf("row %d:\n%swant\n%s", i, got, want[i])
		}
	}
}

// show is the columns of a row that are not null, one in a line.
func show(t *testing.T, row map[string]any) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(row)) {
		if row[name] == nil {
			continue
		}
		v, err := json.Marshal(row[name])
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%s %s\n", name, v)
	}
	return b.String()
}

// TestNil: without a Recorder nothing is recorded and nothing fails.
func TestNil(t *testing.T) {
	t.Parallel()
	var r *Recorder
	c, err := r.Begin(t.Context(), sampleStart())
	if c != nil || err != nil {
		t.Errorf("Begin: %v, %v", c, err)
	}
	if c.ID() != "" || c.Payload() != nil {
		t.Error("a nil call has an id or a payload")
	}
	c.Payload().Request([]byte("x"))
	if n, err := c.Payload().Write([]byte("xyz")); n != 3 || err != nil {
		t.Errorf("Write: %d, %v", n, err)
	}
	c.End(sampleOutcome())
	if err := r.Refuse(t.Context(), sampleStart(), Outcome{}); err != nil {
		t.Error(err)
	}
	if r.Health() != nil || r.Close() != nil {
		t.Error("a nil Recorder has trouble")
	}
}

// TestManyCalls: calls side by side have one row each.
func TestManyCalls(t *testing.T) {
	t.Parallel()
	w := openWorld(t, t.TempDir(), tables.Config{})
	const callers, each = 16, 25
	var mu sync.Mutex
	want := map[string]int64{} // input tokens by call
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			for j := range each {
				c, err := w.rec.Begin(t.Context(), sampleStart())
				if err != nil {
					t.Error(err)
					return
				}
				o := sampleOutcome()
				o.Attempts[0].Usage.Input = int64(1000*i + j)
				var ends sync.WaitGroup
				for range 2 { // only one of them counts
					ends.Go(func() { c.End(o) })
				}
				ends.Wait()
				mu.Lock()
				want[c.ID()] = o.Attempts[0].Usage.Input
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	got := map[string]int64{}
	rows := w.committed(t, UsageTable)
	for _, r := range rows {
		got[r["invocation_id"].(string)] = r["uncached_input_tokens"].(int64)
	}
	if len(rows) != callers*each || !maps.Equal(got, want) {
		t.Errorf("%d rows of %d calls, want %d", len(rows), len(got), callers*each)
	}
}

// TestClientThatLeft: an ended context keeps no row from being written.
func TestClientThatLeft(t *testing.T) {
	t.Parallel()
	w := openWorld(t, t.TempDir(), tables.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	c, err := w.rec.Begin(ctx, sampleStart())
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	c.End(Outcome{Status: Canceled, Code: apierror.Canceled})
	if err := w.rec.Refuse(ctx, sampleStart(), Outcome{Code: apierror.Denied}); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range w.committed(t, UsageTable) {
		got = append(got, fmt.Sprint(r["status"], " ", r["status_code"], " ", r["error_code"]))
	}
	if want := []string{"canceled 499 canceled", "refused 500 denied"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestReadOnlySpill: a reply that finds no room on the disk is kept as far as
// memory goes, and says so.
func TestReadOnlySpill(t *testing.T) {
	t.Parallel()
	w := openWorld(t, t.TempDir(), tables.Config{})
	if err := os.Remove(filepath.Join(w.dir, "spill")); err != nil {
		t.Fatal(err)
	}
	s := sampleStart()
	s.PayloadTable = payloadTable
	c := w.begin(t, s)
	for range 3 {
		c.Payload().Write(make([]byte, 1<<19))
	}
	c.End(sampleOutcome())
	rows := w.committed(t, payloadTable)
	if len(rows) != 1 || len(rows[0]["response"].(string)) != replyInMemory || fmt.Sprint(rows[0]["logging_error_codes"]) != "[RESPONSE_NOT_KEPT]" {
		t.Errorf("%d rows, %d bytes, %v", len(rows), len(rows[0]["response"].(string)), rows[0]["logging_error_codes"])
	}
}
