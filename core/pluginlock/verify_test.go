package pluginlock

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// tree makes a plugin that is a directory, and its entry.
func tree(t *testing.T) (root string, p Plugin) {
	t.Helper()
	root = t.TempDir()
	for name, text := range map[string]string{
		"w/plugin": "#!/bin/sh\n", "w/lib/a.py": "a", "w/lib/deep/b.py": "b",
		"w/.venv/bin/python3": "x", "w/lib/__pycache__/a.pyc": "x", "w/c.pyc": "x", "w/.git/HEAD": "x",
	} {
		write(t, filepath.Join(root, name), text)
	}
	p = entry("w/plugin")
	var err error
	if p.Files, err = Survey(root, "w/plugin"); err != nil {
		t.Fatal(err)
	}
	return root, p
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}

func TestSurvey(t *testing.T) {
	t.Parallel()
	_, p := tree(t)
	var got []string
	for name := range p.Files {
		got = append(got, name)
	}
	slices.Sort(got)
	if want := []string{"w/lib/a.py", "w/lib/deep/b.py", "w/plugin"}; !slices.Equal(got, want) {
		t.Errorf("Survey found %q, want %q", got, want)
	}
	if want := "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"; p.Files["w/lib/a.py"] != want {
		t.Errorf("the digest of %q is %s, want %s", "a", p.Files["w/lib/a.py"], want)
	}
}

func TestSurveyRefuses(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		do   func(root string) error
		want string
	}{
		"a file of everybody":      {func(r string) error { return os.Chmod(r+"/w/lib/a.py", 0o666) }, "a.py is writable by everybody"},
		"a directory of everybody": {func(r string) error { return os.Chmod(r+"/w/lib", 0o777) }, "is writable by everybody"},
		"the top of everybody":     {func(r string) error { return os.Chmod(r+"/w", 0o777) }, "is writable by everybody"},
		"a link to a directory":    {func(r string) error { return os.Symlink("lib", r+"/w/more") }, "symbolic link to a directory"},
		"a link out of it":         {func(r string) error { return os.Symlink("/etc/passwd", r+"/w/data.txt") }, "data.txt is a symbolic link that does not stay in the plugin's directory"},
		"a relative link out of it": {func(r string) error {
			return errors.Join(os.WriteFile(r+"/x", nil, 0o644), os.Symlink("../../x", r+"/w/lib/x"))
		}, "does not stay in the plugin's directory"},
		"a way out through a link": {func(r string) error {
			return errors.Join(os.RemoveAll(r+"/w/.venv"), os.Symlink("/etc", r+"/w/.venv"), os.Symlink(".venv/passwd", r+"/w/x"))
		}, "does not stay in the plugin's directory"},
		"a main file that is a link": {func(r string) error {
			return errors.Join(os.Rename(r+"/w/plugin", r+"/p"), os.Symlink("../p", r+"/w/plugin"))
		}, "does not stay in the plugin's directory"},
		"a link to itself":            {func(r string) error { return os.Symlink("x", r+"/w/x") }, "does not stay in"},
		"a link to nothing":           {func(r string) error { return os.Symlink("sallyport-no-such-file", r+"/w/x") }, "no such file"},
		"a pipe":                      {func(r string) error { return mkfifo(r + "/w/pipe") }, "/w/pipe is a named pipe, and a plugin is made of files alone"},
		"a socket":                    {func(r string) error { return listenAt(r + "/w/lib/s") }, "/w/lib/s is a socket, and a plugin is made of files alone"},
		"a gateway's token":           {func(r string) error { return put(r+"/w/data/admin-token", "t") }, "/w/data is the data directory of a gateway"},
		"a gateway's data at the top": {func(r string) error { return put(r+"/w/admin-token", "t") }, "/w is the data directory of a gateway"},
		"a gateway's state and log": {func(r string) error {
			return errors.Join(put(r+"/w/lib/deep/d/state.db", "s"), put(r+"/w/lib/deep/d/log/0001", "l"))
		}, "/w/lib/deep/d is the data directory of a gateway"},
		"a gateway that runs":         {func(r string) error { return listenAt(r + "/w/lib/control.sock") }, "/w/lib is the data directory of a gateway"},
		"a directory of plugins":      {func(r string) error { return put(r+"/w/d/plugins/plugins.lock", "{}") }, "/w/d/plugins is a directory of plugins"},
		"no main file":                {func(r string) error { return os.Remove(r + "/w/plugin") }, "there is no such file"},
		"a name that breaks messages": {func(r string) error { return os.WriteFile(r+"/w/a\nb", nil, 0o644) }, "character"},
		"a file that is too long":     {func(r string) error { return os.Truncate(r+"/w/lib/a.py", MaxFile+1) }, "longer than 256 MiB"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root, _ := tree(t)
			if err := tt.do(root); err != nil {
				t.Fatal(err)
			}
			if _, err := Survey(root, "w/plugin"); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Survey: %v, want %q", err, tt.want)
			}
		})
	}
}

// put writes a file that is its owner's alone.
func put(path, text string) error {
	return errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o600))
}

// listenAt leaves a socket at path.
func listenAt(path string) error {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return err
	}
	l.SetUnlinkOnClose(false)
	return l.Close()
}

// Names alone that a data directory has too do not make one.
func TestSurveyTakesWhatIsNoDataDirectory(t *testing.T) {
	t.Parallel()
	root, _ := tree(t)
	err := errors.Join(put(root+"/w/state.db", "s"), put(root+"/w/lib/log/x", "l"), put(root+"/w/lib/control.sock", "no socket"),
		put(root+"/w/lib/admin-token/notes", "a directory"), put(root+"/w/.env", "hidden"))
	if err != nil {
		t.Fatal(err)
	}
	files, err := Survey(root, "w/plugin")
	if err != nil || len(files) != 8 {
		t.Errorf("Survey found %d files, %v, want 8", len(files), err)
	}
}

func TestVerify(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		do      func(root string) error
		want    string // "" means still trusted
		changed bool
	}{
		"nothing":                  {func(string) error { return nil }, "", false},
		"another time":             {func(r string) error { return os.Chtimes(r+"/w/plugin", time.Now(), time.Unix(1e9, 0)) }, "", false},
		"a hard link":              {func(r string) error { return os.Link(r+"/w/plugin", r+"/w/plugin2") }, "", false},
		"what is never part of it": {func(r string) error { return os.WriteFile(r+"/w/x.pyc", nil, 0o644) }, "", false},
		"a file more":              {func(r string) error { return os.WriteFile(r+"/w/extra.py", nil, 0o644) }, "", false}, // it is not copied
		"rewritten in place":       {func(r string) error { return os.WriteFile(r+"/w/lib/a.py", []byte("b"), 0o755) }, "a.py was changed since it was added", true},
		"replaced": {func(r string) error {
			return errors.Join(os.WriteFile(r+"/new", []byte("z"), 0o755), os.Rename(r+"/new", r+"/w/lib/a.py"))
		}, "a.py was changed", true},
		"rewritten with the old time": {func(r string) error {
			info, err := os.Stat(r + "/w/lib/a.py")
			if err != nil {
				return err
			}
			return errors.Join(os.WriteFile(r+"/w/lib/a.py", []byte("b"), 0o755), os.Chtimes(r+"/w/lib/a.py", info.ModTime(), info.ModTime()))
		}, "a.py was changed", true},
		"a file gone":              {func(r string) error { return os.Remove(r + "/w/lib/a.py") }, "a.py is gone since it was added", true},
		"a directory gone":         {func(r string) error { return os.RemoveAll(r + "/w/lib") }, "is gone", true},
		"all gone":                 {func(r string) error { return os.RemoveAll(r + "/w") }, "is gone", true},
		"writable by everybody":    {func(r string) error { return os.Chmod(r+"/w/lib/a.py", 0o777) }, "a.py is writable by everybody", false},
		"a directory of everybody": {func(r string) error { return os.Chmod(r+"/w/lib/deep", 0o777) }, "deep is writable by everybody", false},
		"a directory made a link": {func(r string) error {
			return errors.Join(os.Rename(r+"/w/lib", r+"/lib"), os.Symlink("../lib", r+"/w/lib"))
		}, "is not a directory", false},
		"a link to the same inside": {func(r string) error {
			return errors.Join(os.Rename(r+"/w/lib/a.py", r+"/w/lib/deep/a.py"), os.Symlink("deep/a.py", r+"/w/lib/a.py"))
		}, "", false},
		"a link to the same outside": {func(r string) error {
			return errors.Join(os.Rename(r+"/w/lib/a.py", r+"/a.py"), os.Symlink("../../a.py", r+"/w/lib/a.py"))
		}, "does not stay in the plugin's directory", false},
		"the top made a link": {func(r string) error { return errors.Join(os.Rename(r+"/w", r+"/real"), os.Symlink("real", r+"/w")) }, "", false},
		"a link to everybody's dir": {func(r string) error {
			return errors.Join(os.Mkdir(r+"/w/open", 0o755), os.Chmod(r+"/w/open", 0o777), os.Rename(r+"/w/lib/a.py", r+"/w/open/a.py"), os.Symlink("../open/a.py", r+"/w/lib/a.py"))
		}, "is writable by everybody", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root, p := tree(t)
			if err := p.Verify(root); err != nil {
				t.Fatalf("before: %v", err)
			}
			if err := tt.do(root); err != nil {
				t.Fatal(err)
			}
			dest := t.TempDir()
			for what, err := range map[string]error{"Verify": p.Verify(root), "Copy": p.Copy(root, dest)} {
				_, isChanged := errors.AsType[*Changed](err)
				if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) || isChanged != tt.changed {
					t.Errorf("%s: %v (%t), want %q (%t)", what, err, isChanged, tt.want, tt.changed)
				}
			}
			if tt.want == "" {
				if again, err := Survey(dest, "w/plugin"); err != nil || len(again) != len(p.Files) {
					t.Errorf("the copy has %d files, %v, want %d", len(again), err, len(p.Files))
				} else if err := (&Plugin{Main: p.Main, Files: again}).Verify(dest); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func TestUnchanged(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		do func(path string) error
		ok bool
	}{
		"nothing":            {func(string) error { return nil }, true},
		"a hard link":        {func(p string) error { return os.Link(p, p+"2") }, true},
		"another mode":       {func(p string) error { return os.Chmod(p, 0o700) }, true},
		"renamed away":       {func(p string) error { return os.Rename(p, p+"2") }, true}, // the open file is what was checked
		"rewritten":          {func(p string) error { return os.WriteFile(p, []byte("evil"), 0o755) }, false},
		"rewritten the same": {func(p string) error { return os.WriteFile(p, []byte("good"), 0o755) }, false},
		"longer":             {func(p string) error { return os.Truncate(p, 100) }, false},
		"rewritten with the old time": {func(p string) error {
			info, err := os.Stat(p)
			if err != nil {
				return err
			}
			return errors.Join(os.WriteFile(p, []byte("evil"), 0o755), os.Chtimes(p, info.ModTime(), info.ModTime()))
		}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "tool-x")
			write(t, path, "good")
			p := entry("tool-x")
			var err error
			if p.Files, err = Survey(filepath.Dir(path), "tool-x"); err != nil {
				t.Fatal(err)
			}
			f, stamp, err := p.Open(filepath.Dir(path))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if err := tt.do(path); err != nil {
				t.Fatal(err)
			}
			if err := Unchanged(f, stamp); (err == nil) != tt.ok {
				t.Errorf("Unchanged: %v, want ok %t", err, tt.ok)
			}
		})
	}
}

// What changes within one tick of the clock is noticed all the same.
func TestSumOfAFileJustWritten(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x")
	for i := range 20 {
		write(t, path, string(rune('a'+i)))
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		first, stamp, err := Sum(f)
		if err != nil {
			t.Fatal(err)
		}
		write(t, path, string(rune('A'+i)))
		if err := Unchanged(f, stamp); err == nil {
			t.Error("a change right after the digest leaves the stamp as it was")
		}
		if second, _, err := Sum(f); err != nil || second == first {
			t.Errorf("the digest after the change = %s, %v, was the same", second, err)
		}
		f.Close()
	}
}

func TestCheckTree(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		do   func(dir string) error
		want string
	}{
		"as it was":                {func(string) error { return nil }, ""},
		"a link":                   {func(d string) error { return os.Symlink("/etc/passwd", d+"/x") }, ""},
		"a link to nothing":        {func(d string) error { return os.Symlink("absent", d+"/x") }, ""},
		"a file of everybody":      {func(d string) error { return os.Chmod(d+"/lib/deep/b.py", 0o666) }, `b.py" is writable by everybody`},
		"a directory of everybody": {func(d string) error { return os.Chmod(d+"/lib/deep", 0o777) }, `deep" is writable by everybody`},
		"itself":                   {func(d string) error { return os.Chmod(d, 0o777) }, "is writable by everybody"},
		"the one above":            {func(d string) error { return os.Chmod(filepath.Dir(d), 0o777) }, "is writable by everybody"},
		"no directory":             {os.RemoveAll, "no such file"},
		"too many": {func(d string) error {
			for i := range MaxTree {
				if err := os.Symlink("x", fmt.Sprintf("%s/%d", d, i)); err != nil {
					return err
				}
			}
			return nil
		}, "more than 20000 files"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root, _ := tree(t)
			dir := filepath.Join(root, "w")
			if err := tt.do(dir); err != nil {
				t.Fatal(err)
			}
			if err := CheckTree(dir); (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("CheckTree: %v, want %q", err, tt.want)
			}
		})
	}
}

func BenchmarkCheckTree(b *testing.B) {
	dir := b.TempDir()
	for i := range 5000 {
		sub := fmt.Sprintf("%s/%d", dir, i/50)
		if err := errors.Join(os.MkdirAll(sub, 0o755), os.WriteFile(fmt.Sprintf("%s/%d", sub, i), nil, 0o644)); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		if err := CheckTree(dir); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSum(b *testing.B) {
	path := filepath.Join(b.TempDir(), "x")
	if err := os.WriteFile(path, make([]byte, 16<<20), 0o755); err != nil {
		b.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	b.Run("read", func(b *testing.B) {
		b.SetBytes(16 << 20)
		for b.Loop() {
			clear(sums.known)
			if _, _, err := Sum(f); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("known", func(b *testing.B) {
		for b.Loop() {
			if _, _, err := Sum(f); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func mkfifo(path string) error { return syscall.Mkfifo(path, 0o644) }
