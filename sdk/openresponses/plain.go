package openresponses

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// plain counts the bytes at the beginning of s that stand for themselves in a
// JSON string: no control character, quote, backslash, nor a part of a longer
// character.
func plain(s string) int {
	n := 0
	for ; len(s)-n >= 8; n += 8 {
		if odd := oddBytes(eight(s[n : n+8])); odd != 0 {
			return n + bits.TrailingZeros64(odd)/8
		}
		for n >= longText && len(s)-n >= 40 &&
			oddBytes(eight(s[n+8:n+16]))|oddBytes(eight(s[n+16:n+24]))|oddBytes(eight(s[n+24:n+32]))|oddBytes(eight(s[n+32:n+40])) == 0 {
			n += 32
		}
	}
	for n < len(s) && plainByte[s[n]] {
		n++
	}
	return n
}

// longText is how many bytes are looked at in eights before it is in four eights
// at once, which is faster where nothing ends the text soon.
const longText = 64

func eight(b string) uint64 {
	return uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16 | uint64(b[3])<<24 | uint64(b[4])<<32 | uint64(b[5])<<40 | uint64(b[6])<<48 | uint64(b[7])<<56
}

// plainBytes is plain for bytes.
func plainBytes(b []byte) int {
	n := 0
	for ; len(b)-n >= 8; n += 8 {
		if odd := oddBytes(binary.LittleEndian.Uint64(b[n:])); odd != 0 {
			return n + bits.TrailingZeros64(odd)/8
		}
		for n >= longText && len(b)-n >= 40 &&
			oddBytes(binary.LittleEndian.Uint64(b[n+8:]))|oddBytes(binary.LittleEndian.Uint64(b[n+16:]))|
				oddBytes(binary.LittleEndian.Uint64(b[n+24:]))|oddBytes(binary.LittleEndian.Uint64(b[n+32:])) == 0 {
			n += 32
		}
	}
	for n < len(b) && plainByte[b[n]] {
		n++
	}
	return n
}

// oddBytes looks at eight bytes as one number, and sets the top bit of those that
// do not stand for themselves. Behind the first of them, the lowest, it may set
// too many.
func oddBytes(w uint64) uint64 {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	quote, backslash := w^('"'*ones), w^('\\'*ones)
	less := (w - ' '*ones) | (quote - ones) | (backslash - ones) // a top bit where the byte was less than subtracted
	return (w | less) & tops
}

var plainByte = func() (t [256]bool) {
	for c := ' '; c < utf8.RuneSelf; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()
