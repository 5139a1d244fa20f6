package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestPluginNew(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "weather")
	code, out, errs := command(t, "plugin", "new", "tool", "weather", "--lang", "python", "--dir", dir)
	if code != 0 {
		t.Fatalf("code %d: %s", code, errs)
	}
	for _, f := range []string{"plugin", "tool_weather.py", "README.md"} {
		if _, err := os.Stat(filepath.Join(dir, f)); err != nil {
			t.Error(err)
		}
		if !strings.Contains(out, filepath.Join(dir, f)) {
			t.Errorf("the output does not name %s:\n%s", f, out)
		}
	}
	tests := []struct {
		args string
		code int
		want string
	}{
		{"plugin new tool weather --dir " + dir, 1, "is not empty"},
		{"plugin new tool", 2, "takes two arguments"},
		{"plugin new motor x", 2, `"motor" is no kind of plugin`},
		{"plugin new tool x --lang cobol", 2, "there is go, python, node"},
		{"plugin new tool x --sdk /nowhere", 1, "/nowhere is not a directory of Sallyport's sources"},
	}
	for _, tt := range tests {
		if code, _, errs := command(t, strings.Fields(tt.args)...); code != tt.code || !strings.Contains(errs, tt.want) {
			t.Errorf("sallyport %s: code %d, %q, want %d, %q", tt.args, code, errs, tt.code, tt.want)
		}
	}
}
