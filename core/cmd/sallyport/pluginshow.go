//go:build unix

package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/sallyport-gateway/sallyport/core/pluginhost"
	"github.com/sallyport-gateway/sallyport/sdk/boot"
)

// print shows an operator what there is to accept.
func (l *listed) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	row := func(name, text string) {
		if text != "" {
			fmt.Fprintf(w, "  %s\t%s\n", name, text)
		}
	}
	d := &l.described
	fmt.Fprintln(w, strings.TrimSpace(l.title()))
	row("from", quoted([]string{filepath.Join(l.dir, l.entry.Top())}, "")+files(len(l.entry.Files)))
	if l.entry.Dir() != "" {
		largest, hidden := l.contents()
		row("largest", quoted(largest, ", "))
		row("hidden", quoted(hidden, ", "))
	}
	row("runs with", quoted(l.entry.Interpreter, " "))
	if env := pluginhost.Environment(l.entry.Interpreter); env != "" {
		row("not pinned", strconv.Quote(env)+" (the virtual environment is trusted, not pinned)")
	}
	switch d.Kind {
	case boot.Tool:
		t := &d.Tool
		row("serves", fmt.Sprintf("tools of the type %q", t.Type))
		if t.Object != nil {
			row("callers need", fmt.Sprintf("%q on the %q that %q names", t.Object.Privilege, t.Object.Kind, t.Object.Field))
		} else {
			row("callers need", fmt.Sprintf("USE TOOL on tool %s", t.Type))
		}
		row("token scope", quoted([]string{t.Scope}, ""))
		if len(t.Targets) > 0 {
			row("calls", quoted(t.Targets, ", ")+" (bind them under tools."+t.Type+".targets)")
		}
		row("settings", quoted(schemaKeys(t.Config), ", "))
	case boot.Provider:
		p := &d.Provider
		row("serves", fmt.Sprintf("providers with `translator: %s`", p.Name))
		row("base URL", quoted([]string{p.BaseURL}, ""))
		row("key", quoted([]string{p.Credential.Scheme, p.Credential.Name}, " "))
		row("settings", quoted(schemaKeys(p.Settings), ", "))
	case boot.Engine:
		row("serves", fmt.Sprintf("SQL (%q) over %s", d.Engine.Dialect, quoted(d.Engine.Formats, ", ")))
		row("reads", "the files of the catalog's tables")
	}
	for _, path := range slices.Concat(l.entry.Read, d.Requires.Read) {
		row("may read", quoted([]string{path}, ""))
	}
	if d.Requires.Programs {
		row("may start", "processes of its own program and of what it may read")
	}
	if d.Requires.Memory > 0 {
		row("memory", fmt.Sprintf("up to %d MiB", d.Requires.Memory>>20))
	}
	row("else", "no network, no files, no other processes")
	return w.Flush()
}

// quoted joins texts of the plugin, each in quotes, in which nothing can look
// like a line of ours; those that are empty are left out.
func quoted(texts []string, between string) string {
	var out []string
	for _, t := range texts {
		if t != "" {
			out = append(out, strconv.Quote(t))
		}
	}
	return strings.Join(out, between)
}

// contents are the largest and the hidden ones of the files and directories at
// the top of the plugin's own directory: what the author may not have meant to be
// part of it.
func (l *listed) contents() (largest, hidden []string) {
	const most = 3
	sizes := make(map[string]int64)
	for name := range l.entry.Files {
		inside := strings.TrimPrefix(name, l.entry.Dir()+"/")
		top, _, below := strings.Cut(inside, "/")
		if below {
			top += "/"
		}
		var size int64
		if info, err := os.Stat(filepath.Join(l.dir, filepath.FromSlash(name))); err == nil {
			size = info.Size()
		}
		sizes[top] += size
	}
	largest = slices.SortedFunc(maps.Keys(sizes), func(a, b string) int {
		return cmp.Or(cmp.Compare(sizes[b], sizes[a]), cmp.Compare(a, b))
	})
	for _, top := range slices.Sorted(maps.Keys(sizes)) {
		if strings.HasPrefix(top, ".") {
			hidden = append(hidden, top)
		}
	}
	if more := len(hidden) - 2*most; more > 0 {
		hidden = append(hidden[:2*most], fmt.Sprintf("… and %d more", more))
	}
	largest = largest[:min(most, len(largest))]
	for k, top := range largest {
		largest[k] = fmt.Sprintf("%s %d KiB", top, (sizes[top]+1023)>>10)
	}
	return largest, hidden
}

func files(n int) string {
	if n == 1 {
		return ""
	}
	return fmt.Sprintf(" (%d files)", n)
}

// schemaKeys are the keys of a JSON Schema of an object.
func schemaKeys(schema json.RawMessage) []string {
	var s struct {
		Properties map[string]json.RawMessage `json:"properties"`
	}
	if json.Unmarshal(schema, &s) != nil {
		return nil
	}
	var keys []string
	for k := range s.Properties {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
