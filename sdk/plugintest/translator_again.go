package plugintest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/sallyport-gateway/sallyport/sdk/golden"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

// smallBody is up to where every single split point is tried.
const smallBody = 1024

// again decodes the dialogue in every other way the world may deliver it.
func (d *dialogue) again(t *testing.T, tr provider.Translator, full *golden.Outcome) {
	t.Helper()
	if d.Header != nil {
		d.splits(t, tr, full)
		d.truncated(t, tr, full)
		d.cancelled(t, tr)
	}
	d.stopped(t, tr, full)
	d.sideBySide(t, tr, full)
}

// once begins the turn anew and decodes what body gives.
func (d *dialogue) once(ctx context.Context, t testing.TB, tr provider.Translator, body io.Reader) *golden.Outcome {
	t.Helper()
	ex, err := tr.Begin(ctx, d.Turn.Turn)
	if err != nil {
		return &golden.Outcome{Err: err}
	}
	if d.Header == nil {
		return golden.Decode(ctx, ex, provider.Reply{})
	}
	return golden.Decode(ctx, ex, d.ReplyOf(body))
}

func (d *dialogue) splits(t *testing.T, tr provider.Translator, full *golden.Outcome) {
	t.Helper()
	want := full.Text()
	try := func(how string, body []byte, sizes func() int) bool {
		got := d.once(t.Context(), t, tr, &golden.Pieces{Rest: body, Sizes: sizes, End: d.End()})
		if got.Text() != want {
			t.Errorf("body %s gives other events:\n%s\nwant\n%s", how, got.Text(), want)
			return false
		}
		return true
	}
	if !try("byte by byte", d.Body, func() int { return 1 }) {
		return
	}
	if len(d.Body) <= smallBody {
		for at := 1; at < len(d.Body); at++ {
			first := at
			if !try(fmt.Sprintf("split at byte %d", at), d.Body, func() int { n := first; first = len(d.Body); return n }) {
				return
			}
		}
	}
	for seed := range uint64(24) {
		r := rand.New(rand.NewPCG(seed, uint64(len(d.Body))))
		if !try(fmt.Sprintf("split at random, seed %d", seed), d.Body, func() int { return 1 + r.IntN(40) }) {
			return
		}
	}
	if d.Stream() { // both ends of a line are legal
		try("with CRLF", bytes.ReplaceAll(d.Body, []byte("\n"), []byte("\r\n")), nil)
	}
}

// truncated cuts the body off at many places, with and without an error. The
// decoder may not take a part for the whole: it says completed only when it
// has given every item.
func (d *dialogue) truncated(t *testing.T, tr provider.Translator, full *golden.Outcome) {
	t.Helper()
	step := max(1, len(d.Body)/150)
	for at := 0; at < len(d.Body); at += step {
		for _, end := range []error{io.EOF, io.ErrUnexpectedEOF} {
			got := d.once(t.Context(), t, tr, &golden.Pieces{Rest: d.Body[:at], End: end})
			if got.Broken != nil {
				t.Fatalf("body cut at byte %d (%v): %v", at, end, got.Broken)
			}
			if got.Completed() && !golden.SameItems(got, full) {
				t.Fatalf("body cut at byte %d (%v) is taken for complete:\n%s", at, end, got.Text())
			}
		}
	}
}

// endsWithin is how long a decoder may go on after its context has ended.
const endsWithin = time.Second

// cancelled ends the context while the body hangs.
func (d *dialogue) cancelled(t *testing.T, tr provider.Translator) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan *golden.Outcome, 1)
	body := io.MultiReader(bytes.NewReader(d.Body[:len(d.Body)/2]), &hanging{ctx})
	go func() { ended <- d.once(ctx, t, tr, body) }()
	cancel()
	guard := time.NewTimer(endsWithin)
	defer guard.Stop()
	select {
	case <-ended:
	case <-guard.C:
		t.Errorf("still decoding %v after the context was cancelled", endsWithin)
		<-ended
	}
}

// hanging gives nothing until its context ends.
type hanging struct{ ctx context.Context }

func (h *hanging) Read([]byte) (int, error) {
	<-h.ctx.Done()
	return 0, h.ctx.Err()
}

// stopped breaks off after each number of events.
func (d *dialogue) stopped(t *testing.T, tr provider.Translator, full *golden.Outcome) {
	t.Helper()
	for most := 1; most <= len(full.Lines) && most <= 64; most++ {
		ex, err := tr.Begin(t.Context(), d.Turn.Turn)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for range ex.Decode(t.Context(), d.Reply(d.Body)) {
			if n++; n == most {
				break
			}
		}
	}
}

// sideBySide decodes the dialogue in many goroutines: run it under -race.
func (d *dialogue) sideBySide(t *testing.T, tr provider.Translator, full *golden.Outcome) {
	t.Helper()
	want := full.Text()
	got := make([]string, 32)
	var wg sync.WaitGroup
	for i := range got {
		wg.Go(func() { got[i] = d.once(t.Context(), t, tr, &golden.Pieces{Rest: d.Body, End: d.End()}).Text() })
	}
	wg.Wait()
	for _, g := range got {
		if g != want {
			t.Errorf("one of 32 turns side by side gives other events:\n%s\nwant\n%s", g, want)
			return
		}
	}
}

// FuzzDecode fuzzes a translator's decoder with the replies of the dialogues
// in dir as seeds:
//
//	func FuzzDecode(f *testing.F) { plugintest.FuzzDecode(f, translator{}, "testdata") }
//
// Whatever the bytes: no panic, events in the grammar, one end, and the same
// events however the bytes are split.
func FuzzDecode(f *testing.F, tr provider.Translator, dir string) {
	f.Helper()
	var all []*dialogue
	for _, a := range archives(f, dir) {
		d, err := readDialogue(a)
		if err != nil {
			f.Fatalf("%s: %v", a.Path, err)
		}
		if d.Header == nil || d.Turn.Turn.Op == provider.Embed || d.Turn.Turn.Op == provider.CountTokens {
			continue
		}
		f.Add(len(all), d.Status, d.Body)
		all = append(all, d)
	}
	if len(all) == 0 {
		f.Fatalf("no dialogue in %s has a reply", dir)
	}
	f.Fuzz(func(t *testing.T, which, status int, body []byte) {
		seed := all[((which%len(all))+len(all))%len(all)]
		turn := *seed.Turn
		turn.Status = status
		d := &dialogue{seed.archive, &turn}
		whole := d.once(t.Context(), t, tr, &golden.Pieces{Rest: body, End: io.EOF})
		if whole.Broken != nil {
			t.Fatalf("%v\n%s", whole.Broken, whole.Text())
		}
		if bytewise := d.once(t.Context(), t, tr, &golden.Pieces{Rest: body, Sizes: func() int { return 1 }, End: io.EOF}); bytewise.Text() != whole.Text() {
			t.Fatalf("split byte by byte, the body gives other events:\n%s\nwant\n%s", bytewise.Text(), whole.Text())
		}
	})
}
