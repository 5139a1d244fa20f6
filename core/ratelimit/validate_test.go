package ratelimit

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

// parsed reads a configuration as the gateway's file has it.
func parsed(text string) (Config, error) {
	var file struct {
		Models  map[string]struct{ Limits []Limit } `yaml:"models"`
		Budgets []Budget                            `yaml:"budgets"`
	}
	if err := yaml.NewDecoder(strings.NewReader(text), yaml.Strict()).Decode(&file); err != nil {
		return Config{}, err
	}
	cfg := Config{Models: map[string][]Limit{}, Budgets: file.Budgets, Known: []string{"m", "databricks-gpt-5-2"}}
	for name, m := range file.Models {
		cfg.Models[name] = m.Limits
	}
	return cfg, nil
}

func TestValidate(t *testing.T) {
	t.Parallel()
	limit := func(text string) string { return "models: {m: {limits: [" + text + "]}}" }
	budget := func(text string) string { return "budgets: [" + text + "]" }
	many := func(n int, text string) string { return limit(strings.TrimSuffix(strings.Repeat(text+", ", n), ", ")) }
	tests := []struct{ text, want string }{ // "" is fine
		{limit(`{each: user, requests: 60, tokens: 400000, per: minute, count: [input, output, cache_write]}, {of: group analysts, tokens: 2000000, per: hour}`), ""},
		{limit(`{requests: 1, per: hour}, {each: service_principal, requests: 1, per: hour}, {each: principal, requests: 1, per: hour}, {of: user a b, requests: 1, per: hour}, {of: service_principal x, tokens: 1, per: hour, reserve: max}`), ""},
		{limit(`{each: tag team, requests: 1, per: hour}, {of: tag team=a=b, requests: 1, per: hour}, {of: "tag team=", requests: 1, per: hour}, {op: count_tokens, requests: 1, per: minute}`), ""},
		{limit(`{each: user, requests: 1, per: minute}, {each: user, tokens: 1, per: minute}, {each: user, requests: 1, per: hour}, {each: user, tokens: 1, per: minute, count: [output]}`), ""},
		{budget(`{each: user, usd: 300, per: month, alert: [80, 100], then: block}, {of: group g, usd: 0.5, per: day, then: alert, webhook: {url: "https://h.example.com/x?y=z"}}, {each: model, usd: 1, per: week, alert: []}, {of: model databricks-gpt-5-2, usd: 1, per: week}`), ""},

		{limit(`{each: user, of: user x, requests: 1, per: hour}`), "models.m.limits[0]: has both each and of"},
		{limit(`{each: users, requests: 1, per: hour}`), `models.m.limits[0].each: "users" is not one of user, service_principal, principal, "tag NAME"; did you mean "user"?`},
		{limit(`{each: group g, requests: 1, per: hour}`), `write it as of: "group NAME"`},
		{limit(`{each: tag, requests: 1, per: hour}`), `models.m.limits[0].each: "tag" is not one of`},
		{limit(`{of: group, requests: 1, per: hour}`), `models.m.limits[0].of: "group" is not of the form`},
		{limit(`{of: tag team, requests: 1, per: hour}`), `models.m.limits[0].of: "tag team" is not of the form`},
		{limit(`{of: tag =a, requests: 1, per: hour}`), `models.m.limits[0].of`},
		{limit(`{of: team x, requests: 1, per: hour}`), `models.m.limits[0].of`},
		{limit(`{each: user, per: hour}`), "models.m.limits[0]: needs requests or tokens"},
		{limit(`{each: user, requests: -1, per: hour}`), "models.m.limits[0]: needs requests or tokens"},
		{limit(`{each: user, requests: 1, tokens: -1, per: hour}`), "models.m.limits[0]: needs requests or tokens"},
		{limit(`{each: user, requests: 1000000000001, per: hour}`), "models.m.limits[0]: requests and tokens are at most 1000000000000"},
		{limit(`{each: user, requests: 1, per: minutes}`), `models.m.limits[0].per: "minutes" is not one of minute, hour; did you mean "minute"?`},
		{limit(`{each: user, requests: 1}`), `models.m.limits[0].per: "" is not one of minute, hour`},
		{limit(`{each: user, requests: 1, per: hour, count: [input]}`), "models.m.limits[0].count: says which tokens count, but tokens is not set"},
		{limit(`{each: user, tokens: 1, per: hour, count: [input, outputs]}`), `models.m.limits[0].count[1]: "outputs" is not one of input, output, cache_read, cache_write, cache_write_1h, reasoning; did you mean "output"?`},
		{limit(`{each: user, tokens: 1, per: hour, reserve: min}`), `models.m.limits[0].reserve: "min" is not one of max`},
		{limit(`{each: user, requests: 1, per: hour, reserve: max}`), "models.m.limits[0].reserve: says how many tokens are held"},
		{limit(`{each: user, tokens: 1, per: hour, op: count_tokens}`), "models.m.limits[0].tokens: a call that counts tokens uses none"},
		{limit(`{each: user, requests: 1, per: hour, op: embed}`), `models.m.limits[0].op: "embed" is not one of count_tokens`},
		{limit(`{each: user, requests: 1, per: hour}, {each: user, requests: 9, per: hour}`), "models.m.limits[1]: limits the same as models.m.limits[0]"},
		{many(21, `{each: user, requests: 1, per: hour}`), "models.m.limits: 21 limits; a model has at most 20"},
		{many(6, `{of: group g, requests: 1, per: hour}`), "models.m.limits: 6 limits of groups; a model has at most 5"},

		{budget(`{usd: 1, per: day}`), "budgets[0]: needs exactly one of each"},
		{budget(`{each: user, of: user x, usd: 1, per: day}`), "budgets[0]: needs exactly one of each"},
		{budget(`{each: usr, usd: 1, per: day}`), `budgets[0].each: "usr" is not one of user, service_principal, principal, group, model; did you mean "user"?`},
		{budget(`{of: principal x, usd: 1, per: day}`), `budgets[0].of: "principal x" is not of the form`},
		{budget(`{of: user, usd: 1, per: day}`), `budgets[0].of: "user" is not of the form`},
		{budget(`{of: model databricks-gpt-5-3, usd: 1, per: day}`), `budgets[0].of: there is no model "databricks-gpt-5-3"; did you mean "databricks-gpt-5-2"?`},
		{budget(`{each: user, per: day}`), "budgets[0].usd: must be above 0"},
		{budget(`{each: user, usd: .nan, per: day}`), "budgets[0].usd: must be above 0"},
		{budget(`{each: user, usd: .inf, per: day}`), "budgets[0].usd: +Inf is more than 1000000"},
		{budget(`{each: user, usd: 0.0000001, per: day}`), "budgets[0].usd: 0.0000001 has more than 6 digits behind the point"},
		{budget(`{each: user, usd: 1, per: year}`), `budgets[0].per: "year" is not one of day, week, month`},
		{budget(`{each: user, usd: 1, per: day, then: blok}`), `budgets[0].then: "blok" is not one of block, alert; did you mean "block"?`},
		{budget(`{each: user, usd: 1, per: day, alert: [50, 101, 0]}`), "budgets[0].alert[1]: 101 is not a percentage from 1 to 100\nbudgets[0].alert[2]: 0 is"},
		{budget(`{each: user, usd: 1, per: day, webhook: {}}`), "budgets[0].webhook.url: is missing"},
		{budget(`{each: user, usd: 1, per: day, webhook: {url: "ftp://secret@x"}}`), "budgets[0].webhook.url: is not an http or https URL"},
	}
	for _, tt := range tests {
		cfg, err := parsed(tt.text)
		if err != nil {
			t.Errorf("%s: %v", tt.text, err)
			continue
		}
		err = cfg.Validate()
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s:\n got %v\nwant %s", tt.text, err, tt.want)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the URL is repeated", tt.text)
		}
		s, err2 := New(cfg, quiet, Options{})
		if (err2 == nil) != (err == nil) {
			t.Errorf("%s: New: %v", tt.text, err2)
		}
		if err2 == nil {
			s.Close()
		}
	}
}

// FuzzConfig: what is found to be in order can be put in force, counts, says how
// it stands, and refuses with texts that end.
func FuzzConfig(f *testing.F) {
	f.Add([]byte("models: {m: {limits: [{each: user, requests: 6, tokens: 400, per: minute, count: [input, output, cache_write]}, {of: group g, tokens: 2000, per: hour, reserve: max}]}}\nbudgets: [{each: user, usd: 0.3, per: month, alert: [80, 100], then: block}]"), int64(100), int64(20))
	f.Add([]byte("models: {m: {limits: [{requests: 1, per: hour}, {each: tag team, requests: 2, per: minute}, {of: tag team=a, tokens: 2, per: minute}, {op: count_tokens, requests: 1, per: hour}]}}"), int64(0), int64(0))
	f.Add([]byte("budgets: [{of: model m, usd: 1, per: week}, {each: group, usd: 2, per: day, then: alert}]"), int64(-5), int64(1<<62))
	f.Fuzz(func(t *testing.T, text []byte, in, out int64) {
		if len(text) > 4096 || bytes.Count(text, []byte("*")) > 0 { // aliases only cost time
			return
		}
		cfg, err := parsed(string(text))
		if err != nil || cfg.Validate() != nil {
			return
		}
		c := newClock()
		s, err := New(cfg, quiet, c.options())
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		defer s.Close()
		callers := []Caller{{Name: "ana", Groups: []string{"g", "h"}, Tags: map[string]string{"team": "a"}}, {Name: "etl", ServicePrincipal: true}}
		for i := range 40 {
			q := Request{Op: provider.Generate, Model: "m", Caller: callers[i%2], Input: in, MaxOutput: out}
			if i%7 == 0 {
				q.Op = provider.CountTokens
			}
			ticket, err := s.Reserve(t.Context(), q)
			switch {
			case err != nil:
				if err.Error() == "" || strings.Contains(err.Error(), "%!") {
					t.Fatalf("%s: %q", text, err)
				}
			case i%3 == 0:
				ticket.Release()
			default:
				ticket.Settle(use(in, out), in)
			}
			c.pass(10 * time.Second)
		}
		for _, caller := range callers {
			st := s.Standing(caller, []string{"m"})
			for _, l := range st.Limits {
				for _, a := range []*Amount{l.Requests, l.Tokens} {
					if a != nil && (a.Used < 0 || a.Left < 0 || a.Left > a.Limit) {
						t.Fatalf("%s: %+v", text, *a)
					}
				}
			}
			for _, b := range st.Budgets {
				if b.Spent < 0 || b.Left < 0 || b.Left > b.USD {
					t.Fatalf("%s: %+v", text, b)
				}
			}
		}
		if err := s.Apply(Config{}); err != nil {
			t.Fatal(err)
		}
	})
}
