package conformance

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/sallyport-gateway/sallyport/sdk/boot"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
	"github.com/sallyport-gateway/sallyport/sdk/tool"
)

// Running is a plugin that was started as the gateway starts it, for tools that
// ask it something. Close it.
type Running struct {
	Description boot.Description
	Provider    provider.Manifest // of the kind "provider"
	Tool        tool.Manifest     // of the kind "tool"

	checker *checker
}

// Start describes, starts and configures the plugin. An error says in a
// sentence what is wrong and what to do about it.
func Start(ctx context.Context, cfg Config) (*Running, error) {
	if len(cfg.Program) == 0 {
		return nil, errors.New("conformance: no program to start")
	}
	cfg.defaults()
	base, err := runDir()
	if err != nil {
		return nil, fmt.Errorf("conformance: %w", err)
	}
	c := &checker{cfg: cfg, base: base}
	for _, step := range []check{{name: "describe", run: (*checker).describeOnce}, {name: "manifest", run: (*checker).checkManifest}, {name: "start", run: func(c *checker, ctx context.Context) { c.process(ctx) }}} {
		c.check = &step
		if step.run(c, ctx); len(c.report.Findings) > 0 {
			f := c.report.Findings[0]
			c.stopProcess()
			os.RemoveAll(base)
			return nil, fmt.Errorf("%s: %s: %s\n%s", step.name, f.Rule, f.Got, f.Hint)
		}
	}
	return &Running{Description: c.description, Provider: c.provider, Tool: c.tool, checker: c}, nil
}

// Client is a tool plugin as the gateway sees it.
func (r *Running) Client() tool.Tool { return tool.NewClient(r.checker.proc.conn) }

// Translator is a provider plugin as the gateway sees it.
func (r *Running) Translator() *provider.Client { return r.checker.translator(r.checker.proc) }

// Log is what the plugin has written to stderr so far.
func (r *Running) Log() string { return r.checker.proc.stderr.String() }

// Close asks the plugin to end, and ends it when it does not.
func (r *Running) Close() {
	if p := r.checker.proc; p != nil && !p.dead() {
		_ = p.shutdown(context.Background()) // what does not listen is killed
		p.waitEnded(stopWait)
	}
	r.checker.stopProcess()
	os.RemoveAll(r.checker.base)
}
