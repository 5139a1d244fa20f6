package golden

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/sallyport-gateway/sallyport/sdk/engine"
)

// Query is the form of the section query of an engine's dialogue, as ReadJSON
// reads it.
type Query struct {
	SQL       string            `json:"sql"`
	Args      []any             `json:"args"`
	Relations []engine.Relation `json:"relations"`
	MaxRows   int               `json:"max_rows"`
	MaxBytes  int64             `json:"max_bytes"`
	MaxMemory int64             `json:"max_memory"`
	WallMS    int64             `json:"wall_ms"`
}

// Engine makes a query of it. Paths of files are names of files in dir, or
// relative to beside.
func (q Query) Engine(dir, beside string) (engine.Query, error) {
	for i := range q.Relations {
		for j := range q.Relations[i].Files {
			f := &q.Relations[i].Files[j]
			path := filepath.Join(dir, f.Path)
			if _, err := os.Stat(path); err != nil {
				if path, err = filepath.Abs(filepath.Join(beside, f.Path)); err != nil {
					return engine.Query{}, err
				}
			}
			f.Path = path
		}
	}
	for i, a := range q.Args {
		n, ok := a.(json.Number)
		if !ok {
			continue
		}
		var err error
		if q.Args[i], err = n.Int64(); err != nil {
			q.Args[i], err = n.Float64()
		}
		if err != nil {
			return engine.Query{}, fmt.Errorf("argument %s: %w", n, err)
		}
	}
	return engine.Query{
		SQL: q.SQL, Args: q.Args, Relations: q.Relations, MaxRows: q.MaxRows, MaxBytes: q.MaxBytes, MaxMemory: q.MaxMemory,
		Wall: time.Duration(q.WallMS) * time.Millisecond,
	}, nil
}
