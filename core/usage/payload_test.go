package usage

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/sallyport-gateway/sallyport/core/ledger"
	"github.com/sallyport-gateway/sallyport/core/tables"
)

func TestPayload(t *testing.T) {
	t.Parallel()
	w := openWorld(t, t.TempDir(), tables.Config{})
	text := func(n int) string { return strings.Repeat("0123456789abcde\n", n/16+1)[:n] }
	const most = 3 << 20
	tests := []struct {
		name              string
		max               int64
		request, response string
		piece             int // bytes in a Write
		wantRequest       int // bytes of it that are kept
		wantResponse      int
		codes             string
	}{
		{"small", 0, `{"input":"hé"}`, `{"output":[]}`, 5, 15, 13, "[]"},
		{"nothing", 0, "", "", 1, 0, 0, "[]"},
		{"just in memory", most, "r", text(replyInMemory), 1000, 1, replyInMemory, "[]"},
		{"one byte in the file", most, "r", text(replyInMemory + 1), 100_000, 1, replyInMemory + 1, "[]"},
		{"at the limit", most, text(most), text(most), 333_333, most, most, "[]"},
		{"over the limit", most, text(most + 1), text(most + 1), 333_333, most, most, "[MAX_REQUEST_SIZE_EXCEEDED MAX_RESPONSE_SIZE_EXCEEDED]"},
		{"far over the limit, at once", most, "r", text(5 * most), 5 * most, 1, most, "[MAX_RESPONSE_SIZE_EXCEEDED]"},
		{"cut in memory", 4, "ab日本", "abcdé", 1, 2, 4, "[MAX_REQUEST_SIZE_EXCEEDED MAX_RESPONSE_SIZE_EXCEEDED]"},
		{"a character over the limit", 3, "ab日", "éé", 4, 2, 2, "[MAX_REQUEST_SIZE_EXCEEDED MAX_RESPONSE_SIZE_EXCEEDED]"},
		{"a character over the memory", most, "r", text(replyInMemory-1) + "日", 999, 1, replyInMemory + 2, "[]"},
		{"a character over the limit, in the file", replyInMemory + 1, "r", text(replyInMemory) + "日", 1 << 22, 1, replyInMemory, "[MAX_RESPONSE_SIZE_EXCEEDED]"},
		{"more than anybody may keep", 1 << 40, text(11 << 20), "r", 1, DefaultPayloadMax, 1, "[MAX_REQUEST_SIZE_EXCEEDED]"},
	}
	ids := map[string]int{}
	for i, tt := range tests {
		s := sampleStart()
		s.PayloadTable, s.PayloadMax = payloadTable, tt.max
		c := w.begin(t, s)
		ids[c.ID()] = i
		p := c.Payload()
		p.Request([]byte(tt.request))
		for rest := []byte(tt.response); len(rest) > 0; {
			n := min(len(rest), tt.piece)
			if got, err := p.Write(rest[:n]); got != n || err != nil {
				t.Errorf("%s: Write: %d, %v", tt.name, got, err)
			}
			rest = rest[n:]
		}
		if held := cap(p.reply); held > 2*replyInMemory {
			t.Errorf("%s: %d bytes in memory", tt.name, held)
		}
		if names, err := os.ReadDir(w.rec.cfg.SpillDir); err != nil || len(names) != 0 {
			t.Errorf("%s: the spill file has a name: %v, %v", tt.name, names, err)
		}
		c.End(sampleOutcome())
		if _, err := p.Write([]byte("late")); err != nil || p.file != nil || p.reply != nil || p.request != nil {
			t.Errorf("%s: the payload goes on after the end: %v", tt.name, err)
		}
		p.Request([]byte("late"))
	}
	rows := w.committed(t, payloadTable)
	for _, r := range rows {
		tt := tests[ids[r["invocation_id"].(string)]]
		request, response := r["request"].(string), r["response"].(string)
		if request != tt.request[:tt.wantRequest] || response != tt.response[:tt.wantResponse] || fmt.Sprint(r["logging_error_codes"]) != tt.codes {
			t.Errorf("%s: %d and %d bytes, %v, want %d, %d, %s", tt.name, len(request), len(response), r["logging_error_codes"], tt.wantRequest, tt.wantResponse, tt.codes)
		}
	}
	if len(rows) != len(tests) {
		t.Fatalf("%d rows, want %d", len(rows), len(tests))
	}
	for _, r := range rows {
		for _, name := range []string{"request", "response", "logging_error_codes", "invocation_id"} {
			delete(r, name)
		}
	}
	const want = `api_type "mlflow/v1/responses"
destination_model "claude-sonnet-4-5-20250929"
destination_name "anthropic"
destination_type "EXTERNAL_FOUNDATION_MODEL"
endpoint_name "databricks-claude-sonnet-4-5"
event_time 1795262400123456
latency_ms 2345
request_id "0a5c7e9e-5a43-4a7c-9f39-58a6ef3f7a11"
request_tags {"cost_centre":"42","team":"search"}
requester "ana@example.com"
sampling_fraction 1
schema_version 1
session_id "6f1adc1e-8f56-4f2f-8a55-06a2d6a0e9f6"
status "completed"
status_code 200
time_to_first_byte_ms 432
url "/ai-gateway/mlflow/v1/responses"
`
	if got := show(t, rows[0]); got != want {
		t.Errorf("the other columns:\n%swant\n%s", got, want)
	}
	if !w.rec.loaded.TryAcquire(loadedAtOnce) {
		t.Error("memory for payloads is still taken")
	}
}

// TestPayloadGoesFirst: when a call has a whole row, its payload has one too.
func TestPayloadGoesFirst(t *testing.T) {
	t.Parallel()
	w := openWorld(t, t.TempDir(), tables.Config{FlushAfter: time.Hour})
	s := sampleStart()
	s.PayloadTable = payloadTable
	c := w.begin(t, s)
	c.End(sampleOutcome())
	if err := w.rec.ledger.Sync(t.Context(), w.rec.ledger.Stats().Last); err != nil {
		t.Fatal(err)
	}
	var got []ledger.Kind
	for rec, err := range w.rec.ledger.Replay(1) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, rec.Kind)
	}
	if fmt.Sprint(got) != "[started row settled]" {
		t.Errorf("%v", got)
	}
}

// TestPayloadBudget: what is loaded into memory at once is bounded; a call that
// finds no room in time keeps the beginning, and its usage row in any case.
func TestPayloadBudget(t *testing.T) {
	t.Parallel()
	w := openWorld(t, t.TempDir(), tables.Config{})
	w.rec.loadWait = time.Millisecond
	if !w.rec.loaded.TryAcquire(loadedAtOnce) {
		t.Fatal("memory for payloads is taken")
	}
	for _, size := range []int{10, 2 << 20} {
		s := sampleStart()
		s.PayloadTable = payloadTable
		c := w.begin(t, s)
		c.Payload().Request(bytes.Repeat([]byte("é"), size))
		c.Payload().Write(bytes.Repeat([]byte("é"), size))
		c.End(sampleOutcome())
	}
	rows := w.committed(t, payloadTable)
	if len(rows) != 2 || len(w.committed(t, UsageTable)) != 2 {
		t.Fatalf("%d payloads", len(rows))
	}
	for i, want := range []string{"20 20 []", fmt.Sprint(replyInMemory, " ", replyInMemory, " [REQUEST_NOT_KEPT RESPONSE_NOT_KEPT]")} {
		request, response := rows[i]["request"].(string), rows[i]["response"].(string)
		if got := fmt.Sprint(len(request), " ", len(response), " ", rows[i]["logging_error_codes"]); got != want || !utf8.ValidString(request+response) {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

func TestTrimPartial(t *testing.T) {
	t.Parallel()
	tests := []struct{ in, want string }{
		{"", ""},
		{"abc", "abc"},
		{"ab\xc3", "ab"},
		{"abé", "abé"},
		{"\xe6\x97", ""},
		{"a\xf0\x9f\x98", "a"},
		{"a\xf0\x9f\x98\x80", "a\xf0\x9f\x98\x80"},
		{"a\x80\x80\x80\x80", "a\x80\x80\x80\x80"}, // no text at all; the table replaces it
		{"a\xff", "a\xff"},
	}
	for _, tt := range tests {
		if got := string(trimPartial([]byte(tt.in))); got != tt.want {
			t.Errorf("%q: %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestSpillDir(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "a", "spill")
	if err := sweep(dir); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"payload-123", "other"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := sweep(dir); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 || left[0].Name() != "other" {
		t.Errorf("%v, %v", left, err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info, err)
	}
}
