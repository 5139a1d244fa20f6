package delta

import (
	"context"
	"fmt"
	"path"
	"path/filepath"
)

// Needed is the newest version of the table in dir and the files without which
// it cannot be read: the newest checkpoint, the commits after it, and the live
// data files; _last_checkpoint is among them when it names that checkpoint.
// Names are slash-separated and relative to dir. A copy of just those files is
// the table at that version, if nothing was deleted meanwhile: Vacuum and
// CleanLog must not run until they are copied. Errors are those of [Open].
func Needed(ctx context.Context, dir string) (version int64, names []string, err error) {
	root, err := filepath.EvalSymlinks(dir)
	if err == nil {
		root, err = filepath.Abs(root)
	}
	if err != nil {
		return 0, nil, fmt.Errorf("delta: %w", err)
	}
	d, err := OpenDir(root)
	if err != nil {
		return 0, nil, err
	}
	defer d.Close()
	l, err := listLog(ctx, d)
	if err != nil {
		return 0, nil, err
	}
	st := newState()
	if err := st.load(ctx, d, l); err != nil {
		return 0, nil, err
	}
	snap, err := st.snapshot(root)
	if err != nil {
		return 0, nil, fmt.Errorf("delta: %w", err)
	}
	for _, name := range l.parts {
		names = append(names, path.Join(logDir, name))
	}
	if t := (&Table{storage: d}); l.checkpoint >= 0 && t.lastCheckpoint(ctx, path.Join(logDir, lastCheckpoint)) == l.checkpoint {
		names = append(names, path.Join(logDir, lastCheckpoint))
	}
	for v := l.checkpoint + 1; v <= l.latest; v++ {
		names = append(names, path.Join(logDir, commitFile(v)))
	}
	for _, f := range snap.Files {
		name, err := filepath.Rel(root, f.Path)
		if err != nil {
			return 0, nil, fmt.Errorf("delta: %w", err)
		}
		names = append(names, filepath.ToSlash(name))
	}
	return l.latest, names, nil
}
