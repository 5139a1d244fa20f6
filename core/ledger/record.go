package ledger

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// Kind says what a record is.
type Kind uint8

const (
	// Started is the beginning of a call, written by [Log.Start].
	Started Kind = 1
	// Settled is the end of a call, written by [Log.Settle].
	Settled Kind = 2
	// Row is any other record, written by [Log.Append].
	Row Kind = 3
	// Carried is a copy of a Started record that [Log.Trim] made because the
	// call was still open when the first one was in the way. Readers have seen
	// the first one; most of them pass over this kind.
	Carried Kind = 4
)

func (k Kind) String() string {
	switch k {
	case Started:
		return "started"
	case Settled:
		return "settled"
	case Row:
		return "row"
	case Carried:
		return "carried"
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Record is one entry of the log.
type Record struct {
	// Seq is its place in the log: rising, unique, never given twice to records
	// that a reader has seen. Numbers may be left out.
	Seq uint64
	// Kind is what it is.
	Kind Kind
	// ID is the call of a Started, Settled or Carried record, and what the
	// writer of a Row chose, such as the table it is for.
	ID string
	// Payload is the caller's. It may be kept, but not changed.
	Payload []byte
	// First is the Seq of the Started record that a Carried one is a copy of;
	// 0 for the other kinds.
	First uint64
}

// started is the sequence of the Started record that r is, or is a copy of.
func (r Record) started() uint64 {
	if r.Kind == Carried {
		return r.First
	}
	return r.Seq
}

const (
	// MaxRecord is the most that one record may take on disk, in bytes, with
	// frame and id. Whatever says it is larger is a fault.
	MaxRecord = 64 << 20
	// MaxID is the most that an id may take, in bytes.
	MaxID = 255

	frameHeader = 16
	bodyHeader  = 2 // kind and length of the id
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// A frame is, little endian:
//
//	u32 CRC-32C over all that follows
//	u32 length of the body
//	u64 sequence
//	body: u8 kind, u8 length of the id, id, u64 first (Carried only), payload
//
// The length is covered by the checksum, so that a frame of zeros, which file
// systems leave behind after a power cut, is never intact.
func appendFrame(b []byte, r Record) []byte {
	start := len(b)
	b = append(b, make([]byte, frameHeader)...)
	b = append(b, byte(r.Kind), byte(len(r.ID)))
	b = append(b, r.ID...)
	if r.Kind == Carried {
		b = binary.LittleEndian.AppendUint64(b, r.First)
	}
	b = append(b, r.Payload...)
	f := b[start:]
	binary.LittleEndian.PutUint32(f[4:], uint32(len(f)-frameHeader))
	binary.LittleEndian.PutUint64(f[8:], r.Seq)
	binary.LittleEndian.PutUint32(f, crc32.Checksum(f[4:], castagnoli))
	return b
}

// frameSize is what a record takes on disk.
func frameSize(k Kind, id string, payload int) int {
	n := frameHeader + bodyHeader + len(id) + payload
	if k == Carried {
		n += 8
	}
	return n
}

// bodyLength reads a frame's header. It reports false when no frame can begin
// like this.
func bodyLength(header []byte) (int, bool) {
	n := binary.LittleEndian.Uint32(header[4:])
	return int(n), n >= bodyHeader && n <= MaxRecord-frameHeader
}

// parseFrame reads one whole frame, as long as bodyLength says. It reports
// false when the frame is not intact. The payload is a part of f.
func parseFrame(f []byte) (Record, bool) {
	if crc32.Checksum(f[4:], castagnoli) != binary.LittleEndian.Uint32(f) {
		return Record{}, false
	}
	r := Record{Seq: binary.LittleEndian.Uint64(f[8:]), Kind: Kind(f[16])}
	id, rest := int(f[17]), f[frameHeader+bodyHeader:]
	if len(rest) < id || r.Kind < Started || r.Kind > Carried {
		return Record{}, false
	}
	r.ID, rest = string(rest[:id]), rest[id:]
	if r.Kind == Carried {
		if len(rest) < 8 {
			return Record{}, false
		}
		r.First, rest = binary.LittleEndian.Uint64(rest), rest[8:]
	}
	r.Payload = rest[:len(rest):len(rest)]
	return r, true
}
