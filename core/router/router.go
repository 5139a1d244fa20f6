// Package router sends a model call to the provider that serves it. It is the
// only way to a model, so it is where permission, destination, fallback and
// the counting of tokens happen.
//
// It keeps two rules. What a client has seen is never taken back: until the
// first event of a model's reply is given on, another attempt may replace this
// one; after it, no other attempt begins, and whatever goes wrong ends in one
// error behind the events already given. And no provider is asked for anything
// that is not on record: the call's row is begun before the first attempt, and
// ended before the last event or the error is given on.
//
// Generate makes a call in the inner language; every attempt is translated.
// Serve answers a client in a dialect of its own, on one of two lanes: where the
// provider speaks that dialect, request and reply pass as they are, but for the
// name of the model and the credentials, and the router only reads along;
// elsewhere both are translated. Attempts of one call may take either.
package router

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"

	"github.com/sallyport-gateway/sallyport/core/access"
	"github.com/sallyport-gateway/sallyport/core/egress"
	"github.com/sallyport-gateway/sallyport/core/ratelimit"
	"github.com/sallyport-gateway/sallyport/core/usage"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

// Translators finds the translator plugin of a name.
type Translators interface {
	Translator(name string) (provider.Translator, provider.Manifest, bool)
}

// Limiter decides whether a call may be made now; *ratelimit.Service is one.
type Limiter interface {
	// Reserve admits a call: its ticket is settled or released when the call has
	// ended. Errors are apierror.RateLimited and BudgetExceeded.
	Reserve(ctx context.Context, q ratelimit.Request) (*ratelimit.Ticket, error)
}

// Router is one immutable table of models and their destinations. A new
// configuration makes a new Router; requests under way keep theirs. Nothing is
// lost in the change: which destination a session sticks to follows from the
// session's key alone.
type Router struct {
	acc      *access.Service
	usage    *usage.Recorder // nil records nothing
	limits   Limiter         // nil limits nothing
	log      *slog.Logger
	models   []*model // by name
	names    map[string]*model
	patterns []pattern
	accounts map[string]*account
	random   func() float64 // in [0, 1)
	probes   sync.Map       // probeKey to *probe
	states   *states
}

// model is one name and what stands behind it.
type model struct {
	name         string
	object       access.Securable
	output       string
	context      Context
	aliases      []string
	destinations []destination
	fallback     []destination
	payloads     string // table that requests and replies go to, "" for none
	payloadMax   int64  // bytes kept of each; 0 leaves it to usage
}

// destination is a model at an account.
type destination struct {
	account *account
	model   string
	price   *usage.Price // nil when none is configured
	weight  float64
	seed    uint64 // of its name, for the session hash
}

// account is a configured provider, ready to be called.
type account struct {
	name       string
	plugin     string
	translator provider.Translator
	manifest   provider.Manifest
	turn       provider.Account
	natives    []provider.Native // dialects that the provider speaks itself
	out        *egress.Account   // nil when the translator answers without HTTP
}

// New checks cfg against the translators there are, tells acc which models
// exist, and builds the table. It makes no connection. A key that cannot be
// read is logged and fails the calls that need it, so that one missing
// variable does not take the other providers down. Every call is recorded in
// rec and counted by limits; nil records or limits nothing.
func New(cfg Config, tr Translators, out *egress.Egress, acc *access.Service, rec *usage.Recorder, limits Limiter, log *slog.Logger) (*Router, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	r := &Router{acc: acc, usage: rec, limits: limits, log: log, names: map[string]*model{}, accounts: map[string]*account{}, random: rand.Float64, states: newStates()}
	var v faults
	for _, name := range slices.Sorted(maps.Keys(cfg.Providers)) {
		a, err := newAccount(name, cfg.Providers[name], tr, out)
		if err != nil {
			v.add("providers.%s: %w", name, err)
			continue
		}
		r.accounts[name] = a
		if a.out != nil {
			if err := a.out.KeyError(); err != nil {
				log.Warn("provider has no usable key; calls to it will fail", "provider", name, "error", err)
			}
		}
	}
	if len(v) > 0 {
		r.Close()
		return nil, errors.Join(v...)
	}
	var objects []access.Object
	for _, name := range slices.Sorted(maps.Keys(cfg.Models)) {
		m := newModel(name, cfg.Models[name], r.accounts)
		r.models = append(r.models, m)
		r.names[canonical(name)] = m
		objects = append(objects, access.Object{Securable: m.object, Parent: access.Securable{Kind: access.Schema, Name: strings.TrimSuffix(schema, ".")}})
	}
	for _, m := range r.models {
		for _, a := range m.aliases {
			if strings.Contains(a, "*") {
				r.patterns = append(r.patterns, pattern{a, m})
			} else {
				r.names[a] = m
			}
		}
	}
	slices.SortFunc(r.patterns, func(a, b pattern) int {
		if d := len(b.text) - len(a.text); d != 0 {
			return d
		}
		return strings.Compare(a.text, b.text)
	})
	if err := acc.SetObjects("models", objects); err != nil {
		r.Close()
		return nil, fmt.Errorf("models: %w", err)
	}
	return r, nil
}

func newModel(name string, cfg Model, accounts map[string]*account) *model {
	m := &model{
		name: name, output: cfg.Output, context: cfg.Context,
		object: access.Securable{Kind: access.Model, Name: schema + canonical(name)},
	}
	for _, a := range cfg.Aliases {
		m.aliases = append(m.aliases, canonical(a))
	}
	for _, d := range cfg.Destinations {
		weight := 1.0
		if d.Traffic != nil {
			weight = float64(*d.Traffic)
		}
		m.destinations = append(m.destinations, newDestination(accounts[d.Provider], d, weight))
	}
	for _, d := range cfg.Fallback {
		m.fallback = append(m.fallback, newDestination(accounts[d.Provider], d, 0))
	}
	if t := cfg.InferenceTable; t != nil {
		m.payloads, m.payloadMax = t.Name(), t.MaxBytes
	}
	return m
}

// Close ends the idle connections of a Router that is no longer used. Calls
// under way go on.
func (r *Router) Close() {
	for _, a := range r.accounts {
		if a.out != nil {
			a.out.Close()
		}
	}
}

// Inherit takes over from the Router that r follows what clients count on
// between their requests: state that their dialects have no place for.
func (r *Router) Inherit(old *Router) { r.states = old.states }

// ModelInfo is what a caller may know of a model.
type ModelInfo struct {
	Name     string   // flat: "databricks-gpt-5-2"
	FullName string   // "system.ai.databricks-gpt-5-2"
	Owner    string   // the providers that serve it, as in OpenAI's owned_by: "openai"
	Aliases  []string // without those that hold a star
	Context  Context  // zero where the configuration says nothing
	Output   string   // the configured output dialect, or ""

	Natives []string     // dialects that its first destination speaks itself: "anthropic-messages"
	Price   *usage.Price // of its first destination; nil where none is configured
}

// Models lists the models p may call, by name.
func (r *Router) Models(p *access.Principal) []ModelInfo {
	if !slices.ContainsFunc(scopes, p.HasScope) {
		return nil
	}
	out := make([]ModelInfo, 0, len(r.models))
	for _, m := range r.models {
		if r.acc.Allowed(p, access.Execute, m.object) {
			out = append(out, m.info())
		}
	}
	return out
}

func (m *model) info() ModelInfo {
	var owners, aliases []string
	for _, d := range m.destinations {
		if !slices.Contains(owners, d.account.name) {
			owners = append(owners, d.account.name)
		}
	}
	for _, a := range m.aliases {
		if !strings.Contains(a, "*") {
			aliases = append(aliases, a)
		}
	}
	return ModelInfo{
		Name: m.name, FullName: m.object.Name, Owner: strings.Join(owners, ","),
		Aliases: aliases, Context: m.context, Output: m.output,
		Natives: m.destinations[0].account.dialects(provider.Generate), Price: m.destinations[0].price,
	}
}

// Known reports whether a model or an alias answers to name, whoever asks.
func (r *Router) Known(name string) bool { return r.find(canonical(name)) != nil }

// Output is the output dialect configured for a model, "" if none is or there
// is no such model.
func (r *Router) Output(model string) string {
	if m := r.find(canonical(model)); m != nil {
		return m.output
	}
	return ""
}
