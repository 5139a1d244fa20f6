package pluginhost

import (
	"log/slog"
	"strings"
	"testing"
)

func TestDenied(t *testing.T) {
	t.Parallel()
	tests := []struct{ line, want string }{
		{`PermissionError: [Errno 13] Permission denied: '/etc/passwd'`, "may not read /etc/passwd; name it in the manifest's requires.read and add the plugin again, or run: sallyport plugin add --read /etc/passwd"},
		{`/usr/bin/python3: can't open file '/etc/passwd': [Errno 13] Permission denied`, "may not read /etc/passwd; "},
		{`Error: EACCES: permission denied, open '/etc/passwd'`, "may not read /etc/passwd; "},
		{`panic: open /etc/passwd: permission denied`, "may not read /etc/passwd; "},
		{`{"@level":"error","@message":"open /etc/passwd: permission denied"}`, "may not read /etc/passwd; "},
		{`x: error while loading shared libraries: libz.so.1: cannot open shared object file: No such file or directory`, "needs the library libz.so.1, which"},
		{`OSError: /etc/passwd: cannot open shared object file: Permission denied`, "may not read /etc/passwd; "},
		{`ModuleNotFoundError: No module named 'grpc'`, `cannot import the Python module "grpc"`},
		{`Error: Cannot find module '@grpc/grpc-js'`, `cannot load the Node module "@grpc/grpc-js"`},
		{`PermissionError: [Errno 13] Permission denied: '/tmp/no-such-file-at-all'`, "may not make /tmp/no-such-file-at-all: plugins write no files"},
		{`connect: permission denied`, ""},
		{`the user was denied`, ""},
	}
	for _, tt := range tests {
		if got := denied(tt.line); !strings.HasPrefix(got, tt.want) || tt.want == "" && got != "" {
			t.Errorf("denied(%q) = %q, want %q…", tt.line, got, tt.want)
		}
	}
}

func TestReasonIsTheDeniedFile(t *testing.T) {
	t.Parallel()
	const traceback = "Traceback (most recent call last):\n  File \"x.py\", line 3\nPermissionError: [Errno 13] Permission denied: '/etc/passwd'"
	tests := []struct{ name, said, want string }{
		{"the last line", traceback, "it may not read /etc/passwd"},
		{"lines after it, as Node prints", traceback + "\n  errno: -13\n}\n\nNode.js v20.1.1", "it may not read /etc/passwd"},
		{"long ago", traceback + strings.Repeat("\nworking", 2*hintLines) + "\nout of luck", "out of luck"},
		{"another crash", traceback + "\npanic: out of luck", "panic: out of luck"},
		{"a crash of it", "panic: open /etc/passwd: permission denied" + strings.Repeat("\n\tstack", 2*hintLines), "it may not read /etc/passwd"},
	}
	for _, tt := range tests {
		logged := new(records)
		s := newStderrLog(slog.New(slog.NewTextHandler(logged, nil)))
		for line := range strings.Lines(tt.said) {
			s.line(strings.TrimRight(line, "\n"))
		}
		if got := s.reason(); !strings.HasPrefix(got, tt.want) {
			t.Errorf("%s: reason %q, want %q…", tt.name, got, tt.want)
		}
		if n := strings.Count(logged.String(), "requires.read"); n != 1 {
			t.Errorf("%s: %d hints in the log, want 1:\n%s", tt.name, n, logged)
		}
	}
}
