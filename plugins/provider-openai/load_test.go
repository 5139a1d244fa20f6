package main

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	or "github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

// TestLoad holds who goes on and who waits.
func TestLoad(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var l load
		var all []*guard
		for range first + 1 {
			g := &guard{load: &l, ctx: t.Context()}
			if !g.hold(much / (first + 1)) {
				t.Fatal("a reply was refused before there was much")
			}
			all = append(all, g)
		}
		small := &guard{load: &l, ctx: t.Context()}
		if !small.hold(longReply / 2) {
			t.Error("a short reply was refused")
		}
		for _, g := range all[:first] {
			if !g.hold(longReply) {
				t.Error("one of those that began first was refused")
			}
		}
		last := all[first]
		began := time.Now()
		if last.hold(longReply) || time.Since(began) != patience {
			t.Errorf("a long reply was let go on after %v, want it refused after %v", time.Since(began), patience)
		}
		ended := make(chan bool)
		go func() { ended <- last.hold(longReply) }()
		synctest.Wait()
		all[0].release() // now it is among the first
		if !<-ended {
			t.Error("a reply that waited was refused when another ended")
		}
		ctx, cancel := context.WithCancel(t.Context())
		gone := &guard{load: &l, ctx: ctx}
		go func() { ended <- gone.hold(much) }()
		synctest.Wait()
		cancel()
		<-ended
		for _, g := range append(all, small, gone) {
			g.release()
		}
		if l.held != 0 || len(l.long) != 0 {
			t.Errorf("%d bytes and %d replies are still counted", l.held, len(l.long))
		}
	})
}

// TestTooManyLongReplies holds that the reply which would be too much fails
// alone, and that what it held is free again.
func TestTooManyLongReplies(t *testing.T) {
	body := `data: {"choices":[{"index":0,"delta":{"content":"` + strings.Repeat("x", 2*step) + `"},"finish_reason":"stop"}]}` + "\n\ndata: [DONE]\n\n"
	x, err := translator{}.Begin(t.Context(), provider.Turn{
		Op: provider.Generate, Model: "m", Request: &or.Request{Input: []or.Item{or.Text("user", "x")}, Stream: true},
		Account: provider.Account{Name: "openai", Settings: []byte(`{"api":"chat"}`)},
	})
	if err != nil {
		t.Fatal(err)
	}
	others := &guard{load: &process, ctx: t.Context()}
	others.keep(tooMuch)
	held := process.held
	header := http.Header{"Content-Type": {"text/event-stream"}}
	var last error
	for _, err := range x.Decode(t.Context(), provider.Reply{Status: 200, Header: header, Body: strings.NewReader(body)}) {
		last = err
	}
	if apierror.CodeOf(last) != apierror.Unavailable {
		t.Errorf("a reply beyond what may be held ended in %v, want %s", last, apierror.Unavailable)
	}
	if process.held != held {
		t.Errorf("%d bytes are still counted", process.held-held)
	}
	others.release()
}
