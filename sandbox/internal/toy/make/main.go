// Command make writes the toy guests and their compiled form to a directory, or
// only that where the guests are there. It
// is a program of its own so that the race detector, which slows a compiler
// down twentyfold, has no part in it.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"log"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/sallyport-gateway/sallyport/sandbox/internal/engine"
	"github.com/sallyport-gateway/sallyport/sandbox/internal/manifest"
	"github.com/sallyport-gateway/sallyport/sandbox/internal/module"
)

func main() {
	guest := flag.String("guest", "guest", "directory of the guest's source")
	out := flag.String("out", "", "directory to write to")
	flag.Parse()
	if _, err := os.Stat(filepath.Join(*out, manifest.Name)); err != nil {
		if err := build(*guest, *out); err != nil {
			log.Fatal(err)
		}
	}
	ctx := context.Background()
	e, err := engine.Load(ctx, *out, engine.Options{Cache: filepath.Join(*out, "cache")})
	if err != nil {
		log.Fatal(err)
	}
	if err := e.Close(ctx); err != nil {
		log.Fatal(err)
	}
}

func build(guest, dir string) error {
	raw := filepath.Join(dir, "raw.wasm")
	cmd := exec.Command("go", "build", "-buildmode=c-shared", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", raw, ".")
	cmd.Dir = guest
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "GOFLAGS=")
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return err
	}
	wasm, err := os.ReadFile(raw)
	if err != nil {
		return err
	}
	snap, err := module.Snapshot(context.Background(), wasm, nil)
	if err != nil {
		return err
	}
	m := manifest.Manifest{Version: 1, Wazero: manifest.Wazero}
	for _, language := range []string{"python", "shell", "sql"} {
		e := manifest.Entry{
			Language: language, Module: "toy.wasm", Image: "toy.mem", Pages: snap.Pages, Stack: snap.Stack,
			ModuleSHA256: sum(snap.Module), ImageSHA256: sum(snap.Image),
			Files: []manifest.File{{Path: "lib/toy.txt", File: "toy.txt", SHA256: sum([]byte("toy"))}},
		}
		if language == "python" { // the others have no soft interrupt
			e.Interrupt = snap.Interrupt
		}
		m.Guests = append(m.Guests, e)
	}
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	for name, b := range map[string][]byte{"toy.wasm": snap.Module, "toy.mem": snap.Image, "toy.txt": []byte("toy"), manifest.Name: b} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			return err
		}
	}
	return nil
}

func sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}
