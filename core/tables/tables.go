// Package tables puts the rows that the gateway produces into Delta tables. It
// owns the ledger, to which every row goes first, and the tables, to which
// they follow in micro-batches. The one rule it keeps is that a row which was
// acknowledged is in its table exactly once, whatever happens to the process.
//
// # Rows
//
// Open gives a [Set]. A row is a record of the ledger whose payload begins with
// [Header]: written by [Set.Append], or by the Settle of a call in [Set.Log].
// What the bytes behind the header mean, the table's [Kind] says. Rows are
// committed when they have waited for Config.FlushAfter, when there are
// Config.FlushBytes of them, and when somebody is about to read the table and
// calls [Set.Fresh].
//
// # Exactly once
//
// Each commit carries the sequence of its last row, as the version of a Delta
// transaction whose application is the UUID in the ledger's directory and the
// table's id. So a table itself says how far it is, and a restart passes over
// what it has. The ledger is trimmed up to where every table is. A new ledger
// has a new UUID. A ledger that was restored from an older copy goes on above
// what the tables have.
//
// # Failures
//
// A table that takes no rows, for a full disk or a missing directory, is tried
// again with back-off. Its rows wait in the ledger, and other tables go on.
// [Set.Health] says which and why, in words without paths; the log has the
// paths, once for each change. A directory that was deleted is not made again
// before the next start. A row that no table will ever take, because nobody
// can decode it or there is no such table, goes to dead/letters.jsonl in the
// ledger's directory, so that nothing is tried for ever.
//
// # Housekeeping
//
// [Set.Housekeep], also by itself once an hour, compacts the tables, deletes
// rows that are older than their table's retention, and vacuums. It runs under
// a lease in the state database, as gateways may share the tables. While the
// clock is in doubt nothing is deleted.
package tables

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/sallyport-gateway/sallyport/core/delta"
)

// Kind is what the rows of a table are.
type Kind struct {
	// Name is kept in the table as its property sallyport.kind, such as "usage".
	Name string
	// Version is that of Schema, kept as sallyport.schemaVersion. A table of a
	// newer one is refused, one of an older one gets the columns it lacks.
	Version int
	// Schema may gain columns at its end, and structs fields at theirs, with a
	// higher Version. Nothing else may change.
	Schema delta.Schema
	// Partition is the columns that the table's files are grouped by.
	Partition []string
	// Bulk is the columns of large texts, by which nobody looks for rows. No
	// statistics are kept of them: they would be as large as the texts.
	Bulk []string
	// TimeColumn is the timestamp or date that Definition.Retention goes by; ""
	// for none.
	TimeColumn string
	// Decode gives the row in the body of a record, as [delta.Writer] takes it.
	// The row may share the body's memory. An error makes it a dead letter.
	Decode func(body []byte) (row any, err error)
}

// Definition is a table that the gateway writes.
type Definition struct {
	Name    string // catalog.schema.table
	Comment string
	Kind    *Kind
	// Retention is how old a row may become, in whole days; 0 is for ever.
	Retention time.Duration
}

// Days is how long rows are kept, by kind. 0 is the default and -1 for ever.
type Days struct {
	Usage    int `yaml:"usage"`    // 365
	Payloads int `yaml:"payloads"` // 30
}

// Config is the section tables of the configuration.
type Config struct {
	// FlushAfter is the longest that a row waits for its commit, unless somebody
	// reads the table; 0 means 30 s.
	FlushAfter time.Duration `yaml:"flush_after"`
	// FlushBytes is how many bytes of rows may wait, of all tables together; 0
	// means 64 MiB.
	FlushBytes int64 `yaml:"flush_bytes"`
	// CompactEvery is how often housekeeping runs; 0 means 1 h.
	CompactEvery time.Duration `yaml:"compact_every"`
	// RetentionDays is how long rows are kept.
	RetentionDays Days `yaml:"retention_days"`
	// LogBytes is the most that the ledger may take on the disk; 0 means 1 GiB.
	// Rows that no table takes stay in it, and when it is full model calls are
	// refused.
	LogBytes int64 `yaml:"log_bytes"`
	// SyncWithin is how soon a row is flushed to the disk; 0 means 5 ms.
	SyncWithin time.Duration `yaml:"sync_within"`

	// Quarantine lets Open go on when a segment of the ledger is damaged; see
	// ledger.Config.
	Quarantine bool `yaml:"-"`
	// SegmentBytes is how large a segment of the ledger grows; 0 means 16 MiB.
	// With small ones LogBytes may be as little as four of them: room for small
	// rows only.
	SegmentBytes int64 `yaml:"-"`
	// FullWait is how long an append waits for room in a full ledger; 0 means
	// 5 s, less than 0 not at all.
	FullWait time.Duration `yaml:"-"`
	// Kinds are those of tables that no Definition names any more: what the
	// ledger still holds for them is written while their directory exists.
	Kinds []*Kind `yaml:"-"`

	now     func() time.Time     // nil: time.Now
	elapsed func() time.Duration // by a clock that nobody sets; nil: the system's
}

// Dirs is where the rows lie.
type Dirs struct {
	Log    string // the ledger's directory
	Tables string // each table is in catalog/schema/table below it
}

// minLogBytes is room for the largest payload rows.
const minLogBytes = 64 << 20

// Validate says what is wrong with c.
func (c Config) Validate() error {
	var errs []error
	check := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(c.FlushAfter < 0 || c.FlushAfter > time.Hour, "flush_after: %v is not between 0 and 1h", c.FlushAfter)
	check(c.FlushBytes < 0, "flush_bytes: %d is below 0", c.FlushBytes)
	check(c.CompactEvery < 0 || c.CompactEvery > 0 && c.CompactEvery < time.Second, "compact_every: %v is less than 1s", c.CompactEvery)
	check(c.RetentionDays.Usage < -1, "retention_days.usage: %d; write a number of days, or -1 for ever", c.RetentionDays.Usage)
	check(c.RetentionDays.Payloads < -1, "retention_days.payloads: %d; write a number of days, or -1 for ever", c.RetentionDays.Payloads)
	check(c.LogBytes != 0 && c.LogBytes < minLogBytes && c.SegmentBytes == 0, "log_bytes: %d is less than %d", c.LogBytes, minLogBytes)
	check(c.SyncWithin > time.Minute, "sync_within: %v is more than 1m", c.SyncWithin)
	return errors.Join(errs...)
}

// WithDefaults is c with the default in the place of each zero.
func (c Config) WithDefaults() Config {
	c.RetentionDays.Usage = cmp.Or(c.RetentionDays.Usage, 365)
	c.RetentionDays.Payloads = cmp.Or(c.RetentionDays.Payloads, 30)
	c.SyncWithin = cmp.Or(c.SyncWithin, 5*time.Millisecond)
	c.FlushAfter = cmp.Or(c.FlushAfter, 30*time.Second)
	c.FlushBytes = cmp.Or(c.FlushBytes, 64<<20)
	c.CompactEvery = cmp.Or(c.CompactEvery, time.Hour)
	c.LogBytes = cmp.Or(c.LogBytes, 1<<30)
	c.FlushBytes = min(c.FlushBytes, c.LogBytes/8) // the ledger holds what waits
	return c
}

// maxRecord is the largest row: a payload row may have 10 MiB of request and
// as much of response.
const maxRecord = 32 << 20

// Retention is how long rows of the kind of that name are kept, 0 for ever:
// what a Definition says of its table.
func (c Config) Retention(kind string) time.Duration {
	days := 0
	switch c = c.WithDefaults(); kind {
	case "usage":
		days = c.RetentionDays.Usage
	case "payload":
		days = c.RetentionDays.Payloads
	}
	return time.Duration(max(days, 0)) * 24 * time.Hour
}
