package gatewaytest_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-gateway/sallyport/core/gatewaytest"
	"github.com/sallyport-gateway/sallyport/core/gatewaytest/upstream"
)

const corpusToken = "dapicorpus000000000000000000000001"

// natives is a gateway whose providers take everything, and what stands in
// front of each.
type natives struct {
	*gatewaytest.Gateway
	upstreams map[string]*upstream.Server // by provider
	heard     func(soFar []byte)          // called when a piece of a reply has come, if set
}

// newNatives starts the gateway; account is more of each provider's entry. With
// trust the providers check nothing: what goes through is theirs to understand.
func newNatives(t *testing.T, trust bool, account string) *natives {
	t.Helper()
	n := &natives{upstreams: map[string]*upstream.Server{"openai": upstream.OpenAI(t, "up"), "anthropic": upstream.Anthropic(t, "up"), "gemini": upstream.Gemini(t, "up")}}
	for _, s := range n.upstreams {
		if trust {
			s.Trust()
		}
	}
	dir := t.TempDir()
	for name, text := range map[string]string{"token": corpusToken, "key": "up"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	n.Gateway = gatewaytest.Start(t, `version: 1
providers:
  openai: {translator: openai, base_url: `+n.upstreams["openai"].URL+`, key: {file: key}`+account+`}
  anthropic: {translator: anthropic, base_url: `+n.upstreams["anthropic"].URL+`, key: {file: key}`+account+`}
  gemini: {translator: gemini, base_url: `+n.upstreams["gemini"].URL+`, key: {file: key}`+account+`}
models:
  our-openai: {destinations: [{provider: openai, model: gpt-5.2}]}
  our-anthropic: {destinations: [{provider: anthropic, model: claude-sonnet-4-5}]}
  our-gemini: {destinations: [{provider: gemini, model: gemini-2.5-flash}]}
access:
  users: [{name: root@example.com, admin: true}]
  tokens: [{principal: root@example.com, token: {file: token}, scopes: [all]}]
`, dir)
	return n
}

// nativeRoute is a path of a client, and the provider behind it. In bodies and
// paths @@ stands for the model's name, ours or the provider's.
type nativeRoute struct {
	name, provider, theirs string // theirs is the model's name there
	path, upPath           string
	stream                 bool
	body                   string
}

var nativeRoutes = []nativeRoute{
	{"messages", "anthropic", "claude-sonnet-4-5", "/anthropic/v1/messages?beta=true", "/v1/messages", false, `{"model":"@@","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}`},
	{"messages streamed", "anthropic", "claude-sonnet-4-5", "/anthropic/v1/messages?beta=true", "/v1/messages", true, `{"model":"@@","max_tokens":9,"stream":true,"messages":[{"role":"user","content":"hi"}]}`},
	{"messages below ai-gateway", "anthropic", "claude-sonnet-4-5", "/ai-gateway/anthropic/v1/messages", "/v1/messages", false, `{"model":"@@","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}`},
	{"count_tokens", "anthropic", "claude-sonnet-4-5", "/anthropic/v1/messages/count_tokens?beta=true", "/v1/messages/count_tokens", false, `{"model":"@@","messages":[{"role":"user","content":"hi"}]}`},
	{"responses", "openai", "gpt-5.2", "/openai/v1/responses", "/v1/responses", false, `{"model":"@@","input":"hi"}`},
	{"responses streamed", "openai", "gpt-5.2", "/openai/v1/responses", "/v1/responses", true, `{"model":"@@","stream":true,"input":"hi"}`},
	{"codex", "openai", "gpt-5.2", "/codex/v1/responses", "/v1/responses", true, `{"model":"@@","stream":true,"input":"hi"}`},
	{"chat", "openai", "gpt-5.2", "/openai/v1/chat/completions", "/v1/chat/completions", false, `{"model":"@@","messages":[{"role":"user","content":"hi"}]}`},
	{"chat streamed", "openai", "gpt-5.2", "/openai/v1/chat/completions", "/v1/chat/completions", true, `{"model":"@@","stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"hi"}]}`},
	{"mlflow chat", "openai", "gpt-5.2", "/mlflow/v1/chat/completions", "/v1/chat/completions", true, `{"model":"@@","stream":true,"messages":[{"role":"user","content":"hi"}]}`},
	{"embeddings", "openai", "gpt-5.2", "/openai/v1/embeddings", "/v1/embeddings", false, `{"model":"@@","input":["hi"]}`},
	{"generateContent", "gemini", "gemini-2.5-flash", "/gemini/v1beta/models/@@:generateContent", "/v1beta/models/@@:generateContent", false, `{"contents":[{"parts":[{"text":"hi"}]}]}`},
	{"streamGenerateContent", "gemini", "gemini-2.5-flash", "/gemini/v1beta/models/@@:streamGenerateContent?alt=sse", "/v1beta/models/@@:streamGenerateContent", true, `{"contents":[{"parts":[{"text":"hi"}]}]}`},
	{"streamGenerateContent as an array", "gemini", "gemini-2.5-flash", "/gemini/v1/models/@@:streamGenerateContent", "/v1beta/models/@@:streamGenerateContent", false, `{"contents":[{"parts":[{"text":"hi"}]}]}`},
	{"countTokens", "gemini", "gemini-2.5-flash", "/gemini/v1beta/models/@@:countTokens", "/v1beta/models/@@:countTokens", false, `{"contents":[{"parts":[{"text":"hi"}]}]}`},
}

// strangeMembers go into a request's body at its beginning or its end; nobody
// here acts on them, so they arrive as they are.
var strangeMembers = map[string]string{
	"unknown fields":        `"x_new":{"deep":[{"er":null},[],{}]},"y":true`,
	"numbers":               `"n":[1e400,-1E-400,0.10,-0,0.0,1E+2,123456789012345678901234567890,1.0]`,
	"keys twice":            `"u":{"a":1,"a":2,"":0,"":1},"v":[{"k":1,"k":1}]`,
	"escapes":               `"e":"\u0041\/\b\f\n\r\t\"\\ \ud83d\ude00 \u0000 \u2028","k\"\\":{"\u0061bc":1}`,
	"letters":               `"l":"æøå 日本語 😀 ` + "\u2028\u2029\u00a0" + `"`,
	"white space":           " \"w\" \t:\r\n [ 1 ,\t2 ]\n",
	"model in other places": `"inner":{"model":"our-openai","stream":false},"s":"\"model\":\"our-gemini\"","list":[{"model":1}]`,
	"signatures":            `"messages_before":[{"role":"assistant","content":[{"type":"thinking","thinking":"hm","signature":"ErUBCkYIBxgCIkD+/=="},{"type":"redacted_thinking","data":"EmwKAhgBEgy3va3pzix/LafPsn4="}]},{"thoughtSignature":"CiQB+/skip=="},{"type":"reasoning","encrypted_content":"gAAAAAB-_x=="}]`,
	"cache marks":           `"system_before":[{"type":"text","text":"x","cache_control":{"type":"ephemeral","ttl":"1h"}}]`,
	"depth":                 `"d":` + strings.Repeat("[", 400) + strings.Repeat("]", 400),
	"long":                  `"long":"` + strings.Repeat("0123456789abcdef", 100_000) + `"`,
}

// TestNativeRequests sends every strange request through every native route
// and compares what arrives with what was sent, byte by byte.
func TestNativeRequests(t *testing.T) {
	t.Parallel()
	n := newNatives(t, true, "")
	for _, r := range nativeRoutes {
		t.Run(r.name, func(t *testing.T) {
			up := n.upstreams[r.provider]
			bodies := map[string]string{"plain": r.body, "white space around": " \r\n\t" + r.body + "\n\n"}
			for name, members := range strangeMembers {
				bodies[name+" first"] = "{" + members + "," + r.body[1:]
				bodies[name+" last"] = r.body[:len(r.body)-1] + "," + members + "}"
			}
			for name, body := range bodies {
				up.Reset()
				up.Script(upstream.Turn{Raw: &upstream.Raw{Header: replyHeader(r), Pieces: []string{wholeReply(r)}}})
				before := len(up.Requests())
				status, reply := n.ask(t, r, body)
				if status != 200 || reply != received(r, wholeReply(r)) {
					t.Errorf("%s: got %d %.300s", name, status, reply)
				}
				arrived := up.Requests()[before:]
				if len(arrived) != 1 {
					t.Errorf("%s: %d requests arrived", name, len(arrived))
					continue
				}
				want := strings.Replace(body, "@@", r.theirs, 1)
				if sum(arrived[0].Body) != sum([]byte(want)) {
					t.Errorf("%s: %s\narrived as\n%.600s\nwant\n%.600s", name, firstDifference(string(arrived[0].Body), want), arrived[0].Body, want)
				}
				wantPath := strings.Replace(r.upPath, "@@", r.theirs, 1)
				_, query, _ := strings.Cut(r.path, "?")
				if arrived[0].Path != wantPath || arrived[0].Query != query {
					t.Errorf("%s: arrived at %s?%s, want %s?%s", name, arrived[0].Path, arrived[0].Query, wantPath, query)
				}
			}
		})
	}
}

func sum(b []byte) [32]byte { return sha256.Sum256(b) }

// firstDifference says where two texts part.
func firstDifference(a, b string) string {
	i := 0
	for i < len(a) && i < len(b) && a[i] == b[i] {
		i++
	}
	return fmt.Sprintf("at byte %d of %d and %d: %.40q, %.40q", i, len(a), len(b), a[i:], b[i:])
}

// ask sends a body as the route's client does, and reads the reply.
func (n *natives) ask(t *testing.T, r nativeRoute, body string, header ...string) (int, string) {
	t.Helper()
	resp, b, err := n.do(t, r, body, header...)
	if err != nil {
		t.Errorf("the reply ended with %v", err)
	}
	return resp.StatusCode, string(b)
}

// do is ask that gives the whole reply, and the error in which its body ended.
func (n *natives) do(t *testing.T, r nativeRoute, body string, header ...string) (*http.Response, []byte, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	model := "our-" + r.provider
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, n.URL+strings.Replace(r.path, "@@", model, 1), strings.NewReader(strings.Replace(body, "@@", model, 1)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+corpusToken)
	req.Header.Set("Accept-Encoding", "gzip") // set by hand, so that the transport unpacks nothing
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var b []byte
	for piece := make([]byte, 32<<10); err == nil; {
		var k int
		k, err = resp.Body.Read(piece)
		if b = append(b, piece[:k]...); n.heard != nil {
			n.heard(b)
		}
	}
	if err == io.EOF {
		err = nil
	}
	if e := resp.Header.Get("Content-Encoding"); e != "" {
		t.Errorf("the client got Content-Encoding %q", e)
	}
	return resp, b, err
}

func replyHeader(r nativeRoute) http.Header {
	if r.stream {
		return http.Header{"Content-Type": {"text/event-stream; charset=utf-8"}, "X-Provider-New": {"a", "b"}, "Request-Id": {"req_1"}}
	}
	return http.Header{"Content-Type": {"application/json"}, "X-Provider-New": {"a", "b"}, "Request-Id": {"req_1"}}
}

// TestNativeReplies has each provider answer in every way that a good stream,
// or a document, may come, and compares what the client gets.
func TestNativeReplies(t *testing.T) {
	t.Parallel()
	n := newNatives(t, true, "")
	for _, r := range nativeRoutes {
		t.Run(r.name, func(t *testing.T) {
			up := n.upstreams[r.provider]
			var replies map[string][]string
			if r.stream {
				replies = streams(framesOf(r))
			} else {
				w := wholeReply(r)
				replies = map[string][]string{
					"in one piece": {w}, "in letters cut apart": cut(w, 3), "in odd pieces": cut(w, 1, 7, 64),
					"long": {"{\"long\":\"", strings.Repeat("0123456789abcdéf", 80_000), "\"", "}"},
				}
			}
			for name, pieces := range replies {
				for _, packed := range []bool{false, true} {
					if packed && r.stream {
						continue // nobody packs a stream, and we ask for none
					}
					up.Reset()
					up.Script(upstream.Turn{Raw: &upstream.Raw{Header: replyHeader(r), Pieces: pieces}, Gzip: packed})
					resp, got, err := n.do(t, r, r.body)
					want := received(r, strings.Join(pieces, ""))
					if err != nil || resp.StatusCode != 200 || sum(got) != sum([]byte(want)) {
						t.Errorf("%s (packed: %t): got %d %s", name, packed, resp.StatusCode, firstDifference(string(got), want))
					}
					if ct := resp.Header.Get("Content-Type"); ct != replyHeader(r).Get("Content-Type") {
						t.Errorf("%s: Content-Type %q", name, ct)
					}
				}
			}
		})
	}
}

// TestNativeErrors: what a provider refuses, it refuses in its own words, with
// its own status, whatever they are.
func TestNativeErrors(t *testing.T) {
	t.Parallel()
	n := newNatives(t, true, "")
	for _, r := range nativeRoutes {
		t.Run(r.name, func(t *testing.T) {
			up := n.upstreams[r.provider]
			if strings.Contains(strings.ToLower(r.path), "count") {
				return // the gateway estimates where its provider does not count
			}
			for status, body := range map[int]string{
				400: `{ "error" : {"message":"no","new":1e400,"new":2} }` + "\n",
				404: `{"error":{"code":404}}`,
				413: "<html>too large \u00e9</html>",
				422: ``,
			} {
				h := replyHeader(r)
				h.Set("Content-Type", "application/json; x=1")
				up.Reset()
				up.Script(upstream.Turn{Raw: &upstream.Raw{Status: status, Header: h, Pieces: []string{body}}})
				before := len(up.Requests())
				resp, got, err := n.do(t, r, r.body)
				if err != nil || resp.StatusCode != status || string(got) != body || resp.Header.Get("Request-Id") != "req_1" {
					t.Errorf("%d %q: got %d %q, request id %q", status, body, resp.StatusCode, got, resp.Header.Get("Request-Id"))
				}
				if c := len(up.Requests()) - before; c != 1 {
					t.Errorf("%d: asked %d times", status, c)
				}
			}
		})
	}
}

// TestNativeHeaders: credentials, cookies, the gateway's own headers and those
// of one connection go no further, the rest passes, both ways.
func TestNativeHeaders(t *testing.T) {
	t.Parallel()
	n := newNatives(t, true, "")
	removed := []string{"Cookie", "a=b", "X-Databricks-Use-Coding-Agent-Mode", "true", "Databricks-Ai-Gateway-Request-Tags", `{"team":"a"}`,
		"X-Forwarded-For", "10.0.0.1", "X-Forwarded-Proto", "https", "Connection", "X-Hop", "X-Hop", "1", "Te", "trailers", "Proxy-Authorization", "Basic eA==",
		"X-Api-Key", corpusToken, "X-Goog-Api-Key", corpusToken}
	passed := []string{"Anthropic-Beta", "a-1,b-2", "Anthropic-Version", "2023-06-01", "Openai-Beta", "x=1", "X-Stainless-Lang", "js", "X-App", "cli", "User-Agent", "claude-cli/2.1.197 (external, sdk-cli)",
		"X-Claude-Code-Session-Id", "5d2b", "Originator", "codex_exec", "X-Goog-Api-Client", "gl-node/v20", "X-New", "1", "X-New", "2"}
	for _, r := range nativeRoutes {
		t.Run(r.name, func(t *testing.T) {
			up := n.upstreams[r.provider]
			h := replyHeader(r)
			h["Set-Cookie"] = []string{"a=b"}
			h["Connection"] = []string{"X-Reply-Hop"}
			h["X-Reply-Hop"] = []string{"1"}
			h["Anthropic-Ratelimit-Requests-Remaining"] = []string{"7"}
			up.Reset()
			up.Script(upstream.Turn{Raw: &upstream.Raw{Header: h, Pieces: []string{wholeReply(r)}}})
			resp, _, err := n.do(t, r, r.body, slices.Concat(removed, passed)...)
			if err != nil {
				t.Fatal(err)
			}
			all := up.Requests()
			got := all[len(all)-1].Header
			key := map[string]string{"openai": "Authorization", "anthropic": "X-Api-Key", "gemini": "X-Goog-Api-Key"}[r.provider]
			for i := 0; i < len(removed); i += 2 {
				if v := got[removed[i]]; v != nil && removed[i] != key {
					t.Errorf("the provider got %s: %q", removed[i], v)
				}
			}
			if v := strings.TrimPrefix(got.Get(key), "Bearer "); v != "up" {
				t.Errorf("the provider got %s: %q", key, v)
			}
			var wire bytes.Buffer
			got.Write(&wire)
			if strings.Contains(wire.String(), corpusToken) {
				t.Errorf("the provider got the client's token:\n%s", wire.String())
			}
			want := http.Header{}
			for i := 0; i < len(passed); i += 2 {
				want.Add(passed[i], passed[i+1])
			}
			for name, values := range want {
				if !slices.Equal(got[name], values) {
					t.Errorf("the provider got %s: %q, want %q", name, got[name], values)
				}
			}
			for _, name := range []string{"Set-Cookie", "X-Reply-Hop"} {
				if v := resp.Header[name]; v != nil {
					t.Errorf("the client got %s: %q", name, v)
				}
			}
			for name, values := range map[string][]string{"X-Provider-New": {"a", "b"}, "Anthropic-Ratelimit-Requests-Remaining": {"7"}, "Request-Id": {"req_1"}} {
				if !slices.Equal(resp.Header[name], values) {
					t.Errorf("the client got %s: %q, want %q", name, resp.Header[name], values)
				}
			}
		})
	}
}
