package config

import (
	"maps"
	"runtime"
	"slices"
	"time"

	"github.com/sallyport-gateway/sallyport/core/access"
	"github.com/sallyport-gateway/sallyport/core/egress"
	"github.com/sallyport-gateway/sallyport/core/ratelimit"
	"github.com/sallyport-gateway/sallyport/core/usage"
)

// Defaults that the packages which use them fill in by themselves, where a 0 in
// the file means them.
const (
	defaultBody       = 32 << 20  // requests.body
	defaultBudget     = 256 << 20 // requests.budget
	defaultCodeWall   = 30 * time.Second
	defaultCodeCPU    = 10 * time.Second
	defaultCodeMemory = 256 << 20
	defaultOutput     = 256 << 10
	defaultScratch    = 64 << 20
	defaultSessions   = 1000
	defaultTable      = 64 << 20
	defaultTables     = 256 << 20
)

// Effective is c as it acts: with every default in the place of what the file
// does not say. What has no default, and what nobody asked for, stays empty.
func (c *Config) Effective() *Config {
	e := *c
	if e.PublicURL == "" {
		e.PublicURL = "http://" + e.Listen.Address
		if e.Listen.TLS.Cert != "" {
			e.PublicURL = "https://" + e.Listen.Address
		}
	}
	or(&e.Requests.Body, defaultBody)
	or(&e.Requests.Budget, defaultBudget)
	e.Providers = maps.Clone(c.Providers)
	for name, p := range e.Providers {
		or(&p.Timeouts.Connect, egress.DefaultConnect)
		or(&p.Timeouts.FirstByte, egress.DefaultFirstByte)
		or(&p.Timeouts.Idle, egress.DefaultIdle)
		e.Providers[name] = p
	}
	e.Models = maps.Clone(c.Models)
	for name, m := range e.Models {
		if m.InferenceTable != nil {
			t := *m.InferenceTable
			or(&t.MaxBytes, usage.DefaultPayloadMax)
			m.InferenceTable = &t
		}
		e.Models[name] = m
	}
	e.Surfaces = maps.Clone(c.Surfaces)
	for name, s := range e.Surfaces {
		if s.Enabled == nil {
			s.Enabled = new(true)
		}
		e.Surfaces[name] = s
	}
	e.Budgets = each(c.Budgets, func(b *ratelimit.Budget) {
		or(&b.Then, "block")
		if b.Alert == nil {
			b.Alert = []int{100}
		}
		if b.Webhook != nil {
			w := *b.Webhook
			or(&w.Header, "Authorization")
			b.Webhook = &w
		}
	})
	e.Access.Tokens = each(c.Access.Tokens, func(t *access.FixedToken) {
		if len(t.Scopes) == 0 {
			t.Scopes = []string{"all"}
		}
	})
	code := &e.CodeExecution
	if len(code.Languages) == 0 {
		code.Languages = Languages
	}
	or(&code.Workers, runtime.GOMAXPROCS(0))
	l := &code.Limits
	or(&l.Wall, defaultCodeWall)
	or(&l.CPU, defaultCodeCPU)
	or(&l.Memory, defaultCodeMemory)
	or(&l.Output, defaultOutput)
	or(&l.Scratch, defaultScratch)
	or(&l.Sessions, defaultSessions)
	or(&l.Table, defaultTable)
	or(&l.Tables, defaultTables)
	return &e
}

// or puts a default in the place of nothing.
func or[T comparable](v *T, otherwise T) {
	var none T
	if *v == none {
		*v = otherwise
	}
}

// each is a copy of list with f done to each of its members.
func each[T any](list []T, f func(*T)) []T {
	list = slices.Clone(list)
	for i := range list {
		f(&list[i])
	}
	return list
}
