package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// Snapshot writes a consistent copy of the SQLite database that dsn names to
// file, mode 0600, which must not exist. The database stays as it is and may be
// in use; its schema may be of any version. The error wraps fs.ErrNotExist when
// there is no database, and is ErrNotSQLite for another engine.
func Snapshot(ctx context.Context, dsn, file string) error {
	path, err := sqliteFile(dsn)
	if err != nil {
		return err
	}
	if _, err := os.Lstat(file); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("state database: copy to %s: %w", file, errors.Join(fs.ErrExist, err))
	}
	// Made here, so that it never exists with the umask's mode: SQLite takes
	// an empty file for a new database.
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("state database: copy: %w", err)
	}
	f.Close()
	db, err := sql.Open("sqlite", readDSN(path, false))
	if err != nil {
		return fmt.Errorf("state database: %w", err)
	}
	defer db.Close()
	if _, err := db.ExecContext(ctx, `VACUUM INTO ?`, file); err != nil {
		if e, ok := errors.AsType[*sqlite.Error](err); ok && e.Code()&0xff == sqlite3.SQLITE_FULL {
			err = fmt.Errorf("%w: %w", err, syscall.ENOSPC)
		}
		return fmt.Errorf("state database: copy %s: %w", path, advise(err))
	}
	return nil
}

// ErrNotSQLite says that a database is on a server, which has tools of its own
// for copies.
var ErrNotSQLite = errors.New("state database is not a SQLite file")

// Inspect checks the SQLite database in file, which nobody may have open, and
// returns the version of its schema: 0 before the first migration. It changes
// nothing. The error is a *NewerError when a newer program has written it.
func Inspect(ctx context.Context, file string) (schema int64, err error) {
	path, err := sqliteFile("sqlite:" + file)
	if err != nil {
		return 0, err
	}
	db, err := sql.Open("sqlite", readDSN(path, true))
	if err != nil {
		return 0, fmt.Errorf("state database: %w", err)
	}
	defer db.Close()
	rows, err := db.QueryContext(ctx, `PRAGMA integrity_check(3)`)
	if err != nil {
		return 0, fmt.Errorf("state database %s: %w", file, err)
	}
	defer rows.Close()
	var faults []string
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			return 0, fmt.Errorf("state database %s: %w", file, err)
		}
		if s != "ok" {
			faults = append(faults, s)
		}
	}
	if err := rows.Err(); err != nil {
		return 0, fmt.Errorf("state database %s: %w", file, err)
	}
	if len(faults) > 0 {
		return 0, fmt.Errorf("state database %s is damaged: %s", file, strings.Join(faults, "; "))
	}
	if schema, err = schemaVersion(ctx, db); err != nil {
		return 0, fmt.Errorf("state database %s: %w", file, err)
	}
	if known, err := knownVersion(); err != nil || schema > known {
		return schema, errors.Join(err, fmt.Errorf("state database %s: %w", file, &NewerError{Have: schema, Known: known}))
	}
	return schema, nil
}

// refuseNewer returns a *NewerError when a newer program has written the
// database, which it only reads: a connection that writes would, at its end,
// fold what a killed program left in the -wal file into the database. What else
// may be wrong is found by who opens it.
func refuseNewer(ctx context.Context, dsn string) error {
	path, err := sqliteFile(dsn)
	if err != nil {
		return nil
	}
	// Without a -wal file nobody has it open, and reading needs none either.
	wal, err := os.Stat(path + "-wal")
	db, err := sql.Open("sqlite", readDSN(path, err != nil || wal.Size() == 0))
	if err != nil {
		return nil
	}
	defer db.Close()
	known, err := knownVersion()
	if err != nil {
		return err
	}
	if have, err := schemaVersion(ctx, db); err == nil && have > known {
		return &NewerError{Have: have, Known: known}
	}
	return nil
}

// schemaVersion reads the version of a SQLite database's schema, 0 when there
// is none, without creating anything.
func schemaVersion(ctx context.Context, db *sql.DB) (v int64, err error) {
	var n int
	if err := db.QueryRowContext(ctx, `SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = ?`, versionTable).Scan(&n); err != nil || n == 0 {
		return 0, err
	}
	err = db.QueryRowContext(ctx, `SELECT coalesce(max(version_id), 0) FROM `+versionTable).Scan(&v)
	return v, err
}

// knownVersion is the newest version of the schema that this program knows.
func knownVersion() (known int64, err error) {
	names, err := fs.Glob(migrations, "migrations/*.sql")
	for _, name := range names {
		v, verr := goose.NumericComponent(name)
		known, err = max(known, v), errors.Join(err, verr)
	}
	return known, err
}

// sqliteFile is the absolute path of the database that dsn names.
func sqliteFile(dsn string) (string, error) {
	file, ok := strings.CutPrefix(dsn, "sqlite:")
	if !ok {
		return "", ErrNotSQLite
	}
	path, err := filepath.Abs(file)
	if err != nil {
		return "", fmt.Errorf("state database %s: %w", file, err)
	}
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("state database: %w", err)
	}
	return path, nil
}

// readDSN opens a file that is there for reading alone; one that nobody
// changes meanwhile also without the files that SQLite puts beside it.
func readDSN(path string, immutable bool) string {
	q := url.Values{"mode": {"ro"}}
	q.Add("_pragma", fmt.Sprintf("busy_timeout(%d)", busyTimeout))
	if immutable {
		q.Set("immutable", "1")
	}
	return (&url.URL{Scheme: "file", Path: path, RawQuery: q.Encode()}).String()
}
