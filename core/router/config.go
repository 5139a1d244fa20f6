package router

import (
	"fmt"
	"slices"
	"time"

	"github.com/sallyport-gateway/sallyport/core/egress"
	"github.com/sallyport-gateway/sallyport/core/secret"
)

// Config is the operator's side of the models: where they are, and under
// which names they are offered here.
type Config struct {
	Providers map[string]Provider `yaml:"providers"`
	Models    map[string]Model    `yaml:"models"`
}

// Provider is an account at a model provider.
type Provider struct {
	Translator string         `yaml:"translator"` // name of the plugin that speaks the provider's dialect
	BaseURL    string         `yaml:"base_url"`   // "" means the translator's own, if it has one
	Private    bool           `yaml:"private"`    // base_url's name may resolve to addresses in a private network
	Key        secret.Value   `yaml:"key"`        // read again when its file changes
	Timeouts   Timeouts       `yaml:"timeouts"`
	Settings   map[string]any `yaml:"settings"` // for the translator, checked against its schema
}

// Timeouts bound the phases of a call; the whole has no bound. A zero means
// the default.
type Timeouts struct {
	Connect   time.Duration `yaml:"connect"`    // 10 s
	FirstByte time.Duration `yaml:"first_byte"` // 120 s
	Idle      time.Duration `yaml:"idle"`       // 300 s
}

func (t Timeouts) egress() egress.Timeouts {
	return egress.Timeouts{Connect: t.Connect, FirstByte: t.FirstByte, Idle: t.Idle}
}

// Model is one name clients may ask for. It is system.ai.<name> to the
// permissions.
type Model struct {
	Destinations   []Destination   `yaml:"destinations"` // at least one
	Fallback       []Destination   `yaml:"fallback"`     // tried in this order when the destinations failed
	Aliases        []string        `yaml:"aliases"`      // other names; * stands for any text
	Context        Context         `yaml:"context"`
	Limits         []Limit         `yaml:"limits"`
	InferenceTable *InferenceTable `yaml:"inference_table"`
	Output         string          `yaml:"output"` // databricks, openai or openresponses; "" leaves it to the request
}

// Destination is a model at a provider.
type Destination struct {
	Provider string `yaml:"provider"`
	Model    string `yaml:"model"`   // the provider's own name
	Traffic  *int   `yaml:"traffic"` // percent; all of a model's destinations or none have it, none means equal shares
	Price    *Price `yaml:"price"`
}

// Price is in USD per million tokens.
type Price struct {
	Input        float64 `yaml:"input"`
	Output       float64 `yaml:"output"`
	CacheRead    float64 `yaml:"cache_read"`
	CacheWrite   float64 `yaml:"cache_write"`
	CacheWrite1h float64 `yaml:"cache_write_1h"`
}

// Context is what a model can hold, in tokens; 0 means not said.
type Context struct {
	Input  int64 `yaml:"input"`
	Output int64 `yaml:"output"`
}

// Limit bounds requests or tokens. Exactly one of Each and Of is set.
type Limit struct {
	Each     string   `yaml:"each"` // user, service_principal or principal: each has its own count
	Of       string   `yaml:"of"`   // "group analysts", "user x", "service_principal x": one count
	Requests int64    `yaml:"requests"`
	Tokens   int64    `yaml:"tokens"`
	Per      string   `yaml:"per"`     // minute or hour
	Count    []string `yaml:"count"`   // which tokens; empty means all
	Reserve  string   `yaml:"reserve"` // "" means an estimate, max means max_output_tokens
}

// InferenceTable says where a model's requests and replies are kept.
type InferenceTable struct {
	Parent string `yaml:"parent"` // catalog.schema
	Prefix string `yaml:"prefix"`
}

// NotInForce names the keys that are set and checked but have no effect yet.
func (c Config) NotInForce() []string {
	var keys []string
	for name, m := range c.Models {
		if len(m.Limits) > 0 {
			keys = append(keys, fmt.Sprintf("models.%s.limits", name))
		}
		if m.InferenceTable != nil {
			keys = append(keys, fmt.Sprintf("models.%s.inference_table", name))
		}
		for list, ds := range map[string][]Destination{"destinations": m.Destinations, "fallback": m.Fallback} {
			for i, d := range ds {
				if d.Price != nil {
					keys = append(keys, fmt.Sprintf("models.%s.%s[%d].price", name, list, i))
				}
			}
		}
	}
	slices.Sort(keys)
	return keys
}
