package client

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// record is what a setup did: it is enough to take everything back.
type record struct {
	Version int       `json:"version"`
	Agent   string    `json:"agent"`
	Time    time.Time `json:"time"`
	URL     string    `json:"url"`
	Model   string    `json:"model"`
	Files   []written `json:"files"`
	Dirs    []string  `json:"dirs,omitempty"` // directories that were made, outer ones first
}

// written is a file that was written.
type written struct {
	Path    string      `json:"path"`             // as the client names it; links are followed
	Format  string      `json:"format,omitempty"` // "" for a file that is ours alone
	Backup  string      `json:"backup,omitempty"` // name, beside the record, of a copy of the file as it was; "" when there was none
	Mode    fs.FileMode `json:"mode,omitempty"`   // as it was
	Time    time.Time   `json:"time,omitzero"`    // when it had been changed
	Sum     string      `json:"sum"`              // SHA-256 of what was written
	Changes []Change    `json:"changes,omitempty"`
}

const recordName = "record.json"

// recordDir is the directory of the record for an agent: of the user, or of
// the project in the working directory.
func recordDir(p Place, a Agent, project bool) string {
	name := a.Name
	if project {
		sum := sha256.Sum256([]byte(p.Dir))
		name += "-" + hex.EncodeToString(sum[:6])
	}
	return filepath.Join(p.state(), name)
}

func readRecord(dir string) (*record, error) {
	b, err := os.ReadFile(filepath.Join(dir, recordName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	r := &record{}
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, recordName), err)
	}
	if r.Version != 1 {
		return nil, fmt.Errorf("%s is of another version of sallyport", filepath.Join(dir, recordName))
	}
	return r, nil
}

func (r *record) file(path string) *written {
	i := slices.IndexFunc(r.Files, func(w written) bool { return w.Path == path })
	if i < 0 {
		return nil
	}
	return &r.Files[i]
}

func sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

// before is the file as it would be had nothing been written: its backup, or,
// when it was changed since, what is there without our changes. exact is
// whether it is the backup. A nil text is no file.
func (w written) before(dir string) (text []byte, exact bool, err error) {
	_, now, _, err := readFile(w.Path)
	if err != nil {
		return nil, false, err
	}
	if now != nil && sum(now) == w.Sum {
		if w.Backup == "" {
			return nil, true, nil
		}
		text, err = os.ReadFile(filepath.Join(dir, w.Backup))
		if text == nil && err == nil {
			text = []byte{}
		}
		return text, true, err
	}
	if now != nil && w.Backup != "" { // a setup that was killed before it wrote the file
		if kept, err := os.ReadFile(filepath.Join(dir, w.Backup)); err == nil && bytes.Equal(kept, now) {
			return now, true, nil
		}
	}
	switch {
	case now == nil && w.Backup == "":
		return nil, true, nil // somebody took it away, as we would
	case now == nil:
		return nil, false, fmt.Errorf("%s was removed since it was set up; its text from before is in %s", w.Path, filepath.Join(dir, w.Backup))
	case w.Format == "":
		return nil, false, fmt.Errorf("%s was changed since it was set up", w.Path)
	}
	text, err = takeOut(formats[w.Format], now, w.Changes)
	if err != nil {
		kept := "there was no such file before"
		if w.Backup != "" {
			kept = "its text from before is in " + filepath.Join(dir, w.Backup)
		}
		return nil, false, fmt.Errorf("%s was changed since it was set up, and what setup wrote cannot be told from it: %w (%s)", w.Path, err, kept)
	}
	if w.Backup == "" {
		if m, err := formats[w.Format].decode(text); err == nil && len(m) == 0 && noComment(w.Format, text) {
			return nil, false, nil // nothing of anybody's is left in it
		}
	}
	return text, false, nil
}

// noComment tells whether a file without members says nothing at all.
func noComment(format string, text []byte) bool {
	return strings.Trim(string(text), " \t\r\n{}") == ""
}

// missing are the directories above path that do not exist, outer ones first.
func missing(path string) []string {
	var out []string
	for dir := filepath.Dir(path); !exists(dir) && dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		out = append(out, dir)
	}
	slices.Reverse(out)
	return out
}

// replace writes a file whole or not at all.
func replace(path string, text []byte, mode fs.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
