package ledger

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

const (
	formatVersion = 1
	magic         = "SPLEDGER"
	segmentHeader = 48

	segmentSuffix = ".wal"
	tempSuffix    = ".tmp"
	asideSuffix   = ".corrupt"
)

// segment is one file of the log. What may change is guarded by Log.mu; f and
// failed also by Log.w.
type segment struct {
	path  string
	first uint64 // of its name: what its first record has, or would have
	prev  uint64 // last record before it, wherever that was
	last  uint64 // of its last good record; prev when it has none
	lost  uint64 // records after last up to this one are known to be lost

	size    int64 // of the header and the good records
	durable int64 // how much of size has been synced
	f       file  // only of the segment that is written to
	failed  error // of the fsync that failed; nothing after durable can be trusted
}

func (s *segment) empty() bool { return s.size == segmentHeader }

func segmentPath(dir string, first uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%020d%s", first, segmentSuffix))
}

// segmentFirst reads the name of a segment.
func segmentFirst(name string) (uint64, bool) {
	digits, ok := strings.CutSuffix(name, segmentSuffix)
	if !ok || len(digits) != 20 {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, err == nil && n > 0
}

// A segment begins with 48 bytes, little endian: the magic, u32 version, u32
// zero, u64 first, u64 prev, u64 lost, u32 CRC-32C of all that, u32 zero.
// Magic and version stay where they are in every later version.
func encodeHeader(first, prev, lost uint64) []byte {
	b := make([]byte, segmentHeader)
	copy(b, magic)
	binary.LittleEndian.PutUint32(b[8:], formatVersion)
	binary.LittleEndian.PutUint64(b[16:], first)
	binary.LittleEndian.PutUint64(b[24:], prev)
	binary.LittleEndian.PutUint64(b[32:], lost)
	binary.LittleEndian.PutUint32(b[40:], crc32.Checksum(b[:40], castagnoli))
	return b
}

// errHeader means that the file has no intact header.
var errHeader = errors.New("header is not intact")

// readHeader fills s from the file, whose path and first are set.
func (s *segment) readHeader(r io.ReaderAt) error {
	b := make([]byte, segmentHeader)
	n, err := r.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return &DiskError{Op: "read", Path: s.path, Err: err}
	}
	if n < 12 || string(b[:8]) != magic {
		return errHeader
	}
	if v := binary.LittleEndian.Uint32(b[8:]); v > formatVersion {
		return &VersionError{Path: s.path, Version: v}
	}
	if n < segmentHeader || crc32.Checksum(b[:40], castagnoli) != binary.LittleEndian.Uint32(b[40:]) ||
		binary.LittleEndian.Uint64(b[16:]) != s.first {
		return errHeader
	}
	s.prev = binary.LittleEndian.Uint64(b[24:])
	s.lost = binary.LittleEndian.Uint64(b[32:])
	s.last, s.size, s.durable = s.prev, segmentHeader, segmentHeader
	return nil
}

// blockBytes is how much of a segment is read at once.
const blockBytes = 256 << 10

// frames reads the frames of a segment between off and end.
type frames struct {
	r        io.ReaderAt
	off, end int64
	buf      []byte // what follows off, read already
	reuse    bool   // nobody keeps what next returned
	block    []byte
}

// next returns the next frame, nil when off has reached end. It reports a
// reason when no intact frame begins at off.
func (f *frames) next() (rec Record, size int, reason string, err error) {
	if f.off == f.end {
		return Record{}, 0, "", nil
	}
	if f.end-f.off < frameHeader {
		return Record{}, 0, "it ends inside a frame", nil
	}
	if err := f.fill(frameHeader); err != nil {
		return Record{}, 0, "", err
	}
	n, ok := bodyLength(f.buf)
	switch {
	case !ok:
		return Record{}, 0, "no record begins there", nil
	case f.end-f.off < int64(frameHeader+n):
		return Record{}, 0, "it ends inside a record", nil
	}
	if err := f.fill(frameHeader + n); err != nil {
		return Record{}, 0, "", err
	}
	rec, ok = parseFrame(f.buf[:frameHeader+n])
	if !ok {
		return Record{}, 0, "the checksum of a record does not match", nil
	}
	f.buf = f.buf[frameHeader+n:]
	f.off += int64(frameHeader + n)
	return rec, frameHeader + n, "", nil
}

// fill makes buf at least n bytes long.
func (f *frames) fill(n int) error {
	if len(f.buf) >= n {
		return nil
	}
	want := max(n, int(min(blockBytes, f.end-f.off)))
	block := f.block
	if !f.reuse || cap(block) < want {
		block = make([]byte, want)
	}
	block = block[:want]
	have := copy(block, f.buf)
	if _, err := f.r.ReadAt(block[have:], f.off+int64(have)); err != nil {
		return err
	}
	f.buf = block
	if f.reuse {
		f.block = block
	}
	return nil
}

// scan reads every good record of s into its last and size, up to record
// bound, and calls each on them. It reports why it stopped before the end of
// the file.
func (s *segment) scan(r io.ReaderAt, fileSize int64, bound uint64, each func(Record)) (reason string, err error) {
	fr := frames{r: r, off: segmentHeader, end: fileSize, reuse: true}
	next := s.first
	for next <= bound {
		rec, size, reason, err := fr.next()
		switch {
		case err != nil:
			return "", &DiskError{Op: "read", Path: s.path, Err: err}
		case reason != "":
			return reason, nil
		case size == 0:
			return "", nil
		case rec.Seq != next:
			return fmt.Sprintf("record %d is where %d belongs", rec.Seq, next), nil
		}
		s.last, s.size, s.durable = next, fr.off, fr.off
		next++
		each(rec)
	}
	return "", nil
}

// createSegment makes the file of a new segment, and puts records, frames
// that must last, into it. It replaces one of that name, which either holds
// nothing that counts or the same records. A file that appears is complete.
func createSegment(open func(string, int) (file, error), dir string, first, prev uint64, records []byte) (*segment, error) {
	s := &segment{path: segmentPath(dir, first), first: first, prev: prev, last: prev}
	s.size = int64(segmentHeader + len(records))
	s.durable = segmentHeader
	temp := s.path + tempSuffix
	f, err := open(temp, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return nil, &DiskError{Op: "create", Path: s.path, Err: cause(err)}
	}
	_, err = f.WriteAt(append(encodeHeader(first, prev, 0), records...), 0)
	if err == nil && len(records) > 0 {
		err = f.Sync()
	}
	if err == nil {
		err = os.Rename(temp, s.path)
	}
	if err != nil {
		f.Close()
		os.Remove(temp)
		return nil, &DiskError{Op: "create", Path: s.path, Err: cause(err)}
	}
	s.f = f
	return s, nil
}

// cause takes the path out of an error that will name it again.
func cause(err error) error {
	var pe *os.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	var le *os.LinkError
	if errors.As(err, &le) {
		return le.Err
	}
	return err
}
