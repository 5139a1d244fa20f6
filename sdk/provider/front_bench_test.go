package provider

import (
	"io"
	"strings"
	"testing"

	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
)

// BenchmarkDialogue is one dialogue of 200 pieces of text through the frames,
// both ends in this process.
func BenchmarkDialogue(b *testing.B) {
	pieces := strings.Split(strings.Repeat("some_words_that_a_model_says ", 200), " ")
	var events []openresponses.Event
	for ev := range said(pieces...) {
		events = append(events, ev)
	}
	for _, how := range []string{"body", "burst", "one by one"} {
		b.Run(how, func(b *testing.B) {
			c, stop := Loopback(plainFront{})
			defer stop()
			body := `{"model":"m","text":"x","stream":true}`
			if how == "body" {
				body = `{"model":"m","text":"x"}`
			}
			for b.Loop() {
				d, err := c.Accept(b.Context(), clientRequest(body))
				if err != nil {
					b.Fatal(err)
				}
				err = d.Write(b.Context(), func(yield func(openresponses.Event, error) bool) {
					for _, ev := range events {
						if ev.More = how != "one by one"; !yield(ev, nil) {
							return
						}
					}
				}, io.Discard)
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
