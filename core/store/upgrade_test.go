package store

import (
	"bufio"
	"context"
	"crypto/sha256"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"
)

// The test binary runs itself as another process, which opens the databases
// that it is given, one after the other, until it is killed.
const envOpen = "STORE_TEST_OPEN"

func TestMain(m *testing.M) {
	dir := os.Getenv(envOpen)
	if dir == "" {
		os.Exit(m.Run())
	}
	sqlite.MustRegisterScalarFunction("die", 0, func(*sqlite.FunctionContext, []driver.Value) (driver.Value, error) {
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // not another instruction
	})
	for i := range copies {
		db, err := Open(context.Background(), "sqlite:"+copyName(dir, i), quiet())
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		db.Close()
		fmt.Println("opened", i)
	}
}

// copies is how many databases a child opens; every other one is new.
const copies = 16

func copyName(dir string, i int) string { return filepath.Join(dir, fmt.Sprintf("%d.db", i)) }

// makeOld makes a database of schema version 1 with a row in each table.
func makeOld(t *testing.T, path string) {
	t.Helper()
	db, err := openSQLite(path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		t.Fatal(err)
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, db.w, files, goose.WithTableName(versionTable), goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.UpTo(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	for _, q := range []string{
		`INSERT INTO revision (topic, value) VALUES ('kept', 7)`,
		`INSERT INTO token (id, hash, kind, principal, comment, scopes, created, expires, last_used) VALUES ('t1', 'h1', 'k', 'alice', '', '', 1, 2, 3)`,
	} {
		if _, err := db.w.ExecContext(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
}

// keptOld opens the database, which brings it up to date, and fails the test
// unless the rows of makeOld are in it.
func keptOld(t *testing.T, path string) {
	t.Helper()
	db, err := Open(t.Context(), "sqlite:"+path, quiet())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if v, err := db.Revision(t.Context(), "kept"); v != 7 || err != nil {
		t.Errorf("the revision is %d, %v, want 7", v, err)
	}
	var who string
	if err := db.QueryRow(t.Context(), `SELECT principal FROM token WHERE id = 't1' AND hash = 'h1' AND last_used = 3`).Scan(&who); who != "alice" {
		t.Errorf("the token's principal is %q, %v, want alice", who, err)
	}
	upToDate(t, path)
}

// upToDate fails the test unless every migration was applied once.
func upToDate(t *testing.T, path string) {
	t.Helper()
	known, err := knownVersion()
	if err != nil {
		t.Fatal(err)
	}
	db := raw(t, path)
	defer db.Close()
	var n, distinct int64
	if err := db.QueryRow(`SELECT count(*), count(DISTINCT version_id) FROM `+versionTable+` WHERE version_id > 0`).Scan(&n, &distinct); err != nil {
		t.Fatal(err)
	}
	if n != known || distinct != known {
		t.Errorf("%d migrations are noted, %d different ones, want %d", n, distinct, known)
	}
	var found string
	if err := db.QueryRow(`SELECT name FROM sqlite_master WHERE name = 'lease'`).Scan(&found); err != nil {
		t.Errorf("the table of migration 2: %v", err)
	}
}

func raw(t *testing.T, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", sqliteDSN(path, false))
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func TestAnOlderSchemaIsMigratedAndKeepsItsRows(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state.db")
	makeOld(t, path)
	if v, err := Inspect(t.Context(), path); v != 1 || err != nil {
		t.Fatalf("before: schema %d, %v, want 1", v, err)
	}
	keptOld(t, path)
	keptOld(t, path)
	known, err := knownVersion()
	if v, ierr := Inspect(t.Context(), path); v != known || err != nil || ierr != nil {
		t.Errorf("after: schema %d, %v, %v, want %d", v, err, ierr, known)
	}
}

// contents hashes the files of dir. SQLite's -shm holds no data.
func contents(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), "-shm") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%s %v %x\n", e.Name(), info.Mode(), sha256.Sum256(text))
	}
	return b.String()
}

// A newer database is refused without a byte of it changed, also when the
// newer program was killed and what it wrote last is in the -wal file.
func TestANewerFileIsUnchanged(t *testing.T) {
	t.Parallel()
	for _, killed := range []bool{false, true} {
		t.Run(fmt.Sprintf("killed=%v", killed), func(t *testing.T) {
			t.Parallel()
			from, dir := t.TempDir(), t.TempDir()
			db, err := Open(t.Context(), "sqlite:"+filepath.Join(from, "state.db"), quiet())
			if err != nil {
				t.Fatal(err)
			}
			if err := db.Update(t.Context(), func(tx *Tx) error {
				_, err := tx.Exec(t.Context(), `INSERT INTO `+versionTable+` (version_id, is_applied) VALUES (?, ?)`, 99999, true)
				return err
			}); err != nil {
				t.Fatal(err)
			}
			names := []string{"state.db", "state.db-wal"}
			if !killed {
				names = names[:1]
				if err := db.Close(); err != nil {
					t.Fatal(err)
				}
			}
			for _, name := range names {
				text, err := os.ReadFile(filepath.Join(from, name))
				if err == nil {
					err = os.WriteFile(filepath.Join(dir, name), text, 0o644)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			if killed {
				if err := db.Close(); err != nil {
					t.Fatal(err)
				}
			}
			before := contents(t, dir)
			_, err = Open(t.Context(), "sqlite:"+filepath.Join(dir, "state.db"), quiet())
			if newer, ok := errors.AsType[*NewerError](err); !ok || newer.Have != 99999 || strings.Contains(err.Error(), "\n") {
				t.Errorf("Open error %v, want one line about version 99999", err)
			}
			if after := contents(t, dir); after != before {
				t.Errorf("the files changed:\n%swere\n%s", after, before)
			}
		})
	}
}

// openInChild runs a child over dir and gives each line that it says to say, until it
// ends.
func openInChild(t *testing.T, dir string, say func(p *os.Process, line string)) error {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), envOpen+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		say(cmd.Process, lines.Text())
	}
	return cmd.Wait()
}

func killed(err error) bool {
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		return false
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// The process dies inside the transaction of a migration: when its tables have
// been made, before and after its version is noted.
func TestKilledInsideAMigration(t *testing.T) {
	t.Parallel()
	for _, when := range []string{"BEFORE", "AFTER"} {
		t.Run(when, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			path := copyName(dir, 0)
			makeOld(t, path)
			db := raw(t, path)
			if _, err := db.Exec(`CREATE TRIGGER last_moment ` + when + ` INSERT ON ` + versionTable + ` BEGIN SELECT die(); END`); err != nil {
				t.Fatal(err)
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			err := openInChild(t, dir, func(_ *os.Process, line string) { t.Errorf("the child said %q", line) })
			if !killed(err) {
				t.Fatalf("the child ended with %v, want killed", err)
			}
			db = raw(t, path)
			var found string
			if err := db.QueryRow(`SELECT name FROM sqlite_master WHERE name = 'lease'`).Scan(&found); !errors.Is(err, sql.ErrNoRows) {
				t.Errorf("half of the migration is there: %q, %v", found, err)
			}
			if _, err := db.Exec(`DROP TRIGGER last_moment`); err != nil {
				t.Fatal(err)
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			keptOld(t, path)
		})
	}
}

// The process dies at any moment while it makes and migrates databases.
func TestKilledWhileMigrating(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(4, 2))
	for range 2 {
		after, wait := random.IntN(copies-2), time.Duration(random.IntN(20_000))*time.Microsecond
		dir := t.TempDir()
		for i := 0; i < copies; i += 2 {
			makeOld(t, copyName(dir, i))
		}
		err := openInChild(t, dir, func(p *os.Process, line string) {
			if line == fmt.Sprintf("opened %d", after) {
				time.Sleep(wait)
				p.Kill()
			}
		})
		if err != nil && !killed(err) {
			t.Fatalf("the child ended with %v", err)
		}
		for i := range copies {
			if i%2 == 0 {
				keptOld(t, copyName(dir, i))
				continue
			}
			db, err := Open(t.Context(), "sqlite:"+copyName(dir, i), quiet())
			if err != nil {
				t.Errorf("killed after %d and %v: database %d: %v", after, wait, i, err)
				continue
			}
			if err := db.Close(); err != nil {
				t.Error(err)
			}
			upToDate(t, copyName(dir, i))
		}
	}
}
