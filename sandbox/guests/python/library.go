package python

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/binary"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sallyport-gateway/sallyport/sandbox/guests/fetch"
)

// Parts of the standard library that cannot work in the sandbox or are no use
// to a program: windows, terminals, other interpreters, tests.
var omitted = []string{"test", "tests", "idle_test", "idlelib", "tkinter", "turtledemo", "turtle.py", "ensurepip", "ctypes",
	"curses", "dbm", "venv", "pydoc_data", "_pyrepl", "__phello__", "__hello__.py", "site-packages",
	"_ios_support.py", "_android_support.py", "_apple_support.py", "_aix_support.py"}

// archive is where the guest finds the library.
const archive = "lib/python313.zip"

// tzdata is the time zones' data, which is not part of CPython.
var tzdata = fetch.Pin{
	Name: "tzdata", Version: "2026.6",
	SHA256: map[string]string{"any": "0a10eec6e13ef16b627fabed9a5f2ba61a62b1c67f327305f4e7e412a70b4aec"},
}

//go:embed library.go
var libraryCode embed.FS

// A source is one file of the library: name is its path below Lib.
type source struct {
	name string
	text []byte
}

// makeLibrary makes the archive without the driver's module, or finds it in
// the cache, and returns its path.
func makeLibrary(ctx context.Context, b base, cpython, zones string) (string, error) {
	const name = "library.zip"
	dir, err := fetch.Once(ctx, "python-library-"+digest(libraryCode, b.key, fmt.Sprint(tzdata)), func(dir string) error {
		code, err := sources(filepath.Join(cpython, "Lib"), ".", ".py")
		if err != nil {
			return err
		}
		zoneCode, err := sources(zones, "tzdata", ".py")
		if err != nil {
			return err
		}
		zoneData, err := sources(zones, "tzdata", "")
		if err != nil {
			return err
		}
		// What a Makefile would have known; sysconfig asks for it.
		code = append(code, source{"_sysconfigdata__wasi_.py", []byte("build_time_vars = {}\n")})
		p, err := newPacker(ctx, b, cpython)
		if err != nil {
			return err
		}
		defer p.freezer.close(ctx)
		for _, s := range append(code, zoneCode...) {
			if err := p.compiled(ctx, s); err != nil {
				return err
			}
		}
		for _, s := range zoneData {
			if err := p.add(s.name, s.text); err != nil {
				return err
			}
		}
		return p.write(filepath.Join(dir, name))
	})
	return filepath.Join(dir, name), err
}

// addSession writes the archive at library with the driver's module to file.
func addSession(ctx context.Context, b base, library, cpython, file string) error {
	text, err := own.ReadFile("guest/session.py")
	if err != nil {
		return err
	}
	p, err := newPacker(ctx, b, cpython)
	if err != nil {
		return err
	}
	defer p.freezer.close(ctx)
	if err := p.compiled(ctx, source{"_session.py", text}); err != nil {
		return err
	}
	if err := p.copied(library); err != nil {
		return err
	}
	return p.write(file)
}

// sources lists the files below sub of dir, those with the extension ext, or
// those with none where ext is "".
func sources(dir, sub, ext string) (list []source, err error) {
	err = fs.WalkDir(os.DirFS(dir), sub, func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case slices.Contains(omitted, d.Name()) || p == "multiprocessing/dummy":
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		case d.IsDir() || path.Ext(p) != ext:
			return nil
		}
		text, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(p)))
		list = append(list, source{p, text})
		return err
	})
	return list, err
}

// A packer writes the archive: entries are not compressed, since a guest reads
// single modules of it and its pages are shared by all, and have no time, so
// that the same sources make the same archive.
type packer struct {
	freezer *freezer
	magic   uint32
	out     bytes.Buffer
	zip     *zip.Writer
}

// newPacker starts the first stage; its user closes the freezer.
func newPacker(ctx context.Context, b base, cpython string) (*packer, error) {
	p := &packer{}
	p.zip = zip.NewWriter(&p.out)
	var err error
	if p.magic, err = magic(cpython); err != nil {
		return nil, err
	}
	p.freezer, err = newFreezer(ctx, b.first)
	return p, err
}

// compiled adds s as code.
func (p *packer) compiled(ctx context.Context, s source) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	code, err := p.freezer.code(ctx, "/"+archive+"/"+s.name, s.text)
	if err != nil {
		return fmt.Errorf("%s: %w", archive, err)
	}
	return p.add(strings.TrimSuffix(s.name, ".py")+".pyc", append(header(p.magic, s.text), code...))
}

// copied adds everything that is in the archive file.
func (p *packer) copied(file string) error {
	r, err := zip.OpenReader(file)
	if err != nil {
		return err
	}
	defer r.Close()
	for _, f := range r.File {
		if err := p.zip.Copy(f); err != nil {
			return fmt.Errorf("%s: %s: %w", file, f.Name, err)
		}
	}
	return nil
}

func (p *packer) add(name string, b []byte) error {
	h := &zip.FileHeader{Name: name, Method: zip.Store, Modified: time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)}
	w, err := p.zip.CreateHeader(h)
	if err == nil {
		_, err = w.Write(b)
	}
	return err
}

// write ends the archive and writes it to file.
func (p *packer) write(file string) error {
	if err := p.zip.Close(); err != nil {
		return err
	}
	return os.WriteFile(file, p.out.Bytes(), 0o600)
}

// header is what stands before the code in a file of the kind that is never
// compared with its source: there is none. Source: PEP 552.
func header(magic uint32, source []byte) []byte {
	h := binary.LittleEndian.AppendUint32(nil, magic)
	h = binary.LittleEndian.AppendUint32(h, 1) // hash-based, not checked
	sum := sha256.Sum256(source)
	return append(h, sum[:8]...)
}

var magicLine = regexp.MustCompile(`(?m)^MAGIC_NUMBER = \((\d+)\)\.to_bytes\(2, 'little'\) \+ b'\\r\\n'$`)

// magic is the number of the code's format, which only the library tells.
func magic(cpython string) (uint32, error) {
	const file = "Lib/importlib/_bootstrap_external.py"
	text, err := os.ReadFile(filepath.Join(cpython, file))
	if err != nil {
		return 0, err
	}
	m := magicLine.FindSubmatch(text)
	if m == nil {
		return 0, fmt.Errorf("%s: no MAGIC_NUMBER as CPython %s has it", file, "3.13")
	}
	n, err := strconv.ParseUint(string(m[1]), 10, 16)
	return uint32(n) | '\r'<<16 | '\n'<<24, err
}
