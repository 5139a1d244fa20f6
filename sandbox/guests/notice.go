package guests

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/sallyport-gateway/sallyport/sandbox/guests/guest"
)

// noticeName is the file with the licences of what is in the guests.
const noticeName = "NOTICE"

const noticeHead = `What the guests of this directory contain that others wrote, with its licences.
`

// noticeOf is the section of one work. A work without the text of its licence
// is an error.
func noticeOf(s guest.Source) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "\n## %s %s\n\nLicence: %s\n", s.Name, s.Version, s.Licence)
	if s.SHA256 != "" {
		fmt.Fprintf(&b, "Hash: %s\n", s.SHA256)
	}
	if len(s.Texts) == 0 {
		return "", fmt.Errorf("%s has no text of its licence", s.Name)
	}
	for _, name := range s.Texts {
		text, err := os.ReadFile(name)
		if err != nil {
			return "", fmt.Errorf("licence of %s: %w", s.Name, err)
		}
		t := string(text)
		switch filepath.Ext(name) {
		case ".c", ".h":
			if t = firstComment(t); t == "" {
				return "", fmt.Errorf("licence of %s: %s has no comment", s.Name, name)
			}
		}
		fmt.Fprintf(&b, "\n%s\n", strings.TrimSpace(t))
	}
	return b.String(), nil
}

// firstComment is the text of the first comment of a C file, without its stars.
func firstComment(c string) string {
	_, c, _ = strings.Cut(c, "/*")
	c, _, closed := strings.Cut(c, "*/")
	if !closed {
		return ""
	}
	lines := strings.Split(c, "\n")
	for i, l := range lines {
		lines[i] = strings.TrimRight(strings.TrimPrefix(strings.TrimLeft(strings.TrimSpace(l), "*"), " "), " ")
	}
	return strings.TrimSpace(strings.Join(lines, "\n"))
}
