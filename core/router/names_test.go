package router

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/sallyport-gateway/sallyport/core/access"
	"github.com/sallyport-gateway/sallyport/core/egress"
	"github.com/sallyport-gateway/sallyport/core/usage"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

func TestMatch(t *testing.T) {
	t.Parallel()
	tests := []struct {
		pattern, name string
		want          bool
	}{
		{"a", "a", true}, {"a", "b", false}, {"*", "", true}, {"*", "x", true}, {"a*", "abc", true}, {"a*", "ba", false},
		{"*c", "abc", true}, {"*c", "abd", false}, {"a*c", "ac", true}, {"a*c", "abbc", true}, {"a*c", "a", false},
		{"ab*ba", "aba", false}, {"a*b*c", "axbxc", true}, {"a*b*c", "axcxb", false}, {"a**b", "ab", true},
		{"claude-*-4-5", "claude-sonnet-4-5", true}, {"claude-*-4-5", "claude-sonnet-4-6", false},
	}
	for _, tt := range tests {
		if got := match(tt.pattern, tt.name); got != tt.want {
			t.Errorf("match(%q, %q) = %t, want %t", tt.pattern, tt.name, got, tt.want)
		}
	}
}

func named(aliases ...string) Model {
	return Model{Destinations: []Destination{{Provider: "p", Model: "x"}}, Aliases: aliases}
}

func namesConfig() Config {
	return Config{
		Providers: map[string]Provider{"p": {Translator: "offline"}},
		Models: map[string]Model{
			"databricks-claude": named("claude-haiku-4-5", "claude-*", "Sonnet"),
			"databricks-gpt":    named("gpt-*"),
			"databricks-gpt-5":  named("gpt-5*"),
			"secret-model":      named("hidden-alias"),
		},
	}
}

func TestFind(t *testing.T) {
	t.Parallel()
	b := newBench(t, namesConfig(), plugins{"offline": &lines{}})
	tests := []struct{ in, want string }{
		{"databricks-claude", "databricks-claude"},
		{"Databricks-Claude", "databricks-claude"},
		{"system.ai.databricks-claude", "databricks-claude"},
		{"databricks-claude[1m]", "databricks-claude"},
		{"system.ai.databricks-claude[1m]", "databricks-claude"},
		{"claude-haiku-4-5", "databricks-claude"},
		{"claude-opus-9[1m]", "databricks-claude"},
		{"sonnet", "databricks-claude"},
		{"gpt-4", "databricks-gpt"},
		{"gpt-5.2", "databricks-gpt-5"}, // the longest pattern
		{"main.ai.databricks-claude", ""},
		{"databricks-claude[2m]", ""},
		{"claude", ""},
		{"", ""},
	}
	for _, tt := range tests {
		got := ""
		if m := b.find(canonical(tt.in)); m != nil {
			got = m.name
		}
		if got != tt.want {
			t.Errorf("find(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	acc := newAccess(t, access.Grant{To: "mallory", Privileges: []string{"EXECUTE"}, On: "model databricks-gpt-5"}, everyModel)
	out, err := egress.New(egress.Config{})
	if err != nil {
		t.Fatal(err)
	}
	r, err := New(namesConfig(), plugins{"offline": &lines{}}, out, acc, nil, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	narrow := func(scopes ...string) *access.Principal {
		return &access.Principal{Name: "alice", Kind: access.KindUser, Scopes: scopes}
	}
	tests := []struct {
		p     *access.Principal
		model string
		code  apierror.Code
		msg   string
		not   string
	}{
		{p: alice, model: "databricks-claude"},
		{p: alice, model: "claude-opus[1m]"},
		{p: root, model: "secret-model"},
		{p: mallory, model: "databricks-gpt-5"},
		{p: mallory, model: "gpt-5-mini"},
		{p: narrow("model-serving"), model: "databricks-gpt"},
		{p: narrow("ai-gateway"), model: "databricks-gpt"},
		{p: narrow("unity-catalog"), model: "databricks-gpt", code: apierror.Denied, msg: "Invalid scope, required scopes: ai-gateway"},
		{p: narrow(), model: "databricks-gpt", code: apierror.Denied, msg: "Invalid scope"},
		{p: nil, model: "databricks-gpt", code: apierror.Denied, msg: "Invalid scope"},
		{p: alice, model: "", code: apierror.Invalid, msg: "such as databricks-claude"},
		{p: mallory, model: "databricks-gpt", code: apierror.Denied, msg: `Did you mean "databricks-gpt-5"?`},
		{p: mallory, model: "secret-model", code: apierror.Denied, msg: "EXECUTE", not: "Did you mean"},
		{p: mallory, model: "hidden-alias", code: apierror.Denied, msg: "system.ai.hidden-alias", not: "secret-model"},
		{p: mallory, model: "secret-mode", code: apierror.Denied, not: `"secret-model"`},
		{p: root, model: "secret-mode", code: apierror.NotFound, msg: "secret-model"},
		{p: alice, model: "databricks-cluade", code: apierror.NotFound, msg: "databricks-claude"},
	}
	for _, tt := range tests {
		name := "nobody"
		if tt.p != nil {
			name = tt.p.Name
		}
		err := r.Check(tt.p, tt.model)
		if apierror.CodeOf(err) != tt.code {
			t.Errorf("Check(%s, %q) = %v of code %q, want %q", name, tt.model, err, apierror.CodeOf(err), tt.code)
			continue
		}
		if err == nil {
			continue
		}
		if !strings.Contains(err.Error(), tt.msg) || tt.not != "" && strings.Contains(err.Error(), tt.not) {
			t.Errorf("Check(%s, %q) = %q, want it with %q and without %q", name, tt.model, err, tt.msg, tt.not)
		}
		e := apierror.From(err)
		if !strings.Contains(tt.msg, "scope") && e.Param != "model" {
			t.Errorf("Check(%s, %q): param = %q, want model", name, tt.model, e.Param)
		}
		if strings.Count(e.Message, "Did you mean") > 1 {
			t.Errorf("Check(%s, %q): two suggestions: %q", name, tt.model, e.Message)
		}
	}
	// A model that is hidden and one that does not exist read the same.
	hidden, absent := r.Check(mallory, "secret-model"), r.Check(mallory, "nobody-model")
	if a, b := strings.ReplaceAll(hidden.Error(), "secret-model", "X"), strings.ReplaceAll(absent.Error(), "nobody-model", "X"); a != b {
		t.Errorf("hidden: %q\nabsent: %q\nwant the same words", a, b)
	}

	var list []string
	for _, m := range r.Models(mallory) {
		list = append(list, m.Name)
	}
	if fmt.Sprint(list) != "[databricks-gpt-5]" {
		t.Errorf("Models(mallory) = %v, want the one she may use", list)
	}
	if got := r.Models(narrow("apps")); len(got) != 0 {
		t.Errorf("Models without the scope = %v, want none", got)
	}
	if got := len(r.Models(root)); got != 4 {
		t.Errorf("Models(root) has %d, want 4", got)
	}
}

// What Check refuses Generate refuses, before the translator is asked, and
// without a record: no call was made.
func TestGenerateChecks(t *testing.T) {
	t.Parallel()
	b := newBench(t, offline(1), plugins{"offline": &lines{begin: func(_ context.Context, _ provider.Turn) error { panic("called") }}})
	got := collect(b.Generate(t.Context(), mallory, ask("m")))
	if got.err == nil || got.err.Code != apierror.Denied || got.events != "" {
		t.Errorf("got %+v, want one error Denied", got)
	}
	if len(b.records) != 0 {
		t.Errorf("record = %+v, want none", <-b.records)
	}
	deep := ask("m")
	deep.Header = map[string][]string{egress.DepthHeader: {"3"}}
	if got := collect(b.Generate(t.Context(), alice, deep)); got.err == nil || got.err.Code != apierror.Invalid || !strings.Contains(got.err.Message, "passed 3 gateways") {
		t.Errorf("got %+v, want the loop refused", got)
	}
	if rec := <-b.records; rec.status != usage.Refused || len(rec.attempts) != 0 || rec.usage.Total() != 0 {
		t.Errorf("record = %+v, want a refused one without attempts or tokens", rec)
	}
}
