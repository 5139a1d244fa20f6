package main

import (
	"slices"
	"strings"
	"testing"

	or "github.com/sallyport-gateway/sallyport/sdk/openresponses"
)

func TestEffort(t *testing.T) {
	t.Parallel()
	tests := []struct {
		model, server string
		want          string // for none, minimal, low, medium, high, xhigh
		lost          bool   // for one of them
	}{
		{model: "gpt-5.2", want: "none low low medium high xhigh"},
		{model: "openai/gpt-5.4-mini", want: "none low low medium high xhigh"},
		{model: "gpt-6", want: "none low low medium high xhigh"},
		{model: "gpt-5.2-pro", want: "medium medium medium medium high xhigh"},
		{model: "gpt-5.3-codex", want: "low low low medium high xhigh"},
		{model: "gpt-5.1", want: "none low low medium high high"},
		{model: "gpt-5.1-codex", want: "low low low medium high high"},
		{model: "gpt-5.1-codex-max", want: "low low low medium high xhigh"},
		{model: "gpt-5", want: "minimal minimal low medium high high"},
		{model: "gpt-5-mini-2025-08-07", want: "minimal minimal low medium high high"},
		{model: "gpt-5-codex", want: "low low low medium high high"},
		{model: "gpt-5-pro", want: "high high high high high high"},
		{model: "o3", want: "low low low medium high high"},
		{model: "my-deployment", want: "low low low medium high high"},
		{model: "gpt-4.1", want: "     ", lost: true},
		{model: "qwen3", server: "compatible", want: " low low medium high high", lost: true},
	}
	for _, tt := range tests {
		var got []string
		var e encoder
		for _, w := range efforts {
			r := or.Request{Reasoning: &or.Reasoning{Effort: w}}
			e = encoder{request: &r, model: tt.model, settings: settings{Server: tt.server}, lost: e.lost}
			got = append(got, e.effort())
		}
		if s := strings.Join(got, " "); s != tt.want || (len(e.lost) > 0) != tt.lost {
			t.Errorf("%s %s: %q, lost %q, want %q, lost %t", tt.model, tt.server, s, e.lost, tt.want, tt.lost)
		}
	}
}

func TestSessionKey(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("k", 80)
	tests := []struct {
		rule, own string
		carry     map[string][]string
		want      string
	}{
		{rule: "the client's own key", own: "k", carry: map[string][]string{"Session-Id": {"s"}}, want: "k"},
		{rule: "a header", carry: map[string][]string{"Session-Id": {"s"}}, want: "s"},
		{rule: "the underscore of an older Codex", carry: map[string][]string{"Session_id": {"s"}}, want: "s"},
		{rule: "none"},
		{rule: "a long one is cut to what is always the same", own: long, want: key64(long)},
	}
	for _, tt := range tests {
		e := encoder{request: &or.Request{PromptCacheKey: tt.own}, carry: tt.carry}
		if got := e.sessionKey(); got != tt.want || len(got) > maxKey {
			t.Errorf("%s: %q, want %q", tt.rule, got, tt.want)
		}
	}
	if key64(long) == key64(long+"x") {
		t.Error("two long keys became one")
	}
}

func TestCustomInput(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		`{"input":"a\nb"}`:             "a\nb",
		`{"input":"a","other":"b"}`:    "a",
		`{"patch":"a"}`:                "a",
		`{"a":"1","b":"2"}`:            `{"a":"1","b":"2"}`,
		`"a"`:                          "a",
		`*** Begin Patch`:              "*** Begin Patch",
		`{"input":{"a":1}}`:            `{"input":{"a":1}}`,
		customArguments("\"\\\u2028é"): "\"\\\u2028é",
		``:                             "",
	} {
		if got := customInput(in); got != want {
			t.Errorf("customInput(%s) = %q, want %q", in, got, want)
		}
	}
}

func TestToolNames(t *testing.T) {
	t.Parallel()
	box := newToolbox()
	declared := []clientTool{
		{name: "f"}, {name: "c", namespace: "a__b"}, {name: "b__c", namespace: "a"}, {name: "c", namespace: "a_b"}, {name: "x.y"},
		{name: strings.Repeat("n", 100)}, {name: "c", namespace: "a__b", custom: true},
	}
	for _, d := range declared {
		if !box.add(d, or.Tool{}) {
			t.Errorf("%v was not declared", d)
		}
	}
	if box.add(clientTool{name: "f"}, or.Tool{}) {
		t.Error("the same tool was declared twice")
	}
	var names []string
	for i, tool := range box.tools {
		if !or.ValidName(tool.Name) || slices.Contains(names, tool.Name) {
			t.Errorf("the name %q of %v is not valid, or not its own", tool.Name, declared[i])
		}
		names = append(names, tool.Name)
		if got := box.find(tool.Name); got != declared[i] {
			t.Errorf("%q is %v, want %v", tool.Name, got, declared[i])
		}
		if d := declared[i]; !d.custom && box.called(d.namespace, d.name) != tool.Name {
			t.Errorf("the history calls %v by %q, want %q", d, box.called(d.namespace, d.name), tool.Name)
		}
	}
}
