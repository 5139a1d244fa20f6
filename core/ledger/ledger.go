// Package ledger is the append log on disk through which no usage row and no
// acknowledged telemetry row is lost. It keeps one rule: a record is there
// exactly once or was never acknowledged, whatever happens to the process.
//
// A gateway opens one [Log] for a directory:
//
//	l, err := ledger.Open(ledger.Config{Dir: "/var/lib/sallyport/ledger"})
//
// # Writing
//
// A call to a model is two records with one id, Start before it is sent
// upstream and Settle before the last byte of the reply. A call that is
// settled, or was never started, cannot be settled: one call, one row.
//
//	_, err := l.Start(ctx, id, started) // not written: do not make the call
//	…
//	_, err = l.Settle(ctx, id, row)
//
// Any other record is a Row, with an id of the caller's choice, such as the
// table it is for:
//
//	seq, err := l.AppendSync(ctx, tableID, rows)
//
// When Start, Settle and Append return, the record is with the kernel: it
// survives the death of the process (kill -9). It survives a power cut after
// the next fsync, which many records share and which begins within
// [Config.SyncWithin]. Who must not answer before that uses AppendSync, or
// Sync with the sequence that the others returned.
//
// # After a crash
//
// Open cuts what a crash left half-written, and Unsettled then gives every
// call that an earlier process started and did not settle. Settle each of
// them with a row that says so:
//
//	for call, err := range l.Unsettled() {
//		…
//		_, err = l.Settle(ctx, call.ID, interrupted(call.Payload))
//	}
//
// # Reading
//
// A consumer reads in order from the record after the last one it has kept,
// puts records into its table in batches, stores the sequence of the last one
// in the same transaction, and then says what is no longer needed:
//
//	for rec, err := range l.Read(ctx, position+1) { … } // follows the end
//	for rec, err := range l.Replay(position+1) { … }    // what is there now
//	err := l.Trim(ctx, position)
//
// A reader sees only what has been synced, so that a position in a table is
// never ahead of the log after a power cut. The position of each consumer
// lives in its table, not here; with several consumers, Trim takes the
// smallest. Give Open the largest as [Config.After]: should the directory
// ever be lost, sequences still go on above it.
//
// # Limits and failures
//
// The log takes at most [Config.MaxBytes]. When it is full, appends wait for
// Trim, and after [Config.FullWait] fail with [ErrFull]; the last eighth is
// kept for Settle, so that calls that were let in can end. A full disk, a
// file system that turned read-only, a deleted directory are a [*DiskError]
// from the append that met them; nothing of a failed append can be read later,
// and the log goes on by itself once the disk takes bytes again. [Log.Health]
// says how things are. After a failed fsync the kernel may have dropped the
// data: the log copies what was not synced into a new segment, and only if
// that fails too, whoever waits for the fsync gets the error.
//
// A fault in the middle of the log is a [*CorruptError] from Open. The way on
// is to restore the file, or [Config.Quarantine].
//
// No time is stored and none decides about order: clocks may jump.
//
// # On disk
//
// The directory (mode 0700) holds segments of [Config.SegmentBytes], each named
// after its first sequence in 20 digits and ".wal", and "lock", which the
// process that has the log open keeps locked. Beside them may lie ".corrupt":
// bytes that were set aside; nothing reads them again.
package ledger

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// Config says where a log is and how large it may become.
type Config struct {
	// Dir is the directory of the log, made with mode 0700 if need be. One
	// process at a time has it open. Required.
	Dir string
	// SegmentBytes is how large a segment grows before the next begins; 0 means
	// 16 MiB. Trim frees whole segments.
	SegmentBytes int64
	// MaxBytes is the most that all segments may take; 0 means 1 GiB. At least
	// four segments.
	MaxBytes int64
	// MaxRecord is the largest payload that an append takes; 0 means 16 MiB. At
	// most 64 MiB less 1 KiB.
	MaxRecord int
	// MaxOpen is how many calls may be open at once; 0 means 65,536. Each takes
	// some 150 bytes of memory.
	MaxOpen int
	// SyncWithin is how soon after an append its fsync begins, unless somebody
	// waits for it: then it begins at once. 0 means 5 ms; less than 0 makes
	// each append wait for its fsync. An fsync costs some 100 µs of processor
	// time, which matters where few records share one: with a trickle of records
	// 5 ms is 2 % of a core, 20 ms a quarter of that.
	SyncWithin time.Duration
	// FullWait is how long an append waits for space in a full log; 0 means
	// 5 s, less than 0 not at all.
	FullWait time.Duration
	// After is a sequence that the first new record must be above: the largest
	// position that any consumer has stored. 0 means none.
	After uint64
	// Quarantine lets Open go on when records in the middle of the log cannot
	// be read. The damaged segment is renamed to end in ".corrupt", the records
	// before the fault are kept, and Report says which were lost. Without it
	// Open returns a *CorruptError and changes nothing.
	Quarantine bool
	// Log hears of cut tails, damage and failing disks; nil means slog.Default.
	Log *slog.Logger
}

func (c Config) withDefaults() (Config, error) {
	if c.Dir == "" {
		return c, errors.New("ledger: no directory given")
	}
	if c.SegmentBytes == 0 {
		c.SegmentBytes = 16 << 20
	}
	if c.MaxBytes == 0 {
		c.MaxBytes = 1 << 30
	}
	if c.MaxRecord == 0 {
		c.MaxRecord = 16 << 20
	}
	if c.MaxOpen == 0 {
		c.MaxOpen = 1 << 16
	}
	if c.SyncWithin == 0 {
		c.SyncWithin = 5 * time.Millisecond
	}
	if c.FullWait == 0 {
		c.FullWait = 5 * time.Second
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	switch {
	case c.SegmentBytes < 4<<10:
		return c, fmt.Errorf("ledger: segments of %d bytes: at least 4 KiB", c.SegmentBytes)
	case c.MaxBytes < 4*c.SegmentBytes:
		return c, fmt.Errorf("ledger: at most %d bytes in all with segments of %d: at least four segments", c.MaxBytes, c.SegmentBytes)
	case c.MaxRecord < 0 || c.MaxRecord > MaxRecord-1<<10:
		return c, fmt.Errorf("ledger: records of %d bytes: at most 64 MiB less 1 KiB", c.MaxRecord)
	case c.MaxOpen < 0:
		return c, fmt.Errorf("ledger: %d open calls: at least 1", c.MaxOpen)
	}
	return c, nil
}

// Log is an append log. Its methods may be called by many goroutines at once.
//
// Locks are taken in the order w, s, mu. w is held by whoever writes to the
// segment or replaces it, s during an fsync, mu never during either.
type Log struct {
	cfg      Config
	lock     *os.File
	lockInfo os.FileInfo
	openFile func(path string, flag int) (file, error)
	report   Report

	trimming sync.Mutex // one Trim at a time
	w        sync.Mutex
	s        sync.Mutex

	kick   chan struct{} // something was written
	urgent chan struct{} // somebody waits for its fsync
	stop   chan struct{}
	ended  chan struct{} // the syncer has returned

	mu       sync.Mutex
	segments []*segment // by first, the one written to last
	active   *segment   // written to; nil until the next append makes one
	bytes    int64      // of all segments and of what waits to be written
	batch    *batch     // being filled, nil when nobody waits to write
	spare    []byte     // buffer for a batch
	idle     *batch     // to be used again
	given    uint64     // last sequence given out
	written  uint64     // last sequence that write(2) has returned for
	synced   uint64     // last sequence that an fsync has covered
	lost     []span     // of records whose fsync failed for good
	trimmed  uint64
	garbage  []*segment // trimmed, but the file could not be removed

	open      map[string]call
	recovered uint64 // calls started up to here are of an earlier process

	dirty   bool
	round   *round // of those who wait for the next fsync
	syncing *round // of those who wait for the one in progress
	target  uint64 // of the one in progress
	space   chan struct{}
	advance chan struct{} // closed when synced grows; nil when nobody waits
	waiting int           // for space
	health  error
	// failedAt is what was written when health was set: an fsync of that much
	// proves nothing about the writes after it.
	failedAt uint64
	closed   bool // no more appends
	syncs    uint64

	// broken is an fsync that failed for good. Nothing is written until a probe
	// succeeds, under w.
	broken   error
	finished bool // no more writes, of appends that came before closed either; under w
}

// call is one that was started and not settled.
type call struct {
	seq   uint64 // of its newest record
	first uint64 // of its Started record
	size  int    // of its record on disk
}

type span struct {
	from, to uint64
	err      error
}

// Stats is what the log holds at one moment.
type Stats struct {
	First    uint64 // oldest sequence on disk; 0 when there is none
	Last     uint64 // newest sequence given out, or Config.After
	Synced   uint64 // newest sequence that an fsync has covered
	Trimmed  uint64 // largest sequence given to Trim
	Bytes    int64  // of all segments
	Segments int
	Open     int    // calls started and not settled
	Syncs    uint64 // fsyncs since Open
}

// Stats returns what the log holds now.
func (l *Log) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	st := Stats{Last: l.written, Synced: l.synced, Trimmed: l.trimmed, Bytes: l.bytes,
		Segments: len(l.segments) + len(l.garbage), Open: len(l.open), Syncs: l.syncs}
	for _, s := range l.segments {
		if !s.empty() {
			st.First = s.first
			break
		}
	}
	return st
}

// Health returns nil while records can be written, and else the reason they
// cannot. A log that has had a failing disk tries it once a second.
func (l *Log) Health() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return ErrClosed
	case l.health != nil:
		return l.health
	case l.waiting > 0:
		return l.fullError()
	}
	return nil
}

// Close syncs what was written, ends the readers and lets go of the directory.
// Appends after it return ErrClosed. It returns the error of the last fsync.
func (l *Log) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	l.wakeSpace()
	l.wakeReaders()
	l.mu.Unlock()

	close(l.stop)
	<-l.ended
	l.trimming.Lock()
	defer l.trimming.Unlock()
	l.w.Lock()
	defer l.w.Unlock()
	err := l.sync()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.finished = true
	l.abandon()
	l.endRound(&l.round)
	l.lock.Close()
	return err
}
