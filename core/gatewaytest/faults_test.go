//go:build linux

package gatewaytest_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sallyport-gateway/sallyport/core/gatewaytest"
	"github.com/sallyport-gateway/sallyport/core/gatewaytest/upstream"
)

// waitLong is when a test gives up waiting for what must happen.
const waitLong = time.Minute

// site is a running gateway whose disks a test takes away.
type site struct {
	*providers
	*gatewaytest.Process
	dir, file string
	n         int
}

// newSite starts a gateway over dir with more configuration.
func newSite(t *testing.T, dir, more string) *site {
	t.Helper()
	s := &site{providers: newProviders(t), dir: dir}
	s.file = s.configure(t, dir, more)
	s.Process = gatewaytest.Serve(t, s.file)
	return s
}

// ask makes a request and returns its id and what came.
func (s *site) ask(t *testing.T, e errand, model string, stream bool) (id string, a answer) {
	t.Helper()
	s.n++
	id = fmt.Sprintf("f%d", s.n)
	a = s.send(t.Context(), http.DefaultClient, s.URL(), request{id: id, errand: e, model: model, stream: stream})
	return id, a
}

// served makes a request that must succeed, and returns its id.
func (s *site) served(t *testing.T) string {
	t.Helper()
	id, a := s.ask(t, plain, gpt, s.n%2 == 0)
	if !a.complete {
		t.Fatalf("request %s: got %d %s (%v)", id, a.status, a.raw, a.err)
	}
	return id
}

// health is what /health says.
type health struct {
	status   int
	Status   string
	Problems []string
}

func (s *site) health(t *testing.T) health {
	t.Helper()
	resp, err := http.Get(s.URL() + "/health")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	h := health{status: resp.StatusCode}
	if err == nil {
		err = json.Unmarshal(b, &h)
	}
	if err != nil {
		t.Fatalf("/health: %v in %s", err, b)
	}
	if strings.Contains(string(b), s.dir) || strings.Contains(string(b), "/") {
		t.Errorf("/health names a path: %s", b)
	}
	return h
}

// becomes waits until /health says status.
func (s *site) becomes(t *testing.T, status string) health {
	t.Helper()
	var h health
	gatewaytest.Eventually(t, waitLong, "/health to say "+status, func() bool { h = s.health(t); return h.Status == status })
	want := map[string]int{"ok": 200, "degraded": 200, "failing": 503}[status]
	if h.status != want || (len(h.Problems) == 0) != (status == "ok") {
		t.Errorf("/health: got %+v", h)
	}
	return h
}

// goesOn checks that what needs no disk of ours works: discovery and SQL.
func (s *site) goesOn(t *testing.T) {
	t.Helper()
	for _, path := range []string{"/ai-gateway/mlflow/v1/models", "/api/ai-gateway/v2/endpoints"} {
		if status, body := s.call(t, "GET", path, ""); status != 200 {
			t.Errorf("GET %s: got %d %s", path, status, body)
		}
	}
	status, body := s.call(t, "POST", "/api/2.0/sql/statements", `{"statement":"SELECT count(*) AS n FROM main.sales.reviews"}`)
	if status != 200 || !strings.Contains(body, `"SUCCEEDED"`) {
		t.Errorf("SQL over HTTP: got %d %s", status, body)
	}
	if rows, err := gatewaytest.TrySQL(t, s.file, "SELECT count(*) AS n FROM main.sales.reviews"); err != nil || len(rows) != 1 {
		t.Errorf("sallyport sql: got %v, %v", rows, err)
	}
}

func (s *site) call(t *testing.T, method, path, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.URL()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+loadToken)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// refusesCalls checks that model calls are refused in the words of each
// dialect, and reach no provider.
func (s *site) refusesCalls(t *testing.T) {
	t.Helper()
	for _, stream := range []bool{false, true} {
		for _, path := range []string{"/ai-gateway/mlflow/v1/responses", "/ai-gateway/openresponses/v1/responses"} {
			s.n++
			id := fmt.Sprintf("refused%d", s.n)
			status, body := s.call(t, "POST", path, fmt.Sprintf(`{"model":%q,"input":%q,"stream":%t}`, gpt, prompt(id, plain), stream))
			var e struct {
				ErrorCode string `json:"error_code"`
				Message   string
				Error     struct{ Type, Code, Message string }
			}
			if err := json.Unmarshal([]byte(body), &e); err != nil || status != http.StatusServiceUnavailable || e.Error.Code != "unavailable" || e.Error.Message == "" {
				t.Errorf("%s, stream %t: got %d %s, want status 503 and the code unavailable", path, stream, status, body)
			}
			if spec := strings.Contains(path, "openresponses"); spec != (e.ErrorCode == "") || !spec && e.ErrorCode != "TEMPORARILY_UNAVAILABLE" {
				t.Errorf("%s: got %s", path, body)
			}
			if strings.Contains(body, s.dir) {
				t.Errorf("%s: the error names a path: %s", path, body)
			}
			if seen := s.sights()[id]; len(seen) > 0 {
				t.Errorf("%s: a provider saw a call that is not recorded", path)
			}
		}
	}
}

// rows checks that the usage table has exactly the rows of these calls, all
// completed, with the provider's counts.
func (s *site) rows(t *testing.T, ids ...string) {
	t.Helper()
	all := usageRows(t, s.file)
	for id, rows := range all { // of refused calls there may be rows that say so
		if len(rows) == 1 && rows[0].status == "refused" {
			delete(all, id)
		}
	}
	for _, id := range ids {
		u := count(id, 0)
		if r := all[id]; len(r) != 1 || r[0].status != "completed" || r[0].in != u.Input+u.Cached || r[0].out != u.Output+u.Reasoning {
			t.Errorf("rows of %s: got %+v, want one, completed, with %+v tokens", id, r, u)
		}
		delete(all, id)
	}
	if len(all) > 0 {
		t.Errorf("rows of nobody's calls: %+v", all)
	}
}

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
		if err := unix.Prlimit(s.PID(), unix.RLIMIT_FSIZE, &limit, nil); err != nil {
			t.Fatal(err)
		}
	}
	return disk{fill: func(s *site) { set(s, 0) }, free: func(s *site) { set(s, unix.RLIM_INFINITY) }}
}

// With no room for the log, calls are refused; what runs already ends well and
// is recorded later; and everything goes on once there is room.
func TestLogDiskFull(t *testing.T) {
	t.Parallel()
	disks := map[string]func(t *testing.T, dir string) disk{"limit": func(t *testing.T, _ string) disk { return limited(t) }}
	if os.Getuid() == 0 {
		disks["tmpfs"] = func(t *testing.T, dir string) disk { return mounted(t, filepath.Join(dir, "log"), 4) }
	}
	for name, make := range disks {
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

// runs starts a call with the id "under", whose reply is held at gate.
func (s *site) runs(t *testing.T, gate *upstream.Gate) <-chan answer {
	t.Helper()
	s.mu.Lock()
	s.held["under"] = gate
	s.mu.Unlock()
	ch := make(chan answer, 1)
	go func() {
		ch <- s.send(t.Context(), http.DefaultClient, s.URL(), request{id: "under", errand: waits, model: claude, stream: true})
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
				if err == nil && e.IsDir() {
					err = os.Chmod(path, mode)
				}
				return err
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
