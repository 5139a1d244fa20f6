package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestSnapshotOfADatabaseInUse(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "a b?%", "state.db")
	makeOld(t, path)
	db := open(t, "sqlite:"+path)
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-stop:
				return
			default:
			}
			// Two that are always equal.
			if err := db.Update(t.Context(), func(tx *Tx) error {
				return errors.Join(tx.Bump(t.Context(), "one"), tx.Bump(t.Context(), "two"))
			}); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	for i := range 5 {
		file := filepath.Join(dir, fmt.Sprintf("copy-%d.db", i))
		if err := Snapshot(t.Context(), "sqlite:"+path, file); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("mode %v, %v, want 0600", info.Mode(), err)
		}
		known, _ := knownVersion()
		if v, err := Inspect(t.Context(), file); v != known || err != nil {
			t.Errorf("the copy has schema %d, %v, want %d", v, err, known)
		}
		copied := open(t, "sqlite:"+file)
		one, err1 := copied.Revision(t.Context(), "one")
		two, err2 := copied.Revision(t.Context(), "two")
		if one != two || err1 != nil || err2 != nil {
			t.Errorf("the copy is of two moments: %d and %d (%v, %v)", one, two, err1, err2)
		}
		keptOld(t, file)
	}
	close(stop)
	<-ended
	if err := Snapshot(t.Context(), "sqlite:"+path, path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("over an existing file: %v, want fs.ErrExist", err)
	}
	if err := Snapshot(t.Context(), "sqlite:"+filepath.Join(dir, "none"), filepath.Join(dir, "x")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of no database: %v, want fs.ErrNotExist", err)
	}
	if err := Snapshot(t.Context(), "postgres://h/db", filepath.Join(dir, "x")); !errors.Is(err, ErrNotSQLite) {
		t.Errorf("of Postgres: %v, want ErrNotSQLite", err)
	}
}

func TestInspectFindsDamage(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state.db")
	makeOld(t, path)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := 4096; i < len(text); i++ {
		text[i] ^= 0x55
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Inspect(t.Context(), path); err == nil {
		t.Error("a damaged database passes")
	}
}
