package toolset

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/sallyport-gateway/sallyport/core/egress"
	"github.com/sallyport-gateway/sallyport/core/secret"
	"github.com/sallyport-gateway/sallyport/core/spelling"
)

// Config is the `tools` section of the configuration: the operator's side of
// each tool type.
type Config map[string]Tool

// Tool is what the operator gives to the plugin of one tool type.
type Tool struct {
	// Targets are the services that the plugin may reach through the gateway,
	// by the names in its manifest. It reaches nothing else.
	Targets map[string]Target `yaml:"targets"`
	// Settings are for the plugin, checked against its manifest's JSON Schema.
	Settings map[string]any `yaml:"settings"`
	// Isolation is shared (one process for all users) or per_user (one for
	// each, which ends when it is idle). "" means shared.
	Isolation string `yaml:"isolation"`
}

// The values of Tool.Isolation.
const (
	Shared  = "shared"
	PerUser = "per_user"
)

// Target is a service that a plugin may reach. What the plugin asks is sent to
// URL and below it, with the key; the plugin sees neither.
type Target struct {
	URL        string            `yaml:"url"`        // https://host[:port][/path][?query]; the plugin adds path and query to it
	Key        secret.Value      `yaml:"key"`        // {env: NAME} or {file: PATH}, read again when its file changes; none if empty
	Credential egress.Credential `yaml:"credential"` // where the key goes; {scheme: bearer} if there is a key, else {scheme: none}
	Private    bool              `yaml:"private"`    // url's name may resolve to addresses in a private network
	Timeouts   egress.Timeouts   `yaml:"timeouts"`   // of one request: connect (0 means 10 s), first_byte (30 s), idle (30 s). The whole has no other bound than the tool call's, 2 minutes
	// MaxResponse is how many bytes of a response's body the plugin may read,
	// decompressed; 0 means 8 MiB. More is an error, at the byte that is too
	// much. Of an answer with an error status 256 KiB are read at most.
	MaxResponse int64 `yaml:"max_response"`
}

// Defaults of Target. They are shorter than those of a model's provider: a
// tool's call has two minutes in all.
const (
	defaultWait     = 30 * time.Second
	defaultResponse = 8 << 20
)

// WithDefaults is c with every default filled in.
func (c Config) WithDefaults() Config {
	if c == nil {
		return nil
	}
	out := make(Config, len(c))
	for typ, t := range c {
		t.Isolation = cmp.Or(t.Isolation, Shared)
		targets := make(map[string]Target, len(t.Targets))
		for name, target := range t.Targets {
			targets[name] = target.withDefaults()
		}
		if t.Targets != nil {
			t.Targets = targets
		}
		out[typ] = t
	}
	return out
}

func (t Target) withDefaults() Target {
	if t.Credential.Scheme == "" {
		t.Credential.Scheme = egress.SchemeNone
		if !t.Key.IsZero() {
			t.Credential.Scheme = egress.SchemeBearer
		}
	}
	t.Timeouts.Connect = cmp.Or(t.Timeouts.Connect, egress.DefaultConnect)
	t.Timeouts.FirstByte = cmp.Or(t.Timeouts.FirstByte, defaultWait)
	t.Timeouts.Idle = cmp.Or(t.Timeouts.Idle, defaultWait)
	t.MaxResponse = cmp.Or(t.MaxResponse, defaultResponse)
	return t
}

// typeName is what a tool type may be called.
var typeName = regexp.MustCompile(`^[a-z0-9_-]{1,64}$`)

// Validate checks all that can be said without the plugins. It reports every
// fault it finds, each with the key it is at.
func (c Config) Validate() error {
	var errs []error
	for _, typ := range slices.Sorted(maps.Keys(c)) {
		t := c[typ]
		bad := func(path, format string, args ...any) {
			errs = append(errs, fmt.Errorf("tools.%s%s: %w", typ, path, fmt.Errorf(format, args...)))
		}
		if !typeName.MatchString(typ) {
			bad("", "a tool type has small letters, digits, - and _ only, at most 64")
		}
		if known := []string{Shared, PerUser}; t.Isolation != "" && !slices.Contains(known, t.Isolation) {
			bad(".isolation", "%q is not one of %s%s", t.Isolation, strings.Join(known, ", "), meant(t.Isolation, known))
		}
		for _, name := range slices.Sorted(maps.Keys(t.Targets)) {
			at := ".targets." + name
			t.Targets[name].validate(func(path, format string, args ...any) { bad(at+path, format, args...) })
		}
	}
	return errors.Join(errs...)
}

func (t Target) validate(bad func(path, format string, args ...any)) {
	if t.URL == "" {
		bad(".url", "is missing; it says where the gateway sends what the plugin asks")
	} else if err := egress.CheckURL(t.URL); err != nil {
		bad(".url", "%w", err)
	}
	schemes := []string{egress.SchemeNone, egress.SchemeBearer, egress.SchemeHeader, egress.SchemeQuery}
	switch s := t.Credential.Scheme; {
	case s != "" && !slices.Contains(schemes, s):
		bad(".credential.scheme", "%q is not one of %s%s", s, strings.Join(schemes, ", "), meant(s, schemes))
	case t.Credential.Validate() != nil:
		bad("", "%w", t.Credential.Validate())
	case t.Key.IsZero() && s != "" && s != egress.SchemeNone:
		bad(".key", "is missing; the credential says where it goes, and {env: NAME} or {file: PATH} says where it is kept")
	case !t.Key.IsZero() && s == egress.SchemeNone:
		bad(".credential.scheme", "none sends no key, and there is one; remove one of them")
	}
	if err := t.Timeouts.Validate(); err != nil {
		bad("", "%w", err)
	}
	if t.MaxResponse < 0 {
		bad(".max_response", "must not be negative")
	}
}

// meant is `; did you mean "x"?` for the nearest of known, "" when none is near.
func meant(word string, known []string) string {
	if near := spelling.Nearest(word, known); near != "" {
		return fmt.Sprintf("; did you mean %q?", near)
	}
	return ""
}
