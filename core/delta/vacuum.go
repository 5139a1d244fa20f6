package delta

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"
)

// VacuumOptions says what Vacuum does.
type VacuumOptions struct {
	// Retention is how old a file must be that no version needs, and how long a
	// removed file stays for those who still read an older version. 0 means the
	// table's delta.deletedFileRetentionDuration, and 7 days if it has none.
	Retention time.Duration
	// AllowShort permits a Retention below the table's: readers of older
	// versions, and writers that have not committed yet, lose their files.
	AllowShort bool
	// DryRun deletes nothing.
	DryRun bool
}

// Vacuum deletes data files that are in no live version and whose removal is
// longer ago than the retention, files that no commit names and that are older
// than that, and temporary files of writers that crashed. It returns their
// names, and with DryRun what it would delete. Files and directories whose
// names begin with "_" or "." are left alone, partition directories excepted.
func (t *Table) Vacuum(ctx context.Context, o VacuumOptions) ([]string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fail := func(err error) ([]string, error) { return nil, fmt.Errorf("delta: vacuum: %w", err) }
	if err := t.refresh(ctx); err != nil {
		return nil, err
	}
	least := t.form.props.fileRetention
	if o.Retention == 0 {
		o.Retention = least
	}
	if o.Retention < 0 || o.Retention < least && !o.AllowShort {
		return fail(fmt.Errorf("a retention of %v is below the table's %v (%s); AllowShort permits it", o.Retention, least, propFileRetention))
	}
	cutoff := t.options.Now().Add(-o.Retention)
	needed := map[string]bool{}
	for key := range t.state.live {
		name, err := fileName(key.path)
		if err != nil {
			return fail(err)
		}
		needed[name] = true
	}
	for key, r := range t.state.tombs {
		if r.DeletionTimestamp < cutoff.UnixMilli() {
			continue
		}
		if name, err := fileName(key.path); err == nil { // another's file is not ours to delete anyway
			needed[name] = true
		}
	}
	var names []string
	for e, err := range t.storage.List(ctx, "") {
		if err != nil {
			return fail(err)
		}
		if !needed[e.Name] && e.Modified.Before(cutoff) && t.ours(e.Name) {
			names = append(names, e.Name)
		}
	}
	slices.Sort(names)
	if o.DryRun {
		return names, nil
	}
	for i, name := range names {
		if err := t.storage.Delete(ctx, name); err != nil {
			return names[:i], fmt.Errorf("delta: vacuum: %w", err)
		}
	}
	return names, nil
}

// ours reports whether a file is one that a writer of the table may have left.
// Source: Delta protocol, "Data Files": hidden names are none.
func (t *Table) ours(name string) bool {
	dirs, base := path.Split(name)
	for dir := range strings.SplitSeq(strings.TrimSuffix(dirs, "/"), "/") {
		column, _, ok := strings.Cut(dir, "=")
		if (strings.HasPrefix(dir, "_") || strings.HasPrefix(dir, ".")) && !(ok && slices.ContainsFunc(t.form.partition, func(p string) bool { return escapePart(p) == column })) {
			return false
		}
	}
	if strings.HasPrefix(base, tempPrefix) {
		return true
	}
	return !strings.HasPrefix(base, "_") && !strings.HasPrefix(base, ".")
}
