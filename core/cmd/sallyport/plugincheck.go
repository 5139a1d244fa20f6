//go:build unix

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sallyport-gateway/sallyport/core/config"
	"github.com/sallyport-gateway/sallyport/core/pluginhost"
	"github.com/sallyport-gateway/sallyport/core/pluginlock"
	"github.com/sallyport-gateway/sallyport/sdk/confine"
	"github.com/sallyport-gateway/sallyport/sdk/conformance"
)

// trialFlags are the flags of the commands that run a plugin nobody added.
type trialFlags struct {
	runFlags
	read     *[]string
	settings *string
}

func trialFlagsOf(cmd *cobra.Command) trialFlags {
	return trialFlags{
		runFlags: describeFlags(cmd),
		read:     cmd.Flags().StringArray("read", nil, "`path` that the plugin may read, beside what it needs anyway; can be repeated"),
		settings: cmd.Flags().String("settings", "", "`file` with the plugin's settings, a JSON object"),
	}
}

// open finds the plugin and makes it ready to run. The plugin is described when
// it can be.
func (f trialFlags) open(cmd *cobra.Command, path string) (*pluginhost.Trial, *pluginhost.Candidate, error) {
	c, err := pluginhost.Find(path, *f.interpreter)
	if err != nil {
		return nil, nil, err
	}
	for _, r := range *f.read {
		if r, err = filepath.Abs(r); err != nil {
			return nil, nil, err
		}
		if _, err := os.Stat(r); err != nil {
			return nil, nil, fmt.Errorf("--read: %w", err)
		}
		if err := pluginlock.CheckRead(r); err != nil {
			return nil, nil, fmt.Errorf("--read: %w", err)
		}
		c.Entry.Read = append(c.Entry.Read, r)
	}
	host := f.host(&config.Config{})
	t, err := c.Try(host)
	if err != nil {
		return nil, nil, err
	}
	d, err := c.Describe(cmd.Context(), host, slog.New(slog.DiscardHandler))
	if err == nil { // else whoever runs it says what is wrong
		t.Kind, t.Name, t.Requires = d.Kind, d.Name, d.Requires
	}
	return t, c, nil
}

// readSettings reads the file of --settings.
func (f trialFlags) readSettings() (json.RawMessage, error) {
	if *f.settings == "" {
		return nil, nil
	}
	b, err := os.ReadFile(*f.settings)
	if err != nil {
		return nil, fmt.Errorf("--settings: %w", err)
	}
	var object map[string]any
	if err := json.Unmarshal(b, &object); err != nil {
		return nil, fmt.Errorf("--settings: %s holds no JSON object: %w", *f.settings, err)
	}
	return b, nil
}

// pairs reads flags of the form NAME=VALUE.
func pairs(flag string, list []string) (map[string]string, error) {
	m := make(map[string]string, len(list))
	for _, s := range list {
		name, value, ok := strings.Cut(s, "=")
		if !ok || name == "" || value == "" {
			return nil, usageError{fmt.Errorf("--%s %s: write NAME=VALUE", flag, s)}
		}
		m[name] = value
	}
	return m, nil
}

func pluginTestCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "test PATH",
		Short: "check a plugin the way the gateway will use it",
		Long: `Check a plugin before it meets a gateway. PATH is a program, a script, or a directory with an executable called "plugin"
in it. It is started, confined as the gateway will confine it, and taken through its contract: the handshake, golden
dialogues, split and cut replies, bad arguments, cancellations, calls side by side, leaks, and its end.

Dialogues are *.txtar files; without --testdata they are looked for in "testdata" beside the plugin. The exit status is 1
when something was found.`,
		Args: someArgs(1, 1, "the path of a plugin"),
	}
	how := trialFlagsOf(cmd)
	targets := targetFlagsOf(cmd)
	dir := cmd.Flags().String("testdata", "", "`directory` with the plugin's golden dialogues")
	only := cmd.Flags().StringArray("only", nil, "make only this `check` and what it builds on; can be repeated")
	asJSON := cmd.Flags().Bool("json", false, "print the report as JSON")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		settings, err := how.readSettings()
		if err != nil {
			return err
		}
		accounts, err := targets.accounts()
		if err != nil {
			return err
		}
		trial, c, err := how.open(cmd, args[0])
		if err != nil {
			return err
		}
		defer trial.Close() // what it copied is in a temporary directory
		cfg := conformance.Config{
			Program: append(slices.Clone(c.Entry.Interpreter), filepath.Join(c.Root, filepath.FromSlash(c.Entry.Main))),
			Command: trial.Command, EndsWithParent: runtime.GOOS == "linux",
			Dir: testdata(*dir, c), Settings: settings, Targets: handlers(accounts), Only: *only,
		}
		if cfg.DataDir, err = trial.Dir(); err != nil {
			return err
		}
		trial.Read(cfg.DataDir)
		errs := cmd.ErrOrStderr()
		if !*asJSON {
			fmt.Fprintf(errs, "Testing %s (%s) …\n", c.Path(), confinement(*how.unconfined))
		}
		report, err := conformance.Check(cmd.Context(), cfg)
		report.Program = c.Path()
		if *asJSON {
			e := json.NewEncoder(cmd.OutOrStdout())
			e.SetEscapeHTML(false)
			e.SetIndent("", "  ")
			if jerr := e.Encode(report); jerr != nil {
				return jerr
			}
		} else {
			printReport(cmd.OutOrStdout(), &report)
		}
		switch {
		case err != nil:
			return err
		case !report.OK():
			return fmt.Errorf("%s: %s", c.Path(), counted(len(report.Findings), "finding"))
		}
		return nil
	}
	return cmd
}

// confinement says in a few words how the plugin runs.
func confinement(allowed bool) string {
	if confine.Probe().Full() {
		return "confined as in the gateway"
	}
	if allowed {
		return "not confined: this system cannot"
	}
	return "confined as far as this system can"
}

// testdata is where a plugin's dialogues are, "" if there are none.
func testdata(named string, c *pluginhost.Candidate) string {
	if named != "" {
		return named
	}
	for _, dir := range []string{filepath.Join(c.Path(), "testdata"), filepath.Join(c.Root, "testdata")} {
		if info, err := os.Stat(dir); err == nil && info.IsDir() {
			return dir
		}
	}
	return ""
}

// printReport prints what was found, for people.
func printReport(out io.Writer, r *conformance.Report) {
	for i, f := range r.Findings {
		fmt.Fprintf(out, "%d. %s  (in: %s)\n", i+1, f.Rule, f.Check)
		for _, part := range []struct{ name, text string }{{"sent", f.Sent}, {"came", f.Got}, {"hint", f.Hint}} {
			fmt.Fprintf(out, "   %s  %s\n", part.name, strings.ReplaceAll(part.text, "\n", "\n         "))
		}
		if f.More > 0 {
			fmt.Fprintf(out, "         (and %d times more)\n", f.More)
		}
		fmt.Fprintln(out)
	}
	for _, s := range r.Skipped {
		fmt.Fprintf(out, "not checked: %s: %s\n", s.Check, s.Why)
	}
	if len(r.Passed) > 0 {
		fmt.Fprintf(out, "passed: %s\n", strings.Join(r.Passed, ", "))
	}
	what := "the plugin"
	if r.Kind != "" {
		what = fmt.Sprintf("%s %s %s", r.Kind, r.Name, r.Version)
	}
	fmt.Fprintf(out, "%s: %s passed, %s, %.1f s\n", what, counted(len(r.Passed), "check"), counted(len(r.Findings), "finding"), r.Seconds)
}
