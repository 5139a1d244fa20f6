// Package store opens the state database: SQLite in a file, or Postgres when
// configured. It owns the connection, the differences between the two, and
// the migrations; each package that keeps state owns its queries, written in
// the SQL that both engines share, with ? for parameters, times as integers
// (Unix milliseconds) and booleans as integers.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // driver "pgx"
	_ "modernc.org/sqlite"             // driver "sqlite"
)

// Dialect is one of the two engines.
type Dialect string

// The engines.
const (
	SQLite   Dialect = "sqlite"
	Postgres Dialect = "postgres"
)

// busyTimeout is how long a SQLite writer waits for another process, in
// milliseconds.
const busyTimeout = 5000

// postgresConns bounds the connections to Postgres, whose default limit of 100
// is shared by every replica.
const postgresConns = 16

// DB is an open state database. SQLite has one writer at a time whatever one
// does; so there is one connection for writing, on which transactions queue in
// order instead of failing with BUSY, and several for reading, which WAL mode
// never blocks. On Postgres both are the same pool.
type DB struct {
	dialect Dialect
	w, r    *sql.DB
}

// Open opens the database dsn names and brings its schema up to date:
//
//	sqlite:FILE            made 0600, its directory 0700 when it has to be made
//	postgres://user@host/db?sslmode=…
//
// A database written by a newer version of the program is refused and left
// unchanged. Close the DB.
func Open(ctx context.Context, dsn string, log *slog.Logger) (*DB, error) {
	var (
		db  *DB
		err error
	)
	switch file, isFile := strings.CutPrefix(dsn, "sqlite:"); {
	case isFile:
		if err = refuseNewer(ctx, dsn); err == nil {
			db, err = openSQLite(file)
		}
	case strings.HasPrefix(dsn, "postgres://"), strings.HasPrefix(dsn, "postgresql://"):
		db, err = openPostgres(ctx, dsn)
	default:
		// The text may hold a password, so it is not quoted.
		return nil, errors.New("state database: write sqlite:FILE or postgres://USER@HOST/DATABASE")
	}
	if err != nil {
		return nil, fmt.Errorf("state database: %w", advise(err))
	}
	if err := db.migrate(ctx, log); err != nil {
		return nil, errors.Join(fmt.Errorf("state database: %w", advise(err)), db.Close())
	}
	return db, nil
}

// advise adds what to do when the operating system forbids the file, or SQLite
// says that it cannot write.
func advise(err error) error {
	if errors.Is(err, fs.ErrPermission) || strings.Contains(err.Error(), "readonly database") {
		return fmt.Errorf("%w; the data directory must belong to the user who runs the gateway (data: in the configuration)", err)
	}
	return err
}

func openSQLite(file string) (*DB, error) {
	if file == "" || strings.HasPrefix(file, ":memory:") {
		return nil, errors.New("sqlite: needs a file: state must outlive the process")
	}
	path, err := filepath.Abs(file)
	if err != nil {
		return nil, fmt.Errorf("sqlite %s: %w", file, err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("sqlite: %w", err)
	}
	// Made here, so that it never exists with the umask's mode. SQLite gives
	// the -wal and -shm files the mode of the database.
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("sqlite: %w", err)
	}
	if err := errors.Join(f.Chmod(0o600), f.Close()); err != nil {
		return nil, fmt.Errorf("sqlite: %w", err)
	}
	w, err := sql.Open("sqlite", sqliteDSN(path, false))
	if err != nil {
		return nil, fmt.Errorf("sqlite %s: %w", path, err)
	}
	w.SetMaxOpenConns(1)
	r, err := sql.Open("sqlite", sqliteDSN(path, true))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("sqlite %s: %w", path, err), w.Close())
	}
	r.SetMaxOpenConns(max(4, runtime.GOMAXPROCS(0)))
	r.SetMaxIdleConns(max(4, runtime.GOMAXPROCS(0)))
	return &DB{dialect: SQLite, w: w, r: r}, nil
}

// sqliteDSN is a file: URI, in which ? # and % of the path are escaped.
// Transactions of the writer take the lock at once: one that reads first and
// upgrades later fails with BUSY whatever the timeout is.
func sqliteDSN(path string, readOnly bool) string {
	q := url.Values{}
	q.Add("_pragma", fmt.Sprintf("busy_timeout(%d)", busyTimeout))
	if readOnly {
		q.Add("_pragma", "query_only(1)")
	} else {
		q.Add("_pragma", "journal_mode(WAL)")
		q.Add("_pragma", "synchronous(FULL)")
		q.Add("_pragma", "foreign_keys(1)")
		q.Set("_txlock", "immediate")
	}
	return (&url.URL{Scheme: "file", Path: path, RawQuery: q.Encode()}).String()
}

func openPostgres(ctx context.Context, dsn string) (*DB, error) {
	db, err := sql.Open("pgx", dsn)
	if err != nil {
		return nil, errors.New("postgres: the URL cannot be read") // the driver's own message may quote it
	}
	db.SetMaxOpenConns(postgresConns)
	db.SetMaxIdleConns(postgresConns / 2)
	db.SetConnMaxIdleTime(5 * time.Minute)
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := db.PingContext(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("postgres: connect: %w", hidePassword(err, dsn)), db.Close())
	}
	return &DB{dialect: Postgres, w: db, r: db}, nil
}

// hidePassword keeps the password of dsn out of an error's text. pgx masks it
// already; this holds whatever a later version does.
func hidePassword(err error, dsn string) error {
	u, perr := url.Parse(dsn)
	if perr != nil {
		return errors.New("the URL cannot be read")
	}
	pw, ok := u.User.Password()
	if !ok || pw == "" {
		return err
	}
	if text := err.Error(); strings.Contains(text, pw) || strings.Contains(text, url.QueryEscape(pw)) {
		return errors.New("the server refused the connection")
	}
	return err
}

// Dialect says which engine this is.
func (db *DB) Dialect() Dialect { return db.dialect }

// Close closes every connection, after the queries that are running.
func (db *DB) Close() error {
	if db.r == db.w {
		return db.w.Close()
	}
	return errors.Join(db.r.Close(), db.w.Close())
}

// Query reads. On SQLite it cannot write.
func (db *DB) Query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return db.r.QueryContext(ctx, db.Rebind(query), args...)
}

// QueryRow reads one row. On SQLite it cannot write.
func (db *DB) QueryRow(ctx context.Context, query string, args ...any) *sql.Row {
	return db.r.QueryRowContext(ctx, db.Rebind(query), args...)
}

// Update runs f in one transaction for writing and commits it if f returns
// nil. On SQLite one runs at a time in this process, and others of other
// processes are waited for. f must not keep tx.
func (db *DB) Update(ctx context.Context, f func(tx *Tx) error) error {
	tx, err := db.w.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("state database: begin: %w", err)
	}
	defer tx.Rollback() //nolint:errcheck // after Commit there is nothing to roll back
	if err := f(&Tx{tx: tx, db: db}); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("state database: commit: %w", err)
	}
	return nil
}

// Tx is a transaction for writing.
type Tx struct {
	tx *sql.Tx
	db *DB
}

// Exec runs one statement and returns the number of rows it changed.
func (t *Tx) Exec(ctx context.Context, query string, args ...any) (int64, error) {
	res, err := t.tx.ExecContext(ctx, t.db.Rebind(query), args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// Query reads within the transaction.
func (t *Tx) Query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return t.tx.QueryContext(ctx, t.db.Rebind(query), args...)
}

// QueryRow reads one row within the transaction.
func (t *Tx) QueryRow(ctx context.Context, query string, args ...any) *sql.Row {
	return t.tx.QueryRowContext(ctx, t.db.Rebind(query), args...)
}

// Bump raises the revision of topic, which tells other processes at the same
// database that something about it changed. It commits with t.
func (t *Tx) Bump(ctx context.Context, topic string) error {
	_, err := t.Exec(ctx, `INSERT INTO revision (topic, value) VALUES (?, 1)
		ON CONFLICT (topic) DO UPDATE SET value = revision.value + 1`, topic)
	if err != nil {
		return fmt.Errorf("state database: revision of %s: %w", topic, err)
	}
	return nil
}

// Revision returns the revision of topic: 0 until the first Bump, and higher
// after each.
func (db *DB) Revision(ctx context.Context, topic string) (int64, error) {
	var v int64
	err := db.QueryRow(ctx, `SELECT value FROM revision WHERE topic = ?`, topic).Scan(&v)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("state database: revision of %s: %w", topic, err)
	}
	return v, nil
}

// Rebind turns each ? outside quotes into the engine's own placeholder.
func (db *DB) Rebind(query string) string {
	if db.dialect != Postgres || !strings.Contains(query, "?") {
		return query
	}
	return numbered(query)
}

func numbered(query string) string {
	var b strings.Builder
	b.Grow(len(query) + 16)
	n, quote := 0, byte(0)
	for i := range len(query) {
		c := query[i]
		switch {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '\'' || c == '"':
			quote = c
		case c == '?':
			n++
			fmt.Fprintf(&b, "$%d", n)
			continue
		}
		b.WriteByte(c)
	}
	return b.String()
}
