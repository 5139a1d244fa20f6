package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/sallyport-gateway/sallyport/core/ledger"
	"github.com/sallyport-gateway/sallyport/core/store"
)

// Create makes a backup of s in dir, which must not exist or be empty, and
// must not be in the directory of the ledger or the tables. One backup of a
// Source at a time. On an error dir is as empty as it was; a process that dies
// leaves a directory without manifest, which is none.
func Create(ctx context.Context, s Source, dir string) (Report, error) {
	began := time.Now()
	fail := func(err error) (Report, error) {
		return Report{}, fmt.Errorf("backup to %s: %w", dir, explain(err))
	}
	dir, made, err := s.claim(dir)
	if err != nil {
		return fail(err)
	}
	r, err := s.create(ctx, dir)
	if err != nil {
		return fail(errors.Join(err, abandon(dir, made)))
	}
	r.Elapsed = time.Since(began)
	return r, nil
}

// claim makes dir, or finds it empty, and makes it ours by a file that only
// one process can make. made is the topmost directory that did not exist.
func (s Source) claim(dir string) (abs, made string, err error) {
	if abs, err = real(dir); err != nil {
		return dir, "", err
	}
	for _, own := range []string{s.Log, s.Tables, s.Dir} {
		if own, err = real(own); err != nil {
			return abs, "", err
		}
		if below(abs, own) {
			return abs, "", fmt.Errorf("it is inside %s, which is to be copied and would be lost together with it; choose another place", own)
		}
	}
	if ok, err := empty(abs); err != nil || !ok {
		return abs, "", errors.Join(err, errors.New("it is not empty; choose a new directory for each backup"))
	}
	for at := abs; ; at = filepath.Dir(at) {
		if _, err := os.Lstat(at); err == nil || at == filepath.Dir(at) {
			break
		}
		made = at
	}
	if err := os.MkdirAll(abs, 0o700); err != nil {
		return abs, "", err
	}
	f, err := os.OpenFile(filepath.Join(abs, manifestName+".tmp"), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return abs, "", errors.New("another backup is being made there")
	}
	if err != nil {
		if made != "" {
			os.Remove(abs)
		}
		return abs, "", err
	}
	return abs, made, f.Close()
}

// abandon removes what a backup that failed has put into dir.
func abandon(dir, made string) error {
	var errs []error
	for _, name := range []string{logPart, tablesPart, stateFile, stateFile + "-journal", layoutFile, manifestName, manifestName + ".tmp"} {
		errs = append(errs, os.RemoveAll(filepath.Join(dir, name)))
	}
	for at := dir; made != "" && below(at, made); at = filepath.Dir(at) {
		if os.Remove(at) != nil {
			break // somebody else put something there
		}
	}
	return errors.Join(errs...)
}

func (s Source) create(ctx context.Context, dir string) (r Report, err error) {
	m := &manifest{Format: format, Created: time.Now().UTC().Truncate(time.Second), Program: s.Program, NotHere: notHere, Tables: []Table{}}
	mt := &meter{to: s.Progress}
	mt.step("pause")
	p, err := s.pin(ctx)
	defer func() { err = errors.Join(err, p.drop()) }()
	if err != nil {
		return Report{}, err
	}
	m.Tables = append(m.Tables, p.tables...)
	mt.Of = len(p.files)
	for _, f := range p.files {
		mt.Total += f.size
	}
	mt.step("copy")
	for _, f := range p.files {
		mt.Name = f.path
		c, err := put(ctx, dir, f.path, f.link, f.size, f.modified, mt)
		if err != nil {
			return Report{}, fmt.Errorf("%s: %w", f.path, err)
		}
		// The end of a write to the ledger that failed is cut off again.
		if c.Size != f.size && !strings.HasPrefix(f.path, logPart+"/") {
			return Report{}, fmt.Errorf("%s: it has %d bytes and had %d a moment ago: something else changes the data directory", f.path, c.Size, f.size)
		}
		m.Files = append(m.Files, c)
		mt.Files++
		mt.say()
	}
	mt.step("state")
	if err := s.copyState(ctx, dir, m, mt); err != nil {
		return Report{}, err
	}
	mt.step("check")
	if err := m.countLog(filepath.Join(dir, logPart)); err != nil {
		return Report{}, err
	}
	mt.step("finish")
	text, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		return Report{}, err
	}
	if err := syncTree(dir); err != nil {
		return Report{}, err
	}
	if err := syncDir(filepath.Dir(dir)); err != nil && !errors.Is(err, fs.ErrPermission) {
		return Report{}, err
	}
	if err := writeFile(filepath.Join(dir, manifestName), append(text, '\n')); err != nil {
		return Report{}, fmt.Errorf("%s: %w", manifestName, err)
	}
	r = m.report(dir)
	r.Paused = p.paused
	return r, nil
}

// put copies one file into the backup.
func put(ctx context.Context, dir, path, from string, size int64, modified time.Time, mt *meter) (file, error) {
	to := filepath.Join(dir, filepath.FromSlash(path))
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return file{}, err
	}
	c, err := copyFile(ctx, from, to, size, 0o600, modified, mt)
	return file{Path: path, Size: c.size, SHA256: c.sum, Modified: modified.UTC()}, err
}

// copyState copies the state database and the layout of the data directory.
func (s Source) copyState(ctx context.Context, dir string, m *manifest, mt *meter) error {
	add := func(name string) error {
		path := filepath.Join(dir, name)
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		c, err := sumFile(ctx, path, mt)
		m.Files = append(m.Files, file{Path: name, Size: c.size, SHA256: c.sum, Modified: info.ModTime().UTC()})
		return err
	}
	err := store.Snapshot(ctx, s.State, filepath.Join(dir, stateFile))
	switch {
	case errors.Is(err, store.ErrNotSQLite):
		m.State = State{Engine: "postgres", Hint: "the state database is in Postgres and not in this backup: copy it with pg_dump"}
	case errors.Is(err, fs.ErrNotExist):
		m.State = State{Engine: "none"}
	case err != nil:
		return err
	default:
		m.State.Engine = "sqlite"
		if m.State.Schema, err = store.Inspect(ctx, filepath.Join(dir, stateFile)); err != nil {
			return err
		}
		if err := syncFile(filepath.Join(dir, stateFile)); err != nil {
			return err
		}
		if err := add(stateFile); err != nil {
			return fmt.Errorf("%s: %w", stateFile, err)
		}
	}
	c, err := put(ctx, dir, layoutFile, filepath.Join(s.Dir, layoutFile), -1, time.Time{}, mt)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // a data directory from before there was one
	}
	if err != nil {
		return fmt.Errorf("%s: %w", layoutFile, err)
	}
	m.Files = append(m.Files, c)
	return nil
}

// countLog notes what is in the copy of the ledger.
func (m *manifest) countLog(dir string) error {
	m.Log = Log{}
	for _, f := range m.Files {
		if strings.HasPrefix(f.Path, logPart+"/") {
			m.Log.Files, m.Log.Bytes = m.Log.Files+1, m.Log.Bytes+f.Size
		}
	}
	if m.Log.Files == 0 {
		return nil
	}
	found, err := ledger.Check(dir)
	if err != nil {
		return err
	}
	m.Log.Records, m.Log.Open = found.Records, found.Unsettled
	for _, c := range found.Cut {
		m.Log.Torn += c.Bytes
	}
	return nil
}

func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}
