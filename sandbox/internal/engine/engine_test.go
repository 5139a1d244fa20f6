package engine

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/sallyport-gateway/sallyport/sandbox/internal/manifest"
	"github.com/sallyport-gateway/sallyport/sandbox/internal/toy"
	"github.com/sallyport-gateway/sallyport/sandbox/internal/wasi"
)

// copyGuests copies the toy guests, with a change to their manifest.
func copyGuests(t *testing.T, change func(m map[string]any)) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"toy.wasm", "toy.mem", "toy.txt", manifest.Name} {
		b, err := os.ReadFile(filepath.Join(toy.Dir(t), name))
		if err != nil {
			t.Fatal(err)
		}
		if name == manifest.Name && change != nil {
			var m map[string]any
			if err := json.Unmarshal(b, &m); err != nil {
				t.Fatal(err)
			}
			change(m)
			if b, err = json.Marshal(m); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// loop is (func (loop (br 0))): a module that compiles at once.
var loop = []byte("\x00asm\x01\x00\x00\x00\x01\x04\x01\x60\x00\x00\x03\x02\x01\x00\x0a\x09\x01\x07\x00\x03\x40\x0c\x00\x0b\x0b")

// copyLoops copies the toy guests with loop in the place of their module, for
// tests that start none.
func copyLoops(t *testing.T, change func(m map[string]any)) string {
	t.Helper()
	dir := copyGuests(t, func(m map[string]any) {
		for _, g := range m["guests"].([]any) {
			g.(map[string]any)["module_sha256"] = fmt.Sprintf("%x", sha256.Sum256(loop))
		}
		change(m)
	})
	if err := os.WriteFile(filepath.Join(dir, "toy.wasm"), loop, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestLoadRefuses(t *testing.T) {
	guest := func(m map[string]any) map[string]any { return m["guests"].([]any)[0].(map[string]any) }
	zeros := strings.Repeat("0", 64)
	for _, tt := range []struct {
		name   string
		change func(m map[string]any)
		want   string
	}{
		{"version", func(m map[string]any) { m["version"] = 2 }, "version is 2"},
		{"wazero", func(m map[string]any) { m["wazero"] = "v1.0.0" }, `wazero is "v1.0.0"`},
		{"unknown key", func(m map[string]any) { m["extra"] = 1 }, "extra"},
		{"module's hash", func(m map[string]any) { guest(m)["module_sha256"] = zeros }, `"toy.wasm" is not what it was made as`},
		{"image's hash", func(m map[string]any) { guest(m)["image_sha256"] = zeros }, `"toy.mem" is not what it was made as`},
		{"no hash", func(m map[string]any) { guest(m)["module_sha256"] = "" }, `"toy.wasm" is not what it was made as`},
		{"file's hash", func(m map[string]any) { guest(m)["files"].([]any)[0].(map[string]any)["sha256"] = zeros }, `"toy.txt" is not what it was made as`},
		{"file outside lib", func(m map[string]any) { guest(m)["files"].([]any)[0].(map[string]any)["path"] = "data/x" }, "not below lib"},
		{"file above lib", func(m map[string]any) { guest(m)["files"].([]any)[0].(map[string]any)["path"] = "lib/../x" }, "not below lib"},
		{"module outside", func(m map[string]any) { guest(m)["module"] = "../toy.wasm" }, "not inside the directory"},
		{"absolute image", func(m map[string]any) { guest(m)["image"] = "/etc/passwd" }, "not inside the directory"},
		{"pages", func(m map[string]any) { guest(m)["pages"] = 1 }, "outside the memory"},
		{"no pages", func(m map[string]any) { guest(m)["pages"] = 0 }, "pages: 0"},
		{"interrupt", func(m map[string]any) { guest(m)["interrupt"] = []int{1} }, "interrupt: 1 addresses"},
		{"interrupt outside", func(m map[string]any) { guest(m)["interrupt"] = []uint32{1, 1, 1<<32 - 1} }, "outside the memory"},
		{"language twice", func(m map[string]any) { guest(m)["language"] = "sql" }, `"sql" is empty or there twice`},
	} {
		_, err := Load(context.Background(), copyGuests(t, tt.change), Options{Interpret: true, Only: []string{"python"}})
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want one with %q", tt.name, err, tt.want)
		}
	}
	if _, err := Load(context.Background(), t.TempDir(), Options{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no manifest: %v", err)
	}
	if _, err := Load(context.Background(), copyGuests(t, nil), Options{Interpret: true, Only: []string{"cobol"}}); !errors.Is(err, ErrNoGuest) {
		t.Errorf("a guest that is not there: %v", err)
	}
}

// TestPartial: the guests that are whole are there without those that are not.
func TestPartial(t *testing.T) {
	guest := func(m map[string]any, n int) map[string]any { return m["guests"].([]any)[n].(map[string]any) }
	zeros := strings.Repeat("0", 64)
	notWasm := func(m map[string]any, n int) { // with the right hash: it does not compile
		guest(m, n)["module"], guest(m, n)["module_sha256"] = "toy.txt", guest(m, n)["files"].([]any)[0].(map[string]any)["sha256"]
	}
	for _, tt := range []struct {
		name   string
		change func(m map[string]any)
		only   []string
		want   string // languages
		broken string // the text for python
		fails  bool
	}{
		{name: "all whole", change: func(map[string]any) {}, want: "python shell sql"},
		{name: "module", change: func(m map[string]any) { guest(m, 0)["module_sha256"] = zeros }, want: "shell sql", broken: `"toy.wasm" is not what it was made as`},
		{name: "image", change: func(m map[string]any) { guest(m, 0)["image"] = "gone.mem" }, want: "shell sql", broken: "gone.mem"},
		{name: "file", change: func(m map[string]any) { guest(m, 0)["files"].([]any)[0].(map[string]any)["sha256"] = zeros }, want: "shell sql", broken: `"toy.txt" is not what it was made as`},
		{name: "no module", change: func(m map[string]any) { notWasm(m, 0) }, want: "shell sql", broken: "compile toy.txt"},
		{name: "only", change: func(m map[string]any) { guest(m, 0)["module_sha256"] = zeros }, only: []string{"python", "sql"}, want: "sql", broken: "SHA-256"},
		{name: "not there", change: func(m map[string]any) { m["guests"] = m["guests"].([]any)[1:] }, only: []string{"python", "sql"}, want: "sql", broken: "no such guest"},
		{name: "none", change: func(m map[string]any) { guest(m, 0)["module_sha256"] = zeros }, only: []string{"python"}, broken: "SHA-256", fails: true},
	} {
		dir := copyLoops(t, tt.change)
		o := Options{Cache: filepath.Join(t.TempDir(), "cache"), Partial: true, Only: tt.only}
		e, err := Load(context.Background(), dir, o)
		if tt.fails {
			if err == nil || !strings.Contains(err.Error(), tt.broken) {
				t.Errorf("%s: error %v, want one with %q", tt.name, err, tt.broken)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if got := strings.Join(e.Languages(), " "); got != tt.want {
			t.Errorf("%s: languages %s, want %s", tt.name, got, tt.want)
		}
		switch err := e.Broken()["python"]; {
		case (err == nil) != (tt.broken == ""), err != nil && !strings.Contains(err.Error(), tt.broken):
			t.Errorf("%s: python is broken by %v, want %q", tt.name, err, tt.broken)
		}
		checkClosed(t, e)
		if tt.broken == "" {
			continue
		}
		o.Partial = false
		if _, err := Load(context.Background(), dir, o); err == nil || !strings.Contains(err.Error(), tt.broken) {
			t.Errorf("%s: without Partial: %v, want %q", tt.name, err, tt.broken)
		}
	}
}

// TestImages runs the same steps on mapped and on copied memory.
func TestImages(t *testing.T) {
	b := make([]byte, 4*pageSize)
	b[0], b[pageSize], b[len(b)-1] = 1, 2, 3
	mapped, err := newImage("test", b)
	if err != nil {
		t.Fatal(err)
	}
	defer mapped.close()
	if _, ok := mapped.(copied); ok && runtime.GOOS == "linux" {
		t.Error("no memory file on linux")
	}
	for name, im := range map[string]image{"mapped": mapped, "copied": copied(b)} {
		t.Run(name, func(t *testing.T) {
			one, err := im.reserve(8 * pageSize)
			if err != nil {
				t.Fatal(err)
			}
			other, err := im.reserve(8 * pageSize)
			if err != nil {
				t.Fatal(err)
			}
			x, y := one.Reallocate(4*pageSize), other.Reallocate(4*pageSize)
			one.restore(x)
			other.restore(y)
			x[0], x[100] = 9, 9
			if y[0] != 1 || y[100] != 0 || y[pageSize] != 2 || y[len(y)-1] != 3 || b[0] != 1 {
				t.Error("instances or the image share what one of them wrote")
			}
			x = one.Reallocate(8 * pageSize)
			if len(x) != 8*pageSize || x[0] != 9 || x[8*pageSize-1] != 0 {
				t.Error("growing lost the contents")
			}
			x[8*pageSize-1] = 1
			if one.refused() {
				t.Error("refused without cause")
			}
			if !one.bound(8 * pageSize) {
				t.Error("the reservation itself is refused as the bound")
			}
			if one.Reallocate(9*pageSize) != nil || !one.refused() || one.refused() {
				t.Error("growing beyond the limit is not refused, once")
			}
			one.Free()
			x[0] = 1 // Free must not unmap: frames of the guest may be on the stack
			for _, m := range []memory{one, one, other} {
				if err := m.release(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func TestInstanceIsDeadAfterAnError(t *testing.T) {
	e := loadToy(t, Options{})
	defer checkClosed(t, e)
	g, err := e.Guest("python")
	if err != nil {
		t.Fatal(err)
	}
	files, err := wasi.NewFS(e.Files(), nil, wasi.Quota{Bytes: 1 << 20, Inodes: 10, Files: 10})
	if err != nil {
		t.Fatal(err)
	}
	i, err := e.Start(g, files, Bounds{Memory: 64 << 20, Output: 1000, Request: func(q []byte) ([]byte, bool) {
		return append([]byte("you asked "), q...), string(q) != "no"
	}})
	if err != nil {
		t.Fatal(err)
	}
	for code, want := range map[string]string{"ask this": "you asked this\n", "ask no": ""} {
		if _, err := i.Exec(code, NewControl()); err != nil {
			t.Error(err)
		}
		if out, _ := i.Proc.Stdout.Take(); string(out) != want {
			t.Errorf("%s: %q", code, out)
		}
	}
	if err := i.Call("nothing", 0, NewControl()); err == nil {
		t.Error("a function that is not there was called")
	}
	if _, err := i.Exec(strings.Repeat("x", 17<<20), NewControl()); !errors.Is(err, ErrTooLong) || i.Dead() {
		t.Errorf("a program too long for the guest: %v, dead %v", err, i.Dead())
	}
	if out, err := i.Exec("fault", NewControl()); err != nil || out.Killed != Crash || !i.Dead() {
		t.Errorf("%+v, %v", out, err)
	}
	if _, err := i.Exec("print x", NewControl()); !errors.Is(err, ErrDead) {
		t.Errorf("call after the end: %v", err)
	}
	if err := i.Call("sbx_trust", 0, NewControl()); !errors.Is(err, ErrDead) {
		t.Errorf("call after the end: %v", err)
	}
	for range 2 {
		if err := i.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestKillBeforeTheStart(t *testing.T) {
	e := loadToy(t, Options{})
	defer checkClosed(t, e)
	i := startToy(t, e, "python", session)
	defer i.Close()
	c := NewControl()
	c.Kill(Caller)
	c.Kill(Time) // the first cause counts
	if out, err := i.Exec("deaf", c); err != nil || out.Killed != Caller {
		t.Errorf("%+v, %v", out, err)
	}
}
