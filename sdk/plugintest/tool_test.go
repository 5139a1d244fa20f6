package plugintest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/plugintest"
	"github.com/sallyport-gateway/sallyport/sdk/tool"
)

var sampleManifest = tool.Manifest{
	Type: "sample", Version: "1.0.0", Object: &tool.ObjectRef{Field: "sample.name", Kind: "table", Privilege: "SELECT"},
	Config: json.RawMessage(`{"type":"object","properties":{"limit":{"type":"integer"}},"additionalProperties":false}`),
}

// sample is a tool that does everything right.
type sample struct{}

func (sample) Open(ctx context.Context, ds []tool.Declaration, h *tool.Host) (tool.Opened, error) {
	var out tool.Opened
	for _, d := range ds {
		o, err := h.Object(ctx, "table", d.Object)
		if err != nil {
			return out, fmt.Errorf("object %q: %w", d.Object, err)
		}
		out.Functions = append(out.Functions, tool.Function{
			Declaration: d.Index, Name: o.Name, Description: o.Comment + " ", Effect: tool.ReadOnly, State: []byte("state"),
			Parameters: json.RawMessage(`{"type":"object","properties":{"what":{"type":"string"}},"required":["what"],"additionalProperties":false}`),
		})
	}
	return out, nil
}

func (sample) Call(ctx context.Context, c tool.Call, h *tool.Host) (tool.Result, error) {
	var args struct {
		What *string `json:"what"`
	}
	if err := strict(c.Arguments, &args); err != nil || args.What == nil {
		r := tool.Text(`The arguments must be {"what": string}.`)
		r.IsError = true
		return r, nil
	}
	switch *args.What {
	case "exec":
		out, err := h.Exec(ctx, tool.Program{Language: "python", Code: "print(1)"})
		return tool.Text(out.Stdout), err
	case "fail":
		for _, err := range h.Query(ctx, tool.Query{SQL: "select 2"}) {
			if err != nil {
				return tool.Result{}, err
			}
		}
		return tool.Text("nothing failed"), nil
	}
	var said []string
	say := func(v any, err error) error {
		b, merr := json.Marshal(v)
		said = append(said, string(b))
		return errors.Join(err, merr)
	}
	var errs []error
	for b, err := range h.Query(ctx, tool.Query{SQL: "select 1", Args: []any{"a", 2}, MaxRows: 10}) {
		errs = append(errs, say(b, err))
	}
	for ev, err := range h.Generate(ctx, &openresponses.Request{Model: "m", Input: []openresponses.Item{openresponses.Text("user", "hi")}}) {
		errs = append(errs, say(ev.Delta, err))
	}
	vectors, err := h.Embed(ctx, "e", []string{"a"})
	errs = append(errs, say(vectors, err))
	out, err := h.Exec(ctx, tool.Program{Language: "python", Code: "print(1)"})
	errs = append(errs, say(out, err))
	entries, err := h.List(ctx, "/")
	errs = append(errs, say(entries, err))
	if f, err := h.Open(ctx, "/a.txt"); err == nil {
		b, err := io.ReadAll(f)
		errs = append(errs, say(string(b), err), f.Close())
	} else {
		errs = append(errs, err)
	}
	if in, err := h.Fetch(ctx, "search", tool.Outbound{Method: "POST", Path: "q", Body: []byte("find")}); err == nil {
		b, err := io.ReadAll(in.Body)
		errs = append(errs, say([]any{in.Status, in.Header, string(b)}, err))
	} else {
		errs = append(errs, err)
	}
	errs = append(errs, h.Progress(ctx, tool.Progress{Message: "half", Fraction: 0.5}))
	return tool.Text(strings.Join(said, "\n")), errors.Join(errs...)
}

func strict(b []byte, v any) error {
	d := json.NewDecoder(strings.NewReader(string(b)))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if d.More() {
		return errors.New("more than one value")
	}
	return nil
}

func TestSampleTool(t *testing.T) {
	plugintest.Tool(t, sample{}, plugintest.ToolOptions{Manifest: sampleManifest, Dir: "testdata/tool"})
}

// recorder is a testing.TB that collects failures instead of failing.
type recorder struct {
	testing.TB
	mu   sync.Mutex
	said []string
}

func (r *recorder) Helper() {}

func (r *recorder) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.said = append(r.said, fmt.Sprintf(format, args...))
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}

func (r *recorder) Fatal(args ...any) {
	r.Errorf("%s", fmt.Sprint(args...))
	runtime.Goexit()
}

// broken is the sample with one thing wrong.
type broken struct {
	sample
	open func(ctx context.Context, ds []tool.Declaration, h *tool.Host) (tool.Opened, error)
	call func(ctx context.Context, c tool.Call, h *tool.Host) (tool.Result, error)
}

func (b broken) Open(ctx context.Context, ds []tool.Declaration, h *tool.Host) (tool.Opened, error) {
	if b.open != nil {
		return b.open(ctx, ds, h)
	}
	return b.sample.Open(ctx, ds, h)
}

func (b broken) Call(ctx context.Context, c tool.Call, h *tool.Host) (tool.Result, error) {
	if b.call != nil {
		return b.call(ctx, c, h)
	}
	return b.sample.Call(ctx, c, h)
}

// oneCall is a dialogue that the sample passes.
const oneCall = `One Host call.
-- declarations --
[{"index": 1, "object": "a", "spec": {}}]
-- host --
{"object": {"kind": "table", "name": "a"}, "gives": {"kind": "table", "name": "a", "comment": "c"}}
{"exec": {"language": "python", "code": "print(1)"}, "gives": {"stdout": "1", "stderr": ""}}
-- opened --
{"functions": [{"declaration": 1, "name": "a", "description": "c ", "effect": 2, "state": "c3RhdGU=",
  "parameters": {"type": "object", "properties": {"what": {"type": "string"}}, "required": ["what"], "additionalProperties": false}}]}
-- call --
{"id": "call_1", "function": "a", "arguments": {"what": "exec"}}
-- result --
{"content": [{"type": "text", "text": "1"}]}
`

func TestBrokenToolsAreCaught(t *testing.T) {
	t.Parallel()
	// edit changes what the sample's Open gives.
	edit := func(f func(*tool.Function)) broken {
		return broken{open: func(ctx context.Context, ds []tool.Declaration, h *tool.Host) (tool.Opened, error) {
			o, err := sample{}.Open(ctx, ds, h)
			for i := range o.Functions {
				f(&o.Functions[i])
			}
			return o, err
		}}
	}
	good := sample{}
	var opens sync.Map
	kept := make(chan *tool.Host, 1)
	tests := []struct {
		name     string
		impl     tool.Tool
		manifest func(*tool.Manifest)
		rule     string // that finds it; "": the manifest or the dialogue does
		want     string // part of what is said
	}{
		{name: "nothing wrong", impl: good},
		{name: "manifest without type", impl: good, manifest: func(m *tool.Manifest) { m.Type = "" }, want: "manifest: type"},
		{name: "manifest without version", impl: good, manifest: func(m *tool.Manifest) { m.Version = "" }, want: "manifest: version"},
		{name: "half an object", impl: good, manifest: func(m *tool.Manifest) { m.Object = &tool.ObjectRef{Field: "x"} }, want: "manifest: object"},
		{name: "config is no schema", impl: good, manifest: func(m *tool.Manifest) { m.Config = json.RawMessage(`{"type":"objekt"}`) }, want: "manifest: config"},
		{name: "another description", impl: edit(func(f *tool.Function) { f.Description = "other" }), want: "section opened: got"},
		{name: "parameters are no schema", rule: "functions", impl: edit(func(f *tool.Function) { f.Parameters = json.RawMessage(`{"type":"objekt"}`) }), want: "parameters: JSON Schema"},
		{name: "parameters of no object", rule: "functions", impl: edit(func(f *tool.Function) { f.Parameters = json.RawMessage(`{"type":"string"}`) }), want: `"type":"object"`},
		{name: "strange declaration", rule: "functions", impl: edit(func(f *tool.Function) { f.Declaration = 9 }), want: "declaration 9"},
		{name: "no description", rule: "functions", impl: edit(func(f *tool.Function) { f.Description = "" }), want: "must not be empty"},
		{name: "too much state", rule: "functions", impl: edit(func(f *tool.Function) { f.State = make([]byte, 65<<10) }), want: "state of 66560 bytes"},
		{name: "unstable", rule: "functions", impl: edit(func(f *tool.Function) {
			if _, again := opens.LoadOrStore(f.Name, true); again {
				f.Description = "changed"
			}
		}), want: "differs when the dialogue is played again"},
		{name: "wrong result", impl: broken{call: func(context.Context, tool.Call, *tool.Host) (tool.Result, error) {
			return tool.Text("no"), nil
		}}, want: "section result: got"},
		{name: "asks too little", impl: broken{call: func(context.Context, tool.Call, *tool.Host) (tool.Result, error) {
			return tool.Text("no"), nil
		}}, want: "did not make a Host call"},
		{name: "asks too much", impl: broken{call: func(ctx context.Context, c tool.Call, h *tool.Host) (tool.Result, error) {
			_, err := h.List(ctx, "/etc")
			return tool.Result{}, err
		}}, want: "not in section host"},
		{name: "deaf to its context", rule: "canceled", impl: broken{call: func(ctx context.Context, c tool.Call, h *tool.Host) (tool.Result, error) {
			r, err := sample{}.Call(ctx, c, h)
			if ctx.Err() != nil {
				<-t.Context().Done() // much later
			}
			return r, err
		}}, want: "did not return within"},
		{name: "fails on large answers", rule: "large", impl: broken{call: func(ctx context.Context, c tool.Call, h *tool.Host) (tool.Result, error) {
			out, _ := h.Exec(ctx, tool.Program{Language: "python", Code: "print(1)"})
			if len(out.Stdout) > 1<<20 {
				panic("too much")
			}
			return sample{}.Call(ctx, c, h)
		}}, want: "answers with 4 MiB"},
		{name: "fails on large arguments", rule: "large", impl: broken{call: func(ctx context.Context, c tool.Call, h *tool.Host) (tool.Result, error) {
			if len(c.Arguments) > 1<<20 {
				return tool.Result{}, errors.New("too much")
			}
			return sample{}.Call(ctx, c, h)
		}}, want: "4 MiB of arguments"},
		{name: "fails on bad arguments", rule: "bad arguments", impl: broken{call: func(ctx context.Context, c tool.Call, h *tool.Host) (tool.Result, error) {
			var m map[string]string
			if err := json.Unmarshal(c.Arguments, &m); err != nil {
				return tool.Result{}, err
			}
			return sample{}.Call(ctx, c, h)
		}}, want: "the model cannot act on"},
		{name: "swallows bad arguments", rule: "bad arguments", impl: broken{call: func(ctx context.Context, c tool.Call, h *tool.Host) (tool.Result, error) {
			r, err := sample{}.Call(ctx, c, h)
			r.IsError = false
			return r, err
		}}, want: "are accepted"},
		{name: "mute about bad arguments", rule: "bad arguments", impl: broken{call: func(ctx context.Context, c tool.Call, h *tool.Host) (tool.Result, error) {
			r, err := sample{}.Call(ctx, c, h)
			if r.IsError {
				r.Content = nil
			}
			return r, err
		}}, want: "an error without a text"},
		{name: "keeps its Host", rule: "functions", impl: broken{call: func(ctx context.Context, c tool.Call, h *tool.Host) (tool.Result, error) {
			select {
			case old := <-kept:
				_ = old.Progress(ctx, tool.Progress{})
			default:
			}
			select {
			case kept <- h:
			default:
			}
			return sample{}.Call(ctx, c, h)
		}}, want: "after Open or Call had returned"},
		{name: "loses the code", rule: "host errors", impl: broken{call: func(ctx context.Context, c tool.Call, h *tool.Host) (tool.Result, error) {
			r, err := sample{}.Call(ctx, c, h)
			if apierror.Is(err, apierror.Denied) {
				err = errors.New(err.Error())
			}
			return r, err
		}}, want: "the Host fails with denied"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "a.txtar"), []byte(oneCall), 0o600); err != nil {
				t.Fatal(err)
			}
			m := sampleManifest
			if tt.manifest != nil {
				tt.manifest(&m)
			}
			r := &recorder{TB: t}
			o := plugintest.ToolOptions{Manifest: m, Dir: dir}
			switch {
			case tt.rule != "":
				o = o.Only(tt.rule)
			case tt.want != "":
				o = o.Only()
			}
			plugintest.Tool(r, tt.impl, o)
			said := strings.Join(r.said, "\n")
			if !strings.Contains(said, tt.want) || (tt.want == "") != (said == "") {
				t.Errorf("the kit said %q, want it to mention %q", said, tt.want)
			}
		})
	}
}
