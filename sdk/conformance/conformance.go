// Package conformance checks a plugin program, in whatever language it is
// written, the way the gateway will use it: as a child process behind the
// handshake, with the author's golden dialogues, and with the load, the
// cancellations, the bad input and the sudden ends that production brings.
//
// It keeps one rule: the plugin is never trusted to say how it is. What a check
// claims was seen on the wire, in the process table or in the exit status.
//
// sdk/plugintest.Binary runs it in a Go test, `sallyport plugin test` on the
// command line.
package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sallyport-gateway/sallyport/sdk/boot"
	"github.com/sallyport-gateway/sallyport/sdk/engine"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
	"github.com/sallyport-gateway/sallyport/sdk/tool"
)

// Config says which program to check and with what.
type Config struct {
	// Program is the plugin and the arguments that come before the kit's:
	// {"./weather"}, {"python3", "weather.py"}.
	Program []string
	// Command builds the command that runs the program with args in the
	// private directory dir, for callers that confine it. The kit sets Dir and
	// the standard streams, adds to Env, and closes ExtraFiles; an Env of nil
	// becomes the scrubbed environment of the gateway. Nil runs Program as it
	// is.
	Command func(dir string, args ...string) (*exec.Cmd, error)
	// EndsWithParent says that Command has the system end the plugin with the
	// kit's process, so that the plugin's own watch cannot be checked.
	EndsWithParent bool
	// Dir holds the author's golden dialogues, *.txtar; "" means there are
	// none, and the kit makes up what it asks from the manifest.
	Dir string
	// DataDir is where the files of an engine's dialogues are written, for
	// callers whose Command lets the engine read there; "" means a directory
	// that is removed afterwards.
	DataDir string
	// Settings are the operator's, as the plugin gets them in Configure, or in
	// a turn's account when it is a translator. Empty means none.
	Settings json.RawMessage
	// Targets answer what a tool fetches, by the target's name. A fetch from
	// another one is answered as a target that the operator did not bind.
	Targets map[string]http.Handler
	// Calls is how many calls growth is measured over; 0 means 300.
	Calls int
	// Patience is how long one answer may take before the kit gives it up;
	// 0 means 20 s.
	Patience time.Duration
	// Only names the checks to make, beside those that the others build on:
	// describe, manifest, start and dialogues. Empty means all.
	Only []string
	// Progress is told the name of each check as it begins; may be nil.
	Progress func(check string)
}

// Report is what a run of the kit found.
type Report struct {
	Program  string    `json:"program"`
	Kind     string    `json:"kind,omitempty"` // "" when the program could not be described
	Name     string    `json:"name,omitempty"`
	Version  string    `json:"version,omitempty"`
	Findings []Finding `json:"findings"`
	Passed   []string  `json:"passed"`  // names of checks without findings
	Skipped  []Skipped `json:"skipped"` // what did not apply
	Seconds  float64   `json:"seconds"`
}

// OK reports whether nothing was found.
func (r *Report) OK() bool { return len(r.Findings) == 0 }

// Finding is a rule that the plugin broke.
type Finding struct {
	Rule  string `json:"rule"`           // short and stable: "stdout-before-handshake"
	Check string `json:"check"`          // where it showed
	Sent  string `json:"sent"`           // what the plugin was given
	Got   string `json:"got"`            // what it did
	Hint  string `json:"hint"`           // what to do
	More  int    `json:"more,omitempty"` // how many times more it was seen in this check
}

// String gives the finding in a few lines.
func (f Finding) String() string {
	s := fmt.Sprintf("%s (%s)\n  sent: %s\n  came: %s\n  hint: %s", f.Rule, f.Check, f.Sent, f.Got, f.Hint)
	if f.More > 0 {
		s += fmt.Sprintf("\n  and %d times more", f.More)
	}
	return s
}

// Skipped is a check that did not apply.
type Skipped struct {
	Check string `json:"check"`
	Why   string `json:"why"`
}

// Check runs every check that applies. An error means that the kit itself could
// not work, never that the plugin is at fault. When ctx ends, what is known so
// far is reported with the error.
func Check(ctx context.Context, cfg Config) (Report, error) {
	if len(cfg.Program) == 0 {
		return Report{}, errors.New("conformance: no program to check")
	}
	for _, name := range cfg.Only {
		if !slices.ContainsFunc(checks, func(k check) bool { return k.name == name }) {
			return Report{}, fmt.Errorf("conformance: there is no check %q; there is %s", name, strings.Join(Checks(), ", "))
		}
	}
	cfg.defaults()
	base, err := runDir()
	if err != nil {
		return Report{}, fmt.Errorf("conformance: %w", err)
	}
	defer os.RemoveAll(base)
	c := &checker{cfg: cfg, base: base, data: cfg.DataDir, goProgram: isGo(cfg.Program[0])}
	c.report = Report{Program: cfg.Program[0], Findings: []Finding{}, Passed: []string{}, Skipped: []Skipped{}}
	begin := time.Now()
	err = c.run(ctx)
	c.report.Seconds = time.Since(begin).Seconds()
	return c.report, err
}

func (c *Config) defaults() {
	if c.Calls == 0 {
		c.Calls = 300
	}
	if c.Patience == 0 {
		c.Patience = 20 * time.Second
	}
}

// runDir is a private directory with a path short enough for sockets.
func runDir() (string, error) {
	parent := os.TempDir()
	if len(parent) > 30 {
		parent = "/tmp"
	}
	return os.MkdirTemp(parent, "sp-kit-")
}

// checker runs the checks, one after another.
type checker struct {
	cfg       Config
	base      string // run directory
	data      string // Config.DataDir
	goProgram bool   // a Go program, whose goroutines can be asked for
	dirs      int    // made so far under base

	description boot.Description
	provider    provider.Manifest
	tool        tool.Manifest
	engine      engine.Manifest

	proc    *process // the present process; nil or dead: the next check starts one
	turns   []*turn  // of a provider
	fronts  []*front // of a provider with surfaces
	tools   []*toolCase
	queries []*query // of an engine

	report Report
	check  *check // under way
	found  bool   // the check under way has a finding
	skip   string // why it does not apply

	mu    sync.Mutex
	noise []string // what all the processes printed to stdout after their handshake
}

// check is one entry of the list of checks.
type check struct {
	name  string
	kinds string // the kinds it is for, "" for all
	crash string // the rule that is broken when the process ends in it
	run   func(*checker, context.Context)
}

// run goes through the list. What cannot be described or started ends it.
func (c *checker) run(ctx context.Context) error {
	defer c.stopProcess()
	for i := range checks {
		k := &checks[i]
		if !forKind(k.kinds, c.description.Kind) || len(c.cfg.Only) > 0 && !basic[k.name] && !slices.Contains(c.cfg.Only, k.name) {
			continue
		}
		if ctx.Err() != nil {
			return fmt.Errorf("conformance: before the check %q: %w", k.name, context.Cause(ctx))
		}
		if c.cfg.Progress != nil {
			c.cfg.Progress(k.name)
		}
		c.check, c.found, c.skip = k, false, ""
		k.run(c, ctx)
		c.survived(ctx)
		switch {
		case c.found:
		case c.skip != "":
			c.report.Skipped = append(c.report.Skipped, Skipped{k.name, c.skip})
		default:
			c.report.Passed = append(c.report.Passed, k.name)
		}
		if c.found && vital[k.name] {
			c.report.Skipped = append(c.report.Skipped, Skipped{"everything after " + k.name, "the plugin has to get past it first"})
			return nil
		}
	}
	return nil
}

// survived looks whether the process is still there and well after a check.
func (c *checker) survived(ctx context.Context) {
	if c.proc == nil {
		return
	}
	if c.proc.waitEnded(crashNotice) {
		c.crashed("the check as a whole")
		return
	}
	if err := c.proc.ping(ctx); err != nil && ctx.Err() == nil {
		if c.proc.waitEnded(lostWait) {
			c.crashed("the check as a whole")
			return
		}
		c.find("unhealthy-after", "a health check after "+c.check.name, err.Error())
		c.stopProcess()
	}
}

// crashed reports the end of the process, once.
func (c *checker) crashed(sent string) {
	if c.proc == nil || c.proc.told {
		return
	}
	c.proc.told = true
	rule := c.check.crash
	if rule == "" {
		rule = "crash"
	}
	c.find(rule, sent, "the process "+c.proc.exit())
	c.stopProcess()
}

// find records a broken rule.
func (c *checker) find(rule, sent, got string) {
	c.found = true
	for i := range c.report.Findings {
		if f := &c.report.Findings[i]; f.Rule == rule && f.Check == c.check.name {
			f.More++
			return
		}
	}
	c.report.Findings = append(c.report.Findings, Finding{
		Rule: rule, Check: c.check.name, Sent: shorten(sent), Got: shorten(got), Hint: hints[rule],
	})
}

// blame is an error that says nothing of its cause, with what the plugin wrote
// to stderr when it happened.
func (c *checker) blame(err error) string {
	if c.proc == nil {
		return err.Error()
	}
	time.Sleep(crashNotice) // stderr comes on its own way
	lines := strings.Split(strings.TrimSpace(c.proc.stderr.String()), "\n")
	return err.Error() + "\nlast line of stderr: " + cut(lines[len(lines)-1], 600)
}

// process gives a running, configured process, and nil when there is none to be
// had, which is a finding of the check under way.
func (c *checker) process(ctx context.Context) *process {
	if c.proc != nil && !c.proc.dead() {
		return c.proc
	}
	c.stopProcess()
	p, ok := c.start(ctx)
	if !ok {
		return nil
	}
	c.proc = p
	return p
}

// fresh gives a process that nothing was asked of yet.
func (c *checker) fresh(ctx context.Context) *process {
	c.stopProcess()
	return c.process(ctx)
}

func (c *checker) stopProcess() {
	if c.proc != nil {
		c.proc.kill()
		c.mu.Lock()
		c.noise = append(c.noise, c.proc.printed()...)
		c.mu.Unlock()
		c.proc = nil
	}
}

// within bounds one answer.
func (c *checker) within(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, c.cfg.Patience)
}
