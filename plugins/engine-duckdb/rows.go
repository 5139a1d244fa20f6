//go:build cgo

package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"math"
	"math/big"
	"strconv"
	"unsafe"

	duckdb "github.com/duckdb/duckdb-go-bindings"
)

// column reads the values of one vector of a chunk. The memory belongs to the
// chunk.
type column struct {
	t     *sqlType
	data  unsafe.Pointer
	valid unsafe.Pointer
	sub   []*column
}

func newColumn(t *sqlType, v duckdb.Vector) *column {
	c := &column{t: t, data: duckdb.VectorGetData(v), valid: duckdb.VectorGetValidity(v)}
	switch t.id {
	case duckdb.TypeList:
		c.sub = []*column{newColumn(t.sub[0], duckdb.ListVectorGetChild(v))}
	case duckdb.TypeArray:
		c.sub = []*column{newColumn(t.sub[0], duckdb.ArrayVectorGetChild(v))}
	case duckdb.TypeMap: // a list of structs of key and value
		entries := duckdb.ListVectorGetChild(v)
		c.sub = []*column{newColumn(t.sub[0], duckdb.StructVectorGetChild(entries, 0)), newColumn(t.sub[1], duckdb.StructVectorGetChild(entries, 1))}
	case duckdb.TypeStruct:
		for i, s := range t.sub {
			c.sub = append(c.sub, newColumn(s, duckdb.StructVectorGetChild(v, duckdb.IdxT(i))))
		}
	case duckdb.TypeUnion: // a struct of tag and members
		c.sub = []*column{newColumn(&sqlType{id: duckdb.TypeUTinyInt}, duckdb.StructVectorGetChild(v, 0))}
		for i, s := range t.sub {
			c.sub = append(c.sub, newColumn(s, duckdb.StructVectorGetChild(v, duckdb.IdxT(i+1))))
		}
	}
	return c
}

// at is the value of row i in a vector of Ts.
func at[T any](p unsafe.Pointer, i uint64) T { return unsafe.Slice((*T)(p), i+1)[i] }

func (c *column) null(i uint64) bool {
	return c.valid != nil && at[uint64](c.valid, i/64)&(1<<(i%64)) == 0
}

// bytes is a string or blob. It is valid as long as the chunk is.
func (c *column) bytes(i uint64) []byte {
	// A string_t: a length, and 12 bytes, or 4 bytes of prefix and a pointer.
	type long struct {
		length uint32
		prefix [4]byte
		ptr    *byte
	}
	p := unsafe.Add(c.data, i*16)
	s := (*long)(p)
	if s.length <= 12 {
		return unsafe.Slice((*byte)(unsafe.Add(p, 4)), s.length)
	}
	return unsafe.Slice(s.ptr, s.length)
}

type hugeint struct {
	lower uint64
	upper int64
}

func (h hugeint) big() *big.Int {
	v := new(big.Int).Lsh(big.NewInt(h.upper), 64)
	return v.Or(v, new(big.Int).SetUint64(h.lower))
}

// row writes rows until they are longer than max bytes: a single value may be
// far larger than what a result may hold.
type row struct {
	buf []byte
	max int
}

func (r *row) full() bool { return len(r.buf) > r.max }

// encode replaces r with row i of cols, a JSON array.
func (r *row) encode(cols []*column, i uint64) {
	r.buf = append(r.buf[:0], '[')
	for j, c := range cols {
		if j > 0 {
			r.buf = append(r.buf, ',')
		}
		r.value(c, i)
	}
	r.buf = append(r.buf, ']')
}

func (r *row) value(c *column, i uint64) {
	if r.full() {
		return
	}
	if c.null(i) {
		r.buf = append(r.buf, "null"...)
		return
	}
	switch c.t.id {
	case duckdb.TypeBoolean:
		r.buf = strconv.AppendBool(r.buf, at[uint8](c.data, i) != 0)
	case duckdb.TypeTinyInt:
		r.buf = strconv.AppendInt(r.buf, int64(at[int8](c.data, i)), 10)
	case duckdb.TypeSmallInt:
		r.buf = strconv.AppendInt(r.buf, int64(at[int16](c.data, i)), 10)
	case duckdb.TypeInteger:
		r.buf = strconv.AppendInt(r.buf, int64(at[int32](c.data, i)), 10)
	case duckdb.TypeBigInt:
		r.buf = strconv.AppendInt(r.buf, at[int64](c.data, i), 10)
	case duckdb.TypeUTinyInt:
		r.buf = strconv.AppendUint(r.buf, uint64(at[uint8](c.data, i)), 10)
	case duckdb.TypeUSmallInt:
		r.buf = strconv.AppendUint(r.buf, uint64(at[uint16](c.data, i)), 10)
	case duckdb.TypeUInteger:
		r.buf = strconv.AppendUint(r.buf, uint64(at[uint32](c.data, i)), 10)
	case duckdb.TypeUBigInt:
		r.buf = strconv.AppendUint(r.buf, at[uint64](c.data, i), 10)
	case duckdb.TypeHugeInt:
		r.buf = at[hugeint](c.data, i).big().Append(r.buf, 10)
	case duckdb.TypeUHugeInt:
		h := at[[2]uint64](c.data, i)
		v := new(big.Int).Lsh(new(big.Int).SetUint64(h[1]), 64)
		r.buf = v.Or(v, new(big.Int).SetUint64(h[0])).Append(r.buf, 10)
	case duckdb.TypeBigNum:
		r.buf = bignum(c.bytes(i)).Append(r.buf, 10)
	case duckdb.TypeFloat:
		r.float(float64(at[float32](c.data, i)), 32)
	case duckdb.TypeDouble:
		r.float(at[float64](c.data, i), 64)
	case duckdb.TypeDecimal:
		r.decimal(c, i)
	case duckdb.TypeVarchar:
		r.varchar(c, i)
	case duckdb.TypeBlob:
		b := c.bytes(i)
		if len(b) > r.max {
			r.overflow()
			return
		}
		r.buf = append(r.buf, '"')
		r.buf = base64.StdEncoding.AppendEncode(r.buf, b)
		r.buf = append(r.buf, '"')
	case duckdb.TypeBit:
		r.bit(c.bytes(i))
	case duckdb.TypeUUID:
		h := at[hugeint](c.data, i) // ordered like numbers: the first bit is flipped
		var b [16]byte
		big.NewInt(0).Or(new(big.Int).Lsh(new(big.Int).SetUint64(uint64(h.upper)^1<<63), 64), new(big.Int).SetUint64(h.lower)).FillBytes(b[:])
		x := hex.EncodeToString(b[:])
		r.buf = append(r.buf, `"`+x[:8]+"-"+x[8:12]+"-"+x[12:16]+"-"+x[16:20]+"-"+x[20:]+`"`...)
	case duckdb.TypeEnum:
		r.text(c.t.labels[enumIndex(c, i)])
	case duckdb.TypeSQLNull:
		r.buf = append(r.buf, "null"...)
	case duckdb.TypeList, duckdb.TypeArray, duckdb.TypeMap, duckdb.TypeStruct, duckdb.TypeUnion:
		r.nested(c, i)
	default:
		r.time(c, i)
	}
}

// overflow makes r full, for a value that alone is too large.
func (r *row) overflow() { r.buf = append(r.buf, make([]byte, max(0, r.max-len(r.buf))+1)...) }

func enumIndex(c *column, i uint64) uint32 {
	switch c.t.store {
	case duckdb.TypeUTinyInt:
		return uint32(at[uint8](c.data, i))
	case duckdb.TypeUSmallInt:
		return uint32(at[uint16](c.data, i))
	}
	return at[uint32](c.data, i)
}

// float writes the shortest text that reads back as the same value.
func (r *row) float(f float64, bits int) {
	switch {
	case math.IsNaN(f):
		r.buf = append(r.buf, `"NaN"`...)
	case math.IsInf(f, 1):
		r.buf = append(r.buf, `"Infinity"`...)
	case math.IsInf(f, -1):
		r.buf = append(r.buf, `"-Infinity"`...)
	default:
		format := byte('f')
		if a := math.Abs(f); a != 0 && (a < 1e-6 || a >= 1e21) {
			format = 'e'
		}
		r.buf = strconv.AppendFloat(r.buf, f, format, -1, bits)
	}
}

// decimal writes all digits after the point, also zeros: they are the type's.
func (r *row) decimal(c *column, i uint64) {
	var digits []byte
	switch c.t.store {
	case duckdb.TypeSmallInt:
		digits = strconv.AppendInt(nil, int64(at[int16](c.data, i)), 10)
	case duckdb.TypeInteger:
		digits = strconv.AppendInt(nil, int64(at[int32](c.data, i)), 10)
	case duckdb.TypeBigInt:
		digits = strconv.AppendInt(nil, at[int64](c.data, i), 10)
	default:
		digits = at[hugeint](c.data, i).big().Append(nil, 10)
	}
	if digits[0] == '-' {
		r.buf, digits = append(r.buf, '-'), digits[1:]
	}
	scale := c.t.scale
	if n := scale + 1 - len(digits); n > 0 {
		digits = append(bytes.Repeat([]byte{'0'}, n), digits...)
	}
	r.buf = append(r.buf, digits[:len(digits)-scale]...)
	if scale > 0 {
		r.buf = append(append(r.buf, '.'), digits[len(digits)-scale:]...)
	}
}

func (r *row) varchar(c *column, i uint64) {
	b := c.bytes(i)
	if len(b) > r.max {
		r.overflow()
		return
	}
	if c.t.json && json.Valid(b) {
		buf := bytes.NewBuffer(r.buf)
		if json.Compact(buf, b) == nil {
			r.buf = buf.Bytes()
			return
		}
	}
	r.text(string(b))
}

// text writes a JSON string. Bytes that are no UTF-8 become U+FFFD.
func (r *row) text(s string) { r.buf = appendText(r.buf, s) }

func (r *row) bit(b []byte) {
	r.buf = append(r.buf, '"')
	for i := int(b[0]); i < 8*(len(b)-1); i++ { // the first byte counts the padding
		r.buf = append(r.buf, '0'+b[1+i/8]>>(7-i%8)&1)
	}
	r.buf = append(r.buf, '"')
}

// bignum reads DuckDB's integer of any size: three bytes of length and sign,
// then the bytes of the magnitude, all inverted when negative.
func bignum(b []byte) *big.Int {
	negative := b[0]&0x80 == 0
	m := bytes.Clone(b[3:])
	if negative {
		for i := range m {
			m[i] = ^m[i]
		}
	}
	v := new(big.Int).SetBytes(m)
	if negative {
		v.Neg(v)
	}
	return v
}

type entries struct{ offset, length uint64 }

func (r *row) nested(c *column, i uint64) {
	switch c.t.id {
	case duckdb.TypeList, duckdb.TypeArray:
		e := entries{i * uint64(c.t.size), uint64(c.t.size)}
		if c.t.id == duckdb.TypeList {
			e = at[entries](c.data, i)
		}
		r.buf = append(r.buf, '[')
		for k := e.offset; k < e.offset+e.length && !r.full(); k++ {
			if k > e.offset {
				r.buf = append(r.buf, ',')
			}
			r.value(c.sub[0], k)
		}
		r.buf = append(r.buf, ']')
	case duckdb.TypeMap:
		e := at[entries](c.data, i)
		r.buf = append(r.buf, '{')
		for k := e.offset; k < e.offset+e.length && !r.full(); k++ {
			if k > e.offset {
				r.buf = append(r.buf, ',')
			}
			r.key(c.sub[0], k)
			r.value(c.sub[1], k)
		}
		r.buf = append(r.buf, '}')
	case duckdb.TypeStruct:
		unnamed := len(c.t.fields) > 0 && c.t.fields[0] == "" // of row(1, 2)
		open, end := byte('{'), byte('}')
		if unnamed {
			open, end = '[', ']'
		}
		r.buf = append(r.buf, open)
		for k, s := range c.sub {
			if k > 0 {
				r.buf = append(r.buf, ',')
			}
			if !unnamed {
				r.text(c.t.fields[k])
				r.buf = append(r.buf, ':')
			}
			r.value(s, i)
		}
		r.buf = append(r.buf, end)
	case duckdb.TypeUnion:
		tag := at[uint8](c.sub[0].data, i)
		r.buf = append(r.buf, '{')
		r.text(c.t.fields[tag])
		r.buf = append(r.buf, ':')
		r.value(c.sub[1+tag], i)
		r.buf = append(r.buf, '}')
	}
}

// key writes the key of a map as a JSON string: a text as it is, any other
// value as its JSON.
func (r *row) key(c *column, i uint64) {
	k := row{max: r.max}
	k.value(c, i)
	if len(k.buf) > 0 && k.buf[0] == '"' {
		r.buf = append(r.buf, k.buf...)
	} else {
		r.text(string(k.buf))
	}
	r.buf = append(r.buf, ':')
}
