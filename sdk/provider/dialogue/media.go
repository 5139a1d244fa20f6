package dialogue

import (
	"encoding/base64"
	"net/url"
	"path"
	"strings"
)

// Data is a file that came inside the request.
type Data struct {
	Type   string // its media type in lower case, without parameters; "" if unknown
	Base64 string // standard encoding, padded
}

// Bytes decodes the data.
func (d Data) Bytes() []byte {
	b, _ := base64.StdEncoding.DecodeString(d.Base64) // checked when made
	return b
}

// ParseData reads a data URL, or bare base64 whose type is guessed from the
// file's name. It reports false for what is neither.
func ParseData(s, filename string) (Data, bool) {
	if !strings.HasPrefix(s, "data:") {
		b, ok := canonical(s)
		return Data{Type: TypeOf(filename), Base64: b}, ok
	}
	head, body, ok := strings.Cut(s[len("data:"):], ",")
	if !ok {
		return Data{}, false
	}
	head, isBase64 := strings.CutSuffix(head, ";base64")
	if !isBase64 {
		plain, err := url.PathUnescape(body)
		if err != nil {
			return Data{}, false
		}
		body = base64.StdEncoding.EncodeToString([]byte(plain))
	}
	typ, _, _ := strings.Cut(head, ";")
	if typ == "" {
		typ = "text/plain" // RFC 2397
	}
	b, ok := canonical(body)
	return Data{Type: strings.ToLower(strings.TrimSpace(typ)), Base64: b}, ok
}

// canonical turns any usual spelling of base64 into the standard, padded one.
func canonical(s string) (string, bool) {
	if s == "" {
		return "", false
	}
	if _, err := base64.StdEncoding.DecodeString(s); err == nil && !strings.ContainsAny(s, "\r\n") {
		return s, true
	}
	s = strings.NewReplacer("\r", "", "\n", "", " ", "", "-", "+", "_", "/").Replace(s)
	b, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(s, "="))
	return base64.StdEncoding.EncodeToString(b), err == nil && len(b) > 0
}

// TypeOf guesses the media type of a file name or URL; "" if it cannot. The
// table is our own, so that the answer does not depend on the machine.
func TypeOf(name string) string {
	if u, err := url.Parse(name); err == nil && u.Scheme != "" {
		name = u.Path
	}
	switch ext := strings.ToLower(path.Ext(name)); ext {
	case ".md", ".csv", ".log", ".yaml", ".yml", ".py", ".go", ".js", ".sql":
		return "text/plain"
	case ".jpg", ".jpeg":
		return "image/jpeg"
	case ".png", ".gif", ".webp", ".heic", ".heif":
		return "image/" + ext[1:]
	case ".pdf", ".json":
		return "application/" + ext[1:]
	case ".txt":
		return "text/plain"
	case ".html", ".htm":
		return "text/html"
	case ".mp3":
		return "audio/mpeg"
	case ".wav":
		return "audio/wav"
	case ".mp4":
		return "video/mp4"
	}
	return ""
}

// IsHTTPS reports whether s is an absolute https URL. Providers fetch no other.
func IsHTTPS(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Scheme == "https" && u.Host != "" && u.User == nil
}
