package toolset_test

import (
	"context"
	"testing"

	"github.com/sallyport-gateway/sallyport/core/access"
	"github.com/sallyport-gateway/sallyport/core/toolset"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/tool"
)

// FuzzOpen: whatever is declared, the answer is functions with names that
// models accept, each once, or an error that a client may see.
func FuzzOpen(f *testing.F) {
	f.Add([]byte(vendorTools))
	f.Add([]byte(bothTables))
	f.Add([]byte(`[{"type":"acme","acme":{"é":[1e400,{"a":null}]}},{"type":"acme","tool_type":7},{"type":"uc_table","table":{"name":"MAIN.sales.größe"},"uc_table":{}}]`))
	w := newWorld(f, toolset.Limits{})
	w.tools["acme"] = plugin{&double{open: func(_ context.Context, ds []tool.Declaration, _ *tool.Host) (tool.Opened, error) {
		var o tool.Opened
		for _, d := range ds {
			o.Functions = append(o.Functions, tool.Function{Declaration: d.Index, Name: "acme." + d.Name})
		}
		return o, nil
	}}, tool.Manifest{Type: "acme"}}
	f.Fuzz(func(t *testing.T, tools []byte) {
		req, err := openresponses.ParseRequest(append(append([]byte(`{"model":"m","input":"x","tools":`), tools...), '}'))
		if err != nil {
			return
		}
		s, err := w.Open(t.Context(), &access.Principal{Name: "alice", Scopes: []string{"all"}}, req, nil, 0)
		if err != nil {
			if code := apierror.CodeOf(err); code == apierror.Internal {
				t.Errorf("internal error: %v", err)
			}
			return
		}
		seen := map[string]bool{}
		for _, n := range names(s) {
			if !openresponses.ValidName(n) || seen[n] {
				t.Errorf("function name %q is not valid, or not the only one", n)
			}
			seen[n] = true
		}
	})
}
