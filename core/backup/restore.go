package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sallyport-gateway/sallyport/core/ledger"
)

// Unfinished is the name, below a data directory, of what a restore is made
// in.
const Unfinished = ".restoring"

// Restore makes a data directory of the backup in dir. Everything is copied,
// compared with the manifest and opened below Target.Dir/.restoring first, and
// then moved up. On an error nothing of it stays; a process that dies leaves
// .restoring, which the next Restore removes together with what that one had
// put into place. Errors: those of Verify, a target that is not empty or whose
// ledger a gateway has open, and a state database of the other engine.
func Restore(ctx context.Context, dir string, t Target) (Report, error) {
	began := time.Now()
	fail := func(err error) (Report, error) {
		return Report{}, fmt.Errorf("restore %s to %s: %w", dir, t.Dir, explain(err))
	}
	dir, err := real(dir)
	if err != nil {
		return fail(err)
	}
	m, err := readManifest(dir)
	if err == nil {
		err = m.present(dir)
	}
	if err != nil {
		return fail(err)
	}
	w, err := t.work(m)
	if err != nil {
		return fail(err)
	}
	if err := w.begin(); err != nil {
		return fail(err)
	}
	if err := w.fill(ctx, dir, m, t); err != nil {
		return fail(errors.Join(err, w.undo()))
	}
	r := m.report(dir)
	r.Elapsed = time.Since(began)
	return r, nil
}

// work is a restore under way.
type work struct {
	dir   string // the data directory
	stage string // .restoring
	final parts
	at    parts  // where they are made: below stage, or in their place when that is not below dir
	made  string // topmost directory that was made for dir
	lock  io.Closer
	marker
}

// marker is kept in .restoring, and says what a restore that died may have
// left outside of it.
type marker struct {
	Entries []string `json:"entries"` // of the data directory
	Outside []string `json:"outside"` // directories, and the state database, elsewhere
}

const markerName = "marker.json"

// work plans the restore of m.
func (t Target) work(m *manifest) (*work, error) {
	dir, err := real(t.Dir)
	if err != nil {
		return nil, err
	}
	w := &work{dir: dir, stage: filepath.Join(dir, Unfinished)}
	state, isFile := strings.CutPrefix(t.State, "sqlite:")
	switch {
	case m.State.Engine == "sqlite" && !isFile:
		return nil, errors.New("the backup has a SQLite state database and data.state names Postgres: restore with data.state left out")
	case m.State.Engine == "postgres" && isFile:
		return nil, errors.New("the state of this backup was in Postgres: restore that database from its own backup and name it in data.state")
	}
	w.final = parts{log: t.Log, tables: t.Tables}
	if isFile {
		w.final.state = state
	}
	for _, p := range []struct{ final, at *string }{{&w.final.log, &w.at.log}, {&w.final.tables, &w.at.tables}, {&w.final.state, &w.at.state}} {
		if *p.final == "" {
			continue
		}
		if *p.final, err = real(*p.final); err != nil {
			return nil, err
		}
		rel, err := filepath.Rel(dir, *p.final)
		if err != nil || !filepath.IsLocal(rel) {
			w.Outside = append(w.Outside, *p.final)
			*p.at = *p.final
			continue
		}
		*p.at = filepath.Join(w.stage, "data", rel)
		w.Entries = append(w.Entries, strings.Split(filepath.ToSlash(rel), "/")[0])
	}
	w.Entries = append(w.Entries, layoutFile) // last: with it the directory is whole
	slices.Sort(w.Entries[:len(w.Entries)-1])
	w.Entries = slices.Compact(w.Entries)
	return w, nil
}

// begin makes the target ours: not in use, empty, and marked.
func (w *work) begin() error {
	if _, err := os.Stat(filepath.Join(w.final.log, "lock")); err == nil {
		l, err := ledger.Lock(w.final.log)
		if locked, inUse := errors.AsType[*ledger.LockedError](err); inUse {
			return fmt.Errorf("a gateway runs there, %s: stop it first", locked.Holder)
		}
		if err == nil {
			l.Close()
		}
	}
	if ok, err := empty(w.dir, Unfinished); err != nil {
		return err
	} else if _, err := os.Lstat(w.stage); !ok && err != nil {
		return errors.New("the data directory is not empty; move it away, or name another in the configuration (data:)")
	}
	for at := w.dir; ; at = filepath.Dir(at) {
		if _, err := os.Lstat(at); err == nil || at == filepath.Dir(at) {
			break
		}
		w.made = at
	}
	if err := os.MkdirAll(w.stage, 0o700); err != nil {
		return err
	}
	var err error
	if w.lock, err = ledger.Lock(w.stage); err != nil {
		if locked, inUse := errors.AsType[*ledger.LockedError](err); inUse {
			return fmt.Errorf("another restore is under way there, %s", locked.Holder)
		}
		return err
	}
	if err = w.sweep(); err == nil {
		err = w.mark()
	}
	if err != nil {
		if !Interrupted(w.dir) {
			err = errors.Join(err, os.RemoveAll(w.stage))
		}
		w.lock.Close()
		w.unmake()
	}
	return err
}

// Interrupted reports whether a restore into the data directory dir was begun
// and did not end. Nobody may start over it: some of the data may be missing.
func Interrupted(dir string) bool {
	_, err := os.Lstat(filepath.Join(dir, Unfinished, markerName))
	return err == nil
}

// unmake removes the directories that were made for the data directory.
func (w *work) unmake() {
	for at := w.dir; w.made != "" && below(at, w.made); at = filepath.Dir(at) {
		if os.Remove(at) != nil {
			break
		}
	}
}

// sweep removes what a restore that died has left, by its marker.
func (w *work) sweep() error {
	text, err := os.ReadFile(filepath.Join(w.stage, markerName))
	if err == nil {
		var old marker
		if err := json.Unmarshal(text, &old); err != nil {
			return fmt.Errorf("%s: %w; remove what an earlier restore left there, and %s", filepath.Join(w.stage, markerName), err, w.stage)
		}
		if err := old.clear(w.dir); err != nil {
			return err
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.RemoveAll(filepath.Join(w.stage, "data")); err != nil {
		return err
	}
	if ok, err := empty(w.dir, Unfinished); err != nil || !ok {
		return errors.Join(err, errors.New("the data directory is not empty; move it away, or name another in the configuration (data:)"))
	}
	for _, out := range w.Outside {
		info, err := os.Lstat(out)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		ok := false
		if err == nil && info.IsDir() && out != w.final.state {
			ok, err = empty(out)
		}
		if err != nil || !ok {
			return errors.Join(err, fmt.Errorf("%s is not empty; move it away, or name another in the configuration (data:)", out))
		}
	}
	return nil
}

// clear removes what the marker names: the restore that wrote it found none of
// that there.
func (k marker) clear(dir string) error {
	var errs []error
	for _, e := range k.Entries {
		if filepath.IsLocal(e) && filepath.Base(e) == e {
			errs = append(errs, os.RemoveAll(filepath.Join(dir, e)))
		}
	}
	for _, out := range k.Outside {
		info, err := os.Lstat(out)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil || !info.IsDir() {
			errs = append(errs, err, os.Remove(out))
			continue
		}
		entries, err := os.ReadDir(out) // it may be a mount point, so it stays
		errs = append(errs, err)
		for _, e := range entries {
			if e.Name() != "lost+found" {
				errs = append(errs, os.RemoveAll(filepath.Join(out, e.Name())))
			}
		}
	}
	return errors.Join(errs...)
}

func (w *work) mark() error {
	text, err := json.Marshal(w.marker)
	if err != nil {
		return err
	}
	if err := writeFile(filepath.Join(w.stage, markerName), text); err != nil {
		return err
	}
	return syncDir(w.dir)
}

// undo is for a restore that failed.
func (w *work) undo() error {
	err := w.marker.clear(w.dir)
	if err == nil { // else it stays, so that nobody starts over the rest
		err = os.RemoveAll(w.stage)
	}
	w.lock.Close()
	w.unmake()
	return err
}

// fill copies everything and moves it into place.
func (w *work) fill(ctx context.Context, dir string, m *manifest, t Target) error {
	mt := &meter{to: t.Progress, Progress: Progress{Of: len(m.Files), Total: m.report(dir).Bytes}}
	mt.step("copy")
	data := filepath.Join(w.stage, "data")
	for _, d := range []string{data, w.at.log, w.at.tables} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return err
		}
	}
	for _, f := range m.Files {
		mt.Name = f.Path
		to := w.place(f.Path)
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			return err
		}
		c, err := copyFile(ctx, filepath.Join(dir, filepath.FromSlash(f.Path)), to, -1, partMode(f.Path), f.Modified, mt)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := f.differs(c, err); err != nil {
			return fmt.Errorf("%w; `sallyport backup verify` tells all that is wrong with the backup", err)
		}
		mt.Files++
		mt.say()
	}
	mt.step("check")
	if err := errors.Join(m.checkParts(ctx, w.at)...); err != nil {
		return err
	}
	if t.Check != nil {
		if err := t.Check(data); err != nil {
			return err
		}
	}
	for _, d := range append([]string{w.stage}, w.Outside...) {
		if d == w.final.state {
			d = filepath.Dir(d)
		}
		if err := syncTree(d); err != nil {
			return err
		}
	}
	mt.step("finish")
	return w.publish(mt)
}

// place is where a file of the backup is made.
func (w *work) place(path string) string {
	part, rest, _ := strings.Cut(path, "/")
	switch part {
	case logPart:
		return filepath.Join(w.at.log, filepath.FromSlash(rest))
	case tablesPart:
		return filepath.Join(w.at.tables, filepath.FromSlash(rest))
	case stateFile:
		return w.at.state
	}
	return filepath.Join(w.stage, "data", path)
}

// publish moves the entries up and takes the mark away.
func (w *work) publish(mt *meter) error {
	for _, e := range w.Entries {
		err := os.Rename(filepath.Join(w.stage, "data", e), filepath.Join(w.dir, e))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		mt.Name = e
		mt.say()
	}
	if err := os.Chmod(w.dir, 0o700); err != nil {
		return err
	}
	if err := syncDir(w.dir); err != nil {
		return err
	}
	// The marker goes first: without it nothing that is in place is removed.
	for _, name := range []string{markerName, ""} {
		if err := os.RemoveAll(filepath.Join(w.stage, name)); err != nil {
			return err
		}
		mt.Name = filepath.Join(Unfinished, name)
		mt.say()
	}
	w.lock.Close()
	return errors.Join(syncDir(w.dir), syncDir(filepath.Dir(w.dir)))
}
