package delta

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"path"
	"path/filepath"
	"strings"
)

// Actions as the log has them.
// Source: Delta protocol, "Actions".

type metadata struct {
	ID               string            `json:"id" parquet:"id,optional"`
	Name             string            `json:"name,omitempty" parquet:"name,optional"`
	Description      string            `json:"description,omitempty" parquet:"description,optional"`
	Format           fileFormat        `json:"format" parquet:"format,optional"`
	SchemaString     string            `json:"schemaString" parquet:"schemaString,optional"`
	PartitionColumns []string          `json:"partitionColumns" parquet:"partitionColumns,optional,list"`
	Configuration    map[string]string `json:"configuration" parquet:"configuration,optional"`
	CreatedTime      int64             `json:"createdTime,omitempty" parquet:"createdTime,optional"` // ms since 1970
}

type fileFormat struct {
	Provider string            `json:"provider" parquet:"provider,optional"`
	Options  map[string]string `json:"options" parquet:"options,optional"`
}

type deletionVector struct {
	StorageType    string `json:"storageType" parquet:"storageType,optional"`
	PathOrInlineDv string `json:"pathOrInlineDv" parquet:"pathOrInlineDv,optional"`
	Offset         *int32 `json:"offset,omitempty" parquet:"offset,optional"`
}

// id tells apart two entries of one file with different deletion vectors.
func (d *deletionVector) id() string {
	if d == nil {
		return ""
	}
	if d.Offset != nil {
		return fmt.Sprintf("%s%s@%d", d.StorageType, d.PathOrInlineDv, *d.Offset)
	}
	return d.StorageType + d.PathOrInlineDv
}

type add struct {
	Path             string             `json:"path" parquet:"path,optional"` // URL-encoded
	PartitionValues  map[string]*string `json:"partitionValues" parquet:"partitionValues,optional"`
	Size             int64              `json:"size" parquet:"size,optional"`
	ModificationTime int64              `json:"modificationTime" parquet:"modificationTime,optional"` // ms since 1970
	DataChange       bool               `json:"dataChange" parquet:"dataChange,optional"`
	Stats            string             `json:"stats,omitempty" parquet:"stats,optional"`
	Tags             map[string]*string `json:"tags,omitempty" parquet:"tags,optional"`
	DeletionVector   *deletionVector    `json:"deletionVector,omitempty" parquet:"deletionVector,optional"`
}

func (a *add) key() fileKey { return fileKey{a.Path, a.DeletionVector.id()} }

// partition is the text of each partition value. The protocol writes null as
// null or as the empty text.
func (a *add) partition() map[string]string {
	if len(a.PartitionValues) == 0 {
		return nil
	}
	m := make(map[string]string, len(a.PartitionValues))
	for k, v := range a.PartitionValues {
		if v != nil && *v != "" {
			m[k] = *v
		}
	}
	return m
}

// removal is the action that takes the file out of the table.
func (a *add) removal(at int64, dataChange bool) *remove {
	return &remove{Path: a.Path, DeletionTimestamp: at, DataChange: dataChange, ExtendedFileMetadata: true,
		PartitionValues: a.PartitionValues, Size: a.Size, DeletionVector: a.DeletionVector}
}

// remove is the tombstone of a file that is no longer part of the table.
type remove struct {
	Path                 string             `json:"path" parquet:"path,optional"`
	DeletionTimestamp    int64              `json:"deletionTimestamp,omitempty" parquet:"deletionTimestamp,optional"` // ms since 1970
	DataChange           bool               `json:"dataChange" parquet:"dataChange,optional"`
	ExtendedFileMetadata bool               `json:"extendedFileMetadata,omitempty" parquet:"extendedFileMetadata,optional"`
	PartitionValues      map[string]*string `json:"partitionValues,omitempty" parquet:"partitionValues,optional"`
	Size                 int64              `json:"size,omitempty" parquet:"size,optional"`
	DeletionVector       *deletionVector    `json:"deletionVector,omitempty" parquet:"deletionVector,optional"`
}

func (r *remove) key() fileKey { return fileKey{r.Path, r.DeletionVector.id()} }

// txn is the last version an application has written.
// Source: Delta protocol, "Transaction Identifiers".
type txn struct {
	AppID       string `json:"appId" parquet:"appId,optional"`
	Version     int64  `json:"version" parquet:"version,optional"`
	LastUpdated int64  `json:"lastUpdated,omitempty" parquet:"lastUpdated,optional"` // ms since 1970
}

// commitInfo is what we read of a commit's provenance.
type commitInfo struct {
	Timestamp int64  `json:"timestamp"` // ms since 1970
	TxnID     string `json:"txnId"`
}

// sidecar names a file with more actions: checkpoints of version 2 only.
type sidecar struct {
	Path string `json:"path" parquet:"path,optional"`
}

// action is one line of a commit, or one row of a checkpoint. Exactly one
// field is set; other kinds of action do not change what a reader sees, and
// the protocol has them ignored.
type action struct {
	CommitInfo json.RawMessage `json:"commitInfo,omitempty" parquet:"-"` // free in form
	Protocol   *protocol       `json:"protocol,omitempty" parquet:"protocol,optional"`
	MetaData   *metadata       `json:"metaData,omitempty" parquet:"metaData,optional"`
	Txn        *txn            `json:"txn,omitempty" parquet:"txn,optional"`
	Add        *add            `json:"add,omitempty" parquet:"add,optional"`
	Remove     *remove         `json:"remove,omitempty" parquet:"remove,optional"`
	Sidecar    *sidecar        `json:"sidecar,omitempty" parquet:"sidecar,optional"`
}

type fileKey struct{ path, dv string }

// state is what replaying the log has found so far.
// Source: Delta protocol, "Action Reconciliation".
type state struct {
	protocol *protocol
	metadata *metadata
	live     map[fileKey]*add

	// For writers only; nil maps for readers, who need neither.
	tombs map[fileKey]*remove
	txns  map[string]*txn
	clock int64 // the latest time the log speaks of, ms since 1970
}

func newState() *state { return &state{live: map[fileKey]*add{}} }

func newWriterState() *state {
	return &state{live: map[fileKey]*add{}, tombs: map[fileKey]*remove{}, txns: map[string]*txn{}}
}

func (st *state) writing() bool { return st.tombs != nil }

// year2200 bounds the times believed from a log: others are no milliseconds.
const year2200 = 7258118400000

func (st *state) sawTime(ms int64) {
	if ms < year2200 {
		st.clock = max(st.clock, ms)
	}
}

func (st *state) apply(a action) {
	switch {
	case a.Protocol != nil:
		st.protocol = a.Protocol
	case a.MetaData != nil:
		st.metadata = a.MetaData
	case a.Add != nil:
		if !st.writing() {
			a.Add.Stats, a.Add.Tags = "", nil
		}
		st.live[a.Add.key()] = a.Add
		delete(st.tombs, a.Add.key())
		st.sawTime(a.Add.ModificationTime)
	case a.Remove != nil:
		delete(st.live, a.Remove.key())
		if st.writing() {
			st.tombs[a.Remove.key()] = a.Remove
			st.sawTime(a.Remove.DeletionTimestamp)
		}
	case a.Txn != nil:
		if st.writing() {
			st.txns[a.Txn.AppID] = a.Txn
		}
	case a.CommitInfo != nil:
		st.sawTime(a.info().Timestamp)
	}
}

// info is the commit's provenance, as far as it has the usual form.
func (a *action) info() (c commitInfo) {
	if json.Unmarshal(a.CommitInfo, &c) != nil {
		return commitInfo{}
	}
	return c
}

// readCommit reads the actions of one version.
func readCommit(o Object) ([]action, error) {
	var all []action
	err := eachLine(io.NewSectionReader(o, 0, o.Size()), func(line []byte) error {
		a, err := parseAction(line)
		if err == nil {
			all = append(all, a)
		}
		return err
	})
	return all, err
}

func parseAction(line []byte) (a action, err error) {
	err = json.Unmarshal(line, &a)
	return a, err
}

// eachLine calls f for every line that is not empty.
func eachLine(in io.Reader, f func([]byte) error) error {
	r := bufio.NewReaderSize(in, 64<<10)
	for n := 1; ; n++ {
		line, err := readLine(r)
		if err == io.EOF {
			return nil
		}
		if err == nil && len(bytes.TrimSpace(line)) > 0 {
			err = f(line)
		}
		if err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
	}
}

// readLine reads a line of at most maxLine bytes; io.EOF after the last.
func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case len(line) > maxLine:
			return nil, fmt.Errorf("an action is longer than %d bytes", maxLine)
		case err == nil:
			return line, nil
		case err == io.EOF && len(line) > 0:
			return line, nil
		case err != bufio.ErrBufferFull:
			return nil, err
		}
	}
}

// encodeActions writes actions as the lines of a commit.
func encodeActions(all []action) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	for i := range all {
		if err := e.Encode(&all[i]); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), nil
}

// fileName is the name of an action's file in the table's Storage. Absolute
// paths, URLs, and paths that leave the table's directory are refused: a log
// must not be able to name other people's files.
func fileName(logged string) (string, error) {
	name, err := url.PathUnescape(logged)
	if err != nil {
		return "", fmt.Errorf("file %q: %w", logged, err)
	}
	if name == "" || strings.HasPrefix(name, "/") || strings.Contains(name, "://") || !filepath.IsLocal(name) || strings.ContainsRune(name, 0) {
		return "", fmt.Errorf("file %q is outside the table's directory", logged)
	}
	return path.Clean(filepath.ToSlash(name)), nil
}

// loggedPath is the path of an action for a file.
func loggedPath(name string) string {
	parts := strings.Split(name, "/")
	for i, p := range parts {
		parts[i] = url.PathEscape(p)
	}
	return strings.Join(parts, "/")
}

// inside resolves the path of an action to a file below root. A path that a
// link leads elsewhere is refused, as is what fileName refuses.
func inside(root, logged string) (string, error) {
	name, err := fileName(logged)
	if err != nil {
		return "", err
	}
	full := filepath.Join(root, filepath.FromSlash(name))
	real, err := filepath.EvalSymlinks(full)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("file %q is listed in the log and does not exist", logged)
	}
	if err != nil {
		return "", fmt.Errorf("file %q: %w", logged, err)
	}
	if real != full {
		return "", fmt.Errorf("file %q is a link that leads out of its place", logged)
	}
	return full, nil
}
