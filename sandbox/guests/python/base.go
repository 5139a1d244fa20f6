package python

import (
	"context"
	"embed"
	"os"
	"path/filepath"

	"github.com/sallyport-gateway/sallyport/sandbox/guests/fetch"
)

// The base is what takes minutes: the interpreter's objects and the first
// stage. It does not depend on the library, guest/driver.c and
// guest/session.py, so that work on those needs less.
type base struct {
	key     string   // of the cache
	objects []string // of the second stage, without the driver
	first   string   // the first stage
}

//go:embed base.go compile.go freeze.go units.go guest/config.c guest/freeze.c guest/frozen.c guest/pyconfig.h
var baseSources embed.FS

// makeBase makes the base, or finds it in the cache.
func makeBase(ctx context.Context, zig string, t trees) (base, error) {
	b := base{key: "python-base-" + digest(baseSources, fetch.ZigVersion(), cpython.sha256, zlib.sha256, sqliteSum)}
	both, err := t.both()
	if err != nil {
		return base{}, err
	}
	second := t.second("frozen")
	dir, err := fetch.Once(ctx, b.key, func(dir string) error {
		c := compiler{zig: zig, dir: dir}
		objects, err := c.compile(ctx, both)
		if err != nil {
			return err
		}
		first, err := c.compile(ctx, t.first())
		if err != nil {
			return err
		}
		if err := c.link(ctx, append(first, objects...), filepath.Join(dir, "first.wasm"), 4*Stack); err != nil {
			return err
		}
		f, err := newFreezer(ctx, filepath.Join(dir, "first.wasm"))
		if err != nil {
			return err
		}
		defer f.close(ctx)
		frozen := filepath.Join(dir, "frozen")
		if err := freezeInto(ctx, f, t.cpython, frozen); err != nil {
			return err
		}
		_, err = c.compile(ctx, t.second(frozen))
		return err
	})
	if err != nil {
		return base{}, err
	}
	b.first = filepath.Join(dir, "first.wasm")
	for _, u := range append(both, second...) {
		b.objects = append(b.objects, u.object(dir))
	}
	return b, nil
}

// freezeInto compiles what the interpreter needs before it can import, for
// guest/frozen.c and CPython's getpath.c.
func freezeInto(ctx context.Context, f *freezer, cpython, dir string) error {
	header := filepath.Join(dir, "Python", "frozen_modules", "getpath.h")
	if err := os.MkdirAll(filepath.Dir(header), 0o700); err != nil {
		return err
	}
	const text = "static const unsigned char _Py_M__getpath[] = {\n#embed \"getpath.bin\"\n};\n"
	if err := os.WriteFile(header, []byte(text), 0o600); err != nil {
		return err
	}
	for name, file := range map[string]string{
		"getpath":                       "Modules/getpath.py",
		"importlib._bootstrap":          "Lib/importlib/_bootstrap.py",
		"importlib._bootstrap_external": "Lib/importlib/_bootstrap_external.py",
		"zipimport":                     "Lib/zipimport.py",
	} {
		source, err := os.ReadFile(filepath.Join(cpython, file))
		if err != nil {
			return err
		}
		code, err := f.code(ctx, "<frozen "+name+">", source)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name+".bin"), code, 0o600); err != nil {
			return err
		}
	}
	return nil
}
