// Package guests makes the guests of the sandbox: the interpreters of Python,
// SQL and shell as WebAssembly, each with the memory in which it has started.
//
// Everything it builds from is pinned by hash, and what it made is kept in the
// user's cache under the hash of all that it depends on, so that a second
// checkout has it at once. A guest that cannot be made on this machine is left
// out, and the others are made.
package guests

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/sallyport-gateway/sallyport/sandbox/guests/fetch"
	"github.com/sallyport-gateway/sallyport/sandbox/guests/guest"
	"github.com/sallyport-gateway/sallyport/sandbox/guests/python"
	"github.com/sallyport-gateway/sallyport/sandbox/guests/shell"
	"github.com/sallyport-gateway/sallyport/sandbox/guests/sql"
	"github.com/sallyport-gateway/sallyport/sandbox/internal/manifest"
	"github.com/sallyport-gateway/sallyport/sandbox/internal/module"
)

// A language is how one guest is made.
type language struct {
	name   string
	inputs func() (string, error)
	build  func(ctx context.Context, dir string) (guest.Guest, error)
}

func languages() []language {
	return []language{
		{"python", func() (string, error) { return python.Inputs(), nil }, python.Build},
		{"sql", sql.Inputs, sql.Build},
		{"shell", shell.Inputs, shell.Build},
	}
}

// entryName is the file of a made guest that holds its entry of the manifest.
const entryName = "entry.json"

// unused is how long a guest of other sources stays in the cache.
const unused = 30 * 24 * time.Hour

// Make puts the guests and their manifest into dir, and tells log what it does.
// A guest that the machine cannot make is told and left out; an error says that
// one should have been made and was not, or that dir cannot be written.
// With names of languages only those are made, and dir has no others.
func Make(ctx context.Context, dir string, log io.Writer, only ...string) error {
	var (
		wait sync.WaitGroup
		mu   sync.Mutex // of log, made and errs
		made = map[string]string{}
		errs []error
	)
	say := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintf(log, format+"\n", args...)
	}
	for _, l := range languages() {
		if len(only) > 0 && !slices.Contains(only, l.name) {
			continue
		}
		wait.Go(func() {
			at, err := l.once(ctx, say)
			var missing *fetch.Missing
			switch {
			case errors.As(err, &missing):
				say("guest %s is left out: %v", l.name, missing)
				return
			case err != nil:
				say("guest %s is left out: it cannot be built: %v", l.name, err)
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs = append(errs, fmt.Errorf("guest %s: %w", l.name, err))
				return
			}
			made[l.name] = at
		})
	}
	wait.Wait()
	return errors.Join(append(errs, install(dir, made), fetch.Prune(unused))...)
}

// once returns the directory of the made guest, from the cache when it is there.
func (l language) once(ctx context.Context, say func(string, ...any)) (string, error) {
	inputs, err := l.inputs()
	if err != nil {
		return "", err
	}
	root, err := fetch.Root()
	if err != nil {
		return "", err
	}
	own, err := fetch.Sources(root, "sandbox/guests", "sandbox/guests/guest", "sandbox/internal/module", "sandbox/internal/wasi")
	if err != nil {
		return "", err
	}
	key := l.name + "-" + fetch.Digest(l.name, inputs, own, manifest.Wazero)[:32]
	return fetch.Once(ctx, key, func(dir string) error {
		start := time.Now()
		say("guest %s: building", l.name)
		if err := l.make(ctx, dir); err != nil {
			return err
		}
		say("guest %s: built in %s", l.name, time.Since(start).Round(time.Second))
		return nil
	})
}

// make builds the guest, starts it and keeps what a session begins from.
func (l language) make(ctx context.Context, dir string) error {
	work, err := os.MkdirTemp(filepath.Dir(dir), l.name+".part-build-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	g, err := l.build(ctx, work)
	if err != nil {
		return err
	}
	wasm, err := os.ReadFile(g.Wasm)
	if err != nil {
		return err
	}
	files := map[string][]byte{}
	for p, name := range g.Files {
		if files[p], err = os.ReadFile(name); err != nil {
			return err
		}
	}
	snap, err := module.Snapshot(ctx, wasm, files)
	if err != nil {
		return err
	}
	e := manifest.Entry{
		Language: l.name, Module: l.name + ".wasm", ModuleSHA256: sum(snap.Module), Image: l.name + ".mem", ImageSHA256: sum(snap.Image),
		Pages: snap.Pages, Stack: snap.Stack, Interrupt: snap.Interrupt, Features: g.Features,
	}
	write := func(name string, b []byte) {
		err = errors.Join(err, os.WriteFile(filepath.Join(dir, name), b, 0o600))
	}
	write(e.Module, snap.Module)
	write(e.Image, snap.Image)
	for _, p := range slices.Sorted(maps.Keys(files)) {
		f := manifest.File{Path: p, File: path.Base(p), SHA256: sum(files[p])}
		write(f.File, files[p])
		e.Files = append(e.Files, f)
	}
	notice := ""
	for _, s := range g.Sources {
		e.Sources = append(e.Sources, manifest.Source{Name: s.Name, Version: s.Version, SHA256: s.SHA256, Licence: s.Licence})
		text, err := noticeOf(s)
		if err != nil {
			return err
		}
		notice += text
	}
	write(noticeName, []byte(notice))
	b, jsonErr := json.MarshalIndent(e, "", "\t")
	if jsonErr != nil {
		return jsonErr
	}
	write(entryName, b)
	return err
}

func sum(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

// install copies what was made into dir, where it differs, and writes the
// manifest last, so that a reader finds the old guests or the new ones.
func install(dir string, made map[string]string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	m := manifest.Manifest{Version: 1, Wazero: manifest.Wazero, Guests: []manifest.Entry{}}
	keep := map[string]bool{manifest.Name: true, noticeName: true}
	notice := noticeHead
	for _, name := range slices.Sorted(maps.Keys(made)) {
		b, err := os.ReadFile(filepath.Join(made[name], entryName))
		if err != nil {
			return err
		}
		var e manifest.Entry
		if err := json.Unmarshal(b, &e); err != nil {
			return fmt.Errorf("guest %s: %w", name, err)
		}
		sums := map[string]string{e.Module: e.ModuleSHA256, e.Image: e.ImageSHA256}
		for _, f := range e.Files {
			sums[f.File] = f.SHA256
		}
		for file, want := range sums {
			keep[file] = true
			if err := place(filepath.Join(made[name], file), filepath.Join(dir, file), want); err != nil {
				return fmt.Errorf("guest %s: %w", name, err)
			}
		}
		text, err := os.ReadFile(filepath.Join(made[name], noticeName))
		if err != nil {
			return err
		}
		notice += "\n# Guest " + name + "\n" + string(text)
		m.Guests = append(m.Guests, e)
	}
	b, err := json.MarshalIndent(m, "", "\t")
	if err != nil {
		return err
	}
	if err := errors.Join(replace(filepath.Join(dir, noticeName), []byte(notice)), replace(filepath.Join(dir, manifest.Name), append(b, '\n'))); err != nil {
		return err
	}
	return tidy(dir, keep)
}

// place makes the file to hold what from holds, whose hash is want.
func place(from, to, want string) error {
	if b, err := os.ReadFile(to); err == nil && sum(b) == want {
		return nil
	}
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if sum(b) != want {
		return fmt.Errorf("%s in the cache has changed: remove %s and run this again", filepath.Base(from), filepath.Dir(from))
	}
	return replace(to, b)
}

// replace writes a file as a whole or not at all.
func replace(name string, b []byte) error {
	if old, err := os.ReadFile(name); err == nil && string(old) == string(b) {
		return nil
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".new-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(b)
	if err := errors.Join(err, f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}

// tidy removes the modules and images of guests that are not made any more.
func tidy(dir string, keep map[string]bool) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		ext := filepath.Ext(e.Name())
		if !keep[e.Name()] && (ext == ".wasm" || ext == ".mem") {
			err = errors.Join(err, os.Remove(filepath.Join(dir, e.Name())))
		}
	}
	return err
}
