package shell

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/sallyport-gateway/sallyport/sandbox/guests/fetch"
)

// The licences of all that is compiled in are given, and of nothing else.
func TestModulesAreThoseOfTheGuest(t *testing.T) {
	root, err := fetch.Root()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}}{{end}}{{end}}", "./sandbox/guests/shell/guest")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	want := slices.Compact(slices.Sorted(slices.Values(strings.Fields(string(out)))))
	var got []string
	for _, m := range modules {
		got = append(got, m.path)
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("modules are %q, the guest is made of %q", got, want)
	}
}
