package gatewaytest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/sallyport-gateway/sallyport/core/gatewaytest/upstream"
)

// faultClient is a client in one dialect.
type faultClient struct {
	name          string
	native        string // the provider that speaks its dialect
	foreign       string // one that does not
	path          string // @@ is the model
	body, whole   string // streamed, and not; @@ is the model
	wholePath     string
	end           string // what a whole stream ends with
	failure       string // what a stream that failed ends with; "" when the connection is broken off
	errorEnvelope func(b []byte) (message string, ok bool)
}

var faultClients = []faultClient{
	{
		name: "messages", native: "anthropic", foreign: "openai", path: "/anthropic/v1/messages", wholePath: "/anthropic/v1/messages",
		body:  `{"model":"@@","max_tokens":99,"stream":true,"messages":[{"role":"user","content":"hi"}]}`,
		whole: `{"model":"@@","max_tokens":99,"messages":[{"role":"user","content":"hi"}]}`,
		end:   "event: message_stop", failure: "event: error",
		errorEnvelope: func(b []byte) (string, bool) {
			var e struct {
				Type  string
				Error struct{ Type, Message string }
			}
			err := json.Unmarshal(b, &e)
			return e.Error.Message, err == nil && e.Type == "error" && e.Error.Type != ""
		},
	},
	{
		name: "responses", native: "openai", foreign: "anthropic", path: "/codex/v1/responses", wholePath: "/codex/v1/responses",
		body: `{"model":"@@","stream":true,"input":"hi"}`, whole: `{"model":"@@","input":"hi"}`,
		end: "event: response.completed", failure: "response.failed", errorEnvelope: openaiEnvelope,
	},
	{
		name: "chat", native: "openai", foreign: "gemini", path: "/openai/v1/chat/completions", wholePath: "/openai/v1/chat/completions",
		body:  `{"model":"@@","stream":true,"messages":[{"role":"user","content":"hi"}]}`,
		whole: `{"model":"@@","messages":[{"role":"user","content":"hi"}]}`,
		end:   "data: [DONE]", failure: `data: {"error":`, errorEnvelope: openaiEnvelope,
	},
	{
		name: "gemini", native: "gemini", foreign: "anthropic", path: "/gemini/v1beta/models/@@:streamGenerateContent?alt=sse", wholePath: "/gemini/v1beta/models/@@:generateContent",
		body: `{"contents":[{"role":"user","parts":[{"text":"hi"}]}]}`, whole: `{"contents":[{"role":"user","parts":[{"text":"hi"}]}]}`,
		end: `"finishReason":"STOP"`,
		errorEnvelope: func(b []byte) (string, bool) {
			var e struct {
				Error struct {
					Code            int
					Message, Status string
				}
			}
			err := json.Unmarshal(b, &e)
			return e.Error.Message, err == nil && e.Error.Status != ""
		},
	},
}

func openaiEnvelope(b []byte) (string, bool) {
	var e struct {
		Error struct {
			Message, Type string
		}
	}
	err := json.Unmarshal(b, &e)
	return e.Error.Message, err == nil && e.Error.Type != ""
}

// fault is what a provider does wrong, and what a client sees of it.
type fault struct {
	name string
	turn upstream.Turn
	// What comes instead of a reply: the status natively and when translated.
	// 0 means that a reply comes.
	native, translated int
	// What becomes of a stream, natively and when translated: "whole", or
	// "broken" off after its beginning.
	stream, streamTranslated string
	// The status without a stream, natively and when translated, where nothing
	// has been sent yet; 0 means as with a stream.
	document, documentTranslated int
}

const said = "one two three four"

var faults = []fault{
	{name: "400", turn: upstream.Turn{Status: 400}, native: 400, translated: 400},
	{name: "401", turn: upstream.Turn{Status: 401}, native: 400, translated: 400}, // it is our key: nobody may ask again
	{name: "403", turn: upstream.Turn{Status: 403}, native: 400, translated: 400},
	{name: "404", turn: upstream.Turn{Status: 404}, native: 404, translated: 400},
	{name: "429", turn: upstream.Turn{Status: 429, RetryAfter: "60"}, native: 429, translated: 429},
	{name: "500", turn: upstream.Turn{Status: 500, RetryAfter: "60"}, native: 500, translated: 502},
	{name: "503", turn: upstream.Turn{Status: 503, RetryAfter: "60"}, native: 503, translated: 429},
	{name: "hangs before the head", turn: upstream.Turn{Fault: upstream.Hang}, native: 504, translated: 504},
	{name: "hangs in the middle", turn: upstream.Turn{Fault: upstream.HangMid, Text: said}, stream: "broken", streamTranslated: "broken", document: 504, documentTranslated: 504},
	{name: "is cut", turn: upstream.Turn{Fault: upstream.Cut, Text: said}, stream: "broken", streamTranslated: "broken", document: 502, documentTranslated: 502},
	{name: "has no end", turn: upstream.Turn{Fault: upstream.NoEnd, Text: said}, stream: "broken", streamTranslated: "broken", documentTranslated: 502},
	{name: "ends early", turn: upstream.Turn{Fault: upstream.Ended, Text: said}, stream: "broken", streamTranslated: "broken", documentTranslated: 502},
	{name: "tells of an error", turn: upstream.Turn{Fault: upstream.ErrorEvent, Text: said}, stream: "broken", streamTranslated: "broken", documentTranslated: 502},
	{name: "garbage in the middle", turn: upstream.Turn{Fault: upstream.GarbageMid, Text: said}, stream: "broken", streamTranslated: "broken", documentTranslated: 502},
	{name: "a malformed line", turn: upstream.Turn{Fault: upstream.Malformed, Text: said}, stream: "whole", streamTranslated: "broken", documentTranslated: 502},
	{name: "drips", turn: upstream.Turn{Fault: upstream.Drip, Text: said}, stream: "whole", streamTranslated: "whole"},
}

// TestFaultMatrix has each provider fail in every way, and checks what the
// client of each dialect sees, natively and translated: an error in its own
// dialect with the status that makes it behave, or in an open stream its own
// terminal event; and that one row tells of the call.
func TestFaultMatrix(t *testing.T) {
	t.Parallel()
	for _, c := range faultClients {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			// What hangs is waited for, and nothing else has to come in time.
			hasty, patient := newNatives(t, false, ", timeouts: {first_byte: 1s, idle: 1s}"), newNatives(t, false, "")
			rows := map[*natives]map[string]string{hasty: {}, patient: {}} // by id of the request: the status of its row
			for _, f := range faults {
				n := patient
				if f.turn.Fault == upstream.Hang || f.turn.Fault == upstream.HangMid {
					n = hasty
				}
				for _, lane := range []string{"native", "translated"} {
					for _, stream := range []bool{true, false} {
						id := fmt.Sprintf("%s, %s, %s, stream %t", c.name, f.name, lane, stream)
						rows[n][id] = c.meets(t, n, f, lane == "native", stream, id)
					}
				}
			}
			for n, want := range rows {
				n.rows(t, want)
			}
		})
	}
}

// meets makes a request that meets the fault, and returns the status that its
// row should have.
func (c faultClient) meets(t *testing.T, n *natives, f fault, native, stream bool, id string) (status string) {
	t.Helper()
	r := nativeRoute{provider: c.native, path: c.path, body: c.body}
	refused, becomes, document := f.native, f.stream, f.document
	if !native {
		r.provider = c.foreign
		refused, becomes, document = f.translated, f.streamTranslated, f.documentTranslated
	}
	if !stream {
		r.path, r.body = c.wholePath, c.whole
		if document != 0 {
			refused = document
		}
	}
	up := n.upstreams[r.provider]
	up.Reset()
	n.heard = nil
	if stream && f.stream != "" && f.turn.Fault != upstream.Drip { // it happens once the beginning has reached the client
		began := upstream.NewGate()
		f.turn.Middle = began
		n.heard = func(b []byte) {
			if strings.Contains(string(b), "two") || f.turn.Fault == upstream.NoEnd && len(b) > 0 { // whose middle is earlier
				began.Open()
			}
		}
	}
	up.Repeat(f.turn)
	resp, b, err := n.do(t, r, r.body, "Databricks-Ai-Gateway-Request-Tags", `{"id":"`+id+`"}`, "Anthropic-Version", "2023-06-01")
	text := string(b)
	if no := up.Refusals(); len(no) > 0 {
		t.Fatalf("%s: the provider refused: %q", id, no)
	}
	switch {
	case refused != 0:
		c.refused(t, id, refused, native && f.turn.Status != 0 && refused == f.turn.Status, resp, text)
		if f.turn.RetryAfter != resp.Header.Get("Retry-After") {
			t.Errorf("%s: got Retry-After %q, want %q", id, resp.Header.Get("Retry-After"), f.turn.RetryAfter)
		}
		return "failed"
	case resp.StatusCode != http.StatusOK && !native && c.failure == "":
		// Where failures break the connection off, one that came together with
		// what was said before, and so before the client got anything, is an
		// error answer: that is better.
		c.refused(t, id, f.documentTranslated, false, resp, text)
		return "failed"
	case resp.StatusCode != http.StatusOK:
		t.Errorf("%s: got %d %s", id, resp.StatusCode, text)
	case !stream: // natively a document is what it is
		if strings.Contains(text, said) || !native {
			return "completed"
		}
		t.Errorf("%s: got %s", id, text)
		return "completed"
	}
	last := text[max(0, strings.LastIndex(strings.TrimRight(text, "\r\n"), "\n\n")):] // its last event
	if strings.Contains(text, "\r\n\r\n") {
		last = text[max(0, strings.LastIndex(strings.TrimRight(text, "\r\n"), "\n\r\n")):]
	}
	if !strings.Contains(text, "two") {
		t.Errorf("%s: what was said before is missing: %s", id, text)
	}
	if becomes == "whole" {
		if !strings.Contains(last, c.end) || !strings.Contains(text, "four") {
			t.Errorf("%s: the stream is not whole: %s", id, text)
		}
		return "completed"
	}
	own := native && f.turn.Fault == upstream.ErrorEvent && strings.Contains(last, "error") // in the provider's own words
	if c.failure != "" && !strings.Contains(text, c.failure) && !own {
		t.Errorf("%s: the stream does not say that it failed: %s", id, text)
	}
	if c.failure == "" && strings.Contains(text, c.end) {
		t.Errorf("%s: the stream ends as a good one: %s", id, text)
	}
	if strings.Contains(text, c.end) && c.name != "chat" { // whose failures end with [DONE] too
		t.Errorf("%s: the stream goes on after it failed, or ends as a good one: %s", id, text)
	}
	inOrder := c.failure != "" || native && slices.Contains(endedInOrder, f.turn.Fault)
	if (err == nil) != (inOrder || own) {
		t.Errorf("%s: the body ended with %v; want it broken off: %t", id, err, !inOrder)
	}
	if inOrder && c.failure == "" {
		return "completed" // a stream of this dialect ends where the connection does
	}
	return "failed"
}

// endedInOrder are the faults in which the provider ends its reply as if it
// were whole.
var endedInOrder = []upstream.Fault{upstream.NoEnd, upstream.Ended, upstream.GarbageMid}

// refused checks an error answer: the provider's own, or ours in the client's
// dialect, which names no key and not the provider's words about one.
func (c faultClient) refused(t *testing.T, id string, status int, own bool, resp *http.Response, text string) {
	t.Helper()
	if resp.StatusCode != status {
		t.Errorf("%s: got %d %s, want %d", id, resp.StatusCode, text, status)
		return
	}
	message, ok := c.errorEnvelope([]byte(text))
	if !ok || message == "" {
		t.Errorf("%s: the error is not in the client's dialect: %s", id, text)
	}
	if own != (resp.Header.Get("Sallyport-Lost") == "" && !strings.Contains(text, "rovider")) {
		t.Errorf("%s: got %s; want the provider's own words: %t", id, text, own)
	}
	if strings.Contains(text, "Incorrect API key") {
		t.Errorf("%s: the provider's words about our key reach the client: %s", id, text)
	}
}

// rows checks that each request has exactly one row, with that status.
func (n *natives) rows(t *testing.T, want map[string]string) {
	t.Helper()
	status, _, b := n.Post(corpusToken, "/api/2.0/sql/statements", map[string]any{
		"statement": "SELECT request_tags['id'], status FROM system.ai_gateway.usage WHERE request_tags['id'] IS NOT NULL"})
	var reply struct {
		Result struct {
			Rows [][]string `json:"data_array"`
		}
	}
	if err := json.Unmarshal(b, &reply); err != nil || status != http.StatusOK {
		t.Fatalf("usage rows: got %d %s, %v", status, b, err)
	}
	got := map[string][]string{}
	for _, r := range reply.Result.Rows {
		got[r[0]] = append(got[r[0]], r[1])
	}
	for id, status := range want {
		if rows := got[id]; len(rows) != 1 || rows[0] != status {
			t.Errorf("%s: rows with the status %q, want one: %s", id, rows, status)
		}
	}
}
