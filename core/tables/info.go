package tables

import (
	"context"
	"errors"
	"io/fs"
	"time"
)

// Info is a table as an operator sees it.
type Info struct {
	Name, Kind, Location, Comment string
	Version                       int64 // of the Delta table
	Files                         int
	Bytes, Rows                   int64
	LastCommit                    time.Time
	Pending                       int64  // rows that are in the ledger and not committed
	Problem                       string // "" when all is well
}

// Info lists the tables that are defined, and those of earlier definitions
// that are still there, by name. A table that cannot be opened is listed with
// a Problem.
func (s *Set) Info(ctx context.Context) ([]Info, error) {
	var all []Info
	for _, t := range s.sorted() {
		if err := ctx.Err(); err != nil {
			return nil, context.Cause(ctx)
		}
		i := Info{Name: t.name, Location: t.dir, Comment: t.def().Comment}
		if t.def().Kind != nil {
			i.Kind = t.def().Kind.Name
		}
		h, err := s.acquire(ctx, t)
		if t.def().Kind == nil && errors.Is(err, fs.ErrNotExist) {
			continue // a name in the ledger and nothing else
		}
		if err == nil {
			i.Kind = h.kind.Name
			if err = h.delta.Refresh(ctx); err != nil {
				t.doubt()
			}
			st := h.delta.Stats()
			i.Version, i.Files, i.Bytes, i.Rows, i.LastCommit = st.Version, st.Files, st.Bytes, st.Rows, st.Changed
			t.release(s.now())
		}
		s.mu.Lock()
		i.Pending = t.wait.rows
		if t.trouble != nil {
			i.Problem = t.trouble.message
		}
		s.mu.Unlock()
		if err != nil {
			i.Problem = t.explain(err)
		}
		all = append(all, i)
	}
	return all, nil
}
