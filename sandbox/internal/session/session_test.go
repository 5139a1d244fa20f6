package session

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/sallyport-gateway/sallyport/sandbox/internal/engine"
	"github.com/sallyport-gateway/sallyport/sandbox/internal/toy"
)

// compiled is what load returns for no options.
var compiled *engine.Engine

func TestMain(m *testing.M) {
	code := m.Run()
	if err := unload(); err != nil {
		panic(err)
	}
	os.Exit(code)
}

// unload closes the engine that tests share; the next load makes another.
func unload() error {
	if compiled == nil {
		return nil
	}
	e := compiled
	compiled = nil
	return e.Close(context.Background())
}

// load loads the toy guests, once for all tests that want no options.
func load(tb testing.TB, o engine.Options) *engine.Engine {
	tb.Helper()
	if o.Only == nil && !o.Interpret && !o.Copy {
		if compiled == nil {
			compiled = loadNew(tb, o)
		}
		return compiled
	}
	e := loadNew(tb, o)
	tb.Cleanup(func() {
		if err := e.Close(context.Background()); err != nil {
			tb.Error(err)
		}
	})
	return e
}

func loadNew(tb testing.TB, o engine.Options) *engine.Engine {
	tb.Helper()
	if !o.Interpret {
		o.Cache = toy.Cache(tb)
	}
	e, err := engine.Load(context.Background(), toy.Dir(tb), o)
	if err != nil {
		tb.Fatal(err)
	}
	return e
}

// open opens a session that the test closes.
func open(tb testing.TB, e *engine.Engine, setup Setup) *Session {
	tb.Helper()
	s, err := Open(e, setup)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.Close)
	return s
}

// try runs a program that the sandbox itself must have no trouble with.
func try(tb testing.TB, s *Session, language, code string) Result {
	tb.Helper()
	res, err := s.Exec(context.Background(), Program{Language: language, Code: code})
	if err != nil {
		tb.Fatalf("%s %q: %v", language, code, err)
	}
	return res
}

func TestStateIsKeptInOneLanguageAndFilesAreSharedByAll(t *testing.T) {
	s := open(t, load(t, engine.Options{}), Setup{})
	if got := try(t, s, Python, "get born").Stdout; got != "in the snapshot\n" {
		t.Errorf("state of the snapshot: %q", got)
	}
	try(t, s, Python, "set a 1")
	if got := try(t, s, Python, "get a").Stdout; got != "1\n" {
		t.Errorf("second program sees %q", got)
	}
	if got := try(t, s, Shell, "get a").Stdout; got != "\n" {
		t.Errorf("another language sees %q", got)
	}
	res := try(t, s, Python, "mkdir /tmp/d\nwrite /tmp/d/x 5000\nwrite /tmp/y 3")
	if want := []File{{"d/x", 5000}, {"y", 3}}; len(res.Files) != 2 || res.Files[0] != want[0] || res.Files[1] != want[1] {
		t.Errorf("files written: %v, want %v", res.Files, want)
	}
	res = try(t, s, Shell, "read /tmp/d/x")
	if !strings.HasPrefix(res.Stdout, "5000 ") || len(res.Files) != 0 {
		t.Errorf("shell reads %q and wrote %v", res.Stdout, res.Files)
	}
}

func TestErrorIsTheProgramsOwn(t *testing.T) {
	s := open(t, load(t, engine.Options{}), Setup{})
	res := try(t, s, Python, "print before\nnonsense\nprint after")
	if res.Exit != 1 || res.Stdout != "before\n" || !strings.Contains(res.Stderr, "nonsense") || res.Killed != "" {
		t.Errorf("%+v", res)
	}
}

func TestUnknownLanguage(t *testing.T) {
	s := open(t, load(t, engine.Options{}), Setup{})
	if _, err := s.Exec(context.Background(), Program{Language: "perl"}); !errors.Is(err, engine.ErrNoGuest) {
		t.Errorf("error %v", err)
	}
}
