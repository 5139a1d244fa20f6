package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// clock is the time in Unix milliseconds as SQL. On Postgres it is the
// server's: the gateways that share it may disagree about the time.
func (db *DB) clock() string {
	if db.dialect == Postgres {
		return `(CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT))`
	}
	return `(CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER))`
}

// Lease takes the lease called name for d, or prolongs it when owner has it
// already. It is false while another owner has it. A lease that ran out
// belongs to whoever takes it next, so the work must bear two workers for a
// moment.
func (db *DB) Lease(ctx context.Context, name, owner string, d time.Duration) (bool, error) {
	var n int64
	err := db.Update(ctx, func(tx *Tx) (err error) {
		n, err = tx.Exec(ctx, `INSERT INTO lease (name, owner, until) VALUES (?, ?, `+db.clock()+` + ?)
			ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, until = excluded.until
			WHERE lease.owner = excluded.owner OR lease.until <= `+db.clock(), name, owner, d.Milliseconds())
		return err
	})
	if err != nil {
		return false, fmt.Errorf("state database: lease %s: %w", name, err)
	}
	return n == 1, nil
}

// Release gives the lease back if owner has it.
func (db *DB) Release(ctx context.Context, name, owner string) error {
	err := db.Update(ctx, func(tx *Tx) error {
		_, err := tx.Exec(ctx, `DELETE FROM lease WHERE name = ? AND owner = ?`, name, owner)
		return err
	})
	if err != nil {
		return fmt.Errorf("state database: lease %s: %w", name, err)
	}
	return nil
}

// LastDone is when the housekeeping called name was last done, by the clock of
// who did it; ok is false when it never was.
func (db *DB) LastDone(ctx context.Context, name string) (last time.Time, ok bool, err error) {
	var ms int64
	err = db.QueryRow(ctx, `SELECT last FROM housekeeping WHERE name = ?`, name).Scan(&ms)
	if errors.Is(err, sql.ErrNoRows) {
		return time.Time{}, false, nil
	}
	if err != nil {
		return time.Time{}, false, fmt.Errorf("state database: housekeeping of %s: %w", name, err)
	}
	return time.UnixMilli(ms), true, nil
}

// SetLastDone notes that the housekeeping called name was done at that time.
func (db *DB) SetLastDone(ctx context.Context, name string, at time.Time) error {
	err := db.Update(ctx, func(tx *Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO housekeeping (name, last) VALUES (?, ?)
			ON CONFLICT (name) DO UPDATE SET last = excluded.last`, name, at.UnixMilli())
		return err
	})
	if err != nil {
		return fmt.Errorf("state database: housekeeping of %s: %w", name, err)
	}
	return nil
}
