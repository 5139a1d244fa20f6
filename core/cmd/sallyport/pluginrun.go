//go:build unix

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sallyport-gateway/sallyport/core/pluginhost"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/boot"
	"github.com/sallyport-gateway/sallyport/sdk/conformance"
	"github.com/sallyport-gateway/sallyport/sdk/golden"
	"github.com/sallyport-gateway/sallyport/sdk/tool"
)

func pluginRunCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "run PATH --declaration FILE [--call FILE]",
		Short: "open a declaration with a tool plugin, and make one call",
		Long: `Run a tool plugin once, confined as in the gateway, without a gateway and without a model.

--declaration holds an entry of a request's "tools", such as {"type": "weather", "weather": {"units": "metric"}}. Its
functions are shown. --call holds what a model would say, such as {"name": "weather", "arguments": {"city": "Berlin"}}; the
function may be left out when there is only one. The plugin's fetches go to the URLs of --target.`,
		Args: someArgs(1, 1, "the path of a plugin"),
	}
	how := trialFlagsOf(cmd)
	targets := targetFlagsOf(cmd)
	declaration := cmd.Flags().String("declaration", "", "`file` with an entry of a request's tools")
	call := cmd.Flags().String("call", "", "`file` with a call: {\"name\", \"arguments\"}")
	object := cmd.Flags().String("object", "", "canonical `name` of the object that the declaration names, when the manifest has one")
	asJSON := cmd.Flags().Bool("json", false, "print functions and result as JSON")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *declaration == "" {
			return usageError{errors.New("--declaration is missing: a file with an entry of a request's tools")}
		}
		r := &trialRun{object: *object, json: *asJSON, out: cmd.OutOrStdout(), errs: cmd.ErrOrStderr()}
		if err := readJSON("--declaration", *declaration, &r.declared); err != nil {
			return err
		}
		if *call != "" {
			r.call = new(modelCall)
			if err := readJSON("--call", *call, r.call); err != nil {
				return err
			}
		}
		accounts, err := targets.accounts()
		if err != nil {
			return err
		}
		r.host = tool.NewHost(tool.Service{Fetch: fetcher(accounts), Progress: r.progress})
		trial, running, err := how.start(cmd, args[0])
		if err != nil {
			return err
		}
		defer trial.Close() // what it copied is in a temporary directory
		defer running.Close()
		if err := r.run(cmd, running); err != nil {
			if log := strings.TrimSpace(running.Log()); log != "" {
				fmt.Fprintf(r.errs, "The plugin wrote:\n%s\n", log)
			}
			return err
		}
		return nil
	}
	return cmd
}

// start finds the plugin and starts it, confined.
func (f trialFlags) start(cmd *cobra.Command, path string) (*pluginhost.Trial, *conformance.Running, error) {
	settings, err := f.readSettings()
	if err != nil {
		return nil, nil, err
	}
	trial, c, err := f.open(cmd, path)
	if err != nil {
		return nil, nil, err
	}
	running, err := conformance.Start(cmd.Context(), conformance.Config{
		Program: append(slices.Clone(c.Entry.Interpreter), filepath.Join(c.Root, filepath.FromSlash(c.Entry.Main))),
		Command: trial.Command, Settings: settings,
	})
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("%s: %w", c.Path(), err), trial.Close())
	}
	return trial, running, nil
}

// modelCall is a call as a model makes it.
type modelCall struct {
	Name      string          `json:"name"`
	Arguments json.RawMessage `json:"arguments"`
}

// trialRun is one `plugin run`.
type trialRun struct {
	declared map[string]json.RawMessage
	object   string
	call     *modelCall
	host     *tool.Host
	json     bool
	out      io.Writer
	errs     io.Writer
}

func (r *trialRun) run(cmd *cobra.Command, running *conformance.Running) error {
	if running.Description.Kind != boot.Tool {
		return fmt.Errorf("the plugin is a %s: only tools are run like this; for a translator there is `sallyport plugin record`", running.Description.Kind)
	}
	d, err := r.declaration(running.Tool)
	if err != nil {
		return err
	}
	client := running.Client()
	opened, err := client.Open(cmd.Context(), []tool.Declaration{d}, r.host)
	if err != nil {
		return said("open", err)
	}
	if r.call == nil {
		return r.show(map[string]any{"opened": opened}, opened, nil)
	}
	f, err := chosen(opened.Functions, r.call.Name)
	if err != nil {
		return err
	}
	arguments := r.call.Arguments
	if len(arguments) == 0 {
		arguments = json.RawMessage(`{}`)
	}
	var text string
	if json.Unmarshal(arguments, &text) == nil { // as models send them
		arguments = json.RawMessage(text)
	}
	result, err := client.Call(cmd.Context(), tool.Call{ID: "call_1", Function: f.Name, Arguments: arguments, State: f.State, Attempt: 1}, r.host)
	if err != nil {
		return said("call of "+f.Name, err)
	}
	return r.show(map[string]any{"opened": opened, "result": result}, opened, &result)
}

// declaration makes of an entry of `tools` what the plugin is given. The entry
// may also be a tool.Declaration as golden dialogues write it.
func (r *trialRun) declaration(m tool.Manifest) (tool.Declaration, error) {
	d := tool.Declaration{Object: r.object}
	for name, field := range map[string]any{"name": &d.Name, "description": &d.Description, "index": &d.Index} {
		if raw := r.declared[name]; len(raw) > 0 {
			if err := json.Unmarshal(raw, field); err != nil {
				return d, fmt.Errorf("--declaration: %s: %w", name, err)
			}
		}
	}
	if raw := r.declared["object"]; len(raw) > 0 && r.object == "" {
		if err := json.Unmarshal(raw, &d.Object); err != nil {
			return d, fmt.Errorf("--declaration: object: %w", err)
		}
	}
	var typ string
	if raw := r.declared["type"]; len(raw) > 0 {
		if err := json.Unmarshal(raw, &typ); err != nil || typ != m.Type {
			return d, fmt.Errorf("--declaration: its type is %s, the plugin serves %q", raw, m.Type)
		}
	}
	switch {
	case len(r.declared["spec"]) > 0:
		d.Spec = r.declared["spec"]
	case len(r.declared[m.Type]) > 0:
		d.Spec = r.declared[m.Type]
	case typ != "":
		d.Spec = json.RawMessage(`{}`)
	default:
		return d, fmt.Errorf(`--declaration: write {"type": %q, %q: {…}}`, m.Type, m.Type)
	}
	if m.Object != nil && d.Object == "" {
		d.Object = fieldOf(d.Spec, m.Object.Field)
	}
	return d, nil
}

// fieldOf is the text at a path such as "table.name" of a declaration, whose
// first part is the type and so the spec itself.
func fieldOf(spec json.RawMessage, path string) string {
	_, rest, _ := strings.Cut(path, ".")
	for name := range strings.SplitSeq(rest, ".") {
		var m map[string]json.RawMessage
		if json.Unmarshal(spec, &m) != nil {
			return ""
		}
		spec = m[name]
	}
	var s string
	if json.Unmarshal(spec, &s) != nil {
		return ""
	}
	return s
}

// chosen is the function of that name, or the only one.
func chosen(fs []tool.Function, name string) (tool.Function, error) {
	var names []string
	for _, f := range fs {
		if f.Name == name || name == "" && len(fs) == 1 {
			return f, nil
		}
		names = append(names, f.Name)
	}
	return tool.Function{}, fmt.Errorf("--call: there is no function %q; there is %s", name, strings.Join(names, ", "))
}

// said is an error of the plugin with its code.
func said(step string, err error) error {
	e := apierror.From(err)
	return fmt.Errorf("%s: %s: %s", step, e.Code, e.Message)
}

// progress tells what the plugin tells the client of a long call.
func (r *trialRun) progress(_ context.Context, p tool.Progress) error {
	fmt.Fprintf(r.errs, "progress: %s %.0f %%\n", p.Message, 100*p.Fraction)
	return nil
}

func (r *trialRun) show(all any, o tool.Opened, result *tool.Result) error {
	if r.json {
		b, err := golden.Pretty(all)
		if err != nil {
			return err
		}
		_, err = r.out.Write(b)
		return err
	}
	var b bytes.Buffer
	for _, f := range o.Functions {
		fmt.Fprintf(&b, "function %s\n  %s\n  parameters: %s\n", f.Name, strings.ReplaceAll(f.Description, "\n", "\n  "), compact(f.Parameters))
	}
	for _, c := range o.Connections {
		fmt.Fprintf(&b, "connection %s\n", c.Name)
	}
	if result != nil {
		what := "result"
		if result.IsError {
			what = "result, an error"
		}
		fmt.Fprintf(&b, "%s\n", what)
		for _, c := range result.Content {
			text := c.Text
			if c.Type == "image" {
				text = fmt.Sprintf("(image, %d bytes)", len(c.ImageURL))
			}
			fmt.Fprintf(&b, "  %s\n", strings.ReplaceAll(text, "\n", "\n  "))
		}
		for _, c := range result.Citations {
			fmt.Fprintf(&b, "  cites %s (%s)\n", c.URL, c.Title)
		}
		if len(result.Structured) > 0 {
			fmt.Fprintf(&b, "  structured: %s\n", compact(result.Structured))
		}
	}
	_, err := r.out.Write(b.Bytes())
	return err
}

// readJSON reads the file of a flag.
func readJSON(flag, path string, v any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("%s: %w", flag, err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%s: %s: %w", flag, path, err)
	}
	return nil
}
