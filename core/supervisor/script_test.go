package supervisor_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/sallyport-gateway/sallyport/core/router"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

// script is a model that plays turns. Each line of a turn is a word and what
// it says:
//
//	text, refusal, reasoning, summary  one delta (\n is a line break)
//	part                               the text so far is one part, the next text another
//	cite URL TITLE START END           an annotation of the text
//	state FAMILY DATA                  opaque reasoning state
//	call ID NAME ARGUMENTS             a whole call
//	half ID NAME ARGUMENTS             a call that is not finished
//	usage INPUT OUTPUT CACHED REASONING
//	incomplete REASON                  ends the turn
//	fail CODE MESSAGE                  breaks the turn off
//	cut                                stops without a terminal event
//	wait                               says nothing until the run is canceled
type script struct {
	t     testing.TB
	turns [][]string
	loop  bool // the last turn is played for ever

	mu    sync.Mutex
	asked []*openresponses.Request
}

func parseScript(t testing.TB, s string) *script {
	sc := &script{t: t}
	for line := range strings.Lines(s) {
		line = strings.TrimSpace(line)
		switch {
		case line == "turn":
			sc.turns = append(sc.turns, nil)
		case line == "":
		case len(sc.turns) == 0:
			t.Fatalf("script: %q before the first turn", line)
		default:
			last := len(sc.turns) - 1
			sc.turns[last] = append(sc.turns[last], line)
		}
	}
	return sc
}

func (s *script) generate(ctx context.Context, c router.Call) iter.Seq2[openresponses.Event, error] {
	return func(yield func(openresponses.Event, error) bool) {
		s.mu.Lock()
		n := len(s.asked)
		s.asked = append(s.asked, c.Request)
		s.mu.Unlock()
		if n >= len(s.turns) && s.loop {
			n = len(s.turns) - 1
		}
		if n >= len(s.turns) {
			s.t.Errorf("the model was asked %d times, the script has %d turns", n+1, len(s.turns))
			yield(openresponses.Event{}, errors.New("script ended"))
			return
		}
		s.play(ctx, s.turns[n], yield)
	}
}

func (s *script) play(ctx context.Context, lines []string, yield func(openresponses.Event, error) bool) {
	o := provider.NewOutput(yield)
	for _, line := range lines {
		word, rest, _ := strings.Cut(line, " ")
		rest = strings.ReplaceAll(rest, `\n`, "\n")
		ok := true
		switch word {
		case "text":
			ok = o.Text(rest)
		case "refusal":
			ok = o.Refusal(rest)
		case "reasoning":
			ok = o.Reasoning(rest)
		case "summary":
			ok = o.Summary(rest)
		case "part":
			ok = o.ClosePart()
		case "cite":
			f := strings.Fields(rest)
			ok = o.Annotate(openresponses.Annotation{Type: "url_citation", URL: f[0], Title: f[1], StartIndex: s.number(f[2]), EndIndex: s.number(f[3])})
		case "state":
			family, data, _ := strings.Cut(rest, " ")
			ok = o.ReasoningState(openresponses.OpaqueState{Provider: "script", Family: family, Data: []byte(data)})
		case "call", "half":
			id, rest, _ := strings.Cut(rest, " ")
			name, arguments, _ := strings.Cut(rest, " ")
			half := len(arguments) / 2
			ok = o.Call(id, id, name) && o.Arguments(id, arguments[:half]) && o.Arguments(id, arguments[half:])
			if word == "call" {
				ok = ok && o.CloseCall(id)
			}
		case "usage":
			f := strings.Fields(rest)
			ok = o.Usage(openresponses.Usage{Input: int64(s.number(f[0])), Output: int64(s.number(f[1])), CacheRead: int64(s.number(f[2])), Reasoning: int64(s.number(f[3]))})
		case "incomplete":
			o.Finish(openresponses.Terminal{Status: "incomplete", Reason: rest})
			return
		case "fail":
			code, message, _ := strings.Cut(rest, " ")
			o.Fail(apierror.New(apierror.Code(code), "%s", message))
			return
		case "cut":
			return
		case "wait":
			<-ctx.Done()
			o.Fail(fmt.Errorf("script: %w", ctx.Err()))
			return
		default:
			s.t.Errorf("script: unknown word %q", word)
			return
		}
		if !ok {
			return
		}
	}
	o.Finish(openresponses.Terminal{Status: "completed"})
}

func (s *script) number(v string) int {
	n, err := strconv.Atoi(v)
	if err != nil {
		s.t.Errorf("script: %v", err)
	}
	return n
}
