package router

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

// scripted is an offline translator whose turns are programs.
type scripted func(ctx context.Context, t provider.Turn, out *provider.Output, yield func(openresponses.Event, error) bool)

func (s scripted) Begin(_ context.Context, t provider.Turn) (provider.Exchange, error) {
	return scriptedExchange{s, t}, nil
}

type scriptedExchange struct {
	s scripted
	t provider.Turn
}

func (scriptedExchange) Upstream() *provider.Upstream { return nil }

func (x scriptedExchange) Decode(ctx context.Context, _ provider.Reply) iter.Seq2[openresponses.Event, error] {
	return func(yield func(openresponses.Event, error) bool) {
		x.s(ctx, x.t, provider.NewOutput(yield), yield)
	}
}

// offline makes the configuration of model m with n destinations, the first
// one and its fallbacks, none of which needs HTTP.
func offline(n int) Config {
	cfg := Config{Providers: map[string]Provider{"p": {Translator: "offline"}}, Models: map[string]Model{}}
	m := Model{Destinations: []Destination{{Provider: "p", Model: "d0"}}}
	for i := 1; i < n; i++ {
		m.Fallback = append(m.Fallback, Destination{Provider: "p", Model: fmt.Sprintf("d%d", i)})
	}
	cfg.Models["m"] = m
	return cfg
}

// seen is one event with the time it reached the consumer.
type seen struct {
	typ   string
	after time.Duration
}

func timeline(seq iter.Seq2[openresponses.Event, error]) (got []seen, err error) {
	begin := time.Now()
	for ev, e := range seq {
		if e != nil {
			err = e
			continue
		}
		got = append(got, seen{strings.TrimPrefix(ev.Type, "response."), time.Since(begin)})
	}
	return got, err
}

func added() openresponses.Event {
	return openresponses.Event{Type: openresponses.EventItemAdded, Item: &openresponses.Item{Type: openresponses.TypeMessage, Role: "assistant"}}
}

func TestHoldEndsAfterTwoSeconds(t *testing.T) {
	t.Parallel()
	b := newBench(t, offline(2), plugins{"offline": scripted(func(_ context.Context, t provider.Turn, out *provider.Output, yield func(openresponses.Event, error) bool) {
		yield(added(), nil)
		time.Sleep(10 * time.Second)
		yield(openresponses.Event{}, apierror.New(apierror.UpstreamLimited, "late from %s", t.Model))
	})})
	synctest.Test(t, func(t *testing.T) {
		got, err := timeline(b.Generate(t.Context(), alice, ask("m")))
		if want := []seen{{"output_item.added", 2 * time.Second}}; fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("events = %v, want %v", got, want)
		}
		if !apierror.Is(err, apierror.UpstreamLimited) || !strings.Contains(err.Error(), "late from d0") {
			t.Errorf("error = %v, want the one of d0: it was committed, so no fallback follows", err)
		}
	})
}

func TestHoldIsNotFeltWithContent(t *testing.T) {
	t.Parallel()
	b := newBench(t, offline(1), plugins{"offline": scripted(func(_ context.Context, _ provider.Turn, out *provider.Output, _ func(openresponses.Event, error) bool) {
		time.Sleep(time.Second)
		out.Text("a")
		time.Sleep(25 * time.Second)
		out.Text("b")
		out.Finish(openresponses.Terminal{})
	})})
	synctest.Test(t, func(t *testing.T) {
		got, err := timeline(b.Generate(t.Context(), alice, ask("m")))
		later := 26 * time.Second
		want := []seen{{"output_item.added", time.Second}, {"content_part.added", time.Second}, {"output_text.delta", time.Second}, {"output_text.delta", later},
			{"output_text.done", later}, {"content_part.done", later}, {"output_item.done", later}, {"completed", later}}
		if fmt.Sprint(got) != fmt.Sprint(want) || err != nil {
			t.Errorf("events = %v, %v; want %v", got, err, want)
		}
	})
}

// What is announced late is given on at once: the bound counts from the head.
func TestHoldCountsFromTheHead(t *testing.T) {
	t.Parallel()
	b := newBench(t, offline(1), plugins{"offline": scripted(func(_ context.Context, _ provider.Turn, out *provider.Output, yield func(openresponses.Event, error) bool) {
		time.Sleep(5 * time.Second)
		yield(added(), nil)
		time.Sleep(5 * time.Second)
		yield(openresponses.Event{}, apierror.New(apierror.UpstreamFailed, "x"))
	})})
	synctest.Test(t, func(t *testing.T) {
		got, _ := timeline(b.Generate(t.Context(), alice, ask("m")))
		if want := []seen{{"output_item.added", 5 * time.Second}}; fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("events = %v, want %v", got, want)
		}
	})
}

func TestAttemptsAreBounded(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name         string
		destinations int
		fail         func() error
		want         []string // destinations tried
		atMost       time.Duration
	}{
		{"one destination is tried twice", 1, func() error { return apierror.New(apierror.UpstreamFailed, "x") }, []string{"d0", "d0"}, time.Second},
		{"each is tried twice, five in all", 4, func() error { return apierror.New(apierror.UpstreamFailed, "x") }, []string{"d0", "d0", "d1", "d1", "d2"}, time.Second},
		{"timeouts are not repeated", 3, func() error { return apierror.New(apierror.UpstreamTimeout, "x") }, []string{"d0", "d1", "d2"}, 0},
		{"a dead plugin is tried again at once", 1, func() error { return apierror.New(apierror.Unavailable, "x") }, []string{"d0", "d0"}, 0},
		{"a short Retry-After is kept", 1, func() error {
			e := apierror.New(apierror.UpstreamLimited, "x")
			e.RetryAfter = 4 * time.Second
			return e
		}, []string{"d0", "d0"}, 4*time.Second + baseWait},
		{"a long one means the next", 2, func() error {
			e := apierror.New(apierror.UpstreamLimited, "x")
			e.RetryAfter = time.Minute
			return e
		}, []string{"d0", "d1"}, 0},
		{"no attempt begins after three minutes", 5, func() error {
			time.Sleep(100 * time.Second)
			return apierror.New(apierror.UpstreamTimeout, "x")
		}, []string{"d0", "d1"}, 200 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var tried []string
			b := newBench(t, offline(tt.destinations), plugins{"offline": scripted(func(_ context.Context, t provider.Turn, _ *provider.Output, yield func(openresponses.Event, error) bool) {
				tried = append(tried, t.Model)
				yield(openresponses.Event{}, tt.fail())
			})})
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				if _, err := timeline(b.Generate(t.Context(), alice, ask("m"))); err == nil {
					t.Error("no error, want one")
				}
				if fmt.Sprint(tried) != fmt.Sprint(tt.want) {
					t.Errorf("tried %v, want %v", tried, tt.want)
				}
				if took := time.Since(begin); took > tt.atMost {
					t.Errorf("took %s, want at most %s", took, tt.atMost)
				}
			})
		})
	}
}

func TestStuckTranslator(t *testing.T) {
	t.Parallel()
	b := newBench(t, offline(2), plugins{"offline": scripted(func(ctx context.Context, t provider.Turn, out *provider.Output, yield func(openresponses.Event, error) bool) {
		if t.Model == "d0" {
			<-ctx.Done()
			yield(openresponses.Event{}, ctx.Err())
			return
		}
		out.Text("from d1")
		out.Finish(openresponses.Terminal{})
	})})
	synctest.Test(t, func(t *testing.T) {
		got := collect(b.Generate(t.Context(), alice, ask("m")))
		if got.text != "from d1" || got.err != nil {
			t.Errorf("got %q, %v; want the fallback's text", got.text, got.err)
		}
	})
	if rec := <-b.records; fmt.Sprint(rec.attempts) != "[p/d0 0 unavailable p/d1 0]" {
		t.Errorf("attempts = %v, want an unavailable one and one that served", rec.attempts)
	}
}

// A translator that waits for the provider is not stuck, however long: that
// bound is egress's.
func TestWatchdog(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		do    func(w *watchdog)
		stuck bool
	}{
		{"has the turn", func(w *watchdog) { w.enter() }, true},
		{"has not", func(w *watchdog) { w.enter(); w.leave() }, false},
		{"waits for the provider", func(w *watchdog) { w.enter(); w.reply.reading.Store(true) }, false},
		{"reads now and then", func(w *watchdog) {
			w.enter()
			for range 40 {
				time.Sleep(25 * time.Second)
				w.reply.n.Add(1)
			}
			w.leave()
		}, false},
		{"gives now and then", func(w *watchdog) {
			for range 40 {
				w.enter()
				time.Sleep(25 * time.Second)
				w.leave()
			}
		}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				w := startWatchdog(&replyReader{}, cancel)
				tt.do(w)
				time.Sleep(10 * time.Minute)
				w.stop()
				if got := context.Cause(ctx) == errStuck; got != tt.stuck {
					t.Errorf("stuck = %t, want %t", got, tt.stuck)
				}
			})
		})
	}
}

// A client that reads slowly must not look like a translator that hangs.
func TestSlowConsumerIsNotStuck(t *testing.T) {
	t.Parallel()
	b := newBench(t, offline(1), plugins{"offline": scripted(func(_ context.Context, _ provider.Turn, out *provider.Output, _ func(openresponses.Event, error) bool) {
		out.Text("a")
		out.Text("b")
		out.Finish(openresponses.Terminal{})
	})})
	synctest.Test(t, func(t *testing.T) {
		n := 0
		for _, err := range b.Generate(t.Context(), alice, ask("m")) {
			if err != nil {
				t.Fatalf("error = %v, want none", err)
			}
			n++
			time.Sleep(10 * time.Minute)
		}
		if n != 8 {
			t.Errorf("%d events, want 8", n)
		}
	})
}

// Every goroutine of a call ends with the call, however it ends.
func TestNoGoroutineStays(t *testing.T) {
	up := newUpstream(t, says(good), saysThen("item", abort), status(503), saysThen("item; part; text x", hang), says("part"))
	b := newBench(t, patience(at(up.URL), Timeouts{Idle: 300 * time.Millisecond}), plugins{"lines": &lines{}})
	for range 5 {
		collect(b.Generate(t.Context(), alice, ask("m")))
	}
	ctx, cancel := context.WithCancel(t.Context())
	for range b.Generate(ctx, alice, ask("m")) {
		cancel() // client gone
	}
	for range b.Generate(t.Context(), alice, ask("m")) {
		break // consumer left
	}
	cancel()
	buf := make([]byte, 1<<20)
	ours := 0
	for _, g := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n")[1:] {
		if strings.Contains(g, "router.(*puller)") || strings.Contains(g, "router.(*attempt)") || strings.Contains(g, "router.(*watchdog)") {
			ours++
			t.Errorf("a goroutine stays:\n%s", g)
		}
	}
	if n := len(b.records); ours == 0 && n != 7 {
		t.Errorf("%d records, want 7", n)
	}
}

func TestClientGone(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"cancelled before the head", "cancelled in the reply", "left the loop"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			begun, gone := make(chan struct{}), make(chan struct{})
			up := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
				if how != "cancelled before the head" {
					says("item; part; text x")(w, r)
					w.(http.Flusher).Flush()
				}
				close(begun)
				<-r.Context().Done()
				close(gone)
			})
			b := newBench(t, at(up.URL), plugins{"lines": &lines{}})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if how != "left the loop" {
				go func() { <-begun; cancel() }()
			}
			var last error
			for ev, err := range b.Generate(ctx, alice, ask("m")) {
				last = err
				if how == "left the loop" && ev.Delta != "" {
					break
				}
			}
			<-gone // the test's own deadline fails it when the provider is not told
			if how != "left the loop" && !apierror.Is(last, apierror.Canceled) {
				t.Errorf("error = %v, want cancelled", last)
			}
			rec := <-b.records
			if rec.status != "canceled" || rec.code != apierror.Canceled || rec.usage.Input == 0 || !rec.usage.Estimated {
				t.Errorf("record = %+v, want status canceled with estimated usage", rec)
			}
			blamesNobody(t, b, rec)
		})
	}
}

// A translator that answers by itself may not look at its context at all.
func TestCancelStopsWhatDoesNotLook(t *testing.T) {
	t.Parallel()
	b := newBench(t, offline(1), plugins{"offline": deltas{1 << 40}})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n := 0
	var last error
	for _, err := range b.Generate(ctx, alice, ask("m")) {
		if n++; n == 100 {
			cancel()
		}
		last = err
	}
	if !apierror.Is(last, apierror.Canceled) || n != 101 {
		t.Errorf("%d steps, the last error %v; want 100 events and one error canceled", n, last)
	}
	blamesNobody(t, b, <-b.records)
}

// blamesNobody holds that a cancelled call is not said to be a provider's failure.
func blamesNobody(t *testing.T, b *bench, rec record) {
	t.Helper()
	if len(rec.attempts) != 1 || !strings.HasSuffix(rec.attempts[0], " canceled") {
		t.Errorf("attempts = %q, want one that was cancelled", rec.attempts)
	}
	if logs := b.logs.String(); strings.Contains(logs, "attempt failed") {
		t.Errorf("the log tells of a failure:\n%s", logs)
	}
}

func TestOfflineUsage(t *testing.T) {
	t.Parallel()
	b := newBench(t, offline(1), plugins{"offline": deltas{4}})
	got := collect(b.Generate(t.Context(), alice, ask("m")))
	want := openresponses.Usage{Output: 5, Estimated: true} // 4 × "word "
	if rec := <-b.records; got.usage == nil || *got.usage != want || rec.usage != want {
		t.Errorf("usage = %+v, in the record %+v; want %+v in both", got.usage, rec.usage, want)
	}
}
