package client

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
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

// origin is a file as it would be had nothing been written.
type origin struct {
	text  []byte   // nil is no file
	exact bool     // it is the backup; else what is there now without our changes
	kept  []string // members that were changed since, and stay
}

// before finds it. With over, what was changed in place of our values is taken
// for ours: a setup that comes next writes over it.
func (w written) before(dir string, over bool) (origin, error) {
	_, now, _, err := readFile(w.Path)
	if err != nil {
		return origin{}, err
	}
	backup := func() (origin, error) {
		if w.Backup == "" {
			return origin{exact: true}, nil
		}
		text, err := os.ReadFile(filepath.Join(dir, w.Backup))
		if text == nil && err == nil {
			text = []byte{}
		}
		return origin{text: text, exact: true}, err
	}
	if now != nil && sum(now) == w.Sum {
		return backup()
	}
	if now != nil && w.Backup != "" { // a setup that was killed before it wrote the file
		if kept, err := os.ReadFile(filepath.Join(dir, w.Backup)); err == nil && bytes.Equal(kept, now) {
			return origin{text: now, exact: true}, nil
		}
	}
	switch {
	case now == nil && (w.Backup == "" || over):
		return backup() // somebody took it away, as we would
	case now == nil:
		return origin{}, fmt.Errorf("%s was removed since it was set up; its text from before is in %s", w.Path, filepath.Join(dir, w.Backup))
	case w.Format == "" && w.Backup == "":
		return origin{}, nil // ours alone, whatever is in it
	case w.Format == "":
		return origin{}, fmt.Errorf("%s was changed since it was set up", w.Path)
	}
	f := formats[w.Format]
	if over && sum(w.putBack(f, now)) == w.Sum {
		return backup() // nothing but our values was changed
	}
	text, kept, err := takeOut(f, now, w.Changes, over)
	if err != nil {
		was := "there was no such file before"
		if w.Backup != "" {
			was = "its text from before is in " + filepath.Join(dir, w.Backup)
		}
		return origin{}, fmt.Errorf("%s was changed since it was set up, and what setup wrote cannot be told from it: %w (%s)", w.Path, err, was)
	}
	if w.Backup == "" {
		if m, err := f.decode(text); err == nil && len(m) == 0 && noComment(w.Format, text) {
			return origin{}, nil // nothing of anybody's is left in it
		}
	}
	return origin{text: text, kept: kept}, nil
}

// putBack is the text with our values where they were changed, as far as the
// record has them.
func (w written) putBack(f format, text []byte) []byte {
	for _, c := range w.Changes {
		m, err := f.decode(text)
		if err != nil {
			return text
		}
		if now, ok := find(m, c.Path); c.Value == nil || c.left(now, ok) {
			continue
		}
		value := c.Value
		if list, ok := value.([]any); ok { // as it comes from the record
			words := make([]string, len(list))
			for i, v := range list {
				words[i], _ = v.(string)
			}
			value = words
		}
		if out, err := f.set(text, c.Path, f.literal(value)); err == nil {
			text = out
		}
	}
	return text
}

// torso refuses what an undo would leave of Codex's table for the gateway when
// somebody has put a key of their own into it: Codex does not start with it.
func (w written) torso(text []byte) error {
	if w.Format != "toml" || text == nil {
		return nil
	}
	table := []string{"model_providers", provider}
	ours := func(c Change) bool { return len(c.Path) > 2 && slices.Equal(c.Path[:2], table) && c.Value != nil }
	if !slices.ContainsFunc(w.Changes, ours) || slices.ContainsFunc(w.Changes, func(c Change) bool { return ours(c) && c.Had }) {
		return nil
	}
	m, err := formats[w.Format].decode(text)
	if err != nil {
		return err
	}
	left, _ := find(m, table)
	if keys, ok := left.(map[string]any); ok && len(keys) > 0 {
		return fmt.Errorf("%s: the table [%s] holds %s, which setup did not write so, and Codex does not start with that alone: take it out, or the whole table, and undo again",
			w.Path, strings.Join(table, "."), strings.Join(slices.Sorted(maps.Keys(keys)), ", "))
	}
	return nil
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
