package tables

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport-gateway/sallyport/core/ledger"
)

func TestRowsAreInTheTableWhenSomebodyReads(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.open()
	appendRows(t, s, tableA, 0, 10)
	appendRows(t, s, tableB, 100, 103)
	fresh(t, s, tableA)
	wantIDs(t, w.dir(tableA), upTo(0, 10))
	wantIDs(t, w.dir(tableB), nil) // nobody read it
	appendRows(t, s, tableA, 10, 12)
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantIDs(t, w.dir(tableA), upTo(0, 12))
	wantIDs(t, w.dir(tableB), upTo(100, 103))
	if p := problems(s); p != nil {
		t.Errorf("Health = %q", p)
	}
}

func TestFreshCommitsOnlyWhatWaits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.open()
	version := func() int64 {
		info, err := s.Info(t.Context())
		if err != nil || len(info) != 2 {
			t.Fatal(info, err)
		}
		return info[0].Version
	}
	before := version()
	for range 10 {
		fresh(t, s, tableA)
	}
	appendRows(t, s, tableB, 0, 1)
	fresh(t, s, tableA)
	if got := version(); got != before {
		t.Errorf("the table went from version %d to %d and has no row", before, got)
	}
	syncs := s.Log().Stats().Syncs
	for range 10 {
		fresh(t, s, tableA)
	}
	if got := s.Log().Stats().Syncs; got != syncs {
		t.Errorf("%d fsyncs for reading a table that is fresh", got-syncs)
	}
}

func TestCallsShareWithRows(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.open()
	if _, err := s.Log().Start(t.Context(), "call-1", append(Header(nil, tableA), "not a row"...)); err != nil {
		t.Fatal(err)
	}
	fresh(t, s, tableA)
	wantIDs(t, w.dir(tableA), nil)
	if _, err := s.Log().Settle(t.Context(), "call-1", append(Header(nil, tableA), body(1)...)); err != nil {
		t.Fatal(err)
	}
	fresh(t, s, tableA)
	wantIDs(t, w.dir(tableA), upTo(1, 2))
}

func TestRowsAreCommittedAfterAWhile(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]Config{"time": {FlushAfter: 20 * time.Millisecond}, "size": {FlushBytes: 1000}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.cfg = cfg
			s := w.open()
			appendRows(t, s, tableA, 0, 100)
			for len(ids(t, w.dir(tableA))) < 80 && t.Context().Err() == nil { // of 7 kB the last 1000 bytes may wait
				time.Sleep(time.Millisecond)
			}
		})
	}
}

// A reader that gives a record twice, as two that begin at once may, makes no
// row of it twice.
func TestARecordThatIsReadTwice(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.open()
	appendRows(t, s, tableA, 0, 3)
	if _, err := s.caughtUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	for rec, err := range s.Log().Replay(1) {
		if err != nil {
			t.Fatal(err)
		}
		s.note(rec)
	}
	fresh(t, s, tableA)
	wantIDs(t, w.dir(tableA), upTo(0, 3))
	for range 10 { // the first rows race the reader
		w := newWorld(t)
		s := w.open()
		appendRows(t, s, tableA, 0, 3)
		fresh(t, s, tableA)
		wantIDs(t, w.dir(tableA), upTo(0, 3))
	}
}

func TestRowsOutliveTheProcess(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.open()
	appendRows(t, s, tableA, 0, 5)
	fresh(t, s, tableA)
	appendRows(t, s, tableA, 5, 9)
	appendRows(t, s, tableB, 0, 3)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	wantIDs(t, w.dir(tableA), upTo(0, 9)) // Close commits
	s = w.open()
	appendRows(t, s, tableA, 9, 11)
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantIDs(t, w.dir(tableA), upTo(0, 11))
	wantIDs(t, w.dir(tableB), upTo(0, 3))
}

func TestALedgerFromAnOlderCopyGoesOnAboveTheTables(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.open()
	appendRows(t, s, tableA, 0, 3)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	backup := t.TempDir()
	if err := os.CopyFS(backup, os.DirFS(w.dirs.Log)); err != nil {
		t.Fatal(err)
	}
	s = w.open()
	appendRows(t, s, tableA, 3, 9)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(w.dirs.Log); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(w.dirs.Log, os.DirFS(backup)); err != nil {
		t.Fatal(err)
	}
	s = w.open()
	fresh(t, s, tableA)
	appendRows(t, s, tableA, 9, 12)
	fresh(t, s, tableA)
	wantIDs(t, w.dir(tableA), upTo(0, 12))
}

func TestALostLedgerIsBegunAnew(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.open()
	appendRows(t, s, tableA, 0, 9)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(w.dirs.Log); err != nil {
		t.Fatal(err)
	}
	s = w.open()
	appendRows(t, s, tableA, 9, 12)
	fresh(t, s, tableA)
	wantIDs(t, w.dir(tableA), upTo(0, 12))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(w.dirs.Log, instanceFile)); err != nil {
		t.Fatal(err)
	}
	if _, err := w.tryOpen(); err == nil || !filepath.IsAbs(w.dirs.Log) {
		t.Errorf("a ledger without its instance was opened: its rows would be there twice")
	}
	wantIDs(t, w.dir(tableA), upTo(0, 12))
}

func TestTheLedgerIsTrimmed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cfg.LogBytes = 64 << 20
	s := w.open()
	appendRows(t, s, tableB, 0, 1)
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	appendRows(t, s, tableA, 0, 50)
	fresh(t, s, tableA)
	if st := s.Log().Stats(); st.Trimmed != st.Last {
		t.Errorf("trimmed up to %d of %d", st.Trimmed, st.Last)
	}
	appendRows(t, s, tableB, 1, 2) // waits
	at := s.Log().Stats().Last
	appendRows(t, s, tableA, 50, 60)
	fresh(t, s, tableA)
	if st := s.Log().Stats(); st.Trimmed != at-1 {
		t.Errorf("trimmed up to %d, want %d: record %d is in no table", st.Trimmed, at-1, at)
	}
}

// A ledger has room for the largest rows, unless it is said to be one of small
// segments, and then for four of them.
func TestRoomOfTheLedger(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		log, segment int64
		want         string // "" when it is opened
	}{
		{0, 0, ""},
		{minLogBytes, 0, ""},
		{minLogBytes - 1, 0, "log_bytes: 67108863 is less than 67108864"},
		{32 << 10, 8 << 10, ""},
		{32<<10 - 1, 8 << 10, "at least four segments"},
	} {
		w := newWorld(t)
		w.cfg.LogBytes, w.cfg.SegmentBytes, w.cfg.FullWait = tt.log, tt.segment, -1
		s, err := w.tryOpen()
		if tt.want != "" {
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("LogBytes %d of segments of %d: error %v, want %q", tt.log, tt.segment, err, tt.want)
			}
			continue
		}
		if err != nil {
			t.Fatalf("LogBytes %d of segments of %d: %v", tt.log, tt.segment, err)
		}
		if tt.segment == 0 {
			continue
		}
		if _, err := s.Append(t.Context(), tableA, make([]byte, tt.log)); !errors.Is(err, ledger.ErrFull) {
			t.Errorf("a row of %d bytes in a ledger of as many: %v, want ErrFull", tt.log, err)
		}
	}
}

func TestASecondGatewayIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.open()
	appendRows(t, s, tableA, 0, 1)
	_, err := w.tryOpen()
	if locked := (*ledger.LockedError)(nil); !errors.As(err, &locked) {
		t.Errorf("the second Open = %v, want a LockedError", err)
	}
	fresh(t, s, tableA)
}

func TestPause(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.open()
	resume, err := s.Pause(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	appendRows(t, s, tableA, 0, 3)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := s.Fresh(ctx, tableA); err == nil {
		t.Error("Fresh succeeded in a pause")
	}
	wantIDs(t, w.dir(tableA), nil)
	done := make(chan error, 1)
	go func() { done <- s.Housekeep(t.Context()) }()
	resume()
	resume()
	if err := <-done; err != nil {
		t.Error(err)
	}
	fresh(t, s, tableA)
	wantIDs(t, w.dir(tableA), upTo(0, 3))
}

// Whoever appends and then reads finds the row, however many do so at once,
// and they share commits.
func TestFreshBySeveralAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.open()
	resume, err := s.Pause(t.Context()) // until all wait
	if err != nil {
		t.Fatal(err)
	}
	const readers = 50
	var wg sync.WaitGroup
	for id := range int64(readers) {
		wg.Go(func() {
			for _, id := range []int64{id, id + readers} {
				if _, err := s.Append(t.Context(), tableA, body(id)); err != nil {
					t.Error(err)
				}
				if err := s.Fresh(t.Context(), tableA); err != nil {
					t.Error(err)
				}
				if got, err := readIDs(w.dir(tableA)); err != nil || !slices.Contains(got, id) {
					t.Errorf("row %d is not in the table: %v", id, err)
				}
			}
		})
	}
	for s.Log().Stats().Last < readers {
		time.Sleep(time.Millisecond)
	}
	resume()
	wg.Wait()
	wantIDs(t, w.dir(tableA), upTo(0, 2*readers))
	info, err := s.Info(t.Context())
	if err != nil || info[0].Version > readers {
		t.Errorf("%d commits for %d rows, %v", info[0].Version, 2*readers, err)
	}
}

func TestNobodyWaitsForASetThatIsClosed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.open()
	appendRows(t, s, tableA, 0, 1)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("the second Close = %v", err)
	}
	if err := s.Fresh(t.Context(), tableA); err != nil {
		t.Errorf("Fresh with nothing to do = %v", err)
	}
	if err := s.Flush(t.Context()); !errors.Is(err, errClosed) {
		t.Errorf("Flush = %v, want errClosed", err)
	}
	if _, err := s.Append(t.Context(), tableA, body(1)); !errors.Is(err, ledger.ErrClosed) {
		t.Errorf("Append = %v, want ErrClosed", err)
	}
}

// More tables than are written at once, and more bytes than one commit takes.
func TestManyTablesAndBytes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cfg.FlushBytes = 6000
	w.defs = nil
	k := eventKind()
	for i := range 3 * tablesAtOnce {
		w.defs = append(w.defs, Definition{Name: fmt.Sprintf("system.events.t%d", i), Kind: k})
	}
	s := w.open()
	for id := range int64(20) {
		for _, d := range w.defs {
			if _, err := s.Append(t.Context(), d.Name, body(id)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, d := range w.defs {
		wantIDs(t, w.dir(d.Name), upTo(0, 20))
	}
	if st := s.Log().Stats(); st.Trimmed != st.Last {
		t.Errorf("trimmed up to %d of %d", st.Trimmed, st.Last)
	}
	if total := func() int64 { s.mu.Lock(); defer s.mu.Unlock(); return s.total }(); total != 0 {
		t.Errorf("%d bytes are said to wait", total)
	}
}

// Rows that do not fit in memory are read from the ledger again.
func TestMoreThanTheTail(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.open()
	resume, err := s.Pause(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	big := strings.Repeat("x", 3<<20)
	for id := range int64(6) {
		b, err := json.Marshal(event{ID: id, Time: day, Text: big})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Append(t.Context(), tableA, b); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.caughtUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	if size := func() int64 { s.mu.Lock(); defer s.mu.Unlock(); return s.tailSize }(); size > maxTail {
		t.Errorf("%d bytes are in memory, the most is %d", size, maxTail)
	}
	resume()
	fresh(t, s, tableA)
	wantIDs(t, w.dir(tableA), upTo(0, 6))
}
