package sse

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

func read(r io.Reader) (events []string, err error) {
	in := NewReader(r)
	for {
		ev, err := in.Next(context.Background())
		if err != nil {
			return events, err
		}
		events = append(events, string(ev.Name)+"|"+string(ev.Data))
	}
}

func TestNext(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 100<<10)
	tests := []struct {
		rule string
		in   string
		want []string
	}{
		{"an event ends at an empty line", "event: a\ndata: 1\n\ndata: 2\n\n", []string{"a|1", "|2"}},
		{"carriage returns belong to the line end", "event: a\r\ndata: 1\r\n\r\n", []string{"a|1"}},
		{"one space after the colon is dropped", "data:1\n\ndata:  2\n\n", []string{"|1", "| 2"}},
		{"data lines are joined", "data: 1\ndata: 2\n\n", []string{"|1\n2"}},
		{"comments, ids and unknown fields are passed over", ": ping\n\nid: 7\nretry: 1\nfoo\ndata: 1\n\n", []string{"|1"}},
		{"a name without data is no event and does not stick", "event: a\n\ndata: 1\n\n", []string{"|1"}},
		{"a clean end completes the last event", "data: 1\n\ndata: 2", []string{"|1", "|2"}},
		{"a clean end after a line completes it too", "data: 1\n", []string{"|1"}},
		{"a line may be longer than the buffer", "data: " + long + "\n\ndata: 2\n\n", []string{"|" + long, "|2"}},
		{"nothing is no event", "", nil},
	}
	for _, tt := range tests {
		for name, r := range map[string]io.Reader{"whole": strings.NewReader(tt.in), "one byte at a time": iotest.OneByteReader(strings.NewReader(tt.in))} {
			got, err := read(r)
			if !slices.Equal(got, tt.want) || err != io.EOF {
				t.Errorf("%s, %s: got %.80q, %v, want %.80q, EOF", tt.rule, name, got, err, tt.want)
			}
		}
	}
}

func TestNextCut(t *testing.T) {
	t.Parallel()
	cut := errors.New("connection reset")
	got, err := read(io.MultiReader(strings.NewReader("data: 1\n\ndata: 2\n"), iotest.ErrReader(cut)))
	if want := []string{"|1"}; !slices.Equal(got, want) || !errors.Is(err, cut) {
		t.Errorf("got %q, %v, want %q and the reader's error", got, err, want)
	}
}

func TestNextCanceled(t *testing.T) {
	t.Parallel()
	gone := errors.New("client gone")
	ctx, cancel := context.WithCancelCause(t.Context())
	in := NewReader(&repeat{s: "data: 1\n\n" + ": ping\n"})
	if _, err := in.Next(ctx); err != nil {
		t.Fatal(err)
	}
	cancel(gone)
	if _, err := in.Next(ctx); !errors.Is(err, gone) {
		t.Errorf("after the context ended: got %v, want its cause", err)
	}
}

// endless gives the same byte for ever.
type endless byte

func (e endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(e)
	}
	return len(p), nil
}

func TestNextTooLong(t *testing.T) {
	t.Parallel()
	if _, err := read(endless('x')); !errors.Is(err, ErrTooLong) {
		t.Errorf("an endless line: got %v, want ErrTooLong", err)
	}
	if _, err := read(&repeat{s: "data: " + strings.Repeat("y", 1<<20) + "\n"}); !errors.Is(err, ErrTooLong) {
		t.Errorf("endless data lines: got %v, want ErrTooLong", err)
	}
}

// repeat gives the same line for ever.
type repeat struct {
	s   string
	off int
}

func (r *repeat) Read(p []byte) (int, error) {
	n := copy(p, r.s[r.off:])
	r.off = (r.off + n) % len(r.s)
	return n, nil
}

func FuzzNext(f *testing.F) {
	f.Add("event: a\r\ndata: 1\ndata\n\n: c\ndata: 2")
	f.Fuzz(func(t *testing.T, in string) {
		a, errA := read(strings.NewReader(in))
		b, errB := read(iotest.OneByteReader(strings.NewReader(in)))
		if !slices.Equal(a, b) || errA != errB {
			t.Errorf("split differently: %q, %v and %q, %v", a, errA, b, errB)
		}
	})
}
