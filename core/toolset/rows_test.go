package toolset_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-gateway/sallyport/core/access"
	"github.com/sallyport-gateway/sallyport/core/router"
	"github.com/sallyport-gateway/sallyport/core/toolset"
	"github.com/sallyport-gateway/sallyport/core/usage"
	"github.com/sallyport-gateway/sallyport/core/usage/usagetest"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/tool"
)

// statusOf gives each code a status that a test can tell from the others.
func statusOf(c apierror.Code) int { return 400 + slices.Index(apierror.Codes, c) }

// row is the one of a call of alice's, with changes: a column of "" is null.
func row(changes usagetest.Row) usagetest.Row {
	r := usagetest.Row{
		"schema_version": "2", "request_id": "req-1", "token_source": "none",
		"requester": "alice", "requester_type": "USER", "requester_groups": "analysts",
		"service_type": "HOSTED_TOOL", "service_name": "main.sales.reviews", "status": "completed", "status_code": "200",
		"mcp_metadata.json_rpc_method": "tools/call", "mcp_metadata.tool_name": "main.sales.reviews", "mcp_metadata.server_type": "table",
	}
	maps.Copy(r, changes)
	maps.DeleteFunc(r, func(_, v string) bool { return v == "" })
	return r
}

// ended is the columns of a status with a code.
func ended(status string, code apierror.Code) usagetest.Row {
	return usagetest.Row{"status": status, "error_code": string(code), "status_code": fmt.Sprint(statusOf(code))}
}

// recorded is a world whose calls are recorded, and a Set of three tools: a
// table, one of a connection, and one that needs a grant of its own; and the
// client's function.
func recorded(t *testing.T, d *double, limits toolset.Limits) (*usagetest.Log, *world, *toolset.Set) {
	t.Helper()
	log := usagetest.New(t, statusOf)
	w := newWorldFrom(t, func(deps *toolset.Deps) { deps.Usage, deps.Limits = log.Recorder, limits })
	w.source = &usage.Source{RequestID: "req-1"}
	named := func(name string, effect tool.Effect) *double {
		return &double{call: d.call, open: func(_ context.Context, ds []tool.Declaration, _ *tool.Host) (tool.Opened, error) {
			return tool.Opened{Functions: []tool.Function{{Declaration: ds[0].Index, Name: name, Effect: effect}}}, nil
		}}
	}
	w.tools["table"] = plugin{d, tableManifest}
	w.tools["uc_connection"] = plugin{named("jira.search", tool.ReadOnly), tool.Manifest{Type: "uc_connection"}}
	w.tools["acme"] = plugin{named("open_ticket", tool.Once), tool.Manifest{Type: "acme"}}
	s, err := w.openAs(t, &access.Principal{Name: "alice", Kind: access.KindUser, Groups: []string{"analysts"}, Scopes: []string{"all"}},
		`[{"type":"table","table":{"name":"main.sales.reviews"}},{"type":"uc_connection"},{"type":"acme"},{"type":"function","name":"mine"}]`)
	if err != nil {
		t.Fatal(err)
	}
	return log, w, s
}

// Every hosted call leaves one row, begun before the plugin is asked, and
// there before the result is given.
func TestOneRowOfEachCall(t *testing.T) {
	t.Parallel()
	type call = func(ctx context.Context, c tool.Call, h *tool.Host) (tool.Result, error)
	fails := func(err error) call {
		return func(context.Context, tool.Call, *tool.Host) (tool.Result, error) { return tool.Result{}, err }
	}
	hang := func(ctx context.Context, _ tool.Call, _ *tool.Host) (tool.Result, error) {
		<-ctx.Done()
		return tool.Result{}, ctx.Err()
	}
	dead := apierror.New(apierror.Unavailable, "The plugin died.")
	of := func(function string) toolset.Call { return toolset.Call{ID: "c1", Name: function} }
	tests := []struct {
		name   string
		call   call // of the plugin; nil answers
		ask    toolset.Call
		limits toolset.Limits
		gone   bool // the client leaves during the call
		closed bool // the grant is taken away before it
		want   []usagetest.Row
	}{
		{name: "answers", ask: of("main__sales__reviews"), want: []usagetest.Row{row(nil)}},
		{name: "a connection", ask: of("jira__search"), want: []usagetest.Row{row(usagetest.Row{
			"service_type": "MCP_SERVICE", "service_name": "uc_connection", "mcp_metadata.tool_name": "jira.search", "mcp_metadata.server_type": "uc_connection"})}},
		{name: "says that it failed", ask: of("main__sales__reviews"), call: func(context.Context, tool.Call, *tool.Host) (tool.Result, error) {
			return tool.Result{IsError: true}, nil
		}, want: []usagetest.Row{row(ended("failed", apierror.UpstreamFailed))}},
		{name: "fails", ask: of("main__sales__reviews"), call: fails(apierror.New(apierror.NotFound, "There is no column ratng.")),
			want: []usagetest.Row{row(ended("failed", apierror.NotFound))}},
		{name: "fails for a reason of its own", ask: of("main__sales__reviews"), call: fails(errors.New("secret")),
			want: []usagetest.Row{row(ended("failed", apierror.Internal))}},
		{name: "panics", ask: of("main__sales__reviews"), call: func(context.Context, tool.Call, *tool.Host) (tool.Result, error) { panic("a bug") },
			want: []usagetest.Row{row(ended("failed", apierror.Internal))}},
		{name: "does not answer in time", ask: of("main__sales__reviews"), call: hang, limits: toolset.Limits{Call: time.Millisecond},
			want: []usagetest.Row{row(ended("failed", apierror.UpstreamTimeout))}},
		{name: "client leaves", ask: of("main__sales__reviews"), call: hang, gone: true,
			want: []usagetest.Row{row(usagetest.Row{"status": "canceled", "error_code": "canceled", "status_code": "499"})}},
		{name: "says that it is canceled", ask: of("main__sales__reviews"), call: fails(apierror.New(apierror.Canceled, "No.")),
			want: []usagetest.Row{row(ended("failed", apierror.Canceled))}},
		{name: "the plugin died, and is asked twice", ask: of("main__sales__reviews"), call: fails(dead),
			want: []usagetest.Row{row(ended("failed", apierror.Unavailable))}},
		{name: "the plugin died, and may have acted", ask: of("open_ticket"), call: fails(dead),
			want: []usagetest.Row{row(usagetest.Row{"status": "failed", "error_code": "unavailable", "status_code": fmt.Sprint(statusOf(apierror.Unavailable)),
				"service_name": "acme", "mcp_metadata.tool_name": "open_ticket", "mcp_metadata.server_type": "acme"})}},
		{name: "arguments are no object", ask: toolset.Call{Name: "main__sales__reviews", Arguments: "[1]"}, want: []usagetest.Row{row(ended("refused", apierror.Invalid))}},
		{name: "the grant is gone", ask: of("open_ticket"), closed: true, want: []usagetest.Row{row(usagetest.Row{
			"status": "refused", "error_code": "denied", "status_code": fmt.Sprint(statusOf(apierror.Denied)),
			"service_name": "acme", "mcp_metadata.tool_name": "open_ticket", "mcp_metadata.server_type": "acme"})}},
		{name: "no such function", ask: of("nobody")},
		{name: "the client's function", ask: of("mine")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var log *usagetest.Log
			d := &double{}
			d.call = func(ctx context.Context, c tool.Call, h *tool.Host) (tool.Result, error) {
				if n := log.Open(); n != 1 {
					t.Errorf("%d calls are open when the plugin is asked, want 1", n)
				}
				if tt.gone {
					cancel()
				}
				if tt.call == nil {
					return tool.Text("done"), nil
				}
				return tt.call(ctx, c, h)
			}
			log, w, s := recorded(t, d, tt.limits)
			if tt.closed {
				w.closed = map[string]bool{"acme": true}
			}
			s.Call(ctx, tt.ask)
			rows := log.Rows()
			if log.Open() != 0 {
				t.Error("a call is open")
			}
			if fmt.Sprint(rows) != fmt.Sprint(tt.want) {
				t.Errorf("rows =\n%v\nwant\n%v", rows, tt.want)
			}
		})
	}
}

// A call that cannot be recorded is not made.
func TestUnrecordedCallIsRefused(t *testing.T) {
	t.Parallel()
	d := &double{}
	log, _, s := recorded(t, d, toolset.Limits{})
	log.Fill(t.Context())
	got := s.Call(t.Context(), toolset.Call{Name: "main__sales__reviews"})
	if !got.Failed || !strings.Contains(got.Output.Text, "full") || len(d.called) != 0 {
		t.Errorf("result = %+v after %d calls, want a refusal and no call", got, len(d.called))
	}
	if n := len(log.Rows()); n != 0 {
		t.Errorf("%d rows, want none", n)
	}
}

// What a tool asks of a model is asked on behalf of the same request: its rows
// carry its id, and it has passed as many gateways.
func TestGenerateBelongsToTheRequest(t *testing.T) {
	t.Parallel()
	var asked []router.Call
	w := newWorldFrom(t, func(d *toolset.Deps) {
		d.Generate = func(_ context.Context, p *access.Principal, c router.Call) iter.Seq2[openresponses.Event, error] {
			if p.Name != "alice" {
				t.Errorf("a tool of alice's asks as %q", p.Name)
			}
			asked = append(asked, c)
			return func(func(openresponses.Event, error) bool) {}
		}
	})
	w.source, w.depth = &usage.Source{RequestID: "req-1"}, 2
	req := &openresponses.Request{Model: "m"}
	w.tools["table"] = plugin{&double{call: func(ctx context.Context, _ tool.Call, h *tool.Host) (tool.Result, error) {
		for range h.Generate(ctx, req) {
			t.Error("an event out of nothing")
		}
		return tool.Text(""), nil
	}}, tableManifest}
	s, err := w.open(t, `[{"type":"table","table":{"name":"main.sales.reviews"}}]`)
	if err != nil {
		t.Fatal(err)
	}
	s.Call(t.Context(), toolset.Call{Name: "main__sales__reviews"})
	if len(asked) != 1 || asked[0].Request != req || asked[0].Source != w.source || asked[0].Depth != 2 {
		t.Errorf("asked %+v, want one call with the request's source and depth", asked)
	}
}
