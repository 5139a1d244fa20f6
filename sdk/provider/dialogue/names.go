package dialogue

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
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
	fits := name != "" && len(name) <= n.Max
	clean := []byte(name)
	for i := range clean {
		if !n.Fits(clean[i], i == 0) {
			fits = false
			clean[i] = '_'
		}
	}
	if fits {
		return name
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
	return s != "" && len(s) <= 64 && !strings.ContainsFunc(s, func(r rune) bool { return r > 0x7f || !Word(byte(r)) })
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
	h := sha256.New()
	for _, p := range parts {
		h.Write([]byte(p))
		h.Write([]byte{0})
	}
	return hex.EncodeToString(h.Sum(nil))[:n]
}
