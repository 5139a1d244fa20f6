//go:build linux

package gatewaytest_test

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sallyport-gateway/sallyport/core/gatewaytest"
	"github.com/sallyport-gateway/sallyport/core/ledger"
)

// A second gateway on the same data is refused, names the first, and hurts it
// not.
func TestTwoGatewaysOneDirectory(t *testing.T) {
	t.Parallel()
	for name, data := range map[string]string{
		"the same directory":      "data: ./data\n",
		"the same log":            "data: {dir: ./other, log: ./data/log, tables: ./other/tables}\n",
		"the same log and tables": "data: {dir: ./other, log: ./data/log, tables: ./data/tables}\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			s := newSite(t, dir, "data: ./data\n")
			ids := []string{s.served(t)}
			other := s.configure(t, dir, data)
			if err := os.Rename(other, other+".second"); err != nil {
				t.Fatal(err)
			}
			s.configure(t, dir, "data: ./data\n")
			for range 2 {
				second := gatewaytest.Launch(t, other+".second")
				status, last := second.Exit()
				if status != 1 || !strings.Contains(last, "data") || !strings.Contains(last, "another gateway") && !strings.Contains(last, fmt.Sprint("process ", s.PID())) {
					t.Errorf("the second gateway: status %d, %q", status, last)
				}
			}
			ids = append(ids, s.served(t))
			s.rows(t, ids...)
			if h := s.health(t); h.Status != "ok" {
				t.Errorf("health of the first gateway: %+v", h)
			}
		})
	}
}

// A fault in the middle of the log is a clear error that changes nothing and
// names the way on, and the way leads on.
func TestCorruptSegment(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := newSite(t, dir, "data: ./data\ntables: {flush_after: 1h, flush_bytes: 1000000000}\n")
	var ids []string
	logs := func() []string {
		files, err := filepath.Glob(filepath.Join(dir, "data", "log", "*.wal"))
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(files)
		return files
	}
	for len(logs()) < 3 {
		for range 4 {
			id, a := s.ask(t, plain, captured, false)
			if !a.complete {
				t.Fatalf("got %d %s (%v)", a.status, a.raw, a.err)
			}
			ids = append(ids, id)
		}
		s.Kill()
		newSegment(t, filepath.Join(dir, "data", "log"))
		s.Process = gatewaytest.Serve(t, s.file)
	}
	s.Kill()

	middle := logs()[1]
	b, err := os.ReadFile(middle)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 0x40
	if err := os.WriteFile(middle, b, 0o600); err != nil {
		t.Fatal(err)
	}
	before := contents(t, filepath.Join(dir, "data", "log"))
	status, last := gatewaytest.Launch(t, s.file).Exit()
	if status != 1 || !strings.Contains(last, middle) || !strings.Contains(last, "--quarantine") {
		t.Errorf("with a corrupt segment: status %d, %q", status, last)
	}
	after := contents(t, filepath.Join(dir, "data", "log"))
	for name := range before {
		if name != "lock" && before[name] != after[name] {
			t.Errorf("the refused start changed %s", name)
		}
	}
	if len(after) != len(before) {
		t.Errorf("the refused start left %d files, there were %d", len(after), len(before))
	}

	s.Process = gatewaytest.Serve(t, s.file, "--quarantine")
	if !strings.Contains(s.Log(), filepath.Base(middle)) {
		t.Errorf("the log does not say what was lost:\n%s", s.Log())
	}
	rows, lost := usageRows(t, s.file), 0
	for _, id := range ids {
		switch r := rows[id]; {
		case len(r) == 0, len(r) == 1 && r[0].status == "interrupted":
			lost++
		case len(r) > 1 || r[0].status != "completed":
			t.Errorf("rows of %s: %+v", id, r)
		}
	}
	if lost == 0 || lost > len(ids)/2 {
		t.Errorf("%d of %d calls are lost with the segment", lost, len(ids))
	}
	s.served(t)
	s.Stop()
	s.Process = gatewaytest.Serve(t, s.file) // the way leads on without the flag
	s.served(t)
}

// newSegment makes a log without a gateway go on in another segment, as it does
// by itself every 16 MiB. What is appended is a payload that it holds already.
func newSegment(t *testing.T, dir string) {
	t.Helper()
	l, err := ledger.Open(ledger.Config{Dir: dir, SegmentBytes: 4 << 10, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for rec, err := range l.Replay(0) {
		if err != nil {
			t.Fatal(err)
		}
		if rec.Kind == ledger.Row {
			if _, err := l.AppendSync(t.Context(), rec.ID, rec.Payload); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatal("the log holds no payload")
}

// contents are the files below dir, with what is in them.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		all[strings.TrimPrefix(path, dir+"/")] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// A table's directory that vanishes costs what was in it and nothing more:
// calls are served and recorded, and when it is back, or begun anew at the
// next start, the rows are there.
func TestTableDirectoryGone(t *testing.T) {
	t.Parallel()
	must := func(t *testing.T, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, away := range map[string]func(t *testing.T, dir string) (back func()){
		"removed": func(t *testing.T, dir string) func() {
			must(t, os.RemoveAll(dir))
			return nil
		},
		"removed and restored": func(t *testing.T, dir string) func() {
			must(t, os.CopyFS(dir+"-copy", os.DirFS(dir)))
			must(t, os.RemoveAll(dir))
			return func() { must(t, os.Rename(dir+"-copy", dir)) }
		},
		"moved away and back": func(t *testing.T, dir string) func() {
			must(t, os.Rename(dir, dir+"-away"))
			return func() { must(t, os.Rename(dir+"-away", dir)) }
		},
		"moved away and removed": func(t *testing.T, dir string) func() {
			must(t, os.Rename(dir, dir+"-away"))
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, t.TempDir(), "data: ./data\ntables: {flush_after: 200ms}\n")
			before := []string{s.served(t), s.served(t)}
			s.rows(t, before...)
			dir := filepath.Join(s.dir, "data", "tables", "system", "ai_gateway", "usage")
			back := away(t, dir)
			without := []string{s.served(t), s.served(t)}
			s.becomes(t, "degraded")
			s.goesOn(t)
			without = append(without, s.served(t))

			if back != nil {
				back()
				s.becomes(t, "ok")
				s.rows(t, slices.Concat(before, without, []string{s.served(t)})...)
				return
			}
			must(t, os.RemoveAll(dir+"-away"))
			s.Stop()
			s.Process = gatewaytest.Serve(t, s.file)
			s.becomes(t, "ok")
			without = append(without, s.served(t))
			rows := usageRows(t, s.file)
			for _, id := range without {
				if r := rows[id]; len(r) != 1 || r[0].status != "completed" {
					t.Errorf("rows of %s, which came after the directory had gone: %+v", id, r)
				}
			}
			for _, id := range before { // the log may still have had them
				if len(rows[id]) > 1 {
					t.Errorf("rows of %s: %+v", id, rows[id])
				}
			}
		})
	}
}
