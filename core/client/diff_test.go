package client

import (
	"strings"
	"testing"
)

func TestDiff(t *testing.T) {
	t.Parallel()
	tests := []struct {
		before, after string
		there         bool
		want          string
	}{
		{"a\n", "a\n", true, ""},
		{"", "a\nb\n", false, "--- /dev/null\n+++ f\n@@ -0,0 +1,2 @@\n+a\n+b\n"},
		{"a\nb\nc\n", "a\nx\nc\n", true, "--- f\n+++ f\n@@ -1,3 +1,3 @@\n a\n-b\n+x\n c\n"},
		{"1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n", "1\n2\n3\n4\nx\n5\n6\n7\n8\n9\n10\n", true,
			"--- f\n+++ f\n@@ -2,10 +2,10 @@\n 2\n 3\n 4\n+x\n 5\n 6\n 7\n 8\n 9\n 10\n-11\n"},
		{"1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\n", "1\n2\n3\n4\nx\n5\n6\n7\n8\n9\n10\n11\n", true,
			"--- f\n+++ f\n@@ -2,6 +2,7 @@\n 2\n 3\n 4\n+x\n 5\n 6\n 7\n@@ -9,4 +10,3 @@\n 9\n 10\n 11\n-12\n"},
		{"a", "a\nb\n", true, "--- f\n+++ f\n@@ -1,1 +1,2 @@\n-a\n\\ No newline at end of file\n+a\n+b\n"},
	}
	for _, tt := range tests {
		var b strings.Builder
		writeDiff(&b, "f", tt.there, tt.before, tt.after)
		if b.String() != tt.want {
			t.Errorf("%q to %q: got\n%s\nwant\n%s", tt.before, tt.after, &b, tt.want)
		}
	}
}
