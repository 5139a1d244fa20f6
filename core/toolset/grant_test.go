package toolset_test

import (
	"context"
	"testing"

	"github.com/sallyport-gateway/sallyport/core/toolset"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/tool"
)

// A type whose declarations name no object needs a right of its own, unless it
// is one of the vendor's; one that the caller may not use refuses the request
// before any plugin is asked, whatever else it declares.
func TestToolTypeNeedsAGrant(t *testing.T) {
	t.Parallel()
	tests := []struct {
		tools string
		param string // "" when it is allowed
	}{
		{`[{"type":"weather","name":"w"}]`, ""},
		{`[{"type":"oracle"}]`, "tools[0].type"},
		{`[{"type":"table","table":{"name":"main.sales.reviews"}},{"type":"function","name":"f"},{"type":"weather"},{"type":"oracle"}]`, "tools[3].type"},
		{`[{"type":"web_search","name":"s"}]`, ""},
		{`[{"type":"databricks_web_search","name":"s"}]`, ""},
		{`[{"type":"table","table":{"name":"main.sales.reviews"}}]`, ""},
	}
	for _, tt := range tests {
		w := newWorld(t, toolset.Limits{})
		w.closed = map[string]bool{"oracle": true, "web_search": true, "table": true}
		asked := &double{open: func(_ context.Context, ds []tool.Declaration, _ *tool.Host) (tool.Opened, error) {
			return tool.Opened{Functions: []tool.Function{{Declaration: ds[0].Index, Name: ds[0].Name}}}, nil
		}}
		for _, typ := range []string{"weather", "oracle", "web_search"} {
			w.tools[typ] = plugin{asked, tool.Manifest{Type: typ}}
		}
		_, err := w.open(t, tt.tools)
		e := apierror.From(err)
		switch {
		case tt.param == "" && e != nil:
			t.Errorf("%s: %v", tt.tools, e)
		case tt.param != "" && (e == nil || e.Code != apierror.Denied || e.Param != tt.param || e.Message != "No USE TOOL on tool oracle."):
			t.Errorf("%s: error = %#v, want a denial at %s", tt.tools, e, tt.param)
		case tt.param != "" && len(asked.opened) > 0:
			t.Errorf("%s: a plugin was asked before the refusal", tt.tools)
		}
	}
}

// A grant that is taken away while a run goes on ends the calls of the tool.
func TestRevocationReachesTheNextCall(t *testing.T) {
	t.Parallel()
	w := newWorld(t, toolset.Limits{})
	d := &double{open: func(context.Context, []tool.Declaration, *tool.Host) (tool.Opened, error) {
		return tool.Opened{Functions: []tool.Function{{Name: "f"}}}, nil
	}}
	w.tools["weather"] = plugin{d, tool.Manifest{Type: "weather"}}
	s, err := w.open(t, `[{"type":"weather"}]`)
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Call(t.Context(), toolset.Call{Name: "f"}); got.Failed {
		t.Errorf("with the grant: %+v", got)
	}
	w.closed = map[string]bool{"weather": true}
	if got := s.Call(t.Context(), toolset.Call{Name: "f"}); !got.Failed || got.Output.Text != "Error: No USE TOOL on tool weather." || len(d.called) != 1 {
		t.Errorf("without the grant: %+v after %d calls", got, len(d.called))
	}
}
