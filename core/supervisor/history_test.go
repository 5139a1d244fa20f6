package supervisor

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
)

// FuzzHistory: whatever a client sends as history, what the model is given is
// a conversation that strict providers take: each call has exactly one output,
// after it, and no call id occurs twice.
func FuzzHistory(f *testing.F) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for _, s := range txtar.Parse(b).Files {
			if s.Name == "request" {
				f.Add(s.Data)
			}
		}
	}
	f.Add([]byte(`{"model":"m","input":[{"type":"mcp_call","id":null,"error":{"code":1}},{"type":"mcp_call"},{"type":"web_search_call","action":7},{"type":"code_interpreter_call","outputs":{}},
		{"type":"mcp_approval_request"},{"type":"mcp_approval_response","approve":true},{"type":"function_call","call_id":"a","name":"f","arguments":""},{"type":"function_call","call_id":"a","name":"f","arguments":""},{"type":"function_call_output","call_id":"a","output":""}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		req, err := openresponses.ParseRequest(body)
		if err != nil {
			return
		}
		past, err := readHistory(req.Input)
		if err != nil {
			return
		}
		calls, outputs := map[string]int{}, map[string]int{}
		for _, it := range past.items {
			switch it.Type {
			case openresponses.TypeFunctionCall:
				calls[it.CallID]++
				if !openresponses.ValidName(it.Name) || it.CallID == "" || len(it.CallID) > 64 {
					t.Errorf("call %q of %q", it.CallID, it.Name)
				}
			case openresponses.TypeFunctionCallOutput:
				outputs[it.CallID]++
				if calls[it.CallID] == 0 {
					t.Errorf("output of %q comes before its call", it.CallID)
				}
			case openresponses.TypeMessage, openresponses.TypeReasoning, openresponses.TypeCompaction:
			default:
				t.Errorf("the model is given an item of type %q", it.Type)
			}
		}
		for id, n := range calls {
			if n != 1 || outputs[id] != 1 {
				t.Errorf("call %q occurs %d times, with %d outputs", id, n, outputs[id])
			}
		}
		for _, a := range past.approved {
			if a.slot >= len(past.items) || past.items[a.slot].CallID != a.CallID || past.items[a.slot].Type != openresponses.TypeFunctionCallOutput {
				t.Errorf("approved call %q: slot %d does not hold its output", a.CallID, a.slot)
			}
		}
	})
}
