package supervisor_test

import (
	"context"
	"iter"
	"strings"
	"testing"

	"github.com/sallyport-gateway/sallyport/core/router"
	"github.com/sallyport-gateway/sallyport/core/supervisor"
	"github.com/sallyport-gateway/sallyport/core/supervisor/render"
	"github.com/sallyport-gateway/sallyport/core/toolset"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
)

// TestRules holds each request against the error that must come before any
// model is asked. The text is what the message must hold.
func TestRules(t *testing.T) {
	t.Parallel()
	const (
		fn    = `{"type":"function","name":"f"}`
		table = `{"type":"table","table":{"name":"main.sales.reviews"}}`
	)
	tests := []struct {
		body  string // without the braces and "model"
		code  apierror.Code
		param string
		text  string
	}{
		{`"input":""`, "", "", ""},
		{`"input":[]`, apierror.Invalid, "input", "input is missing"},
		{`"input":null`, apierror.Invalid, "input", "input is missing"},
		{`"input":[{"type":"acme:note"}]`, apierror.Invalid, "input", "nothing that a model could answer"},
		{`"input":"x","temperature":0.5`, "", "", ""},
		{`"input":"x","temperature":0.5,"tools":[` + fn + `]`, apierror.Invalid, "temperature", "Parameter not supported when tools are provided"},
		{`"input":"x","temperature":null,"tools":[` + fn + `]`, "", "", ""},
		{`"input":"x","top_p":1,"tools":[` + fn + `]`, apierror.Invalid, "top_p", "Parameter not supported when tools are provided"},
		{`"input":"x","presence_penalty":0,"tools":[` + table + `]`, apierror.Invalid, "presence_penalty", "Parameter not supported when tools are provided"},
		{`"input":"x","frequency_penalty":0,"tools":[` + fn + `]`, apierror.Invalid, "frequency_penalty", "Parameter not supported when tools are provided"},
		{`"input":"x","top_logprobs":0,"tools":[` + fn + `]`, apierror.Invalid, "top_logprobs", "Parameter not supported when tools are provided"},
		{`"input":"x","max_output_tokens":99,"tool_choice":"auto","parallel_tool_calls":false,"reasoning":{"effort":"low"},"text":{},"include":["reasoning.encrypted_content"],"metadata":{},"store":true,"tools":[` + fn + `]`, "", "", ""},
		{`"input":"x","previous_response_id":"resp_1"`, apierror.Unsupported, "previous_response_id", "Send the whole history"},
		{`"input":"x","background":true`, apierror.Unsupported, "background", "not offered"},
		{`"input":"x","background":true,"stream":true`, apierror.Invalid, "background", "cannot both be true"},
		{`"input":"x","trace_destination":{"catalog_name":"main"}`, apierror.Unsupported, "trace_destination", "not offered"},
		{`"input":"x","trace_destination":null`, "", "", ""},
		{`"input":"x","databricks_options":{"return_trace":true}`, apierror.Unsupported, "databricks_options.return_trace", "not offered"},
		{`"input":"x","databricks_options":{"return_trace":false}`, "", "", ""},
		{`"input":"x","databricks_options":7`, apierror.Invalid, "databricks_options", "must be an object"},
		{`"input":"x","conversation":"conv_1"`, apierror.Unsupported, "conversation", "keeps no state"},
		{`"input":[{"type":"item_reference","id":"msg_1"}]`, apierror.Unsupported, "input[0]", "Send the item itself"},
		{`"input":"x","tools":[{"type":"function","name":"a b"}]`, apierror.Invalid, "tools[0].name", "function tool 'name' must match ^[a-zA-Z0-9_-]{1,64}$"},
		{`"input":"x","tools":[` + fn + `,` + fn + `]`, apierror.Invalid, "tools[1].name", "declared twice"},
		{`"input":"x","tools":[{"type":"function","name":"main__sales__reviews"},` + table + `]`, apierror.Invalid, "tools[0].name", "main.sales.reviews"},
		{`"input":"x","tool_choice":"required"`, apierror.Invalid, "tool_choice", "declares no tools"},
		{`"input":"x","tool_choice":{"type":"web_search"},"tools":[` + fn + `]`, apierror.Unsupported, "tool_choice.type", "not offered"},
		{`"input":"x","tool_choice":{"type":"function","name":"g"},"tools":[` + fn + `]`, apierror.Invalid, "tool_choice", `"g"`},
		{`"input":"x","tool_choice":{"type":"allowed_tools","mode":"auto","tools":[{"type":"function","name":"g"}]},"tools":[` + fn + `]`, apierror.Invalid, "tool_choice", `"g"`},
		{`"input":[{"type":"function_call","call_id":"c1","name":"f","arguments":"{}"}]`, apierror.Invalid, "input", "No tool output found for function call c1."},
		{`"input":[{"type":"mcp_approval_request","id":"k1","name":"f","arguments":"{}","server_label":"s"}]`, apierror.Invalid, "input", "No tool output found for function call k1."},
		{`"input":[{"type":"function_call_output","call_id":"c2","output":"x"}]`, apierror.Invalid, "input[0]", "No tool call found for function call output with call_id c2."},
		{`"input":[{"type":"function_call_output","call_id":"c1","output":"x"},{"type":"function_call","call_id":"c1","name":"f","arguments":"{}"}]`, apierror.Invalid, "input[0]", "No tool call found"},
		{`"input":[{"type":"function_call","call_id":"c1","name":"f","arguments":"{}"},{"type":"function_call_output","call_id":"c1","output":"x"},{"type":"function_call_output","call_id":"c1","output":"y"}]`, apierror.Invalid, "input[2]", "two outputs"},
		{`"input":[{"type":"mcp_approval_response","approval_request_id":"k1","approve":true}]`, apierror.Invalid, "input[0].approval_request_id", "k1"},
		{`"input":"x","tools":[{"type":"table","table":{"name":"hidden.hr.pay"}}]`, apierror.Denied, "tools[0].table.name", "hidden.hr.pay"},
	}
	w := newWorld(t, supervisor.Limits{}, toolset.Limits{})
	for _, tt := range tests {
		t.Run(tt.body, func(t *testing.T) {
			asked := 0
			w.model = func(ctx context.Context, c router.Call) iter.Seq2[openresponses.Event, error] {
				asked++
				return parseScript(t, "turn\ntext ok").generate(ctx, c)
			}
			_, err := w.run(t, t.Context(), render.Databricks, `{"model":"m",`+tt.body+`}`, nil)
			if got := apierror.CodeOf(err); got != tt.code {
				t.Fatalf("code = %q, want %q (%v)", got, tt.code, err)
			}
			if err == nil {
				return
			}
			e := apierror.From(err)
			if e.Param != tt.param {
				t.Errorf("param = %q, want %q", e.Param, tt.param)
			}
			if !strings.Contains(e.Message, tt.text) {
				t.Errorf("message = %q, want it to hold %q", e.Message, tt.text)
			}
			if asked > 0 {
				t.Errorf("the model was asked %d times", asked)
			}
		})
	}
}

func TestModelIsCheckedBeforeTools(t *testing.T) {
	t.Parallel()
	w := newWorld(t, supervisor.Limits{}, toolset.Limits{})
	w.deny = apierror.New(apierror.Denied, "No EXECUTE on model m.")
	w.model = nil // never asked
	body := `{"model":"m","input":"x","tools":[{"type":"table","table":{"name":"main.hr.pay"}}]}`
	if _, err := w.run(t, t.Context(), render.Databricks, body, nil); err == nil || err.Error() != "No EXECUTE on model m." {
		t.Errorf("error = %v, want the one about the model", err)
	}
}

func TestNoSelectIsDeniedByName(t *testing.T) {
	t.Parallel()
	w := newWorld(t, supervisor.Limits{}, toolset.Limits{})
	req, err := openresponses.ParseRequest([]byte(`{"model":"m","input":"x","tools":[{"type":"table","table":{"name":"main.sales.reviews"}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.sup.Run(t.Context(), supervisor.Run{Principal: w.bob, Request: req}, nil)
	e := apierror.From(err)
	if e == nil || e.Code != apierror.Denied || !strings.Contains(e.Message, "main.sales.reviews") || !strings.Contains(e.Message, "SELECT") {
		t.Errorf("error = %v, want Denied that names main.sales.reviews and SELECT", err)
	}
}
