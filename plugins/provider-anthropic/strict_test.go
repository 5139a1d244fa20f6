package main

import (
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

// strict refuses what the Messages API refuses. It knows nothing of how the
// body was made.
func strict(body []byte) error {
	var m map[string]any
	if err := json.Unmarshal(body, &m); err != nil {
		return err
	}
	if err := keys("body", m, "model", "max_tokens", "system", "messages", "tools", "tool_choice", "thinking", "output_config",
		"temperature", "top_p", "top_k", "stop_sequences", "stream", "metadata", "service_tier"); err != nil {
		return err
	}
	if n := strings.Count(string(body), `"cache_control":{"type":"ephemeral"`); n > 4 {
		return fmt.Errorf("a maximum of 4 blocks with cache_control may be provided, found %d", n)
	}
	limit, _ := m["max_tokens"].(float64)
	if limit < 1 {
		return errors.New("max_tokens: must be at least 1")
	}
	system, _ := m["system"].([]any)
	for _, b := range system {
		if err := strictBlock("system", b.(map[string]any)); err != nil {
			return err
		}
	}
	th, _ := m["thinking"].(map[string]any)
	thinks := th["type"] == "enabled" || th["type"] == "adaptive"
	if budget, _ := th["budget_tokens"].(float64); th["type"] == "enabled" && (budget < 1024 || budget >= limit) {
		return fmt.Errorf("thinking.budget_tokens: %v of %v", budget, limit)
	}
	if thinks && (m["temperature"] != nil || m["top_p"] != nil || m["top_k"] != nil) {
		return errors.New("sampling while thinking")
	}
	if t, _ := m["temperature"].(float64); t < 0 || t > 1 || m["temperature"] != nil && m["top_p"] != nil {
		return errors.New("temperature: out of range, or together with top_p")
	}
	if err := strictTools(m, thinks); err != nil {
		return err
	}
	return strictMessages(m, thinks)
}

func strictTools(m map[string]any, thinks bool) error {
	tools, _ := m["tools"].([]any)
	var names []string
	for _, t := range tools {
		t := t.(map[string]any)
		if err := keys("tool", t, "name", "description", "input_schema", "cache_control"); err != nil {
			return err
		}
		name, _ := t["name"].(string)
		if !regexp.MustCompile(`^[a-zA-Z0-9_-]{1,64}$`).MatchString(name) || slices.Contains(names, name) {
			return fmt.Errorf("tool name %q", name)
		}
		names = append(names, name)
		schema, _ := t["input_schema"].(map[string]any)
		if schema["type"] != "object" || schema["anyOf"] != nil || schema["oneOf"] != nil || schema["allOf"] != nil {
			return fmt.Errorf("tool %q: input_schema %v", name, schema)
		}
	}
	choice, ok := m["tool_choice"].(map[string]any)
	if !ok {
		return nil
	}
	typ, _ := choice["type"].(string)
	switch {
	case len(names) == 0:
		return errors.New("tool_choice without tools")
	case !slices.Contains([]string{"auto", "any", "tool", "none"}, typ), typ == "none" && choice["disable_parallel_tool_use"] != nil:
		return fmt.Errorf("tool_choice %v", choice)
	case typ == "tool" && !slices.Contains(names, choice["name"].(string)):
		return fmt.Errorf("tool_choice names %v", choice["name"])
	case thinks && (typ == "any" || typ == "tool"):
		return errors.New("a forced call while thinking")
	}
	return nil
}

func strictMessages(m map[string]any, thinks bool) error {
	messages, _ := m["messages"].([]any)
	var pending []string // ids of the calls in the message before
	ids := map[string]bool{}
	loopBegins := false // the message that began the tool loop begins with thinking
	inLoop := false
	for i, raw := range messages {
		msg := raw.(map[string]any)
		if err := keys("message", msg, "role", "content"); err != nil {
			return err
		}
		want := []string{"user", "assistant"}[i%2]
		if msg["role"] != want {
			return fmt.Errorf("messages.%d: role %v, want %s", i, msg["role"], want)
		}
		content, _ := msg["content"].([]any)
		if len(content) == 0 {
			return fmt.Errorf("messages.%d: empty", i)
		}
		var calls, results []string
		for j, raw := range content {
			b := raw.(map[string]any)
			at := fmt.Sprintf("messages.%d.content.%d", i, j)
			if err := strictBlock(at, b); err != nil {
				return err
			}
			typ := b["type"].(string)
			ours := []string{"text", "image", "document", "tool_result"}
			if want == "assistant" {
				ours = []string{"text", "tool_use", "thinking", "redacted_thinking"}
			}
			if !slices.Contains(ours, typ) {
				return fmt.Errorf("%s: %s on the side of the %s", at, typ, want)
			}
			isThought := strings.HasSuffix(typ, "thinking")
			switch {
			case typ == "tool_use":
				id := b["id"].(string)
				if ids[id] {
					return fmt.Errorf("%s: id %q twice", at, id)
				}
				ids[id] = true
				calls = append(calls, id)
			case typ == "tool_result":
				if j != len(results) {
					return fmt.Errorf("%s: a result after something else", at)
				}
				results = append(results, b["tool_use_id"].(string))
			case isThought && j == len(content)-1:
				return fmt.Errorf("%s: thinking ends the message", at)
			case isThought && !thinks && m["thinking"] != nil:
				return fmt.Errorf("%s: thinking that was switched off", at)
			}
			if want == "assistant" && j == 0 && !inLoop {
				loopBegins = isThought
			}
		}
		if want == "assistant" {
			inLoop = true
		} else {
			if !slices.Equal(pending, results) {
				return fmt.Errorf("messages.%d: results %v for calls %v", i, results, pending)
			}
			inLoop = len(results) > 0 && len(results) == len(content)
			if thinks && i == len(messages)-1 && len(results) > 0 && th(m) == "enabled" && !loopBegins {
				return errors.New("a loop that does not begin with thinking")
			}
		}
		pending = calls
	}
	if len(messages)%2 == 0 {
		return errors.New("the user must speak last")
	}
	return nil
}

func th(m map[string]any) any { return m["thinking"].(map[string]any)["type"] }

// strictBlock checks the members of a block.
func strictBlock(at string, b map[string]any) error {
	allowed := map[string][]string{
		"text": {"text", "cache_control"}, "image": {"source", "cache_control"}, "document": {"source", "title", "cache_control"}, "tool_use": {"id", "name", "input", "cache_control"},
		"tool_result": {"tool_use_id", "content", "is_error", "cache_control"}, "thinking": {"thinking", "signature"}, "redacted_thinking": {"data"},
	}
	typ, _ := b["type"].(string)
	if err := keys(at, b, append([]string{"type"}, allowed[typ]...)...); err != nil || allowed[typ] == nil {
		return fmt.Errorf("%s: block %q: %w", at, typ, err)
	}
	switch typ {
	case "text":
		if s, _ := b["text"].(string); strings.TrimSpace(s) == "" {
			return fmt.Errorf("%s: text must be non-blank", at)
		}
	case "tool_use":
		if _, ok := b["input"].(map[string]any); !ok || !regexp.MustCompile(`^[a-zA-Z0-9_-]+$`).MatchString(b["id"].(string)) {
			return fmt.Errorf("%s: tool_use %v", at, b)
		}
	case "thinking":
		if s, _ := b["signature"].(string); s == "" || b["thinking"] == nil || strings.HasPrefix(s, "sp1.") {
			return fmt.Errorf("%s: thinking %v", at, b)
		}
	case "tool_result":
		if c, ok := b["content"]; ok {
			parts, _ := c.([]any)
			if len(parts) == 0 {
				return fmt.Errorf("%s: empty content", at)
			}
			for _, p := range parts {
				if err := strictBlock(at, p.(map[string]any)); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func keys(at string, m map[string]any, allowed ...string) error {
	for k := range m {
		if !slices.Contains(allowed, k) {
			return fmt.Errorf("%s.%s: Extra inputs are not permitted", at, k)
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

var models = []string{"claude-sonnet-4-5", "claude-3-5-haiku-20241022", "claude-opus-4-6", "claude-opus-5", "claude-mythos-preview"}

// begin makes the body for a request; nil when it is no request or refused as
// one of the client's mistakes.
func begin(t testing.TB, model string, request []byte) *provider.Upstream {
	r, err := or.ParseRequest(request)
	if err != nil {
		return nil
	}
	x, err := translator{}.Begin(context.Background(), provider.Turn{Op: provider.Generate, Model: model, Account: provider.Account{Name: "anthropic"}, Request: r})
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
				if err := strict(up.Body); err != nil {
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
		if err := strict(up.Body); err != nil {
			t.Fatalf("%s: %v\nbody %s", model, err, up.Body)
		}
		if again := begin(t, model, request); string(again.Body) != string(up.Body) || !slices.Equal(again.Lost, up.Lost) {
			t.Fatalf("the same request gives\n%s %q and\n%s %q", up.Body, up.Lost, again.Body, again.Lost)
		}
	})
}
