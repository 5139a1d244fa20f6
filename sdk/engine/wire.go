package engine

import (
	"encoding/json"
	"fmt"
	"iter"
	"time"

	"github.com/sallyport-gateway/sallyport/sdk/internal/fault"
	enginev1 "github.com/sallyport-gateway/sallyport/sdk/proto/engine/v1"
)

// MaxMessage is the largest message between gateway and engine, in bytes. A
// server that Register is used with must take messages of this size.
const MaxMessage = fault.MaxMessage

// pieceBytes is how much of a batch goes into one message: enough that the
// cost of a message does not show, little enough to bound what waits for a
// slow reader. A single row may be longer.
const pieceBytes = 128 << 10

// EncodeBatch gives the wire form of b in pieces of about 128 KiB, each with
// its size in bytes. The columns are in the first, Truncated in the last.
func EncodeBatch(b Batch) iter.Seq2[*enginev1.Batch, int64] {
	return func(yield func(*enginev1.Batch, int64) bool) {
		piece, size := &enginev1.Batch{Columns: EncodeColumns(b.Columns)}, int64(0)
		for _, c := range b.Columns {
			size += int64(len(c.Name) + len(c.Type) + len(c.Comment))
		}
		for _, row := range b.Rows {
			if len(piece.Rows) > 0 && size+int64(len(row)) > pieceBytes {
				if !yield(piece, size) {
					return
				}
				piece, size = &enginev1.Batch{}, 0
			}
			piece.Rows = append(piece.Rows, row)
			size += int64(len(row)) + 2
		}
		piece.Truncated = b.Truncated
		yield(piece, size)
	}
}

// DecodeBatch reads that form.
func DecodeBatch(p *enginev1.Batch) Batch {
	b := Batch{Columns: DecodeColumns(p.GetColumns()), Truncated: p.GetTruncated()}
	if rows := p.GetRows(); len(rows) > 0 {
		b.Rows = make([]json.RawMessage, len(rows))
		for i, r := range rows {
			b.Rows[i] = r
		}
	}
	return b
}

// EncodeColumns gives the wire form of columns.
func EncodeColumns(cs []Column) []*enginev1.Column {
	out := make([]*enginev1.Column, len(cs))
	for i, c := range cs {
		out[i] = &enginev1.Column{Name: fault.Text(c.Name), Type: fault.Text(c.Type), Comment: fault.Text(c.Comment)}
	}
	return out
}

// DecodeColumns reads that form.
func DecodeColumns(ps []*enginev1.Column) []Column {
	if len(ps) == 0 {
		return nil
	}
	out := make([]Column, len(ps))
	for i, p := range ps {
		out[i] = Column{Name: p.GetName(), Type: p.GetType(), Comment: p.GetComment()}
	}
	return out
}

// EncodeArgs gives the wire form of bound arguments: nil, bool, string, any
// integer that fits int64, float32 and float64.
func EncodeArgs(args []any) ([]*enginev1.Value, error) {
	out := make([]*enginev1.Value, len(args))
	for i, a := range args {
		v := &enginev1.Value{}
		switch a := a.(type) {
		case nil:
		case bool:
			v.Kind = &enginev1.Value_Bool{Bool: a}
		case int:
			v.Kind = &enginev1.Value_Int{Int: int64(a)}
		case int32:
			v.Kind = &enginev1.Value_Int{Int: int64(a)}
		case int64:
			v.Kind = &enginev1.Value_Int{Int: a}
		case float32:
			v.Kind = &enginev1.Value_Double{Double: float64(a)}
		case float64:
			v.Kind = &enginev1.Value_Double{Double: a}
		case string:
			v.Kind = &enginev1.Value_Text{Text: fault.Text(a)}
		default:
			return nil, fmt.Errorf("argument %d: a %T cannot be bound", i+1, a)
		}
		out[i] = v
	}
	return out, nil
}

// DecodeArgs reads that form.
func DecodeArgs(ps []*enginev1.Value) []any {
	if len(ps) == 0 {
		return nil
	}
	out := make([]any, len(ps))
	for i, p := range ps {
		switch k := p.GetKind().(type) {
		case *enginev1.Value_Bool:
			out[i] = k.Bool
		case *enginev1.Value_Int:
			out[i] = k.Int
		case *enginev1.Value_Double:
			out[i] = k.Double
		case *enginev1.Value_Text:
			out[i] = k.Text
		}
	}
	return out
}

func encodeQuery(q Query) (*enginev1.QueryRequest, error) {
	args, err := EncodeArgs(q.Args)
	if err != nil {
		return nil, err
	}
	p := &enginev1.QueryRequest{
		Sql: fault.Text(q.SQL), Args: args, Relations: make([]*enginev1.Relation, len(q.Relations)),
		MaxRows: int64(q.MaxRows), MaxBytes: q.MaxBytes, MaxMemory: q.MaxMemory, WallNs: int64(q.Wall),
	}
	for i, r := range q.Relations {
		rel := &enginev1.Relation{
			Name: fault.Text(r.Name), Format: r.Format, Columns: EncodeColumns(r.Columns), Files: make([]*enginev1.File, len(r.Files)),
		}
		for j, f := range r.Files {
			rel.Files[j] = &enginev1.File{Path: fault.Text(f.Path), Constants: f.Constants}
		}
		p.Relations[i] = rel
	}
	return p, nil
}

func decodeQuery(p *enginev1.QueryRequest) Query {
	q := Query{
		SQL: p.GetSql(), Args: DecodeArgs(p.GetArgs()),
		MaxRows: int(p.GetMaxRows()), MaxBytes: p.GetMaxBytes(), MaxMemory: p.GetMaxMemory(), Wall: time.Duration(p.GetWallNs()),
	}
	for _, r := range p.GetRelations() {
		rel := Relation{Name: r.GetName(), Format: r.GetFormat(), Columns: DecodeColumns(r.GetColumns())}
		for _, f := range r.GetFiles() {
			rel.Files = append(rel.Files, File{Path: f.GetPath(), Constants: f.GetConstants()})
		}
		q.Relations = append(q.Relations, rel)
	}
	return q
}
