package config

import (
	"slices"
	"time"

	"github.com/sallyport-gateway/sallyport/core/toolset"
)

// Languages are those in which code execution runs programs.
var Languages = []string{"python", "sql", "shell"}

// CodeExecution says when models are offered to run programs, and what a
// program may use. Offer, Languages, Limits.Table and Limits.Tables act at a
// reload, the others at the next start.
type CodeExecution struct {
	// Offer is always (the default), with_hosted_tools or never, on the Supervisor
	// surface.
	Offer string `yaml:"offer"`
	// Languages are those that models are offered: python, sql, shell; all that
	// are there if empty.
	Languages []string `yaml:"languages"`
	// Guests is the directory with what `make build` made for the languages;
	// guests beside the program if empty.
	Guests string `yaml:"guests"`
	// Cache is the directory of compiled guests, which nobody else may write to. If
	// empty it is compiled in Guests, which make build fills, or else guests-cache
	// below the data directory. What is in it is executed.
	Cache string `yaml:"cache"`
	// Workers is how many processes run programs at once; 0 means one a core.
	Workers int `yaml:"workers"`
	// Shared lets programs of several users be in one process at once. Less
	// memory, and one wall less between users.
	Shared bool       `yaml:"shared"`
	Limits CodeLimits `yaml:"limits"`
}

// CodeLimits bound a program, and the session of programs that belongs to one
// request. 0 means the default of each.
type CodeLimits struct {
	Wall     time.Duration `yaml:"wall"`     // of one program; 30 s
	CPU      time.Duration `yaml:"cpu"`      // processor time of one program, roughly; 10 s
	Memory   int64         `yaml:"memory"`   // bytes of each language; 256 MiB
	Output   int           `yaml:"output"`   // bytes of each of stdout and stderr; 256 KiB. Models see 64 KiB of a result at most
	Scratch  int64         `yaml:"scratch"`  // bytes of files that programs write; 64 MiB
	Sessions int           `yaml:"sessions"` // requests that have a session at once; 1000
	Table    int64         `yaml:"table"`    // bytes of the copy of a declared table; 64 MiB. The model is told what is left out
	Tables   int64         `yaml:"tables"`   // bytes of copies that are kept for later requests; 256 MiB
}

const (
	minCodeMemory = 64 << 20 // Python alone needs a part of it
	maxCodeMemory = 4 << 30  // of WebAssembly
	maxCodeWall   = 110 * time.Second
)

// checkCode checks code_execution and fills in where things are.
func (c *Config) checkCode(bad func(string, ...any)) {
	e := &c.CodeExecution
	oneOf(bad, "code_execution.offer", e.Offer, "", toolset.OfferAlways, toolset.OfferHosted, toolset.OfferNever)
	if e.Offer == "" {
		e.Offer = toolset.OfferAlways
	}
	if e.Languages != nil && len(e.Languages) == 0 {
		bad("code_execution.languages: there is none in the list; offer: never switches code execution off")
	}
	for i, l := range e.Languages {
		oneOf(bad, "code_execution.languages", l, Languages...)
		if slices.Contains(e.Languages[:i], l) {
			bad("code_execution.languages: %q is there twice", l)
		}
	}
	if e.Guests != "" {
		e.Guests = c.Path(e.Guests)
	}
	if e.Cache != "" {
		e.Cache = c.Path(e.Cache)
	}
	if e.Workers < 0 || e.Workers > 256 {
		bad("code_execution.workers: %d is not between 0 and 256", e.Workers)
	}
	l := e.Limits
	for _, n := range []struct {
		key   string
		value int64
	}{{"wall", int64(l.Wall)}, {"cpu", int64(l.CPU)}, {"memory", l.Memory}, {"output", int64(l.Output)}, {"scratch", l.Scratch}, {"sessions", int64(l.Sessions)}, {"table", l.Table}, {"tables", l.Tables}} {
		if n.value < 0 {
			bad("code_execution.limits.%s: must not be negative", n.key)
		}
	}
	if l.Wall > maxCodeWall {
		bad("code_execution.limits.wall: %s is longer than a call of a tool may take; at most %s", l.Wall, maxCodeWall)
	}
	if l.Memory > 0 && (l.Memory < minCodeMemory || l.Memory > maxCodeMemory) {
		bad("code_execution.limits.memory: %d bytes are not between %d (64 MiB) and %d (4 GiB)", l.Memory, minCodeMemory, int64(maxCodeMemory))
	}
}
