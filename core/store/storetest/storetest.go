// Package storetest opens state databases for tests. The migrations run once
// in a process; every further database begins as a copy of what they made.
package storetest

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/sallyport-gateway/sallyport/core/store"
)

// migrated is the file of an empty database of the newest schema.
var migrated = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "storetest-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "state.db")
	db, err := store.Open(context.Background(), "sqlite:"+file, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	// Whoever closes the last connection moves all of the log into the file.
	if err := db.Close(); err != nil {
		return nil, err
	}
	if _, err := os.Stat(file + "-wal"); err == nil {
		return nil, fmt.Errorf("%s has a log after it was closed: a copy of it would lack what is in there", file)
	}
	return os.ReadFile(file)
})

// Open opens a new, empty SQLite database in a directory of the test's, and
// closes it with the test.
func Open(t testing.TB) *store.DB {
	t.Helper()
	b, err := migrated()
	if err != nil {
		t.Fatalf("state database: %v", err)
	}
	file := filepath.Join(t.TempDir(), "state.db")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	db, err := store.Open(context.Background(), "sqlite:"+file, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatalf("state database: %v", err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("state database: close: %v", err)
		}
	})
	return db
}
