//go:build unix

package sandbox

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"
)

// roleVar makes the test binary something else than the tests: a worker that
// has been taken over, or a process with workers that is killed.
const roleVar = "SANDBOX_TEST_ROLE"

func TestMain(m *testing.M) {
	switch role := os.Getenv(roleVar); role {
	case "":
		code := m.Run()
		if built.dir != "" {
			os.RemoveAll(built.dir)
		}
		os.Exit(code)
	default:
		os.Exit(rogue(role))
	}
}

// built is the worker program.
var built struct {
	once sync.Once
	dir  string
	err  error
}

// workerProgram returns its path.
func workerProgram() (string, error) {
	built.once.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "sandbox-worker-"); built.err != nil {
			return
		}
		build := exec.Command("go", "build", "-o", built.dir, ".")
		build.Dir = filepath.Join("testdata", "worker")
		if out, err := build.CombinedOutput(); err != nil {
			built.err = fmt.Errorf("build the worker: %w\n%s", err, out)
		}
	})
	return filepath.Join(built.dir, "worker"), built.err
}

// startAs is Config.Start for a worker of that role.
func startAs(role string) func(context.Context, *os.File) (*exec.Cmd, error) {
	return func(ctx context.Context, file *os.File) (*exec.Cmd, error) {
		exe, err := os.Executable()
		if role == "worker" {
			exe, err = workerProgram()
		}
		if err != nil {
			return nil, err
		}
		return startProgram(exe, role)(ctx, file)
	}
}

func startProgram(path, role string) func(context.Context, *os.File) (*exec.Cmd, error) {
	return func(_ context.Context, file *os.File) (*exec.Cmd, error) {
		cmd := command(path, role)
		cmd.ExtraFiles = []*os.File{file}
		return cmd, cmd.Start()
	}
}

func command(path, role string) *exec.Cmd {
	cmd := exec.Command(path)
	cmd.Env = []string{roleVar + "=" + role}
	cmd.Stderr = os.Stderr
	return cmd
}

// made are the guests of these tests, and a directory with that of shell alone.
var made struct {
	once       sync.Once
	dir, shell string
	err        error
}

// testGuests returns a directory with guests that have the name of all three
// languages and run testdata/guest, and one for the compiled ones. Both are in
// the user's cache: compiling takes a minute of CPU with the race detector.
func testGuests(t testing.TB) (guests, cache string) {
	t.Helper()
	made.once.Do(func() {
		if made.dir, made.err = makeGuests(); made.err == nil {
			made.shell, made.err = onlyShell(filepath.Join(made.dir, "guests"))
		}
	})
	if made.err != nil {
		t.Fatal(made.err)
	}
	return filepath.Join(made.dir, "guests"), filepath.Join(made.dir, "compiled")
}

// onlyShell copies what shell needs of the guests: a worker that has one starts
// in a third of the time.
func onlyShell(guests string) (dir string, err error) {
	if _, err := workerProgram(); err != nil { // makes the directory
		return "", err
	}
	dir = filepath.Join(built.dir, "shell")
	if err := os.CopyFS(dir, os.DirFS(guests)); err != nil {
		return "", err
	}
	return dir, rewriteManifest(dir, func(m map[string]any) {
		m["guests"] = slices.DeleteFunc(m["guests"].([]any), func(g any) bool { return g.(map[string]any)["language"] != string(Shell) })
	})
}

// rewriteManifest changes the manifest of guests.
func rewriteManifest(dir string, change func(map[string]any)) error {
	file := filepath.Join(dir, "manifest.json")
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var m map[string]any
	if err := json.Unmarshal(b, &m); err != nil {
		return err
	}
	change(m)
	if b, err = json.Marshal(m); err != nil {
		return err
	}
	return os.WriteFile(file, b, 0o600)
}

// allLanguages has the guests of all three.
func allLanguages(c *Config, _ *tuning) { c.Guests = filepath.Join(made.dir, "guests") }

func makeGuests() (dir string, err error) {
	caches, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	caches = filepath.Join(caches, "sallyport", "sandbox-test")
	if err := os.MkdirAll(caches, 0o700); err != nil {
		return "", err
	}
	tmp, err := os.MkdirTemp(caches, "new-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)
	reactor := filepath.Join(tmp, "reactor.wasm")
	build := exec.Command("go", "build", "-trimpath", "-buildmode=c-shared", "-ldflags=-s -w", "-o", reactor, ".")
	build.Dir = filepath.Join("testdata", "guest")
	build.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "GOFLAGS=", "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the guest: %w\n%s", err, out)
	}
	b, err := os.ReadFile(reactor)
	if err != nil {
		return "", err
	}
	maker, err := sources(filepath.Join("internal", "module", "*.go"), filepath.Join("internal", "engine", "manifest.go"))
	if err != nil {
		return "", err
	}
	dir = filepath.Join(caches, sum(b)[:16]+"-"+sum(maker)[:16])
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	program, err := workerProgram()
	if err != nil {
		return "", err
	}
	if out, err := exec.Command(program, reactor, filepath.Join(tmp, "guests")).CombinedOutput(); err != nil {
		return "", fmt.Errorf("make the guests: %w\n%s", err, out)
	}
	if err := os.Mkdir(filepath.Join(tmp, "compiled"), 0o700); err != nil {
		return "", err
	}
	// Those of other states of the sources go, once nobody uses them.
	old, err := filepath.Glob(filepath.Join(caches, "*"))
	if err != nil {
		return "", err
	}
	for _, o := range old {
		if info, err := os.Stat(o); err == nil && time.Since(info.ModTime()) > 24*time.Hour {
			os.RemoveAll(o)
		}
	}
	if err := os.Rename(tmp, dir); err != nil && !errors.Is(err, fs.ErrExist) && !errors.Is(err, syscall.ENOTEMPTY) { // another test was quicker
		return "", err
	}
	return dir, nil
}

// sources are the files that patterns match.
func sources(patterns ...string) ([]byte, error) {
	var all []byte
	for _, pattern := range patterns {
		names, err := filepath.Glob(pattern)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			b, err := os.ReadFile(name)
			if err != nil {
				return nil, err
			}
			all = append(all, b...)
		}
	}
	return all, nil
}

func sum(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

// patient are times that no busy machine runs into.
var patient = tuning{start: 10 * time.Minute, answer: 5 * time.Minute, idle: time.Hour, watch: time.Hour, backoff: time.Millisecond, slow: time.Hour}

// box starts a Sandbox with real workers that have shell, as change says.
func box(t testing.TB, change func(*Config, *tuning)) *Sandbox {
	t.Helper()
	_, cache := testGuests(t)
	cfg := Config{
		Guests: made.shell, Cache: cache, Start: startAs("worker"), Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Limits: Limits{Wall: 5 * time.Minute, CPU: 5 * time.Minute},
	}
	tune := patient
	if change != nil {
		change(&cfg, &tune)
	}
	if cfg.Limits.Wait == 0 { // as patient as tune
		cfg.Limits.Wait = time.Hour
	}
	b, err := start(cfg, tune)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

// open makes a session that ends with the test.
func open(t testing.TB, b *Sandbox, who string, tables ...Table) *Session {
	t.Helper()
	s, err := b.Open(t.Context(), who, tables)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// run runs code, which must be heard of.
func run(t testing.TB, s *Session, code string) Result {
	t.Helper()
	r, err := s.Exec(t.Context(), Program{Language: Shell, Code: code})
	if err != nil {
		t.Fatalf("Exec(%q): %v", code, err)
	}
	return r
}

// until waits for a state of b.
func until(t testing.TB, b *Sandbox, what string, is func() bool) {
	t.Helper()
	for {
		b.mu.Lock()
		done, changed := is(), b.changed
		b.mu.Unlock()
		if done {
			return
		}
		select {
		case <-changed:
		case <-t.Context().Done():
			t.Fatalf("never came: %s", what)
		case <-time.After(20 * time.Millisecond): // states that nobody is told of
		}
		runtime.Gosched()
	}
}

// allLeft waits until no program has or wants a turn, and no worker that starts.
func allLeft(t testing.TB, b *Sandbox, turns int) {
	t.Helper()
	until(t, b, "all turns to be given back", func() bool {
		waiting, free := b.queue.lengths()
		return waiting == 0 && free == turns
	})
}
