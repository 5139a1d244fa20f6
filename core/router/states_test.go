package router

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

// items reads a turn written short: r1 a reasoning item, c1 a call, o1 its
// output, m a message of the model, u one of the user.
func items(text string) []openresponses.Item {
	var all []openresponses.Item
	for _, w := range strings.Fields(text) {
		switch w[0] {
		case 'r':
			all = append(all, openresponses.Item{Type: openresponses.TypeReasoning, EncryptedContent: w})
		case 'c':
			all = append(all, openresponses.Item{Type: openresponses.TypeFunctionCall, CallID: w, Name: "f"})
		case 'o':
			all = append(all, openresponses.Item{Type: openresponses.TypeFunctionCallOutput, CallID: "c" + w[1:]})
		case 'm':
			all = append(all, openresponses.Text("assistant", w))
		case 'u':
			all = append(all, openresponses.Text("user", w))
		}
	}
	return all
}

func written(all []openresponses.Item) string {
	var words []string
	for _, it := range all {
		switch it.Type {
		case openresponses.TypeReasoning:
			words = append(words, it.EncryptedContent)
		case openresponses.TypeFunctionCall:
			words = append(words, it.CallID)
		case openresponses.TypeFunctionCallOutput:
			words = append(words, "o"+it.CallID[1:])
		default:
			words = append(words, it.Role[:1])
		}
	}
	return strings.ReplaceAll(strings.Join(words, " "), "a", "m")
}

func TestStates(t *testing.T) {
	t.Parallel()
	tests := []struct{ kept, asked, want string }{
		{"r1 c1", "u c1 o1", "u r1 c1 o1"},
		{"r1 c1 c2", "u c1 c2 o1 o2", "u r1 c1 c2 o1 o2"},
		{"r1 m c1", "u m c1 o1", "u r1 m c1 o1"},
		{"r1 m c1", "u c1 o1", "u r1 c1 o1"}, // a client drops an empty message
		{"r1 c1 r2 c2", "u c1 c2 o1 o2", "u r1 c1 r2 c2 o1 o2"},
		{"r1 r2 c1", "u c1 o1 u", "u r1 r2 c1 o1 u"},
		{"r1 c1", "u c9 o9", "u c9 o9"},       // another call
		{"r1 c1", "u r7 c1 o1", "u r7 c1 o1"}, // the client has some of its own
		{"r1 m", "u m u", "u m u"},            // nothing to know it by
		{"c1", "u c1 o1", "u c1 o1"},
		{"r1 c1", "u c1 o1 m u c1 o1", "u r1 c1 o1 m u r1 c1 o1"},
	}
	for _, tt := range tests {
		s := newStates()
		s.keep("alice", items(tt.kept))
		r := openresponses.Request{Input: items(tt.asked)}
		s.restore("alice", &r)
		if got := written(r.Input); got != tt.want {
			t.Errorf("kept %q, asked %q: %q, want %q", tt.kept, tt.asked, got, tt.want)
		}
		r = openresponses.Request{Input: items(tt.asked)}
		s.restore("mallory", &r)
		if got := written(r.Input); got != tt.asked {
			t.Errorf("mallory is given what is alice's: %q", got)
		}
	}
}

func TestStatesAreBounded(t *testing.T) {
	t.Parallel()
	s := newStates()
	now := time.Now()
	s.now = func() time.Time { return now }
	big := strings.Repeat("x", stateOne/2)
	for i := range 100 {
		s.keep("alice", []openresponses.Item{{Type: openresponses.TypeReasoning, EncryptedContent: big}, {Type: openresponses.TypeFunctionCall, CallID: fmt.Sprint(i)}})
	}
	if s.bytes > stateBytes || len(s.turns) != s.order.Len() || len(s.turns) < 10 {
		t.Errorf("%d bytes of %d turns in %d places are kept, want at most %d bytes", s.bytes, s.order.Len(), len(s.turns), stateBytes)
	}
	if s.find(stateKey{"alice", "0"}) != nil || s.find(stateKey{"alice", "99"}) == nil {
		t.Error("want the oldest to go and the newest to stay")
	}
	s.keep("alice", items("r1 "+strings.Repeat("c1 ", 3)))
	s.keep("alice", []openresponses.Item{{Type: openresponses.TypeReasoning, EncryptedContent: big + big + big}, {Type: openresponses.TypeFunctionCall, CallID: "huge"}})
	if s.find(stateKey{"alice", "huge"}) != nil {
		t.Error("a turn beyond the bound is kept")
	}
	now = now.Add(stateAge + time.Second)
	if s.find(stateKey{"alice", "99"}) != nil {
		t.Error("state is given after its hour")
	}
	s.keep("alice", items("r1 c1"))
	if s.order.Len() != 1 || len(s.turns) != 1 || s.bytes > 1000 {
		t.Errorf("%d turns of %d bytes are left after their hour, want the new one", s.order.Len(), s.bytes)
	}
}

// A dialect without a place for state gets it back in the next turn, also from
// the Router that comes after a reload.
func TestStateOverTurns(t *testing.T) {
	t.Parallel()
	up := newUpstream(t, says("call f {}; usage 7 3; finish"))
	var asked []openresponses.Item
	tr := plugins{"lines": &thinks{lines: lines{begin: nil}, seen: &asked}}
	b := newBench(t, at(up.URL), tr)
	a, _ := asking(said, true)
	if _, err := serve(t, b, a, &client{}); err != nil {
		t.Fatal(err)
	}
	next := newBench(t, at(up.URL), tr)
	next.Inherit(b.Router)
	for stateful, want := range map[bool]string{false: "u thought c-f o1", true: "u c-f o1"} {
		a, p := asking(said, true)
		a.Dialect.State = stateful
		p.asked.Request.Input = append(items("u"), openresponses.Item{Type: openresponses.TypeFunctionCall, CallID: "c-f"}, items("o1")[0])
		if _, err := serve(t, next, a, &client{}); err != nil {
			t.Fatal(err)
		}
		if got := written(asked); got != want {
			t.Errorf("state in the dialect: %v; the translator was asked %q, want %q", stateful, got, want)
		}
	}
}

// thinks is lines with a reasoning item in front of each reply.
type thinks struct {
	lines
	seen *[]openresponses.Item
}

func (x *thinks) Begin(ctx context.Context, t provider.Turn) (provider.Exchange, error) {
	*x.seen = t.Request.Input
	ex, err := x.lines.Begin(ctx, t)
	return &thinking{ex.(*lineExchange)}, err
}

type thinking struct{ *lineExchange }

func (x *thinking) Decode(ctx context.Context, r provider.Reply) iter.Seq2[openresponses.Event, error] {
	return func(yield func(openresponses.Event, error) bool) {
		it := openresponses.Item{Type: openresponses.TypeReasoning, EncryptedContent: "thought", Status: openresponses.StatusCompleted}
		if !yield(openresponses.Event{Type: openresponses.EventItemAdded, Item: &it}, nil) || !yield(openresponses.Event{Type: openresponses.EventItemDone, Item: &it}, nil) {
			return
		}
		for ev, err := range x.lineExchange.Decode(ctx, r) {
			if ev.Type != openresponses.EventCompleted {
				ev.OutputIndex++
			}
			if !yield(ev, err) {
				return
			}
		}
	}
}
