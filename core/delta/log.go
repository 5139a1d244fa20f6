package delta

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strconv"
	"syscall"
)

const (
	logDir   = "_delta_log"
	maxFiles = 200_000  // live files of one table
	maxLine  = 64 << 20 // bytes of one action in a commit
)

var (
	commitName     = regexp.MustCompile(`^(\d{20})\.json$`)
	checkpointName = regexp.MustCompile(`^(\d{20})\.checkpoint(?:\.(\d{10})\.(\d{10}))?\.parquet$`)
)

func commitFile(v int64) string     { return fmt.Sprintf("%020d.json", v) }
func checkpointFile(v int64) string { return fmt.Sprintf("%020d.checkpoint.parquet", v) }

// logList says which files of a log to read.
type logList struct {
	checkpoint int64 // newest complete checkpoint, -1 if none
	parts      []string
	latest     int64
	commits    map[int64]bool
}

// listLog lists the log of a table. The error is ErrNotDelta when there is
// none.
func listLog(ctx context.Context, s Storage) (logList, error) {
	names, err := logNames(ctx, s)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(names) == 0 {
		return logList{}, fmt.Errorf("delta: %w", ErrNotDelta)
	}
	if errors.Is(err, syscall.ENOTDIR) { // a link could lead the reader out of the table
		return logList{}, errors.New("delta: _delta_log is not a directory")
	}
	if err != nil {
		return logList{}, fmt.Errorf("delta: %w", err)
	}
	checkpoints := map[int64]map[string][]string{} // by version, by number of parts
	l := logList{checkpoint: -1, latest: -1, commits: map[int64]bool{}}
	for _, name := range names {
		if m := commitName.FindStringSubmatch(name); m != nil {
			if v, err := strconv.ParseInt(m[1], 10, 64); err == nil {
				l.commits[v] = true
				l.latest = max(l.latest, v)
			}
		}
		if m := checkpointName.FindStringSubmatch(name); m != nil {
			v, err := strconv.ParseInt(m[1], 10, 64)
			if err != nil {
				continue
			}
			if checkpoints[v] == nil {
				checkpoints[v] = map[string][]string{}
			}
			checkpoints[v][m[3]] = append(checkpoints[v][m[3]], name)
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
		if l.commits[v] {
			continue
		}
		// A listing that others write beside may show a commit and miss one
		// that was made before it.
		o, err := s.Open(ctx, path.Join(logDir, commitFile(v)))
		if err != nil {
			return logList{}, fmt.Errorf("delta: version %d is missing from the log", v)
		}
		o.Close()
		l.commits[v] = true
	}
	return l, nil
}

// namer is a Storage that can list the names in one directory alone, without
// looking at each file.
type namer interface {
	names(ctx context.Context, dir string) ([]string, error)
}

func logNames(ctx context.Context, s Storage) ([]string, error) {
	if n, ok := s.(namer); ok {
		return n.names(ctx, logDir)
	}
	var names []string
	for e, err := range s.List(ctx, logDir) {
		if err != nil {
			return nil, err
		}
		if path.Dir(e.Name) == logDir {
			names = append(names, path.Base(e.Name))
		}
	}
	return names, nil
}

// load replays the log into st, from the newest checkpoint on.
func (st *state) load(ctx context.Context, s Storage, l logList) error {
	for _, name := range l.parts {
		if err := st.loadCheckpoint(ctx, s, name); err != nil {
			return fmt.Errorf("delta: checkpoint %s: %w", name, err)
		}
	}
	for v := l.checkpoint + 1; v <= l.latest; v++ {
		if _, err := st.loadCommit(ctx, s, v); err != nil {
			return err
		}
	}
	return nil
}

// loadCommit applies version v and returns its actions. The error wraps
// fs.ErrNotExist when there is no such version.
func (st *state) loadCommit(ctx context.Context, s Storage, v int64) ([]action, error) {
	o, err := s.Open(ctx, path.Join(logDir, commitFile(v)))
	if err != nil {
		return nil, fmt.Errorf("delta: version %d: %w", v, err)
	}
	defer o.Close()
	// Within one commit no file is both added and removed, so order is free.
	actions, err := readCommit(o)
	if err != nil {
		return nil, fmt.Errorf("delta: version %d: %w", v, err)
	}
	for _, a := range actions {
		st.apply(a)
	}
	return actions, nil
}
