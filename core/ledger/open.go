package ledger

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

const lockName = "lock"

// Report is what Open found.
type Report struct {
	Records   int    // that can be read
	Last      uint64 // sequence of the newest; 0 when there is none
	Unsettled int    // calls that an earlier process left open
	Cut       []Cut
	Damaged   []Damage

	behind uint64 // newest sequence in what was cut
}

// Cut is a torn end of the log that was removed: what a process was writing
// when it died.
type Cut struct {
	Path   string
	Offset int64
	Bytes  int64
	Reason string
	// Aside is the file that the bytes were copied to, "" for none. It is made
	// when records lie intact behind the fault, as they may after a power cut;
	// Behind is how many. They had not been synced, or the disk changed them.
	Aside  string
	Behind int
}

// Damage is a segment that could not be read to its end, or was not there,
// and what Config.Quarantine did about it.
type Damage struct {
	Path     string
	Offset   int64
	Reason   string
	Kept     int    // records before the fault
	From, To uint64 // sequences that are lost
	Aside    string // what the segment is called now; "" when there was none
}

// Open opens the log in cfg.Dir, or begins one, and makes it ready to append
// to. Close it. Errors: *LockedError, *VersionError and *CorruptError, which
// change nothing, *DiskError, and a Config that does not fit.
func Open(cfg Config) (*Log, error) { return open(cfg, openFile) }

func open(cfg Config, openFile func(string, int) (file, error)) (*Log, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	if cfg.Dir, err = filepath.Abs(cfg.Dir); err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	l := &Log{cfg: cfg, openFile: openFile, open: map[string]call{},
		kick: make(chan struct{}, 1), urgent: make(chan struct{}, 1), stop: make(chan struct{}), ended: make(chan struct{})}
	if err := l.takeDir(); err != nil {
		return nil, err
	}
	if err := l.load(); err != nil {
		l.lock.Close()
		return nil, err
	}
	go l.syncer()
	return l, nil
}

// Report returns what Open found.
func (l *Log) Report() Report { return l.report }

// takeDir makes the directory ours.
func (l *Log) takeDir() error {
	dir := l.cfg.Dir
	_, err := os.Stat(dir)
	isNew := err != nil
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return &DiskError{Op: "create", Path: dir, Err: cause(err)}
	}
	info, err := os.Stat(dir)
	if err == nil && info.Mode().Perm() != 0o700 {
		err = os.Chmod(dir, 0o700)
	}
	if err == nil && isNew {
		err = syncDir(filepath.Dir(dir))
	}
	if err != nil {
		return &DiskError{Op: "make private", Path: dir, Err: cause(err)}
	}
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return &DiskError{Op: "lock", Path: dir, Err: cause(err)}
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		holder, _ := io.ReadAll(io.LimitReader(f, 200))
		f.Close()
		who := strings.TrimSpace(string(holder))
		if who == "" {
			who = "another process"
		}
		return &LockedError{Dir: dir, Holder: who}
	}
	if err == nil {
		l.lockInfo, err = f.Stat()
	}
	if err != nil {
		f.Close()
		return &DiskError{Op: "lock", Path: dir, Err: cause(err)}
	}
	// Only for people: without it the lock holds just as well.
	if f.Truncate(0) == nil {
		fmt.Fprintf(f, "process %d (%s)\n", os.Getpid(), filepath.Base(os.Args[0]))
	}
	l.lock = f
	return nil
}

// found is a segment file as Open sees it.
type found struct {
	*segment
	fileSize int64
	header   error // of reading it, errHeader or nil
	reason   string
}

// load reads the log, repairs its end, and makes l ready to append.
func (l *Log) load() error {
	all, broken, drop, err := l.examine()
	if err != nil {
		return err
	}
	if err := l.repair(all, broken, drop); err != nil {
		return err
	}
	return l.adopt(all)
}

// examine looks at everything and changes nothing. broken are the segments of
// report.Damaged; drop is the last segment, when not even its header was
// written.
func (l *Log) examine() (all, broken []*found, drop *found, err error) {
	if all, err = l.list(); err != nil {
		return nil, nil, nil, err
	}
	if n := len(all); n > 0 && all[n-1].header != nil && all[n-1].reason == "" {
		drop, all = all[n-1], all[:n-1]
	}
	for i, s := range all {
		bound, isLast := ^uint64(0), i == len(all)-1
		if !isLast && all[i+1].header == nil {
			bound = all[i+1].prev
		}
		if err := l.scan(s, bound); err != nil {
			return nil, nil, nil, err
		}
		damage := Damage{Path: s.path, Offset: s.size, Reason: s.reason, From: s.last + 1}
		switch {
		case isLast && s.header == nil:
			continue // its fault is a torn end
		case isLast:
			damage.To = s.last + uint64(s.fileSize/(frameHeader+bodyHeader)) // at most
		case all[i+1].header != nil:
			damage.To = all[i+1].first - 1
		default:
			damage.To = all[i+1].prev
		}
		if s.header == nil && (s.last >= damage.To || s.lost >= damage.To) {
			continue
		}
		if damage.Reason == "" {
			damage.Path = segmentPath(l.cfg.Dir, s.last+1)
			damage.Reason = fmt.Sprintf("records %d to %d are missing", damage.From, damage.To)
			damage.Offset = 0
		}
		if !s.empty() {
			damage.Kept = int(s.last - s.first + 1)
		}
		if !l.cfg.Quarantine {
			return nil, nil, nil, &CorruptError{Path: damage.Path, Offset: damage.Offset, Reason: damage.Reason}
		}
		l.report.Damaged = append(l.report.Damaged, damage)
		broken = append(broken, s)
	}
	return all, broken, drop, nil
}

// list returns the segments in the directory with what their headers say.
func (l *Log) list() ([]*found, error) {
	entries, err := os.ReadDir(l.cfg.Dir)
	if err != nil {
		return nil, &DiskError{Op: "read", Path: l.cfg.Dir, Err: cause(err)}
	}
	var all []*found
	for _, e := range entries {
		first, ok := segmentFirst(e.Name())
		if !ok || !e.Type().IsRegular() {
			continue
		}
		s := &found{segment: &segment{path: filepath.Join(l.cfg.Dir, e.Name()), first: first}}
		if err := s.look(); err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

// look reads the header, and says in reason whether one that is not intact is
// damage: it is not when the file holds nothing.
func (s *found) look() error {
	f, err := os.Open(s.path)
	if err != nil {
		return &DiskError{Op: "read", Path: s.path, Err: cause(err)}
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return &DiskError{Op: "read", Path: s.path, Err: cause(err)}
	}
	s.fileSize = info.Size()
	err = s.readHeader(f)
	if err == nil {
		return nil
	}
	if !errors.Is(err, errHeader) {
		return err
	}
	s.header, s.prev, s.last = err, s.first-1, s.first-1
	start := make([]byte, segmentHeader)
	n, _ := f.ReadAt(start, 0)
	fr := frames{r: f, off: segmentHeader, end: max(s.fileSize, segmentHeader), reuse: true}
	rec, _, reason, _ := fr.next()
	if n == segmentHeader && (slices.ContainsFunc(start, func(b byte) bool { return b != 0 }) || reason == "" && rec.Seq == s.first) {
		s.reason = err.Error()
	}
	return nil
}

// scan reads the good records of s and pairs the calls in them.
func (l *Log) scan(s *found, bound uint64) error {
	if s.header != nil {
		return nil
	}
	f, err := os.Open(s.path)
	if err != nil {
		return &DiskError{Op: "read", Path: s.path, Err: cause(err)}
	}
	defer f.Close()
	s.reason, err = s.segment.scan(f, s.fileSize, bound, func(rec Record) {
		l.report.Records++
		l.report.Last = rec.Seq
		switch rec.Kind {
		case Started, Carried: // of a carried call the Started record may be gone
			l.open[rec.ID] = call{seq: rec.Seq, first: rec.started(), size: frameSize(rec.Kind, rec.ID, len(rec.Payload))}
		case Settled:
			delete(l.open, rec.ID)
		}
	})
	return err
}

// adopt makes the segments those of the log, and the last one active.
func (l *Log) adopt(all []*found) error {
	for _, s := range all {
		l.segments = append(l.segments, s.segment)
		l.bytes += s.size
		l.given = max(l.given, s.last, s.lost)
	}
	last := l.given
	l.given = max(l.given, l.cfg.After, l.report.behind)
	l.written, l.synced, l.recovered = l.given, l.given, l.given
	l.report.Unsettled = len(l.open)
	for i, s := range l.segments {
		// What an earlier process wrote may not have been synced by it.
		f, err := l.openFile(s.path, os.O_RDWR)
		if err == nil {
			err = f.Sync()
		}
		if err == nil && i == len(l.segments)-1 && last == l.given && s.last == last && s.size < l.cfg.SegmentBytes {
			l.active, s.f = s, f
			continue
		}
		if f != nil {
			f.Close()
		}
		if err != nil {
			return &DiskError{Op: "sync", Path: s.path, Err: cause(err)}
		}
	}
	if err := syncDir(l.cfg.Dir); err != nil {
		return &DiskError{Op: "sync", Path: l.cfg.Dir, Err: cause(err)}
	}
	return nil
}
