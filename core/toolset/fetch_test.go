package toolset_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sallyport-gateway/sallyport/core/toolset"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/tool"
)

const targetKey = "tk-canary-0123456789"

// target is a service that shows what it was asked, or misbehaves by its path.
func target(t testing.TB) *httptest.Server {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Echo", r.Header.Get("Authorization"))
		switch r.URL.Path {
		case "/v1/missing":
			w.WriteHeader(http.StatusNotFound)
		case "/v1/broken":
			w.WriteHeader(http.StatusBadGateway)
		case "/v1/moved":
			w.Header().Set("Location", "http://169.254.169.254/")
			w.WriteHeader(http.StatusFound)
		case "/v1/hang":
			<-r.Context().Done()
			return
		case "/v1/stall":
			io.WriteString(w, "the beginning")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
			return
		case "/v1/cut":
			io.WriteString(w, "the beginning")
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		case "/v1/large":
			w.Write(make([]byte, 5000))
			return
		}
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s body=%q accept=%q depth=%s auth=%s", r.Method, r.URL.RequestURI(), body, r.Header.Get("Accept"), r.Header.Get("X-Sallyport-Depth"), r.Header.Get("Authorization"))
	}))
	t.Cleanup(s.Close)
	return s
}

// fetching is a world whose tool "weather" does with its Host what call says.
func fetching(t testing.TB, url, more string) *world {
	t.Helper()
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte(targetKey), 0o600); err != nil {
		t.Fatal(err)
	}
	w := newWorldWith(t, toolset.Limits{}, configured(t, `{weather: {targets: {api: {url: "`+url+`/v1", key: {file: `+key+`}`+more+`}}}}`))
	t.Cleanup(func() {
		if strings.Contains(w.log.String(), targetKey) {
			t.Errorf("the key is in the log: %s", w.log.String())
		}
	})
	return w
}

// with runs f as the call of the tool "weather".
func (w *world) with(t testing.TB, ctx context.Context, f func(ctx context.Context, h *tool.Host) error) toolset.Result {
	t.Helper()
	open := func(context.Context, []tool.Declaration, *tool.Host) (tool.Opened, error) {
		return tool.Opened{Functions: []tool.Function{{Name: "f"}}}, nil
	}
	w.tools["weather"] = plugin{&double{open: open, call: func(ctx context.Context, _ tool.Call, h *tool.Host) (tool.Result, error) {
		return tool.Text("done"), f(ctx, h)
	}}, weatherManifest}
	s, err := w.open(t, `[{"type":"weather"}]`)
	if err != nil {
		t.Fatal(err)
	}
	return s.Call(ctx, toolset.Call{Name: "f"})
}

// fetch makes one request and reads the answer.
func fetch(ctx context.Context, h *tool.Host, name string, r tool.Outbound) (*tool.Inbound, string, error) {
	in, err := h.Fetch(ctx, name, r)
	if err != nil {
		return nil, "", err
	}
	defer in.Body.Close()
	body, err := io.ReadAll(in.Body)
	return in, string(body), err
}

// What the service answers is an answer, whatever its status, and holds no key.
func TestFetchAnswers(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		r      tool.Outbound
		status int
		body   string
	}{
		{"nothing said", tool.Outbound{}, 200, `GET /v1 body="" accept="" depth=1 auth=Bearer ***`},
		{"a path and a query", tool.Outbound{Path: "a/b%2Fc", Query: "q=x%20y"}, 200, `GET /v1/a/b%2Fc?q=x%20y body="" accept="" depth=1 auth=Bearer ***`},
		{"a body", tool.Outbound{Path: "a", Body: []byte("hi")}, 200, `POST /v1/a body="hi" accept="" depth=1 auth=Bearer ***`},
		{"a method and a header", tool.Outbound{Method: "PUT", Path: "a", Header: http.Header{"Accept": {"text/csv"}}, Body: []byte("hi")}, 200, `PUT /v1/a body="hi" accept="text/csv" depth=1 auth=Bearer ***`},
		{"a credential of its own", tool.Outbound{Path: "a", Header: http.Header{"Authorization": {"Bearer mine"}, "Host": {"evil"}, "X-Sallyport-Depth": {"0"}}}, 200, `GET /v1/a body="" accept="" depth=1 auth=Bearer ***`},
		{"not found", tool.Outbound{Path: "missing"}, 404, `GET /v1/missing body="" accept="" depth=1 auth=Bearer ***`},
		{"failing", tool.Outbound{Path: "broken"}, 502, `GET /v1/broken body="" accept="" depth=1 auth=Bearer ***`},
		{"moved", tool.Outbound{Path: "moved"}, 302, `GET /v1/moved body="" accept="" depth=1 auth=Bearer ***`},
	}
	w := fetching(t, target(t).URL, "")
	for _, tt := range tests {
		result := w.with(t, t.Context(), func(ctx context.Context, h *tool.Host) error {
			in, body, err := fetch(ctx, h, "api", tt.r)
			if err != nil {
				return err
			}
			if in.Status != tt.status || body != tt.body || in.Header.Get("X-Echo") != "Bearer ***" {
				t.Errorf("%s: got %d %s with %v, want %d %s", tt.name, in.Status, body, in.Header, tt.status, tt.body)
			}
			return nil
		})
		if result.Failed {
			t.Errorf("%s: %s", tt.name, result.Output.Text)
		}
	}
}

func TestFetchRefusesAndFails(t *testing.T) {
	t.Parallel()
	dead := httptest.NewServer(nil)
	dead.Close()
	tests := []struct {
		name    string
		url     string // "" is that of the service
		more    string // of the target's configuration
		missing bool   // the key's file is gone
		target  string // "" is api
		r       tool.Outbound
		code    apierror.Code
		text    string
	}{
		{name: "a target that is not set", target: "map", code: apierror.Unsupported, text: `The target "map" of weather tools is not set on this gateway. An administrator can add tools.weather.targets.map to its configuration.`},
		{name: "a target that the manifest does not name", target: "files", code: apierror.Invalid, text: `a target "files" that its manifest does not name; it has api, map.`},
		{name: "a host instead of a target", target: "http://127.0.0.1:1/", code: apierror.Invalid, text: "that its manifest does not name"},
		{name: "a path that is none", r: tool.Outbound{Path: "/v1/x"}, code: apierror.Invalid, text: "was not sent: the path of the request is not relative."},
		{name: "a path that goes up", r: tool.Outbound{Path: "../admin"}, code: apierror.Invalid, text: "holds . or .. as a segment"},
		{name: "a path that goes up by a parameter", r: tool.Outbound{Path: "..;/admin"}, code: apierror.Invalid, text: "holds . or .. as a segment"},
		{name: "a path escaped twice", r: tool.Outbound{Path: "%252e%252e/admin"}, code: apierror.Invalid, text: "holds a double escape"},
		{name: "a parameter of the target's URL", url: dead.URL + "?tenant=1&path=", r: tool.Outbound{Query: "tenant=2"}, code: apierror.Invalid, text: `the query of the request holds "tenant", which only the configured URL and credential may set`},
		{name: "another host", r: tool.Outbound{Path: "//evil.example/x"}, code: apierror.Invalid, text: "was not sent: the path"},
		{name: "a URL", r: tool.Outbound{Path: "http://evil.example/x"}, code: apierror.Invalid, text: "was not sent: the path"},
		{name: "a query with a line break", r: tool.Outbound{Query: "a=b\r\nX: y"}, code: apierror.Invalid, text: "the query of the request cannot be read"},
		{name: "a strange method", r: tool.Outbound{Method: "CONNECT"}, code: apierror.Invalid, text: "the method of the request"},
		{name: "a header that breaks the line", r: tool.Outbound{Header: http.Header{"X-A": {"b\r\nAuthorization: c"}}}, code: apierror.Invalid, text: "the header X-A of the request"},
		{name: "too large a body", r: tool.Outbound{Body: make([]byte, 8<<20+1)}, code: apierror.Invalid, text: "has 8388609 bytes; at most 8388608 are sent"},
		{name: "too large a head", r: tool.Outbound{Header: http.Header{"X-A": {strings.Repeat("x", 33<<10)}}}, code: apierror.Invalid, text: "at most 32768 are sent"},
		{name: "a service that is down", url: dead.URL, code: apierror.UpstreamFailed, text: `The target "api" of weather tools could not be reached.`},
		{name: "a slow service", more: ", timeouts: {first_byte: 50ms}", r: tool.Outbound{Path: "hang"}, code: apierror.UpstreamTimeout, text: "did not begin to answer within 50ms."},
		{name: "a service that stops", more: ", timeouts: {idle: 50ms}", r: tool.Outbound{Path: "stall"}, code: apierror.UpstreamTimeout, text: "sent nothing more for 50ms."},
		{name: "a service that breaks off", r: tool.Outbound{Path: "cut"}, code: apierror.UpstreamFailed, text: "ended the connection before its answer was complete."},
		{name: "too large an answer", more: ", max_response: 4096", r: tool.Outbound{Path: "large"}, code: apierror.UpstreamFailed, text: "more bytes than max_response allows"},
		{name: "no key", missing: true, code: apierror.UpstreamFailed, text: "refuses it as it is configured"},
	}
	service := target(t).URL
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			url := service
			if tt.url != "" {
				url = tt.url
			}
			w := fetching(t, url, tt.more)
			if tt.missing {
				w = newWorldWith(t, toolset.Limits{}, configured(t, `{weather: {targets: {api: {url: "`+url+`", key: {file: /nowhere/key}}}}}`))
			}
			name := tt.target
			if name == "" {
				name = "api"
			}
			var got error
			result := w.with(t, t.Context(), func(ctx context.Context, h *tool.Host) error {
				_, _, got = fetch(ctx, h, name, tt.r)
				return got
			})
			if apierror.CodeOf(got) != tt.code || !strings.Contains(apierror.From(got).Message, tt.text) {
				t.Errorf("error = %v of code %q, want %s with %q", got, apierror.CodeOf(got), tt.code, tt.text)
			}
			if !result.Failed || strings.Contains(result.Output.Text+fmt.Sprint(got), targetKey) || strings.Contains(result.Output.Text, strings.TrimPrefix(url, "http://")) {
				t.Errorf("the model sees %q", result.Output.Text)
			}
		})
	}
}

// A request that has passed too many gateways already goes to no target, so a
// gateway whose tool leads back to itself does not call itself for ever.
func TestFetchStopsLoops(t *testing.T) {
	t.Parallel()
	w := fetching(t, target(t).URL, "")
	for depth, want := range []string{"depth=1", "depth=2", "depth=3", ""} {
		w.depth = depth
		w.with(t, t.Context(), func(ctx context.Context, h *tool.Host) error {
			_, body, err := fetch(ctx, h, "api", tool.Outbound{})
			if want == "" && !apierror.Is(err, apierror.UpstreamFailed) || want != "" && !strings.Contains(body, want) {
				t.Errorf("depth %d: got %q, %v", depth, body, err)
			}
			return err
		})
	}
}

// The end of a call ends its requests, also one whose answer is being read.
func TestFetchEndsWithTheCall(t *testing.T) {
	t.Parallel()
	asked, gone := make(chan struct{}, 4), make(chan struct{}, 4)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/stall" {
			io.WriteString(w, "x")
			w.(http.Flusher).Flush()
		}
		asked <- struct{}{}
		<-r.Context().Done()
		gone <- struct{}{}
	}))
	t.Cleanup(s.Close)
	w := fetching(t, s.URL, "")
	for _, path := range []string{"hang", "stall"} {
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			<-asked
			cancel()
		}()
		result := w.with(t, ctx, func(ctx context.Context, h *tool.Host) error {
			_, _, err := fetch(ctx, h, "api", tool.Outbound{Path: path})
			if !apierror.Is(err, apierror.Canceled) {
				t.Errorf("%s: Fetch = %v, want Canceled", path, err)
			}
			return err
		})
		if !result.Failed {
			t.Errorf("%s: result = %+v", path, result)
		}
		<-gone // the service is told; the test's own deadline fails it if not
	}
	var kept *tool.Host
	var body io.ReadCloser
	w.with(t, t.Context(), func(ctx context.Context, h *tool.Host) error {
		in, err := h.Fetch(ctx, "api", tool.Outbound{Path: "stall"})
		if err != nil {
			return err
		}
		kept, body = h, in.Body
		return nil
	})
	if _, err := kept.Fetch(t.Context(), "api", tool.Outbound{}); !apierror.Is(err, apierror.Canceled) {
		t.Errorf("Fetch after the call = %v, want Canceled", err)
	}
	if _, err := io.ReadAll(body); !apierror.Is(err, apierror.Canceled) {
		t.Errorf("reading after the call = %v, want Canceled", err)
	}
	if err := errors.Join(body.Close(), body.Close()); err != nil {
		t.Errorf("Close: %v", err)
	}
	<-gone
}
