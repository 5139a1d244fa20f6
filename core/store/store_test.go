package store

import (
	"context"
	"database/sql"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

func open(t *testing.T, dsn string) *DB {
	t.Helper()
	db, err := Open(t.Context(), dsn, quiet())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return db
}

// engines are the databases that the tests run on: SQLite always, and the
// Postgres of SALLYPORT_TEST_POSTGRES when that names one, in a schema of its
// own, which is emptied.
func engines(t *testing.T) map[string]string {
	t.Helper()
	dsns := map[string]string{"sqlite": "sqlite:" + filepath.Join(t.TempDir(), "state.db")}
	if pg := os.Getenv("SALLYPORT_TEST_POSTGRES"); pg != "" {
		db, err := sql.Open("pgx", pg)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if _, err := db.Exec(`DROP SCHEMA IF EXISTS sallyport_store_test CASCADE; CREATE SCHEMA sallyport_store_test`); err != nil {
			t.Fatal(err)
		}
		u, err := url.Parse(pg)
		if err != nil {
			t.Fatal(err)
		}
		q := u.Query()
		q.Set("search_path", "sallyport_store_test")
		u.RawQuery = q.Encode()
		dsns["postgres"] = u.String()
	}
	return dsns
}

func TestOpenMakesThePrivateFileAndTheSchema(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a b?c#d%", "state.db")
	db := open(t, "sqlite:"+path)
	if err := db.Update(t.Context(), func(tx *Tx) error { return tx.Bump(t.Context(), "x") }); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]fs.FileMode{path: 0o600, path + "-wal": 0o600, path + "-shm": 0o600, filepath.Dir(path): 0o700} {
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("mode of %s = %04o, want %04o", file, got, want)
		}
	}
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "busy_timeout": "5000", "foreign_keys": "1"} {
		var got string
		if err := db.w.QueryRow("PRAGMA " + pragma).Scan(&got); err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Errorf("PRAGMA %s = %s, want %s", pragma, got, want)
		}
	}
}

func TestReadersCannotWrite(t *testing.T) {
	t.Parallel()
	db := open(t, "sqlite:"+filepath.Join(t.TempDir(), "state.db"))
	rows, err := db.Query(t.Context(), `INSERT INTO revision (topic, value) VALUES ('x', 1) RETURNING value`)
	if err == nil {
		rows.Next()
		err = errors.Join(rows.Err(), rows.Close())
	}
	if err == nil || !strings.Contains(err.Error(), "readonly") {
		t.Errorf("an insert through Query gives %v, want a readonly error", err)
	}
}

func TestOpenTightensAnOpenFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state.db")
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	open(t, "sqlite:"+path)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o600 {
		t.Errorf("mode = %04o, want 0600", got)
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	notADatabase := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(notADatabase, []byte(strings.Repeat("no database ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct{ dsn, want string }{
		{"", "write sqlite:FILE or postgres://"},
		{"mysql://root:hunter2@h/db", "write sqlite:FILE or postgres://"},
		{"sqlite:", "needs a file"},
		{"sqlite::memory:", "needs a file"},
		{"sqlite:" + notADatabase, "not a database"},
		{"sqlite:/dev/null/x/state.db", "not a directory"},
		{"postgres://u:hunter2@127.0.0.1:1/db?connect_timeout=2", "postgres: connect"},
		{"postgres://u:hunter2@127.0.0.1:1/db?sslmode=nonsense", "postgres"},
	}
	for _, tt := range tests {
		t.Run(tt.dsn, func(t *testing.T) {
			t.Parallel()
			db, err := Open(t.Context(), tt.dsn, quiet())
			if err == nil {
				db.Close()
				t.Fatalf("Open succeeded, want an error with %q", tt.want)
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %q, want one with %q", err, tt.want)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("error %q holds the password", err)
			}
		})
	}
}

func TestAnUnwritableDatabaseSaysWhatToDo(t *testing.T) {
	t.Parallel()
	const hint = "; the data directory must belong to the user who runs the gateway (data: in the configuration)"
	denied := &fs.PathError{Op: "mkdir", Path: "/d", Err: syscall.EACCES}
	if err := advise(denied); err.Error() != "mkdir /d: permission denied"+hint || !errors.Is(err, fs.ErrPermission) {
		t.Errorf("advise = %v", err)
	}
	if err := advise(errors.New("attempt to write a readonly database (8)")); !strings.HasSuffix(err.Error(), hint) {
		t.Errorf("advise = %v", err)
	}
	if err := advise(fs.ErrNotExist); err != fs.ErrNotExist {
		t.Errorf("advise = %v, want the error as it was", err)
	}
	if os.Geteuid() == 0 {
		return // root may write everywhere
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	if db, err := Open(t.Context(), "sqlite:"+filepath.Join(dir, "data", "state.db"), quiet()); err == nil {
		db.Close()
		t.Error("Open in a directory that cannot be written succeeded")
	} else if !strings.HasSuffix(err.Error(), hint) {
		t.Errorf("Open = %v, want the hint", err)
	}
}

func TestNewerSchemaIsRefusedAndLeftAlone(t *testing.T) {
	for name, dsn := range engines(t) {
		t.Run(name, func(t *testing.T) {
			db := open(t, dsn)
			if err := db.Update(t.Context(), func(tx *Tx) error {
				_, err := tx.Exec(t.Context(), `INSERT INTO `+versionTable+` (version_id, is_applied) VALUES (?, ?)`, 99999, true)
				return err
			}); err != nil {
				t.Fatal(err)
			}
			before := dump(t, db)
			_, err := Open(t.Context(), dsn, quiet())
			newer, ok := errors.AsType[*NewerError](err)
			if !ok {
				t.Fatalf("Open error %v, want a NewerError", err)
			}
			if newer.Have != 99999 || newer.Known < 1 {
				t.Errorf("NewerError = %+v, want version 99999 found", newer)
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("the refusal is more than a line: %q", err)
			}
			if after := dump(t, db); after != before {
				t.Errorf("the refused database changed:\n%s\nwas\n%s", after, before)
			}
		})
	}
}

// dump lists the tables and the applied versions.
func dump(t *testing.T, db *DB) string {
	t.Helper()
	query := `SELECT name FROM sqlite_master ORDER BY name`
	if db.Dialect() == Postgres {
		query = `SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema() ORDER BY 1`
	}
	var out []string
	for _, q := range []string{query, `SELECT CAST(version_id AS TEXT) FROM ` + versionTable + ` ORDER BY 1`} {
		rows, err := db.Query(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			var s string
			if err := rows.Scan(&s); err != nil {
				t.Fatal(err)
			}
			out = append(out, s)
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			t.Fatal(err)
		}
	}
	return strings.Join(out, "\n")
}

func TestOpenedTogetherMigratedOnce(t *testing.T) {
	for name, dsn := range engines(t) {
		t.Run(name, func(t *testing.T) {
			var wg sync.WaitGroup
			for range 8 {
				wg.Go(func() {
					db, err := Open(t.Context(), dsn, quiet())
					if err != nil {
						t.Errorf("Open: %v", err)
						return
					}
					if err := db.Close(); err != nil {
						t.Errorf("Close: %v", err)
					}
				})
			}
			wg.Wait()
			db := open(t, dsn)
			var n int
			if err := db.QueryRow(t.Context(), `SELECT count(*) FROM `+versionTable+` WHERE version_id = 1`).Scan(&n); err != nil {
				t.Fatal(err)
			}
			if n != 1 {
				t.Errorf("migration 1 was applied %d times, want once", n)
			}
		})
	}
}

func TestUpdateRollsBackAndRevisionsRise(t *testing.T) {
	for name, dsn := range engines(t) {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			db, other := open(t, dsn), open(t, dsn)
			boom := errors.New("boom")
			err := db.Update(ctx, func(tx *Tx) error {
				if err := tx.Bump(ctx, "a"); err != nil {
					return err
				}
				return boom
			})
			if !errors.Is(err, boom) {
				t.Errorf("Update error %v, want boom", err)
			}
			if got := revision(t, other, "a"); got != 0 {
				t.Errorf("revision after a roll back = %d, want 0", got)
			}
			// Writers of two processes read and write in turn: each Bump counts.
			var wg sync.WaitGroup
			const each = 20
			for _, d := range []*DB{db, other} {
				for range each {
					wg.Go(func() {
						if err := d.Update(ctx, func(tx *Tx) error {
							var v int64
							if err := tx.QueryRow(ctx, `SELECT count(*) FROM revision WHERE topic = ?`, "a").Scan(&v); err != nil {
								return err
							}
							return tx.Bump(ctx, "a")
						}); err != nil {
							t.Errorf("Update: %v", err)
						}
					})
				}
			}
			wg.Wait()
			if got := revision(t, db, "a"); got != 2*each {
				t.Errorf("revision = %d, want %d", got, 2*each)
			}
			if got := revision(t, db, "b"); got != 0 {
				t.Errorf("revision of another topic = %d, want 0", got)
			}
		})
	}
}

func revision(t *testing.T, db *DB, topic string) int64 {
	t.Helper()
	v, err := db.Revision(context.WithoutCancel(t.Context()), topic)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestStateOutlivesTheProcess(t *testing.T) {
	t.Parallel()
	dsn := "sqlite:" + filepath.Join(t.TempDir(), "state.db")
	db := open(t, dsn)
	if err := db.Update(t.Context(), func(tx *Tx) error { return tx.Bump(t.Context(), "a") }); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if got := revision(t, open(t, dsn), "a"); got != 1 {
		t.Errorf("revision after opening again = %d, want 1", got)
	}
}

func TestRebind(t *testing.T) {
	t.Parallel()
	tests := []struct{ in, want string }{
		{`SELECT 1`, `SELECT 1`},
		{`a = ? AND b = ?`, `a = $1 AND b = $2`},
		{`a = '?' AND b = ? AND c = "?"`, `a = '?' AND b = $1 AND c = "?"`},
		{`a = 'it''s ?' OR b = ?`, `a = 'it''s ?' OR b = $1`},
	}
	pg, lite := &DB{dialect: Postgres}, &DB{dialect: SQLite}
	for _, tt := range tests {
		if got := pg.Rebind(tt.in); got != tt.want {
			t.Errorf("Rebind(%q) = %q, want %q", tt.in, got, tt.want)
		}
		if got := lite.Rebind(tt.in); got != tt.in {
			t.Errorf("Rebind(%q) for SQLite = %q, want it unchanged", tt.in, got)
		}
	}
}
