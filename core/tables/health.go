package tables

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"syscall"
	"time"

	"github.com/sallyport-gateway/sallyport/core/delta"
	"github.com/sallyport-gateway/sallyport/core/ledger"
)

// Problem is something an operator should know.
type Problem struct {
	Part    string // "ledger", "dead letters", "housekeeping", or the table's name
	Message string // without paths: anybody may see it
	Fatal   bool   // model calls cannot be recorded, and so are refused
}

// trouble is something that does not work.
type trouble struct {
	part    string
	message string // without paths
	err     error
	tried   time.Time
	wait    time.Duration
	again   time.Time // when to try next
}

const (
	firstWait = time.Second
	maxWait   = time.Minute
)

// fail notes that the table takes no rows because of err, or, with nil, that
// it does. Changes are logged.
func (s *Set) fail(t *table, err error) {
	if errors.Is(err, context.Canceled) {
		t.doubt()
		return // the Set is being closed
	}
	var message string
	if err != nil {
		message = t.explain(err)
		t.doubt()
	}
	s.mu.Lock()
	was := t.trouble
	if err == nil {
		t.trouble = nil
	} else {
		now, wait := s.now(), firstWait
		if was != nil {
			wait = min(2*was.wait, maxWait)
		}
		t.trouble = &trouble{t.name, message, err, now, wait, now.Add(wait)}
	}
	s.mu.Unlock()
	switch {
	case err != nil && (was == nil || was.message != message):
		s.out.Error("a table takes no rows; they wait in the ledger", "table", t.name, "directory", t.dir, "reason", err)
	case err == nil && was != nil:
		s.out.Info("a table takes rows again", "table", t.name)
	}
}

// explain says in public words why the table failed.
func (t *table) explain(err error) string {
	const wait = "; its rows wait in the ledger"
	if text := diskTrouble(err); text != "" {
		return text + wait
	}
	switch {
	case errors.Is(err, fs.ErrNotExist) && t.gone():
		return "its directory is gone; put it back or restart the gateway to begin a new table" + wait
	case errors.Is(err, errOlder), errors.Is(err, fs.ErrNotExist), errors.Is(err, delta.ErrNotDelta):
		return "its directory was replaced; put the table back, or restart the gateway to go on with what is there" + wait
	case errors.Is(err, fs.ErrPermission):
		return "the gateway may not write its directory; give its user write access" + wait
	case errors.Is(err, delta.ErrUnsupported):
		return "another program has given it features that this one cannot write" + wait
	case errors.Is(err, delta.ErrConflict), errors.Is(err, delta.ErrBusy):
		return "another program changes it at the same time" + wait
	case refusal(err) != nil:
		return "it is of another kind or of a newer program" + wait
	}
	if _, ok := errors.AsType[*ledger.CorruptError](err); ok {
		return "the ledger is damaged; see the log"
	}
	return "it cannot be written; see the log" + wait
}

// diskTrouble says what is wrong with the disk, "" if nothing.
func diskTrouble(err error) string {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return "the disk is full"
	case errors.Is(err, syscall.EROFS):
		return "the disk is read-only"
	case errors.Is(err, syscall.EIO):
		return "the disk reports faults"
	case errors.Is(err, syscall.EFBIG):
		return "a file has reached the limit on the size of files"
	}
	return ""
}

// report notes that something about a part does not work because of err, or,
// with nil, that it does. Changes are logged.
func (s *Set) report(part, message string, err error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	key := part + ": " + message
	s.mu.Lock()
	was := s.troubles[key]
	if err == nil {
		delete(s.troubles, key)
	} else {
		s.troubles[key] = &trouble{part: part, message: message, err: err, tried: s.now()}
	}
	s.mu.Unlock()
	switch {
	case err != nil && was == nil:
		s.out.Error("trouble with the tables", "part", part, "what", message, "reason", err)
	case err == nil && was != nil:
		s.out.Info("trouble with the tables is over", "part", part, "what", message)
	}
}

// Health says what is wrong, nothing when all is well.
func (s *Set) Health() []Problem {
	var all []Problem
	if p := s.ledgerHealth(); p.Message != "" {
		all = append(all, p)
	}
	for _, t := range s.sorted() {
		s.mu.Lock()
		if t.trouble != nil {
			all = append(all, Problem{Part: t.name, Message: t.trouble.message})
		}
		s.mu.Unlock()
	}
	s.mu.Lock()
	for _, key := range slices.Sorted(maps.Keys(s.troubles)) {
		all = append(all, Problem{Part: s.troubles[key].part, Message: s.troubles[key].message})
	}
	s.mu.Unlock()
	kept, dropped := s.dead.counts()
	if kept > 0 {
		all = append(all, Problem{Part: "dead letters", Message: fmt.Sprintf("%d rows cannot be put into a table and were set aside beside the ledger; the log says why; remove the file once it is dealt with", kept)})
	}
	if dropped > 0 {
		all = append(all, Problem{Part: "dead letters", Message: fmt.Sprintf("%d rows more were given up", dropped)})
	}
	if reason := s.guard.held(); reason != "" {
		all = append(all, Problem{Part: "housekeeping", Message: reason})
	}
	return all
}

func (s *Set) ledgerHealth() Problem {
	p := Problem{Part: "ledger"}
	const full = "it is full of rows that no table takes, and model calls are refused; see what is said of the tables, or raise tables.log_bytes"
	err := s.log.Health()
	disk, isDisk := errors.AsType[*ledger.DiskError](err)
	switch bytes, most := s.log.Stats().Bytes, s.cfg.LogBytes; {
	case errors.Is(err, ledger.ErrFull), err == nil && bytes >= most-most/8-maxRecord/8:
		p.Message, p.Fatal = full, true
	case err == nil && bytes >= most/2:
		p.Message = "it is more than half full of rows that no table takes; when it is full model calls are refused"
	case err == nil:
	case isDisk && diskTrouble(err) != "":
		p.Message, p.Fatal = diskTrouble(err)+", and model calls are refused", true
	case isDisk:
		p.Message, p.Fatal = fmt.Sprintf("%s fails: %v; model calls are refused", disk.Op, disk.Err), true
	default:
		p.Message, p.Fatal = err.Error(), true
	}
	return p
}
