// Package delta reads Delta Lake tables from a local directory: which files a
// table consists of at its latest version, and what their columns are. It
// follows the Delta transaction log protocol (delta-io/delta, PROTOCOL.md) for
// reader version 1, and the reader features listed in known. A table that asks
// for anything else is refused rather than misread.
package delta

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// ErrNotDelta says that a directory holds no transaction log.
var ErrNotDelta = errors.New("not a Delta table: it has no _delta_log")

// ErrUnsupported wraps every refusal of a table that is well-formed but asks
// for more than this package reads.
var ErrUnsupported = errors.New("unsupported Delta table")

// Snapshot is a table at one version.
type Snapshot struct {
	Version     int64
	ID          string // of the table, kept for its life
	Description string
	Columns     []Column
	Partition   []string // names of the partition columns
	Files       []File   // live files, by path
}

// Column is a top-level column. Type is a SQL type as DuckDB writes it.
type Column struct {
	Name, Type, Comment string
}

// File is a live data file.
type File struct {
	Path      string            // absolute
	Partition map[string]string // values of the partition columns in text form; a null one is absent
	Size      int64             // bytes
}

const (
	logDir   = "_delta_log"
	maxFiles = 200_000  // live files of one table
	maxLine  = 64 << 20 // bytes of one action in a commit
)

var (
	commitName     = regexp.MustCompile(`^(\d{20})\.json$`)
	checkpointName = regexp.MustCompile(`^(\d{20})\.checkpoint(?:\.(\d{10})\.(\d{10}))?\.parquet$`)
)

// Open reads the table in dir at its latest version. The error is ErrNotDelta
// when there is no log, wraps ErrUnsupported when the table asks for features
// this package lacks, and otherwise says what is wrong with the log.
func Open(ctx context.Context, dir string) (*Snapshot, error) {
	root, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return nil, fmt.Errorf("delta: %w", err)
	}
	if root, err = filepath.Abs(root); err != nil {
		return nil, fmt.Errorf("delta: %w", err)
	}
	l, err := listLog(root)
	if err != nil {
		return nil, err
	}
	st := newState()
	if l.checkpoint >= 0 {
		for _, name := range l.parts {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			if err := st.loadCheckpoint(filepath.Join(root, logDir, name)); err != nil {
				return nil, fmt.Errorf("delta: checkpoint %s: %w", name, err)
			}
		}
	}
	for v := l.checkpoint + 1; v <= l.latest; v++ {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := st.loadCommit(filepath.Join(root, logDir, commitFile(v))); err != nil {
			return nil, fmt.Errorf("delta: version %d: %w", v, err)
		}
	}
	snap, err := st.snapshot(root)
	if err != nil {
		return nil, fmt.Errorf("delta: %w", err)
	}
	snap.Version = l.latest
	return snap, nil
}

// Latest is the newest version of the table in dir, found by its names alone:
// what a cache of snapshots is keyed by.
func Latest(dir string) (int64, error) {
	l, err := listLog(dir)
	return l.latest, err
}

func commitFile(v int64) string { return fmt.Sprintf("%020d.json", v) }

// logList says which files of a log to read.
type logList struct {
	checkpoint int64 // newest complete checkpoint, -1 if none
	parts      []string
	latest     int64
}

func listLog(root string) (logList, error) {
	info, err := os.Lstat(filepath.Join(root, logDir))
	if errors.Is(err, fs.ErrNotExist) {
		return logList{}, fmt.Errorf("delta: %w", ErrNotDelta)
	}
	if err != nil {
		return logList{}, fmt.Errorf("delta: %w", err)
	}
	if !info.IsDir() { // a link could lead the reader out of the table
		return logList{}, errors.New("delta: _delta_log is not a directory")
	}
	entries, err := os.ReadDir(filepath.Join(root, logDir))
	if err != nil {
		return logList{}, fmt.Errorf("delta: %w", err)
	}
	commits := map[int64]bool{}
	checkpoints := map[int64]map[string][]string{} // by version, by number of parts
	l := logList{checkpoint: -1, latest: -1}
	for _, e := range entries {
		if m := commitName.FindStringSubmatch(e.Name()); m != nil {
			v, _ := strconv.ParseInt(m[1], 10, 64)
			commits[v] = true
			l.latest = max(l.latest, v)
		}
		if m := checkpointName.FindStringSubmatch(e.Name()); m != nil {
			v, _ := strconv.ParseInt(m[1], 10, 64)
			if checkpoints[v] == nil {
				checkpoints[v] = map[string][]string{}
			}
			checkpoints[v][m[3]] = append(checkpoints[v][m[3]], e.Name())
		}
	}
	for v, forms := range checkpoints {
		for of, names := range forms {
			n := 1
			if of != "" {
				n, _ = strconv.Atoi(of)
			}
			if len(names) == n && v > l.checkpoint { // a form with parts missing is still being written
				slices.Sort(names)
				l.checkpoint, l.parts = v, names
			}
		}
	}
	l.latest = max(l.latest, l.checkpoint)
	if l.latest < 0 {
		return logList{}, fmt.Errorf("delta: %w", ErrNotDelta)
	}
	for v := l.checkpoint + 1; v <= l.latest; v++ {
		if !commits[v] {
			return logList{}, fmt.Errorf("delta: version %d is missing from the log", v)
		}
	}
	return l, nil
}

// snapshot turns the replayed actions into a Snapshot.
func (st *state) snapshot(root string) (*Snapshot, error) {
	if st.protocol == nil || st.metadata == nil {
		return nil, errors.New("the log holds no protocol or no metaData action")
	}
	if err := st.protocol.check(st.metadata); err != nil {
		return nil, err
	}
	cols, err := columns(st.metadata.SchemaString)
	if err != nil {
		return nil, err
	}
	if len(st.live) > maxFiles {
		return nil, fmt.Errorf("%w: it has %d files, more than %d", ErrUnsupported, len(st.live), maxFiles)
	}
	snap := &Snapshot{ID: st.metadata.ID, Description: st.metadata.Description, Columns: cols, Partition: st.metadata.PartitionColumns}
	for _, a := range st.live {
		if a.DeletionVector != nil {
			return nil, fmt.Errorf("%w: file %q has a deletion vector", ErrUnsupported, a.Path)
		}
		path, err := inside(root, a.Path)
		if err != nil {
			return nil, err
		}
		snap.Files = append(snap.Files, File{Path: path, Partition: a.partition(), Size: a.Size})
	}
	slices.SortFunc(snap.Files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	return snap, nil
}
