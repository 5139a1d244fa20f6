package ledger

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// repair makes the files what load has decided they are.
func (l *Log) repair(all, broken []*found, drop *found) error {
	entries, _ := os.ReadDir(l.cfg.Dir)
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), segmentSuffix+tempSuffix) { // never finished
			os.Remove(filepath.Join(l.cfg.Dir, e.Name()))
		}
	}
	if drop != nil {
		if err := os.Remove(drop.path); err != nil {
			return &DiskError{Op: "remove", Path: drop.path, Err: cause(err)}
		}
		l.cut(Cut{Path: drop.path, Bytes: drop.fileSize, Reason: "its header was not written"})
	}
	for i, s := range broken {
		if err := l.quarantine(s, &l.report.Damaged[i]); err != nil {
			return err
		}
	}
	if n := len(all); n > 0 && all[n-1].header == nil && all[n-1].reason != "" {
		return l.cutTail(all[n-1])
	}
	return nil
}

func (l *Log) cut(c Cut) {
	l.report.Cut = append(l.report.Cut, c)
	log := l.cfg.Log.Warn
	if c.Behind > 0 {
		log = l.cfg.Log.Error
	}
	log("ledger: torn end of the log was cut", "segment", c.Path, "offset", c.Offset, "bytes", c.Bytes, "reason", c.Reason, "aside", c.Aside, "records_behind", c.Behind)
}

// cutTail cuts the last segment behind its last good record. What is cut is
// copied aside when there are records in it.
func (l *Log) cutTail(s *found) error {
	c := Cut{Path: s.path, Offset: s.size, Bytes: s.fileSize - s.size, Reason: s.reason}
	f, err := os.OpenFile(s.path, os.O_RDWR, 0)
	if err != nil {
		return &DiskError{Op: "cut", Path: s.path, Err: cause(err)}
	}
	defer f.Close()
	tail := make([]byte, min(c.Bytes, 2*MaxRecord))
	if _, err := f.ReadAt(tail, s.size); err != nil && err != io.EOF {
		return &DiskError{Op: "read", Path: s.path, Err: cause(err)}
	}
	if c.Behind, l.report.behind = behind(tail, s.last); c.Behind > 0 {
		c.Aside = unused(fmt.Sprintf("%s-%d%s", strings.TrimSuffix(s.path, segmentSuffix), s.size, asideSuffix))
		if err := os.WriteFile(c.Aside, tail, 0o600); err != nil {
			return &DiskError{Op: "set aside", Path: c.Aside, Err: cause(err)}
		}
	}
	if err = f.Truncate(s.size); err == nil {
		err = f.Sync()
	}
	if err != nil {
		return &DiskError{Op: "cut", Path: s.path, Err: cause(err)}
	}
	l.cut(c)
	return nil
}

// behind counts the intact records in b that would follow sequence last, and
// returns the sequence of the newest.
func behind(b []byte, last uint64) (n int, newest uint64) {
	for i := 0; i+frameHeader <= len(b); {
		seq := binary.LittleEndian.Uint64(b[i+8:])
		size, ok := bodyLength(b[i:])
		if ok && seq > last && seq-last < 1<<32 && i+frameHeader+size <= len(b) {
			if _, ok := parseFrame(b[i : i+frameHeader+size]); ok {
				n, last, newest = n+1, seq, seq
				i += frameHeader + size
				continue
			}
		}
		i++
	}
	return n, newest
}

// quarantine sets a damaged segment aside and puts one in its place that has
// the records before the fault and says which are lost. For records whose
// segment is not there, it is the segment before them that says so.
func (l *Log) quarantine(s *found, d *Damage) error {
	kept := make([]byte, s.size)
	if s.size > 0 {
		f, err := os.Open(s.path)
		if err == nil {
			_, err = io.ReadFull(f, kept)
			f.Close()
		}
		if err != nil {
			return &DiskError{Op: "read", Path: s.path, Err: cause(err)}
		}
	}
	s.lost = d.To
	s.size = max(s.size, segmentHeader)
	s.durable = s.size
	content := bytes.Join([][]byte{encodeHeader(s.first, s.prev, s.lost), kept[min(len(kept), segmentHeader):]}, nil)
	if d.Path == s.path {
		d.Aside = unused(s.path + asideSuffix)
		if err := os.Link(s.path, d.Aside); err != nil {
			return &DiskError{Op: "set aside", Path: s.path, Err: cause(err)}
		}
	}
	temp := s.path + tempSuffix
	err := os.WriteFile(temp, content, 0o600)
	if err == nil {
		err = os.Rename(temp, s.path)
	}
	if err != nil {
		return &DiskError{Op: "write", Path: s.path, Err: cause(err)}
	}
	l.cfg.Log.Error("ledger: records are lost", "segment", d.Path, "offset", d.Offset, "reason", d.Reason, "kept", d.Kept, "from", d.From, "to", d.To, "aside", d.Aside)
	return nil
}

// unused returns path, or path with a number, such that no file has it.
func unused(path string) string {
	try := path
	for i := 2; ; i++ {
		if _, err := os.Lstat(try); err != nil {
			return try
		}
		try = fmt.Sprintf("%s.%d", path, i)
	}
}
