package conformance

import (
	"debug/buildinfo"
	"fmt"
	"os/exec"
	"strings"
)

// maxShown is how much of a text a finding shows, in bytes.
const maxShown = 1200

// shorten keeps a text to a length that suits a report: its beginning and its
// end.
func shorten(s string) string {
	s = strings.ToValidUTF8(strings.TrimSpace(s), "?")
	if len(s) <= maxShown {
		return s
	}
	half := maxShown / 2
	return strings.ToValidUTF8(s[:half], "") + fmt.Sprintf(" … (%d bytes left out) … ", len(s)-2*half) + strings.ToValidUTF8(s[len(s)-half:], "")
}

// difference shows where two texts part, with the lines around it.
func difference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	i := 0
	for i < len(g) && i < len(w) && g[i] == w[i] {
		i++
	}
	line := func(ls []string) string {
		if i >= len(ls) {
			return "(nothing)"
		}
		return cut(ls[i], 400)
	}
	return fmt.Sprintf("line %d is\n    %s\n  want\n    %s", i+1, line(g), line(w))
}

func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}

// isGo reports whether a program was built by Go, so that SIGQUIT makes it
// print its goroutines.
func isGo(program string) bool {
	path, err := exec.LookPath(program)
	if err != nil {
		return false
	}
	_, err = buildinfo.ReadFile(path)
	return err == nil
}
