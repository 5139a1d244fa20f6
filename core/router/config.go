package router

import (
	"slices"
	"strings"
	"time"

	"github.com/sallyport-gateway/sallyport/core/egress"
	"github.com/sallyport-gateway/sallyport/core/ratelimit"
	"github.com/sallyport-gateway/sallyport/core/secret"
	"github.com/sallyport-gateway/sallyport/core/usage"
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
	Destinations []Destination `yaml:"destinations"` // at least one
	Fallback     []Destination `yaml:"fallback"`     // tried in this order when the destinations failed
	Aliases      []string      `yaml:"aliases"`      // other names; * stands for any text
	Context      Context       `yaml:"context"`
	// Limits bound its calls; core/ratelimit checks and counts them.
	Limits         []ratelimit.Limit `yaml:"limits"`
	InferenceTable *InferenceTable   `yaml:"inference_table"`
	Output         string            `yaml:"output"` // databricks, openai or openresponses; "" leaves it to the request
}

// Destination is a model at a provider.
type Destination struct {
	Provider string `yaml:"provider"`
	Model    string `yaml:"model"`   // the provider's own name
	Traffic  *int   `yaml:"traffic"` // percent; all of a model's destinations or none have it, none means equal shares

	// Price is what its tokens cost; nil means the cost is unknown, and the
	// rows of its calls have none.
	Price *usage.Price `yaml:"price"`
}

// Context is what a model can hold, in tokens; 0 means not said.
type Context struct {
	Input  int64 `yaml:"input"`
	Output int64 `yaml:"output"`
}

// InferenceTable says where a model's requests and replies are kept, whole: in
// the table <parent>.<prefix>_payload. Several models may share one table if
// they say the same of it.
type InferenceTable struct {
	Parent   string `yaml:"parent"`    // catalog.schema; not in the catalog system
	Prefix   string `yaml:"prefix"`    // letters, digits and _
	MaxBytes int64  `yaml:"max_bytes"` // kept of a request, and of a reply; 0 means 10 MiB, which is also the most
}

// Name is the table's full name, in lower case as the catalog compares names.
func (t InferenceTable) Name() string {
	return strings.ToLower(t.Parent + "." + t.Prefix + "_payload")
}

// PayloadTables names the inference tables of all models, each once, sorted.
func (c Config) PayloadTables() []string {
	var names []string
	for _, m := range c.Models {
		if m.InferenceTable != nil {
			names = append(names, m.InferenceTable.Name())
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
