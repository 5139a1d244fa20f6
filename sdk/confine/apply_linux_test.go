//go:build linux && (amd64 || arm64)

package confine

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The test binary runs itself: a confined process cannot go back.
const (
	roleVar = "CONFINE_TEST_ROLE"
	roomVar = "CONFINE_TEST_ROOM"
)

// room is what a child gets: paths to try, and what to keep.
type room struct {
	Policy  Policy
	Again   *Policy // applied after Policy
	Allowed string  // a file among ReadFiles
	Other   string  // a file beside it
	Dir     string  // the directory of both, writable for the user
	Parent  int
	TCP     string   // address of a listener
	Socket  string   // path of a listener
	Self    string   // the test binary
	Only    []string // the attempts to make; empty means all
}

func TestMain(m *testing.M) {
	switch os.Getenv(roleVar) {
	case "apply":
		childMain(true)
	case "started":
		childMain(false)
	case "exec":
		childExec()
	case "become":
		childBecome()
	case "hello":
		fmt.Print("hello")
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func childMain(apply bool) {
	var r room
	if err := json.Unmarshal([]byte(os.Getenv(roomVar)), &r); err != nil {
		panic(err)
	}
	// Threads that exist before Apply must be narrowed too.
	start, results := make(chan bool), make(chan error)
	const threads = 8
	for range threads {
		go func() {
			runtime.LockOSThread()
			<-start
			_, err := os.ReadFile(r.Other)
			results <- err
		}()
	}
	out := map[string]string{}
	if apply {
		rep, err := Apply(r.Policy)
		if err != nil {
			panic(err)
		}
		out["report"] = rep.String()
		if r.Again != nil {
			if _, err := os.ReadFile(r.Other); err != nil {
				panic(err)
			}
			if _, err := Apply(*r.Again); err != nil {
				panic(err)
			}
		}
	}
	close(start)
	for i := range threads {
		out["thread "+strconv.Itoa(i)] = verdict(<-results)
	}
	for name, try := range attempts(r) {
		if len(r.Only) == 0 || slices.Contains(r.Only, name) {
			out[name] = verdict(try())
		}
	}
	for name, res := range map[string]int{"data": unix.RLIMIT_DATA, "files": unix.RLIMIT_NOFILE, "core": unix.RLIMIT_CORE, "cpu": unix.RLIMIT_CPU, "size": unix.RLIMIT_FSIZE} {
		var l unix.Rlimit
		if err := unix.Getrlimit(res, &l); err != nil {
			panic(err)
		}
		out["limit "+name] = fmt.Sprint(l.Max)
	}
	if err := json.NewEncoder(os.Stdout).Encode(out); err != nil {
		panic(err)
	}
	os.Exit(0)
}

func childExec() {
	var r room
	if err := json.Unmarshal([]byte(os.Getenv(roomVar)), &r); err != nil {
		panic(err)
	}
	if _, err := Apply(r.Policy); err != nil {
		panic(err)
	}
	err := syscall.Exec(r.Self, []string{r.Self}, []string{roleVar + "=started", roomVar + "=" + os.Getenv(roomVar)})
	panic(err)
}

// childBecome becomes this program again by descriptor, under a name that it
// does not have.
func childBecome() {
	var r room
	if err := json.Unmarshal([]byte(os.Getenv(roomVar)), &r); err != nil {
		panic(err)
	}
	f, err := os.Open(r.Self)
	if err != nil {
		panic(err)
	}
	os.Setenv(roleVar, "started")
	panic(Become(Program{Policy: r.Policy, Path: "/nowhere", Descriptor: int(f.Fd()), Args: []string{r.Self}, Parent: os.Getppid()}))
}

func verdict(err error) string {
	switch {
	case err == nil:
		return "done"
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.ENOSYS), errors.Is(err, syscall.ECHILD), errors.Is(err, syscall.EFBIG), errors.Is(err, syscall.ENOMEM):
		return "refused"
	}
	return err.Error()
}

// users are the user ids to run as: the own one, and an ordinary one too when
// the tests run as root.
func users() []int {
	if os.Getuid() == 0 {
		return []int{0, 65534}
	}
	return []int{os.Getuid()}
}

// furnish makes files that uid may use and returns their room.
func furnish(t *testing.T, uid int) room {
	t.Helper()
	// Not t.TempDir: a directory above it is closed to other users.
	dir, err := os.MkdirTemp("", "confine-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	r := room{Dir: dir, Allowed: filepath.Join(dir, "allowed"), Other: filepath.Join(dir, "other"), Parent: os.Getpid(), Self: filepath.Join(dir, "self")}
	bin, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	for path, b := range map[string][]byte{r.Allowed: []byte("yes"), r.Other: []byte("no"), filepath.Join(dir, "expendable"): nil, r.Self: bin} {
		if err := os.WriteFile(path, b, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(path, uid, -1); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(dir, uid, -1); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	r.TCP = l.Addr().String()
	r.Socket = filepath.Join(dir, "listener")
	u, err := net.Listen("unix", r.Socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { u.Close() })
	if err := os.Chmod(r.Socket, 0o777); err != nil {
		t.Fatal(err)
	}
	return r
}

// inhabit runs a child of the role in r and returns what each attempt gave.
func inhabit(t *testing.T, role string, uid int, r room) map[string]string {
	t.Helper()
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(r.Self)
	cmd.Env = []string{roleVar + "=" + role, roomVar + "=" + string(b)}
	cmd.Dir = "/"
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if uid != os.Getuid() {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: 65534}}
	}
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("child: %v\n%s", err, stderr.String())
	}
	var got map[string]string
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("child wrote %q: %v", out, err)
	}
	return got
}

func TestApplyKeepsOnlyTheFile(t *testing.T) {
	t.Parallel()
	if p := Probe(); !p.Full() {
		t.Logf("this kernel grants less: %s", p)
	}
	for _, uid := range users() {
		t.Run("uid "+strconv.Itoa(uid), func(t *testing.T) {
			t.Parallel()
			r := furnish(t, uid)

			// Without Apply the same child gets through: the attempts are real.
			r.Only = []string{"read allowed", "read other", "read passwd", "write allowed", "write beside", "chmod", "remove", "mkdir", "connect tcp", "connect udp", "listen unix", "listen tcp", "exec self", "exec shell", "memory file",
				"connect unix", "datagrams", "stream pair", "shared memory", "memory as a stack", "2 GiB", "empty file", "full file", "own group", "priority"}
			free := inhabit(t, "started", uid, r)
			for _, name := range append(r.Only, "thread 0") {
				if free[name] != "done" {
					t.Errorf("unconfined: %s: %s, want done", name, free[name])
				}
			}

			r = furnish(t, uid)
			r.Policy = Policy{ReadFiles: []string{r.Allowed}, MaxMemory: 1 << 30, MaxOpenFiles: 64, MaxFileSize: 1 << 20, MaxCPU: 90 * time.Second}
			got := inhabit(t, "apply", uid, r)
			t.Log(got["report"])
			limits := map[string]string{"limit data": "1073741824", "limit files": "64", "limit size": "1048576", "limit cpu": "90", "limit core": "0"}
			for name, v := range got {
				want := "refused"
				switch {
				case name == "report":
					continue
				case name == "read allowed":
					want = "done"
				case strings.HasPrefix(name, "limit "):
					want = limits[name]
				}
				if v != want {
					t.Errorf("%s: %s, want %s", name, v, want)
				}
			}
			if len(got) != len(attempts(r))+8+5+1 {
				t.Errorf("%d results, want every attempt answered", len(got))
			}
		})
	}
}

// A launcher narrows itself and becomes the program.
func TestApplyThenExec(t *testing.T) {
	t.Parallel()
	for _, uid := range users() {
		t.Run("uid "+strconv.Itoa(uid), func(t *testing.T) {
			t.Parallel()
			r := furnish(t, uid)
			work := filepath.Join(r.Dir, "work")
			if err := os.Mkdir(work, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.Chown(work, uid, -1); err != nil {
				t.Fatal(err)
			}
			r.Policy = Policy{ReadFiles: []string{r.Self, r.Allowed}, ReadDirs: SystemDirs(), WriteDirs: []string{work}, Exec: true, Unix: true}
			inside := r
			inside.Dir = work
			inside.Policy = r.Policy
			if err := os.WriteFile(filepath.Join(work, "expendable"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			got := inhabit(t, "exec", uid, inside)
			done := map[string]bool{"read allowed": true, "list": true, "write beside": true, "remove": true, "mkdir": true, "listen unix": true, "exec self": true, "memory file": true, "listen abstract": true, "signal own group": true, "chmod": true, "datagrams": true, "stream pair": true,
				"shared memory": true, "memory as a stack": true, "2 GiB": true, "empty file": true, "full file": true,
				"file without a name": true, "room on the disk": true, "buffer of a socket": true}
			for name, v := range got {
				// A socket with a name is covered from Landlock 9 on.
				if strings.HasPrefix(name, "limit ") || name == "connect unix" {
					continue
				}
				want := "refused"
				if done[name] {
					want = "done"
				}
				if v != want {
					t.Errorf("%s: %s, want %s", name, v, want)
				}
			}
		})
	}
}

// What a launcher does for a server that is not trusted: it may make sockets
// and wait, and start nothing.
func TestBecome(t *testing.T) {
	t.Parallel()
	for _, uid := range users() {
		t.Run("uid "+strconv.Itoa(uid), func(t *testing.T) {
			t.Parallel()
			r := furnish(t, uid)
			r.Policy = Policy{
				ReadFiles: []string{r.Allowed}, ReadDirs: []string{"/proc/self"}, WriteFiles: []string{os.DevNull}, SocketDirs: []string{r.Dir},
				Listen: true, OwnUser: true, MaxMemory: 1 << 30, MaxFileSize: -1, MaxOpenFiles: 64, MaxProcesses: 4000,
			}
			if loader := "/lib64/ld-linux-x86-64.so.2"; exists(loader) { // the race detector is linked dynamically
				r.Policy.ExecFiles, r.Policy.ReadDirs = []string{loader}, append(r.Policy.ReadDirs, SystemDirs()...)
				r.Policy.ReadDirs = slices.DeleteFunc(r.Policy.ReadDirs, func(d string) bool { return d == "/proc" })
			}
			got := inhabit(t, "become", uid, r)
			// SocketDirs holds the other files too, which a launcher's would not.
			done := map[string]bool{"read allowed": true, "read other": true, "list": true, "remove": true, "listen unix": true, "listen abstract": true,
				"write beside": true, "write allowed": true, "stream pair": true, "empty file": true}
			limits := map[string]string{"limit data": "1073741824", "limit files": "64", "limit size": "0", "limit core": "0"}
			for name, v := range got {
				want := "refused"
				if done[name] || strings.HasPrefix(name, "thread ") {
					want = "done"
				}
				if l := limits[name]; l != "" {
					want = l
				}
				if v != want && name != "limit cpu" {
					t.Errorf("%s: %s, want %s", name, v, want)
				}
			}
			if len(got) != len(attempts(r))+8+5 {
				t.Errorf("%d results, want every attempt answered", len(got))
			}
		})
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func TestApplyTwiceNarrowsFurther(t *testing.T) {
	t.Parallel()
	r := furnish(t, os.Getuid())
	r.Policy = Policy{ReadFiles: []string{r.Allowed, r.Other}}
	r.Again = &Policy{ReadFiles: []string{r.Allowed, "/etc/passwd"}}
	r.Only = []string{"read allowed", "read other", "read passwd"}
	got := inhabit(t, "apply", os.Getuid(), r)
	for name, want := range map[string]string{"read allowed": "done", "read other": "refused", "read passwd": "refused", "thread 0": "refused"} {
		if got[name] != want {
			t.Errorf("%s: %s, want %s", name, got[name], want)
		}
	}
}

func TestApplyRefusesWrongPaths(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "f")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	// Only restrict's checks are reached: they come before anything is given
	// up, so that this process stays as it is.
	for _, p := range []Policy{
		{ReadFiles: []string{dir}},
		{ReadFiles: []string{filepath.Join(dir, "absent")}},
		{ReadDirs: []string{file}},
		{WriteDirs: []string{file}},
	} {
		if err := restrict(p); err == nil {
			t.Fatalf("restrict(%+v) succeeded, want an error", p)
		}
	}
	if _, err := os.ReadFile("/etc/passwd"); err != nil {
		t.Errorf("the test process was narrowed: %v", err)
	}
}

func TestReportString(t *testing.T) {
	t.Parallel()
	r := Report{Landlock: 7, Seccomp: true, NoNewPrivs: true}
	if got, want := r.String(), "landlock=7 seccomp=true no_new_privs=true"; got != want {
		t.Errorf("String() = %q, want %q", got, want)
	}
	if !r.Full() {
		t.Error("Full() = false with nothing missing")
	}
	r.Missing = []string{"no x"}
	if got, want := r.String(), "landlock=7 seccomp=true no_new_privs=true; no x"; got != want {
		t.Errorf("String() = %q, want %q", got, want)
	}
}
