package ledger

import (
	"errors"
	"fmt"
	"syscall"
)

var (
	// ErrFull: the log has reached [Config.MaxBytes], or as many calls are open
	// as [Config.MaxOpen] allows, and nothing was freed in time. Nothing was
	// written; trying again later is safe.
	ErrFull = errors.New("ledger is full")
	// ErrTooLarge: the record is over [Config.MaxRecord]. Nothing was written.
	ErrTooLarge = errors.New("record is too large for the ledger")
	// ErrStarted: a call with this id is open already. Nothing was written.
	ErrStarted = errors.New("call is started already")
	// ErrNotStarted: no call with this id is open: it was never started, or is
	// settled already. Nothing was written, so that a call settles only once.
	ErrNotStarted = errors.New("call is not open")
	// ErrClosed: the log was closed.
	ErrClosed = errors.New("ledger is closed")
)

// DiskError is a failure of the file system. From an append it means that the
// record was not written; from a wait for fsync, that nobody knows whether it
// will survive a power cut. errors.Is finds the system's reason in it, such as
// syscall.ENOSPC. Most pass: the next append tries again.
type DiskError struct {
	Op   string // what was tried: write, sync, create, remove, lock
	Path string
	Err  error
}

func (e *DiskError) Error() string {
	hint := ""
	switch {
	case errors.Is(e.Err, syscall.ENOSPC), errors.Is(e.Err, syscall.EDQUOT):
		hint = "; free space on this file system, the ledger goes on by itself"
	case errors.Is(e.Err, syscall.EFBIG):
		hint = "; raise the limit on the size of files (ulimit -f)"
	case errors.Is(e.Err, syscall.EROFS):
		hint = "; mount the file system for writing, the ledger goes on by itself"
	case errors.Is(e.Err, syscall.EIO):
		hint = "; the disk reports faults, see the kernel's log"
	case errors.Is(e.Err, errGone):
		hint = "; put it back, or restart to begin a new ledger"
	}
	return fmt.Sprintf("ledger: %s %q: %v%s", e.Op, e.Path, e.Err, hint)
}

func (e *DiskError) Unwrap() error { return e.Err }

var errGone = errors.New("was deleted or replaced while the ledger was open")

// CorruptError is a fault in a segment that is not the torn end of the last
// one: records that were on disk cannot be read. [Config.Quarantine] goes on
// without them.
type CorruptError struct {
	Path   string
	Offset int64 // of the first byte that cannot be trusted
	Reason string
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("ledger: segment %q is damaged at byte %d: %s; restore the file, or start with --quarantine, which keeps the records before the fault and sets the file aside", e.Path, e.Offset, e.Reason)
}

// VersionError is a segment that a newer program wrote. Nothing was changed.
type VersionError struct {
	Path    string
	Version uint32
}

func (e *VersionError) Error() string {
	return fmt.Sprintf("ledger: segment %q has format %d, this program reads up to %d; run the newer program that wrote it (nothing was changed)", e.Path, e.Version, formatVersion)
}

// LockedError is a directory that another process has open.
type LockedError struct {
	Dir    string
	Holder string // such as "process 4711 (sallyport)"
}

func (e *LockedError) Error() string {
	return fmt.Sprintf("ledger: directory %q is in use by %s; stop it, or give this one a directory of its own", e.Dir, e.Holder)
}
