package plugintest

import (
	"flag"
	"os"
	"testing"

	"github.com/sallyport-gateway/sallyport/sdk/golden"
)

// update makes the golden tests write what they got into their files instead
// of comparing: go test ./plugins/provider-openai -update. Review the diff.
var update = flag.Bool("update", false, "rewrite golden files with what the plugin gives")

// archive is a golden file under test.
type archive struct{ *golden.Archive }

// archives reads every *.txtar in dir.
func archives(t testing.TB, dir string) []archive {
	t.Helper()
	as, err := golden.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []archive
	for _, a := range as {
		all = append(all, archive{a})
	}
	return all
}

// want compares got with a section, or writes it there under -update. An empty
// got wants no section.
func (a archive) want(t *testing.T, name, got string) {
	t.Helper()
	want, ok := a.Get(name)
	if got == want && (ok || got == "") {
		return
	}
	if *update {
		a.Set(name, got)
		return
	}
	t.Errorf("%s: section %q is\n%s\nwant\n%s", a.Path, name, got, want)
}

// save writes the archive back under -update.
func (a archive) save(t *testing.T) {
	t.Helper()
	if !*update {
		return
	}
	if err := os.WriteFile(a.Path, a.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}
