package pluginhost

import (
	"context"
	"io"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-gateway/sallyport/core/pluginlock"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

// stream is an exchange held open by its test.
type stream struct {
	t    *testing.T
	body *io.PipeWriter
	next func() (openresponses.Event, error, bool)
}

func open(t *testing.T, tr provider.Translator) *stream {
	t.Helper()
	ex, err := tr.Begin(t.Context(), turn("m"))
	if err != nil {
		t.Fatal(err)
	}
	pr, pw := io.Pipe()
	next, stop := iter.Pull2(ex.Decode(t.Context(), provider.Reply{Status: 200, Body: pr}))
	t.Cleanup(func() { pw.Close(); stop() })
	return &stream{t, pw, next}
}

// say sends a piece and waits until it comes out.
func (s *stream) say(text string) {
	s.t.Helper()
	go io.WriteString(s.body, sse(text))
	for {
		ev, err, ok := s.next()
		if err != nil || !ok {
			s.t.Fatalf("stream ended before %q came: %v", text, err)
		}
		if ev.Type == openresponses.EventTextDelta && ev.Delta == text {
			return
		}
	}
}

// end ends the reply and reads the rest.
func (s *stream) end() (last openresponses.Event, err error) {
	s.body.Close()
	for {
		ev, err, ok := s.next()
		if err != nil || !ok {
			return last, err
		}
		last = ev
	}
}

func TestReplaceLetsStreamsFinish(t *testing.T) {
	t.Parallel()
	h, logged := start(t, Config{Dirs: []string{plugins(t, "provider-echo")}})
	tr := translator(t, h, "echo")
	s := open(t, tr)
	s.say("before")
	old := info(t, h, "echo").PID
	if err := h.Replace("provider", "echo"); err != nil {
		t.Fatal(err)
	}
	if got, err := ask(t.Context(), tr, "m", "new"); got != "new" || err != nil {
		t.Errorf("exchange after the swap = %q, %v", got, err)
	}
	fresh := info(t, h, "echo").PID
	if fresh == old || !running(old) {
		t.Errorf("pid %d was %d; old process runs: %t, want another one and the old one at work", fresh, old, running(old))
	}
	s.say("after")
	if last, err := s.end(); err != nil || !last.IsTerminal() {
		t.Errorf("the old stream ended with %+v, %v", last, err)
	}
	awaitGone(t, "old process", old)
	logged.await(t, "plugin stopped", "plugin=echo")
	if strings.Contains(logged.String(), "plugin ended") {
		t.Error("the wanted end was taken for a crash")
	}
}

func TestReplaceDoesNotWaitForEver(t *testing.T) {
	t.Parallel()
	h, _ := start(t, Config{Dirs: []string{plugins(t, "provider-echo")}, DrainTimeout: 100 * time.Millisecond})
	s := open(t, translator(t, h, "echo"))
	s.say("before")
	old := info(t, h, "echo").PID
	if err := h.Replace("provider", "echo"); err != nil {
		t.Fatal(err)
	}
	awaitGone(t, "old process", old)
	if _, err := s.end(); !apierror.Is(err, apierror.Unavailable) {
		t.Errorf("the stream that took too long: %v, want %s", err, apierror.Unavailable)
	}
}

func TestCloseLetsStreamsFinish(t *testing.T) {
	t.Parallel()
	h, _ := start(t, Config{Dirs: []string{plugins(t, "provider-echo")}})
	tr := translator(t, h, "echo")
	s := open(t, tr)
	s.say("before")
	closed := make(chan error, 1)
	go func() { closed <- h.Close(context.Background()) }()
	for {
		_, err := tr.Begin(t.Context(), turn("m"))
		if apierror.Is(err, apierror.Unavailable) {
			break
		}
		time.Sleep(time.Millisecond)
	}
	select {
	case err := <-closed:
		t.Fatalf("Close returned with a stream open: %v", err)
	default:
	}
	s.say("during")
	if last, err := s.end(); err != nil || !last.IsTerminal() {
		t.Errorf("stream ended with %+v, %v", last, err)
	}
	if err := <-closed; err != nil {
		t.Errorf("Close: %v", err)
	}
}

func TestCloseEndsAStartUnderWay(t *testing.T) {
	t.Parallel()
	h, logged := start(t, Config{Dirs: []string{plugins(t, "provider-hangs")}, StartTimeout: time.Hour})
	failed := make(chan error, 1)
	go func() {
		_, err := translator(t, h, "hangs").Begin(t.Context(), turn("m"))
		failed <- err
	}()
	logged.await(t, "thinking")
	if err := h.Close(t.Context()); err != nil {
		t.Errorf("Close: %v", err)
	}
	if err := <-failed; !apierror.Is(err, apierror.Unavailable) {
		t.Errorf("Begin: %v, want %s", err, apierror.Unavailable)
	}
}

// replace puts a new build of a plugin in the place of the old one.
func replace(t *testing.T, dir, name string) {
	t.Helper()
	next := filepath.Join(t.TempDir(), "next")
	if err := os.WriteFile(next, append(content(t), 0), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
	add(t, dir, name)
}

func TestReload(t *testing.T) {
	t.Parallel()
	dir := plugins(t, "provider-echo", "provider-second")
	h, _ := start(t, Config{Dirs: []string{dir}})
	echo, second := translator(t, h, "echo"), translator(t, h, "second")
	ask(t.Context(), echo, "m")
	ask(t.Context(), second, "m")
	echoPID, secondPID := info(t, h, "echo").PID, info(t, h, "second").PID

	// One is new, one has another file, one is as it was.
	next := filepath.Join(t.TempDir(), "next")
	replace(t, dir, "provider-echo")
	if err := os.Symlink(built, filepath.Join(dir, "provider-third")); err != nil {
		t.Fatal(err)
	}
	add(t, dir, "provider-third")
	if err := h.Reload(t.Context()); err != nil {
		t.Fatalf("Reload: %v", err)
	}
	if got, err := ask(t.Context(), translator(t, h, "third"), "m", "x"); got != "x" || err != nil {
		t.Errorf("new plugin = %q, %v", got, err)
	}
	if got, err := ask(t.Context(), echo, "m", "x"); got != "x" || err != nil || info(t, h, "echo").PID == echoPID {
		t.Errorf("changed plugin = %q, %v; process %d was %d", got, err, info(t, h, "echo").PID, echoPID)
	}
	if info(t, h, "second").PID != secondPID {
		t.Error("the plugin that did not change has a new process")
	}

	// A file that was not added again changes nothing for who runs already.
	if err := os.Rename(filepath.Join(dir, "provider-echo"), next); err != nil {
		t.Fatal(err)
	}
	if err := h.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), "provider-echo") {
		t.Errorf("Reload without a file: %v, want an error that names it", err)
	}
	if got, err := ask(t.Context(), echo, "m", "x"); got != "x" || err != nil {
		t.Errorf("the plugin after the failed reload = %q, %v", got, err)
	}

	// One that is gone is stopped.
	if err := pluginlock.Update(dir, func(l *pluginlock.Lock) error { l.Remove("provider-echo"); return nil }); err != nil {
		t.Fatal(err)
	}
	echoPID = info(t, h, "echo").PID
	if err := h.Reload(t.Context()); err != nil {
		t.Errorf("Reload: %v", err)
	}
	awaitGone(t, "removed plugin", echoPID)
	if _, err := ask(t.Context(), echo, "m"); !apierror.Is(err, apierror.Unavailable) {
		t.Errorf("removed plugin: %v, want %s", err, apierror.Unavailable)
	}
	if _, _, ok := h.Translator("echo"); ok {
		t.Error("Translator of a removed plugin: ok")
	}
}

// A change that is taken back costs no plugin its process, also one that is gone
// from the list.
func TestChangeIsTakenBack(t *testing.T) {
	t.Parallel()
	dir := plugins(t, "provider-echo", "provider-second")
	h, _ := start(t, Config{Dirs: []string{dir}})
	echo, second := translator(t, h, "echo"), translator(t, h, "second")
	ask(t.Context(), echo, "m")
	ask(t.Context(), second, "m")
	pid := info(t, h, "echo").PID

	// One is gone, one has another file.
	if err := pluginlock.Update(dir, func(l *pluginlock.Lock) error { l.Remove("provider-echo"); return nil }); err != nil {
		t.Fatal(err)
	}
	replace(t, dir, "provider-second")
	c, err := h.Configure(t.Context(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := ask(t.Context(), echo, "m", "x"); got != "x" || err != nil {
		t.Errorf("a plugin that is gone, before anything is decided = %q, %v", got, err)
	}
	if err := c.Undo(); err != nil {
		t.Fatal(err)
	}
	for name, tr := range map[string]provider.Translator{"echo": echo, "second": second} {
		if got, err := ask(t.Context(), tr, "m", "x"); got != "x" || err != nil {
			t.Errorf("%s afterwards = %q, %v", name, got, err)
		}
	}
	if got := info(t, h, "echo").PID; got != pid {
		t.Errorf("the plugin that was gone has process %d, had %d", got, pid)
	}

	// And the same once more, to stay.
	if c, err = h.Configure(t.Context(), nil, nil); err != nil {
		t.Fatal(err)
	}
	c.Keep()
	awaitGone(t, "the plugin that is gone", pid)
	if _, err := ask(t.Context(), echo, "m"); !apierror.Is(err, apierror.Unavailable) {
		t.Errorf("a plugin that is gone: %v, want %s", err, apierror.Unavailable)
	}
}
