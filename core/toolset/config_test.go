package toolset_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/sallyport-gateway/sallyport/core/toolset"
	"github.com/sallyport-gateway/sallyport/sdk/tool"
)

// configured reads the content of `tools`.
func configured(t testing.TB, text string) toolset.Config {
	t.Helper()
	var c toolset.Config
	if err := yaml.UnmarshalWithOptions([]byte(text), &c, yaml.Strict()); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return c.WithDefaults()
}

func TestConfigValidate(t *testing.T) {
	t.Parallel()
	tests := []struct{ text, want string }{ // "" when it is valid
		{`{web_search: {targets: {search: {url: "http://127.0.0.1:8888/search"}}}}`, ""},
		{`{weather: {targets: {api: {url: "https://h", key: {env: K}}}}}`, ""},
		{`{weather: {targets: {api: {url: "https://h", key: {env: K}, credential: {scheme: header, name: X-Token}, private: true, timeouts: {connect: 1s, first_byte: 2s, idle: 3s}, max_response: 1000}}, settings: {a: 1}, isolation: per_user}}`, ""},
		{`{weather: {targets: {api: {url: "https://h", credential: {scheme: none}}}}}`, ""},
		{`{weather: {}}`, ""},
		{`{Weather: {}}`, "tools.Weather: a tool type has small letters"},
		{`{weather: {isolation: per-user}}`, `tools.weather.isolation: "per-user" is not one of shared, per_user; did you mean "per_user"?`},
		{`{weather: {targets: {api: {}}}}`, "tools.weather.targets.api.url: is missing"},
		{`{weather: {targets: {api: {url: "h:80"}}}}`, "tools.weather.targets.api.url: must begin with https:// or http://"},
		{`{weather: {targets: {api: {url: "https://me:hunter22@h"}}}}`, "tools.weather.targets.api.url: must not hold a user name or password; use key"},
		{`{weather: {targets: {api: {url: "https://h", credential: {scheme: baerer}, key: {env: K}}}}}`, `tools.weather.targets.api.credential.scheme: "baerer" is not one of none, bearer, header, query; did you mean "bearer"?`},
		{`{weather: {targets: {api: {url: "https://h", credential: {scheme: header}, key: {env: K}}}}}`, `tools.weather.targets.api: credential scheme "header": "" is not the name of a header`},
		{`{weather: {targets: {api: {url: "https://h", credential: {scheme: header, name: Host}, key: {env: K}}}}}`, `"Host" is not the name of a header it may use`},
		{`{weather: {targets: {api: {url: "https://h", credential: {scheme: query, name: "a b"}, key: {env: K}}}}}`, `"a b" is not the name of a query parameter`},
		{`{weather: {targets: {api: {url: "https://h", credential: {name: x}, key: {env: K}}}}}`, `credential scheme "bearer" takes no name`},
		{`{weather: {targets: {api: {url: "https://h", credential: {scheme: bearer}}}}}`, "tools.weather.targets.api.key: is missing"},
		{`{weather: {targets: {api: {url: "https://h", key: {env: K}, credential: {scheme: none}}}}}`, "tools.weather.targets.api.credential.scheme: none sends no key"},
		{`{weather: {targets: {api: {url: "https://h", timeouts: {idle: -1s}}}}}`, "tools.weather.targets.api: timeouts.idle is negative"},
		{`{weather: {targets: {api: {url: "https://h", max_response: -1}}}}`, "tools.weather.targets.api.max_response: must not be negative"},
		{`{weather: {isolation: x, targets: {api: {}}}}`, "tools.weather.targets.api.url: is missing"},
	}
	for _, tt := range tests {
		err := configured(t, tt.text).Validate()
		switch {
		case tt.want == "" && err != nil:
			t.Errorf("%s: %v", tt.text, err)
		case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
			t.Errorf("%s: got %v, want %q", tt.text, err, tt.want)
		case err != nil && strings.Contains(err.Error(), "hunter22"):
			t.Errorf("the error repeats a secret: %v", err)
		}
	}
}

// weatherManifest is a plugin with targets and settings.
var weatherManifest = tool.Manifest{Type: "weather", Targets: []string{"api", "map"},
	Config: json.RawMessage(`{"type":"object","properties":{"units":{"enum":["metric","imperial"]}},"additionalProperties":false}`)}

func TestConfigBind(t *testing.T) {
	t.Parallel()
	served := map[string]tool.Manifest{"weather": weatherManifest, "table": tableManifest, "strict": {Type: "strict", Config: json.RawMessage(`{"required":["home"]}`)}}
	both := `targets: {api: {url: "https://h"}, map: {url: "https://h"}}`
	tests := []struct {
		text     string
		fault    string   // part of the error
		warnings []string // parts of them, in order
	}{
		{`{weather: {` + both + `}, strict: {settings: {home: x}}}`, "", nil},
		{`{weather: {` + both + `, settings: {units: metric}}, strict: {settings: {home: x}}}`, "", nil},
		{`{weather: {targets: {api: {url: "https://h"}}}, strict: {settings: {home: x}}}`, "", []string{`tools.weather.targets.map: is not set`}},
		{`{}`, "", []string{"tools.strict.settings: missing property 'home'", "tools.weather.targets.api: is not set", "tools.weather.targets.map: is not set"}},
		{`{strict: {}, weather: {` + both + `}}`, "tools.strict.settings: missing property 'home'", nil},
		{`{weather: {targets: {apo: {url: "https://h"}}}}`, `tools.weather.targets.apo: the plugin has no target of that name (it has api, map); did you mean "api"?`, nil},
		{`{table: {targets: {x: {url: "https://h"}}}}`, `tools.table.targets.x: the plugin has no target of that name (it has none)`, nil},
		{`{weather: {settings: {unit: metric}}}`, `tools.weather.settings: additional properties 'unit' not allowed; did you mean "units"?`, nil},
		{`{weather: {settings: {units: kelvin}}}`, `tools.weather.settings: at '/units': value must be one of 'metric', 'imperial'`, nil},
		{`{table: {settings: {a: 1}}}`, `tools.table.settings: the plugin for table tools takes none`, nil},
		{`{wether: {}}`, `tools.wether: no plugin serves this tool type; did you mean "weather"?`, nil},
		{`{web_serch: {}}`, `tools.web_serch: no plugin serves this tool type; did you mean "web_search"?`, nil},
		{`{genie: {}}`, "tools.genie: the tool type is called genie_space here", nil},
		{`{weather: {` + both + `}, wether: {}, strict: {settings: {home: x}}}`, "", []string{"tools.wether: no plugin serves this tool type, so the entry has no effect; `sallyport plugin add` adds one"}},
		{`{weather: {` + both + `}, calendar: {targets: {x: {url: "https://h"}}, settings: {a: 1}}, strict: {settings: {home: x}}}`, "", []string{"tools.calendar: no plugin serves"}},
		{`{weather: {` + both + `}, web_search: {targets: {search: {url: "http://127.0.0.1:8888/search"}}}, strict: {settings: {home: x}}}`, "", []string{"tools.web_search: no plugin serves"}},
	}
	for _, tt := range tests {
		warnings, err := configured(t, tt.text).Bind([]string{"strict", "table", "weather"}, func(typ string) tool.Manifest { return served[typ] })
		if (err == nil) != (tt.fault == "") || err != nil && !strings.Contains(err.Error(), tt.fault) {
			t.Errorf("%s: got error %v, want %q", tt.text, err, tt.fault)
		}
		if tt.fault != "" {
			continue
		}
		if !slices.EqualFunc(warnings, tt.warnings, func(got, part string) bool { return strings.Contains(got, part) }) {
			t.Errorf("%s: got warnings\n%s\nwant\n%s", tt.text, strings.Join(warnings, "\n"), strings.Join(tt.warnings, "\n"))
		}
	}
}
