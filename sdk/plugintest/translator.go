package plugintest

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/sallyport-gateway/sallyport/sdk/golden"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

// Golden checks a translator against the dialogues of dir, one *.txtar file
// each: prose on what the case shows and why, then the sections
//
//	-- turn --      {"op":"generate","model":"gpt-5.2","account":{"name":"openai","settings":{…}},"carry":{…}}
//	-- request --   the OpenResponses request (or for op embed the EmbedRequest)
//	-- upstream --  POST responses, headers, an empty line, the body (JSON is pretty-printed)
//	-- lost --      optional: the fields that Upstream names as lost, one a line
//	-- reply --     200 OK, headers, an empty line, the body as it comes; "(cut)" at the end of the first line cuts it off there
//	-- events --    one event a line, in the form of openresponses.Event.AppendJSON; an error as {"error":{…}}
//
// `go test -update` rewrites upstream, lost and events.
//
// Beyond the comparison each dialogue is decoded again and again as a careless
// world would deliver it: split at every byte, cut off, cancelled, stopped by
// its consumer. The events must keep the grammar of openresponses.Accumulator
// and not depend on any of it; nothing sent may look like a credential.
func Golden(t *testing.T, tr provider.Translator, dir string) {
	t.Helper()
	for _, a := range archives(t, dir) {
		t.Run(a.Name(), func(t *testing.T) {
			t.Parallel()
			d, err := readDialogue(a)
			if err != nil {
				t.Fatalf("%s: %v", a.Path, err)
			}
			d.check(t, tr)
			a.save(t)
		})
	}
}

// dialogue is one case: what is asked, and what the provider answers.
type dialogue struct {
	archive
	*golden.Turn
}

func readDialogue(a archive) (*dialogue, error) {
	turn, err := golden.ReadTurn(a.Archive)
	if err != nil {
		return nil, err
	}
	return &dialogue{a, turn}, nil
}

func (d *dialogue) check(t *testing.T, tr provider.Translator) {
	t.Helper()
	ex, err := tr.Begin(t.Context(), d.Turn.Turn)
	if err != nil {
		d.want(t, "events", golden.ErrorLine(err))
		return
	}
	up := ex.Upstream()
	if up == nil {
		d.want(t, "upstream", "")
	} else {
		for _, wrong := range golden.CheckUpstream(up) {
			t.Errorf("%s", wrong.Text)
		}
		d.want(t, "upstream", golden.UpstreamText(up))
		d.want(t, "lost", golden.Lines(up.Lost))
	}
	if up != nil && d.Header == nil {
		t.Fatalf("%s: section reply is missing", d.Path)
	}
	switch d.Turn.Turn.Op {
	case provider.CountTokens:
		d.want(t, "events", d.count(t, ex))
		return
	case provider.Embed:
		d.want(t, "events", d.embed(t, ex))
		return
	}
	full := golden.Decode(t.Context(), ex, d.Reply(d.Body))
	d.want(t, "events", full.Text())
	if full.Broken != nil {
		t.Fatalf("the events break the grammar: %v\n%s", full.Broken, full.Text())
	}
	d.again(t, tr, full)
}

func (d *dialogue) count(t *testing.T, ex provider.Exchange) string {
	t.Helper()
	c, ok := ex.(provider.CountDecoder)
	if !ok {
		t.Fatalf("the exchange of a count_tokens turn is no provider.CountDecoder")
	}
	n, err := c.DecodeCount(t.Context(), d.Reply(d.Body))
	if err != nil {
		return golden.ErrorLine(err)
	}
	return fmt.Sprintf("{\"tokens\":%d}\n", n)
}

func (d *dialogue) embed(t *testing.T, ex provider.Exchange) string {
	t.Helper()
	e, ok := ex.(provider.EmbedDecoder)
	if !ok {
		t.Fatalf("the exchange of an embed turn is no provider.EmbedDecoder")
	}
	vectors, usage, err := e.DecodeEmbed(t.Context(), d.Reply(d.Body))
	if err != nil {
		return golden.ErrorLine(err)
	}
	b, err := json.Marshal(map[string]any{"vectors": vectors, "usage": usage})
	if err != nil {
		t.Fatal(err)
	}
	return string(b) + "\n"
}
