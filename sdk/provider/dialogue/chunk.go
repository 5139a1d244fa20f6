package dialogue

import (
	"bytes"
	"io"
	"net/http"
	"slices"
	"strconv"
	"unicode/utf8"
)

// believed is how much of a body's length is believed before it has come, in
// bytes.
const believed = 256 << 10

// ReadBody reads the body of a reply into the memory of b, or more: at most
// limit bytes and one more, by which a longer one is told. The header's length
// saves growing step by step.
func ReadBody(b []byte, body io.Reader, h http.Header, limit int64) ([]byte, error) {
	length, err := strconv.Atoi(h.Get("Content-Length"))
	if err != nil || length < 0 {
		length = 0
	}
	b = slices.Grow(b[:0], min(length, believed)+bytes.MinRead) // room for the read that finds the end
	for {
		if cap(b)-len(b) < bytes.MinRead {
			b = slices.Grow(b, len(b)+bytes.MinRead)
		}
		n, err := body.Read(b[len(b):min(int64(cap(b)), limit+1)])
		b = b[:len(b)+n]
		switch {
		case err == io.EOF, err == nil && int64(len(b)) > limit:
			return b, nil
		case err != nil:
			return b, err
		}
	}
}

// Mend makes a chunk of JSON safe to read with fastjson, in place where it
// can: an escape of half a surrogate pair becomes that of U+FFFD, and bytes
// that are not UTF-8 become U+FFFD. Without it fastjson hands out the letters
// `\ud800` as if the model had written them. It costs a scan of the chunk and
// nothing else when all is well.
func Mend(b []byte) []byte {
	b = valid(b)
	if half(b) {
		mend(b)
	}
	return b
}

// Mended is Mend for a chunk that is to stay as it is.
func Mended(b []byte) []byte {
	if half(b) {
		return Mend(bytes.Clone(b))
	}
	return valid(b)
}

func valid(b []byte) []byte {
	if utf8.Valid(b) {
		return b
	}
	return bytes.ToValidUTF8(b, []byte("\uFFFD"))
}

// half reports whether b has an escape of a surrogate, which may stand alone.
func half(b []byte) bool {
	for {
		i := bytes.IndexByte(b, '\\')
		if i < 0 || i+2 >= len(b) {
			return false
		}
		if b[i+1] == 'u' && b[i+2]|0x20 == 'd' {
			return true
		}
		b = b[i+2:]
	}
}

func mend(b []byte) {
	for i := 0; i+1 < len(b); i++ {
		if b[i] != '\\' {
			continue
		}
		high := surrogate(b[i:])
		if high == 0 {
			i++ // the escaped letter, so that `\\u` is not taken for an escape
			continue
		}
		if high < 0xDC00 {
			if low := surrogate(b[min(i+6, len(b)):]); low >= 0xDC00 {
				i += 11
				continue
			}
		}
		copy(b[i+2:], "fffd")
		i += 5
	}
}

// surrogate returns the surrogate whose escape b begins with, else 0.
func surrogate(b []byte) rune {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0
	}
	var r rune
	for _, c := range b[2:6] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0
		}
		r = r<<4 | rune(c)
	}
	if r < 0xD800 || r > 0xDFFF {
		return 0
	}
	return r
}
