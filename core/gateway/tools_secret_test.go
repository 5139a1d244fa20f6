//go:build linux

package gateway_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The operator's key for a tool's service is with the service, and in no
// memory, environment or command line of a plugin, no log, no error, no reply
// and no file of the data directory; also when the service sends it back in
// header and body of any answer.
func TestToolSecretStaysInside(t *testing.T) {
	t.Parallel()
	for name, credential := range map[string]string{
		"header": ", credential: {scheme: header, name: X-Station-Key}",
		"query":  ", credential: {scheme: query, name: token}",
		"bearer": ", credential: {scheme: bearer}",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newStation(t, "", credential)
			token := w.Token("alice@example.com")
			absent := func(where, text string) {
				t.Helper()
				for _, form := range []string{stationKey, url.QueryEscape(stationKey)} {
					if strings.Contains(text, form) {
						t.Errorf("the key is in %s", where)
					}
				}
			}
			for path, status := range map[string]int{"echo": 200, "echo-refused": 403, "echo-moved": 307} {
				got := w.call(t, token, "try", `{"target":"api","path":"`+path+`"}`)
				if !strings.HasPrefix(got, fmt.Sprintf("status %d", status)) || !strings.Contains(got, "and escaped ***") {
					t.Errorf("%s: got %q", path, got)
				}
				absent("the answer of "+path, got)
			}
			for _, arguments := range []string{`{"target":"archive"}`, `{"target":"api","path":"../x"}`, `{"target":"api","path":"echo","header":"Authorization=Bearer x"}`} {
				absent("the answer to "+arguments, w.call(t, token, "try", arguments))
			}
			absent("the plugin's environment", w.call(t, token, "self", `{}`))
			for _, r := range w.model.Requests() {
				absent("a request to the model", fmt.Sprint(r.Header, r.Query, string(r.Body)))
			}
			if n := len(w.seen()); n != 4 {
				t.Errorf("the service was asked %d times, want 4", n)
			}
			for _, p := range w.Plugins() {
				if p.PID == 0 {
					continue
				}
				for _, pid := range append([]int{p.PID}, children(t, p.PID)...) {
					for _, file := range []string{"environ", "cmdline"} {
						b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
						if err != nil && pid == p.PID && !errors.Is(err, fs.ErrPermission) {
							t.Errorf("plugin %s: %v", p.Name, err)
						}
						absent(file+" of plugin "+p.Name, string(b))
					}
				}
				forms := []string{stationKey, url.QueryEscape(stationKey), "The station knows nothing of"}
				found, err := searchMemory(p.PID, forms)
				switch {
				case errors.Is(err, fs.ErrPermission):
					t.Logf("the memory of plugin %s cannot be read here: %v", p.Name, err)
				case err != nil:
					t.Errorf("memory of plugin %s: %v", p.Name, err)
				case found[0] || found[1]:
					t.Errorf("the key is in the memory of plugin %s", p.Name)
				case p.Name == "station" && !found[2]:
					t.Errorf("the search does not find what is in the memory of plugin %s", p.Name)
				}
			}
			err := filepath.WalkDir(filepath.Join(w.dir, "data"), func(path string, d os.DirEntry, err error) error {
				if err != nil || !d.Type().IsRegular() {
					return err
				}
				b, err := os.ReadFile(path)
				absent(path, string(b))
				return err
			})
			if err != nil {
				t.Error(err)
			}
			absent("the log", w.Log())
		})
	}
}

// searchMemory says which of the texts are in the memory of a process.
func searchMemory(pid int, texts []string) ([]bool, error) {
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		return nil, err
	}
	defer mem.Close()
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return nil, err
	}
	found := make([]bool, len(texts))
	searched := int64(0)
	const overlap = 128 // longer than any text
	buf := make([]byte, 1<<20)
	for sc := bufio.NewScanner(bytes.NewReader(maps)); sc.Scan(); {
		var from, to int64
		var mode string
		if _, err := fmt.Sscanf(sc.Text(), "%x-%x %s", &from, &to, &mode); err != nil || mode[0] != 'r' || strings.Contains(sc.Text(), "[v") {
			continue // [vvar], [vdso], [vsyscall] are the kernel's
		}
		for at := from; at < to; at += int64(len(buf)) - overlap {
			n, err := mem.ReadAt(buf[:min(int64(len(buf)), to-at)], at)
			if n == 0 && err != nil && !errors.Is(err, io.EOF) {
				break // a hole: nothing was ever written there
			}
			searched += int64(n)
			for i, text := range texts {
				found[i] = found[i] || bytes.Contains(buf[:n], []byte(text))
			}
		}
	}
	if searched == 0 {
		return nil, fs.ErrPermission
	}
	return found, nil
}
