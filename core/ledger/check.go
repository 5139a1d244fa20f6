package ledger

import (
	"fmt"
	"io"
	"path/filepath"
)

// Check reads the log in dir without changing anything, and reports what Open
// would find: the torn end that Open would cut is in Report.Cut, still there.
// Nobody may have the log open; a copy of one that is being written to is
// fine. Errors are those of Open, without *LockedError.
func Check(dir string) (Report, error) {
	cfg, err := Config{Dir: dir}.withDefaults()
	if err != nil {
		return Report{}, err
	}
	l := &Log{cfg: cfg, open: map[string]call{}}
	all, _, drop, err := l.examine()
	if err != nil {
		return Report{}, err
	}
	if drop != nil {
		l.report.Cut = append(l.report.Cut, Cut{Path: drop.path, Bytes: drop.fileSize, Reason: "its header was not written"})
	}
	if n := len(all); n > 0 && all[n-1].header == nil && all[n-1].reason != "" {
		s := all[n-1]
		l.report.Cut = append(l.report.Cut, Cut{Path: s.path, Offset: s.size, Bytes: s.fileSize - s.size, Reason: s.reason})
	}
	l.report.Unsettled = len(l.open)
	return l.report, nil
}

// Lock takes the directory of a log, made if need be, as Open does, and opens
// no log: until the result is closed, nobody else can. The error is a
// *LockedError when somebody has it open.
func Lock(dir string) (io.Closer, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	l := &Log{cfg: Config{Dir: abs}}
	if err := l.takeDir(); err != nil {
		return nil, err
	}
	return l.lock, nil
}
