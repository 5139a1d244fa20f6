package guests

import (
	"fmt"
	"os"
	"strings"

	"github.com/sallyport-gateway/sallyport/sandbox/guests/guest"
)

// noticeName is the file with the licences of what is in the guests.
const noticeName = "NOTICE"

const noticeHead = `What the guests of this directory contain that others wrote, with its licences.
`

// noticeOf is the section of one work.
func noticeOf(s guest.Source) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "\n## %s %s\n\nLicence: %s\n", s.Name, s.Version, s.Licence)
	if s.SHA256 != "" {
		fmt.Fprintf(&b, "Hash: %s\n", s.SHA256)
	}
	if s.File != "" {
		text, err := os.ReadFile(s.File)
		if err != nil {
			return "", fmt.Errorf("licence of %s: %w", s.Name, err)
		}
		fmt.Fprintf(&b, "\n%s\n", strings.TrimSpace(string(text)))
	}
	return b.String(), nil
}
