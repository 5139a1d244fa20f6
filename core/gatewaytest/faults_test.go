//go:build linux

package gatewaytest_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sallyport-gateway/sallyport/core/gatewaytest"
	"github.com/sallyport-gateway/sallyport/core/gatewaytest/upstream"
)

// disk is where a gateway writes, with a way to keep it from that.
type disk struct{ fill, free func(s *site) }

// mounted makes a disk of its own of dir, a tmpfs; only root may.
func mounted(t *testing.T, dir string, mib int) disk {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("sallyport-test", dir, "tmpfs", 0, fmt.Sprintf("size=%dm,mode=700", mib)); err != nil {
		t.Fatalf("tmpfs at %s: %v", dir, err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	ballast := filepath.Join(dir, "ballast")
	return disk{
		fill: func(*site) {
			f, err := os.OpenFile(ballast, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			block := make([]byte, 4096)
			for {
				if _, err := f.Write(block); err == syscall.ENOSPC || err != nil && strings.Contains(err.Error(), "no space") {
					return
				} else if err != nil {
					t.Fatal(err)
				}
			}
		},
		free: func(*site) {
			if err := os.Remove(ballast); err != nil {
				t.Fatal(err)
			}
		},
	}
}

// limited is a limit on the size of files, for who may not mount.
func limited(t *testing.T) disk {
	set := func(s *site, most uint64) {
		t.Helper()
		limit := unix.Rlimit{Cur: most, Max: unix.RLIM_INFINITY}
		err := unix.Prlimit(s.PID(), unix.RLIMIT_FSIZE, &limit, nil)
		if err != nil && err != unix.ESRCH { // with the process its limit is gone
			t.Fatal(err)
		}
	}
	return disk{fill: func(s *site) { set(s, 0) }, free: func(s *site) { set(s, unix.RLIM_INFINITY) }}
}

// With no room for the log, calls are refused; what runs already ends well and
// is recorded later; and everything goes on once there is room.
func TestLogDiskFull(t *testing.T) {
	t.Parallel()
	for name, make := range logDisks() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			d := make(t, dir)
			s := newSite(t, dir, "data: {dir: ./data, log: ./log}\n")
			ids := []string{s.served(t), "under"}
			s.goesOn(t) // the engine runs

			gate := upstream.NewGate()
			running := s.runs(t, gate)
			<-gate.Reached()
			d.fill(s)
			for { // until there is no room for the smallest record
				id, a := s.ask(t, plain, gpt, false)
				if !a.complete {
					break
				}
				ids = append(ids, id)
			}
			s.refusesCalls(t)
			s.becomes(t, "failing")
			s.goesOn(t)
			gate.Open()
			under := <-running
			if !under.complete {
				t.Errorf("the call that ran when the disk became full: got %d %s (%v)", under.status, under.raw, under.err)
			}
			s.refusesCalls(t)

			d.free(s)
			s.becomes(t, "ok")
			ids = append(ids, s.served(t))
			s.rows(t, ids...)
			s.Stop()
			s.rows(t, ids...) // read without a gateway
		})
	}
}

// A gateway that is killed while its log takes nothing has the calls that
// ended meanwhile as interrupted ones: there, and once.
func TestKilledWithLogDiskFull(t *testing.T) {
	t.Parallel()
	for name, make := range logDisks() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			d := make(t, dir)
			s := newSite(t, dir, "data: {dir: ./data, log: ./log}\n")
			ids := []string{s.served(t)}
			gate := upstream.NewGate()
			running := s.runs(t, gate)
			<-gate.Reached()
			d.fill(s)
			for { // until there is no room for the smallest record
				id, a := s.ask(t, plain, gpt, false)
				if !a.complete {
					break
				}
				ids = append(ids, id)
			}
			gate.Open()
			if under := <-running; !under.complete {
				t.Errorf("the call that ran when the disk became full: got %d %s (%v)", under.status, under.raw, under.err)
			}
			s.Kill()
			d.free(s)
			s.Process = gatewaytest.Serve(t, s.file)
			if r := usageRows(t, s.file)["under"]; len(r) != 1 || r[0].status != "interrupted" {
				t.Errorf("rows of the call whose end could not be written: %+v, want one, interrupted", r)
			}
			ids = append(ids, s.served(t))
			all := usageRows(t, s.file)
			for _, id := range ids {
				if r := all[id]; len(r) != 1 {
					t.Errorf("rows of %s: %+v", id, r)
				}
			}
		})
	}
}

// logDisks are the ways to leave a gateway no room for its log.
func logDisks() map[string]func(t *testing.T, dir string) disk {
	disks := map[string]func(t *testing.T, dir string) disk{"limit": func(t *testing.T, _ string) disk { return limited(t) }}
	if os.Getuid() == 0 {
		disks["tmpfs"] = func(t *testing.T, dir string) disk { return mounted(t, filepath.Join(dir, "log"), 4) }
	}
	return disks
}

// runs starts a call with the id "under", whose reply is held at gate.
func (s *site) runs(t *testing.T, gate *upstream.Gate) <-chan answer {
	t.Helper()
	s.mu.Lock()
	s.held["under"] = gate
	s.mu.Unlock()
	ch, url := make(chan answer, 1), s.URL()
	go func() {
		ch <- s.send(t.Context(), http.DefaultClient, url, request{id: "under", errand: waits, model: claude, stream: true})
	}()
	return ch
}

// With no room for the tables, calls are served and recorded in the log, and
// their rows are in the table once there is room.
func TestTablesDiskFull(t *testing.T) {
	t.Parallel()
	for name, make := range tablesDisks() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			d := make(t, dir)
			s := newSite(t, dir, "data: {dir: ./data, tables: ./tables}\ntables: {flush_after: 200ms}\n")
			ids := []string{s.served(t), s.served(t)}
			s.rows(t, ids...)

			d.fill(s)
			ids = append(ids, s.served(t), s.served(t))
			s.becomes(t, "degraded")
			s.goesOn(t)
			ids = append(ids, s.served(t))

			d.free(s)
			s.becomes(t, "ok")
			s.rows(t, ids...)
			ids = append(ids, s.served(t))
			s.Stop()
			s.rows(t, ids...)
		})
	}
}

// tablesDisks are the ways to keep a gateway from writing to its tables.
func tablesDisks() map[string]func(t *testing.T, dir string) disk {
	disks := map[string]func(t *testing.T, dir string) disk{
		"read-only": func(t *testing.T, dir string) disk {
			tables := filepath.Join(dir, "tables")
			if err := os.Mkdir(tables, 0o700); err != nil {
				t.Fatal(err)
			}
			readOnly, writable := freezer(t, tables)
			return disk{fill: func(*site) { readOnly() }, free: func(*site) { writable() }}
		},
	}
	if os.Getuid() == 0 {
		disks["full"] = func(t *testing.T, dir string) disk { return mounted(t, filepath.Join(dir, "tables"), 4) }
	}
	return disks
}

// A disk that is read-only at the start is a clear error, and the gateway
// starts as soon as it is not.
func TestReadOnlyAtStart(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"log", "tables"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			part := filepath.Join(dir, name)
			s := newSite(t, dir, "data: {dir: ./data, log: ./log, tables: ./tables}\ntables: {flush_after: 200ms}\n")
			id := s.served(t)
			s.Kill()
			readOnly, writable := freezer(t, part)
			readOnly()
			p := gatewaytest.Launch(t, s.file)
			if name == "log" { // without it nothing can be recorded
				if status, last := p.Exit(); status != 1 || !strings.Contains(last, part) || !strings.Contains(last, "read-only") && !strings.Contains(last, "permission") {
					t.Errorf("status %d, %q", status, last)
				}
				writable()
				p = gatewaytest.Launch(t, s.file)
			}
			s.Process = p
			more := s.served(t)
			if name == "tables" {
				s.becomes(t, "degraded")
				writable()
			}
			s.becomes(t, "ok")
			s.rows(t, id, more)
		})
	}
}

// freezer makes what is below dir read-only and writable again: by a mount of
// its own when root, to whom modes mean nothing, else by modes.
func freezer(t *testing.T, dir string) (readOnly, writable func()) {
	t.Helper()
	if os.Getuid() != 0 {
		set := func(mode os.FileMode) {
			t.Helper()
			err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
				if err != nil {
					return err
				}
				if !e.IsDir() {
					return os.Chmod(path, mode&^0o100)
				}
				return os.Chmod(path, mode)
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		t.Cleanup(func() { set(0o700) })
		return func() { set(0o500) }, func() { set(0o700) }
	}
	if err := syscall.Mount(dir, dir, "", syscall.MS_BIND, ""); err != nil {
		t.Fatalf("bind mount of %s: %v", dir, err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	set := func(flags uintptr) {
		t.Helper()
		// A file that is being written keeps it from becoming read-only.
		gatewaytest.Eventually(t, waitLong, "the disk to be mounted anew", func() bool {
			return syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_BIND|flags, "") == nil
		})
	}
	return func() { set(syscall.MS_RDONLY) }, func() { set(0) }
}
