package pluginhost

import (
	"context"
	"os"
	"path/filepath"

	"github.com/sallyport-gateway/sallyport/sdk/boot"
	"github.com/sallyport-gateway/sallyport/sdk/engine"
)

// tables are the catalog's locations as an engine process was given them, and
// what was there; nil for nothing.
//
// The kernel confines a process to files, not to names: one that was renamed
// into the place of a table, or a directory that was made anew, is not what the
// process may read, and Landlock gives nothing later. Granting the directories
// above would cover it, but in the usual places that is the directory with the
// gateway's configuration and data. So a process gets the locations alone, and
// one that has other things under its names by now is replaced before the query
// that needs them, while it finishes the queries it has.
type tables struct {
	then map[string]os.FileInfo // by location
	at   map[string]string      // location by its path, and by the one behind its links
}

// tablesFor looks at the locations that a plugin may read besides its own
// files: those of engines.
func (h *Host) tablesFor(kind string) tables {
	t := tables{make(map[string]os.FileInfo), make(map[string]string)}
	if kind != boot.Engine || h.cfg.TableDirs == nil {
		return t
	}
	for _, location := range h.cfg.TableDirs() {
		t.then[location] = statOrNil(location)
		if real, err := filepath.EvalSymlinks(location); err == nil {
			t.at[real] = location
		}
		t.at[location] = location
	}
	return t
}

func statOrNil(path string) os.FileInfo {
	info, err := os.Stat(path) // of what a link leads to, as the kernel grants it
	if err != nil {
		return nil
	}
	return info
}

// paths are the locations that exist.
func (t tables) paths() []string {
	var paths []string
	for location, info := range t.then {
		if info != nil {
			paths = append(paths, location)
		}
	}
	return paths
}

// stale reports whether the process may not read a file of q, and a fresh one
// may.
func (t tables) stale(q engine.Query) bool {
	looked := make(map[string]bool) // what is below the same directory is no different
	for _, r := range q.Relations {
		for _, f := range r.Files {
			path := filepath.Clean(f.Path)
			for d := path; !looked[d]; d = filepath.Dir(d) {
				looked[d] = true
				location, ok := t.at[d]
				if !ok && d == filepath.Dir(d) {
					location, ok = t.behind(path)
				}
				if ok && t.changed(location) {
					return true
				}
				if ok {
					break
				}
			}
		}
	}
	return false
}

// changed reports whether a location has something else under its name.
func (t tables) changed(location string) bool {
	then, now := t.then[location], statOrNil(location)
	return now != nil && (then == nil || !os.SameFile(then, now))
}

// behind finds the location that leads to path by a link that was made since.
func (t tables) behind(path string) (location string, ok bool) {
	for location := range t.then {
		if real, err := filepath.EvalSymlinks(location); err == nil {
			if rel, err := filepath.Rel(real, path); err == nil && filepath.IsLocal(rel) {
				return location, true
			}
		}
	}
	return "", false
}

// acquire returns a process that may read the files of q, with one call counted
// on it.
func (e pluginEngine) acquire(ctx context.Context, q engine.Query) (*process, error) {
	p, err := e.slot.acquire(ctx)
	if err != nil || !p.tables.stale(q) {
		return p, err
	}
	p.calls.add(-1)
	if err := e.slot.renew(p); err != nil {
		return nil, unavailable(err, "The %s.", err)
	}
	return e.slot.acquire(ctx)
}

// renew replaces old by a fresh process of the same plugin, unless somebody
// did already.
func (s *slot) renew(old *process) error {
	s.renewing.Lock()
	defer s.renewing.Unlock()
	s.mu.Lock()
	p, current := s.plugin, s.cur == old
	s.mu.Unlock()
	if !current {
		return nil
	}
	s.log.Info("a table has other files; the engine is started anew")
	return s.replace(p)
}
