package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	or "github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

// strict refuses what generateContent refuses for a model. It knows nothing of
// how the body was made.
func strict(model string, body []byte) error {
	var g map[string]any
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if err := d.Decode(&g); err != nil {
		return err
	}
	if err := keys("body", g, "systemInstruction", "contents", "tools", "toolConfig", "safetySettings", "generationConfig"); err != nil {
		return err
	}
	if s, ok := g["systemInstruction"].(map[string]any); ok {
		for _, p := range s["parts"].([]any) {
			if err := strictPart("systemInstruction", p.(map[string]any)); err != nil {
				return err
			}
		}
	}
	hasTools, err := strictTools(g)
	if err != nil {
		return err
	}
	c, _ := g["generationConfig"].(map[string]any)
	if err := keys("generationConfig", c, "temperature", "topP", "topK", "maxOutputTokens", "stopSequences", "presencePenalty", "frequencyPenalty", "responseMimeType", "responseJsonSchema", "thinkingConfig"); err != nil {
		return err
	}
	three := strings.HasPrefix(model, "gemini-3")
	th, thinks := c["thinkingConfig"].(map[string]any)
	stops, _ := c["stopSequences"].([]any)
	switch {
	case hasTools && !three && c["responseMimeType"] != nil:
		return errors.New("function calling with a response mime type is unsupported")
	case c["responseJsonSchema"] != nil && c["responseMimeType"] != "application/json":
		return errors.New("a schema without its mime type")
	case len(stops) > 5:
		return errors.New("too many stop sequences")
	case thinks && strings.HasPrefix(model, "gemini-1"):
		return errors.New("this model does not think")
	case th["thinkingLevel"] != nil && (!three || th["thinkingBudget"] != nil), th["thinkingBudget"] != nil && three:
		return fmt.Errorf("thinkingConfig %v for %s", th, model)
	case th["thinkingBudget"] == json.Number("0") && strings.Contains(model, "pro"):
		return errors.New("this model only works in thinking mode")
	case three && strings.Contains(model, "3-pro") && (th["thinkingLevel"] == "MINIMAL" || th["thinkingLevel"] == "MEDIUM"):
		return fmt.Errorf("thinking level %v is not supported", th["thinkingLevel"])
	}
	return strictContents(g["contents"].([]any), three)
}

var functionName = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_.:-]{0,63}$`)

func strictTools(g map[string]any) (bool, error) {
	var names []string
	tools, _ := g["tools"].([]any)
	for _, t := range tools {
		t := t.(map[string]any)
		if err := keys("tool", t, "functionDeclarations"); err != nil {
			return false, err
		}
		for _, f := range t["functionDeclarations"].([]any) {
			f := f.(map[string]any)
			if err := keys("functionDeclaration", f, "name", "description", "parametersJsonSchema"); err != nil {
				return false, err
			}
			name, _ := f["name"].(string)
			if !functionName.MatchString(name) || slices.Contains(names, name) || f["description"] == "" {
				return false, fmt.Errorf("function %v", f)
			}
			names = append(names, name)
			if s, ok := f["parametersJsonSchema"]; ok && s.(map[string]any)["type"] != "object" {
				return false, fmt.Errorf("function %q: parameters %v", name, s)
			}
		}
	}
	config, ok := g["toolConfig"].(map[string]any)
	if !ok {
		return len(names) > 0, nil
	}
	calling := config["functionCallingConfig"].(map[string]any)
	allowed, _ := calling["allowedFunctionNames"].([]any)
	switch {
	case len(names) == 0:
		return false, errors.New("toolConfig without tools")
	case !slices.Contains([]any{"AUTO", "ANY", "NONE"}, calling["mode"]):
		return false, fmt.Errorf("mode %v", calling["mode"])
	case len(allowed) > 0 && calling["mode"] != "ANY":
		return false, errors.New("allowedFunctionNames without ANY")
	}
	for _, a := range allowed {
		if !slices.Contains(names, a.(string)) {
			return false, fmt.Errorf("allowed function %v is not declared", a)
		}
	}
	return true, nil
}

// strictContents wants alternating turns, and after each turn with calls as
// many responses, in the same order, with the same names and ids. With three
// the first call of each turn since the user spoke must be signed.
func strictContents(contents []any, three bool) error {
	var pending []string
	spoke := 0 // where the user spoke last
	for i, c := range contents {
		for _, p := range c.(map[string]any)["parts"].([]any) {
			if p := p.(map[string]any); i%2 == 0 && p["text"] != nil {
				spoke = i
			}
		}
	}
	for i, raw := range contents {
		c := raw.(map[string]any)
		if err := keys("content", c, "role", "parts"); err != nil {
			return err
		}
		if want := []string{"user", "model"}[i%2]; c["role"] != want {
			return fmt.Errorf("contents[%d].role is %v, want %s", i, c["role"], want)
		}
		parts, _ := c["parts"].([]any)
		if len(parts) == 0 {
			return fmt.Errorf("contents[%d].parts must not be empty", i)
		}
		var calls, responses []string
		for j, raw := range parts {
			p, at := raw.(map[string]any), fmt.Sprintf("contents[%d].parts[%d]", i, j)
			if err := strictPart(at, p); err != nil {
				return err
			}
			if f, ok := p["functionCall"].(map[string]any); ok {
				if err := keys(at, f, "id", "name", "args"); err != nil {
					return err
				}
				if _, object := f["args"].(map[string]any); !object || !functionName.MatchString(f["name"].(string)) {
					return fmt.Errorf("%s: %v", at, f)
				}
				if three && len(calls) == 0 && i > spoke && p["thoughtSignature"] == nil {
					return fmt.Errorf("%s: function call is missing a thought_signature", at)
				}
				calls = append(calls, fmt.Sprint(f["name"], "/", f["id"]))
			}
			if f, ok := p["functionResponse"].(map[string]any); ok {
				if err := keys(at, f, "id", "name", "response"); err != nil {
					return err
				}
				responses = append(responses, fmt.Sprint(f["name"], "/", f["id"]))
			}
			if i%2 == 1 && (p["inlineData"] != nil || p["fileData"] != nil || p["functionResponse"] != nil) || i%2 == 0 && (p["functionCall"] != nil || p["thought"] != nil || p["thoughtSignature"] != nil) {
				return fmt.Errorf("%s: %v on the wrong side", at, p)
			}
		}
		if i%2 == 0 && !slices.Equal(pending, responses) {
			return fmt.Errorf("contents[%d]: responses %v for calls %v", i, responses, pending)
		}
		pending = calls
	}
	if len(contents)%2 == 0 {
		return errors.New("the user must speak last")
	}
	return nil
}

func strictPart(at string, p map[string]any) error {
	if err := keys(at, p, "text", "inlineData", "fileData", "functionCall", "functionResponse", "thought", "thoughtSignature"); err != nil {
		return err
	}
	kinds := 0
	for _, k := range []string{"text", "inlineData", "fileData", "functionCall", "functionResponse"} {
		if p[k] != nil {
			kinds++
		}
	}
	if s, isText := p["text"].(string); kinds != 1 || isText && s == "" {
		return fmt.Errorf("%s: %v must be exactly one thing", at, p)
	}
	if s, _ := p["thoughtSignature"].(string); strings.HasPrefix(s, "sp1.") {
		return fmt.Errorf("%s: Thought signature is not valid", at)
	}
	return nil
}

func keys(at string, m map[string]any, allowed ...string) error {
	for k := range m {
		if !slices.Contains(allowed, k) {
			return fmt.Errorf("unknown name %q at %s", k, at)
		}
	}
	return nil
}

// requests are the requests of the golden dialogues.
func requests(t testing.TB) []string {
	paths, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no dialogues: %v", err)
	}
	var out []string
	for _, p := range paths {
		b, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(b), "-- request --\n")
		request, _, _ := strings.Cut(rest, "\n-- ")
		out = append(out, request)
	}
	return out
}

var models = []string{"gemini-2.5-flash", "gemini-2.5-pro", "gemini-1.5-flash", "gemini-3-pro-preview", "gemini-3.1-pro-preview", "gemini-3-flash-preview"}

// begin makes the body for a request; nil when it is no request or refused as
// one of the client's mistakes.
func begin(t testing.TB, model string, request []byte) *provider.Upstream {
	r, err := or.ParseRequest(request)
	if err != nil {
		return nil
	}
	x, err := translator{}.Begin(context.Background(), provider.Turn{Op: provider.Generate, Model: model, Account: provider.Account{Name: "gemini"}, Request: r})
	if err != nil {
		if c := apierror.CodeOf(err); c != apierror.Invalid && c != apierror.Unsupported {
			t.Errorf("%s: %v has the code %s", request, err, c)
		}
		return nil
	}
	return x.Upstream()
}

func TestStrict(t *testing.T) {
	t.Parallel()
	for _, model := range models {
		for _, r := range requests(t) {
			if up := begin(t, model, []byte(r)); up != nil {
				if err := strict(model, up.Body); err != nil {
					t.Errorf("%s: %v\nrequest %s\nbody %s", model, err, r, up.Body)
				}
			}
		}
	}
}

// FuzzBegin: whatever the client says, the provider gets a body that it takes,
// and the same one each time.
func FuzzBegin(f *testing.F) {
	for i, r := range requests(f) {
		f.Add(i, []byte(r))
	}
	f.Fuzz(func(t *testing.T, which int, request []byte) {
		model := models[((which%len(models))+len(models))%len(models)]
		up := begin(t, model, request)
		if up == nil {
			return
		}
		if err := strict(model, up.Body); err != nil {
			t.Fatalf("%s: %v\nbody %s", model, err, up.Body)
		}
		if again := begin(t, model, request); string(again.Body) != string(up.Body) || !slices.Equal(again.Lost, up.Lost) {
			t.Fatalf("the same request gives\n%s %q and\n%s %q", up.Body, up.Lost, again.Body, again.Lost)
		}
	})
}
