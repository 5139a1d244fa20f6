package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// results works out the plan's files. What an earlier setup wrote is taken
// out of them first, so that a second setup can be taken back like one.
func (s Setup) results(p Plan) ([]result, *record, error) {
	dir := recordDir(s.Place, s.Agent, s.Project)
	old, err := readRecord(dir)
	if err != nil {
		return nil, nil, err
	}
	if old == nil {
		old = &record{Version: 1}
	}
	var out []result
	for _, f := range p.Files {
		real, now, was, err := readFile(f.Path)
		if err != nil {
			return nil, nil, err
		}
		r := result{file: f, path: real, before: now, was: was, mode: was}
		base := now
		if w := old.file(f.Path); w != nil {
			o, err := w.before(dir, true)
			if err != nil {
				return nil, nil, err
			}
			base = o.text
		}
		if now == nil {
			r.mode = 0o600
			if s.Project {
				r.mode = 0o644
			}
		}
		if f.Secret {
			r.mode &= 0o700
		}
		if r.after, r.changes, err = f.make(base); err != nil {
			return nil, nil, err
		}
		out = append(out, r)
	}
	for _, w := range old.Files { // of the earlier setup alone
		if slices.ContainsFunc(p.Files, func(f File) bool { return f.Path == w.Path }) {
			continue
		}
		return nil, nil, fmt.Errorf("an earlier setup wrote %s, which this one does not: take it back first with `sallyport setup %s --undo`", w.Path, s.Agent.Name)
	}
	return out, old, nil
}

// Apply writes the plan and remembers how to take it back. Nothing is written
// when a file cannot be changed cleanly.
func (s Setup) Apply(p Plan) error {
	if len(p.Files) == 0 {
		return nil
	}
	results, old, err := s.results(p)
	if err != nil {
		return err
	}
	dir := recordDir(s.Place, s.Agent, s.Project)
	r := record{Version: 1, Agent: s.Agent.Name, Time: time.Now().UTC(), URL: s.Gateway.URL, Model: s.Gateway.Model, Dirs: old.Dirs}
	r.addDirs(missing(filepath.Join(dir, recordName)))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for i, res := range results {
		w := written{Path: res.file.Path, Format: res.file.Format, Sum: sum(res.after), Changes: res.changes}
		base, mode, changed := res.before, res.was, modified(res.path)
		if o := old.file(w.Path); o != nil {
			was, err := o.before(dir, true)
			if err != nil {
				return err
			}
			base = was.text
			if mode = o.Mode; was.exact {
				changed = o.Time
			}
		}
		if base != nil {
			w.Backup, w.Mode, w.Time = fmt.Sprintf("%d-%s", i+1, filepath.Base(w.Path)), mode, changed
			if err := replace(filepath.Join(dir, w.Backup), base, 0o600); err != nil {
				return err
			}
		}
		r.addDirs(missing(res.path))
		r.Files = append(r.Files, w)
	}
	text, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	if err := replace(filepath.Join(dir, recordName), append(text, '\n'), 0o600); err != nil { // before the files: what it names is there
		return err
	}
	for _, res := range results {
		if err := os.MkdirAll(filepath.Dir(res.path), 0o700); err != nil {
			return err
		}
		if err := replace(res.path, res.after, res.mode); err != nil {
			return err
		}
	}
	return nil
}

func (r *record) addDirs(dirs []string) {
	for _, d := range dirs {
		if !slices.Contains(r.Dirs, d) {
			r.Dirs = append(r.Dirs, d)
		}
	}
}

func modified(path string) time.Time {
	info, err := os.Stat(path)
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}

// Undone is what was done to a file by an Undo.
type Undone struct {
	Path    string
	Removed bool // it had not been there
	Merged  bool // it was changed since the setup; what setup wrote was taken out of it
	// Kept are the settings of it that setup wrote and somebody has changed
	// since: they are as they were changed.
	Kept []string
}

// ErrNotSetUp is an Undo without a setup before it.
var ErrNotSetUp = errors.New("nothing was set up here, so there is nothing to take back")

// Undo takes back what setup wrote for the agent, but for settings that were
// changed since. It changes nothing when one of the files was changed in a way
// that hides what is whose. A dry one only says what it would do.
func Undo(p Place, a Agent, project, dry bool) ([]Undone, error) {
	dir := recordDir(p, a, project)
	r, err := readRecord(dir)
	if err != nil {
		return nil, err
	}
	if r == nil {
		return nil, ErrNotSetUp
	}
	type step struct {
		w written
		origin
	}
	var steps []step
	for _, w := range r.Files {
		o, err := w.before(dir, false)
		if err == nil {
			err = w.torso(o.text)
		}
		if err != nil {
			return nil, err
		}
		steps = append(steps, step{w, o})
	}
	var out []Undone
	for _, s := range slices.Backward(steps) {
		real, now, mode, err := readFile(s.w.Path)
		if err != nil {
			return out, err
		}
		switch {
		case dry:
		case s.text == nil && now != nil:
			err = os.Remove(real)
		case s.text != nil:
			if s.w.Backup != "" {
				mode = s.w.Mode
			}
			err = replace(real, s.text, mode)
			if err == nil && s.exact {
				err = os.Chtimes(real, time.Time{}, s.w.Time)
			}
		}
		if err != nil {
			return out, err
		}
		out = append(out, Undone{Path: s.w.Path, Removed: s.text == nil, Merged: !s.exact, Kept: s.kept})
	}
	if dry {
		return out, nil
	}
	if err := os.RemoveAll(dir); err != nil {
		return out, err
	}
	return out, r.removeDirs(p.state())
}

// removeDirs removes the directories that were made, as far as nobody has put
// anything into them. Those that other setups use are left to the last one of
// these.
func (r *record) removeDirs(state string) error {
	left := slices.Clone(r.Dirs)
	for i, d := range slices.Backward(left) {
		if err := os.Remove(d); err == nil || errors.Is(err, fs.ErrNotExist) {
			left = slices.Delete(left, i, i+1)
		}
	}
	if len(left) == 0 {
		return nil
	}
	others, err := filepath.Glob(filepath.Join(state, "*", recordName))
	if err != nil || len(others) == 0 {
		return err
	}
	dir := filepath.Dir(others[0])
	heir, err := readRecord(dir)
	if err != nil || heir == nil {
		return err
	}
	all := &record{Dirs: left}
	all.addDirs(heir.Dirs)
	heir.Dirs = all.Dirs
	text, err := json.MarshalIndent(heir, "", " ")
	if err != nil {
		return err
	}
	return replace(others[0], append(text, '\n'), 0o600)
}
