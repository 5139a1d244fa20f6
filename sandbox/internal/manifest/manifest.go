// Package manifest describes the guests of a directory: what files they have and
// their hashes. It is what those who only look at guests need, and knows no
// WebAssembly.
package manifest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Name is the file that describes the guests of a directory.
const Name = "manifest.json"

// Wazero is the version that guests are made and run with. A snapshot does not
// depend on it, but the tests of a guest were run with this one.
const Wazero = "v1.12.0"

// PageSize is the unit of WebAssembly memory, in bytes.
const PageSize = 64 << 10

// Manifest describes the guests of a directory. Only modules that it names with
// their hash are ever compiled.
type Manifest struct {
	Version int     `json:"version"` // 1
	Wazero  string  `json:"wazero"`
	Guests  []Entry `json:"guests"`
}

// Entry describes one guest. File names are relative to the directory.
type Entry struct {
	Language     string   `json:"language"`
	Module       string   `json:"module"`
	ModuleSHA256 string   `json:"module_sha256"`
	Image        string   `json:"image"` // memory at the start
	ImageSHA256  string   `json:"image_sha256"`
	Pages        uint32   `json:"pages"`               // of 64 KiB, in the image
	Stack        uint32   `json:"stack,omitempty"`     // bytes of the shadow stack below the data; 0 when there is none
	Interrupt    []uint32 `json:"interrupt,omitempty"` // three addresses; see Instance.poke
	Files        []File   `json:"files,omitempty"`
	Sources      []Source `json:"sources,omitempty"`
	Features     []string `json:"features,omitempty"`
}

// File is a file that the guest sees, below "lib".
type File struct {
	Path   string `json:"path"`
	File   string `json:"file"`
	SHA256 string `json:"sha256"`
}

// Source says what a guest was made of.
type Source struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	SHA256  string `json:"sha256"`
	Licence string `json:"licence"`
}

// Read reads and checks the manifest of dir. The error is
// fs.ErrNotExist when dir has none.
func Read(dir string) (Manifest, error) {
	path := filepath.Join(dir, Name)
	b, err := os.ReadFile(path)
	if err != nil {
		return Manifest{}, fmt.Errorf("guests: %w", err)
	}
	var m Manifest
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&m); err != nil {
		return Manifest{}, fmt.Errorf("%s: %w", path, err)
	}
	if _, err := d.Token(); err != io.EOF {
		return Manifest{}, fmt.Errorf("%s: something follows the manifest", path)
	}
	if err := m.check(); err != nil {
		return Manifest{}, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

func (m Manifest) check() error {
	if m.Version != 1 {
		return fmt.Errorf("version is %d, not 1", m.Version)
	}
	if m.Wazero != Wazero {
		return fmt.Errorf("wazero is %q, not %q", m.Wazero, Wazero)
	}
	seen := map[string]bool{}
	for _, g := range m.Guests {
		if g.Language == "" || seen[g.Language] {
			return fmt.Errorf("guests: language %q is empty or there twice", g.Language)
		}
		seen[g.Language] = true
		if err := g.check(); err != nil {
			return fmt.Errorf("guest %q: %w", g.Language, err)
		}
	}
	return nil
}

func (g Entry) check() error {
	if g.Pages == 0 || g.Pages > 1<<16 {
		return fmt.Errorf("pages: %d is not between 1 and 65536", g.Pages)
	}
	if len(g.Interrupt) != 0 && len(g.Interrupt) != 3 {
		return fmt.Errorf("interrupt: %d addresses, not 3", len(g.Interrupt))
	}
	for _, a := range g.Interrupt {
		if uint64(a)+4 > uint64(g.Pages)*PageSize {
			return fmt.Errorf("interrupt: address %d is outside the memory", a)
		}
	}
	for _, f := range g.Files {
		if !strings.HasPrefix(f.Path, "lib/") || !fs.ValidPath(f.Path) {
			return fmt.Errorf("files: path %q is not below lib", f.Path)
		}
	}
	return nil
}

// ReadFile reads a file of dir and checks its hash. What was read is what was
// checked: the file is not opened again.
func ReadFile(dir, name, sum string) ([]byte, error) {
	path, err := inside(dir, name)
	if err != nil {
		return nil, err
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	got := sha256.Sum256(b)
	return b, compare(name, got[:], sum)
}

// Check checks the hash of a file of dir without keeping what is in it.
func Check(dir, name, sum string) error {
	path, err := inside(dir, name)
	if err != nil {
		return err
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("file %q: %w", name, fs.ErrNotExist)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return err
	}
	return compare(name, h.Sum(nil), sum)
}

func inside(dir, name string) (string, error) {
	if !filepath.IsLocal(name) {
		return "", fmt.Errorf("file %q is not inside the directory", name)
	}
	return filepath.Join(dir, name), nil
}

func compare(name string, got []byte, sum string) error {
	if want, err := hex.DecodeString(sum); err != nil || !bytes.Equal(want, got) {
		return fmt.Errorf("file %q is not what it was made as: its SHA-256 begins with %x, the manifest's with %.12q", name, got[:6], sum)
	}
	return nil
}
