package backup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sallyport-gateway/sallyport/core/delta"
)

// pinned is a file that stays what it is, up to size, until it is copied.
type pinned struct {
	path     string // in the backup
	link     string // to read it by
	size     int64
	modified time.Time
}

// pins are the files of one moment.
type pins struct {
	files  []pinned
	tables []Table
	dirs   []string // that hold the links
	paused time.Duration
}

// pin makes links to every file of the ledger and the tables that the copy
// needs, while nothing is committed or trimmed. Call drop, also after an error.
func (s Source) pin(ctx context.Context) (p *pins, err error) {
	p = &pins{}
	if err := Sweep(s.Log, s.Tables); err != nil {
		return p, err
	}
	if s.Pause != nil {
		resume, err := s.Pause(ctx)
		if err != nil {
			return p, fmt.Errorf("pause the tables: %w", err)
		}
		began := time.Now()
		defer func() { p.paused = time.Since(began); resume() }()
	}
	if err := p.pinTables(ctx, s.Tables); err != nil {
		return p, err
	}
	return p, p.pinLog(s.Log)
}

// Sweep removes what a backup that was killed has left in the directories of
// the ledger and the tables, where it holds the space of deleted files. The
// caller has the ledger open or locked.
func Sweep(log, tables string) error {
	return errors.Join(os.RemoveAll(filepath.Join(log, pinName)), os.RemoveAll(filepath.Join(tables, pinName)))
}

func (p *pins) drop() error {
	var errs []error
	for _, d := range p.dirs {
		errs = append(errs, os.RemoveAll(d))
	}
	return errors.Join(errs...)
}

// pinTables pins the newest version of every table below dir.
func (p *pins) pinTables(ctx context.Context, dir string) error {
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist) && path == dir:
			return fs.SkipAll
		case err != nil:
			return err
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case !e.IsDir():
			return nil
		case path != dir && strings.HasPrefix(e.Name(), "."):
			return fs.SkipDir
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		version, names, err := delta.Needed(ctx, path)
		if errors.Is(err, delta.ErrNotDelta) {
			return nil // a directory above tables, or of a table that was not made yet
		}
		if err != nil {
			return fmt.Errorf("table %s: %w", name, err)
		}
		t := Table{Name: filepath.ToSlash(name), Version: version}
		for _, n := range names {
			f, err := p.pin(dir, filepath.Join(name, filepath.FromSlash(n)), tablesPart)
			if err != nil {
				return fmt.Errorf("table %s: %w", name, err)
			}
			t.Files, t.Bytes = t.Files+1, t.Bytes+f.size
		}
		p.tables = append(p.tables, t)
		return fs.SkipDir
	})
	return err
}

// pinLog pins the segments, oldest first, and what else is with them. Appends
// may go on: whatever the last segment is when it is reached, its bytes up to
// now and those before it are a beginning of the log that holds every record
// written before.
func (p *pins) pinLog(dir string) error {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	names, _, err := listing(dir)
	if err != nil {
		return err
	}
	slices.Sort(names) // segments by their first sequence
	for _, name := range names {
		if !keepsInLog(name) {
			continue
		}
		_, err := p.pin(dir, filepath.FromSlash(name), logPart)
		if errors.Is(err, fs.ErrNotExist) && !strings.HasSuffix(name, ".wal") {
			continue // one that comes and goes
		}
		if err != nil {
			return fmt.Errorf("ledger: %w", err)
		}
	}
	return nil
}

// keepsInLog reports whether a file in the ledger's directory belongs to the
// data: not its lock, what was not finished, replies that are being gathered,
// and bytes that were set aside as damaged, which nobody reads again.
func keepsInLog(name string) bool {
	for part := range strings.SplitSeq(name, "/") {
		if strings.HasPrefix(part, ".") {
			return false
		}
	}
	return name != "lock" && !strings.HasPrefix(name, "spill/") && !strings.HasSuffix(name, ".tmp") && !strings.Contains(name, ".corrupt")
}

// pin links the file name of dir.
func (p *pins) pin(dir, name, part string) (pinned, error) {
	holder := filepath.Join(dir, pinName)
	link := filepath.Join(holder, name)
	if !slices.Contains(p.dirs, holder) {
		p.dirs = append(p.dirs, holder)
	}
	if err := os.MkdirAll(filepath.Dir(link), 0o700); err != nil {
		return pinned{}, err
	}
	if err := os.Link(filepath.Join(dir, name), link); err != nil {
		return pinned{}, err
	}
	info, err := os.Lstat(link)
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("not a regular file")
	}
	if err != nil {
		return pinned{}, fmt.Errorf("%s: %w", name, err)
	}
	f := pinned{path: part + "/" + filepath.ToSlash(name), link: link, size: info.Size(), modified: info.ModTime()}
	p.files = append(p.files, f)
	return f, nil
}
