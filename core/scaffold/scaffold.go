// Package scaffold writes the beginning of a plugin: a small one that works,
// with its test and a README. What it writes needs nothing but the sdk, whose
// sources it refers to by their directory.
package scaffold

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"text/template"
)

// Kinds and languages that can be written.
var (
	Kinds     = []string{"tool", "provider"}
	Languages = []string{"go", "python", "node"}
)

// Plugin says what to write.
type Plugin struct {
	Kind string // tool, provider
	Name string // the tool type, or the provider's name
	Lang string // go, python, node
	Dir  string // directory to make, "" means Name
	SDK  string // directory of the sdk's module: see FindSDK
}

// names are what the two kinds accept: sdk/proto/README.md, section 1.
var names = map[string]*regexp.Regexp{
	"tool":     regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`),
	"provider": regexp.MustCompile(`^[a-z][a-z0-9_-]{0,63}$`),
}

// Validate reports what is wrong with p.
func (p Plugin) Validate() error {
	if !slices.Contains(Kinds, p.Kind) {
		return fmt.Errorf("%q is no kind of plugin that can be begun; there is %s", p.Kind, strings.Join(Kinds, ", "))
	}
	if !slices.Contains(Languages, p.Lang) {
		return fmt.Errorf("--lang %q: there is %s", p.Lang, strings.Join(Languages, ", "))
	}
	if !names[p.Kind].MatchString(p.Name) {
		return fmt.Errorf("name %q: begin with a small letter and use small letters, digits and '_', at most 64", p.Name)
	}
	return nil
}

//go:embed templates
var templates embed.FS

// fields are what templates may use.
type fields struct {
	Plugin
	Program  string // the program's or directory's name: tool-weather
	Artifact string // what is given to `plugin add`
	Module   string // of Python: tool_weather
	EnvKey   string // of the key: ACME_API_KEY
}

// Write writes the plugin into a directory that does not exist yet, or is
// empty, and returns the names of the files. When it fails it leaves nothing.
func Write(p Plugin) (dir string, files []string, err error) {
	if err := p.Validate(); err != nil {
		return "", nil, err
	}
	dir = p.Dir
	if dir == "" {
		dir = p.Name
	}
	made, err := render(p)
	if err != nil {
		return "", nil, err
	}
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		return "", nil, fmt.Errorf("directory %q is not empty; name another one with --dir", dir)
	}
	_, err = os.Stat(dir)
	existed := err == nil
	for name, text := range made {
		if err := writeFile(filepath.Join(dir, filepath.FromSlash(name)), text); err != nil {
			if !existed {
				os.RemoveAll(dir)
			}
			return "", nil, err
		}
		files = append(files, name)
	}
	slices.Sort(files)
	return dir, files, nil
}

func writeFile(path string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	mode := fs.FileMode(0o644)
	if bytes.HasPrefix(text, []byte("#!")) {
		mode = 0o755
	}
	return os.WriteFile(path, text, mode)
}

// render gives the files by their slash-separated names.
func render(p Plugin) (map[string][]byte, error) {
	f := fields{
		Plugin: p, Program: p.Kind + "-" + p.Name, Artifact: ".",
		Module: p.Kind + "_" + strings.ReplaceAll(p.Name, "-", "_"),
		EnvKey: strings.ToUpper(strings.ReplaceAll(p.Name, "-", "_")) + "_API_KEY",
	}
	files := map[string][]byte{}
	if err := f.template(files, "templates/README.md.tmpl", "README.md"); err != nil {
		return nil, err
	}
	if err := f.template(files, "templates/"+p.Lang+"/gitignore.tmpl", ".gitignore"); err != nil {
		return nil, err
	}
	root := path.Join("templates", p.Lang, p.Kind)
	err := fs.WalkDir(templates, root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		to := strings.TrimSuffix(strings.TrimPrefix(name, root+"/"), ".tmpl")
		return f.template(files, name, strings.Replace(to, "module.py", f.Module+".py", 1))
	})
	if err != nil {
		return nil, err
	}
	switch p.Lang {
	case "go":
		f.Artifact = "./" + f.Program
		err = errors.Join(f.template(files, "templates/README.md.tmpl", "README.md"), goModule(files, p.SDK, "example.com/"+f.Program))
	case "node":
		err = nodeLibrary(files, p.SDK, p.Kind)
	}
	return files, err
}

func (f fields) template(files map[string][]byte, from, to string) error {
	t, err := template.New(path.Base(from)).Delims("{%", "%}").ParseFS(templates, from)
	if err != nil {
		return fmt.Errorf("scaffold: %w", err)
	}
	var out bytes.Buffer
	if err := t.Execute(&out, f); err != nil {
		return fmt.Errorf("scaffold: %w", err)
	}
	files[to] = out.Bytes()
	return nil
}
