// Package pluginlock keeps the list of plugins that an operator accepted: the
// files each is made of, how it is run, and what it said of itself. A program
// that is not in the list, or is not the same to the byte, is not run.
package pluginlock

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// FileName is the name of the list in a plugins directory.
const FileName = "plugins.lock"

// Version is the version of the format that this package reads and writes.
const Version = 1

// MainName is the name of the executable in a plugin that is a directory.
const MainName = "plugin"

// Limits of what a list may say.
const (
	MaxPlugins   = 256       // in one directory
	MaxFiles     = 10_000    // of one plugin
	MaxFile      = 256 << 20 // bytes of one file
	MaxTotal     = 1 << 30   // bytes of all files of one plugin
	maxLock      = 64 << 20  // bytes of the list itself
	maxDescribed = 1 << 20   // bytes of one description
	maxArgs      = 16        // of an interpreter
	maxReads     = 64
	maxPath      = 1024
)

// Lock is the content of a plugins.lock.
type Lock struct {
	Version int      `json:"version"`
	Plugins []Plugin `json:"plugins"`
}

// Plugin is one accepted plugin.
type Plugin struct {
	// Main is the program, relative to the plugins directory: "tool-weather",
	// or "weather/plugin" for a plugin that is a directory.
	Main string `json:"main"`
	// Files has the SHA-256, in hex, of every file by its slash-separated path
	// in the plugins directory; Main is one of them.
	Files map[string]string `json:"files"`
	// Interpreter runs a program that is a script: its absolute path and
	// arguments. Empty for a program of its own.
	Interpreter []string `json:"interpreter,omitempty"`
	// Read are the absolute paths that the operator lets the plugin read.
	Read []string `json:"read,omitempty"`
	// Description is what the program printed when it was asked to describe
	// itself; the operator accepted that.
	Description json.RawMessage `json:"description"`
	// Added is when the operator did.
	Added time.Time `json:"added"`
}

// Dir is the name of the plugin's directory, "" for one that is a single file.
func (p *Plugin) Dir() string {
	dir, _, ok := strings.Cut(p.Main, "/")
	if !ok {
		return ""
	}
	return dir
}

// Top is what the plugin is called in its plugins directory: the name of its
// file or directory.
func (p *Plugin) Top() string {
	top, _, _ := strings.Cut(p.Main, "/")
	return top
}

// Find returns the plugin with the main file, nil when there is none.
func (l *Lock) Find(main string) *Plugin {
	for i := range l.Plugins {
		if l.Plugins[i].Main == main {
			return &l.Plugins[i]
		}
	}
	return nil
}

// Put adds p, in the place of the plugin with the same file or directory.
func (l *Lock) Put(p Plugin) {
	l.Remove(p.Top())
	l.Plugins = append(l.Plugins, p)
	slices.SortFunc(l.Plugins, func(a, b Plugin) int { return strings.Compare(a.Main, b.Main) })
}

// Remove takes out the plugin whose file or directory is called top, and
// reports whether there was one.
func (l *Lock) Remove(top string) bool {
	n := len(l.Plugins)
	l.Plugins = slices.DeleteFunc(l.Plugins, func(p Plugin) bool { return p.Top() == top })
	return len(l.Plugins) < n
}

// Read reads the list of a plugins directory. A directory without one has an
// empty list. A list that others than its owner could have written is refused.
func Read(dir string) (*Lock, error) {
	file := filepath.Join(dir, FileName)
	f, err := open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return &Lock{Version: Version}, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxLock+1))
	if err != nil {
		return nil, err
	}
	l, err := Parse(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return l, nil
}

// Parse reads the text of a list. It is strict: what this version does not know
// is an error, for it may be a restriction.
func Parse(b []byte) (*Lock, error) {
	if len(b) > maxLock {
		return nil, fmt.Errorf("is longer than %d MiB", maxLock>>20)
	}
	var head struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(b, &head); err != nil {
		return nil, fmt.Errorf("is no list of plugins: %w; restore it, or remove it and add the plugins again", err)
	}
	switch {
	case head.Version > Version:
		return nil, fmt.Errorf("has version %d, this program knows version %d; use the sallyport that wrote it, or a newer one", head.Version, Version)
	case head.Version != Version:
		return nil, fmt.Errorf("has version %d, which there never was; restore it, or remove it and add the plugins again", head.Version)
	}
	if key := twice(json.NewDecoder(bytes.NewReader(b))); key != "" {
		return nil, fmt.Errorf("has the member %q twice in one object", key)
	}
	var l Lock
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&l); err != nil {
		return nil, fmt.Errorf("is no list of plugins of version %d: %w", Version, err)
	}
	return &l, l.check()
}

// twice finds a member that an object has two of: which one counts would depend
// on the reader. The text is valid JSON.
func twice(d *json.Decoder) string {
	type level struct {
		object, value bool
		seen          map[string]bool
	}
	var levels []level
	for {
		t, err := d.Token()
		if err != nil {
			return ""
		}
		if delim, ok := t.(json.Delim); ok && (delim == '}' || delim == ']') {
			levels = levels[:len(levels)-1]
			if len(levels) == 0 {
				return ""
			}
			continue
		}
		if n := len(levels); n > 0 && levels[n-1].object {
			top := &levels[n-1]
			if !top.value {
				key := t.(string)
				if top.seen[key] {
					return key
				}
				top.seen[key], top.value = true, true
				continue
			}
			top.value = false
		}
		if delim, ok := t.(json.Delim); ok {
			levels = append(levels, level{object: delim == '{', seen: map[string]bool{}})
		} else if len(levels) == 0 {
			return ""
		}
	}
}

// check holds l against the rules. Its errors name the plugin.
func (l *Lock) check() error {
	if len(l.Plugins) > MaxPlugins {
		return fmt.Errorf("lists %d plugins; at most %d are allowed", len(l.Plugins), MaxPlugins)
	}
	tops := make(map[string]bool)
	for i := range l.Plugins {
		p := &l.Plugins[i]
		if err := p.check(); err != nil {
			return fmt.Errorf("plugin %q: %w", p.Main, err)
		}
		if tops[p.Top()] {
			return fmt.Errorf("plugin %q is listed twice", p.Top())
		}
		tops[p.Top()] = true
	}
	return nil
}

func (p *Plugin) check() error {
	if err := checkPath(p.Main); err != nil {
		return fmt.Errorf("main: %w", err)
	}
	if dir, name := path.Split(p.Main); dir != "" && (name != MainName || strings.Count(dir, "/") != 1) {
		return fmt.Errorf("main: must be a file of the plugins directory, or DIRECTORY/%s", MainName)
	}
	if err := checkTop(p.Top()); err != nil {
		return fmt.Errorf("main: %w", err)
	}
	if p.Files[p.Main] == "" {
		return fmt.Errorf("files: %q itself is not among them", p.Main)
	}
	if len(p.Files) > MaxFiles {
		return fmt.Errorf("files: %d; at most %d are allowed", len(p.Files), MaxFiles)
	}
	for name, sum := range p.Files {
		if err := p.checkFile(name, sum); err != nil {
			return fmt.Errorf("files: %q %w", name, err)
		}
	}
	if len(p.Interpreter) > maxArgs {
		return fmt.Errorf("interpreter: %d words; at most %d are allowed", len(p.Interpreter), maxArgs)
	}
	if len(p.Interpreter) > 0 {
		if err := checkAbsolute(p.Interpreter[0]); err != nil {
			return fmt.Errorf("interpreter: %w", err)
		}
	}
	for _, a := range p.Interpreter {
		if strings.ContainsRune(a, 0) || len(a) > maxPath {
			return errors.New("interpreter: an argument is too long or has a zero byte")
		}
	}
	if len(p.Read) > maxReads {
		return fmt.Errorf("read: %d paths; at most %d are allowed", len(p.Read), maxReads)
	}
	for _, r := range p.Read {
		if err := CheckRead(r); err != nil {
			return fmt.Errorf("read: %w", err)
		}
	}
	if d := bytes.TrimSpace(p.Description); len(d) > maxDescribed || !bytes.HasPrefix(d, []byte("{")) {
		return errors.New("description: is missing or too long")
	}
	return nil
}

func (p *Plugin) checkFile(name, sum string) error {
	if err := checkPath(name); err != nil {
		return err
	}
	if raw, err := hex.DecodeString(sum); err != nil || len(raw) != 32 || strings.ToLower(sum) != sum {
		return fmt.Errorf("has no SHA-256 in 64 lower-case hex digits but %.80q", sum)
	}
	if dir := p.Dir(); dir == "" && name != p.Main || dir != "" && !strings.HasPrefix(name, dir+"/") {
		return errors.New("does not belong to the plugin")
	}
	for up := path.Dir(name); up != "."; up = path.Dir(up) {
		if p.Files[up] != "" {
			return fmt.Errorf("is below %q, which is a file", up)
		}
	}
	return nil
}

// checkPath checks a path in the plugins directory.
func checkPath(name string) error {
	switch {
	case name == "" || name == "." || !fs.ValidPath(name):
		return errors.New("must lead below the plugins directory, with neither . nor .. in it")
	case len(name) > maxPath:
		return fmt.Errorf("is longer than %d bytes", maxPath)
	}
	for _, c := range name {
		if c < ' ' || c == 0x7f || c == '\\' {
			return fmt.Errorf("has the character %q in it", c)
		}
	}
	return nil
}

// checkTop checks what a plugin may be called in its directory.
func checkTop(name string) error {
	switch {
	case strings.HasPrefix(name, "."):
		return errors.New("is hidden")
	case name == FileName:
		return errors.New("is the list itself")
	}
	return nil
}

// CheckRead refuses a path that no plugin may be given to read.
func CheckRead(name string) error {
	if err := checkAbsolute(name); err != nil {
		return err
	}
	if name == "/" {
		return errors.New(`"/" is everything`)
	}
	return nil
}

func checkAbsolute(name string) error {
	if !filepath.IsAbs(name) || filepath.Clean(name) != name || strings.ContainsRune(name, 0) || len(name) > maxPath {
		return fmt.Errorf("%.200q must be an absolute path, with neither . nor .. in it", name)
	}
	return nil
}
