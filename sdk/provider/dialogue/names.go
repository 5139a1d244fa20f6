package dialogue

import (
	"crypto/sha256"
	"encoding/hex"
)

// Names maps the names of functions to names a provider takes, and back. A
// name that fits stays as it is; any other becomes its fitting letters and 8
// hex digits of its SHA-256, the same in every turn.
type Names struct {
	Max   int                           // longest name the provider takes
	Fits  func(c byte, first bool) bool // the letters it takes
	known map[string]string             // provider's name → client's
}

// Out returns the provider's name for a client's name.
func (n *Names) Out(name string) string {
	if n.fits(name) {
		return name
	}
	clean := []byte(name)
	for i := range clean {
		if !n.Fits(clean[i], i == 0) {
			clean[i] = '_'
		}
	}
	if len(clean) > n.Max-9 {
		clean = clean[:n.Max-9]
	}
	if len(clean) == 0 {
		clean = []byte("_")
	}
	out := string(clean) + "_" + Digest(8, name)
	if n.known == nil {
		n.known = map[string]string{}
	}
	n.known[out] = name
	return out
}

func (n *Names) fits(name string) bool {
	for i := range len(name) {
		if !n.Fits(name[i], i == 0) {
			return false
		}
	}
	return name != "" && len(name) <= n.Max
}

// Back returns the client's name for a provider's name.
func (n *Names) Back(name string) string {
	if client, ok := n.known[name]; ok {
		return client
	}
	return name
}

// Word reports whether c is a letter, a digit, _ or -: what most providers take.
func Word(c byte) bool {
	return c == '_' || c == '-' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// IsID reports whether s is 1 to 64 letters that every provider takes in an id.
func IsID(s string) bool {
	for i := range len(s) {
		if !Word(s[i]) {
			return false
		}
	}
	return s != "" && len(s) <= 64
}

// Seed makes ids that a provider left out: the same request gives the same ones.
// The request is only looked at when an id is wanted.
type Seed struct {
	Body []byte // of the request; not changed
	sum  string
}

// Digest is Digest of the request and the parts.
func (s *Seed) Digest(n int, parts ...string) string {
	if s.sum == "" {
		h := sha256.New()
		h.Write(s.Body)
		h.Write([]byte{0})
		s.sum = hex.EncodeToString(h.Sum(nil))[:16]
	}
	return Digest(n, append([]string{s.sum}, parts...)...)
}

// Digest is the first n hex digits of the SHA-256 of the parts: the one way
// translators make ids, so that the same turn always gets the same ones.
func Digest(n int, parts ...string) string {
	b := make([]byte, 0, 128) // of most: it stays on the stack
	for _, p := range parts {
		b = append(append(b, p...), 0)
	}
	sum := sha256.Sum256(b)
	var digits [2 * len(sum)]byte
	hex.Encode(digits[:], sum[:])
	return string(digits[:n])
}
