package usage

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
)

// TagsHeader carries a JSON object of strings, which become request_tags.
const TagsHeader = "Databricks-Ai-Gateway-Request-Tags"

// Bounds on the tags of a request; more is an error.
const (
	MaxTags     = 50
	MaxTagKey   = 128 // bytes
	MaxTagValue = 256 // bytes
)

// FromRequest takes from the headers and the path of a request what they say of
// the client: user agent, coding tool, session, turn, sub-agent and tags. The
// caller sets the other fields, and Session from the body where it is empty: for
// Cursor that is the member `user`. Tags that ParseTags refuses are left out.
func FromRequest(h http.Header, path string) Source {
	s := Source{UserAgent: clean(h.Get("User-Agent"), maxUserAgent), Agent: clean(h.Get("X-Claude-Code-Agent-Id"), maxName)}
	s.Tool, s.ToolVersion = codingTool(h, s.UserAgent, path)
	s.Mode = mode(h, s.Tool, s.UserAgent)
	s.Session, s.Turn = session(h, s.Tool), turn(h)
	s.Tags, _ = ParseTags(h)
	return s
}

// ParseTags reads the tags of a request; nil when it has none. What it cannot
// take is an apierror.Invalid that names the header.
func ParseTags(h http.Header) (map[string]string, error) {
	text := h.Get(TagsHeader)
	if text == "" {
		return nil, nil
	}
	refuse := func(format string, args ...any) (map[string]string, error) {
		return nil, apierror.At(apierror.Invalid, TagsHeader, "The header "+TagsHeader+" "+format, args...)
	}
	var raw map[string]any
	if err := json.Unmarshal([]byte(text), &raw); err != nil || raw == nil {
		return refuse(`is not a JSON object of strings. Send it like this: {"team":"search"}.`)
	}
	if len(raw) > MaxTags {
		return refuse("has %d tags. Send at most %d.", len(raw), MaxTags)
	}
	tags := make(map[string]string, len(raw))
	for _, k := range slices.Sorted(maps.Keys(raw)) {
		v, ok := raw[k].(string)
		switch {
		case !ok:
			return refuse("has a value that is not a string, for the tag %q. Write it in quotes.", clean(k, MaxTagKey))
		case k == "" || len(k) > MaxTagKey:
			return refuse("has a tag whose name has %d bytes. Use 1 to %d.", len(k), MaxTagKey)
		case len(v) > MaxTagValue:
			return refuse("has a value of %d bytes, for the tag %q. Use at most %d.", len(v), clean(k, MaxTagKey), MaxTagValue)
		}
		tags[clean(k, MaxTagKey)] = clean(v, MaxTagValue)
	}
	return tags, nil
}

// clean returns s without control characters and bytes that are not UTF-8, cut
// to n bytes at a character.
func clean(s string, n int) string {
	if len(s) <= n && printable(s) {
		return s
	}
	if len(s) > 4*n { // do not look at megabytes
		s = s[:4*n]
	}
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == utf8.RuneError {
			return -1
		}
		return r
	}, s)
	return strings.Clone(cut(s, n)) // lets go of the rest
}

// printable reports whether s is ASCII without control characters, which nearly
// all text is that is looked at here: so it looks at eight bytes at a time.
func printable(s string) bool {
	const ones, signs = 0x0101010101010101, 0x8080808080808080
	for ; len(s) >= 8; s = s[8:] {
		w := uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 | uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
		// A byte of 0x80 or more, of 0x7f, or below a space has or gets a sign.
		if (w|(w+ones)|(w-' '*ones))&signs != 0 {
			return false
		}
	}
	for i := range len(s) {
		if s[i] < ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return true
}

// cleanList is clean for the first n of a list.
func cleanList(list []string, n int) []string {
	list = list[:min(len(list), n)]
	for i, s := range list {
		if c := clean(s, maxName); c != s {
			list = slices.Clone(list) // the caller's stays as it is
			for j := i; j < len(list); j++ {
				list[j] = clean(list[j], maxName)
			}
			break
		}
	}
	return list
}

// cleanTags is clean for tags that ParseTags has not seen.
func cleanTags(tags map[string]string) map[string]string {
	fine := len(tags) <= MaxTags
	for k, v := range tags {
		fine = fine && clean(k, MaxTagKey) == k && clean(v, MaxTagValue) == v
	}
	if fine {
		return tags
	}
	cleaned := make(map[string]string, MaxTags)
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		if len(cleaned) < MaxTags {
			cleaned[clean(k, MaxTagKey)] = clean(tags[k], MaxTagValue)
		}
	}
	return cleaned
}

// cleanURL is clean for a URL, without its query: that may hold a key.
func cleanURL(s string) string {
	if i := strings.IndexAny(s, "?#"); i >= 0 {
		s = s[:i]
	}
	return clean(s, maxURL)
}

// cut is the first n bytes of s, or up to three less, so that no character is
// split.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for i := n; i > n-utf8.UTFMax && i >= 0; i-- {
		if utf8.RuneStart(s[i]) {
			return s[:i]
		}
	}
	return s[:n]
}
