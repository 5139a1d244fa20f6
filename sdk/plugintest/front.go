package plugintest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/golden"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

// FrontGolden checks a front, whose manifest is m, against the dialogues of dir
// (mostly testdata/front), one *.txtar file each: prose on what the case shows
// and why, then the sections
//
//	-- client --   {"surface":"acme","route":"/v1/chat","model":"…","stream":true,"query":"…","header":{"Acme-Beta":["x"]}}:
//	               a provider.ClientRequest; model and stream only where the route has them
//	-- body --     the client's body, as the client writes it
//	-- refused --  {"error":{…}} that Accept gives; then there is nothing below
//	-- asked --    {"op":"generate","model":"…","stream":true,"lost":["…"]}: what Asked gives
//	-- request --  the OpenResponses request that it became (op embed: the EmbedRequest), indented
//	-- events --   what the model answers: one event a line, in the form of openresponses.Event.AppendJSON; it may end in {"error":{…}}
//	-- count --    op count_tokens, instead of events: {"tokens":42}
//	-- vectors --  op embed, instead of events: {"vectors":[[0.5,1]],"usage":{…}}
//	-- varies --   optional: regular expressions, one a line. What their group finds in the reply is replaced by *1, *2 and so on,
//	               the same text by the same number: "id":"(msg_[0-9a-f]+)"
//	-- reply --    exactly what the client gets; a line feed is added when it ends in none
//	-- failed --   {"error":{…}} that Write gives
//
// `go test -update` rewrites refused, asked, request, reply and failed. A file
// with neither events, count nor vectors is about Accept alone.
//
// Beyond the comparison each dialogue is had again and again, as a careless
// world would have it: the events come slowly, end in an error at any place,
// are cancelled, the client leaves, many are had side by side, all of it goes
// over the frames of a plugin process, and the body is spoilt in many ways. A
// stream must end in its dialect's own sign, each Write must hold whole events,
// and a body that is refused must be told which field is wrong.
func FrontGolden(t *testing.T, front provider.Front, m provider.Manifest, dir string) {
	t.Helper()
	if err := m.Check(); err != nil {
		t.Fatalf("manifest: %v", err)
	}
	client, closeClient := provider.Loopback(alone(front))
	t.Cleanup(closeClient)
	for _, a := range archives(t, dir) {
		t.Run(a.Name(), func(t *testing.T) {
			f, err := golden.ReadFront(a.Archive, m)
			if err != nil {
				t.Fatalf("%s: %v", a.Path, err)
			}
			d := &frontDialogue{archive: a, Front: f, in: front}
			if d.check(t) {
				d.again(t, client)
			}
			a.Arrange(golden.FrontSections...)
			a.save(t)
		})
	}
}

// alone makes a Translator of a front that may be none.
func alone(f provider.Front) provider.Translator {
	if t, ok := f.(provider.Translator); ok {
		return t
	}
	return frontOnly{f}
}

type frontOnly struct{ provider.Front }

func (frontOnly) Begin(context.Context, provider.Turn) (provider.Exchange, error) {
	return nil, apierror.New(apierror.Unsupported, "This plugin is a front only.")
}

// frontDialogue is one case: what a client asks, and what it is answered.
type frontDialogue struct {
	archive
	*golden.Front
	in    provider.Front
	reply string // the section reply
}

// answered reports whether the file says what the model answers.
func (d *frontDialogue) answered() bool {
	for _, section := range []string{"events", "count", "vectors"} {
		if _, ok := d.Get(section); ok {
			return true
		}
	}
	return false
}

// check compares the dialogue with its file, and reports whether there is a
// reply.
func (d *frontDialogue) check(t *testing.T) bool {
	t.Helper()
	dialogue, err := d.in.Accept(t.Context(), d.Client)
	if err != nil {
		d.want(t, "refused", golden.ErrorLine(err))
		w := golden.Wrong{What: "the body of this dialogue"}
		if wrong := w.CheckRefusal(err); wrong != nil {
			t.Error(wrong)
		}
		return false
	}
	d.want(t, "refused", "")
	asked, request, err := golden.AskedText(dialogue.Asked())
	if err != nil {
		t.Fatal(err)
	}
	d.want(t, "asked", asked)
	d.want(t, "request", request)
	for _, wrong := range d.CheckAsked(dialogue.Asked()) {
		t.Error(wrong)
	}
	d.spoilt(t)
	if !d.answered() {
		return false
	}
	w := d.Answer(t.Context(), dialogue, golden.Pace{})
	d.reply = d.ReplyText(w)
	d.want(t, "reply", d.reply)
	failed := ""
	if w.Err != nil {
		failed = golden.ErrorLine(w.Err)
	}
	d.want(t, "failed", failed)
	for _, wrong := range d.CheckWritten(dialogue.Asked(), w, d.Failure) {
		t.Error(wrong)
	}
	return true
}

// spoilt has bodies refused that no client should send.
func (d *frontDialogue) spoilt(t *testing.T) {
	t.Helper()
	for _, w := range d.WrongBodies() {
		r := d.Client
		r.Body = w.Body
		dialogue, err := d.in.Accept(t.Context(), r)
		if err != nil {
			if wrong := w.CheckRefusal(err); wrong != nil {
				t.Errorf("%v\n%s", wrong, w.Body)
			}
			continue
		}
		for _, wrong := range d.CheckAsked(dialogue.Asked()) {
			t.Errorf("%s: %v\n%s", w.What, wrong, w.Body)
		}
		giveUp(dialogue)
	}
}

func giveUp(d provider.Dialogue) {
	if c, ok := d.(io.Closer); ok {
		c.Close()
	}
}

// open begins the dialogue anew.
func (d *frontDialogue) open(t testing.TB, ctx context.Context, f provider.Front) provider.Dialogue {
	t.Helper()
	dialogue, err := f.Accept(ctx, d.Client)
	if err != nil {
		t.Fatalf("Accept of the same request: %v", err)
	}
	return dialogue
}

// again has the dialogue in every other way the world may have it.
func (d *frontDialogue) again(t *testing.T, client *provider.Client) {
	t.Helper()
	d.same(t, "over the frames", d.Answer(t.Context(), d.open(t, t.Context(), client), golden.Pace{}))
	d.sideBySide(t)
	if d.Route.Op != provider.Generate {
		return
	}
	d.slowly(t)
	d.brokenOff(t, client)
	d.cancelled(t)
	d.left(t)
}

func (d *frontDialogue) same(t *testing.T, how string, w *golden.Written) {
	t.Helper()
	if got := d.ReplyText(w); got != d.reply {
		t.Errorf("%s, the client gets\n%s\nwant\n%s", how, got, d.reply)
	}
	failed := ""
	if w.Err != nil {
		failed = golden.ErrorLine(w.Err)
	}
	if want, _ := d.Get("failed"); failed != want {
		t.Errorf("%s, Write gives %q, want %q", how, failed, want)
	}
}

// slowly has more than a second pass before each event: what tells the time is
// of the dialogue, not of the event.
func (d *frontDialogue) slowly(t *testing.T) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		dialogue := d.open(t, t.Context(), d.in)
		d.same(t, "when the events are slow", d.Answer(t.Context(), dialogue, golden.Pace{First: 3 * time.Second, Wait: 1500 * time.Millisecond}))
	})
}

// errSpoilt is what the events of a dialogue that breaks off end in.
var errSpoilt = apierror.New(apierror.UpstreamFailed, "The provider broke off.")

// brokenOff ends the events in an error at each place.
func (d *frontDialogue) brokenOff(t *testing.T, client *provider.Client) {
	t.Helper()
	for n := range min(len(d.Events), 64) {
		pace := golden.Pace{Only: n, Error: errSpoilt}
		for how, f := range map[string]provider.Front{"": d.in, " over the frames": client} {
			dialogue := d.open(t, t.Context(), f)
			w := d.Answer(t.Context(), dialogue, pace)
			for _, wrong := range d.CheckWritten(dialogue.Asked(), w, errSpoilt) {
				t.Errorf("after %d events%s: %v", n, how, wrong)
			}
		}
	}
}

// cancelled ends the context among the events.
func (d *frontDialogue) cancelled(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	dialogue := d.open(t, ctx, d.in)
	ended := make(chan bool)
	go func() {
		defer close(ended)
		dialogue.Write(ctx, func(yield func(openresponses.Event, error) bool) {
			for _, ev := range d.Events[:len(d.Events)/2] {
				if !yield(ev, nil) {
					return
				}
			}
			cancel()
			yield(openresponses.Event{}, apierror.New(apierror.Canceled, "The request was cancelled."))
		}, io.Discard)
	}()
	guard := time.NewTimer(endsWithin)
	defer guard.Stop()
	select {
	case <-ended:
	case <-guard.C:
		t.Errorf("still writing %v after the context was cancelled", endsWithin)
		<-ended
	}
}

// errGone is what writing to a client gives that has left.
var errGone = errors.New("the client has left")

// leaver takes some writes and then is gone.
type leaver struct{ most int }

func (l *leaver) Write(p []byte) (int, error) {
	if l.most--; l.most < 0 {
		return 0, errGone
	}
	return len(p), nil
}

// left has the client leave after each number of writes.
func (d *frontDialogue) left(t *testing.T) {
	t.Helper()
	for most := range 8 {
		l := &leaver{most}
		if err := d.AnswerTo(t.Context(), d.open(t, t.Context(), d.in), golden.Pace{}, l); l.most < 0 && err == nil {
			t.Errorf("the client left after %d writes, and Write gives no error", most)
		}
	}
}

// sideBySide has the dialogue in many goroutines: run it under -race.
func (d *frontDialogue) sideBySide(t *testing.T) {
	t.Helper()
	got := make([]*golden.Written, 32)
	var wg sync.WaitGroup
	for i := range got {
		dialogue := d.open(t, t.Context(), d.in)
		wg.Go(func() { got[i] = d.Answer(t.Context(), dialogue, golden.Pace{}) })
	}
	wg.Wait()
	for _, w := range got {
		d.same(t, "one of 32 side by side", w)
		if t.Failed() {
			return
		}
	}
}

// FuzzAccept fuzzes Accept with the requests of the dialogues in dir as seeds:
//
//	func FuzzAccept(f *testing.F) { plugintest.FuzzAccept(f, translator{}, manifest, "testdata/front") }
//
// Whatever the body: no panic, an error that the client can act on or a request
// that survives the process border, and the same the next time.
func FuzzAccept(f *testing.F, front provider.Front, m provider.Manifest, dir string) {
	f.Helper()
	all := frontDialogues(f, front, m, dir)
	for i, d := range all {
		f.Add(i, d.Client.Body)
	}
	f.Fuzz(func(t *testing.T, which int, body []byte) {
		d := all[((which%len(all))+len(all))%len(all)]
		r := d.Client
		r.Body = body
		dialogue, err := front.Accept(t.Context(), r)
		second, err2 := front.Accept(t.Context(), r)
		if err != nil {
			if wrong := (golden.Wrong{What: "this body"}).CheckRefusal(err); wrong != nil {
				t.Fatal(wrong)
			}
			if err2 == nil || err2.Error() != err.Error() {
				t.Fatalf("the same body was refused with %v and then with %v", err, err2)
			}
			return
		}
		for _, wrong := range d.CheckAsked(dialogue.Asked()) {
			t.Fatal(wrong)
		}
		if err2 != nil {
			t.Fatalf("the same body was taken and then refused: %v", err2)
		}
		if a, b := askedText(t, dialogue), askedText(t, second); a != b {
			t.Fatalf("the same body became\n%s\nand then\n%s", a, b)
		}
	})
}

func askedText(t *testing.T, d provider.Dialogue) string {
	t.Helper()
	asked, request, err := golden.AskedText(d.Asked())
	if err != nil {
		t.Fatal(err)
	}
	return asked + request
}

// FuzzFrontWrite fuzzes what is written for the dialogues in dir: texts, calls
// and errors that no model should give.
//
//	func FuzzFrontWrite(f *testing.F) { plugintest.FuzzFrontWrite(f, translator{}, manifest, "testdata/front") }
//
// Whatever the events: whole events or one JSON body, and the stream's own end.
func FuzzFrontWrite(f *testing.F, front provider.Front, m provider.Manifest, dir string) {
	f.Helper()
	var all []*frontDialogue
	for _, d := range frontDialogues(f, front, m, dir) {
		if d.Route.Op == provider.Generate && d.answered() {
			all = append(all, d)
		}
	}
	if len(all) == 0 {
		f.Fatalf("no dialogue in %s has events", dir)
	}
	for i := range all {
		f.Add(i, "text \u2028\n\ndata: x", "call_1", `{"a":"\u0000"}`, "reasoning", i%2 == 0)
	}
	f.Fuzz(func(t *testing.T, which int, text, call, arguments, thought string, fails bool) {
		d := *all[((which%len(all))+len(all))%len(all)]
		fd := *d.Front
		d.Front = &fd
		fd.Events, fd.Failure = madeUp(text, call, arguments, thought), nil
		if fails {
			fd.Events, fd.Failure = fd.Events[:len(fd.Events)-1], apierror.New(apierror.UpstreamFailed, "%s", text)
		}
		dialogue := d.open(t, t.Context(), front)
		w := d.Answer(t.Context(), dialogue, golden.Pace{})
		for _, wrong := range d.CheckWritten(dialogue.Asked(), w, fd.Failure) {
			t.Fatal(wrong)
		}
	})
}

// madeUp are the events of a turn that thinks, says and calls.
func madeUp(text, call, arguments, thought string) []openresponses.Event {
	for _, s := range []*string{&text, &call, &arguments, &thought} {
		*s = strings.ToValidUTF8(*s, "?") // as everything that crossed a border
	}
	var all []openresponses.Event
	out := provider.NewOutput(func(ev openresponses.Event, _ error) bool {
		all = append(all, ev)
		return true
	})
	out.Reasoning(thought)
	out.Text(text)
	out.Text(thought)
	out.Call("call", call, "f")
	out.Arguments("call", arguments)
	out.Usage(openresponses.Usage{Input: 1, Output: 2})
	end := openresponses.Terminal{Status: openresponses.StatusCompleted, Model: text}
	var object map[string]json.RawMessage
	if arguments != "" && (json.Unmarshal([]byte(arguments), &object) != nil || object == nil) {
		// A front may refuse a complete call that nobody can execute.
		end.Status, end.Reason = openresponses.StatusIncomplete, "max_output_tokens"
	}
	out.Finish(end)
	return all
}

func frontDialogues(f *testing.F, front provider.Front, m provider.Manifest, dir string) []*frontDialogue {
	f.Helper()
	var all []*frontDialogue
	for _, a := range archives(f, dir) {
		g, err := golden.ReadFront(a.Archive, m)
		if err != nil {
			f.Fatalf("%s: %v", a.Path, err)
		}
		if _, refused := a.Get("refused"); !refused {
			all = append(all, &frontDialogue{archive: a, Front: g, in: front})
		}
	}
	if len(all) == 0 {
		f.Fatal(fmt.Errorf("no dialogue in %s is accepted", dir))
	}
	return all
}
