package toolset_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport-gateway/sallyport/core/toolset"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/tool"
)

const bothTables = `[{"type":"table","table":{"name":"main.sales.reviews"}},{"type":"table","table":{"name":"main.sales.orders"}},{"type":"function","name":"mine"}]`

// opened is a Set of the two tables over d.
func opened(t *testing.T, d *double, limits toolset.Limits) (*world, *toolset.Set) {
	t.Helper()
	w := newWorld(t, limits)
	w.tools["table"] = plugin{d, tableManifest}
	s, err := w.open(t, bothTables)
	if err != nil {
		t.Fatal(err)
	}
	return w, s
}

func TestCallPassesOn(t *testing.T) {
	t.Parallel()
	d := &double{}
	_, s := opened(t, d, toolset.Limits{})
	got := s.Call(t.Context(), toolset.Call{ID: "c1", Name: "main__sales__orders", Arguments: ` {"a": 1} `, Traceparent: "00-1"})
	if got.Failed || got.Output.Text != `{"a": 1}` {
		t.Errorf("result = %+v", got)
	}
	c := d.called[0]
	if c.ID != "c1" || c.Function != "main.sales.orders" || string(c.State) != "main.sales.orders" || c.Attempt != 1 || c.Traceparent != "00-1" {
		t.Errorf("the plugin saw %+v", c)
	}
}

func TestArguments(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, arguments, text string }{
		{"main__sales__reviews", "", "{}"},
		{"main__sales__reviews", "  ", "{}"},
		{"main__sales__reviews", "null", "they are null"},
		{"main__sales__reviews", "[1]", "they are an array"},
		{"main__sales__reviews", `"x"`, "they are a string"},
		{"main__sales__reviews", "7", "they are a number"},
		{"main__sales__reviews", `{"a":`, "not valid JSON"},
		{"main__sales__reviews", `{} {}`, "something follows"},
		{"mine", "{}", "no hosted function"},
		{"other", "{}", "no hosted function"},
	}
	_, s := opened(t, &double{}, toolset.Limits{})
	for _, tt := range tests {
		got := s.Call(t.Context(), toolset.Call{Name: tt.name, Arguments: tt.arguments})
		if !strings.Contains(got.Output.Text, tt.text) || got.Failed != (tt.text != "{}") {
			t.Errorf("Call(%s, %q) = %+v, want %q", tt.name, tt.arguments, got, tt.text)
		}
	}
}

func TestResults(t *testing.T) {
	t.Parallel()
	image := func(url string) tool.Content { return tool.Content{Type: "image", ImageURL: url} }
	text := func(s string) tool.Content { return tool.Content{Type: "text", Text: s} }
	tests := []struct {
		name  string
		give  tool.Result
		want  string // the text
		parts int
		fails bool
	}{
		{"nothing", tool.Result{}, "", 0, false},
		{"two texts", tool.Result{Content: []tool.Content{text("a"), text("b")}}, "a\nb", 0, false},
		{"only structured", tool.Result{Structured: json.RawMessage(`{"a":1}`)}, `{"a":1}`, 0, false},
		{"an error", tool.Result{Content: []tool.Content{text("no")}, IsError: true}, "no", 0, true},
		{"cut by the plugin", tool.Result{Content: []tool.Content{text("a")}, Truncated: true}, "a\n[truncated]", 0, false},
		{"cut, and said so", tool.Result{Content: []tool.Content{text("a (Truncated.)")}, Truncated: true}, "a (Truncated.)", 0, false},
		{"too long", tool.Result{Content: []tool.Content{text(strings.Repeat("x", 98) + "éé")}}, strings.Repeat("x", 98) + "é\n[truncated: the first 100 of 102 bytes are shown; ask for less at once]", 0, false},
		{"cut inside a letter", tool.Result{Content: []tool.Content{text(strings.Repeat("x", 99) + "éé")}}, strings.Repeat("x", 99) + "\n[truncated: the first 99 of 103 bytes are shown; ask for less at once]", 0, false},
		{"an image", tool.Result{Content: []tool.Content{text("see"), image("data:image/png;base64,AA")}}, "see", 2, false},
		{"only an image", tool.Result{Content: []tool.Content{image("data:image/png;base64,AA")}}, "", 1, false},
		{"an image by address", tool.Result{Content: []tool.Content{image("https://e.example/x.png")}}, "[an image was left out: it is too large or no data URL]", 0, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, s := opened(t, &double{call: func(context.Context, tool.Call, *tool.Host) (tool.Result, error) { return tt.give, nil }}, toolset.Limits{ResultText: 100})
			got := s.Call(t.Context(), toolset.Call{Name: "main__sales__reviews"})
			shown := got.Output.Text
			if len(got.Output.Parts) > 0 && got.Output.Parts[0].Type == openresponses.PartInputText {
				shown = got.Output.Parts[0].Text
			}
			if shown != tt.want || len(got.Output.Parts) != tt.parts || got.Failed != tt.fails {
				t.Errorf("result = %q with %d parts, failed %t; want %q with %d, %t", shown, len(got.Output.Parts), got.Failed, tt.want, tt.parts, tt.fails)
			}
		})
	}
}

// TestPluginDies: a call that changes nothing is tried once more, with a fresh
// process; one that may have taken effect is not.
func TestPluginDies(t *testing.T) {
	t.Parallel()
	dead := func(context.Context, tool.Call, *tool.Host) (tool.Result, error) {
		return tool.Result{}, apierror.New(apierror.Unavailable, "The plugin died.")
	}
	tests := []struct {
		effect  tool.Effect
		revives bool
		text    string
		asked   int // of the dead process
	}{
		{tool.ReadOnly, true, "back", 1},
		{tool.Idempotent, true, "back", 1},
		{tool.ReadOnly, false, "Error: The plugin died.", 2},
		{tool.Once, true, "Error: The plugin died. It is not known whether", 1},
	}
	for _, tt := range tests {
		w := newWorld(t, toolset.Limits{})
		open := func(_ context.Context, ds []tool.Declaration, _ *tool.Host) (tool.Opened, error) {
			return tool.Opened{Functions: []tool.Function{{Declaration: ds[0].Index, Name: "f", Effect: tt.effect}}}, nil
		}
		fresh := &double{open: open, call: func(_ context.Context, c tool.Call, _ *tool.Host) (tool.Result, error) {
			if c.Attempt != 2 {
				return tool.Result{}, errors.New("not told that it is the second attempt")
			}
			return tool.Text("back"), nil
		}}
		died := &double{open: open}
		died.call = func(ctx context.Context, c tool.Call, h *tool.Host) (tool.Result, error) {
			if tt.revives {
				w.mu.Lock()
				w.tools["acme"] = plugin{fresh, tool.Manifest{Type: "acme"}}
				w.mu.Unlock()
			}
			return dead(ctx, c, h)
		}
		w.tools["acme"] = plugin{died, tool.Manifest{Type: "acme"}}
		s, err := w.open(t, `[{"type":"acme"}]`)
		if err != nil {
			t.Fatal(err)
		}
		got := s.Call(t.Context(), toolset.Call{Name: "f"})
		if !strings.HasPrefix(got.Output.Text, tt.text) || len(died.called) != tt.asked {
			t.Errorf("effect %d, revives %t: result = %q after %d calls of the dead process, want %q after %d", tt.effect, tt.revives, got.Output.Text, len(died.called), tt.text, tt.asked)
		}
	}
}

func TestCallErrors(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		call func(context.Context, tool.Call, *tool.Host) (tool.Result, error)
		text string
	}{
		{"its own error", func(context.Context, tool.Call, *tool.Host) (tool.Result, error) {
			return tool.Result{}, apierror.New(apierror.Invalid, "There is no column ratng.")
		}, "Error: There is no column ratng."},
		{"a plain error", func(context.Context, tool.Call, *tool.Host) (tool.Result, error) {
			return tool.Result{}, errors.New("secret detail")
		}, "Error: The gateway met an internal error."},
		{"a panic", func(context.Context, tool.Call, *tool.Host) (tool.Result, error) { panic("secret detail") }, "Error: The tool met an internal error."},
	}
	for _, tt := range tests {
		_, s := opened(t, &double{call: tt.call}, toolset.Limits{})
		if got := s.Call(t.Context(), toolset.Call{Name: "main__sales__reviews"}); !got.Failed || got.Output.Text != tt.text {
			t.Errorf("%s: result = %+v, want %q", tt.name, got, tt.text)
		}
	}
}

func TestDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hang := func(ctx context.Context, _ tool.Call, _ *tool.Host) (tool.Result, error) {
			<-ctx.Done()
			return tool.Result{}, ctx.Err()
		}
		_, s := opened(t, &double{call: hang}, toolset.Limits{})
		start := time.Now()
		got := s.Call(t.Context(), toolset.Call{Name: "main__sales__reviews"})
		if want := "Error: The call of main__sales__reviews was stopped after 2m0s. Ask for less at once."; got.Output.Text != want || time.Since(start) != 2*time.Minute {
			t.Errorf("result = %q after %v, want %q after 2m", got.Output.Text, time.Since(start), want)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if got := s.Call(ctx, toolset.Call{Name: "main__sales__reviews"}); !got.Failed || time.Since(start) != 2*time.Minute+time.Second {
			t.Errorf("result = %+v after %v, want a failure at the caller's deadline", got, time.Since(start))
		}
	})
}

// TestQueryReachesDeclaredTablesOnly: whatever a tool asks, the catalog is
// told the declared tables and no others.
func TestQueryReachesDeclaredTablesOnly(t *testing.T) {
	t.Parallel()
	query := func(ctx context.Context, c tool.Call, h *tool.Host) (tool.Result, error) {
		n := 0
		for b, err := range h.Query(ctx, tool.Query{SQL: "SELECT 1"}) {
			if err != nil {
				return tool.Result{}, err
			}
			n += len(b.Rows)
		}
		return tool.Text(strings.Repeat("r", n)), nil
	}
	w, s := opened(t, &double{call: query}, toolset.Limits{})
	if got := s.Call(t.Context(), toolset.Call{Name: "main__sales__reviews"}); got.Output.Text != "rrr" {
		t.Errorf("result = %+v", got)
	}
	if got := strings.Join(w.queried[0], " "); got != "main.sales.reviews main.sales.orders" {
		t.Errorf("the query reached %q", got)
	}
	w.tools["acme"] = plugin{&double{call: query, open: func(_ context.Context, ds []tool.Declaration, _ *tool.Host) (tool.Opened, error) {
		return tool.Opened{Functions: []tool.Function{{Declaration: ds[0].Index, Name: "f"}}}, nil
	}}, tool.Manifest{Type: "acme"}}
	alone, err := w.open(t, `[{"type":"acme"}]`)
	if err != nil {
		t.Fatal(err)
	}
	alone.Call(t.Context(), toolset.Call{Name: "f"})
	if got := w.queried[1]; got == nil || len(got) != 0 {
		t.Errorf("a request without tables may query %#v, want an empty list that is not nil", got)
	}
}

// TestAuthorityEndsWithTheCall: a Host that is kept is worth nothing.
func TestAuthorityEndsWithTheCall(t *testing.T) {
	t.Parallel()
	var kept *tool.Host
	var stream func(func(n int, err error) bool)
	d := &double{call: func(ctx context.Context, _ tool.Call, h *tool.Host) (tool.Result, error) {
		kept = h
		rows := h.Query(context.WithoutCancel(ctx), tool.Query{SQL: "SELECT 1"})
		stream = func(yield func(int, error) bool) {
			for b, err := range rows {
				if !yield(len(b.Rows), err) {
					return
				}
			}
		}
		if _, err := h.Generate(ctx, nil), h.Progress(ctx, tool.Progress{}); err != nil {
			return tool.Result{}, err
		}
		return tool.Result{}, nil
	}}
	_, s := opened(t, d, toolset.Limits{})
	if got := s.Call(t.Context(), toolset.Call{Name: "main__sales__reviews"}); got.Failed {
		t.Fatalf("result = %+v", got)
	}
	if _, err := kept.Object(t.Context(), "table", "main.sales.reviews"); !apierror.Is(err, apierror.Canceled) {
		t.Errorf("Object after the call: %v, want canceled", err)
	}
	if err := kept.Progress(t.Context(), tool.Progress{}); !apierror.Is(err, apierror.Canceled) {
		t.Errorf("Progress after the call: %v, want canceled", err)
	}
	for n, err := range stream {
		if n > 0 || !apierror.Is(err, apierror.Canceled) {
			t.Errorf("Query after the call: %d rows, %v, want canceled", n, err)
		}
	}
}
