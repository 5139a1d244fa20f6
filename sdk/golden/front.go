package golden

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

// FrontDir is the directory of the dialogues with clients, below that of the
// dialogues with the provider.
const FrontDir = "front"

// FrontSections are the sections of a dialogue with a client. They are described
// at plugintest.FrontGolden.
var FrontSections = []string{"client", "body", "refused", "asked", "request", "events", "count", "vectors", "varies", "reply", "failed"}

// Front is one dialogue with a client: what it asks, and what it is answered.
type Front struct {
	Client  provider.ClientRequest
	Route   provider.SurfaceRoute
	Dialect provider.Dialect

	Events  []openresponses.Event // op generate
	Failure *apierror.Error       // that the events end in, or nil
	Tokens  int64                 // op count_tokens
	Vectors [][]float32           // op embed
	Usage   *openresponses.Usage  // op embed

	varies []*regexp.Regexp
}

// ReadFront reads what a dialogue gives the plugin: the sections client, body,
// events, count, vectors and varies. The route must be one of m's.
func ReadFront(a *Archive, m provider.Manifest) (*Front, error) {
	if wrong := a.Check(FrontSections...); len(wrong) > 0 {
		return nil, errors.New(strings.Join(wrong, "; "))
	}
	f := new(Front)
	text, _ := a.Get("client")
	if err := strictJSON(text, &f.Client); err != nil {
		return nil, fmt.Errorf("section client: %w", err)
	}
	body, ok := a.Get("body")
	if !ok {
		return nil, errors.New("section body is missing")
	}
	f.Client.Body = []byte(body)
	if err := f.findRoute(m); err != nil {
		return nil, fmt.Errorf("section client: %w", err)
	}
	text, _ = a.Get("events")
	if err := f.readEvents(text); err != nil {
		return nil, fmt.Errorf("section events: %w", err)
	}
	if text, ok := a.Get("count"); ok {
		var c struct {
			Tokens int64 `json:"tokens"`
		}
		if err := strictJSON(text, &c); err != nil {
			return nil, fmt.Errorf("section count: %w", err)
		}
		f.Tokens = c.Tokens
	}
	if text, ok := a.Get("vectors"); ok {
		var v struct {
			Vectors [][]float32          `json:"vectors"`
			Usage   *openresponses.Usage `json:"usage"`
		}
		if err := strictJSON(text, &v); err != nil {
			return nil, fmt.Errorf("section vectors: %w", err)
		}
		f.Vectors, f.Usage = v.Vectors, v.Usage
	}
	text, _ = a.Get("varies")
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		re, err := regexp.Compile(line)
		if err == nil && re.NumSubexp() != 1 {
			err = fmt.Errorf("%q has %d groups, want one around what varies", line, re.NumSubexp())
		}
		if err != nil {
			return nil, fmt.Errorf("section varies: %w", err)
		}
		f.varies = append(f.varies, re)
	}
	return f, nil
}

func strictJSON(text string, v any) error {
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	return d.Decode(v)
}

func (f *Front) findRoute(m provider.Manifest) error {
	for _, s := range m.Surfaces {
		if s.Name != f.Client.Surface {
			continue
		}
		for _, r := range s.Routes {
			if r.Path == f.Client.Route {
				f.Route = r
				f.Dialect, _ = m.Dialect(r.Dialect)
				return nil
			}
		}
		return fmt.Errorf("the surface %q has no route %q", s.Name, f.Client.Route)
	}
	return fmt.Errorf("the manifest has no surface %q", f.Client.Surface)
}

func (f *Front) readEvents(text string) error {
	var acc openresponses.Accumulator
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		var end Failure
		if strings.HasPrefix(line, `{"error"`) {
			if err := strictJSON(line, &end); err != nil {
				return fmt.Errorf("%s: %w", line, err)
			}
			f.Failure = end.Error
			continue
		}
		ev, err := openresponses.ParseEvent([]byte(line))
		if err == nil && f.Failure != nil {
			err = errors.New("follows the error")
		}
		if err == nil {
			err = acc.Add(ev)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", line, err)
		}
		f.Events = append(f.Events, ev)
	}
	if len(f.Events) > 0 && f.Failure == nil && acc.Terminal() == nil {
		return errors.New("want a terminal event or an error at the end")
	}
	return nil
}

// AskedText gives the sections asked and request.
func AskedText(a provider.Asked) (asked, request string, err error) {
	j, err := json.Marshal(a)
	if err != nil {
		return "", "", fmt.Errorf("section asked: %w", err)
	}
	var r any = a.Embed
	if a.Request != nil {
		r = json.RawMessage(a.Request.AppendJSON(nil))
	}
	text, err := Pretty(r)
	if err != nil {
		return "", "", fmt.Errorf("section request: %w", err)
	}
	return string(j) + "\n", string(text), nil
}

// Written is what a Dialogue wrote.
type Written struct {
	Writes []string
	Err    error // that Write returned
}

// Text is everything that was written.
func (w *Written) Text() string { return strings.Join(w.Writes, "") }

// Write implements io.Writer.
func (w *Written) Write(p []byte) (int, error) {
	w.Writes = append(w.Writes, string(p))
	return len(p), nil
}

// Pace says how the events of a dialogue come. The zero value has them there at
// once, with the end that the file says.
type Pace struct {
	First time.Duration   // before the first event, on top of Wait
	Wait  time.Duration   // before each event
	Only  int             // this many events, and then Error; with Error only
	Error *apierror.Error // instead of what is left
}

// Answer has d write the reply.
func (f *Front) Answer(ctx context.Context, d provider.Dialogue, p Pace) *Written {
	w := new(Written)
	w.Err = f.AnswerTo(ctx, d, p, w)
	return w
}

// AnswerTo is Answer for a writer of the caller's.
func (f *Front) AnswerTo(ctx context.Context, d provider.Dialogue, p Pace, w io.Writer) error {
	switch d.Asked().Op {
	case provider.CountTokens:
		c, ok := d.(provider.CountWriter)
		if !ok {
			return errors.New("the Dialogue of op count_tokens is no provider.CountWriter")
		}
		return c.WriteCount(ctx, f.Tokens, w)
	case provider.Embed:
		e, ok := d.(provider.EmbedWriter)
		if !ok {
			return errors.New("the Dialogue of op embed is no provider.EmbedWriter")
		}
		return e.WriteEmbed(ctx, f.Vectors, f.Usage, w)
	}
	return d.Write(ctx, f.sequence(p), w)
}

func (f *Front) sequence(p Pace) func(func(openresponses.Event, error) bool) {
	events, end := f.Events, f.Failure
	if p.Error != nil {
		events, end = events[:min(p.Only, len(events))], p.Error
	}
	return func(yield func(openresponses.Event, error) bool) {
		time.Sleep(p.First)
		for i, ev := range events {
			if p.Wait > 0 {
				time.Sleep(p.Wait)
			}
			ev.More = p.Wait == 0 && i < len(events)-1
			if !yield(ev, nil) {
				return
			}
		}
		if end != nil {
			yield(openresponses.Event{}, end)
		}
	}
}

// Mask is the section reply for what was written: what varies is replaced by *1,
// *2 and so on, the same text by the same number.
func (f *Front) Mask(text string) string {
	type place struct{ from, to int }
	var places []place
	for _, re := range f.varies {
		for _, m := range re.FindAllStringSubmatchIndex(text, -1) {
			if m[2] >= 0 {
				places = append(places, place{m[2], m[3]})
			}
		}
	}
	slices.SortFunc(places, func(a, b place) int { return a.from - b.from })
	var b bytes.Buffer
	names := map[string]int{}
	at := 0
	for _, p := range places {
		if p.from < at {
			continue // two expressions found the same
		}
		what := text[p.from:p.to]
		if names[what] == 0 {
			names[what] = len(names) + 1
		}
		fmt.Fprintf(&b, "%s*%d", text[at:p.from], names[what])
		at = p.to
	}
	b.WriteString(text[at:])
	return b.String()
}

// ReplyText is the section reply: masked, and with a line feed at its end.
func (f *Front) ReplyText(w *Written) string {
	text := f.Mask(w.Text())
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	return text
}
