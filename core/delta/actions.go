package delta

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// known lists the reader features this package reads rightly. deletionVectors
// is among them because a live file that has one is refused; columnMapping
// because any mode but none is.
var known = []string{"timestampNtz", "vacuumProtocolCheck", "deletionVectors", "columnMapping"}

type protocol struct {
	MinReaderVersion int      `json:"minReaderVersion" parquet:"minReaderVersion,optional"`
	MinWriterVersion int      `json:"minWriterVersion" parquet:"minWriterVersion,optional"`
	ReaderFeatures   []string `json:"readerFeatures" parquet:"readerFeatures,optional,list"`
}

func (p *protocol) check(m *metadata) error {
	if p.MinReaderVersion > 3 {
		return fmt.Errorf("%w: it needs reader version %d", ErrUnsupported, p.MinReaderVersion)
	}
	if p.MinReaderVersion == 3 {
		for _, f := range p.ReaderFeatures {
			if !slices.Contains(known, f) {
				return fmt.Errorf("%w: it needs the reader feature %q", ErrUnsupported, f)
			}
		}
	}
	if mode := m.Configuration["delta.columnMapping.mode"]; mode != "" && mode != "none" {
		return fmt.Errorf("%w: its columns are mapped by %s", ErrUnsupported, mode)
	}
	if m.Format.Provider != "" && m.Format.Provider != "parquet" {
		return fmt.Errorf("%w: its files are %q", ErrUnsupported, m.Format.Provider)
	}
	return nil
}

type metadata struct {
	ID          string `json:"id" parquet:"id,optional"`
	Description string `json:"description" parquet:"description,optional"`
	Format      struct {
		Provider string `json:"provider" parquet:"provider,optional"`
	} `json:"format" parquet:"format,optional"`
	SchemaString     string            `json:"schemaString" parquet:"schemaString,optional"`
	PartitionColumns []string          `json:"partitionColumns" parquet:"partitionColumns,optional,list"`
	Configuration    map[string]string `json:"configuration" parquet:"configuration,optional"`
}

type deletionVector struct {
	StorageType    string `json:"storageType" parquet:"storageType,optional"`
	PathOrInlineDv string `json:"pathOrInlineDv" parquet:"pathOrInlineDv,optional"`
	Offset         *int32 `json:"offset" parquet:"offset,optional"`
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
	Path            string             `json:"path" parquet:"path,optional"`
	PartitionValues map[string]*string `json:"partitionValues" parquet:"partitionValues,optional"`
	Size            int64              `json:"size" parquet:"size,optional"`
	DeletionVector  *deletionVector    `json:"deletionVector" parquet:"deletionVector,optional"`
}

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

type remove struct {
	Path           string          `json:"path" parquet:"path,optional"`
	DeletionVector *deletionVector `json:"deletionVector" parquet:"deletionVector,optional"`
}

// sidecar names a file with more actions: checkpoints of version 2 only.
type sidecar struct {
	Path string `json:"path" parquet:"path,optional"`
}

// action is one line of a commit, or one row of a checkpoint. Exactly one
// field is set; other kinds of action do not change what a reader sees.
type action struct {
	Protocol *protocol `json:"protocol" parquet:"protocol,optional"`
	MetaData *metadata `json:"metaData" parquet:"metaData,optional"`
	Add      *add      `json:"add" parquet:"add,optional"`
	Remove   *remove   `json:"remove" parquet:"remove,optional"`
	Sidecar  *sidecar  `json:"sidecar" parquet:"sidecar,optional"`
}

type fileKey struct{ path, dv string }

// state is what replaying the log has found so far.
type state struct {
	protocol *protocol
	metadata *metadata
	live     map[fileKey]*add
}

func newState() *state { return &state{live: map[fileKey]*add{}} }

func (st *state) apply(a action) {
	switch {
	case a.Protocol != nil:
		st.protocol = a.Protocol
	case a.MetaData != nil:
		st.metadata = a.MetaData
	case a.Add != nil:
		st.live[fileKey{a.Add.Path, a.Add.DeletionVector.id()}] = a.Add
	case a.Remove != nil:
		delete(st.live, fileKey{a.Remove.Path, a.Remove.DeletionVector.id()})
	}
}

// openLog opens a file of the log. A link is refused: it could name any file.
func openLog(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("not a regular file")
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func (st *state) loadCommit(path string) error {
	f, err := openLog(path)
	if err != nil {
		return err
	}
	defer f.Close()
	// Within one commit no file is both added and removed, so order is free.
	r := bufio.NewReaderSize(f, 64<<10)
	for n := 1; ; n++ {
		line, err := readLine(r)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
		if len(strings.TrimSpace(string(line))) == 0 {
			continue
		}
		var a action
		if err := json.Unmarshal(line, &a); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
		st.apply(a)
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

// inside resolves the path of an action to a file below root. Absolute paths,
// URLs, and paths that leave the table's directory, by ".." or by a link, are
// refused: a log must not be able to name other people's files.
func inside(root, path string) (string, error) {
	decoded, err := url.PathUnescape(path)
	if err != nil {
		return "", fmt.Errorf("file %q: %w", path, err)
	}
	if decoded == "" || strings.HasPrefix(decoded, "/") || strings.Contains(decoded, "://") || !filepath.IsLocal(decoded) || strings.ContainsRune(decoded, 0) {
		return "", fmt.Errorf("file %q is outside the table's directory", path)
	}
	full := filepath.Join(root, filepath.FromSlash(decoded))
	real, err := filepath.EvalSymlinks(full)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("file %q is listed in the log and does not exist", path)
	}
	if err != nil {
		return "", fmt.Errorf("file %q: %w", path, err)
	}
	if real != full {
		return "", fmt.Errorf("file %q is a link that leads out of its place", path)
	}
	return full, nil
}
