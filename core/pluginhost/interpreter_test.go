package pluginhost

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// What an environment's files say does not open directories of the operator.
func TestInterpreterDirs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	python := filepath.Join(dir, "python", "bin", "python3.11")
	secrets := filepath.Join(dir, "secrets", "bin")
	if err := errors.Join(os.MkdirAll(filepath.Dir(python), 0o755), os.MkdirAll(secrets, 0o755), os.WriteFile(python, []byte("\x7fELF"), 0o755)); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "version")
	if err := os.Symlink("python", link); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		home  string
		wrong bool
	}{
		"the directory of the interpreter": {filepath.Dir(python), false},
		"its prefix":                       {filepath.Dir(filepath.Dir(python)), false},
		"a link to it":                     {filepath.Join(link, "bin"), false},
		"none":                             {"", false},
		"a relative one":                   {"../../secrets/bin", false},
		"the system's":                     {"/usr/bin", false},
		"secrets":                          {secrets, true},
		"below /etc":                       {"/etc/x", true},
		"what is not there":                {"/does/not/exist/bin", true},
		"a way around through the prefix":  {filepath.Dir(python) + "/../../secrets/bin", true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := filepath.Join(t.TempDir(), ".venv")
			interpreter := filepath.Join(env, "bin", "python3")
			if err := errors.Join(os.MkdirAll(filepath.Dir(interpreter), 0o755), os.Symlink(python, interpreter),
				os.WriteFile(filepath.Join(env, "pyvenv.cfg"), []byte("Home = "+tt.home+"\n"), 0o644)); err != nil {
				t.Fatal(err)
			}
			got, err := interpreterDirs(interpreter)
			if tt.wrong {
				if err == nil || !strings.Contains(err.Error(), "names the home") {
					t.Errorf("%q, %v, want it refused", got, err)
				}
				return
			}
			want := []string{env, filepath.Join(dir, "python")}
			slices.Sort(want)
			if err != nil || !slices.Equal(got, want) {
				t.Errorf("%q, %v, want %q", got, err, want)
			}
		})
	}
	if got, err := interpreterDirs("/bin/sh"); len(got) > 0 || err != nil {
		t.Errorf("a shell reads %q, %v, want nothing but libraries", got, err)
	}
}

// A program in ~/bin opens the libraries beside it, not the home directory.
func TestInterpreterInTheHomeDirectory(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	program := filepath.Join(home, "bin", "node")
	if err := errors.Join(os.MkdirAll(filepath.Dir(program), 0o755), os.WriteFile(program, []byte("\x7fELF"), 0o755), os.Mkdir(filepath.Join(home, "lib"), 0o755)); err != nil {
		t.Fatal(err)
	}
	if got, err := interpreterDirs(program); err != nil || !slices.Equal(got, []string{filepath.Join(home, "lib")}) {
		t.Errorf("%q, %v, want the libraries alone", got, err)
	}
}

// Each start looks at the whole virtual environment.
func TestEnvironmentThatOthersCanChange(t *testing.T) {
	t.Parallel()
	env := filepath.Join(t.TempDir(), ".venv")
	interpreter, module := filepath.Join(env, "bin", "python3"), filepath.Join(env, "lib", "deep", "x.py")
	for path, text := range map[string]string{interpreter: "\x7fELF", module: "x", filepath.Join(env, "pyvenv.cfg"): ""} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := checkInterpreter([]string{interpreter}); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(module, 0o666); err != nil {
			t.Fatal(err)
		}
		if err := checkInterpreter([]string{interpreter}); err == nil || !strings.Contains(err.Error(), `x.py" is writable by everybody`) {
			t.Errorf("a module of everybody: %v", err)
		}
		if err := os.Chmod(module, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
