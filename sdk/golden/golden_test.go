package golden

import (
	"context"
	"errors"
	"io"
	"iter"
	"strings"
	"testing"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

// scripted is an exchange that emits what it is told.
type scripted struct {
	events []openresponses.Event
	err    error
}

func (s scripted) Upstream() *provider.Upstream { return nil }

func (s scripted) Decode(context.Context, provider.Reply) iter.Seq2[openresponses.Event, error] {
	return func(yield func(openresponses.Event, error) bool) {
		for _, e := range s.events {
			if !yield(e, nil) {
				return
			}
		}
		if s.err != nil {
			yield(openresponses.Event{}, s.err)
		}
	}
}

func TestDecodeRules(t *testing.T) {
	t.Parallel()
	end := openresponses.Event{Type: openresponses.EventCompleted, Terminal: &openresponses.Terminal{Status: openresponses.StatusCompleted}}
	tests := []struct {
		name string
		in   scripted
		says string // "" when all is well
	}{
		{"a terminal event", scripted{events: []openresponses.Event{end}}, ""},
		{"an upstream error", scripted{err: apierror.New(apierror.UpstreamFailed, "No.")}, ""},
		{"no end", scripted{}, "neither"},
		{"two ends", scripted{events: []openresponses.Event{end, end}}, "after the terminal"},
		{"an error after the end", scripted{events: []openresponses.Event{end}, err: apierror.New(apierror.UpstreamFailed, "No.")}, "after the terminal"},
		{"an error of our own", scripted{err: apierror.New(apierror.Internal, "No.")}, `code "internal"`},
		{"an error without code", scripted{err: errors.New("x")}, `code "internal"`},
		{"a delta without item", scripted{events: []openresponses.Event{{Type: openresponses.EventTextDelta}, end}}, "no item is open"},
	}
	for _, tt := range tests {
		got := Decode(t.Context(), tt.in, provider.Reply{}).Broken
		if (got == nil) != (tt.says == "") || got != nil && !strings.Contains(got.Error(), tt.says) {
			t.Errorf("%s: %v, want one that says %q", tt.name, got, tt.says)
		}
	}
}

func TestReadDialogue(t *testing.T) {
	t.Parallel()
	a := Parse([]byte("What it shows.\n\n-- turn --\n{\"model\":\"m\",\"account\":{\"name\":\"a\"},\"carry\":{\"X-Beta\":[\"1\"]}}\n-- request --\n{\"input\":\"hi\"}\n" +
		"-- reply --\n429 Too Many (cut)\nRetry-After: 1\nX: a: b\n\nline one\n\n-- events --\n{}\n"))
	d, err := ReadTurn(a)
	if err != nil {
		t.Fatal(err)
	}
	if d.Turn.Op != provider.Generate || d.Turn.Model != "m" || d.Turn.Carry.Get("X-Beta") != "1" || d.Turn.Request.Input[0].Content[0].Text != "hi" {
		t.Errorf("turn = %+v", d.Turn)
	}
	if d.Status != 429 || !d.Cut || d.Header.Get("X") != "a: b" || string(d.Body) != "line one\n\n" {
		t.Errorf("reply = %d %v %v %q", d.Status, d.Cut, d.Header, d.Body)
	}
	if a.Head != "What it shows.\n\n" {
		t.Errorf("head = %q", a.Head)
	}
	for name, text := range map[string]string{
		"turn":   "-- turn --\n{\"modle\":\"m\"}\n-- request --\n{}\n",
		"req":    "-- turn --\n{}\n-- request --\n{\"stream\":7}\n",
		"status": "-- turn --\n{}\n-- request --\n{}\n-- reply --\nOK\n\n",
		"header": "-- turn --\n{}\n-- request --\n{}\n-- reply --\n200 OK\nnonsense\n\n",
	} {
		if _, err := ReadTurn(Parse([]byte(text))); err == nil {
			t.Errorf("a bad %s was taken", name)
		}
	}
}

func TestPiecesSplitsAndEnds(t *testing.T) {
	t.Parallel()
	sizes := []int{2, 1, 9}
	p := &Pieces{Rest: []byte("abcdef"), End: io.ErrUnexpectedEOF, Sizes: func() int { n := sizes[0]; sizes = sizes[1:]; return n }}
	var got []string
	for {
		b := make([]byte, 16)
		n, err := p.Read(b)
		if err != nil {
			if err != io.ErrUnexpectedEOF {
				t.Errorf("ended in %v", err)
			}
			break
		}
		got = append(got, string(b[:n]))
	}
	if strings.Join(got, "|") != "ab|c|def" {
		t.Errorf("pieces %q", got)
	}
}
