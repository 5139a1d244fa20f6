// Package plugintest checks a plugin the way the gateway will use it: behind a
// real gRPC connection, with golden dialogues from testdata, and with the load,
// the cancellations and the bad input that production brings. A plugin's own
// test is one call of Golden, Tool or Engine, and one of Binary for the finished
// program.
package plugintest

import (
	"encoding/json"
	"log/slog"
	"regexp"
	"slices"
	"sync"
	"testing"

	"google.golang.org/grpc"

	"github.com/sallyport-gateway/sallyport/sdk/golden"
	"github.com/sallyport-gateway/sallyport/sdk/tool"
)

// ToolOptions says what Tool checks beside the implementation.
type ToolOptions struct {
	Manifest tool.Manifest // what the plugin's main passes to Serve
	Dir      string        // of the golden dialogues; "" means testdata

	only []string // names of toolRules to check, for tests of this package; nil means all
}

// Tool checks a tool behind gRPC. The dialogues of o.Dir are *.txtar files:
// prose on what the case shows and why, then the sections
//
//	-- declarations --  the list of tool.Declaration given to Open
//	-- host --          the Host calls it makes, and their answers; see golden.Step
//	-- opened --        what Open gives: tool.Opened, or {"error":{…}}
//	-- call --          a tool.Call; State is filled from the function
//	-- result --        what it gives: tool.Result, or {"error":{…}}
//
// with any number of pairs of call and result. `go test -update` rewrites
// opened and result.
//
// Beyond the dialogues: the manifest and the parameters are valid and stable;
// 32 calls run side by side; a canceled Open or Call returns within a second;
// 4 MiB of arguments and of Host answers are survived; arguments that the
// function's own schema refuses give an error and not an internal one; errors
// of the Host keep their meaning; a Host is not used after its call.
func Tool(t testing.TB, impl tool.Tool, o ToolOptions) {
	t.Helper()
	w := watch(impl)
	conn, _ := Conn(t, func(s *grpc.Server) { tool.Register(s, w, slog.New(slog.DiscardHandler)) })
	client := tool.NewClient(conn)
	run(t, "manifest", func(t testing.TB) { checkToolManifest(t, o.Manifest) })
	var ds []*toolDialogue
	for _, g := range goldens(t, o.Dir, "declarations", "host", "opened", "call", "result") {
		run(t, g.Name(), func(t testing.TB) {
			d := readToolDialogue(t, g)
			d.play(t, client)
			g.finish(t)
			ds = append(ds, d)
		})
	}
	checks := &toolChecks{client: client, watched: w}
	for _, d := range ds {
		if len(d.Functions) > 0 {
			for _, r := range toolRules {
				if o.only == nil || slices.Contains(o.only, r.name) {
					run(t, d.archive.Name()+"/"+r.name, func(t testing.TB) { r.check(checks, t, d) })
				}
			}
		}
	}
	run(t, "host after return", func(t testing.TB) {
		if n := w.late.Load(); n > 0 {
			t.Errorf("the tool used its Host %d times after Open or Call had returned", n)
		}
	})
}

var toolType = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`)

// checkToolManifest checks what `<plugin> describe` prints.
func checkToolManifest(t testing.TB, m tool.Manifest) {
	t.Helper()
	if !toolType.MatchString(m.Type) {
		t.Errorf("manifest: type %q must match %s", m.Type, toolType)
	}
	if m.Version == "" {
		t.Errorf("manifest: version is empty")
	}
	if o := m.Object; o != nil && (o.Field == "" || o.Kind == "" || o.Privilege == "") {
		t.Errorf("manifest: object %+v must name field, kind and privilege", *o)
	}
	if len(m.Config) > 0 {
		if _, err := golden.CompileSchema(m.Config); err != nil {
			t.Errorf("manifest: config: %v", err)
		}
	}
	checkStable(t, m)
}

// checkStable checks that a manifest is the same after a trip through JSON.
func checkStable[M any](t testing.TB, m M) {
	t.Helper()
	first, err := json.Marshal(m)
	if err != nil {
		t.Errorf("manifest: %v", err)
		return
	}
	var back M
	if err := json.Unmarshal(first, &back); err != nil {
		t.Errorf("manifest: read back: %v", err)
	}
	if second, err := json.Marshal(back); err != nil || string(second) != string(first) {
		t.Errorf("manifest: described as %s, read back as %s (%v)", first, second, err)
	}
}

// toolDialogue is one golden file of a tool.
type toolDialogue struct {
	archive
	*golden.ToolDialogue
}

func readToolDialogue(t testing.TB, a archive) *toolDialogue {
	t.Helper()
	d, err := golden.ReadTool(a.Archive)
	if err != nil {
		t.Fatal(err)
	}
	return &toolDialogue{a, d}
}

// play plays the dialogue once and compares.
func (d *toolDialogue) play(t testing.TB, client tool.Tool) {
	t.Helper()
	s, err := golden.NewScript(d.Host, t.Errorf)
	if err != nil {
		t.Fatalf("%s: %v", d.archive.Path, err)
	}
	if err := d.Play(t.Context(), client, tool.NewHost(s.Service()), func(i int, got any) { d.expect(t, i, got) }); err != nil {
		t.Fatal(err)
	}
	s.Finished()
}

// replayed plays the dialogue again and compares, without touching the file.
func (d *toolDialogue) replayed(t testing.TB, client tool.Tool) {
	t.Helper()
	s, err := golden.NewScript(d.Host, t.Errorf)
	if err != nil {
		t.Errorf("%s: %v", d.archive.Path, err)
		return
	}
	err = d.Play(t.Context(), client, tool.NewHost(s.Service()), func(i int, got any) {
		same, text, err := d.archive.Same(i, got)
		if err != nil || !same {
			t.Errorf("%s: section %s differs when the dialogue is played again: got\n%s\nwant\n%s", d.archive.Path, d.archive.Sections[i].Name, text, d.archive.Sections[i].Text)
		}
	})
	if err != nil {
		t.Errorf("%v", err)
	}
}

// together runs f n times side by side.
func together(n int, f func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { f(i) })
	}
	wg.Wait()
}
