package config

import (
	"os"
	"path/filepath"

	"github.com/sallyport-gateway/sallyport/core/access"
	"github.com/sallyport-gateway/sallyport/core/catalog"
	"github.com/sallyport-gateway/sallyport/core/router"
	"github.com/sallyport-gateway/sallyport/core/secret"
	"github.com/sallyport-gateway/sallyport/core/usage"
)

// Admin is the administrator of the built-in defaults.
const Admin = "admin"

// known lists the providers that the defaults turn on when their usual
// environment variable is set, with the seed documents' model names.
var known = []struct {
	name, env, base string
	models          [][2]string // our name, the provider's
}{
	{"openai", "OPENAI_API_KEY", "https://api.openai.com/v1", [][2]string{
		{"databricks-gpt-5", "gpt-5"}, {"databricks-gpt-5-1", "gpt-5.1"}, {"databricks-gpt-5-2", "gpt-5.2"}, {"databricks-gpt-5-4", "gpt-5.4"},
	}},
	{"anthropic", "ANTHROPIC_API_KEY", "https://api.anthropic.com", [][2]string{
		{"databricks-claude-sonnet-4-5", "claude-sonnet-4-5"}, {"databricks-claude-opus-4-6", "claude-opus-4-6"}, {"databricks-claude-haiku-4-5", "claude-haiku-4-5"},
	}},
	{"gemini", "GEMINI_API_KEY", "https://generativelanguage.googleapis.com", [][2]string{
		{"databricks-gemini-2-5-flash", "gemini-2.5-flash"}, {"databricks-gemini-2-5-pro", "gemini-2.5-pro"},
	}},
}

// Default is the configuration without a file: the demo model over the sample
// tables, and every provider whose environment variable is set. Paths resolve
// against dir.
func Default(dir string) (*Config, error) {
	c := &Config{
		Version:   1,
		Providers: map[string]router.Provider{"demo": {Translator: "demo"}},
		Models:    map[string]router.Model{"databricks-demo": {Destinations: []router.Destination{{Provider: "demo", Model: "demo", Price: &usage.Price{Input: new(0.0), Output: new(0.0)}}}}}, // rules cost nothing
		Access:    access.Config{Users: []access.User{{Name: Admin, Admin: true}}},
		dir:       dir,
	}
	for _, k := range known {
		if os.Getenv(k.env) == "" {
			continue
		}
		c.Providers[k.name] = router.Provider{Translator: k.name, BaseURL: k.base, Key: secret.Env(k.env)}
		for _, m := range k.models {
			c.Models[m[0]] = router.Model{Destinations: []router.Destination{{Provider: k.name, Model: m[1]}}}
		}
	}
	if err := c.finish(); err != nil {
		return nil, err
	}
	c.Catalog = sampleCatalog(filepath.Join(c.Data.Dir, "samples"))
	return c, nil
}

// Samples is where the sample tables are expected, samples in the data
// directory; "" when the catalog has no table there.
func (c *Config) Samples() string {
	dir := filepath.Join(c.Data.Dir, "samples")
	for _, schemas := range c.Catalog {
		for _, s := range schemas {
			for _, t := range s.Tables {
				if filepath.Dir(c.Path(t.Location)) == dir {
					return dir
				}
			}
		}
	}
	return ""
}

func sampleCatalog(dir string) catalog.Config {
	at := func(name string) string { return filepath.Join(dir, name) }
	return catalog.Config{"main": {"sales": {Tables: map[string]catalog.Table{
		"reviews":  {Location: at("reviews.parquet"), Format: "parquet", Comment: "One row per customer review"},
		"orders":   {Location: at("orders.parquet"), Format: "parquet", Comment: "One row per order line; amount is in US dollars"},
		"products": {Location: at("products.csv"), Format: "csv", Comment: "One row per product"},
		"stores":   {Location: at("stores.jsonl"), Format: "json", Comment: "One row per shop"},
	}}}}
}
