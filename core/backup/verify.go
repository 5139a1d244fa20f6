package backup

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sallyport-gateway/sallyport/core/delta"
	"github.com/sallyport-gateway/sallyport/core/ledger"
	"github.com/sallyport-gateway/sallyport/core/store"
)

// maxFaults is how many faults of a backup one error tells.
const maxFaults = 20

// Verify checks the backup in dir and changes nothing: every file of the
// manifest is there with its size and SHA-256, and no other; and the ledger,
// the tables and the state database can be opened. The error names every fault
// (the first 20), is ErrUnfinished without a manifest, and a *NewerError when a
// newer program made the backup. progress may be nil.
func Verify(ctx context.Context, dir string, progress func(Progress)) (Report, error) {
	began := time.Now()
	at, err := real(dir)
	if err != nil {
		return Report{}, fmt.Errorf("backup %s: %w", dir, err)
	}
	dir = at
	m, err := readManifest(dir)
	if err != nil {
		return Report{}, fmt.Errorf("backup %s: %w", dir, err)
	}
	r := m.report(dir)
	mt := &meter{to: progress, Progress: Progress{Of: len(m.Files), Total: r.Bytes}}
	faults, err := m.checkFiles(ctx, dir, mt)
	if err != nil {
		return r, fmt.Errorf("backup %s: %w", dir, err)
	}
	if len(faults) == 0 {
		mt.step("check")
		faults = m.checkParts(ctx, parts{filepath.Join(dir, logPart), filepath.Join(dir, tablesPart), filepath.Join(dir, stateFile)})
	}
	r.Elapsed = time.Since(began)
	if n := len(faults); n > 0 {
		if n > maxFaults {
			faults = append(faults[:maxFaults], fmt.Errorf("and %d more", n-maxFaults))
		}
		return r, fmt.Errorf("backup %s is damaged: %w", dir, errors.Join(faults...))
	}
	return r, nil
}

// checkFiles compares the files of dir with the manifest.
func (m *manifest) checkFiles(ctx context.Context, dir string, mt *meter) (faults []error, err error) {
	there, others, err := names(dir)
	if err != nil {
		return nil, err
	}
	delete(there, manifestName)
	mt.step("check")
	for _, f := range m.Files {
		if !there[f.Path] {
			faults = append(faults, fmt.Errorf("%s is missing", f.Path))
			continue
		}
		delete(there, f.Path)
		mt.Name = f.Path
		c, err := sumFile(ctx, filepath.Join(dir, filepath.FromSlash(f.Path)), mt)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err := f.differs(c, err); err != nil {
			faults = append(faults, err)
		}
		mt.Files++
		mt.say()
	}
	for name := range there {
		others = append(others, name)
	}
	slices.Sort(others)
	for _, name := range others {
		faults = append(faults, fmt.Errorf("%s is not of this backup", name))
	}
	return faults, nil
}

// names is listing with the files as a set.
func names(dir string) (files map[string]bool, others []string, err error) {
	have, others, err := listing(dir)
	files = map[string]bool{}
	for _, name := range have {
		files[name] = true
	}
	return files, others, err
}

// present says which file of the manifest is not there: a regular file that no
// link leads to.
func (m *manifest) present(dir string) error {
	there, _, err := names(dir)
	if err != nil {
		return err
	}
	for _, f := range m.Files {
		if !there[f.Path] {
			return fmt.Errorf("%s is missing, or a link leads to it", f.Path)
		}
	}
	return nil
}

// differs says how the file that was read is not f.
func (f file) differs(c copied, err error) error {
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", f.Path, err)
	case c.size != f.Size:
		return fmt.Errorf("%s has %d bytes and had %d", f.Path, c.size, f.Size)
	case c.sum != f.SHA256:
		return fmt.Errorf("%s has changed: its SHA-256 is not that of the manifest", f.Path)
	}
	return nil
}

// parts are the places of what a backup holds.
type parts struct{ log, tables, state string }

// checkParts opens what the manifest says is there.
func (m *manifest) checkParts(ctx context.Context, at parts) (faults []error) {
	if m.Log.Files > 0 {
		if _, err := ledger.Check(at.log); err != nil {
			faults = append(faults, err)
		}
	}
	listed := map[string]int64{}
	for _, f := range m.Files {
		listed[f.Path] = f.Size
	}
	for _, t := range m.Tables {
		if !filepath.IsLocal(filepath.FromSlash(t.Name)) {
			faults = append(faults, fmt.Errorf("table %q: this is no name of a directory", t.Name))
			continue
		}
		dir := filepath.Join(at.tables, filepath.FromSlash(t.Name))
		snap, err := delta.Open(ctx, dir)
		if err != nil {
			faults = append(faults, fmt.Errorf("table %s: %w", t.Name, err))
			continue
		}
		if snap.Version != t.Version {
			faults = append(faults, fmt.Errorf("table %s is at version %d and was at %d", t.Name, snap.Version, t.Version))
		}
		real, err := filepath.EvalSymlinks(dir)
		for _, f := range snap.Files {
			var name string
			if err == nil {
				name, err = filepath.Rel(real, f.Path)
			}
			path := strings.Join([]string{tablesPart, t.Name, filepath.ToSlash(name)}, "/")
			if size, ok := listed[path]; err != nil || !ok || size != f.Size {
				faults = append(faults, errors.Join(err, fmt.Errorf("table %s: the file %s of %d bytes is not in the manifest", t.Name, path, f.Size)))
			}
		}
	}
	if m.State.Engine == "sqlite" {
		schema, err := store.Inspect(ctx, at.state)
		if err == nil && schema != m.State.Schema {
			err = fmt.Errorf("%s has schema %d and had %d", stateFile, schema, m.State.Schema)
		}
		if err != nil {
			faults = append(faults, err)
		}
	}
	return faults
}
