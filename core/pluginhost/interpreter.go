package pluginhost

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sallyport-gateway/sallyport/core/pluginlock"
)

// interpreterDirs finds, when a plugin is added, the directories that its
// interpreter reads besides the libraries of the system: those it is installed
// in, and its virtual environment. They are shown to the operator and kept in the
// list; no start looks for them again, for what they are found by, links and
// pyvenv.cfg, is the author's.
func interpreterDirs(interpreter string) ([]string, error) {
	real, err := filepath.EvalSymlinks(interpreter)
	if err != nil {
		return nil, err
	}
	var dirs []string
	if env := environmentRoot(interpreter); env != "" {
		if err := checkHome(env, real); err != nil {
			return nil, err
		}
		dirs = append(dirs, installed(env)...)
	}
	if prefix := filepath.Dir(filepath.Dir(real)); !ofSystem(prefix) {
		dirs = append(dirs, installed(prefix)...)
	}
	slices.Sort(dirs)
	return slices.Compact(dirs), nil
}

// checkHome refuses a virtual environment that names another home than the
// directory of the interpreter real, which its python is a link to.
func checkHome(env, real string) error {
	home, err := pythonHome(filepath.Join(env, "pyvenv.cfg"))
	if err != nil || home == "" {
		return err
	}
	if ofSystem(filepath.Dir(home)) {
		return nil // nothing has to be added for it
	}
	at, err := filepath.EvalSymlinks(home)
	if err == nil && (at == filepath.Dir(real) || at == filepath.Dir(filepath.Dir(real))) {
		return nil
	}
	return fmt.Errorf("its virtual environment %q names the home %q, where its interpreter %q is not; make it anew with `python3 -m venv --symlinks`, or name another interpreter with --interpreter", env, home, real)
}

// pythonHome is the directory of the base program that a virtual environment
// names, "" for none.
func pythonHome(cfg string) (string, error) {
	f, err := os.Open(cfg)
	if err != nil {
		return "", err
	}
	defer f.Close()
	lines := bufio.NewScanner(io.LimitReader(f, 64<<10))
	for lines.Scan() {
		k, v, _ := strings.Cut(lines.Text(), "=")
		if v = strings.TrimSpace(v); strings.EqualFold(strings.TrimSpace(k), "home") && filepath.IsAbs(v) {
			return filepath.Clean(v), nil
		}
	}
	return "", lines.Err()
}

// ofSystem reports whether what is installed in the directory prefix is found
// in the libraries of the system.
func ofSystem(prefix string) bool {
	return slices.Contains([]string{"/", "/usr", "/usr/local"}, prefix)
}

// installed are the parts of the directory prefix that what is installed there
// reads: all of it, or only its libraries when other things are in there too.
func installed(prefix string) []string {
	home, _ := os.UserHomeDir()
	shared := strings.Count(prefix, "/") < 2 || home == prefix || strings.HasPrefix(home, prefix+"/")
	if !shared {
		return []string{prefix}
	}
	return existing(filepath.Join(prefix, "lib"), filepath.Join(prefix, "lib64"), filepath.Join(prefix, "pyvenv.cfg"))
}

// environmentRoot is the virtual environment that a Python interpreter belongs
// to, with links resolved, "" for one of the system.
func environmentRoot(interpreter string) string {
	root, err := filepath.EvalSymlinks(filepath.Dir(filepath.Dir(interpreter)))
	if err != nil {
		return ""
	}
	if _, err := os.Stat(filepath.Join(root, "pyvenv.cfg")); err != nil {
		return ""
	}
	return root
}

// Environment is the virtual environment of a plugin's interpreter, "" for none.
// Its files are trusted as long as nobody else can change them: they are not
// pinned.
func Environment(interpreter []string) string {
	if len(interpreter) == 0 {
		return ""
	}
	return environmentRoot(interpreter[0])
}

// checkInterpreter refuses an interpreter that others can change, and one with a
// virtual environment in which they can change anything. Neither is pinned: the
// updates of the system or of packages may replace their files.
func checkInterpreter(words []string) error {
	if len(words) == 0 {
		return nil
	}
	info, err := os.Stat(words[0])
	if err != nil {
		return fmt.Errorf("its interpreter: %w", err)
	}
	if err := pluginlock.CheckOwned(info); err != nil {
		return fmt.Errorf("its interpreter %s %w", words[0], err)
	}
	if env := environmentRoot(words[0]); env != "" {
		if err := pluginlock.CheckTree(env); err != nil {
			return fmt.Errorf("its virtual environment: %w", err)
		}
	}
	return nil
}
