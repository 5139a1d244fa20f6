package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"
)

// message is what all messages are.
type message[T any] interface {
	*T
	Decode([]byte) error
}

func returns[T any, P message[T]](t *testing.T, name string, body []byte, want T) {
	t.Helper()
	var got T
	if err := P(&got).Decode(body); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%s: %+v, %v, want %+v", name, got, err, want)
	}
	for i := range body { // no beginning of a message is a message
		if err := P(new(T)).Decode(body[:i]); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: the first %d bytes: %v", name, i, err)
		}
	}
	if err := P(new(T)).Decode(append(body[:len(body):len(body)], 0)); !errors.Is(err, ErrMalformed) {
		t.Errorf("%s: a byte more: %v", name, err)
	}
}

func TestMessagesComeBack(t *testing.T) {
	setup := Setup{Guests: "/g", Cache: "/c", Languages: []string{"python", "sql"}, Memory: 1 << 28}
	returns(t, "setup", setup.Encode(), setup)
	ready := Ready{Languages: []string{"sql"}, Load: time.Second}
	returns(t, "ready", ready.Encode(), ready)
	open := Open{Trusted: true, Limits: Limits{1, 2, 3, 4, 5, 6, 7}, Tables: []Table{
		{Name: "main.a.b", Columns: []Column{{"x", "INT"}, {"y", "STRING"}}, Rows: 9, Cut: true, Database: true},
		{Name: "main.a.c", CSV: true},
	}}
	returns(t, "open", open.Encode(), open)
	exec := Exec{Language: "shell", Code: "ls\x01ü", Wall: time.Minute, Some: true, Tables: []string{"main.a.b"}}
	returns(t, "exec", exec.Encode(), exec)
	result := Result{
		Stdout: "out", Stderr: "err", Columns: []string{"a", "b"}, Rows: [][]any{{nil, true, false, json.Number("-1.5e300"), "x"}, {}}, Exit: -3,
		Killed: "time", Interrupted: "cpu", Truncated: true, Files: []File{{"a/b", 1 << 40}}, Duration: 1, CPU: 2,
	}
	body, err := result.Encode()
	if err != nil {
		t.Fatal(err)
	}
	returns(t, "result", body, result)
}

func TestResultsOfAWorkerAreChecked(t *testing.T) {
	if _, err := (Result{Rows: [][]any{{1}}}).Encode(); err == nil {
		t.Error("an int has no form on the wire")
	}
	for name, m := range map[string]Result{
		"a number that is none": {Rows: [][]any{{json.Number(`"x"`)}}},
		"no number":             {Rows: [][]any{{json.Number("")}}},
		"negative times":        {CPU: -1},
	} {
		body, err := m.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if err := new(Result).Decode(body); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	body, err := Result{Stdout: "a\xffb"}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	var m Result
	if err := m.Decode(body); err != nil || m.Stdout != "a\uFFFDb" {
		t.Errorf("%q, %v", m.Stdout, err)
	}
}

func TestAssembler(t *testing.T) {
	part := make([]byte, MaxPayload)
	a := NewAssembler(2*MaxPayload + 1)
	add := func(session uint32, more bool, payload []byte) ([]byte, bool, error) {
		b, _, done, err := a.Add(Frame{Kind: KindResult, Session: session, Call: 1, More: more, Payload: payload})
		return b, done, err
	}
	for session := range uint32(2) { // they take turns
		if _, done, err := add(session, true, part); done || err != nil {
			t.Fatal(done, err)
		}
	}
	if _, _, err := add(0, true, part); err != nil {
		t.Fatal(err)
	}
	if b, done, err := add(1, false, []byte("x")); !done || err != nil || len(b) != MaxPayload+1 {
		t.Errorf("%d bytes, %v, %v", len(b), done, err)
	}
	if _, _, err := add(0, false, []byte("xx")); !errors.Is(err, ErrMalformed) {
		t.Errorf("a message that is too long: %v", err)
	}
	a.Drop(0)
	if b, done, err := add(0, false, []byte("xx")); !done || err != nil || len(b) != 2 {
		t.Errorf("%d bytes, %v, %v", len(b), done, err)
	}
	if _, _, _, err := NewAssembler(1).Add(Frame{Payload: []byte("xx")}); !errors.Is(err, ErrMalformed) {
		t.Errorf("one frame that is too long: %v", err)
	}
}

// FuzzReader gives a Reader any bytes, split in any way.
func FuzzReader(f *testing.F) {
	whole := append(appendHeader(nil, Frame{Kind: KindResult, Session: 1, Call: 2}, 3), "abc"...)
	f.Add(whole, 1)
	f.Add(whole[:10], 5)
	f.Add(append(appendHeader(nil, Frame{Kind: KindOpen, Files: 2, More: true}, 0), whole...), 100)
	f.Fuzz(func(t *testing.T, in []byte, step int) {
		r := NewReader(&slow{in, max(step, 1)})
		a := NewAssembler(1 << 20)
		read := 0
		for {
			fr, err := r.Next()
			if err != nil {
				if err != io.EOF && !errors.Is(err, ErrMalformed) {
					t.Fatalf("%v", err)
				}
				if err == io.EOF && read != len(in) {
					t.Fatalf("%d of %d bytes were read", read, len(in))
				}
				return
			}
			if len(fr.Payload) > MaxPayload || fr.Files > MaxFiles {
				t.Fatalf("%+v", fr)
			}
			if again := append(appendHeader(nil, fr, len(fr.Payload)), fr.Payload...); !bytes.Equal(again, in[read:read+len(again)]) {
				t.Fatalf("frame %x came from %x", again, in[read:])
			}
			read += headerSize + len(fr.Payload)
			if body, _, done, err := a.Add(fr); err == nil && done {
				for _, m := range []interface{ Decode([]byte) error }{new(Setup), new(Ready), new(Open), new(Exec), new(Result)} {
					if err := m.Decode(body); err != nil && !errors.Is(err, ErrMalformed) {
						t.Fatalf("%T: %v", m, err)
					}
				}
			}
		}
	})
}

// slow gives a few bytes at a time.
type slow struct {
	b    []byte
	step int
}

func (s *slow) Read(p []byte) (int, error) {
	if len(s.b) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), s.step)], s.b)
	s.b = s.b[n:]
	return n, nil
}

// FuzzResult gives the only large message of a worker any bytes.
func FuzzResult(f *testing.F) {
	body, err := Result{Stdout: "x", Rows: [][]any{{nil, "a", json.Number("1")}}, Files: []File{{"f", 1}}}.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(body)
	f.Add([]byte(strings.Repeat("\xff", 30)))
	f.Fuzz(func(t *testing.T, in []byte) {
		var m Result
		if m.Decode(in) != nil {
			return
		}
		if _, err := json.Marshal(m); err != nil { // callers do
			t.Fatal(err)
		}
		again, err := m.Encode()
		if err != nil {
			t.Fatal(err)
		}
		var n Result
		if err := n.Decode(again); err != nil || !reflect.DeepEqual(m, n) {
			t.Fatalf("%+v, then %+v, %v", m, n, err)
		}
	})
}
