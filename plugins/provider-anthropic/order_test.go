package main

import (
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	or "github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

// events are the events of all streamed replies in the golden dialogues.
func events(t testing.TB) []string {
	paths, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, p := range paths {
		b, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(b), "-- reply --\n")
		head, rest, _ := strings.Cut(rest, "\n\n")
		body, _, _ := strings.Cut(rest, "-- events --\n")
		if strings.Contains(head, "text/event-stream") {
			out = append(out, strings.SplitAfter(body, "\n\n")...)
		}
	}
	if len(out) < 20 {
		t.Fatalf("only %d events", len(out))
	}
	return out
}

// TestAnyOrder decodes events that make no sense together: lost, doubled, of
// other replies. Whatever comes, the events keep the grammar and end once.
func TestAnyOrder(t *testing.T) {
	t.Parallel()
	all := events(t)
	r, err := or.ParseRequest([]byte(`{"model":"m","input":"Hi","stream":true}`))
	if err != nil {
		t.Fatal(err)
	}
	x, err := translator{}.Begin(t.Context(), provider.Turn{Op: provider.Generate, Model: "claude-sonnet-4-5", Account: provider.Account{Name: "a"}, Request: r})
	if err != nil {
		t.Fatal(err)
	}
	ends := map[string]int{}
	for seed := range uint64(1000) {
		rnd := rand.New(rand.NewPCG(seed, 2))
		var body strings.Builder
		for range 1 + rnd.IntN(14) {
			body.WriteString(all[rnd.IntN(len(all))])
		}
		var acc or.Accumulator
		ended := 0
		for ev, err := range x.Decode(t.Context(), provider.Reply{Status: 200, Header: http.Header{"Content-Type": {"text/event-stream"}}, Body: strings.NewReader(body.String())}) {
			if ended > 0 {
				t.Fatalf("seed %d: something follows the end\n%s", seed, body.String())
			}
			if err != nil {
				ended++
				ends[string(apierror.CodeOf(err))]++
				continue
			}
			if err := acc.Add(ev); err != nil {
				t.Fatalf("seed %d: %v\n%s", seed, err, body.String())
			}
			if ev.IsTerminal() {
				ended++
				ends[ev.Terminal.Status]++
			}
		}
		if ended != 1 {
			t.Fatalf("seed %d: %d ends\n%s", seed, ended, body.String())
		}
	}
	if ends["completed"] == 0 || ends["upstream_failed"] == 0 || ends["upstream_limited"] == 0 {
		t.Errorf("the seeds do not reach every end: %v", ends)
	}
}
