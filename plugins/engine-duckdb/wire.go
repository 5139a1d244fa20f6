//go:build cgo

package main

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/confine"
	"github.com/sallyport-gateway/sallyport/sdk/engine"
)

// Frames between the plugin and its children: u32 length of what follows,
// big endian; u8 type; payload.
const (
	frameReady     = 'r' // child: the database is open
	frameQuery     = 'q' // parent: request
	frameInspect   = 'i' // parent: the text of a statement
	frameColumns   = 'c' // child: []engine.Column
	frameRows      = 'b' // child: rows, a line feed after each
	frameDone      = 'd' // child: done
	frameStatement = 's' // child: engine.Statement
	frameError     = 'e' // child: failure
)

// maxRequest bounds a frame to a child: the statement, and the names of files.
const maxRequest = 64 << 20

// request is a query for a child.
type request struct {
	SQL       string            `json:"sql"`
	Args      []argument        `json:"args"`
	Relations []engine.Relation `json:"relations"`
	MaxRows   int               `json:"max_rows"`
	MaxBytes  int               `json:"max_bytes"`
	MaxMemory int64             `json:"max_memory"`
	MaxCPU    int64             `json:"max_cpu"` // seconds
	Unchecked bool              `json:"unchecked,omitempty"`
	Loose     bool              `json:"loose,omitempty"` // accept a system that cannot confine
}

// argument is one bound value with its type, which JSON alone would lose.
type argument struct {
	Bool  *bool   `json:"b,omitempty"`
	Int   *int64  `json:"i,omitempty,string"`
	Float *string `json:"f,omitempty"` // as text: JSON has no NaN
	Text  *string `json:"s,omitempty"`
}

type done struct {
	Truncated bool `json:"truncated,omitempty"`
}

// failure is an error of a child: the client's part and one line for the log.
type failure struct {
	Error *apierror.Error `json:"error"`
	Log   string          `json:"log,omitempty"`
}

type ready struct {
	Version string         `json:"version"` // of DuckDB
	Confine confine.Report `json:"confine"`
}

func writeFrame(w io.Writer, typ byte, payload []byte) error {
	b := make([]byte, 5, 5+len(payload))
	binary.BigEndian.PutUint32(b, uint32(len(payload)+1))
	b[4] = typ
	_, err := w.Write(append(b, payload...))
	return err
}

func writeJSON(w io.Writer, typ byte, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return writeFrame(w, typ, b)
}

// readFrame reads a frame of at most limit bytes.
func readFrame(r io.Reader, limit int) (typ byte, payload []byte, err error) {
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	n := int64(binary.BigEndian.Uint32(head[:])) - 1
	if n < 0 || n > int64(limit) {
		return 0, nil, fmt.Errorf("frame of %d bytes, want at most %d", n, limit)
	}
	payload = make([]byte, n)
	if _, err := io.ReadFull(r, payload); err != nil {
		return 0, nil, fmt.Errorf("frame cut: %w", err)
	}
	return head[4], payload, nil
}
