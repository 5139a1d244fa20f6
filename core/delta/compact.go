package delta

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// CompactOptions says what Compact does.
type CompactOptions struct {
	// TargetSize is about how large files become, in bytes. 0 means the table's
	// delta.targetFileSize, and 128 MiB if it has none.
	TargetSize int64
	// MinFiles is the least number of files worth making one of. 0 means 2.
	MinFiles int
}

// Compaction is what Compact has done.
type Compaction struct {
	Commits       int
	Before, After int      // files read and written
	Rows          int64    // that moved
	Left          []string // files that cannot be carried over, with why; they stay as they are
	Upkeep        error    // see Commit
}

// Compact makes few files of many small ones of the same partition. Each new
// file is a commit of its own that changes no rows. Others may append
// meanwhile; when one of the files read was removed by somebody else the error
// wraps ErrConflict, and what was committed until then stands.
func (t *Table) Compact(ctx context.Context, o CompactOptions) (Compaction, error) {
	if err := t.Refresh(ctx); err != nil {
		return Compaction{}, err
	}
	t.mu.Lock()
	f := t.form
	live := slices.Collect(maps.Values(t.state.live))
	t.mu.Unlock()
	o.TargetSize = cmp.Or(o.TargetSize, f.props.targetFileSize)
	o.MinFiles = max(2, o.MinFiles)
	var done Compaction
	for _, bin := range bins(live, o) {
		if err := t.merge(ctx, f, bin, o, &done); err != nil {
			return done, fmt.Errorf("delta: compact: %w", err)
		}
	}
	return done, nil
}

// bins says which files to merge.
func bins(live []*add, o CompactOptions) [][]*add {
	by := map[string][]*add{}
	for _, a := range live {
		if a.Size < o.TargetSize*3/4 {
			key := partitionKey(a.PartitionValues)
			by[key] = append(by[key], a)
		}
	}
	var all [][]*add
	for _, key := range slices.Sorted(maps.Keys(by)) {
		files := by[key]
		slices.SortFunc(files, func(a, b *add) int { // old rows stay beside old rows
			return cmp.Or(cmp.Compare(a.ModificationTime, b.ModificationTime), cmp.Compare(a.Path, b.Path))
		})
		for len(files) > 0 {
			n, size := 0, int64(0)
			for n < len(files) && (n == 0 || size+files[n].Size <= o.TargetSize) {
				size += files[n].Size
				n++
			}
			if bin := withoutLarge(files[:n]); len(bin) >= o.MinFiles {
				all = append(all, bin)
			}
			files = files[n:]
		}
	}
	return all
}

// withoutLarge leaves out files that are larger than all others of the bin
// together: rewriting them for each few new rows would cost more than it saves.
func withoutLarge(bin []*add) []*add {
	bin = slices.Clone(bin)
	for {
		largest, sum := 0, int64(0)
		for i, a := range bin {
			sum += a.Size
			if a.Size > bin[largest].Size {
				largest = i
			}
		}
		if len(bin) < 2 || bin[largest].Size <= sum-bin[largest].Size {
			return bin
		}
		bin = slices.Delete(bin, largest, largest+1)
	}
}

func partitionKey(m map[string]*string) string {
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(m)) {
		b.WriteString(strconv.Quote(k))
		if v := m[k]; v != nil && *v != "" {
			b.WriteString("=" + strconv.Quote(*v))
		}
		b.WriteByte(',')
	}
	return b.String()
}

// merge makes one file of bin and commits it.
func (t *Table) merge(ctx context.Context, f *form, bin []*add, o CompactOptions, done *Compaction) error {
	d := newDataFile(ctx, t.storage, f, newFileName(f.partition, bin[0].PartitionValues), bin[0].PartitionValues)
	var from []*add
	var rows int64
	for _, a := range bin {
		_, n, err := copyRows(ctx, t.storage, f.layout, a, func() *dataFile { return d }, nil)
		if errors.Is(err, errShape) { // found before the first row
			done.Left = append(done.Left, err.Error())
			continue
		}
		if err != nil {
			d.abort(errAborted)
			return err
		}
		from = append(from, a)
		rows += n
	}
	if len(from) < o.MinFiles {
		d.abort(errAborted)
		return nil
	}
	to, err := d.finish()
	if err != nil {
		return err
	}
	c, err := t.commit(ctx, &plan{
		form: f, operation: "OPTIMIZE", adds: []*add{to}, removes: from, moves: true,
		params:  map[string]string{"predicate": "[]", "targetSize": strconv.FormatInt(o.TargetSize, 10)},
		metrics: map[string]string{"numAddedFiles": "1", "numRemovedFiles": strconv.Itoa(len(from))},
	})
	if err != nil {
		t.discard(ctx, []*add{to}, err)
		return err
	}
	done.Commits++
	done.Before += len(from)
	done.After++
	done.Rows += rows
	done.Upkeep = errors.Join(done.Upkeep, c.Upkeep)
	return nil
}

// discard deletes files that were written for a commit which certainly was not
// made. Where that is open, or deleting fails, Vacuum removes them later.
func (t *Table) discard(ctx context.Context, adds []*add, why error) {
	if !errors.Is(why, ErrConflict) && !errors.Is(why, ErrBusy) {
		return
	}
	for _, a := range adds {
		if name, err := fileName(a.Path); err == nil {
			t.storage.Delete(ctx, name)
		}
	}
}
