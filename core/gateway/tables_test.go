package gateway_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sallyport-gateway/sallyport/core/gatewaytest"
)

// The engine's process may read the locations of tables as they were when it
// was started. That is no reason for the owners of the files to be careful.
func TestTablesThatAreReplaced(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	rows := func(n int) string { return "n\n" + strings.Repeat("1\n", n) }
	write := func(path string, n int) {
		t.Helper()
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(rows(n)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	must := func(errs ...error) {
		t.Helper()
		for _, err := range errs {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	write("renamed.csv", 11)
	write("made-anew/a.csv", 12)
	write("v1/a.csv", 13)
	write("v2/a.csv", 23)
	must(os.Symlink("v1", filepath.Join(dir, "link")))

	g := gatewaytest.Start(t, `version: 1
providers: {demo: {translator: demo}}
models: {databricks-demo: {destinations: [{provider: demo, model: demo}]}}
access: {users: [{name: root@example.com, admin: true}]}
catalog: {main: {t: {tables: {
  renamed: {location: ./renamed.csv}, made_anew: {location: ./made-anew, format: csv}, link: {location: ./link, format: csv},
  later: {location: ./later.csv}, deep: {location: ./not/there/yet, format: csv}}}}}
`, dir)
	token := g.Token("root@example.com")
	count := func(table string, want int) {
		t.Helper()
		status, _, body := g.Post(token, "/ai-gateway/mlflow/v1/responses",
			fmt.Sprintf(`{"model":"databricks-demo","input":"How many rows are there?","tools":[{"type":"table","table":{"name":"main.t.%s"}}]}`, table))
		if status != 200 || !strings.Contains(string(body), fmt.Sprintf("[%d]", want)) {
			t.Errorf("%s: status %d, want %d rows in %s", table, status, want, body)
		}
	}
	count("renamed", 11)
	count("made_anew", 12)
	count("link", 13)

	write("new", 21)
	must(os.Rename(filepath.Join(dir, "new"), filepath.Join(dir, "renamed.csv")))
	count("renamed", 21)
	must(os.RemoveAll(filepath.Join(dir, "made-anew")))
	write("made-anew/b.csv", 22)
	count("made_anew", 22)
	must(os.Symlink("v2", filepath.Join(dir, "next")), os.Rename(filepath.Join(dir, "next"), filepath.Join(dir, "link")))
	count("link", 23)
	write("later.csv", 24)
	count("later", 24)
	write("not/there/yet/a.csv", 25)
	count("deep", 25)
	write("not/there/yet/b.csv", 5) // in a directory that is known
	count("deep", 30)
	// Written anew in its place, it is the same file to the kernel.
	write("renamed.csv", 31)
	count("renamed", 31)

	for _, p := range g.Plugins() {
		if p.Kind == "engine" && (p.Restarts < 4 || p.Restarts > 5) {
			t.Errorf("the engine was started anew %d times, want once for each change", p.Restarts)
		}
	}
}
