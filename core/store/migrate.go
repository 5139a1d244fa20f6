package store

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"log/slog"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

// The migrations are numbered in one sequence and written in the SQL that both
// engines share. One that was released is never edited.
//
//go:embed migrations/*.sql
var migrations embed.FS

// versionTable is where goose notes what was applied.
const versionTable = "schema_version"

// NewerError reports a database whose schema a newer version of the program
// has written.
type NewerError struct{ Have, Known int64 }

func (e *NewerError) Error() string {
	return fmt.Sprintf("its schema has version %d and this program knows up to %d: "+
		"start the newer program again, or restore the backup from before the upgrade; nothing was changed", e.Have, e.Known)
}

// migrate applies what is missing, each migration in a transaction.
func (db *DB) migrate(ctx context.Context, log *slog.Logger) error {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	opts := []goose.ProviderOption{
		goose.WithTableName(versionTable),
		goose.WithDisableGlobalRegistry(true),
		goose.WithLogger(goose.NopLogger()),
	}
	dialect := goose.DialectSQLite3
	if db.dialect == Postgres {
		// Replicas that start together queue here. SQLite needs no lock:
		// its writer takes the file's.
		locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 120))
		if err != nil {
			return fmt.Errorf("migrate: %w", err)
		}
		dialect, opts = goose.DialectPostgres, append(opts, goose.WithSessionLocker(locker))
	}
	p, err := goose.NewProvider(dialect, db.w, files, opts...)
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	have, known, err := db.versions(ctx, p)
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	if have > known {
		return &NewerError{Have: have, Known: known}
	}
	if have == known {
		return nil
	}
	var done []*goose.MigrationResult
	// On SQLite other processes may be at the same steps. Whoever comes second
	// at one fails and goes on from what the first has made: of the version
	// table and of every migration that can happen once.
	for range known + 2 {
		done, err = p.Up(ctx)
		if err == nil {
			break
		}
		have, _, verr := db.versions(ctx, p)
		if verr == nil && have == known {
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	for _, m := range done {
		log.Info("state database migrated", "version", m.Source.Version, "elapsed", m.Duration)
	}
	return nil
}

// versions reads the schema's version without creating anything, so that a
// refused database stays as it was.
func (db *DB) versions(ctx context.Context, p *goose.Provider) (have, known int64, err error) {
	for _, s := range p.ListSources() {
		known = max(known, s.Version)
	}
	exists := `SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = ?`
	if db.dialect == Postgres {
		exists = `SELECT count(*) FROM information_schema.tables WHERE table_schema = current_schema() AND table_name = ?`
	}
	var n int
	if err := db.w.QueryRowContext(ctx, db.Rebind(exists), versionTable).Scan(&n); err != nil {
		return 0, 0, err
	}
	if n == 0 {
		return 0, known, nil
	}
	err = db.w.QueryRowContext(ctx, `SELECT coalesce(max(version_id), 0) FROM `+versionTable).Scan(&have)
	return have, known, err
}
