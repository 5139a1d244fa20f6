package egress

import (
	"bytes"
	"io"
)

// scrubber takes a key out of a body as it streams by. It holds back only what
// may be the beginning of the key, so nothing else is late.
type scrubber struct {
	src   io.Reader
	forms [][]byte
	ready []byte // may be given out
	held  []byte // the beginning of a form, perhaps
	buf   []byte
	err   error // of src; given when all before it was
}

// newScrubber reads src without the key. It is src itself for a key that is
// not looked for.
func newScrubber(src io.Reader, key string) io.Reader {
	s := &scrubber{src: src}
	for _, f := range forms(key) {
		s.forms = append(s.forms, []byte(f))
	}
	if s.forms == nil {
		return src
	}
	return s
}

// Read implements io.Reader.
func (s *scrubber) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for len(s.ready) == 0 {
		if s.err != nil {
			return 0, s.err
		}
		s.fill(len(p))
	}
	n := copy(p, s.ready)
	s.ready = s.ready[n:]
	return n, nil
}

// fill reads about n bytes and sorts them into ready and held.
func (s *scrubber) fill(n int) {
	if cap(s.buf) < n+len(s.held) {
		s.buf = make([]byte, 0, n+len(s.held))
	}
	text := append(s.buf[:0], s.held...)
	var got int
	got, s.err = s.src.Read(text[len(text) : len(text)+n])
	text = text[:len(text)+got]
	for _, f := range s.forms {
		if bytes.Contains(text, f) {
			text = bytes.ReplaceAll(text, f, []byte(scrubbed))
		}
	}
	keep := 0
	if s.err != io.EOF { // a body that breaks off keeps what it held back
		for _, f := range s.forms {
			keep = max(keep, overlap(text, f))
		}
	}
	s.ready = text[:len(text)-keep]
	s.held = append(s.held[:0], text[len(text)-keep:]...)
}

// overlap is the length of the longest end of text that key begins with, but
// is not all of it.
func overlap(text, key []byte) int {
	for n := min(len(text), len(key)-1); n > 0; n-- {
		if bytes.HasPrefix(key, text[len(text)-n:]) {
			return n
		}
	}
	return 0
}
