package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/engine"
	"github.com/sallyport-gateway/sallyport/sdk/tool"
)

func TestTool(t *testing.T) {
	t.Parallel()
	h, _ := start(t, Config{Dirs: []string{plugins(t, "tool-demo")}})
	tl, m, ok := h.Tool("demo", "")
	if !ok || m.Type != "demo" || m.Version != "1.2.3" {
		t.Fatalf("Tool = %+v, %t", m, ok)
	}
	host := tool.NewHost(tool.Service{Object: func(_ context.Context, kind, name string) (tool.Object, error) {
		return tool.Object{Kind: kind, Name: name, Comment: "seen by the caller"}, nil
	}})
	o, err := tl.Open(t.Context(), []tool.Declaration{{Index: 2, Name: "object"}}, host)
	if err != nil || len(o.Functions) != 1 || o.Functions[0].Declaration != 2 || o.Functions[0].Name != "object" {
		t.Errorf("Open = %+v, %v", o, err)
	}
	r, err := tl.Call(t.Context(), tool.Call{ID: "1", Function: "object"}, host)
	if err != nil || len(r.Content) != 1 || r.Content[0].Text != "seen by the caller" {
		t.Errorf("Call = %+v, %v", r, err)
	}
	big := `"` + strings.Repeat("x", 4<<20) + `"`
	r, err = tl.Call(t.Context(), tool.Call{ID: "2", Function: "echo", Arguments: []byte(big)}, host)
	if err != nil || len(r.Content) != 1 || r.Content[0].Text != big {
		t.Errorf("Call with 4 MiB: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := tl.Call(ctx, tool.Call{ID: "3", Function: "wait"}, host); !errors.Is(err, context.Canceled) && !apierror.Is(err, apierror.Canceled) {
		t.Errorf("cancelled Call: %v", err)
	}
	_, err = tl.Call(t.Context(), tool.Call{ID: "4", Function: "exit"}, host)
	if want := `The plugin "demo" exited with status 9 in the middle of the request; try again.`; !apierror.Is(err, apierror.Unavailable) || apierror.From(err).Message != want {
		t.Errorf("Call on a process that ends: %v, want %s", err, want)
	}
	if r, err := tl.Call(t.Context(), tool.Call{ID: "5", Function: "echo", Arguments: []byte(`{}`)}, host); err != nil || r.Content[0].Text != "{}" {
		t.Errorf("next Call = %+v, %v", r, err)
	}
	if i := info(t, h, "demo"); i.InFlight != 0 || i.Restarts != 1 {
		t.Errorf("info = %+v, want nothing in flight and 1 restart", i)
	}
}

func TestEngine(t *testing.T) {
	t.Parallel()
	h, _ := start(t, Config{Dirs: []string{plugins(t, "engine-demo")}})
	e, m, ok := h.Engine("demo")
	if !ok || m.Name != "demo" {
		t.Fatalf("Engine = %+v, %t", m, ok)
	}
	if st, err := e.Inspect(t.Context(), "a.b"); err != nil || len(st.Names) != 1 || st.Names[0] != "a.b" {
		t.Errorf("Inspect = %+v, %v", st, err)
	}
	query := func(sql string) (rows string, err error) {
		for b, err := range e.Query(t.Context(), engine.Query{SQL: sql}) {
			if err != nil {
				return rows, err
			}
			for _, r := range b.Rows {
				rows += string(r)
			}
		}
		return rows, nil
	}
	if rows, err := query("all"); rows != "[0][1][2]" || err != nil {
		t.Errorf("Query = %s, %v", rows, err)
	}
	if _, err := query("exit"); !apierror.Is(err, apierror.Unavailable) || !strings.Contains(fmt.Sprint(err), "exited with status 9") {
		t.Errorf("Query on a process that ends: %v", err)
	}
	if _, err := e.Inspect(t.Context(), "exit"); !apierror.Is(err, apierror.Unavailable) {
		t.Errorf("Inspect on a process that ends: %v", err)
	}
	if rows, err := query("all"); rows != "[0][1][2]" || err != nil {
		t.Errorf("next Query = %s, %v", rows, err)
	}
}
