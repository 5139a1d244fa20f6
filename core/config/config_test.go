package config

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// The configuration contract: this file must load and mean what it says.
func TestContract(t *testing.T) {
	c, err := Load(filepath.Join("testdata", "contract.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	dir, err := filepath.Abs("testdata")
	if err != nil {
		t.Fatal(err)
	}
	if c.Listen.Address != "127.0.0.1:8080" || c.PublicURL != "http://127.0.0.1:8080" {
		t.Errorf("got listen %q, public_url %q", c.Listen.Address, c.PublicURL)
	}
	if want := filepath.Join(dir, "sallyport-data"); c.Data.Dir != want || c.Data.State != "sqlite:"+filepath.Join(want, "state.db") {
		t.Errorf("got data %+v", c.Data)
	}
	if want := []string{filepath.Join(dir, "bin/plugins")}; !reflect.DeepEqual(c.Plugins, want) {
		t.Errorf("got plugins %v, want %v", c.Plugins, want)
	}
	if a := c.Providers["anthropic"]; a.Timeouts.FirstByte != 120*time.Second || a.Timeouts.Idle != 300*time.Second || a.Key.Source() != "file /run/secrets/anthropic" {
		t.Errorf("got provider anthropic %+v from %s", a, a.Key.Source())
	}
	m := c.Models["databricks-claude-sonnet-4-5"]
	if len(m.Destinations) != 1 || *m.Destinations[0].Price.CacheWrite1h != 6 || len(m.Fallback) != 1 || m.Context.Input != 200000 || m.Output != "databricks" || len(m.Limits) != 2 {
		t.Errorf("got model %+v", m)
	}
	if got := c.Catalog["main"]["sales"].Tables["reviews"]; got.Location != "./samples/reviews.parquet" || got.Format != "parquet" {
		t.Errorf("got table %+v", got)
	}
	search := c.Tools["web_search"]
	if target := search.Targets["search"]; target.URL != "http://127.0.0.1:8888/search" || target.Credential.Scheme != "none" || target.Timeouts.FirstByte != 30*time.Second || target.MaxResponse != 8<<20 || search.Isolation != "shared" {
		t.Errorf("got tool web_search %+v", search)
	}
	if c.Administrator() != "root@example.com" {
		t.Errorf("got administrator %q", c.Administrator())
	}
	inert := strings.Join(c.NotInForce(), "\n")
	for _, key := range []string{"connections"} {
		if !strings.Contains(inert, key) {
			t.Errorf("NotInForce does not name %q:\n%s", key, inert)
		}
	}
	if strings.Contains(inert, "tools") || strings.Contains(inert, "code_execution") {
		t.Errorf("NotInForce names tools or code_execution:\n%s", inert)
	}
	missing := strings.Join(c.MissingSecrets(), "\n")
	if !strings.Contains(missing, "SALLYPORT_TEST_NO_SUCH_VARIABLE") {
		t.Errorf("MissingSecrets does not name the variable:\n%s", missing)
	}
}

const least = `version: 1
providers: {demo: {translator: demo}}
models: {m: {destinations: [{provider: demo, model: demo}]}}
`

func TestParseRefuses(t *testing.T) {
	tests := []struct{ text, want string }{
		{strings.Replace(least, "version: 1", "version: 2", 1), "version: must be 1"},
		{"", "version: is missing; write version: 1"},
		{least + "lissten: 127.0.0.1:1\n", `did you mean "listen"?`},
		{strings.Replace(least, "translator: demo", "translator: demo, base_ulr: x", 1), `did you mean "base_url"?`},
		{least + "access: {users: [{name: a, groop: [x]}]}\n", "groop"},
		{least + "listen: {address: 127.0.0.1:1, tsl: {}}\n", `did you mean "tls"?`},
		{least + "listen: 127.0.0.1:99999\n", "from 0 to 65535"},
		{least + "listen: {address: 127.0.0.1:1, tls: {cert: /no/cert, key: /no/key}}\n", "/no/cert"},
		{least + "requests: {body: -5}\n", "must not be negative"},
		{least + "shutdown: 30\n", "[4:11] the value here must be a duration such as 30s"},
		{least + "shutdown: banana\n", `line 4: "banana" is not a duration`},
		{least + "listen: here\n", `"here" is not host:port`},
		{least + "listen: {address: 127.0.0.1:1, tls: {cert: a}}\n", "cert and key go together"},
		{least + "public_url: gateway\n", "public_url"},
		{least + "data: {state: mysql://x}\n", "data.state"},
		{strings.Replace(least, "key", "", 1) + "code_execution: {offer: sometimes}\n", `"sometimes" is not one of always, with_hosted_tools, never`},
		{least + "code_execution: {offfer: never}\n", `did you mean "offer"?`},
		{least + "code_execution: {languages: [python, ruby]}\n", `code_execution.languages: "ruby" is not one of python, sql, shell`},
		{least + "code_execution: {languages: [sql, sql]}\n", `"sql" is there twice`},
		{least + "code_execution: {workers: -1}\n", "code_execution.workers"},
		{least + "code_execution: {limits: {wal: 3s}}\n", `did you mean "wall"?`},
		{least + "code_execution: {limits: {wall: 5m}}\n", "code_execution.limits.wall"},
		{least + "code_execution: {limits: {memory: 1000}}\n", "code_execution.limits.memory"},
		{least + "code_execution: {limits: {output: -1}}\n", "code_execution.limits.output: must not be negative"},
		{least + "connections: {x: {type: mcp, transport: http}}\n", "connections.x.url: is missing"},
		{least + "tools: {weather: {targets: {api: {url: x, timeout: 3s}}}}\n", `did you mean "timeouts"?`},
		{least + "tools: {weather: {targets: {api: {url: \"https://h\", key: sk-very-secret}}}}\n", "{env: NAME}"},
		{least + "tools: {weather: {targets: {api: {url: \"https://h\", credential: {env: KEY}}}}}\n", `unknown field "env"`},
		{least + "tools: {weather: {targets: {api: {url: \"https://h\", credential: {schema: none}}}}}\n", `did you mean "scheme"?`},
		{least + "tools: {weather: {targets: {api: {url: h}}}}\n", "tools.weather.targets.api.url: must begin with https:// or http://"},
		{least + "tools: {weather: {targets: {api: {}}, isolation: mine}}\n", "tools.weather.targets.api.url: is missing"},
		{least + "tools: {weather: {isolation: mine}}\n", `tools.weather.isolation: "mine" is not one of shared, per_user`},
		{least + "budgets: [{each: user, usd: 0, per: month}]\n", "budgets[0].usd"},
		{strings.Replace(least, "translator: demo", "translator: demo, key: sk-very-secret", 1), "{env: NAME}"},
		{strings.Replace(least, "translator: demo", "translator: demo,\n  key: sk-very-secret,\n  bas_url: x", 1), ""},
		{"version: 1\n", "at least one of each"},
		{"version: [\n", ""},
	}
	for _, tt := range tests {
		_, err := Parse([]byte(tt.text), t.TempDir())
		if err == nil {
			t.Errorf("%q: got no error", tt.text)
			continue
		}
		if !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: got error %q, want one with %q", tt.text, err, tt.want)
		}
		if strings.Contains(err.Error(), "sk-very-secret") {
			t.Errorf("the error shows the secret: %v", err)
		}
	}
}

func TestUnknownKeyNamesItsLine(t *testing.T) {
	_, err := Parse([]byte(least+"lissten: x\n"), t.TempDir())
	if err == nil || !strings.Contains(err.Error(), "[4:1]") {
		t.Errorf("got %v, want the position 4:1", err)
	}
}

// A key that its level does not know gets a suggestion that fits there, or the
// level at which it belongs.
func TestUnknownKeySuggestions(t *testing.T) {
	tests := []struct{ text, want string }{
		{least + "isolation: shared\n", "isolation belongs under tools.<name>"},
		{least + "isolatoin: shared\n", `did you mean "isolation"? it belongs under tools.<name>`},
		{least + "tools: {web_search: {isolatoin: shared}}\n", `did you mean "isolation"?`},
		{least + "tools: {web_search: {settings: {isolatoin: shared}, isolaton: x}}\n", `did you mean "isolation"?`},
		{least + "tools: {isolation: shared}\n", ""},
		{least + "data_dir: /var/lib\n", `did you mean "data"?`},
		{least + "data: {directory: /var/lib}\n", "the keys here are dir, log, state, tables"},
		{strings.Replace(least, "model: demo}]", "model: demo, price: {in: 1}}]", 1), "the keys here are cache_read, cache_write, cache_write_1h, input, output"},
		{least + "data: {lgo: x}\n", `did you mean "log"?`},
		{least + "model: {}\n", `did you mean "models"?`},
		{least + "grants: []\n", "grants belongs under access"},
		{least + "offer: never\n", "offer belongs under code_execution"},
		{least + "privileges: []\n", "privileges belongs under access.grants"},
		{least + "access: {listen: x}\n", "listen belongs at the top level"},
		{least + "client_id: x\n", "client_id belongs under connections.<name>.auth"},
		{least + "name: x\n", ""},
		{least + "catalog: {main: {s: {tables: {t: {locaton: x}}}}}\n", `did you mean "location"?`},
		{least + "catalog: {main: {s: {location: x}}}\n", "location belongs under catalog.<name>.<name>.tables.<name>"},
		{least + "catalog:\n  main:\n    s: &s\n      tabels: {}\n", `did you mean "tables"?`},
		{least + "budgets:\n  - {each: user, usd: 1, perr: month}\n", `did you mean "per"?`},
		{least + "xyzzy: 1\n", ""},
	}
	for _, tt := range tests {
		_, err := Parse([]byte(tt.text), t.TempDir())
		if err == nil {
			t.Errorf("%q: got no error", tt.text)
			continue
		}
		_, hint, _ := strings.Cut(err.Error(), "\n")
		if hint != tt.want {
			t.Errorf("%q: got %q, want the hint %q", tt.text, err, tt.want)
		}
	}
}

func TestDefault(t *testing.T) {
	for _, k := range known {
		t.Setenv(k.env, "")
	}
	t.Setenv("ANTHROPIC_API_KEY", "sk-canary")
	dir := t.TempDir()
	c, err := Default(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := c.Providers["anthropic"]; !ok || len(c.Providers) != 2 {
		t.Errorf("got providers %v, want demo and anthropic", c.Providers)
	}
	if _, ok := c.Models["databricks-claude-sonnet-4-5"]; !ok {
		t.Error("no model of the provider whose variable is set")
	}
	if c.Administrator() == "" || c.Samples() != filepath.Join(dir, "sallyport-data", "samples") {
		t.Errorf("got administrator %q, samples %q", c.Administrator(), c.Samples())
	}
}

// A file that has a table among the samples gets them written.
func TestSamples(t *testing.T) {
	for tables, want := range map[string]string{
		"{reviews: {location: ./sallyport-data/samples/reviews.parquet}}":               "sallyport-data/samples",
		"{a: {location: ./a.parquet}, b: {location: sallyport-data/samples/b.parquet}}": "sallyport-data/samples",
		"{reviews: {location: ./samples/reviews.parquet}}":                              "",
		"{reviews: {location: ./sallyport-data/samples/more/reviews.parquet}}":          "",
	} {
		c, err := Parse([]byte(least+"catalog: {main: {sales: {tables: "+tables+"}}}\n"), "/x")
		if err != nil {
			t.Fatal(err)
		}
		if want != "" {
			want = filepath.Join("/x", want)
		}
		if got := c.Samples(); got != want {
			t.Errorf("%s: samples are in %q, want %q", tables, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(least)
	f.Add(read(&testing.T{}, "contract.yaml"))
	f.Fuzz(func(t *testing.T, text string) {
		if c, err := Parse([]byte(text), "/x"); err == nil && c.Version != 1 {
			t.Errorf("a configuration of version %d was taken", c.Version)
		}
	})
}

func TestDoubts(t *testing.T) {
	c, err := Parse([]byte(`
version: 1
providers: {demo: {translator: demo}}
models:
  m:
    destinations: [{provider: demo, model: demo}]
    limits: [{of: user hevy@example.com, requests: 3, per: minute}, {of: group analysts, requests: 3, per: minute}]
surfaces:
  anthropic: {allow: [devlopers, heavy@example.com]}
  codex: {enabled: false, allow: [nobody]}
  gemini: {allow: [devloper, nobody]}
  openai: {allow: [account users]}
budgets: [{of: service_principal etl, usd: 1, per: day}, {of: user nobody, usd: 1, per: day}]
access:
  users: [{name: heavy@example.com, groups: [analysts, developers]}]
  service_principals: [{name: etl}]
`), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		`surfaces.anthropic.allow[0]: there is no user, service principal or group "devlopers", so it has no effect; did you mean "developers"?`,
		`surfaces.codex.allow[0]: there is no user, service principal or group "nobody", so it has no effect`,
		`surfaces.gemini.allow[0]: there is no user, service principal or group "devloper", so nobody but administrators may use this surface; did you mean "developers"?`,
		`surfaces.gemini.allow[1]: there is no user, service principal or group "nobody", so nobody but administrators may use this surface`,
		`models.m.limits[0].of: there is no user "hevy@example.com", so it has no effect; did you mean "heavy@example.com"?`,
		`budgets[1].of: there is no user "nobody", so it has no effect`,
		`budgets: without a price these models spend nothing of any budget: m`,
	}
	if got := c.Doubts(); !slices.Equal(got, want) {
		t.Errorf("got  %s\nwant %s", strings.Join(got, "\n     "), strings.Join(want, "\n     "))
	}
}
