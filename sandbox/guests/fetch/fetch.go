// Package fetch gets what the guests are built from: through the clients of the
// package registries, each by its hash, into a cache of the user. It is the only
// place of the build that talks to a network, and nothing it gets is used before
// its hash was found to be the pinned one.
package fetch

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Missing is the error for something that the machine lacks: the guest that
// needs it is left out, and the others are built.
type Missing struct {
	What    string // what is not there
	Install string // what to do about it
}

func (m *Missing) Error() string {
	if m.Install == "" {
		return m.What
	}
	return m.What + "; " + m.Install
}

// Cache returns the directory that holds what was fetched and built, made if it
// is not there, readable by its owner only.
func Cache() (string, error) {
	user, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the cache directory: %w", err)
	}
	dir := filepath.Join(user, "sallyport", "guests")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("make the cache directory: %w", err)
	}
	return dir, nil
}

// Once returns the directory in the cache that key names. If it is not there,
// make fills it; it appears with its full contents or not at all. Of several
// programs that ask for one key at once, one makes it and the others wait.
func Once(ctx context.Context, key string, make func(dir string) error) (string, error) {
	cache, err := Cache()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, key)
	if present(dir) {
		now := time.Now()
		return dir, os.Chtimes(dir, now, now) // see Prune
	}
	unlock, err := lock(ctx, filepath.Join(cache, key+".lock"))
	if err != nil {
		return "", fmt.Errorf("lock %s: %w", key, err)
	}
	defer unlock()
	if present(dir) {
		return dir, nil
	}
	var random [8]byte
	rand.Read(random[:])
	work := filepath.Join(cache, key+".part-"+hex.EncodeToString(random[:]))
	if err := os.Mkdir(work, 0o700); err != nil {
		return "", err
	}
	defer os.RemoveAll(work)
	if err := make(work); err != nil {
		return "", err
	}
	if err := os.Rename(work, dir); err != nil && !present(dir) {
		return "", err
	}
	return dir, nil
}

// Prune removes from the cache what Once has not returned for that long, and
// what is left of work that was broken off then.
func Prune(unused time.Duration) error {
	cache, err := Cache()
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(cache)
	if err != nil {
		return err
	}
	for _, e := range entries {
		info, statErr := e.Info()
		if statErr != nil || strings.HasSuffix(e.Name(), ".lock") || time.Since(info.ModTime()) < unused {
			continue
		}
		err = errors.Join(err, os.RemoveAll(filepath.Join(cache, e.Name())))
	}
	return err
}

func present(dir string) bool {
	_, err := os.Stat(dir)
	return !errors.Is(err, fs.ErrNotExist)
}
