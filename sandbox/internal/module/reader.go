package module

import (
	"errors"
	"fmt"
	"unicode/utf8"
)

var errShort = errors.New("ends too early")

// reader reads the binary format. The first error sticks; after it every
// method returns zero values, so a caller may check once.
type reader struct {
	b   []byte
	off int
	err error
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(format, args...)
	}
}

func (r *reader) more() bool { return r.err == nil && r.off < len(r.b) }

// end returns the first error, and one when something is left over.
func (r *reader) end(what string) error {
	if r.err == nil && r.off != len(r.b) {
		r.fail("%d bytes too many", len(r.b)-r.off)
	}
	if r.err != nil {
		return fmt.Errorf("%s, byte %d: %w", what, r.off, r.err)
	}
	return nil
}

func (r *reader) byte() byte {
	if !r.more() {
		if r.err == nil {
			r.err = errShort
		}
		return 0
	}
	b := r.b[r.off]
	r.off++
	return b
}

// take returns the next n bytes without copying them.
func (r *reader) take(n uint32) []byte {
	if r.err == nil && uint64(n) > uint64(len(r.b)-r.off) {
		r.err = errShort
	}
	if r.err != nil {
		return nil
	}
	b := r.b[r.off : r.off+int(n)]
	r.off += int(n)
	return b
}

// u32 reads an unsigned LEB128 number of at most 32 bits.
func (r *reader) u32() uint32 {
	var v uint32
	for shift := 0; shift < 35; shift += 7 {
		b := r.byte()
		if shift == 28 && b > 0x0f {
			break
		}
		v |= uint32(b&0x7f) << shift
		if b&0x80 == 0 {
			return v
		}
	}
	r.fail("number is too large")
	return 0
}

// skipLEB skips a LEB128 number of at most max bytes, whatever its sign.
func (r *reader) skipLEB(max int) {
	for range max {
		if r.byte()&0x80 == 0 {
			return
		}
	}
	r.fail("number is too large")
}

// count reads the length of a vector. Each element takes at least a byte, so a
// count beyond the rest is an error before anyone allocates for it.
func (r *reader) count() uint32 {
	n := r.u32()
	if r.err == nil && uint64(n) > uint64(len(r.b)-r.off) {
		r.err = errShort
		return 0
	}
	return n
}

func (r *reader) name() string {
	b := r.take(r.u32())
	if !utf8.Valid(b) {
		r.fail("name %q is not UTF-8", b)
	}
	return string(b)
}

// limits reads the limits of a memory or table and returns its minimum.
func (r *reader) limits() uint32 {
	flag := r.byte()
	if flag > 1 {
		r.fail("memory or table with the flags %#x: shared and 64-bit memories are not supported", flag)
	}
	n := r.u32()
	if flag == 1 {
		r.u32()
	}
	return n
}

func appendU32(b []byte, v uint32) []byte {
	for v >= 0x80 {
		b = append(b, byte(v)|0x80)
		v >>= 7
	}
	return append(b, byte(v))
}

func appendS64(b []byte, v int64) []byte {
	for {
		c := byte(v & 0x7f)
		v >>= 7
		if v == 0 && c&0x40 == 0 || v == -1 && c&0x40 != 0 {
			return append(b, c)
		}
		b = append(b, c|0x80)
	}
}
