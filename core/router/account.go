package router

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/sallyport-gateway/sallyport/core/egress"
	"github.com/sallyport-gateway/sallyport/core/spelling"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

// noTranslator says that there is no plugin of that name, and which one may be
// meant if tr can tell.
func noTranslator(name string, tr Translators) error {
	if l, ok := tr.(interface{ TranslatorNames() []string }); ok {
		if near := spelling.Nearest(name, l.TranslatorNames()); near != "" {
			return fmt.Errorf("translator: there is no translator plugin %q; did you mean %q?", name, near)
		}
	}
	return fmt.Errorf("translator: there is no translator plugin %q; `sallyport plugin list` shows those that were found", name)
}

// newAccount joins a configured provider with its translator.
func newAccount(name string, cfg Provider, tr Translators, out *egress.Egress) (*account, error) {
	t, manifest, ok := tr.Translator(cfg.Translator)
	if !ok {
		return nil, noTranslator(cfg.Translator, tr)
	}
	if !slices.Contains(manifest.Ops, provider.Generate) {
		return nil, fmt.Errorf("translator: plugin %q cannot generate; it offers %v", cfg.Translator, manifest.Ops)
	}
	settings, err := checkSettings(cfg.Settings, manifest)
	if err != nil {
		return nil, fmt.Errorf("settings: %w", err)
	}
	a := &account{
		name: name, plugin: cfg.Translator, translator: t, manifest: manifest,
		turn: provider.Account{Name: name, Settings: settings},
	}
	if scheme := manifest.Credential.Scheme; !cfg.Key.IsZero() && (scheme == "" || scheme == egress.SchemeNone) {
		return nil, fmt.Errorf("key: translator %q takes no key; remove it", cfg.Translator)
	}
	base := cfg.BaseURL
	if base == "" {
		base = manifest.BaseURL
	}
	switch {
	case manifest.Offline && base == "":
		return a, nil
	case manifest.Offline:
		return nil, fmt.Errorf("base_url: translator %q answers without any network; remove the key", cfg.Translator)
	case base == "":
		return nil, fmt.Errorf("base_url is missing, and translator %q has no usual one", cfg.Translator)
	}
	a.out, err = out.Account(egress.AccountConfig{
		Name: name, BaseURL: base, Private: cfg.Private,
		Credential: egress.Credential{Scheme: manifest.Credential.Scheme, Name: manifest.Credential.Name},
		Key:        cfg.Key, Timeouts: cfg.Timeouts.egress(),
	})
	if err != nil {
		return nil, err
	}
	return a, nil
}

// checkSettings checks the operator's settings against the schema of the
// translator's manifest and gives them as JSON.
func checkSettings(settings map[string]any, manifest provider.Manifest) (json.RawMessage, error) {
	if len(manifest.Settings) == 0 {
		if len(settings) > 0 {
			return nil, fmt.Errorf("translator %q takes none", manifest.Name)
		}
		return nil, nil
	}
	if settings == nil {
		settings = map[string]any{}
	}
	text, err := json.Marshal(settings)
	if err != nil {
		return nil, fmt.Errorf("cannot be written as JSON: %w", err)
	}
	schema, err := jsonschema.UnmarshalJSON(bytes.NewReader(manifest.Settings))
	if err != nil {
		return nil, fmt.Errorf("the schema in the manifest of translator %q is not JSON: %w", manifest.Name, err)
	}
	c := jsonschema.NewCompiler()
	c.UseLoader(noLoader{})
	if err := c.AddResource("settings.json", schema); err != nil {
		return nil, fmt.Errorf("the schema in the manifest of translator %q: %w", manifest.Name, err)
	}
	compiled, err := c.Compile("settings.json")
	if err != nil {
		return nil, fmt.Errorf("the schema in the manifest of translator %q: %w", manifest.Name, err)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	if err := compiled.Validate(value); err != nil {
		return nil, errors.New(schemaFault(err))
	}
	return text, nil
}

// noLoader keeps a schema from naming files or URLs.
type noLoader struct{}

func (noLoader) Load(url string) (any, error) {
	return nil, errors.New("a reference to another document is not followed")
}

// schemaFault takes the lines that name a place out of the library's report.
func schemaFault(err error) string {
	var places []string
	for line := range strings.Lines(err.Error()) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "- ") {
			places = append(places, strings.TrimPrefix(line, "- "))
		}
	}
	if len(places) == 0 {
		return err.Error()
	}
	return strings.Join(places, "; ")
}
