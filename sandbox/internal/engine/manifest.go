package engine

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

// ManifestName is the file that describes the guests of a directory.
const ManifestName = "manifest.json"

// WazeroVersion is the version that guests are made and run with. A snapshot
// does not depend on it, but the tests of a guest were run with this one.
const WazeroVersion = "v1.12.0"

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

// pageSize is the unit of WebAssembly memory.
const pageSize = 64 << 10

// ReadManifest reads and checks the manifest of dir. The error is
// fs.ErrNotExist when dir has none.
func ReadManifest(dir string) (Manifest, error) {
	path := filepath.Join(dir, ManifestName)
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
		return Manifest{}, fmt.Errorf("%s: %w; make the guests again", path, err)
	}
	return m, nil
}

func (m Manifest) check() error {
	if m.Version != 1 {
		return fmt.Errorf("version is %d, not 1", m.Version)
	}
	if m.Wazero != WazeroVersion {
		return fmt.Errorf("wazero is %q, not %q", m.Wazero, WazeroVersion)
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
		if uint64(a)+4 > uint64(g.Pages)*pageSize {
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

// readPinned reads a file of dir and checks its hash. What was read is what was
// checked: the file is not opened again.
func readPinned(dir, name, sum string) ([]byte, error) {
	if !filepath.IsLocal(name) {
		return nil, fmt.Errorf("file %q is not inside the directory", name)
	}
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return nil, err
	}
	got := sha256.Sum256(b)
	if want, err := hex.DecodeString(sum); err != nil || !bytes.Equal(want, got[:]) {
		return nil, fmt.Errorf("file %q has the SHA-256 %x, the manifest says %q; make the guests again", name, got, sum)
	}
	return b, nil
}

// secureDir makes dir if it is missing and refuses one that others could write
// to: what is in it runs as machine code in this process.
func secureDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return errors.New("is not a directory")
	}
	return checkOwner(info)
}
