package pluginhost

import (
	"context"
	"io"
	"strings"
	"testing"

	"github.com/sallyport-gateway/sallyport/core/pluginlock"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

// write has f answer a client that said body with the pieces.
func (i FrontInfo) write(ctx context.Context, body string, pieces ...string) (string, error) {
	d, err := i.Front.Accept(ctx, provider.ClientRequest{Surface: i.Manifest.Surfaces[0].Name, Route: "/ask", Body: []byte(body)})
	if err != nil {
		return "", err
	}
	var b strings.Builder
	err = d.Write(ctx, func(yield func(openresponses.Event, error) bool) {
		out := provider.NewOutput(yield)
		for _, p := range pieces {
			if !out.Text(p) {
				return
			}
		}
		out.Finish(openresponses.Terminal{Status: openresponses.StatusCompleted})
	}, &b)
	return b.String(), err
}

func frontNames(h *Host) string {
	var names []string
	for _, f := range h.Fronts() {
		names = append(names, f.Plugin)
	}
	return strings.Join(names, " ")
}

func TestFronts(t *testing.T) {
	t.Parallel()
	h, _ := start(t, Config{Dirs: []string{plugins(t, "provider-front-b", "provider-front-a", "provider-echo", "tool-demo")}})
	if got := frontNames(h); got != "front-a front-b" {
		t.Fatalf("Fronts = %q", got)
	}
	f := h.Fronts()[0]
	if s := f.Manifest.Surfaces; len(s) != 1 || s[0].Base != "/front-a" {
		t.Errorf("surfaces %+v", s)
	}
	if i := info(t, h, "front-a"); i.State != Idle {
		t.Errorf("the plugin is %s before anybody asked it", i.State)
	}
	if got, err := f.write(t.Context(), "hello", "a", "b"); got != "a\nb\n" || err != nil {
		t.Errorf("wrote %q, %v", got, err)
	}
	if _, err := f.write(t.Context(), ""); apierror.CodeOf(err) != apierror.Invalid || apierror.From(err).Param != "body" {
		t.Errorf("Accept: %v, want the plugin's own error", err)
	}
	first := info(t, h, "front-a")
	if got, err := ask(t.Context(), translator(t, h, "front-a"), "m", "x"); got != "x" || err != nil {
		t.Errorf("the translator of the same plugin: %q, %v", got, err)
	}
	if i := info(t, h, "front-a"); i.PID != first.PID || i.InFlight != 0 {
		t.Errorf("info %+v, want the process %d with nothing in flight", i, first.PID)
	}
	if i := info(t, h, "front-b"); i.State != Idle {
		t.Errorf("the other plugin is %s", i.State)
	}
}

func TestFrontComesBack(t *testing.T) {
	t.Parallel()
	h, _ := start(t, Config{Dirs: []string{plugins(t, "provider-front")}})
	f := h.Fronts()[0]
	if _, err := f.write(t.Context(), "exit"); !apierror.Is(err, apierror.Unavailable) || !strings.Contains(err.Error(), "exited with status 7") {
		t.Errorf("Accept of a process that ends: %v", err)
	}
	if got, err := f.write(t.Context(), "x", "a", "exit", "b"); got != "a\n" && got != "" || !apierror.Is(err, apierror.Unavailable) {
		t.Errorf("Write of a process that ends: %q, %v", got, err)
	}
	if got, err := f.write(t.Context(), "x", "a"); got != "a\n" || err != nil {
		t.Errorf("the next dialogue: %q, %v", got, err)
	}
}

// A dialogue goes on in the process that has it; the next is in the new one.
func TestReplaceLetsDialoguesFinish(t *testing.T) {
	t.Parallel()
	h, _ := start(t, Config{Dirs: []string{plugins(t, "provider-front")}})
	f := h.Fronts()[0]
	d, err := f.Front.Accept(t.Context(), provider.ClientRequest{Surface: "front", Route: "/ask", Body: []byte("x")})
	if err != nil {
		t.Fatal(err)
	}
	old := info(t, h, "front")
	if old.InFlight != 1 {
		t.Errorf("%d in flight with a dialogue under way", old.InFlight)
	}
	if err := h.Replace("provider", "front"); err != nil {
		t.Fatal(err)
	}
	if got, err := f.write(t.Context(), "x", "new"); got != "new\n" || err != nil {
		t.Errorf("a new dialogue: %q, %v", got, err)
	}
	if fresh := info(t, h, "front").PID; fresh == old.PID || !running(old.PID) {
		t.Errorf("pid %d, was %d, which runs: %t", fresh, old.PID, running(old.PID))
	}
	if err := d.(io.Closer).Close(); err != nil {
		t.Error(err)
	}
}

func TestFrontsFollowTheList(t *testing.T) {
	t.Parallel()
	dir := plugins(t, "provider-front", "provider-echo")
	h, _ := start(t, Config{Dirs: []string{dir}})
	f := h.Fronts()[0]
	if err := pluginlock.Update(dir, func(l *pluginlock.Lock) error { l.Remove("provider-front"); return nil }); err != nil {
		t.Fatal(err)
	}
	if err := h.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := frontNames(h); got != "" {
		t.Errorf("Fronts after the plugin was removed: %q", got)
	}
	if _, err := f.write(t.Context(), "x", "a"); !apierror.Is(err, apierror.Unavailable) {
		t.Errorf("a front that is gone: %v, want %s", err, apierror.Unavailable)
	}
	add(t, dir, "provider-front")
	if err := h.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, err := h.Fronts()[0].write(t.Context(), "x", "a"); got != "a\n" || err != nil {
		t.Errorf("the plugin added again: %q, %v", got, err)
	}
}

func TestBadSurfaceIsRefused(t *testing.T) {
	t.Parallel()
	_, err := ParseDescription([]byte(`{"kind":"provider","protocol":1,"manifest":{"name":"x","surfaces":[{"name":"x","base":"x"}]}}`))
	if err == nil || !strings.Contains(err.Error(), `manifest: surfaces[0].base: "x" must begin with /`) {
		t.Errorf("ParseDescription: %v", err)
	}
}
