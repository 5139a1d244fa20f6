//go:build unix

package sqlapi

import (
	"bytes"
	"context"
	"fmt"

	"github.com/sallyport-gateway/sallyport/core/catalog"
	"github.com/sallyport-gateway/sallyport/sdk/engine"
)

// Run runs s with the rights of view. The statement's own faults, tables that
// the caller may not read, and limits are apierrors, as catalog.View.Query
// gives them.
func Run(ctx context.Context, view catalog.View, s Statement) (Result, error) {
	if err := s.Validate(); err != nil {
		return Result{}, err
	}
	sql, args, err := bind(s.Statement, s.Parameters)
	if err != nil {
		return Result{}, err
	}
	q := catalog.Query{SQL: sql, Args: args, Catalog: s.Catalog, Schema: s.Schema, MaxRows: DefaultRows, MaxBytes: DefaultBytes, Wall: Wall}
	if s.RowLimit > 0 {
		q.MaxRows = int(s.RowLimit)
	}
	if s.ByteLimit > 0 {
		q.MaxBytes = s.ByteLimit
	}
	var (
		out  Result
		data = bytes.NewBuffer([]byte{'['})
	)
	for b, err := range view.Query(ctx, q) {
		if err != nil {
			return Result{}, err
		}
		if out.Columns == nil && b.Columns != nil {
			out.Columns = columns(b.Columns)
		}
		if s.Reserve != nil {
			if err := s.Reserve(size(b)); err != nil {
				return Result{}, err
			}
		}
		for _, row := range b.Rows {
			if out.Rows++; out.Rows > 1 {
				data.WriteByte(',')
			}
			if err := appendRow(data, row, len(out.Columns)); err != nil {
				return Result{}, fmt.Errorf("sql: row %d: %w", out.Rows, err)
			}
		}
		out.Truncated = out.Truncated || b.Truncated
	}
	data.WriteByte(']')
	out.Data = data.Bytes()
	return out, nil
}

// columns translates the columns of the engine.
func columns(cs []engine.Column) []Column {
	out := make([]Column, len(cs))
	for i, c := range cs {
		out[i] = column(c.Type)
		out[i].Name, out[i].Position = c.Name, i
	}
	return out
}

// size is about how much memory the rows of b take in an answer.
func size(b engine.Batch) int64 {
	n := int64(0)
	for _, r := range b.Rows {
		n += 2 * int64(len(r)) // here and in the encoded answer
	}
	return n
}
