package tool_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/engine"
	"github.com/sallyport-gateway/sallyport/sdk/plugintest"
	"github.com/sallyport-gateway/sallyport/sdk/tool"
)

// author is a tool made of two funcs.
type author struct {
	open func(ctx context.Context, ds []tool.Declaration, h *tool.Host) (tool.Opened, error)
	call func(ctx context.Context, c tool.Call, h *tool.Host) (tool.Result, error)
}

func (a author) Open(ctx context.Context, ds []tool.Declaration, h *tool.Host) (tool.Opened, error) {
	return a.open(ctx, ds, h)
}

func (a author) Call(ctx context.Context, c tool.Call, h *tool.Host) (tool.Result, error) {
	return a.call(ctx, c, h)
}

// calls is an author of Call only.
func calls(f func(ctx context.Context, c tool.Call, h *tool.Host) (tool.Result, error)) author {
	return author{call: f}
}

// connect puts t behind gRPC and returns what the gateway sees of it.
func connect(tb testing.TB, t tool.Tool) tool.Tool {
	tb.Helper()
	c, _, _ := connectLog(tb, t)
	return c
}

func connectLog(tb testing.TB, t tool.Tool) (tool.Tool, *grpc.Server, *syncBuffer) {
	tb.Helper()
	log := new(syncBuffer)
	conn, server := plugintest.Conn(tb, func(s *grpc.Server) {
		tool.Register(s, t, slog.New(slog.NewTextHandler(log, nil)))
	})
	return tool.NewClient(conn), server, log
}

// syncBuffer is a log that two goroutines may use.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// patience is how long a test waits for what must happen within a second.
const patience = 10 * time.Second

// within waits for done, and says what did not happen.
func within(t *testing.T, done <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(patience):
		buf := make([]byte, 1<<20)
		t.Fatalf("%s did not happen; goroutines:\n%s", what, buf[:runtime.Stack(buf, true)])
	}
}

func TestOpenCarriesEverything(t *testing.T) {
	t.Parallel()
	ds := []tool.Declaration{
		{Index: 2, Name: "Reviews ☃", Description: "use for reviews", Object: "main.sales.reviews", Spec: json.RawMessage(`{"name":"main.sales.reviews","x":"<&>"}`)},
		{Index: 5, Spec: json.RawMessage(`{}`)},
	}
	want := tool.Opened{
		Functions: []tool.Function{
			{Declaration: 2, Name: "main.sales.reviews", Description: "d", Parameters: json.RawMessage(`{"type":"object"}`), Effect: tool.ReadOnly, Approval: tool.Background, State: []byte{0, 1, 255}},
			{Declaration: 5, Name: "b", Description: "e", Parameters: json.RawMessage(`{}`), Effect: tool.Idempotent, Approval: tool.Always},
			{Declaration: 5, Name: "c", Description: "f", Parameters: json.RawMessage(`{}`)},
		},
		Connections: []tool.Connection{{Declaration: 5, Name: "everything"}},
	}
	var seen []tool.Declaration
	c := connect(t, author{open: func(_ context.Context, ds []tool.Declaration, _ *tool.Host) (tool.Opened, error) {
		seen = ds
		return want, nil
	}})
	got, err := c.Open(t.Context(), ds, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(seen, ds) {
		t.Errorf("the plugin got %+v, want %+v", seen, ds)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("Open = %+v, want %+v", got, want)
	}
}

func TestCallCarriesEverything(t *testing.T) {
	t.Parallel()
	call := tool.Call{
		ID: "call_1", Function: "main.sales.reviews", Arguments: json.RawMessage(`{"sql": "select '<&>'" }`), State: []byte("s\x00"),
		Attempt: 2, Traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
	}
	want := tool.Result{
		Content:    []tool.Content{{Type: "text", Text: "12"}, {Type: "image", ImageURL: "data:image/png;base64,AA=="}},
		Structured: json.RawMessage(`{"n":12345678901234567890}`), Citations: []tool.Citation{{URL: "https://example.com/", Title: "T"}},
		IsError: true, Truncated: true,
	}
	var seen tool.Call
	c := connect(t, calls(func(_ context.Context, c tool.Call, _ *tool.Host) (tool.Result, error) {
		seen = c
		return want, nil
	}))
	got, err := c.Call(t.Context(), call, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(seen, call) {
		t.Errorf("the plugin got %+v, want %+v", seen, call)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("Call = %+v, want %+v", got, want)
	}
}

func TestTextThatIsNotUTF8StillPasses(t *testing.T) {
	t.Parallel()
	c := connect(t, calls(func(_ context.Context, c tool.Call, _ *tool.Host) (tool.Result, error) {
		return tool.Text("a\xffb"), nil
	}))
	got, err := c.Call(t.Context(), tool.Call{Function: "f\xfe"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if want := tool.Text("a\uFFFDb"); !reflect.DeepEqual(got, want) {
		t.Errorf("Call = %+v, want %+v", got, want)
	}
}

func TestFourMebibytesBothWays(t *testing.T) {
	t.Parallel()
	args := json.RawMessage(`"` + strings.Repeat("a", 4<<20) + `"`)
	c := connect(t, calls(func(_ context.Context, c tool.Call, _ *tool.Host) (tool.Result, error) {
		return tool.Result{Content: []tool.Content{{Type: "text", Text: string(c.Arguments)}}, Structured: c.Arguments}, nil
	}))
	got, err := c.Call(t.Context(), tool.Call{Arguments: args}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got.Content[0].Text != string(args) || !bytes.Equal(got.Structured, args) {
		t.Errorf("4 MiB came back changed: %d and %d bytes, want %d", len(got.Content[0].Text), len(got.Structured), len(args))
	}
}

func TestTooLargeIsSaidAndHarmsNothing(t *testing.T) {
	t.Parallel()
	huge := strings.Repeat("a", tool.MaxMessage)
	c := connect(t, calls(func(ctx context.Context, c tool.Call, h *tool.Host) (tool.Result, error) {
		switch c.Function {
		case "result":
			return tool.Text(huge), nil
		case "ask":
			_, err := h.Fetch(ctx, "t", tool.Outbound{Body: []byte(huge)})
			return tool.Result{}, err
		case "answer":
			_, err := h.Exec(ctx, tool.Program{})
			return tool.Result{}, err
		case "piece":
			for _, err := range h.Query(ctx, tool.Query{}) {
				return tool.Result{}, err
			}
		}
		return tool.Text("fine"), nil
	}))
	h := tool.NewHost(tool.Service{
		Exec: func(context.Context, tool.Program) (tool.Output, error) { return tool.Output{Stdout: huge}, nil },
		Query: func(context.Context, tool.Query) iter.Seq2[engine.Batch, error] {
			return func(yield func(engine.Batch, error) bool) {
				yield(engine.Batch{Rows: []json.RawMessage{json.RawMessage(huge)}}, nil)
			}
		},
	})
	for _, tt := range []tool.Call{{Function: "arguments", Arguments: json.RawMessage(huge)}, {Function: "result"}, {Function: "ask"}, {Function: "answer"}, {Function: "piece"}} {
		if _, err := c.Call(t.Context(), tt, h); !apierror.Is(err, apierror.TooLarge) {
			t.Errorf("%s: err = %v, want too_large", tt.Function, err)
		}
	}
	if got, err := c.Call(t.Context(), tool.Call{Function: "next"}, h); err != nil || got.Content[0].Text != "fine" {
		t.Errorf("the next call = %v, %v", got, err)
	}
}

func TestErrorsKeepTheirCodes(t *testing.T) {
	t.Parallel()
	want := map[string]*apierror.Error{}
	for _, code := range apierror.Codes {
		e := apierror.At(code, "tools[1].table.name", "Told as %s.", code)
		e.RetryAfter = 1500 * time.Millisecond
		e.Upstream = &apierror.Upstream{Status: 503, RequestID: "req_1", Code: "overloaded"}
		want[string(code)] = e
	}
	var (
		mu     sync.Mutex
		atHost = map[string]error{}
	)
	c, _, _ := connectLog(t, calls(func(ctx context.Context, c tool.Call, h *tool.Host) (tool.Result, error) {
		_, err := h.Object(ctx, "table", c.Function)
		mu.Lock()
		atHost[c.Function] = err
		mu.Unlock()
		return tool.Result{}, fmt.Errorf("call %q: %w", c.Function, want[c.Function])
	}))
	h := tool.NewHost(tool.Service{Object: func(_ context.Context, _, name string) (tool.Object, error) {
		return tool.Object{}, fmt.Errorf("object: %w", want[name])
	}})
	for name, e := range want {
		_, err := c.Call(t.Context(), tool.Call{Function: name}, h)
		if got, ok := errors.AsType[*apierror.Error](err); !ok || !reflect.DeepEqual(got, e) {
			t.Errorf("%s: the gateway got %#v, want %#v", name, err, e)
		}
		if got, ok := errors.AsType[*apierror.Error](atHost[name]); !ok || !reflect.DeepEqual(got, e) {
			t.Errorf("%s: the plugin got %#v, want %#v", name, atHost[name], e)
		}
	}
}

func TestOtherErrorsStayWhereTheyHappened(t *testing.T) {
	t.Parallel()
	c, _, log := connectLog(t, calls(func(ctx context.Context, c tool.Call, h *tool.Host) (tool.Result, error) {
		switch c.Function {
		case "plain":
			return tool.Result{}, errors.New("secret of the plugin")
		case "wrapped":
			return tool.Result{}, apierror.Wrap(apierror.NotFound, errors.New("secret of the plugin"), "No such space.")
		case "context":
			return tool.Result{}, fmt.Errorf("read: %w", context.DeadlineExceeded)
		}
		_, err := h.Object(ctx, "table", "x")
		return tool.Text(err.Error()), nil
	}))
	for name, want := range map[string]apierror.Code{"plain": apierror.Internal, "wrapped": apierror.NotFound, "context": apierror.Canceled} {
		_, err := c.Call(t.Context(), tool.Call{Function: name}, nil)
		if !apierror.Is(err, want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: err = %v, want %s without the plugin's text", name, err, want)
		}
	}
	if n := strings.Count(log.String(), "secret of the plugin"); n != 2 {
		t.Errorf("the plugin's log tells its errors %d times, want 2:\n%s", n, log.String())
	}
	h := tool.NewHost(tool.Service{Object: func(context.Context, string, string) (tool.Object, error) {
		return tool.Object{}, errors.New("secret of the gateway")
	}})
	got, err := c.Call(t.Context(), tool.Call{Function: "host"}, h)
	if err != nil || strings.Contains(got.Content[0].Text, "secret") {
		t.Errorf("the plugin was told %v, %v", got, err)
	}
}

func TestPanicCostsOneCall(t *testing.T) {
	t.Parallel()
	c, _, log := connectLog(t, calls(func(ctx context.Context, c tool.Call, h *tool.Host) (tool.Result, error) {
		switch c.Function {
		case "panic":
			var none []int
			_ = none[len(c.Function)]
		case "exit":
			runtime.Goexit()
		case "host":
			_, err := h.Object(ctx, "", "")
			return tool.Result{}, err
		}
		return tool.Text("alive"), nil
	}))
	h := tool.NewHost(tool.Service{Object: func(context.Context, string, string) (tool.Object, error) { panic("in the gateway") }})
	for _, name := range []string{"panic", "exit", "host"} {
		if _, err := c.Call(t.Context(), tool.Call{Function: name}, h); !apierror.Is(err, apierror.Internal) {
			t.Errorf("%s: err = %v, want internal", name, err)
		}
	}
	if s := log.String(); !strings.Contains(s, "index out of range") || !strings.Contains(s, "client_test.go") {
		t.Errorf("the plugin's log does not show the panic and its stack:\n%s", s)
	}
	if got, err := c.Call(t.Context(), tool.Call{}, h); err != nil || got.Content[0].Text != "alive" {
		t.Errorf("the next call = %v, %v", got, err)
	}
}

func TestConcurrentCalls(t *testing.T) {
	t.Parallel()
	c := connect(t, calls(func(ctx context.Context, c tool.Call, h *tool.Host) (tool.Result, error) {
		var text strings.Builder
		for b, err := range h.Query(ctx, tool.Query{SQL: c.ID}) {
			if err != nil {
				return tool.Result{}, err
			}
			for _, r := range b.Rows {
				text.Write(r)
			}
		}
		return tool.Text(text.String()), nil
	}))
	h := tool.NewHost(tool.Service{Query: func(_ context.Context, q tool.Query) iter.Seq2[engine.Batch, error] {
		return func(yield func(engine.Batch, error) bool) {
			for range 20 {
				if !yield(engine.Batch{Rows: []json.RawMessage{json.RawMessage(`["` + q.SQL + `"]`)}}, nil) {
					return
				}
			}
		}
	}})
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			id := fmt.Sprintf("call_%d", i)
			got, err := c.Call(t.Context(), tool.Call{ID: id}, h)
			if want := strings.Repeat(`["`+id+`"]`, 20); err != nil || got.Content[0].Text != want {
				t.Errorf("call %d = %+v, %v; want %s", i, got, err, want)
			}
		})
	}
	wg.Wait()
}

func TestCancelReachesTheAuthor(t *testing.T) {
	t.Parallel()
	entered, left := make(chan struct{}), make(chan struct{})
	c := connect(t, calls(func(ctx context.Context, c tool.Call, h *tool.Host) (tool.Result, error) {
		close(entered)
		defer close(left)
		<-ctx.Done()
		return tool.Result{}, ctx.Err()
	}))
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("client gone")
	go func() {
		<-entered
		cancel(gone)
	}()
	_, err := c.Call(ctx, tool.Call{}, nil)
	if !apierror.Is(err, apierror.Canceled) || !errors.Is(err, gone) {
		t.Errorf("err = %v, want canceled by %v", err, gone)
	}
	within(t, left, "the author's return")
}

// A Call that is canceled returns when the Host calls it had started have, and
// the author's Host calls fail whatever context they were given.
func TestCancelReachesTheHost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		authorLeft := make(chan error, 1)
		c := connect(t, calls(func(ctx context.Context, c tool.Call, h *tool.Host) (tool.Result, error) {
			_, err := h.Exec(context.WithoutCancel(ctx), tool.Program{})
			authorLeft <- err
			return tool.Result{}, err
		}))
		canceled, release := make(chan struct{}), make(chan struct{})
		h := tool.NewHost(tool.Service{Exec: func(ctx context.Context, _ tool.Program) (tool.Output, error) {
			<-ctx.Done()
			close(canceled)
			<-release
			return tool.Output{}, ctx.Err()
		}})
		ctx, cancel := context.WithCancel(t.Context())
		returned := make(chan error, 1)
		go func() {
			_, err := c.Call(ctx, tool.Call{}, h)
			returned <- err
		}()
		synctest.Wait()
		cancel()
		<-canceled
		if err := <-authorLeft; !apierror.Is(err, apierror.Canceled) {
			t.Errorf("the author's Host call: %v, want canceled", err)
		}
		synctest.Wait()
		select {
		case err := <-returned:
			t.Errorf("Call returned (%v) before the Host call it had started", err)
		default:
		}
		close(release)
		if err := <-returned; !apierror.Is(err, apierror.Canceled) {
			t.Errorf("err = %v, want canceled", err)
		}
	})
}

func TestPluginDeath(t *testing.T) {
	t.Parallel()
	entered := make(chan struct{}, 2)
	c, server, _ := connectLog(t, calls(func(ctx context.Context, _ tool.Call, _ *tool.Host) (tool.Result, error) {
		entered <- struct{}{}
		<-ctx.Done()
		return tool.Result{}, ctx.Err()
	}))
	go func() {
		<-entered
		server.Stop()
	}()
	if _, err := c.Call(t.Context(), tool.Call{}, nil); !apierror.Is(err, apierror.Unavailable) {
		t.Errorf("in mid-call: err = %v, want unavailable", err)
	}
	if _, err := c.Call(t.Context(), tool.Call{}, nil); !apierror.Is(err, apierror.Unavailable) {
		t.Errorf("afterwards: err = %v, want unavailable", err)
	}
	if _, err := c.Open(t.Context(), nil, nil); !apierror.Is(err, apierror.Unavailable) {
		t.Errorf("Open afterwards: err = %v, want unavailable", err)
	}
}
