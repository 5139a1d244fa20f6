package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	or "github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

// TestCount asks about exactly what would be sent.
func TestCount(t *testing.T) {
	t.Parallel()
	r, err := or.ParseRequest([]byte(`{"model":"m","instructions":"Be kind.","input":"Hi","tools":[{"type":"function","name":"f"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	turn := provider.Turn{Op: provider.Generate, Model: "gemini-2.5-flash", Account: provider.Account{Name: "gemini"}, Request: r}
	sent, err := translator{}.Begin(t.Context(), turn)
	if err != nil {
		t.Fatal(err)
	}
	turn.Op = provider.CountTokens
	x, err := translator{}.Begin(t.Context(), turn)
	if err != nil {
		t.Fatal(err)
	}
	up := x.Upstream()
	want := `{"generateContentRequest":{"model":"models/gemini-2.5-flash",` + string(sent.Upstream().Body[1:]) + "}"
	if up.Path != "v1beta/models/gemini-2.5-flash:countTokens" || string(up.Body) != want || up.Stream {
		t.Errorf("got %s %s, want %s", up.Path, up.Body, want)
	}
	d := x.(provider.CountDecoder)
	if n, err := d.DecodeCount(t.Context(), provider.Reply{Status: 200, Body: strings.NewReader(`{"totalTokens":31,"promptTokensDetails":[]}`)}); n != 31 || err != nil {
		t.Errorf("got %d, %v", n, err)
	}
	for body, code := range map[string]apierror.Code{`{}`: apierror.UpstreamFailed, `[`: apierror.UpstreamFailed, `{"totalTokens":"x"}`: apierror.UpstreamFailed} {
		if _, err := d.DecodeCount(t.Context(), provider.Reply{Status: 200, Body: strings.NewReader(body)}); !apierror.Is(err, code) {
			t.Errorf("%s: got %v, want %s", body, err, code)
		}
	}
	if _, err := d.DecodeCount(t.Context(), provider.Reply{Status: 429, Body: strings.NewReader(`{"error":{"code":429}}`)}); !apierror.Is(err, apierror.UpstreamLimited) {
		t.Errorf("got %v", err)
	}
}

func TestEmbed(t *testing.T) {
	t.Parallel()
	turn := provider.Turn{Op: provider.Embed, Model: "gemini-embedding-001", Account: provider.Account{Name: "gemini"}, Embed: &provider.EmbedRequest{Input: []string{"a", "b"}, Dimensions: 2}}
	x, err := translator{}.Begin(t.Context(), turn)
	if err != nil {
		t.Fatal(err)
	}
	up := x.Upstream()
	want := `{"requests":[{"model":"models/gemini-embedding-001","content":{"parts":[{"text":"a"}]},"outputDimensionality":2},{"model":"models/gemini-embedding-001","content":{"parts":[{"text":"b"}]},"outputDimensionality":2}]}`
	if up.Path != "v1beta/models/gemini-embedding-001:batchEmbedContents" || string(up.Body) != want {
		t.Errorf("got %s %s, want %s", up.Path, up.Body, want)
	}
	v, usage, err := x.(provider.EmbedDecoder).DecodeEmbed(t.Context(), provider.Reply{Status: 200, Body: strings.NewReader(`{"embeddings":[{"values":[0.5,-1]},{"values":[1,0]}]}`)})
	if err != nil || usage != nil || len(v) != 2 || !slices.Equal(v[0], []float32{0.5, -1}) || !slices.Equal(v[1], []float32{1, 0}) {
		t.Errorf("got %v, %v, %v", v, usage, err)
	}
	turn.Embed = &provider.EmbedRequest{Input: []string{"a", ""}}
	if _, err := (translator{}).Begin(t.Context(), turn); !apierror.Is(err, apierror.Invalid) || apierror.From(err).Param != "input[1]" {
		t.Errorf("an empty text: got %v", err)
	}
}

// TestBesideTheLanguage: what fronts hand to the translator of their own
// family is nobody else's loss.
func TestBesideTheLanguage(t *testing.T) {
	t.Parallel()
	for members, want := range map[string]string{
		`"anthropic":{"x":1},"openai":{"y":2}`:                              "",
		`"gemini":{"thinking_budget":5000},"reasoning":{"effort":"medium"}`: `{"thinkingConfig":{"thinkingBudget":5000}}`,
		`"gemini":{"thinking_budget":-1},"reasoning":{"summary":"auto"}`:    `{"thinkingConfig":{"includeThoughts":true,"thinkingBudget":-1}}`,
		`"gemini":{"thinking_budget":99999}`:                                `{"thinkingConfig":{"thinkingBudget":24576}}`,
	} {
		body, lost, err := built(t, "gemini-2.5-flash", "", members)
		if err != nil || len(lost) > 0 || string(body["generationConfig"]) != want {
			t.Errorf("%s: got %s, lost %q, %v, want %s", members, body["generationConfig"], lost, err, want)
		}
	}
}

// TestFailedOutput: a function's error is no output.
func TestFailedOutput(t *testing.T) {
	t.Parallel()
	for status, want := range map[string]string{"failed": `{"error":"no such file"}`, "completed": `{"output":"no such file"}`} {
		body, _, err := built(t, "gemini-2.5-flash", "", `"input":[{"role":"user","content":"Hi"},{"type":"function_call","call_id":"c","name":"f","arguments":"{}"},`+
			`{"type":"function_call_output","call_id":"c","output":"no such file","status":"`+status+`"}],"tools":[{"type":"function","name":"f"}]`)
		if err != nil || !strings.Contains(string(body["contents"]), `"response":`+want) {
			t.Errorf("%s: got %s, %v, want %s", status, body["contents"], err, want)
		}
	}
}

// TestManifest: every surface's dialect is declared, and is what the routes of
// the real service are.
func TestManifest(t *testing.T) {
	t.Parallel()
	b, err := json.Marshal(manifest)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/v1beta/models/{model}:generateContent", "/v1beta/models/{model}:streamGenerateContent", "/v1beta/models/{model}:countTokens", "/v1/models/{model}:streamGenerateContent"} {
		if !strings.Contains(string(b), `"path":"`+path+`"`) {
			t.Errorf("no route %s", path)
		}
	}
	if err := manifest.Check(); err != nil {
		t.Error(err)
	}
}
