package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"os"
	"time"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
	"github.com/sallyport-gateway/sallyport/sdk/sse"
)

// parrot translates to a provider that does not exist: it takes
// {"model", "say"} and streams {"text"}, {"tokens":{"in","out"}} and {"end":true}.
type parrot struct{}

func serveProvider() {
	m := provider.Manifest{
		Name: "parrot", Version: version(), Ops: []provider.Op{provider.Generate}, BaseURL: "https://parrot.example",
		Credential: provider.Credential{Scheme: "bearer"},
		Settings:   json.RawMessage(`{"type":"object","additionalProperties":false}`),
		Meter: provider.Meter{Fields: []provider.Field{
			{Path: "tokens.in", Count: provider.Input, Op: provider.Last}, {Path: "tokens.out", Count: provider.OutputTokens, Op: provider.Last},
		}},
	}
	if fault == "takes-unknown-settings" {
		m.Settings = json.RawMessage(`{"type":"object"}`)
	}
	surfaces(&m)
	provider.Serve(m, parrot{})
}

// Begin implements provider.Translator.
func (parrot) Begin(_ context.Context, t provider.Turn) (provider.Exchange, error) {
	if t.Op != provider.Generate {
		return nil, apierror.New(apierror.Unsupported, "This provider cannot do %q.", t.Op)
	}
	var say []string
	var lost []string
	for i, it := range t.Request.Input {
		for k, p := range it.Content {
			if p.Text != "" {
				say = append(say, p.Text)
			} else if fault != "hides-losses" {
				lost = append(lost, fmt.Sprintf("input[%d].content[%d]", i, k))
			}
		}
	}
	body, err := json.Marshal(map[string]any{"model": t.Model, "say": say})
	if err != nil {
		return nil, err
	}
	up := &provider.Upstream{
		Method: "POST", Path: "v1/say", Header: http.Header{"Content-Type": {"application/json"}}, Body: body, Stream: true, Lost: lost,
	}
	switch fault {
	case "sends-credential":
		up.Header.Set("Authorization", "Bearer "+os.Getenv("PARROT_KEY"))
	case "absolute-url":
		up.Path = "https://parrot.example/v1/say"
	case "leading-slash":
		up.Path = "/v1/say"
	}
	return &saying{up}, nil
}

// saying is one exchange.
type saying struct{ up *provider.Upstream }

// Upstream implements provider.Exchange.
func (s *saying) Upstream() *provider.Upstream { return s.up }

// chunk is one event of the reply.
type chunk struct {
	Text   string `json:"text"`
	Tokens *struct {
		In  int64 `json:"in"`
		Out int64 `json:"out"`
	} `json:"tokens"`
	End bool `json:"end"`
}

var shared string // between exchanges, as it must not be

// Decode implements provider.Exchange.
func (s *saying) Decode(ctx context.Context, r provider.Reply) iter.Seq2[openresponses.Event, error] {
	return func(yield func(openresponses.Event, error) bool) {
		if fault == "leaks-goroutines" {
			go func() { select {} }()
		}
		out := provider.NewOutput(yield)
		failed := func(text string) error {
			if fault == "wrong-code" {
				return apierror.New(apierror.Invalid, "%s", text)
			}
			return apierror.New(apierror.UpstreamFailed, "%s", text)
		}
		if r.Status != 200 {
			out.Fail(failed(fmt.Sprintf("The provider answered with status %d.", r.Status)))
			return
		}
		next := events(ctx, r.Body)
		for n := 0; ; n++ {
			data, err := next()
			for fault == "ignores-cancel" && err != nil && !errors.Is(err, io.EOF) {
				time.Sleep(10 * time.Millisecond) // perhaps it comes back
			}
			switch {
			case err != nil && fault == "cut-is-success" && n > 0:
				out.Finish(openresponses.Terminal{})
				return
			case err != nil && fault == "no-terminal":
				return
			case err != nil && fault == "dies-on-cut" && !errors.Is(err, io.EOF):
				go func() { panic("unexpected EOF") }()
				time.Sleep(time.Minute)
			case err != nil:
				out.Fail(failed("The provider's reply was cut."))
				return
			}
			var c chunk
			if json.Unmarshal(data, &c) != nil {
				if fault == "dies-on-garbage" {
					os.Exit(7)
				}
				out.Fail(failed("The provider's reply could not be read."))
				return
			}
			if c.Text != "" {
				if fault == "mixes-calls" {
					shared = c.Text
					time.Sleep(time.Millisecond)
					c.Text = shared
				}
				if !out.Text(c.Text) {
					return
				}
			}
			if c.Tokens != nil && fault != "loses-usage" {
				out.Usage(openresponses.Usage{Input: c.Tokens.In, Output: c.Tokens.Out})
			}
			if c.End {
				s.finish(out, yield)
				return
			}
		}
	}
}

func (s *saying) finish(out *provider.Output, yield func(openresponses.Event, error) bool) {
	if fault == "no-terminal" {
		return
	}
	out.Finish(openresponses.Terminal{})
	end := openresponses.Event{Type: openresponses.EventCompleted, Terminal: &openresponses.Terminal{Status: openresponses.StatusCompleted}}
	switch fault {
	case "two-terminals":
		yield(end, nil)
	case "event-after-terminal":
		yield(openresponses.Event{Type: openresponses.EventTextDelta, Delta: "more"}, nil)
	}
}

// events gives the data of one event after another.
func events(ctx context.Context, body io.Reader) func() ([]byte, error) {
	if fault != "splits-wrongly" {
		in := sse.NewReader(body)
		return func() ([]byte, error) {
			ev, err := in.Next(ctx)
			return ev.Data, err
		}
	}
	// Takes each piece that arrives for whole events.
	var waiting [][]byte
	buf := make([]byte, 64<<10)
	return func() ([]byte, error) {
		for len(waiting) == 0 {
			n, err := body.Read(buf)
			if n == 0 && err != nil {
				return nil, err
			}
			for l := range bytes.Lines(bytes.Clone(buf[:n])) {
				if data, ok := bytes.CutPrefix(bytes.TrimSpace(l), []byte("data: ")); ok {
					waiting = append(waiting, data)
				}
			}
		}
		data := waiting[0]
		waiting = waiting[1:]
		return data, nil
	}
}
