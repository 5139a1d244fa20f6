package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sallyport-gateway/sallyport/core/access"
	"github.com/sallyport-gateway/sallyport/core/egress"
	"github.com/sallyport-gateway/sallyport/core/ratelimit"
	"github.com/sallyport-gateway/sallyport/core/router"
	"github.com/sallyport-gateway/sallyport/core/store/storetest"
	"github.com/sallyport-gateway/sallyport/core/usage"
	"github.com/sallyport-gateway/sallyport/core/usage/usagetest"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

// declared are surfaces as the bundled plugins declare them.
var declared = provider.Manifest{
	Name: "fronts",
	Dialects: []provider.Dialect{
		{Name: "anthropic-messages", Errors: "anthropic", Session: []string{"metadata.user_id.session_id"}, Ping: ": ping\n\n"},
		{Name: "openai-chat", Errors: "openai", Session: []string{"prompt_cache_key", "user"}},
		{Name: "gemini", Errors: "gemini"},
	},
	Surfaces: []provider.Surface{
		{Name: "anthropic", Base: "/anthropic", Carry: []string{"anthropic-beta"}, Probes: []string{"", "/", "/api/hello"}, Models: "/v1/models", Routes: []provider.SurfaceRoute{
			{Path: "/v1/messages", Op: provider.Generate, Dialect: "anthropic-messages"},
			{Path: "/v1/messages/count_tokens", Op: provider.CountTokens, Dialect: "anthropic-messages", Stream: provider.StreamNever},
		}},
		{Name: "openai", Base: "/openai/v1", Models: "/models", Routes: []provider.SurfaceRoute{{Path: "/chat/completions", Op: provider.Generate, Dialect: "openai-chat"}}},
		{Name: "cursor", Base: "/cursor/v1", Models: "/models", Routes: []provider.SurfaceRoute{{Path: "/chat/completions", Op: provider.Generate, Dialect: "openai-chat", Translated: true}}},
		{Name: "mlflow", Base: "/mlflow/v1", Routes: []provider.SurfaceRoute{{Path: "/chat/completions", Op: provider.Generate, Dialect: "openai-chat"}}},
		{Name: "gemini", Base: "/gemini", Models: "/v1beta/models", Routes: []provider.SurfaceRoute{
			{Path: "/v1beta/models/{model}:generateContent", Op: provider.Generate, Dialect: "gemini", Stream: provider.StreamNever},
			{Path: "/v1beta/models/{model}:streamGenerateContent", Op: provider.Generate, Dialect: "gemini", Stream: provider.StreamAlways},
			{Path: "/v1beta/models/{model}:countTokens", Op: provider.CountTokens, Dialect: "gemini", Stream: provider.StreamNever},
		}},
	},
}

// mirror is a Front of a language that is easy to check: what it was given goes
// into the prompt, and the reply is the text that came of it.
type mirror struct{ seen chan provider.ClientRequest }

func (m mirror) Accept(_ context.Context, r provider.ClientRequest) (provider.Dialogue, error) {
	select {
	case m.seen <- r:
	default: // nobody looks
	}
	var body struct {
		Model  string `json:"model"`
		Stream bool   `json:"stream"`
		Refuse string `json:"refuse"`
		Panic  bool   `json:"panic"`
		Die    bool   `json:"die"`
	}
	if err := json.Unmarshal(r.Body, &body); err != nil {
		return nil, apierror.Wrap(apierror.Invalid, err, "The body is no object.")
	}
	if body.Panic {
		panic("of a test")
	}
	if body.Refuse != "" {
		return nil, apierror.At(apierror.Invalid, "refuse", "%s", body.Refuse)
	}
	req, err := openresponses.ParseRequest([]byte(`{"model":"m","input":"hello"}`))
	if err != nil {
		return nil, err
	}
	op := provider.Generate
	if strings.HasSuffix(strings.ToLower(strings.ReplaceAll(r.Route, "_", "")), "counttokens") {
		op = provider.CountTokens
	}
	return &reflection{provider.Asked{Op: op, Model: body.Model + r.Model, Stream: body.Stream || r.Stream, Lost: []string{"top_k"}, Request: req}, body.Die}, nil
}

type reflection struct {
	asked provider.Asked
	die   bool // after something was written
}

func (d *reflection) Asked() provider.Asked { return d.asked }

func (d *reflection) Write(_ context.Context, events iter.Seq2[openresponses.Event, error], w io.Writer) error {
	n := 0
	for ev, err := range events {
		if err != nil {
			if !d.asked.Stream {
				return err
			}
			fmt.Fprintf(w, "event: failed\ndata: %v\n\n", err)
			return nil
		}
		if n++; d.asked.Stream {
			if _, err := fmt.Fprintf(w, "event: %s\ndata: {}\n\n", ev.Type); err != nil {
				return err
			}
			if d.die {
				return apierror.New(apierror.Unavailable, "The plugin was killed.")
			}
		}
	}
	if d.asked.Stream {
		_, err := io.WriteString(w, "event: end\ndata: {}\n\n")
		return err
	}
	_, err := fmt.Fprintf(w, `{"model":%q,"events":%v}`, d.asked.Model, n > 0)
	return err
}

func (d *reflection) WriteCount(_ context.Context, tokens int64, w io.Writer) error {
	_, err := fmt.Fprintf(w, `{"counted":%v}`, tokens > 0)
	return err
}

var _ provider.CountWriter = (*reflection)(nil)

// surfaceWorld is a gateway from HTTP to the ledger, with the surfaces of
// declared and models that answer by themselves.
type surfaceWorld struct {
	t      *testing.T
	api    *API
	state  *State
	models *router.Router
	log    *usagetest.Log
	url    string
	alice  string // token of a user who may call every model
	seen   chan provider.ClientRequest
}

func newSurfaceWorld(t *testing.T, cfg SurfacesConfig) *surfaceWorld {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	quiet := slog.New(slog.DiscardHandler)
	w := &surfaceWorld{t: t, log: usagetest.New(t, Status), seen: make(chan provider.ClientRequest, 100)}
	db := storetest.Open(t)
	acc, err := access.New(access.Config{
		Users: []access.User{
			{Name: "alice", Groups: []string{"analysts", "developers"}}, {Name: "bob", Groups: []string{"analysts"}},
			{Name: "nobody"}, {Name: "root", Admin: true},
		},
		Grants: []access.Grant{
			{To: "analysts", Privileges: []string{"EXECUTE"}, On: "model databricks-gpt"}, {To: "analysts", Privileges: []string{"EXECUTE"}, On: "model databricks-claude"},
		},
	}, db, quiet)
	must(err)
	t.Cleanup(func() { acc.Close() })
	out, err := egress.New(egress.Config{})
	must(err)
	limits, err := ratelimit.New(ratelimit.Config{
		Models:  map[string][]ratelimit.Limit{"databricks-gpt": {{Each: "user", Requests: 100, Per: "minute"}}},
		Budgets: []ratelimit.Budget{{Each: "user", USD: 300, Per: "month", Then: "block"}},
	}, quiet, ratelimit.Options{})
	must(err)
	t.Cleanup(func() { limits.Close() })
	one, four, tenth := 1.0, 4.0, 0.1
	to := []router.Destination{{Provider: "p", Model: "d", Price: &usage.Price{Input: &one, Output: &four, CacheRead: &tenth}}}
	w.models, err = router.New(router.Config{
		Providers: map[string]router.Provider{"p": {Translator: "greeter"}},
		Models: map[string]router.Model{
			"databricks-claude": {Destinations: to, Aliases: []string{"claude-opus-*"}, Context: router.Context{Input: 200_000, Output: 64_000}},
			"databricks-gpt":    {Destinations: to},
			"hidden":            {Destinations: to},
		},
	}, greeter{}, out, acc, log(w), limits, quiet)
	must(err)
	t.Cleanup(w.models.Close)
	surfaces, err := NewSurfaces([]Front{{"fronts", declared, mirror{w.seen}}}, cfg, w.models)
	must(err)
	w.state = &State{Access: acc, Models: w.models, Surfaces: surfaces, Limits: limits, PublicURL: "https://gw"}
	w.api = New(func() (*State, func()) { return w.state, func() {} }, Limits{}, "test", quiet)
	s := httptest.NewServer(w.api)
	t.Cleanup(s.Close)
	w.url, w.alice = s.URL, w.token("alice")
	return w
}

func log(w *surfaceWorld) *usage.Recorder { return w.log.Recorder }

func (w *surfaceWorld) token(name string, scopes ...string) string {
	w.t.Helper()
	token, _, err := w.state.Access.CreateToken(w.t.Context(), access.NewToken{Principal: name, Scopes: scopes})
	if err != nil {
		w.t.Fatal(err)
	}
	return token
}

// do sends a request, headers in pairs, and returns status, body and headers.
func (w *surfaceWorld) do(method, path, token, body string, headers ...string) (int, string, http.Header) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.url+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(req) // follows no redirects
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatalf("%s %s: %v", method, path, err)
	}
	return resp.StatusCode, string(b), resp.Header
}
