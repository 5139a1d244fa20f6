package pluginhost

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/sallyport-gateway/sallyport/core/pluginlock"
	"github.com/sallyport-gateway/sallyport/sdk/boot"
)

// maxPlugins bounds the plugins of all directories together.
const maxPlugins = 256

// plugin is one plugin that the operator accepted, or something in a plugins
// directory that cannot be used. It is immutable, but for what its image knows.
type plugin struct {
	Described
	path     string // of its file or directory
	digest   string // of all that the lock says, but for the time
	settings json.RawMessage
	image    *image
	dev      bool // under development: accepted as it is, see Dev

	unlisted bool   // lies there, but nobody accepted it
	refused  string // why it is not used; then the fields above may be empty
}

// slotName is what a plugin is asked for by: no two may have the same.
type slotName struct{ kind, name string }

func (p *plugin) slot() slotName { return slotName{p.Kind, p.Name} }

func (p *plugin) usable() bool { return p.refused == "" && !p.unlisted }

// scan reads the lists of the plugins directories. It runs no program: what a
// plugin is, it said when the operator added it. A plugin that cannot be used is
// listed as refused and does not stop the others; a directory or a list that
// others can change does.
func (h *Host) scan() ([]*plugin, error) {
	var found []*plugin
	for _, dir := range h.cfg.Dirs {
		if err := pluginlock.CheckDir(dir); err != nil {
			return nil, err
		}
		lock, err := pluginlock.Read(dir)
		if err != nil {
			return nil, err
		}
		for i := range lock.Plugins {
			found = append(found, h.listed(dir, lock.Plugins[i]))
		}
		rest, err := unlisted(dir, lock)
		if err != nil {
			return nil, err
		}
		found = append(found, rest...)
	}
	if len(found) > maxPlugins {
		return nil, fmt.Errorf("plugin directories %s hold %d programs, at most %d", strings.Join(h.cfg.Dirs, ", "), len(found), maxPlugins)
	}
	refuseDoubles(found)
	return found, nil
}

// listed makes the plugin of an entry of the list in dir.
func (h *Host) listed(dir string, entry pluginlock.Plugin) *plugin {
	p := &plugin{path: filepath.Join(dir, entry.Top())}
	main := filepath.Join(dir, filepath.FromSlash(entry.Main))
	if _, err := os.Stat(main); err != nil {
		p.Name, p.refused = entry.Top(), fmt.Sprintf("%s is gone; put it back, or run: sallyport plugin remove %s --to %s", main, entry.Top(), dir)
		return p
	}
	d, err := ParseDescription(entry.Description)
	if err != nil {
		p.Name, p.refused = entry.Top(), fmt.Sprintf("the description in %s %s; run: sallyport plugin add %s --to %s", pluginlock.FileName, err, p.path, dir)
		return p
	}
	p.Described = d
	p.digest = digest(entry)
	if d.Kind == boot.Tool {
		p.settings = h.options.Load().settings[d.Name]
	}
	p.image = &image{run: h.run, root: dir, entry: entry}
	return p
}

// digest stands for everything that an entry says, but for when it was made.
func digest(entry pluginlock.Plugin) string {
	type said pluginlock.Plugin
	b, err := json.Marshal(struct {
		said
		Added string `json:"added,omitempty"`
	}{said: said(entry)})
	if err != nil { // a description that is no JSON was refused before
		b = []byte(err.Error())
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// unlisted finds what looks like a plugin in dir and is not in its list.
func unlisted(dir string, lock *pluginlock.Lock) ([]*plugin, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("plugin directory %q: %w", dir, err)
	}
	known := make(map[string]bool)
	for i := range lock.Plugins {
		known[lock.Plugins[i].Top()] = true
	}
	var found []*plugin
	for _, e := range entries {
		if known[e.Name()] || strings.HasPrefix(e.Name(), ".") || e.Name() == pluginlock.FileName {
			continue
		}
		if path := filepath.Join(dir, e.Name()); isProgram(path) {
			p := &plugin{path: path, unlisted: true, refused: "not added: sallyport plugin add " + path + " --to " + dir}
			p.Name = e.Name()
			found = append(found, p)
		}
	}
	return found, nil
}

// isProgram reports whether path looks like a plugin: an executable, or a
// directory with one called "plugin".
func isProgram(path string) bool {
	info, err := os.Stat(path) // through a symbolic link
	if err == nil && info.IsDir() {
		info, err = os.Stat(filepath.Join(path, pluginlock.MainName))
	}
	return err == nil && info.Mode().IsRegular() && executable(info)
}

func executable(info fs.FileInfo) bool { return info.Mode().Perm()&0o111 != 0 }

// refuseDoubles refuses every plugin whose kind and name another one has too:
// which one was meant cannot be known.
func refuseDoubles(ps []*plugin) {
	byName := make(map[slotName][]*plugin)
	for _, p := range ps {
		if p.usable() {
			byName[p.slot()] = append(byName[p.slot()], p)
		}
	}
	for name, same := range byName {
		if len(same) < 2 {
			continue
		}
		var paths []string
		for _, p := range same {
			paths = append(paths, p.path)
		}
		for _, p := range same {
			p.refused = fmt.Sprintf("%d plugins offer the %s %q, none of them is used: %s; remove all but one, such as this one with: sallyport plugin remove %s --to %s",
				len(same), name.kind, name.name, strings.Join(paths, ", "), filepath.Base(p.path), filepath.Dir(p.path))
		}
	}
}
