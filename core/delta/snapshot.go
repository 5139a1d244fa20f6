// Package delta reads and writes Delta Lake tables: directories of Parquet
// files with a log that says which of them make up each version. The one rule
// it keeps is that a version exists whole or not at all, and once it exists
// nothing changes it, whatever crashes. It follows the Delta transaction log
// protocol (delta-io/delta, PROTOCOL.md).
//
// # Reading
//
// [Open] gives the files and columns of a table's latest version, for reader
// version 1 and the reader features listed in known. A table that asks for
// anything else is refused rather than misread. [Snapshot.Scan] gives the values
// of some columns.
//
// # Writing
//
// [Create] makes a table and [OpenTable] opens one, for reader version 1 and
// writer version 2 without features. [Table.Append] adds rows in one commit,
// [Table.NewWriter] does so as they come. A [Txn] makes a commit repeatable.
// Several processes may write one table.
//
// Commits write checkpoints and clean the log by themselves. The owner of a
// table calls the rest now and then: [Table.Compact], [Table.DeleteBefore] and,
// to delete files that no version needs any more, [Table.Vacuum]. A crash at
// any moment leaves files that only Vacuum and [Table.CleanLog] see.
//
// # Durability
//
// A commit that returned is on the disk: every file is flushed before the
// commit names it, and the commit before Append returns. That rests on fsync
// doing what it says.
package delta

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
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

	schema Schema
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
	d, err := OpenDir(root)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	l, err := listLog(ctx, d)
	if err != nil {
		return nil, err
	}
	st := newState()
	if err := st.load(ctx, d, l); err != nil {
		return nil, err
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
	d, err := OpenDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("delta: %w", ErrNotDelta)
	}
	if err != nil {
		return 0, err
	}
	defer d.Close()
	l, err := listLog(context.Background(), d)
	return l.latest, err
}

// snapshot turns the replayed actions into a Snapshot.
func (st *state) snapshot(root string) (*Snapshot, error) {
	if st.protocol == nil || st.metadata == nil {
		return nil, errors.New("the log holds no protocol or no metaData action")
	}
	if err := st.protocol.check(st.metadata); err != nil {
		return nil, err
	}
	schema, err := ParseSchema(st.metadata.SchemaString)
	if err != nil {
		return nil, err
	}
	if len(st.live) > maxFiles {
		return nil, fmt.Errorf("%w: it has %d files, more than %d", ErrUnsupported, len(st.live), maxFiles)
	}
	snap := &Snapshot{ID: st.metadata.ID, Description: st.metadata.Description, Columns: columns(schema), Partition: st.metadata.PartitionColumns, schema: schema}
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

// columns is the top-level columns of a schema, for readers.
func columns(s Schema) []Column {
	cols := make([]Column, len(s))
	for i, f := range s {
		cols[i] = Column{Name: f.Name, Type: f.Type.SQL(), Comment: f.Comment}
	}
	return cols
}
