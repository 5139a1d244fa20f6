package toolset_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/sallyport-gateway/sallyport/core/access"
	"github.com/sallyport-gateway/sallyport/core/toolset"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/tool"
)

// vendorTools are all the hosted types of the vendor's document.
const vendorTools = `[
 {"type":"genie_space","name":"Customer reviews","description":"d","genie_space":{"space_id":"g"}},
 {"type":"dashboard","dashboard":{"dashboard_id":"d"}},
 {"type":"uc_function","uc_function":{"name":"a.b.c"}},
 {"type":"table","table":{"name":"main.sales.reviews","description":"Reads"}},
 {"type":"vector_search_index","vector_search_index":{"name":"a.b.c"}},
 {"type":"knowledge_assistant","knowledge_assistant":{"knowledge_assistant_id":"k"}},
 {"type":"serving_endpoint","serving_endpoint":{"name":"e"}},
 {"type":"vector_search_index","vector_search_index":{"name":"a.b.d","columns":["t"]}},
 {"type":"app","app":{"name":"agent-x"}},
 {"type":"uc_connection","uc_connection":{"name":"github"}},
 {"type":"web_search","web_search":{}},
 {"type":"volume","volume":{"name":"a.b.v"}},
 {"type":"function","name":"mine"}]`

func TestOneErrorListsEveryUnservedType(t *testing.T) {
	t.Parallel()
	w := newWorld(t, toolset.Limits{})
	_, err := w.open(t, vendorTools)
	e := apierror.From(err)
	if e == nil || e.Code != apierror.Unsupported || e.Param != "tools[0]" {
		t.Fatalf("error = %v, want Unsupported at tools[0]", err)
	}
	for _, typ := range []string{"genie_space (tools[0])", "dashboard (tools[1])", "uc_function (tools[2])", "vector_search_index (tools[4], tools[7])", "knowledge_assistant (tools[5])",
		"serving_endpoint (tools[6])", "app (tools[8])", "uc_connection (tools[9])", "web_search (tools[10])", "volume (tools[11])", "Available here: function, table."} {
		if !strings.Contains(e.Message, typ) {
			t.Errorf("the message does not name %s: %s", typ, e.Message)
		}
	}
	if strings.Contains(e.Message, "tools[3]") || strings.Contains(e.Message, "tools[12]") {
		t.Errorf("the message names a type that is served: %s", e.Message)
	}
}

func TestDeclarationErrors(t *testing.T) {
	t.Parallel()
	tests := []struct {
		tools string
		code  apierror.Code
		param string
		text  string
	}{
		{`[{"type":"tabel","tabel":{}}]`, apierror.Invalid, "tools[0]", `Did you mean "table" instead of "tabel"?`},
		{`[{"type":"` + strings.Repeat("x", 5000) + `"}]`, apierror.Invalid, "tools[0]", "… (tools[0]). Available here"},
		{`[{"type":"Table"}]`, apierror.Invalid, "tools[0]", `"table" instead of "Table"`},
		{`[{"type":"websearch"}]`, apierror.Invalid, "tools[0]", `"web_search"`},
		{`[{"type":"genie_spcae"}]`, apierror.Invalid, "tools[0]", `"genie_space"`},
		{`[{"type":"funtion","name":"f"}]`, apierror.Invalid, "tools[0]", `"function"`},
		{`[{"type":"quantum_oracle"}]`, apierror.Invalid, "tools[0]", "There is no such tool type: quantum_oracle"},
		{`[{"type":"app"},{"type":"tabel"}]`, apierror.Invalid, "tools[1]", "app (tools[0])"},
		{`[{"type":"table"}]`, apierror.Invalid, "tools[0].table", `needs an object named "table"`},
		{`[{"type":"uc_table"}]`, apierror.Invalid, "tools[0].uc_table", `"uc_table"`},
		{`[{"type":"table","table":null}]`, apierror.Invalid, "tools[0].table", "needs an object"},
		{`[{"type":"table","table":"main.sales.reviews"}]`, apierror.Invalid, "tools[0].table", "must be an object, not a string"},
		{`[{"type":"table","table":["main"]}]`, apierror.Invalid, "tools[0].table", "not an array"},
		{`[{"type":"function","name":"f"},{"type":"table","table":{"name":7}}]`, apierror.Invalid, "tools[1].table.name", "must be a string, not a number"},
		{`[{"type":"table","table":{}}]`, apierror.Invalid, "tools[0].table.name", "is missing"},
		{`[{"type":"table","table":{"name":" "}}]`, apierror.Invalid, "tools[0].table.name", "is missing"},
		{`[{"type":"table","description":{},"table":{"name":"main.sales.reviews"}}]`, apierror.Invalid, "tools[0].description", "not an object"},
		{`[{"type":"table","table":{"name":"main.sales.reviews","description":true}}]`, apierror.Invalid, "tools[0].table.description", "not a boolean"},
		{`[{"type":"table","table":{"name":"main.hr.pay"}}]`, apierror.Denied, "tools[0].table.name", "No SELECT on table main.hr.pay."},
		{`[{"type":"table","table":{"name":"main.sales.reviews"}},{"type":"function","name":"main__sales__reviews"}]`, apierror.Invalid, "tools[1].name", "belongs to the hosted tool in tools[0] (main.sales.reviews)"},
	}
	w := newWorld(t, toolset.Limits{})
	for _, tt := range tests {
		_, err := w.open(t, tt.tools)
		e := apierror.From(err)
		if e == nil || e.Code != tt.code || e.Param != tt.param || !strings.Contains(e.Message, tt.text) {
			t.Errorf("%s:\nerror = %#v\nwant %s at %s with %q", tt.tools, e, tt.code, tt.param, tt.text)
		}
	}
}

func TestScopeIsChecked(t *testing.T) {
	t.Parallel()
	w := newWorld(t, toolset.Limits{})
	_, err := w.openAs(t, &access.Principal{Name: "alice", Scopes: []string{"genie"}}, `[{"type":"table","table":{"name":"main.sales.reviews"}}]`)
	if e := apierror.From(err); e == nil || e.Code != apierror.Denied || e.Param != "tools[0]" || !strings.Contains(e.Message, "unity-catalog") {
		t.Errorf("error = %v, want Denied at tools[0] that names the scope", err)
	}
}

// TestToleratedForms lists declarations that programs send, and what the
// plugin must see of them.
func TestToleratedForms(t *testing.T) {
	t.Parallel()
	tests := []struct {
		tools, typ string
		want       tool.Declaration
	}{
		{`[{"type":"table","name":"N","description":"D","table":{"name":"main.sales.reviews"}}]`, "table",
			tool.Declaration{Name: "N", Description: "D", Object: "main.sales.reviews", Spec: json.RawMessage(`{"name":"main.sales.reviews"}`)}},
		{`[{"type":"uc_table","uc_table":{"name":"Main.SALES.reviews","description":"inside"}}]`, "table",
			tool.Declaration{Description: "inside", Object: "main.sales.reviews", Spec: json.RawMessage(`{"description":"inside","name":"Main.SALES.reviews"}`)}},
		{`[{"type":"uc_table","table":{"name":"main.sales.reviews"},"extra":1}]`, "table",
			tool.Declaration{Object: "main.sales.reviews", Spec: json.RawMessage(`{"name":"main.sales.reviews"}`)}},
		{`[{"type":"genie_space","genie_space":{"id":"01EF","name":"Inside"}}]`, "genie_space",
			tool.Declaration{Name: "Inside", Object: "01ef", Spec: json.RawMessage(`{"name":"Inside","space_id":"01EF"}`)}},
		{`[{"type":"genie","genie_space":{"space_id":"01ef"}}]`, "genie_space",
			tool.Declaration{Object: "01ef", Spec: json.RawMessage(`{"space_id":"01ef"}`)}},
		{`[{"tool_type":"table","table":{"name":"main.sales.reviews"}}]`, "table",
			tool.Declaration{Object: "main.sales.reviews", Spec: json.RawMessage(`{"name":"main.sales.reviews"}`)}},
		{`[{"type":"web_search"}]`, "web_search", tool.Declaration{Spec: json.RawMessage(`{}`)}},
		{`[{"type":"databricks_web_search","web_search":null,"name":"W"}]`, "web_search", tool.Declaration{Name: "W", Spec: json.RawMessage(`{}`)}},
		{`[{"type":"acme_thing","acme_thing":{"b":1,"a":2}}]`, "acme_thing", tool.Declaration{Spec: json.RawMessage(`{"a":2,"b":1}`)}},
	}
	for _, tt := range tests {
		t.Run(tt.tools, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, toolset.Limits{})
			w.versions["genie_space 01ef"] = ""
			w.tools["genie_space"] = plugin{&double{}, tool.Manifest{Type: "genie_space", Object: &tool.ObjectRef{Field: "genie_space.space_id", Kind: "genie_space", Privilege: "CAN RUN"}}}
			named := func(_ context.Context, ds []tool.Declaration, _ *tool.Host) (tool.Opened, error) {
				return tool.Opened{Functions: []tool.Function{{Declaration: ds[0].Index, Name: "thing"}}}, nil
			}
			w.tools["web_search"] = plugin{&double{open: named}, tool.Manifest{Type: "web_search"}}
			w.tools["acme_thing"] = plugin{&double{open: named}, tool.Manifest{Type: "acme_thing"}}
			if _, err := w.open(t, tt.tools); err != nil {
				t.Fatal(err)
			}
			opened := w.tools[tt.typ].Tool.(*double).opened
			if len(opened) != 1 || len(opened[0]) != 1 {
				t.Fatalf("opened %v, want one declaration", opened)
			}
			if got, want := fmt.Sprintf("%+v", opened[0][0]), fmt.Sprintf("%+v", tt.want); got != want {
				t.Errorf("the plugin saw %s, want %s", got, want)
			}
		})
	}
}

func TestFunctionNames(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 60)
	tests := []struct {
		tools string
		names []string // a * stands for 8 hexadecimal digits
	}{
		{`[{"type":"table","table":{"name":"main.sales.reviews"}},{"type":"function","name":"f"},{"type":"table","table":{"name":"main.sales.orders"}}]`,
			[]string{"main__sales__reviews", "f", "main__sales__orders"}},
		{`[{"type":"table","table":{"name":"main.sales.reviews"}},{"type":"uc_table","uc_table":{"name":"MAIN.sales.reviews"}}]`, []string{"main__sales__reviews"}},
		{`[{"type":"table","table":{"name":"main.sales.reviews"}},{"type":"table","name":"Other","table":{"name":"main.sales.reviews"}}]`,
			[]string{"main__sales__reviews_*", "main__sales__reviews_*"}},
		{`[{"type":"table","table":{"name":"main.sales.größe"}}]`, []string{"main__sales__gr__e_*"}},
		{`[{"type":"table","table":{"name":"main.sales.` + long + `"}}]`, []string{"main__sales__" + long[:41] + "_*"}},
	}
	for _, tt := range tests {
		w := newWorld(t, toolset.Limits{})
		w.versions["table main.sales."+long] = "1"
		s, err := w.open(t, tt.tools)
		if err != nil {
			t.Errorf("%s: %v", tt.tools, err)
			continue
		}
		got := names(s)
		if len(got) != len(tt.names) {
			t.Errorf("%s: names %v, want %v", tt.tools, got, tt.names)
			continue
		}
		seen := map[string]bool{}
		for i, n := range got {
			want, hashed := strings.CutSuffix(tt.names[i], "*")
			if n != want && !(hashed && strings.HasPrefix(n, want) && len(n) == len(want)+8) || len(n) > 64 || seen[n] {
				t.Errorf("%s: name %d = %q, want %q, at most 64 characters, once", tt.tools, i, n, tt.names[i])
			}
			seen[n] = true
		}
	}
}

// TestHashedNamesAreStable: a hashed name depends on its declaration only.
func TestHashedNamesAreStable(t *testing.T) {
	t.Parallel()
	const a, b = `{"type":"table","table":{"name":"main.sales.größe"}}`, `{"type":"table","name":"B","table":{"name":"main.sales.größe"}}`
	w := newWorld(t, toolset.Limits{})
	var got [][]string
	for _, tools := range []string{"[" + a + "," + b + "]", "[" + b + "," + a + "]", "[" + a + "]"} {
		s, err := w.open(t, tools)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, names(s))
	}
	if got[0][0] != got[1][1] || got[0][1] != got[1][0] || got[0][0] != got[2][0] {
		t.Errorf("names change with the order of declarations: %v", got)
	}
}

func TestSeveralLongFunctionsOfOneDeclaration(t *testing.T) {
	t.Parallel()
	w := newWorld(t, toolset.Limits{})
	w.tools["acme"] = plugin{&double{open: func(_ context.Context, ds []tool.Declaration, _ *tool.Host) (tool.Opened, error) {
		var o tool.Opened
		for _, end := range []string{"a", "b", "c"} {
			o.Functions = append(o.Functions, tool.Function{Declaration: ds[0].Index, Name: strings.Repeat("n", 70) + end})
		}
		return o, nil
	}}, tool.Manifest{Type: "acme"}}
	s, err := w.open(t, `[{"type":"acme"}]`)
	if err != nil {
		t.Fatal(err)
	}
	got := names(s)
	slices.Sort(got)
	if len(slices.Compact(got)) != 3 {
		t.Errorf("names %v, want three different ones", got)
	}
}

func TestPluginFaultsAtOpen(t *testing.T) {
	t.Parallel()
	function := func(f tool.Function) func(context.Context, []tool.Declaration, *tool.Host) (tool.Opened, error) {
		return func(context.Context, []tool.Declaration, *tool.Host) (tool.Opened, error) {
			return tool.Opened{Functions: []tool.Function{f}}, nil
		}
	}
	tests := []struct {
		name string
		open func(context.Context, []tool.Declaration, *tool.Host) (tool.Opened, error)
		code apierror.Code
	}{
		{"foreign declaration", function(tool.Function{Declaration: 9, Name: "f"}), apierror.Internal},
		{"no name", function(tool.Function{}), apierror.Internal},
		{"parameters that are no object", function(tool.Function{Name: "f", Parameters: json.RawMessage(`[]`)}), apierror.Internal},
		{"parameters that are no JSON", function(tool.Function{Name: "f", Parameters: json.RawMessage(`{`)}), apierror.Internal},
		{"too much state", function(tool.Function{Name: "f", State: make([]byte, 65<<10)}), apierror.Internal},
		{"a plain error", func(context.Context, []tool.Declaration, *tool.Host) (tool.Opened, error) {
			return tool.Opened{}, errors.New("secret detail")
		}, apierror.Internal},
		{"an error of its own", func(context.Context, []tool.Declaration, *tool.Host) (tool.Opened, error) {
			return tool.Opened{}, apierror.At(apierror.Invalid, "tools[0].acme", "Bad.")
		}, apierror.Invalid},
		{"a panic", func(context.Context, []tool.Declaration, *tool.Host) (tool.Opened, error) { panic("bug") }, apierror.Internal},
		{"a connection", func(context.Context, []tool.Declaration, *tool.Host) (tool.Opened, error) {
			return tool.Opened{Connections: []tool.Connection{{Name: "c"}}}, nil
		}, apierror.Unsupported},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, toolset.Limits{})
			w.tools["acme"] = plugin{&double{open: tt.open}, tool.Manifest{Type: "acme"}}
			_, err := w.open(t, `[{"type":"acme"}]`)
			if got := apierror.CodeOf(err); got != tt.code {
				t.Errorf("code = %q, want %q (%v)", got, tt.code, err)
			}
			if e := apierror.From(err); e != nil && strings.Contains(e.Message, "secret detail") {
				t.Errorf("the message tells the client what it must not see: %s", e.Message)
			}
		})
	}
}

// TestOpenIsCached: the same declarations of the same caller are opened once,
// until an object has a new version; rights are checked every time.
func TestOpenIsCached(t *testing.T) {
	t.Parallel()
	const tools = `[{"type":"table","table":{"name":"main.sales.reviews"}}]`
	w := newWorld(t, toolset.Limits{})
	d := w.tools["table"].Tool.(*double)
	open := func(p string, want int) {
		t.Helper()
		if _, err := w.openAs(t, &access.Principal{Name: p, Scopes: []string{"all"}}, tools); err != nil {
			t.Fatal(err)
		}
		w.Settle()
		if got := len(d.opened); got != want {
			t.Errorf("the plugin was asked %d times, want %d", got, want)
		}
	}
	open("alice", 1)
	open("alice", 1)
	open("bob", 2)
	w.versions["table main.sales.reviews"] = "2"
	open("alice", 3)
	delete(w.versions, "table main.sales.reviews")
	if _, err := w.open(t, tools); !apierror.Is(err, apierror.Denied) {
		t.Errorf("error = %v, want denied in spite of the cache", err)
	}
}

// A table whose files cannot be read is opened all the same: the plugin, and
// through it the model, is told. It is looked at anew every time.
func TestUnreadableTableIsDescribed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, toolset.Limits{})
	w.versions["table main.sales.reviews"] = "unreadable"
	var told []tool.Object
	w.tools["table"] = plugin{&double{open: func(ctx context.Context, ds []tool.Declaration, h *tool.Host) (tool.Opened, error) {
		o, err := h.Object(ctx, "table", ds[0].Object)
		told = append(told, o)
		return tool.Opened{Functions: []tool.Function{{Declaration: ds[0].Index, Name: ds[0].Object}}}, err
	}}, tableManifest}
	for range 2 {
		if _, err := w.open(t, `[{"type":"table","table":{"name":"main.sales.reviews"}}]`); err != nil {
			t.Fatal(err)
		}
		w.Settle()
	}
	if len(told) != 2 || told[0].Name != "main.sales.reviews" || told[0].Comment != "The files of main.sales.reviews cannot be read." || told[0].Version != "" {
		t.Errorf("the plugin was told %+v, want the reason, twice", told)
	}
}

// TestStrayingOpenIsNotCached: what depends on more than the declared objects
// is asked every time.
func TestStrayingOpenIsNotCached(t *testing.T) {
	t.Parallel()
	w := newWorld(t, toolset.Limits{})
	d := &double{open: func(ctx context.Context, ds []tool.Declaration, h *tool.Host) (tool.Opened, error) {
		if _, err := h.Object(ctx, "table", "main.sales.orders"); err != nil {
			return tool.Opened{}, err
		}
		return tool.Opened{Functions: []tool.Function{{Declaration: ds[0].Index, Name: "f"}}}, nil
	}}
	w.tools["table"] = plugin{d, tableManifest}
	for want := 1; want <= 2; want++ {
		if _, err := w.open(t, `[{"type":"table","table":{"name":"main.sales.reviews"}}]`); err != nil {
			t.Fatal(err)
		}
		w.Settle()
		if got := len(d.opened); got != want {
			t.Errorf("the plugin was asked %d times, want %d", got, want)
		}
	}
}

func TestNewNeedsItsParts(t *testing.T) {
	t.Parallel()
	if _, err := toolset.New(toolset.Deps{}); err == nil {
		t.Error("New accepted no dependencies")
	}
}
