// Command serve runs scripted model providers as a process of their own, for
// the real coding agents and for benchmarks, where what a provider costs must
// not count as the gateway's. It prints one line of JSON with the URLs, and
// keeps no accepted request.
//
//	go run ./core/gatewaytest/upstream/serve --key k --words 200 --batch
//	{"anthropic":"http://127.0.0.1:41013","gemini":"http://127.0.0.1:39425","openai":"http://127.0.0.1:37707/v1"}
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"

	"github.com/sallyport-gateway/sallyport/core/gatewaytest/upstream"
)

func main() {
	key := flag.String("key", "upstream-key", "the `key` that the providers take")
	address := flag.String("address", "127.0.0.1:0", "where to listen; each provider has a port of its own")
	agent := flag.Bool("agent", false, "answer coding agents: the errand, titles, greetings")
	words := flag.Int("words", 3, "answer with this many words, each a piece of a stream")
	pace := flag.Duration("pace", 0, "time between two pieces")
	batch := flag.Bool("batch", false, "write all pieces at once")
	fault := flag.String("fault", "", "do this wrong: "+strings.Join(slices.Sorted(maps.Keys(faults)), ", "))
	status := flag.Int("status", 0, "answer with this error `status`")
	retryAfter := flag.String("retry-after", "", "and this Retry-After `header`")
	trust := flag.Bool("trust", false, "check neither keys nor bodies")
	verbose := flag.Bool("v", false, "print requests that are refused")
	flag.Parse()
	t := upstream.Turn{Pace: *pace, Batch: *batch, Status: *status, RetryAfter: *retryAfter}
	var ok bool
	if t.Fault, ok = faults[*fault]; !ok && *fault != "" {
		fmt.Fprintf(os.Stderr, "serve: no fault %q\n", *fault)
		os.Exit(2)
	}
	if err := run(*address, *key, play(t, *agent, *words), *trust, *verbose); err != nil {
		fmt.Fprintln(os.Stderr, "serve:", err)
		os.Exit(1)
	}
}

var faults = map[string]upstream.Fault{
	"cut": upstream.Cut, "ended": upstream.Ended, "drip": upstream.Drip, "garbage": upstream.Garbage, "garbage-mid": upstream.GarbageMid, "error-event": upstream.ErrorEvent,
	"malformed": upstream.Malformed, "no-end": upstream.NoEnd, "hang": upstream.Hang, "hang-mid": upstream.HangMid,
}

// play is what the providers answer, in the manner of t.
func play(t upstream.Turn, agent bool, words int) func(upstream.Request) upstream.Turn {
	if !agent {
		t.Text = strings.Repeat("word ", max(words-1, 0)) + "end."
		t.Usage = upstream.Usage{Input: 100, Output: words}
		return func(upstream.Request) upstream.Turn { return t }
	}
	return func(r upstream.Request) upstream.Turn {
		a := upstream.Agent(r)
		a.Pace, a.Batch, a.Status, a.RetryAfter, a.Fault = t.Pace, t.Batch, t.Status, t.RetryAfter, t.Fault
		return a
	}
}

func run(address, key string, answer func(upstream.Request) upstream.Turn, trust, verbose bool) error {
	urls, ended := map[string]string{}, make(chan error)
	for _, name := range []string{"openai", "anthropic", "gemini"} {
		s, err := upstream.New(name, key)
		if err != nil {
			return err
		}
		s.Play(answer)
		if trust {
			s.Trust()
		}
		l, err := net.Listen("tcp", address)
		if err != nil {
			return err
		}
		urls[name] = "http://" + l.Addr().String()
		if name == "openai" {
			urls[name] += "/v1"
		}
		var h http.Handler = s
		if verbose {
			h = telling(name, s)
		}
		go func() { ended <- http.Serve(l, h) }()
	}
	if err := json.NewEncoder(os.Stdout).Encode(urls); err != nil {
		return err
	}
	return <-ended
}

// telling prints each request that s refused.
func telling(name string, s *upstream.Server) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		before := len(s.Refusals())
		s.ServeHTTP(w, r)
		for _, why := range s.Refusals()[min(before, len(s.Refusals())):] {
			fmt.Fprintf(os.Stderr, "%s %s: %s\n", name, r.URL.Path, why)
		}
	})
}
