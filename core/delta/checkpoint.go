package delta

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"

	"github.com/parquet-go/parquet-go"
)

const lastCheckpoint = "_last_checkpoint"

// loadCheckpoint applies every action of a classic checkpoint file, or of one
// part of it.
func (st *state) loadCheckpoint(ctx context.Context, s Storage, name string) (err error) {
	defer func() { // the decoder panics on some malformed files
		if v := recover(); v != nil {
			err = fmt.Errorf("malformed Parquet: %v", v)
		}
	}()
	o, err := s.Open(ctx, path.Join(logDir, name))
	if err != nil {
		return err
	}
	defer o.Close()
	pf, err := parquet.OpenFile(o, o.Size())
	if err != nil {
		return err
	}
	r := parquet.NewGenericReader[action](pf)
	defer r.Close()
	rows := make([]action, 256)
	for {
		clear(rows)
		n, err := r.Read(rows)
		for i := range n {
			rows[i].dropEmpty()
			if rows[i].Sidecar != nil {
				return fmt.Errorf("%w: its checkpoint has sidecar files", ErrUnsupported)
			}
			st.apply(rows[i])
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// dropEmpty sets to nil what the decoder made of columns that the file does
// not have: it fills some pointers with zero values.
func (a *action) dropEmpty() {
	if a.Protocol != nil && a.Protocol.MinReaderVersion == 0 && a.Protocol.MinWriterVersion == 0 {
		a.Protocol = nil
	}
	if a.MetaData != nil && a.MetaData.SchemaString == "" {
		a.MetaData = nil
	}
	if a.Txn != nil && a.Txn.AppID == "" {
		a.Txn = nil
	}
	if a.Sidecar != nil && a.Sidecar.Path == "" {
		a.Sidecar = nil
	}
	if a.Add != nil && a.Add.Path == "" {
		a.Add = nil
	}
	if a.Remove != nil && a.Remove.Path == "" {
		a.Remove = nil
	}
	if a.Add != nil && a.Add.DeletionVector != nil && a.Add.DeletionVector.StorageType == "" {
		a.Add.DeletionVector = nil
	}
	if a.Remove != nil && a.Remove.DeletionVector != nil && a.Remove.DeletionVector.StorageType == "" {
		a.Remove.DeletionVector = nil
	}
}

// checkpointSchema is the columns of a checkpoint.
// Source: Delta protocol, "Checkpoint Schema".
func checkpointSchema() Schema {
	text := Map{Key: String, Value: String}
	return Schema{
		{Name: "txn", Type: Struct{{Name: "appId", Type: String}, {Name: "version", Type: Long}, {Name: "lastUpdated", Type: Long}}},
		{Name: "add", Type: Struct{{Name: "path", Type: String}, {Name: "partitionValues", Type: text}, {Name: "size", Type: Long},
			{Name: "modificationTime", Type: Long}, {Name: "dataChange", Type: Boolean}, {Name: "stats", Type: String}, {Name: "tags", Type: text}}},
		{Name: "remove", Type: Struct{{Name: "path", Type: String}, {Name: "deletionTimestamp", Type: Long}, {Name: "dataChange", Type: Boolean},
			{Name: "extendedFileMetadata", Type: Boolean}, {Name: "partitionValues", Type: text}, {Name: "size", Type: Long}}},
		{Name: "metaData", Type: Struct{{Name: "id", Type: String}, {Name: "name", Type: String}, {Name: "description", Type: String},
			{Name: "format", Type: Struct{{Name: "provider", Type: String}, {Name: "options", Type: text}}}, {Name: "schemaString", Type: String},
			{Name: "partitionColumns", Type: Array{Element: String}}, {Name: "configuration", Type: text}, {Name: "createdTime", Type: Long}}},
		{Name: "protocol", Type: Struct{{Name: "minReaderVersion", Type: Integer}, {Name: "minWriterVersion", Type: Integer}}},
	}
}

// Checkpoint writes the state of the newest version as one file, so that
// readers need not replay the log before it. Commits do it by themselves,
// every delta.checkpointInterval versions.
func (t *Table) Checkpoint(ctx context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.refresh(ctx); err != nil {
		return err
	}
	return t.checkpoint(ctx)
}

// checkpoint writes the checkpoint of the state's version, and then says so in
// _last_checkpoint. Both appear whole or not at all; without the second,
// readers find the first in a listing.
// Source: Delta protocol, "Checkpoints" and "Last Checkpoint File Schema".
func (t *Table) checkpoint(ctx context.Context) error {
	count := 0
	data, err := encodeFile(newLayout(checkpointSchema(), func(string) bool { return false }), func(yield func(Row) error) error {
		return t.checkpointRows(func(r Row) error { count++; return yield(r) })
	})
	if err != nil {
		return fmt.Errorf("delta: checkpoint of version %d: %w", t.version, err)
	}
	if err := t.storage.Put(ctx, path.Join(logDir, checkpointFile(t.version)), bytes.NewReader(data)); err != nil {
		return fmt.Errorf("delta: checkpoint of version %d: %w", t.version, err)
	}
	last := path.Join(logDir, lastCheckpoint)
	if t.lastCheckpoint(ctx, last) > t.version { // another writer is ahead
		return nil
	}
	text := fmt.Sprintf(`{"version":%d,"size":%d,"sizeInBytes":%d,"numOfAddFiles":%d}`, t.version, count, len(data), len(t.state.live))
	if err := t.storage.Put(ctx, last, bytes.NewReader([]byte(text))); err != nil {
		return fmt.Errorf("delta: checkpoint of version %d: %w", t.version, err)
	}
	return nil
}

// lastCheckpoint is the version in _last_checkpoint, -1 if none can be read.
func (t *Table) lastCheckpoint(ctx context.Context, name string) int64 {
	o, err := t.storage.Open(ctx, name)
	if err != nil {
		return -1
	}
	defer o.Close()
	var last struct {
		Version *int64 `json:"version"`
	}
	if json.NewDecoder(io.NewSectionReader(o, 0, o.Size())).Decode(&last) != nil || last.Version == nil {
		return -1
	}
	return *last.Version
}

// checkpointRows yields the state as rows of checkpointSchema, in an order
// that depends on the state alone.
func (t *Table) checkpointRows(yield func(Row) error) error {
	st := t.state
	p, m := st.protocol, st.metadata
	config := pairs(m.Configuration)
	rows := []Row{
		{nil, nil, nil, nil, Row{p.MinReaderVersion, p.MinWriterVersion}},
		{nil, nil, nil, Row{m.ID, orNull(m.Name), orNull(m.Description), Row{cmp.Or(m.Format.Provider, "parquet"), pairs(m.Format.Options)},
			m.SchemaString, append([]string{}, m.PartitionColumns...), config, zeroNull(m.CreatedTime)}, nil},
	}
	for _, app := range slices.Sorted(maps.Keys(st.txns)) {
		x := st.txns[app]
		rows = append(rows, Row{Row{x.AppID, x.Version, zeroNull(x.LastUpdated)}, nil, nil, nil, nil})
	}
	for _, r := range rows {
		if err := yield(r); err != nil {
			return err
		}
	}
	byPath := func(a, b fileKey) int { return cmp.Compare(a.path, b.path) }
	for _, key := range slices.SortedFunc(maps.Keys(st.live), byPath) {
		a := st.live[key]
		tags := any(nil)
		if len(a.Tags) > 0 {
			tags = pairsOrNull(a.Tags)
		}
		if err := yield(Row{nil, Row{a.Path, pairsOrNull(a.PartitionValues), a.Size, a.ModificationTime, false, orNull(a.Stats), tags}, nil, nil, nil}); err != nil {
			return err
		}
	}
	for _, key := range slices.SortedFunc(maps.Keys(st.tombs), byPath) {
		r := st.tombs[key]
		if t.expired(r) {
			delete(st.tombs, key)
			continue
		}
		values, size := any(nil), any(nil)
		if r.ExtendedFileMetadata {
			values, size = pairsOrNull(r.PartitionValues), r.Size
		}
		if err := yield(Row{nil, nil, Row{r.Path, r.DeletionTimestamp, false, r.ExtendedFileMetadata, values, size}, nil, nil}); err != nil {
			return err
		}
	}
	return nil
}

// expired reports whether a tombstone is older than the table keeps them.
func (t *Table) expired(r *remove) bool {
	return r.DeletionTimestamp < t.options.Now().Add(-t.form.props.fileRetention).UnixMilli()
}

func pairs(m map[string]string) Pairs {
	ps := make(Pairs, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		ps = append(ps, Pair{k, m[k]})
	}
	return ps
}

func pairsOrNull(m map[string]*string) Pairs {
	ps := make(Pairs, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if v := m[k]; v != nil {
			ps = append(ps, Pair{k, *v})
		} else {
			ps = append(ps, Pair{k, nil})
		}
	}
	return ps
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func zeroNull(n int64) any {
	if n == 0 {
		return nil
	}
	return n
}
