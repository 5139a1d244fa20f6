package ledger

import (
	"bytes"
	"testing"
)

// FuzzFrames: whatever lies behind the good records, reading gives the good
// ones, then perhaps such as continue them exactly, and never fails otherwise.
func FuzzFrames(f *testing.F) {
	good := appendFrame(nil, Record{Seq: 1, Kind: Started, ID: "a", Payload: []byte("one")})
	good = appendFrame(good, Record{Seq: 2, Kind: Carried, ID: "a", First: 1, Payload: []byte("two")})
	next := appendFrame(nil, Record{Seq: 3, Kind: Settled, ID: "a"})
	f.Add([]byte{}, 0, byte(0))
	f.Add(next, 0, byte(0))
	f.Add(next, 5, byte(1))
	f.Add(next[:frameHeader], 0, byte(0))
	f.Add(make([]byte, 100), 0, byte(0))
	f.Add(good, 0, byte(0))
	f.Fuzz(func(t *testing.T, tail []byte, at int, flip byte) {
		b := append(encodeHeader(1, 0, 0), good...)
		b = append(b, tail...)
		damaged := len(b)
		if at >= 0 && at < len(b)-segmentHeader && flip != 0 {
			damaged = segmentHeader + at
			b[damaged] ^= flip
		}
		s := segment{first: 1}
		if err := s.readHeader(bytes.NewReader(b)); err != nil {
			t.Fatal(err)
		}
		off := int64(segmentHeader)
		reason, err := s.scan(bytes.NewReader(b), int64(len(b)), ^uint64(0), func(r Record) {
			again := appendFrame(nil, r)
			if !bytes.Equal(again, b[off:off+int64(len(again))]) {
				t.Fatalf("record %d reads as what would be written differently", r.Seq)
			}
			off += int64(len(again))
		})
		if err != nil {
			t.Fatal(err)
		}
		if (reason == "") != (s.size == int64(len(b))) {
			t.Fatalf("stopped at %d of %d: %q", s.size, len(b), reason)
		}
		if damaged >= segmentHeader+len(good) && s.last < 2 || s.size != off {
			t.Fatalf("last %d at %d of %d", s.last, s.size, off)
		}
		if damaged < segmentHeader+len(good) && s.last > 1 {
			t.Fatal("a damaged record was taken for good")
		}
		behind(b[s.size:], s.last)
	})
}

// FuzzHeader: a header is read as what was written, or refused.
func FuzzHeader(f *testing.F) {
	f.Add(encodeHeader(7, 6, 0))
	f.Add(encodeHeader(1, 0, 9)[:40])
	f.Fuzz(func(t *testing.T, b []byte) {
		s := segment{first: 7}
		if err := s.readHeader(bytes.NewReader(b)); err == nil && !bytes.Equal(b[:segmentHeader-4], encodeHeader(7, s.prev, s.lost)[:segmentHeader-4]) && b[12]|b[13]|b[14]|b[15] == 0 {
			t.Fatalf("read %d, %d from %x", s.prev, s.lost, b)
		}
	})
}
