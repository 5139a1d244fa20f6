package catalog

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/sallyport-gateway/sallyport/core/delta"
	"github.com/sallyport-gateway/sallyport/sdk/engine"
)

const (
	// maxFiles is how many files a plain table may have.
	maxFiles = 10_000
	// maxEntries is how many directory entries are looked at to find them.
	maxEntries = 100_000
)

// table is a table of the configuration, or of the gateway.
type table struct {
	name           Name
	own            bool   // the gateway writes it
	location       string // absolute
	format         Format
	comment, owner string
	columnComments map[string]string // by lower-case column
}

// content is what a table consists of at one moment.
type content struct {
	version string
	files   []engine.File
	columns []engine.Column // of a Delta table; nil when the files tell
	comment string          // of a Delta table
}

// relation is the content under the name that a statement uses.
func (t *table) relation(name string, c content) engine.Relation {
	format := t.format
	if format == Delta {
		format = Parquet
	}
	return engine.Relation{Name: name, Format: string(format), Columns: c.columns, Files: c.files}
}

// errNoFiles says that a table has no file yet, so that its columns are
// unknown.
var errNoFiles = errors.New("it has no files yet")

// list finds the files of a plain table. Links are followed inside the
// directory and not out of it; what is not a regular file, such as a pipe that
// would hang a reader, is left out, and so are hidden files, sub-directories
// and files with another ending.
func (t *table) list(ctx context.Context) (content, error) {
	root, err := filepath.EvalSymlinks(t.location)
	if err != nil {
		return content{}, err
	}
	info, err := os.Stat(root)
	if err != nil {
		return content{}, err
	}
	h := sha256.New()
	var c content
	add := func(path string, info fs.FileInfo) {
		fmt.Fprintf(h, "%s\x00%d\x00%d\n", path, info.Size(), info.ModTime().UnixNano())
		c.files = append(c.files, engine.File{Path: path})
	}
	switch {
	case info.Mode().IsRegular():
		add(root, info)
	case !info.IsDir():
		return content{}, errors.New("its location is neither a file nor a directory")
	default:
		if err := t.walk(ctx, root, add); err != nil {
			return content{}, err
		}
	}
	c.version = hex.EncodeToString(h.Sum(nil)[:16])
	return c, nil
}

func (t *table) walk(ctx context.Context, root string, add func(string, fs.FileInfo)) error {
	if _, err := os.Lstat(filepath.Join(root, "_delta_log")); err == nil {
		return fmt.Errorf("its location is a Delta table: set its format to delta, not %s", t.format)
	}
	entries, err := os.ReadDir(root) // sorted by name
	if err != nil {
		return err
	}
	if len(entries) > maxEntries {
		return fmt.Errorf("its directory has more than %d entries", maxEntries)
	}
	n := 0
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") || strings.HasPrefix(e.Name(), "_") || e.IsDir() || !t.format.hasEnding(e.Name()) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		path := filepath.Join(root, e.Name())
		if e.Type()&fs.ModeSymlink != 0 {
			target, err := filepath.EvalSymlinks(path)
			if err != nil || !inside(root, target) {
				continue
			}
			path = target
		}
		info, err := os.Lstat(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // deleted since
		}
		if err != nil {
			return err
		}
		if !info.Mode().IsRegular() {
			continue
		}
		if n++; n > maxFiles {
			return fmt.Errorf("it has more than %d files; compact them, or make it a Delta table", maxFiles)
		}
		add(path, info)
	}
	return nil
}

// inside reports whether path lies in root; both are free of links.
func inside(root, path string) bool {
	rel, err := filepath.Rel(root, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}

// deltaKey tells versions of a Delta table apart without reading its log. The
// log's modification time tells a table that was deleted and made anew.
func (t *table) deltaKey() (string, error) {
	latest, err := delta.Latest(t.location)
	if err != nil {
		return "", err
	}
	info, err := os.Stat(filepath.Join(t.location, "_delta_log"))
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s@%d@%d", t.location, latest, info.ModTime().UnixNano()), nil
}

// unmoved checks again what reading the log has checked: that no file of a
// remembered snapshot has become a link, in itself or on the way to it, which
// would lead the engine to somebody else's file.
func unmoved(ctx context.Context, files []engine.File) error {
	last := ""
	for _, f := range files {
		if dir := filepath.Dir(f.Path); dir != last {
			if err := ctx.Err(); err != nil {
				return err
			}
			if real, err := filepath.EvalSymlinks(dir); err != nil || real != dir {
				return errors.Join(errors.New("a directory of the table has become a link or is gone"), err)
			}
			last = dir
		}
		if info, err := os.Lstat(f.Path); err != nil || !info.Mode().IsRegular() {
			return errors.Join(errors.New("a data file has become a link or is gone"), err)
		}
	}
	return nil
}

// fromDelta turns a snapshot into content.
func fromDelta(s *delta.Snapshot) content {
	c := content{version: fmt.Sprintf("%s@%d", s.ID, s.Version), comment: s.Description, files: make([]engine.File, 0, len(s.Files))}
	for _, col := range s.Columns {
		c.columns = append(c.columns, engine.Column{Name: col.Name, Type: col.Type, Comment: col.Comment})
	}
	for _, f := range s.Files {
		c.files = append(c.files, engine.File{Path: f.Path, Constants: f.Partition})
	}
	return c
}
