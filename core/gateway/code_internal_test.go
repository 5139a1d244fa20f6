package gateway

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-gateway/sallyport/core/config"
)

func TestChangedCode(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		is   config.CodeExecution
		want []string
	}{
		{config.CodeExecution{}, nil},
		{config.CodeExecution{Offer: "never", Languages: []string{"sql"}, Limits: config.CodeLimits{Table: 1, Tables: 2}}, nil},
		{config.CodeExecution{Offer: "never", Workers: 2, Limits: config.CodeLimits{Table: 1, Memory: 1 << 30}}, []string{"code_execution.workers", "code_execution.limits.memory"}},
		{config.CodeExecution{Guests: "/g", Cache: "/c", Shared: true}, []string{"code_execution.guests", "code_execution.cache", "code_execution.shared"}},
		{config.CodeExecution{Limits: config.CodeLimits{Wall: time.Second, CPU: time.Second, Output: 1, Scratch: 1, Sessions: 1}},
			[]string{"code_execution.limits.wall", "code_execution.limits.cpu", "code_execution.limits.output", "code_execution.limits.scratch", "code_execution.limits.sessions"}},
	} {
		if got := changedCode(&config.Config{}, &config.Config{CodeExecution: tt.is}); !slices.Equal(got, tt.want) {
			t.Errorf("%+v: got %q, want %q", tt.is, got, tt.want)
		}
	}
}

func TestCheckCompiled(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	made := func(name string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.Mkdir(path, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	foreign := made("foreign", 0o700)
	root := os.Geteuid() == 0
	if root { // only root can give a directory away
		if err := os.Chown(foreign, 12345, -1); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct{ dir, want string }{
		{made("mine", 0o700), ""},
		{made("readable", 0o755), ""},
		{filepath.Join(dir, "new", "deep"), ""},
		{file, "is not a directory"},
		{filepath.Join(file, "below"), "not a directory"},
		{filepath.Join(file, "below", "deep"), "not a directory"},
		{made("open", 0o777), "can be written by others (mode 0777)"},
		{made("group", 0o770), "can be written by others (mode 0770)"},
		{foreign, map[bool]string{true: "belongs to user 12345"}[root]},
	} {
		err := checkCompiled(tt.dir)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.dir, err, tt.want)
		}
	}
	if !root {
		for name, mode := range map[string]os.FileMode{"closed": 0o500, "dark": 0} {
			if err := checkCompiled(made(name, mode)); err == nil {
				t.Errorf("a directory of the mode %o will do", mode)
			}
		}
	}
}
