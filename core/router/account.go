package router

import (
	"fmt"
	"slices"

	"github.com/sallyport-gateway/sallyport/core/egress"
	"github.com/sallyport-gateway/sallyport/core/settings"
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
	set, err := settings.Check(fmt.Sprintf("translator %q", manifest.Name), manifest.Settings, cfg.Settings)
	if err != nil {
		return nil, fmt.Errorf("settings: %w", err)
	}
	a := &account{
		name: name, plugin: cfg.Translator, translator: t, manifest: manifest,
		turn: provider.Account{Name: name, Settings: set}, natives: natives(manifest, set),
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
		return nil, fmt.Errorf("base_url: translator %q answers without any network; leave base_url out", cfg.Translator)
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
