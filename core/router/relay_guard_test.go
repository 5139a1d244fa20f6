package router

import (
	"context"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strings"
	"testing"

	"github.com/sallyport-gateway/sallyport/core/usage"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

// A provider that says the key back, in whatever kind of reply, says it to
// nobody, and the length of the reply is right all the same.
func TestRelayedRepliesHoldNoKey(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, contentType, reply string
		stream                   bool
	}{
		{"a body", "application/json", `{"text":"your key is KEY","usage":{"out":1}}`, false},
		{"a body that is an error", "application/json", `{"bad":{"message":"KEY is wrong"}}`, false},
		{"a word of a stream", "text/event-stream", "event: begin\ndata: {}\n\nevent: word\ndata: {\"word\":\"KEY\"}\n\nevent: done\ndata: {}\n\n", true},
		{"an error at the beginning", "text/event-stream", "event: bad\ndata: {\"bad\":{\"message\":\"KEY\"}}\n\n", true},
		{"an error in the middle", "text/event-stream", "event: word\ndata: {\"word\":\"a\"}\n\nevent: bad\ndata: {\"bad\":{\"message\":\"KEY\"}}\n\n", true},
	} {
		up := newUpstream(t, answers(tt.contentType, strings.ReplaceAll(tt.reply, "KEY", canary)))
		b := newBench(t, speaking(at(up.URL), "p0"), both)
		a, _ := asking(said, tt.stream)
		w := &client{}
		if _, err := serve(t, b, a, w); err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		want := strings.ReplaceAll(tt.reply, "KEY", "***")
		if w.body.String() != want {
			t.Errorf("%s: got %q, want %q", tt.name, w.body.String(), want)
		}
		if n := w.header.Get("Content-Length"); n != fmt.Sprint(len(want)) && (n != "" || !tt.stream) {
			t.Errorf("%s: Content-Length is %q of %d", tt.name, n, len(want))
		}
	}
}

// Headers of a provider that would speak for the gateway stay here.
func TestRelayedReplyHeaders(t *testing.T) {
	t.Parallel()
	gone := []string{"Sallyport-Lost", "X-Databricks-Org-Id", "Databricks-Model", "Authorization", "WWW-Authenticate", "Proxy-Status", "Location",
		"Access-Control-Allow-Origin", "Alt-Svc", "Strict-Transport-Security", "Set-Cookie", "X-Accel-Redirect", "Refresh"}
	for _, reply := range []string{`{"text":"a"}`, spoken, "400"} {
		up := newUpstream(t, func(w http.ResponseWriter, _ *http.Request) {
			for _, name := range gone {
				w.Header().Set(name, "theirs")
			}
			w.Header().Set("Server", "s")
			switch reply {
			case "400":
				w.WriteHeader(http.StatusBadRequest)
			case spoken:
				w.Header().Set("Content-Type", "text/event-stream")
			}
			io.WriteString(w, reply)
		})
		b := newBench(t, speaking(at(up.URL), "p0"), both)
		a, _ := asking(said, reply == spoken)
		w := &client{}
		if _, err := serve(t, b, a, w); err != nil {
			t.Fatal(err)
		}
		for _, name := range gone {
			if v, ok := w.header[http.CanonicalHeaderKey(name)]; ok {
				t.Errorf("%.9q: the client was given %s: %q", reply, name, v)
			}
		}
		if w.header.Get("Server") != "s" {
			t.Errorf("%.9q: the client was not given Server", reply)
		}
	}
}

// An answer that is made in the background is counted nowhere.
func TestBackgroundIsRefused(t *testing.T) {
	t.Parallel()
	for body, refused := range map[string]bool{
		`{"model":"m","background":true}`: true, `{"model":"m","background":1}`: true, `{"model":"m","background":"true"}`: true,
		`{"model":"m","background":false}`: false, `{"model":"m","background":null}`: false, `{"model":"m","n":{"background":true}}`: false,
	} {
		for _, translated := range []bool{false, true} {
			up := newUpstream(t, answers("application/json", `{"text":"a"}`))
			if translated {
				up = newUpstream(t, says(good))
			}
			b := newBench(t, speaking(at(up.URL), "p0"), both)
			a, _ := asking(body, false)
			a.Translated = translated
			rec, err := serve(t, b, a, &client{})
			if !refused && err != nil {
				t.Errorf("%s: %v", body, err)
			}
			if refused && (!apierror.Is(err, apierror.Unsupported) || apierror.From(err).Param != "background" || up.requests() != 0 || rec.status != "") {
				t.Errorf("%s: Serve = %v after %d requests, with a record %+v", body, err, up.requests(), rec)
			}
		}
	}
}

// listing is a dialogue whose stream is no stream of events.
type listing struct{ *phrase }

func (l listing) Asked() provider.Asked {
	asked := l.asked
	asked.Stream = false
	return asked
}

func (l listing) Write(_ context.Context, events iter.Seq2[openresponses.Event, error], w io.Writer) error {
	sep := "["
	for ev, err := range events {
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(w, "%s%q", sep, ev.Type); err != nil {
			return err
		}
		sep = ",\n"
	}
	_, err := io.WriteString(w, "]")
	return err
}

// A client that asked for a list which grows is told so, and nothing that only
// a stream of events has is put in it.
func TestListsAreNotEvents(t *testing.T) {
	t.Parallel()
	up := newUpstream(t, says(good))
	b := newBench(t, at(up.URL), both)
	a, p := asking(said, true)
	a.Accept = func(context.Context) (provider.Dialogue, error) { return listing{p}, nil }
	w := &client{}
	rec, err := serve(t, b, a, w)
	if got := w.header.Get("Content-Type"); err != nil || got != "application/json" || !strings.HasSuffix(w.body.String(), "]") || rec.status != usage.Completed {
		t.Errorf("Serve = %v, Content-Type %q, body %q, status %s", err, got, w.body.String(), rec.status)
	}
	for _, ping := range w.beats {
		if ping != "" {
			t.Errorf("a ping %q in a list", ping)
		}
	}
}

// What a model writes is estimated whole where nobody counted it: what it
// thinks, and the arguments of its calls, be they a string or an object.
func TestEstimatedText(t *testing.T) {
	t.Parallel()
	d := provider.Dialect{Text: []string{"choices.delta.content", "choices.delta.reasoning", "candidates.content.parts.text", "candidates.content.parts.functionCall.args"}}
	for _, tt := range []struct {
		data        string
		text, calls int
	}{
		{`{"choices":[{"delta":{"content":"abc","reasoning":"defgh"}}]}`, 8, 0},
		{`{"candidates":[{"content":{"parts":[{"text":"ab","thought":true},{"functionCall":{"name":"f","args":{"a":"b"}}}]}}]}`, 11, 1},
	} {
		var got tally
		newProbe(d, provider.Meter{}).walk([]byte(tt.data), kind{}, false, &got)
		if got.text != tt.text || got.calls != tt.calls {
			t.Errorf("%s: %d bytes and %d calls, want %d and %d", tt.data, got.text, got.calls, tt.text, tt.calls)
		}
	}
}
