package dialogue

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// Object is the arguments of a call as the JSON object that providers want.
// What a model cut off, or wrote as anything else, goes as one text under
// "arguments".
func Object(arguments string) json.RawMessage {
	if strings.TrimSpace(arguments) == "" {
		return json.RawMessage("{}")
	}
	if strings.HasPrefix(strings.TrimLeft(arguments, " \t\r\n"), "{") {
		if object := []byte(arguments); json.Valid(object) {
			return object
		}
	}
	b, _ := json.Marshal(map[string]string{"arguments": arguments}) // strings cannot fail
	return b
}

// maxSentence is how many bytes of a provider's message are shown.
const maxSentence = 600

// Sentence makes a provider's message fit to stand inside one of ours: one
// line, of bounded length, with a full stop.
func Sentence(s string) string {
	s = strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD")))
	if len(s) > maxSentence {
		s = strings.ToValidUTF8(s[:maxSentence], "") + "…"
	}
	switch {
	case s == "":
		return "it gave no reason."
	case strings.HasSuffix(s, "."), strings.HasSuffix(s, "…"), strings.HasSuffix(s, "!"), strings.HasSuffix(s, "?"):
		return s
	}
	return s + "."
}

// RetryAfter reads the header of that name, in seconds or as a date; 0 if
// there is none.
func RetryAfter(h http.Header, now time.Time) time.Duration {
	s := h.Get("Retry-After")
	if n, err := strconv.ParseFloat(s, 64); err == nil && n > 0 && n < 1e6 {
		return time.Duration(n * float64(time.Second))
	}
	if at, err := http.ParseTime(s); err == nil {
		return max(at.Sub(now), 0)
	}
	return 0
}
