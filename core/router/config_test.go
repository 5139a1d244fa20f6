package router

import (
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/sallyport-gateway/sallyport/core/egress"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

// documented is the part of the documented configuration that is ours.
const documented = `
providers:
  openai:    {translator: lines, base_url: https://api.openai.com/v1,  key: {env: OPENAI_API_KEY}}
  anthropic: {translator: lines, base_url: https://api.anthropic.com,  key: {file: /run/secrets/anthropic}, timeouts: {first_byte: 120s, idle: 300s}}
  gemini:    {translator: lines, base_url: https://generativelanguage.googleapis.com, key: {env: GEMINI_API_KEY}}
  demo:      {translator: offline}
models:
  databricks-demo: {destinations: [{provider: demo, model: demo}]}
  databricks-gemini-2-5-flash: {destinations: [{provider: gemini, model: gemini-2.5-flash}]}
  databricks-gpt-5-2:
    destinations: [{provider: openai, model: gpt-5.2, price: {input: 1.75, output: 14, cache_read: 0.175}}]
  databricks-claude-sonnet-4-5:
    destinations: [{provider: anthropic, model: claude-sonnet-4-5, traffic: 100, price: {input: 3, output: 15, cache_read: 0.30, cache_write: 3.75, cache_write_1h: 6}}]
    fallback:     [{provider: openai, model: gpt-5.2}]
    aliases: [claude-haiku-4-5-20251001]
    context: {input: 200000, output: 64000}
    limits:
      - {each: user, requests: 60, tokens: 400000, per: minute, count: [input, output, cache_write]}
      - {of: group analysts, tokens: 2000000, per: hour}
    inference_table: {parent: main.gateway, prefix: sonnet}
    output: databricks
`

func parse(t *testing.T, text string) Config {
	t.Helper()
	var cfg Config
	if err := yaml.UnmarshalWithOptions([]byte(text), &cfg, yaml.Strict()); err != nil {
		t.Fatalf("yaml: %v", err)
	}
	return cfg
}

func TestDocumentedConfig(t *testing.T) {
	t.Parallel()
	cfg := parse(t, documented)
	b := newBench(t, cfg, plugins{"lines": &lines{}, "offline": &lines{}})
	if got := cfg.Providers["anthropic"].Timeouts; got != (Timeouts{FirstByte: 120 * time.Second, Idle: 300 * time.Second}) {
		t.Errorf("timeouts = %+v, want 120 s and 300 s", got)
	}
	if got := cfg.PayloadTables(); !slices.Equal(got, []string{"main.gateway.sonnet_payload"}) {
		t.Errorf("PayloadTables = %q, want the one of sonnet", got)
	}
	var infos []ModelInfo
	for _, m := range b.Models(alice) {
		if m.Name == "databricks-claude-sonnet-4-5" {
			infos = append(infos, m)
		}
	}
	if len(infos) != 1 || infos[0].Context != (Context{200000, 64000}) || infos[0].Owner != "anthropic" ||
		infos[0].FullName != "system.ai.databricks-claude-sonnet-4-5" || !slices.Equal(infos[0].Aliases, []string{"claude-haiku-4-5-20251001"}) {
		t.Errorf("Models = %+v, want one with context, owner, full name and alias", infos)
	}
	for model, want := range map[string]string{"claude-haiku-4-5-20251001": "databricks", "databricks-demo": "", "nobody": ""} {
		if got := b.Output(model); got != want {
			t.Errorf("Output(%q) = %q, want %q", model, got, want)
		}
	}
	// The missing keys do not keep the gateway from starting; they are told.
	if log := b.logs.String(); !strings.Contains(log, "provider=openai") || !strings.Contains(log, "OPENAI_API_KEY is not set") {
		t.Errorf("log = %s, want a warning about the key of openai", log)
	}
}

func TestConfigFaults(t *testing.T) {
	t.Parallel()
	head := "providers: {p: {translator: lines}}\nmodels:\n"
	tests := []struct{ in, want string }{
		{"providers: {p: {}}", "providers.p: translator is missing"},
		{"providers: {\"a b\": {translator: x}}", "providers.a b: the name may hold"},
		{"providers: {p: {translator: x, timeouts: {idle: -1s}}}", "providers.p.timeouts: a timeout cannot be negative"},
		{head + " m: {}", "models.m: destinations is empty"},
		{head + " a.b: {destinations: [{provider: p, model: x}]}", "models.a.b: the name may hold"},
		{head + " m: {destinations: [{model: x}]}", "models.m.destinations[0]: provider is missing"},
		{head + " m: {destinations: [{provider: p}]}", "models.m.destinations[0]: model is missing"},
		{"providers: {openai: {translator: x}}\nmodels: {m: {destinations: [{provider: openal, model: x}]}}",
			`models.m.destinations[0].provider: there is no "openal" under providers; did you mean "openai"?`},
		{head + " m: {destinations: [{provider: p, model: x, traffic: 60}, {provider: p, model: y, traffic: 30}]}", "traffic adds up to 90; it has to be 100"},
		{head + " m: {destinations: [{provider: p, model: x, traffic: 100}, {provider: p, model: y}]}", "traffic is set for 1 of 2"},
		{head + " m: {destinations: [{provider: p, model: x, traffic: -1}, {provider: p, model: y, traffic: 101}]}", "-1 is not a percentage"},
		{head + " m: {destinations: [{provider: p, model: x}, {provider: p, model: x}]}", "models.m.destinations[1]: the same provider and model as models.m.destinations[0]"},
		{head + " m: {destinations: [{provider: p, model: x}], fallback: [{provider: p, model: x}]}", "models.m.fallback[0]: the same provider and model"},
		{head + " m: {destinations: [{provider: p, model: x}], fallback: [{provider: p, model: y, traffic: 1}]}", "models.m.fallback[0].traffic: a fallback takes no share"},
		{head + " m: {destinations: [{provider: p, model: x, price: {output: -1}}]}", "models.m.destinations[0].price.output: -1 is no price"},
		{head + " m: {destinations: [{provider: p, model: x}], context: {input: -1}}", "models.m.context"},
		{head + " m: {destinations: [{provider: p, model: x}], output: xml}", `models.m.output: "xml" is not one of`},
		{head + " m: {destinations: [{provider: p, model: x}], inference_table: {parent: main, prefix: x}}", `models.m.inference_table.parent: "main" is not catalog.schema`},
		{head + " m: {destinations: [{provider: p, model: x}], inference_table: {parent: main.a.b, prefix: x}}", "models.m.inference_table.parent"},
		{head + " m: {destinations: [{provider: p, model: x}], inference_table: {parent: System.ai, prefix: x}}", "is in the catalog system"},
		{head + " m: {destinations: [{provider: p, model: x}], inference_table: {parent: main.a}}", "models.m.inference_table.prefix: \"\" is not of letters"},
		{head + " m: {destinations: [{provider: p, model: x}], inference_table: {parent: main.a, prefix: a-b}}", "models.m.inference_table.prefix"},
		{head + " m: {destinations: [{provider: p, model: x}], inference_table: {parent: main.a, prefix: 4o}}", "models.m.inference_table.prefix"},
		{head + " m: {destinations: [{provider: p, model: x}], inference_table: {parent: main.a, prefix: x, max_bytes: -1}}", "models.m.inference_table.max_bytes"},
		{head + " m: {destinations: [{provider: p, model: x}], inference_table: {parent: main.a, prefix: x, max_bytes: 10485761}}", "models.m.inference_table.max_bytes"},
		{head + " m: {destinations: [{provider: p, model: x}], inference_table: {parent: main.a, prefix: x}}\n n: {destinations: [{provider: p, model: x}], inference_table: {parent: main.A, prefix: X, max_bytes: 7}}",
			"models.n.inference_table: models.m writes to the same table main.a.x_payload with another max_bytes"},
		{head + " m: {destinations: [{provider: p, model: x}]}\n M: {destinations: [{provider: p, model: x}]}", "models.m: the same name as models.M"},
		{head + " m: {destinations: [{provider: p, model: x}], aliases: [M]}", "models.m.aliases[0]: \"M\" is the model's own name"},
		{head + " m: {destinations: [{provider: p, model: x}], aliases: [a, A]}", "models.m.aliases[1]: \"A\" is listed twice"},
		{head + " m: {destinations: [{provider: p, model: x}], aliases: [\"\"]}", "is not a name"},
		{head + " m: {destinations: [{provider: p, model: x}], aliases: [n]}\n n: {destinations: [{provider: p, model: x}]}", "\"n\" is the name of another model"},
		{head + " m: {destinations: [{provider: p, model: x}], aliases: [a]}\n n: {destinations: [{provider: p, model: x}], aliases: [a]}", "models.n.aliases[0]: \"a\" is already an alias of models.m"},
	}
	for _, tt := range tests {
		err := parse(t, tt.in).Validate()
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("Validate of %s\n= %v\nwant an error with %q", tt.in, err, tt.want)
		}
	}
	if err := parse(t, "providers: {p: {}}\nmodels: {m: {}}").Validate(); err == nil || strings.Count(err.Error(), "\n") != 1 {
		t.Errorf("Validate = %v, want both faults", err)
	}
}

func TestUnknownKeysAreRefused(t *testing.T) {
	t.Parallel()
	for _, in := range []string{"providers: {p: {translater: x}}", "models: {m: {destination: []}}", "models: {m: {destinations: [{modl: x}]}}"} {
		var cfg Config
		if err := yaml.UnmarshalWithOptions([]byte(in), &cfg, yaml.Strict()); err == nil {
			t.Errorf("%s is accepted as %+v, want an error", in, cfg)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct{ in, want string }{
		{"providers: {p: {translator: nobody}}", `providers.p: translator: there is no translator plugin "nobody"`},
		{"providers: {p: {translator: lnies}}", `there is no translator plugin "lnies"; did you mean "lines"?`},
		{"providers: {p: {translator: lines}}", "providers.p: base_url is missing"},
		{"providers: {p: {translator: lines, base_url: example.com}}", "providers.p: base_url must begin with https://"},
		{"providers: {p: {translator: offline, base_url: \"https://h\"}}", "providers.p: base_url: translator \"offline\" answers without any network"},
		{"providers: {p: {translator: lines, base_url: \"https://h\", settings: {regoin: x}}}", "providers.p: settings: additional properties 'regoin' not allowed"},
		{"providers: {p: {translator: lines, base_url: \"https://h\", settings: {region: 5}}}", "providers.p: settings: at '/region'"},
		{"providers: {p: {translator: offline, settings: {a: 1}}}", "providers.p: settings: translator \"offline\" takes none"},
		{"providers: {p: {translator: offline, key: {env: X}}}", "providers.p: key: translator \"offline\" takes no key"},
		{"providers: {p: {translator: embedder, base_url: \"https://h\"}}", "providers.p: translator: plugin \"embedder\" cannot generate"},
		{"providers: {p: {translator: strange, base_url: \"https://h\"}}", "sigv9"},
		{"providers: {p: {translator: reaching, base_url: \"https://h\"}}", "a reference to another document is not followed"},
	}
	acc := newAccess(t)
	out, err := egress.New(egress.Config{})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		_, err := New(parse(t, tt.in), odd{}, out, acc, nil, nil, slog.New(slog.DiscardHandler))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("New of %s\n= %v\nwant an error with %q", tt.in, err, tt.want)
		}
	}
}

// odd offers translators with manifests that do not fit.
type odd struct{}

func (odd) TranslatorNames() []string { return []string{"embedder", "lines", "offline"} }

func (odd) Translator(name string) (provider.Translator, provider.Manifest, bool) {
	m := lineManifest
	switch name {
	case "lines":
	case "offline":
		m = provider.Manifest{Name: name, Ops: m.Ops, Offline: true}
	case "embedder":
		m.Ops = []provider.Op{provider.Embed}
	case "strange":
		m.Credential.Scheme = "sigv9"
	case "reaching":
		m.Settings = []byte(`{"$ref":"file:///etc/passwd"}`)
	default:
		return nil, provider.Manifest{}, false
	}
	return &lines{}, m, true
}
