package plugintest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

// pieces is a reply body that comes in the given sizes and ends in end.
type pieces struct {
	rest  []byte
	sizes func() int // nil: all at once
	end   error
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.rest) == 0 {
		return 0, p.end
	}
	n := len(p.rest)
	if p.sizes != nil {
		n = min(n, max(1, p.sizes()))
	}
	n = copy(b, p.rest[:n])
	p.rest = p.rest[n:]
	return n, nil
}

// smallBody is up to where every single split point is tried.
const smallBody = 1024

// again decodes the dialogue in every other way the world may deliver it.
func (d *dialogue) again(t *testing.T, tr provider.Translator, full *outcome) {
	t.Helper()
	if d.header != nil {
		d.splits(t, tr, full)
		d.truncated(t, tr, full)
		d.cancelled(t, tr)
	}
	d.stopped(t, tr, full)
	d.sideBySide(t, tr, full)
}

// once begins the turn anew and decodes what body gives.
func (d *dialogue) once(ctx context.Context, t testing.TB, tr provider.Translator, body io.Reader) *outcome {
	t.Helper()
	ex, err := tr.Begin(ctx, d.turn)
	if err != nil {
		return &outcome{err: err}
	}
	r := d.reply(nil)
	if d.header != nil {
		r.Body = body
	}
	return d.decode(ctx, ex, r)
}

func (d *dialogue) splits(t *testing.T, tr provider.Translator, full *outcome) {
	t.Helper()
	want := full.text()
	try := func(how string, body []byte, sizes func() int) bool {
		got := d.once(t.Context(), t, tr, &pieces{rest: body, sizes: sizes, end: d.end()})
		if got.text() != want {
			t.Errorf("body %s gives other events:\n%s\nwant\n%s", how, got.text(), want)
			return false
		}
		return true
	}
	if !try("byte by byte", d.body, func() int { return 1 }) {
		return
	}
	if len(d.body) <= smallBody {
		for at := 1; at < len(d.body); at++ {
			first := at
			if !try(fmt.Sprintf("split at byte %d", at), d.body, func() int { n := first; first = len(d.body); return n }) {
				return
			}
		}
	}
	for seed := range uint64(24) {
		r := rand.New(rand.NewPCG(seed, uint64(len(d.body))))
		if !try(fmt.Sprintf("split at random, seed %d", seed), d.body, func() int { return 1 + r.IntN(40) }) {
			return
		}
	}
	if d.stream() { // both ends of a line are legal
		try("with CRLF", bytes.ReplaceAll(d.body, []byte("\n"), []byte("\r\n")), nil)
	}
}

func (d *dialogue) end() error {
	if d.cut {
		return io.ErrUnexpectedEOF
	}
	return io.EOF
}

func (d *dialogue) stream() bool {
	return strings.HasPrefix(d.header.Get("Content-Type"), "text/event-stream")
}

// truncated cuts the body off at many places, with and without an error. The
// decoder may not take a part for the whole: it says completed only when it
// has given every item.
func (d *dialogue) truncated(t *testing.T, tr provider.Translator, full *outcome) {
	t.Helper()
	step := max(1, len(d.body)/150)
	for at := 0; at < len(d.body); at += step {
		for _, end := range []error{io.EOF, io.ErrUnexpectedEOF} {
			got := d.once(t.Context(), t, tr, &pieces{rest: d.body[:at], end: end})
			if got.broken != nil {
				t.Fatalf("body cut at byte %d (%v): %v", at, end, got.broken)
			}
			if term := got.acc.Terminal(); term != nil && term.Status == openresponses.StatusCompleted && !sameItems(got, full) {
				t.Fatalf("body cut at byte %d (%v) is taken for complete:\n%s", at, end, got.text())
			}
		}
	}
}

func sameItems(a, b *outcome) bool {
	return slices.EqualFunc(a.acc.Items(), b.acc.Items(), func(x, y openresponses.Item) bool {
		return bytes.Equal(x.AppendJSON(nil), y.AppendJSON(nil))
	})
}

// endsWithin is how long a decoder may go on after its context has ended.
const endsWithin = time.Second

// cancelled ends the context while the body hangs.
func (d *dialogue) cancelled(t *testing.T, tr provider.Translator) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan *outcome, 1)
	body := io.MultiReader(bytes.NewReader(d.body[:len(d.body)/2]), &hanging{ctx})
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
func (d *dialogue) stopped(t *testing.T, tr provider.Translator, full *outcome) {
	t.Helper()
	for most := 1; most <= len(full.lines) && most <= 64; most++ {
		ex, err := tr.Begin(t.Context(), d.turn)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for range ex.Decode(t.Context(), d.reply(d.body)) {
			if n++; n == most {
				break
			}
		}
	}
}

// sideBySide decodes the dialogue in many goroutines: run it under -race.
func (d *dialogue) sideBySide(t *testing.T, tr provider.Translator, full *outcome) {
	t.Helper()
	want := full.text()
	got := make([]string, 32)
	var wg sync.WaitGroup
	for i := range got {
		wg.Go(func() { got[i] = d.once(t.Context(), t, tr, &pieces{rest: d.body, end: d.end()}).text() })
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
			f.Fatalf("%s: %v", a.path, err)
		}
		if d.header == nil || d.turn.Op == provider.Embed || d.turn.Op == provider.CountTokens {
			continue
		}
		f.Add(len(all), d.status, d.body)
		all = append(all, d)
	}
	if len(all) == 0 {
		f.Fatalf("no dialogue in %s has a reply", dir)
	}
	f.Fuzz(func(t *testing.T, which, status int, body []byte) {
		d := *all[((which%len(all))+len(all))%len(all)]
		d.status = status
		whole := d.once(t.Context(), t, tr, &pieces{rest: body, end: io.EOF})
		if whole.broken != nil {
			t.Fatalf("%v\n%s", whole.broken, whole.text())
		}
		if bytewise := d.once(t.Context(), t, tr, &pieces{rest: body, sizes: func() int { return 1 }, end: io.EOF}); bytewise.text() != whole.text() {
			t.Fatalf("split byte by byte, the body gives other events:\n%s\nwant\n%s", bytewise.text(), whole.text())
		}
	})
}
