// Package plugintest checks a plugin the way the gateway will use it: behind a
// real gRPC connection, with golden dialogues from testdata, and with the load,
// the cancellations and the bad input that production brings. A plugin's own
// test is one call of Golden, Tool or Engine.
package plugintest

import (
	"encoding/json"
	"log/slog"
	"regexp"
	"sync"
	"testing"

	"google.golang.org/grpc"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/tool"
)

// ToolOptions says what Tool checks beside the implementation.
type ToolOptions struct {
	Manifest tool.Manifest // what the plugin's main passes to Serve
	Dir      string        // of the golden dialogues; "" means testdata
}

// Tool checks a tool behind gRPC. The dialogues of o.Dir are *.txtar files:
// prose on what the case shows and why, then the sections
//
//	-- declarations --  the list of tool.Declaration given to Open
//	-- host --          the Host calls it makes, and their answers; see step
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
		run(t, g.name(), func(t testing.TB) {
			d := readToolDialogue(t, g)
			d.play(t, client)
			g.finish(t)
			ds = append(ds, d)
		})
	}
	checks := &toolChecks{client: client, watched: w}
	for _, d := range ds {
		if len(d.functions) > 0 {
			run(t, d.name()+"/functions", func(t testing.TB) { checks.functions(t, d) })
			run(t, d.name()+"/concurrent", func(t testing.TB) { checks.concurrent(t, d) })
			run(t, d.name()+"/canceled", func(t testing.TB) { checks.canceled(t, d) })
			run(t, d.name()+"/large", func(t testing.TB) { checks.large(t, d) })
			run(t, d.name()+"/bad arguments", func(t testing.TB) { checks.badArguments(t, d) })
			run(t, d.name()+"/host errors", func(t testing.TB) { checks.hostErrors(t, d) })
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
		if _, err := compileSchema(m.Config); err != nil {
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
	golden
	declarations []tool.Declaration
	host         []byte
	opened       int // index of the section
	calls        []pair

	functions []tool.Function // what Open gave
}

// pair is a call and the section of its result.
type pair struct {
	call   tool.Call
	result int
}

func readToolDialogue(t testing.TB, g golden) *toolDialogue {
	t.Helper()
	d := &toolDialogue{golden: g, opened: -1}
	for i, s := range g.sections {
		switch s.name {
		case "declarations":
			g.read(t, i, &d.declarations)
		case "host":
			d.host = []byte(s.text)
		case "opened":
			d.opened = i
		case "call":
			var c tool.Call
			g.read(t, i, &c)
			if i+1 == len(g.sections) || g.sections[i+1].name != "result" {
				t.Fatalf("%s: section call is not followed by result", g.path)
			}
			d.calls = append(d.calls, pair{c, i + 1})
		}
	}
	if d.opened < 0 || len(d.declarations) == 0 {
		t.Fatalf("%s: sections declarations and opened are needed", g.path)
	}
	return d
}

// play plays the dialogue once and compares.
func (d *toolDialogue) play(t testing.TB, client tool.Tool) {
	t.Helper()
	s := newScript(t, d.host)
	h := tool.NewHost(s.service())
	o, err := client.Open(t.Context(), d.declarations, h)
	d.expect(t, d.opened, orError(o, err))
	if err == nil {
		d.functions = o.Functions
	}
	for _, p := range d.calls {
		r, err := client.Call(t.Context(), d.filled(t, p.call), h)
		d.expect(t, p.result, orError(r, err))
	}
	s.finished()
}

// filled is a call as the gateway makes it, with what Open said.
func (d *toolDialogue) filled(t testing.TB, c tool.Call) tool.Call {
	t.Helper()
	for _, f := range d.functions {
		if f.Name == c.Function {
			c.State = f.State
			return c
		}
	}
	t.Fatalf("%s: a call of %q, which Open did not give", d.path, c.Function)
	return c
}

// sample is a call for each function: the first of the dialogue, or one
// without arguments.
func (d *toolDialogue) sample(t testing.TB) []tool.Call {
	t.Helper()
	var cs []tool.Call
	for _, f := range d.functions {
		c := tool.Call{ID: "call_sample", Function: f.Name, Arguments: json.RawMessage(`{}`), State: f.State, Attempt: 1}
		for _, p := range d.calls {
			if p.call.Function == f.Name {
				c = d.filled(t, p.call)
				break
			}
		}
		cs = append(cs, c)
	}
	return cs
}

// replayed plays the dialogue again and compares, without touching the file.
func (d *toolDialogue) replayed(t testing.TB, client tool.Tool) {
	t.Helper()
	s := newScript(t, d.host)
	h := tool.NewHost(s.service())
	o, err := client.Open(t.Context(), d.declarations, h)
	d.same(t, d.opened, orError(o, err))
	for _, p := range d.calls {
		r, err := client.Call(t.Context(), d.filled(t, p.call), h)
		d.same(t, p.result, orError(r, err))
	}
}

// same compares with a section also under -update, which golden has written.
func (d *toolDialogue) same(t testing.TB, i int, got any) {
	t.Helper()
	text, err := pretty(got)
	if err != nil {
		t.Fatal(err)
	}
	a, errA := canonical(text)
	b, errB := canonical([]byte(d.sections[i].text))
	if errA != nil || errB != nil || a != b {
		t.Errorf("%s: section %s differs when the dialogue is played again: got\n%s\nwant\n%s", d.path, d.sections[i].name, text, d.sections[i].text)
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

// tolerable reports an error that a caller can make sense of.
func tolerable(err error) bool {
	return err == nil || !(apierror.Is(err, apierror.Internal) || apierror.Is(err, apierror.Unavailable))
}
