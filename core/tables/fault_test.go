package tables

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sallyport-gateway/sallyport/core/delta"
	"github.com/sallyport-gateway/sallyport/core/ledger"
)

// wantProblem checks that Health says one thing, which holds the text and no
// path.
func wantProblem(t *testing.T, s *Set, dirs Dirs, want ...string) {
	t.Helper()
	got := problems(s)
	if len(got) != 1 {
		t.Fatalf("Health = %q, want one problem", got)
	}
	for _, part := range want {
		if !strings.Contains(got[0], part) {
			t.Errorf("Health = %q, want it to say %q", got[0], part)
		}
	}
	if strings.Contains(got[0], dirs.Tables) || strings.Contains(got[0], dirs.Log) {
		t.Errorf("Health = %q, which has a path", got[0])
	}
}

// recovers waits until the table takes rows again.
func recovers(t *testing.T, s *Set, table string) {
	t.Helper()
	for s.Fresh(t.Context(), table) != nil {
		if t.Context().Err() != nil {
			t.Fatal("the table does not recover")
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func TestATableThatWasDeleted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.open()
	appendRows(t, s, tableA, 0, 3)
	appendRows(t, s, tableB, 0, 3)
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(w.dir(tableA)); err != nil {
		t.Fatal(err)
	}
	appendRows(t, s, tableA, 3, 6)
	appendRows(t, s, tableB, 3, 6)
	if err := s.Flush(t.Context()); err == nil || !strings.Contains(err.Error(), tableA) {
		t.Errorf("Flush = %v, want an error that names the table", err)
	}
	wantIDs(t, w.dir(tableB), upTo(0, 6)) // goes on
	wantProblem(t, s, w.dirs, tableA+": its directory is gone; put it back or restart the gateway to begin a new table")
	if n := strings.Count(w.logs.String(), "directory="+w.dir(tableA)); n != 2 { // when it was created, and now
		t.Errorf("the log names the directory %d times:\n%s", n, w.logs)
	}
	s.Fresh(t.Context(), tableA)
	if _, err := os.Stat(w.dir(tableA)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the directory is there again: %v", err)
	}
	info, err := s.Info(t.Context())
	if err != nil || len(info) != 2 || info[0].Pending != 3 || !strings.Contains(info[0].Problem, "directory is gone") {
		t.Errorf("Info = %+v, %v", info, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	s = w.open() // begins a new table, with what the ledger still holds
	fresh(t, s, tableA)
	if got := ids(t, w.dir(tableA)); !slices.Equal(got, upTo(0, 6)) && !slices.Equal(got, upTo(3, 6)) {
		t.Errorf("the new table has %v", got)
	}
	fresh(t, s, tableB)
	wantIDs(t, w.dir(tableB), upTo(0, 6))
	if p := problems(s); p != nil {
		t.Errorf("Health = %q", p)
	}
}

func TestATableThatIsPutBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.open()
	appendRows(t, s, tableA, 0, 3)
	fresh(t, s, tableA)
	older := filepath.Join(t.TempDir(), "older")
	if err := os.CopyFS(older, os.DirFS(w.dir(tableA))); err != nil {
		t.Fatal(err)
	}
	appendRows(t, s, tableA, 3, 6)
	fresh(t, s, tableA)
	newer := filepath.Join(t.TempDir(), "newer")
	if err := os.Rename(w.dir(tableA), newer); err != nil {
		t.Fatal(err)
	}
	appendRows(t, s, tableA, 6, 9)
	if err := s.Fresh(t.Context(), tableA); err == nil {
		t.Error("Fresh of a table that is not there succeeded")
	}
	put := func(from string) {
		t.Helper()
		os.RemoveAll(w.dir(tableA))
		if err := os.CopyFS(w.dir(tableA), os.DirFS(from)); err != nil {
			t.Fatal(err)
		}
	}
	put(older)
	for len(problems(s)) == 0 || !strings.Contains(problems(s)[0], "was replaced") {
		s.Fresh(t.Context(), tableA)
		if t.Context().Err() != nil {
			t.Fatalf("Health = %q", problems(s))
		}
		time.Sleep(20 * time.Millisecond)
	}
	wantIDs(t, w.dir(tableA), upTo(0, 3)) // left as it is: rows 3 to 5 would be missing between
	put(newer)
	recovers(t, s, tableA)
	wantIDs(t, w.dir(tableA), upTo(0, 9))
	if p := problems(s); p != nil {
		t.Errorf("Health = %q", p)
	}
}

// Also a table that nobody writes to is missed, and found again.
func TestATableThatIsMovedAwayIsMissed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.open()
	away := filepath.Join(t.TempDir(), "away")
	if err := os.Rename(w.dir(tableB), away); err != nil {
		t.Fatal(err)
	}
	for len(problems(s)) == 0 && t.Context().Err() == nil {
		time.Sleep(20 * time.Millisecond)
	}
	wantProblem(t, s, w.dirs, tableB+": its directory is gone")
	if err := os.Rename(away, w.dir(tableB)); err != nil {
		t.Fatal(err)
	}
	for len(problems(s)) > 0 && t.Context().Err() == nil {
		time.Sleep(20 * time.Millisecond)
	}
}

// A commit that was made, though its answer was an error, is not made again.
func TestACommitWhoseAnswerWasLost(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.open()
	fresh(t, s, tableA)
	resume, err := s.Pause(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	appendRows(t, s, tableA, 0, 3)
	seq := s.Log().Stats().Last
	a := s.sorted()[0]
	h, err := s.acquire(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	writer := h.delta.NewWriter()
	for id := range int64(3) {
		row, err := h.kind.Decode(body(id))
		if err == nil {
			err = writer.Write(t.Context(), row)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := writer.Commit(t.Context(), delta.Txn{AppID: h.app, Version: int64(seq)}); err != nil {
		t.Fatal(err)
	}
	a.release(s.now())
	s.fail(a, syscall.EIO)
	wantProblem(t, s, w.dirs, tableA+": the disk reports faults")
	appendRows(t, s, tableA, 3, 5)
	resume()
	recovers(t, s, tableA)
	wantIDs(t, w.dir(tableA), upTo(0, 5))
	info, err := s.Info(t.Context())
	if err != nil || info[0].Pending != 0 {
		t.Errorf("Info = %+v, %v", info, err)
	}
}

// mounted is a file system of that size, or a skip of what needs one.
func mounted(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tables-test", dir, "tmpfs", 0, "size="+size+",mode=700"); err != nil {
		t.Skipf("no file system can be mounted: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

func TestAFullDisk(t *testing.T) {
	t.Parallel()
	dir := mounted(t, "1m")
	w := newWorld(t)
	w.dirs.Tables = filepath.Join(dir, "tables")
	s := w.open()
	appendRows(t, s, tableA, 0, 3)
	fresh(t, s, tableA)
	ballast := filepath.Join(dir, "ballast")
	f, err := os.Create(ballast)
	if err != nil {
		t.Fatal(err)
	}
	for size := 64 << 10; size > 0; { // to the last byte
		if _, err := f.Write(make([]byte, size)); err != nil {
			size /= 2
		}
	}
	f.Close()
	appendRows(t, s, tableA, 3, 100)
	if err := s.Fresh(t.Context(), tableA); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("Fresh = %v, want ENOSPC", err)
	}
	wantProblem(t, s, w.dirs, tableA+": the disk is full")
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	recovers(t, s, tableA)
	wantIDs(t, w.dir(tableA), upTo(0, 100))
	if p := problems(s); p != nil {
		t.Errorf("Health = %q", p)
	}
}

func TestAReadOnlyDisk(t *testing.T) {
	t.Parallel()
	dir := mounted(t, "1m")
	w := newWorld(t)
	w.dirs.Tables = filepath.Join(dir, "tables")
	s := w.open()
	appendRows(t, s, tableA, 0, 3)
	fresh(t, s, tableA)
	if err := syscall.Mount("tables-test", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	appendRows(t, s, tableA, 3, 6)
	if err := s.Fresh(t.Context(), tableA); !errors.Is(err, syscall.EROFS) {
		t.Errorf("Fresh = %v, want EROFS", err)
	}
	wantProblem(t, s, w.dirs, tableA+": the disk is read-only")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = w.open() // the tables can be read, and rows kept
	appendRows(t, s, tableA, 6, 9)
	if err := s.Fresh(t.Context(), tableA); !errors.Is(err, syscall.EROFS) {
		t.Errorf("Fresh after a restart = %v, want EROFS", err)
	}
	if err := syscall.Mount("tables-test", dir, "", syscall.MS_REMOUNT, ""); err != nil {
		t.Fatal(err)
	}
	recovers(t, s, tableA)
	wantIDs(t, w.dir(tableA), upTo(0, 9))
}

func TestTheLedgersDiskIsFull(t *testing.T) {
	t.Parallel()
	dir := mounted(t, "256k")
	w := newWorld(t)
	w.dirs.Log = filepath.Join(dir, "log")
	s := w.open()
	n := int64(0)
	for ; n < 1e5; n++ {
		if _, err := s.Append(t.Context(), tableA, body(n)); err != nil {
			break
		}
	}
	wantProblem(t, s, w.dirs, "FATAL ledger: the disk is full, and model calls are refused")
	fresh(t, s, tableA)
	wantIDs(t, w.dir(tableA), upTo(0, n))
}

func TestADamagedLedger(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.open()
	appendRows(t, s, tableA, 0, 3)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(w.dirs.Log, "*.wal"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	// A second segment, so that the first one's fault is no torn end.
	l, err := ledger.Open(ledger.Config{Dir: w.dirs.Log, SegmentBytes: 4 << 10, MaxBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	for id := range int64(200) {
		if _, err := l.Append(t.Context(), "", append(Header(nil, tableA), body(id+3)...)); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)-10] ^= 1
	if err := os.WriteFile(files[0], data, 0o600); err != nil {
		t.Fatal(err)
	}
	var corrupt *ledger.CorruptError
	if _, err := w.tryOpen(); !errors.As(err, &corrupt) || !strings.Contains(err.Error(), "--quarantine") {
		t.Errorf("Open = %v, want a CorruptError that says what to do", err)
	}
	w.cfg.Quarantine = true
	s = w.open()
	wantProblem(t, s, w.dirs, "ledger: a damaged segment was set aside: records ")
	fresh(t, s, tableA)
	if got := ids(t, w.dir(tableA)); len(got) < 3+200-80 || len(got) >= 3+200 || !slices.IsSorted(got) || len(slices.Compact(got)) != len(got) {
		t.Errorf("%d rows are in the table: %v", len(got), got)
	}
}
