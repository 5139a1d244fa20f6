package dialogue

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	or "github.com/sallyport-gateway/sallyport/sdk/openresponses"
)

func say(role, text string) or.Item { return or.Text(role, text) }

func call(id string) or.Item {
	return or.Item{Type: or.TypeFunctionCall, CallID: id, Name: "f", Arguments: "{}"}
}

func result(id string) or.Item {
	return or.Item{Type: or.TypeFunctionCallOutput, CallID: id, Output: or.Output{Text: "r"}}
}

var thought = or.Item{Type: or.TypeReasoning}

// outline writes a conversation as one line: s=system, u=user, m=model, each
// followed by the input indexes; results as call→output.
func outline(c *Conversation) string {
	var b strings.Builder
	for _, e := range c.System {
		fmt.Fprintf(&b, "s%d ", e.Index)
	}
	for _, t := range c.Turns {
		var in []string
		for _, r := range t.Results {
			in = append(in, fmt.Sprintf("%d→%d", r.Call.Index, r.Output.Index))
		}
		for _, e := range t.Entries {
			in = append(in, fmt.Sprint(e.Index))
		}
		side := "u"
		if t.Model {
			side = "m"
		}
		fmt.Fprintf(&b, "%s(%s) ", side, strings.Join(in, " "))
	}
	return strings.TrimSpace(b.String())
}

func TestArrange(t *testing.T) {
	t.Parallel()
	tests := []struct {
		rule  string
		in    []or.Item
		want  string
		lost  []string
		code  apierror.Code
		param string
	}{
		{rule: "neighbours of one side are one turn", in: []or.Item{say("user", "a"), say("user", "b"), thought, say("assistant", "c")}, want: "u(0 1) m(2 3)"},
		{rule: "system messages before all else are apart", in: []or.Item{say("system", "a"), say("developer", "b"), say("user", "c"), say("system", "d")}, want: "s0 s1 u(2 3)"},
		{rule: "a lone system message is said as the user", in: []or.Item{say("system", "a"), say("developer", "b")}, want: "s0 u(1)"},
		{rule: "calls side by side have their results together, in their order", in: []or.Item{say("user", "a"), call("x"), call("y"), result("y"), result("x"), say("user", "b")}, want: "u(0) m(1 2) u(1→4 2→3 5)"},
		{rule: "calls one after another are turns of their own", in: []or.Item{say("user", "a"), call("x"), result("x"), call("y"), result("y")}, want: "u(0) m(1) u(1→2) m(3) u(3→4)"},
		{rule: "a late result moves to its call", in: []or.Item{say("user", "a"), call("x"), say("user", "b"), result("x")}, want: "u(0) m(1) u(1→3 2)"},
		{rule: "a result after the model went on moves to the end of that turn", in: []or.Item{say("user", "a"), call("x"), say("assistant", "b"), result("x")}, want: "u(0) m(1 2) u(1→3)"},
		{rule: "the model may begin", in: []or.Item{say("assistant", "a"), say("user", "b")}, want: "m(0) u(1)"},
		{rule: "a listing is left out, an unknown item is lost", in: []or.Item{say("user", "a"), {Type: or.TypeMCPListTools}, {Type: "acme:thing"}}, want: "u(0)", lost: []string{"input[2]"}},
		{rule: "no input", code: apierror.Invalid, param: "input"},
		{rule: "a call without output", in: []or.Item{say("user", "a"), call("x")}, code: apierror.Invalid, param: "input[1].call_id"},
		{rule: "an output without call", in: []or.Item{say("user", "a"), result("x")}, code: apierror.Invalid, param: "input[1].call_id"},
		{rule: "an output before its call", in: []or.Item{result("x"), call("x")}, code: apierror.Invalid, param: "input[0].call_id"},
		{rule: "two calls of one id", in: []or.Item{call("x"), result("x"), call("x")}, code: apierror.Invalid, param: "input[2].call_id"},
		{rule: "two outputs of one call", in: []or.Item{call("x"), result("x"), result("x")}, code: apierror.Invalid, param: "input[2].call_id"},
		{rule: "a compaction of somebody else", in: []or.Item{{Type: or.TypeCompaction}}, code: apierror.Unsupported, param: "input[0]"},
	}
	for _, tt := range tests {
		var lost Lost
		c, err := Arrange(&or.Request{Input: tt.in}, &lost)
		var checked Lost
		if e := Check(&or.Request{Input: tt.in}, &checked); fmt.Sprint(e) != fmt.Sprint(err) || !slices.Equal(checked, lost) {
			t.Errorf("%s: Check gave %v and lost %q, Arrange %v and %q", tt.rule, e, checked, err, lost)
		}
		if tt.code != "" {
			if e := apierror.From(err); e == nil || e.Code != tt.code || e.Param != tt.param {
				t.Errorf("%s: got %v, want code %s at %s", tt.rule, err, tt.code, tt.param)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tt.rule, err)
			continue
		}
		if got := outline(c); got != tt.want || !slices.Equal(lost, tt.lost) {
			t.Errorf("%s: got %s, lost %q, want %s, lost %q", tt.rule, got, lost, tt.want, tt.lost)
		}
	}
}

// FuzzArrange holds the rule of the package for any order of items.
func FuzzArrange(f *testing.F) {
	f.Add("uaxXsryYzZ")
	f.Add("xyYXzuZ")
	f.Fuzz(func(t *testing.T, script string) {
		var in []or.Item
		for _, c := range script {
			switch {
			case c == 'u':
				in = append(in, say("user", "u"))
			case c == 's':
				in = append(in, say("system", "s"))
			case c == 'a':
				in = append(in, say("assistant", "a"))
			case c == 'r':
				in = append(in, thought)
			case 'v' <= c && c <= 'z':
				in = append(in, call(string(c)))
			case 'V' <= c && c <= 'Z':
				in = append(in, result(strings.ToLower(string(c))))
			}
		}
		c, err := Arrange(&or.Request{Input: in}, new(Lost))
		if checked := Check(&or.Request{Input: in}, new(Lost)); fmt.Sprint(checked) != fmt.Sprint(err) {
			t.Errorf("Check: got %v, want %v as from Arrange", checked, err)
		}
		if err != nil {
			if apierror.CodeOf(err) != apierror.Invalid {
				t.Errorf("%v", err)
			}
			return
		}
		seen := len(c.System)
		for i, turn := range c.Turns {
			if i > 0 && turn.Model == c.Turns[i-1].Model {
				t.Errorf("%s: turns %d and %d are of one side", outline(c), i-1, i)
			}
			var calls, results []string
			for _, e := range turn.Entries {
				if e.Item.Type == or.TypeFunctionCall {
					calls = append(calls, e.Item.CallID)
				}
			}
			if i+1 < len(c.Turns) {
				for _, r := range c.Turns[i+1].Results {
					results = append(results, r.Output.Item.CallID)
				}
			}
			if !slices.Equal(calls, results) {
				t.Errorf("%s: calls %v of turn %d have results %v", outline(c), calls, i, results)
			}
			seen += len(turn.Entries) + len(turn.Results)
		}
		if seen != len(in) {
			t.Errorf("%s: %d of %d items are there", outline(c), seen, len(in))
		}
	})
}
