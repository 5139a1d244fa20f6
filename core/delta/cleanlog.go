package delta

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// minLogAge keeps the newest commits whatever delta.logRetentionDuration says:
// a writer that is about to commit must find them.
const minLogAge = time.Hour

// CleanLog deletes commits and checkpoints that are older than
// delta.logRetentionDuration and that no version kept is built from, and
// temporary files of writers that crashed. It returns what it deleted. Commits
// do it by themselves after each checkpoint, unless
// delta.enableExpiredLogCleanup is false.
func (t *Table) CleanLog(ctx context.Context) ([]string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.refresh(ctx); err != nil {
		return nil, err
	}
	return t.cleanLog(ctx)
}

// cleanLog goes by the times the storage gave the commits, which are taken
// never to decrease from version to version, so that a clock that was wrong
// for a while makes commits look young and never old.
// Source: Delta protocol, "Metadata Cleanup".
func (t *Table) cleanLog(ctx context.Context) ([]string, error) {
	now := t.options.Now()
	cutoff := now.Add(-max(t.form.props.logRetention, minLogAge))
	commits := map[int64]time.Time{}
	checkpoints := map[int64][]string{}
	parts := map[int64]int{} // that a complete checkpoint has
	var deleted []string
	var versions []int64
	for e, err := range t.storage.List(ctx, logDir) {
		if err != nil {
			return nil, fmt.Errorf("delta: clean the log: %w", err)
		}
		name := path.Base(e.Name)
		if path.Dir(e.Name) != logDir {
			continue
		}
		if strings.HasPrefix(name, tempPrefix) && e.Modified.Before(now.Add(-24*time.Hour)) {
			deleted = append(deleted, e.Name)
		}
		if m := commitName.FindStringSubmatch(name); m != nil {
			v, err := strconv.ParseInt(m[1], 10, 64)
			if err == nil {
				commits[v] = e.Modified
				versions = append(versions, v)
			}
		}
		if m := checkpointName.FindStringSubmatch(name); m != nil {
			v, err := strconv.ParseInt(m[1], 10, 64)
			if err == nil {
				checkpoints[v] = append(checkpoints[v], e.Name)
				parts[v], _ = strconv.Atoi(m[3])
			}
		}
	}
	slices.Sort(versions)
	expired := int64(-1) // all up to it
	var latest time.Time
	for _, v := range versions {
		if latest = maxTime(latest, commits[v]); !latest.Before(cutoff) {
			break
		}
		expired = v
	}
	// What is kept begins with a checkpoint, from which the first commit that
	// has not expired can be built.
	keep := int64(-1)
	for v, names := range checkpoints {
		if v <= expired && v <= t.version && len(names) == max(parts[v], 1) {
			keep = max(keep, v)
		}
	}
	for _, v := range versions {
		if v < keep {
			deleted = append(deleted, path.Join(logDir, commitFile(v)))
		}
	}
	for v, names := range checkpoints {
		if v < keep {
			deleted = append(deleted, names...)
		}
	}
	slices.Sort(deleted)
	for i, name := range deleted {
		if err := t.storage.Delete(ctx, name); err != nil {
			return deleted[:i], fmt.Errorf("delta: clean the log: %w", err)
		}
	}
	return deleted, nil
}

func maxTime(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
