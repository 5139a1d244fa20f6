// Command worker is the worker process of the tests, and makes their guests:
// `worker REACTOR DIR`. Unlike the test binary it is built without the race
// detector, with which compiling is ten times as slow; package worker's own
// tests have it.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/sallyport-gateway/sallyport/sandbox/internal/manifest"
	"github.com/sallyport-gateway/sallyport/sandbox/internal/module"
	"github.com/sallyport-gateway/sallyport/sandbox/worker"
)

func main() {
	if len(os.Args) == 3 {
		if err := guests(os.Args[1], os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(worker.Main(nil))
}

// guests makes the directory of guests that all run the reactor.
func guests(reactor, dir string) error {
	b, err := os.ReadFile(reactor)
	if err != nil {
		return err
	}
	snapped, err := module.Snapshot(context.Background(), b, nil)
	if err != nil {
		return err
	}
	m := manifest.Manifest{Version: 1, Wazero: manifest.Wazero}
	for _, language := range []string{"python", "sql", "shell"} {
		m.Guests = append(m.Guests, manifest.Entry{
			Language: language, Module: "guest.wasm", ModuleSHA256: sum(snapped.Module), Image: "guest.mem", ImageSHA256: sum(snapped.Image),
			Pages: snapped.Pages, Stack: snapped.Stack, Interrupt: snapped.Interrupt,
		})
	}
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return errors.Join(
		os.Mkdir(dir, 0o700),
		os.WriteFile(filepath.Join(dir, "guest.wasm"), snapped.Module, 0o600),
		os.WriteFile(filepath.Join(dir, "guest.mem"), snapped.Image, 0o600),
		os.WriteFile(filepath.Join(dir, manifest.Name), text, 0o600),
	)
}

func sum(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}
