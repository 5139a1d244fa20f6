package egress

import (
	"encoding/base64"
	"io"
	"slices"
	"unsafe"
)

// minScrub is the shortest key that is looked for in what a service sends: a
// shorter one would blank out ordinary words.
const minScrub = 6

// scrubbed stands where a key was.
const scrubbed = "***"

// finder finds a key in what a service sends: as it is, in base64 (standard or
// URL alphabet, alone or with other text around it), and each of these with
// any of its bytes escaped as in a URL (%2F, %2f) or in JSON (\/, \u002f). A
// service that means to hide the key from this can: this is for those that
// repeat what they were sent. A nil finder finds nothing.
type finder struct {
	forms  [][]byte
	starts [256]bool // bytes a form may begin with
	begins pairs     // with which a form may begin
	early  pairs     // of two bytes that follow each other, the first of them among the first step of a form
}

// newFinder makes a finder of key; nil for a key too short to look for.
func newFinder(key string) *finder {
	if len(key) < minScrub {
		return nil
	}
	f := new(finder)
	f.add(key)
	for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		// In base64, three bytes are four characters, so there is a form for
		// each place of the key in its group of three. Characters that hold
		// bits of a neighbour too are left out, except that the key may be all.
		f.add(enc.EncodeToString([]byte(key)))
		for before := range 3 {
			text := enc.EncodeToString(append(make([]byte, before), key...))
			first, last := (before*8+5)/6, (before+len(key))*8/6
			f.add(text[first:last])
		}
	}
	f.starts['%'], f.starts['\\'] = true, true
	for _, form := range f.forms {
		for i := range step {
			for _, this := range spellings(form[i]) {
				for _, next := range spellings(form[i+1]) {
					both := this + next
					if i == 0 {
						f.begins.add(both[0], both[1])
					}
					for k := range len(both) - 1 {
						f.early.add(both[k], both[k+1])
					}
				}
			}
		}
	}
	return f
}

// step is how many places of a text are decided at once. A form has more than
// step characters, however they are spelled, so that of every step pairs of
// characters that follow each other one is among its first.
const step = 4

// spellings are all ways of writing c.
func spellings(c byte) []string {
	all := []string{string([]byte{c})}
	if c == '/' || c == '"' || c == '\\' {
		all = append(all, `\`+all[0])
	}
	const lower, upper = "0123456789abcdef", "0123456789ABCDEF"
	for _, high := range []byte{lower[c>>4], upper[c>>4]} {
		for _, low := range []byte{lower[c&15], upper[c&15]} {
			hex := string([]byte{high, low})
			all = append(all, "%"+hex, `\u00`+hex)
		}
	}
	return all
}

// pairs is a set of two bytes.
type pairs [1024]uint64

func (p *pairs) add(a, b byte)      { p[uint(a)<<2|uint(b)>>6] |= 1 << (b & 63) }
func (p *pairs) has(a, b byte) bool { return p[uint(a)<<2|uint(b)>>6]>>(b&63)&1 != 0 }

// first is where text has the key first, or, unless text is the last there is,
// what may be the beginning of it; -1 for nowhere. Most texts have none, so two
// bytes of every step decide almost always.
func (f *finder) first(text []byte, last bool) int {
	i := 0
	for ; i+step < len(text); i += step {
		if !f.early.has(text[i+step-1], text[i+step]) {
			continue
		}
		for at := i; at < i+step; at++ {
			if f.here(text[at:], last) {
				return at
			}
		}
	}
	for ; i < len(text); i++ {
		if f.here(text[i:], last) {
			return i
		}
	}
	return -1
}

// here reports whether text, which is not empty, begins with the key, or, unless
// it is the last there is, may.
func (f *finder) here(text []byte, last bool) bool {
	if len(text) == 1 {
		return !last && f.starts[text[0]]
	}
	if !f.begins.has(text[0], text[1]) {
		return false
	}
	_, found := f.at(text, last)
	return found != no
}

// finder is that of the key, made once for as long as the key stays.
func (a *Account) finder(key string) *finder {
	if known := a.finders.Load(); known != nil && known.key == key {
		return known.finder
	}
	f := newFinder(key)
	a.finders.Store(&keyFinder{key, f})
	return f
}

// keyFinder is a finder and what it finds.
type keyFinder struct {
	key    string
	finder *finder
}

func (f *finder) add(form string) {
	if !slices.ContainsFunc(f.forms, func(b []byte) bool { return string(b) == form }) {
		f.forms, f.starts[form[0]] = append(f.forms, []byte(form)), true
	}
}

// scrub removes a key from text that a service sent.
func scrub(s, key string) string { return newFinder(key).text(s) }

// text returns s without the key.
func (f *finder) text(s string) string {
	if f == nil || s == "" {
		return s
	}
	if f.first(unsafe.Slice(unsafe.StringData(s), len(s)), true) < 0 { // which only reads
		return s
	}
	out, _ := f.clean(nil, []byte(s), true)
	return string(out)
}

// clean appends text without the key to out. Unless text is the last there is,
// an end of it that may be the beginning of the key is left out; kept is its
// length.
func (f *finder) clean(out, text []byte, last bool) (cleaned []byte, kept int) {
	from := 0
	for i := 0; i < len(text); i++ {
		if !f.starts[text[i]] {
			continue
		}
		n, found := f.at(text[i:], last)
		if found == perhaps {
			return append(out, text[from:i]...), len(text) - i
		}
		if found == yes {
			out = append(append(out, text[from:i]...), scrubbed...)
			from, i = i+n, i+n-1
		}
	}
	return append(out, text[from:]...), 0
}

// at says whether text begins with a form, and how long the first such is.
func (f *finder) at(text []byte, last bool) (int, answer) {
	for _, form := range f.forms {
		if n, found := begins(text, form); found == yes || found == perhaps && !last {
			return n, found
		}
	}
	return 0, no
}

// answer is whether a text begins with something; perhaps, when it is too
// short to tell.
type answer int

const (
	no answer = iota
	perhaps
	yes
)

// begins says whether text begins with form, any byte of which may be escaped,
// and how many bytes of text that takes.
func begins(text, form []byte) (int, answer) {
	if len(form) == 0 {
		return 0, yes
	}
	if len(text) == 0 {
		return 0, perhaps
	}
	best := no
	if text[0] == form[0] {
		n, found := begins(text[1:], form[1:])
		if found == yes {
			return n + 1, yes
		}
		best = found
	}
	width, found := escapes(text, form[0])
	if found == yes {
		n, rest := begins(text[width:], form[1:])
		if rest == yes {
			return width + n, yes
		}
		found = rest
	}
	return 0, max(best, found)
}

// escapes says whether text begins with an escape for c, and how long it is.
func escapes(text []byte, c byte) (int, answer) {
	const digits = "0123456789abcdef"
	high, low := digits[c>>4], digits[c&15]
	switch text[0] {
	case '%':
		return 3, spelled(text, [6]byte{'%', high, low}, 3)
	case '\\':
		if len(text) > 1 && text[1] != 'u' {
			if text[1] == c && (c == '/' || c == '"' || c == '\\') {
				return 2, yes
			}
			return 0, no
		}
		return 6, spelled(text, [6]byte{'\\', 'u', '0', '0', high, low}, 6)
	}
	return 0, no
}

// spelled says whether text begins with the first n bytes of want, whose
// letters are lower-case, in either case.
func spelled(text []byte, want [6]byte, n int) answer {
	for i := range n {
		if i == len(text) {
			return perhaps
		}
		c := text[i]
		if 'A' <= c && c <= 'F' {
			c |= 0x20
		}
		if c != want[i] {
			return no
		}
	}
	return yes
}

// scrubber takes a key out of a body as it streams by. It holds back only what
// may be the beginning of the key, so nothing else is late.
type scrubber struct {
	src    io.Reader
	finder *finder
	ready  []byte // may be given out
	out    []byte // what ready is a part of
	text   []byte // what was read: the beginning of the key, perhaps
	err    error  // of src; given when all before it was
}

// newScrubber reads src without the key. It is src itself for a key that is
// not looked for.
func newScrubber(src io.Reader, key string) io.Reader {
	return newFinder(key).reader(src)
}

// reader is src without the key.
func (f *finder) reader(src io.Reader) io.Reader {
	if f == nil {
		return src
	}
	return &scrubber{src: src, finder: f}
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
		if len(s.text) > 0 {
			s.fill(len(p))
			continue
		}
		// Nothing is held back: what has no key in it is read in place.
		n, err := s.src.Read(p)
		at := s.finder.first(p[:n], err == io.EOF)
		if at < 0 {
			return n, err
		}
		s.text = append(s.text, p[at:n]...)
		s.sort(err)
		if at > 0 {
			return at, nil
		}
	}
	n := copy(p, s.ready)
	s.ready = s.ready[n:]
	return n, nil
}

// fill reads about n bytes behind what is held back.
func (s *scrubber) fill(n int) {
	held := len(s.text)
	if cap(s.text) < held+n {
		s.text = append(make([]byte, 0, held+n), s.text...)
	}
	got, err := s.src.Read(s.text[held : held+n])
	s.text = s.text[:held+got]
	s.sort(err)
}

// sort parts what was read, after which src gave err, into ready and what is
// held back.
func (s *scrubber) sort(err error) {
	s.err = err
	kept := 0
	// A body that breaks off keeps what it held back.
	s.out, kept = s.finder.clean(s.out[:0], s.text, err == io.EOF)
	s.ready = s.out
	s.text = s.text[:copy(s.text, s.text[len(s.text)-kept:])]
}
