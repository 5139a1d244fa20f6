package plugintest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
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
		t.Run(a.name(), func(t *testing.T) {
			t.Parallel()
			d, err := readDialogue(a)
			if err != nil {
				t.Fatalf("%s: %v", a.path, err)
			}
			d.golden(t, tr)
			a.save(t)
		})
	}
}

// dialogue is one case: what is asked, and what the provider answers.
type dialogue struct {
	*archive
	turn   provider.Turn
	status int
	header http.Header
	body   []byte
	cut    bool
}

func readDialogue(a *archive) (*dialogue, error) {
	d := &dialogue{archive: a}
	text, _ := a.get("turn")
	var turn struct {
		Op      provider.Op         `json:"op"`
		Model   string              `json:"model"`
		Account provider.Account    `json:"account"`
		Carry   map[string][]string `json:"carry"`
	}
	dec := json.NewDecoder(strings.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&turn); err != nil {
		return nil, fmt.Errorf("section turn: %w", err)
	}
	d.turn = provider.Turn{Op: turn.Op, Model: turn.Model, Account: turn.Account, Carry: turn.Carry}
	if d.turn.Op == "" {
		d.turn.Op = provider.Generate
	}
	text, _ = a.get("request")
	if d.turn.Op == provider.Embed {
		d.turn.Embed = new(provider.EmbedRequest)
		if err := json.Unmarshal([]byte(text), d.turn.Embed); err != nil {
			return nil, fmt.Errorf("section request: %w", err)
		}
	} else {
		r, err := openresponses.ParseRequest([]byte(text))
		if err != nil {
			return nil, fmt.Errorf("section request: %w", err)
		}
		d.turn.Request = r
	}
	if text, ok := a.get("reply"); ok {
		if err := d.readReply(text); err != nil {
			return nil, fmt.Errorf("section reply: %w", err)
		}
	}
	return d, nil
}

func (d *dialogue) readReply(text string) error {
	first, rest, _ := strings.Cut(text, "\n")
	first, d.cut = strings.CutSuffix(first, " (cut)")
	code, _, _ := strings.Cut(first, " ")
	var err error
	if d.status, err = strconv.Atoi(code); err != nil {
		return fmt.Errorf("status line %q: %w", first, err)
	}
	d.header = http.Header{}
	for {
		var line string
		line, rest, _ = strings.Cut(rest, "\n")
		if line == "" {
			break
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			return fmt.Errorf("header line %q has no colon", line)
		}
		d.header.Add(name, strings.TrimSpace(value))
	}
	d.body = []byte(rest)
	return nil
}

func (d *dialogue) golden(t *testing.T, tr provider.Translator) {
	t.Helper()
	ex, err := tr.Begin(t.Context(), d.turn)
	if err != nil {
		d.want(t, "events", errorLine(err))
		return
	}
	up := ex.Upstream()
	if up == nil {
		d.want(t, "upstream", "")
	} else {
		checkUpstream(t, up)
		d.want(t, "upstream", upstreamText(up))
		d.want(t, "lost", lines(up.Lost))
	}
	if up != nil && d.header == nil {
		t.Fatalf("%s: section reply is missing", d.path)
	}
	switch d.turn.Op {
	case provider.CountTokens:
		d.want(t, "events", d.count(t, ex))
		return
	case provider.Embed:
		d.want(t, "events", d.embed(t, ex))
		return
	}
	full := d.decode(t.Context(), ex, d.reply(d.body))
	d.want(t, "events", full.text())
	if full.broken != nil {
		t.Fatalf("the events break the grammar: %v\n%s", full.broken, full.text())
	}
	d.again(t, tr, full)
}

func (d *dialogue) count(t *testing.T, ex provider.Exchange) string {
	t.Helper()
	c, ok := ex.(provider.CountDecoder)
	if !ok {
		t.Fatalf("the exchange of a count_tokens turn is no provider.CountDecoder")
	}
	n, err := c.DecodeCount(t.Context(), d.reply(d.body))
	if err != nil {
		return errorLine(err)
	}
	return fmt.Sprintf("{\"tokens\":%d}\n", n)
}

func (d *dialogue) embed(t *testing.T, ex provider.Exchange) string {
	t.Helper()
	e, ok := ex.(provider.EmbedDecoder)
	if !ok {
		t.Fatalf("the exchange of an embed turn is no provider.EmbedDecoder")
	}
	vectors, usage, err := e.DecodeEmbed(t.Context(), d.reply(d.body))
	if err != nil {
		return errorLine(err)
	}
	b, err := json.Marshal(map[string]any{"vectors": vectors, "usage": usage})
	if err != nil {
		t.Fatal(err)
	}
	return string(b) + "\n"
}

// reply is the provider's answer with that body, whole.
func (d *dialogue) reply(body []byte) provider.Reply {
	if d.header == nil {
		return provider.Reply{}
	}
	end := io.EOF
	if d.cut {
		end = io.ErrUnexpectedEOF
	}
	return provider.Reply{Status: d.status, Header: d.header.Clone(), Body: &pieces{rest: body, end: end}}
}

// outcome is what a Decode gave.
type outcome struct {
	lines  []string
	err    error // the error it ended in
	broken error // which rule it broke
	acc    openresponses.Accumulator
}

func (o *outcome) text() string {
	s := lines(o.lines)
	if o.err != nil {
		s += errorLine(o.err)
	}
	return s
}

// decode reads a whole reply and checks the rules that hold for any.
func (d *dialogue) decode(ctx context.Context, ex provider.Exchange, r provider.Reply) *outcome {
	o := new(outcome)
	broken := func(format string, args ...any) {
		if o.broken == nil {
			o.broken = fmt.Errorf(format, args...)
		}
	}
	for e, err := range ex.Decode(ctx, r) {
		if o.err != nil {
			broken("something follows the error %v", o.err)
		}
		if err != nil {
			o.err = err
			continue
		}
		o.lines = append(o.lines, string(e.AppendJSON(nil)))
		if err := o.acc.Add(e); err != nil {
			broken("%w", err)
		}
	}
	switch {
	case o.err == nil && o.acc.Terminal() == nil:
		broken("ended with neither a terminal event nor an error")
	case o.err != nil && o.acc.Terminal() != nil:
		broken("an error after the terminal event: %v", o.err)
	case o.err != nil && !allowed(apierror.CodeOf(o.err)):
		broken("error with code %q: %v; want one of the Upstream codes", apierror.CodeOf(o.err), o.err)
	}
	return o
}

func allowed(c apierror.Code) bool {
	return strings.HasPrefix(string(c), "upstream_") || c == apierror.Canceled
}

func errorLine(err error) string {
	e, ok := errors.AsType[*apierror.Error](err)
	if !ok {
		return "not an *apierror.Error: " + err.Error() + "\n"
	}
	b, merr := json.Marshal(map[string]any{"error": e})
	if merr != nil {
		return "not JSON: " + merr.Error() + "\n"
	}
	return string(b) + "\n"
}

func lines(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return strings.Join(list, "\n") + "\n"
}

// credentials are names of headers and query parameters that only the core
// may set.
var credentials = []string{
	"authorization", "proxy-authorization", "cookie", "x-api-key", "api-key", "apikey", "x-goog-api-key", "x-amz-security-token",
	"key", "api_key", "access_token", "token",
}

func checkUpstream(t *testing.T, up *provider.Upstream) {
	t.Helper()
	for name := range up.Header {
		if slices.Contains(credentials, strings.ToLower(name)) {
			t.Errorf("Upstream has the header %s: a translator has no credentials", name)
		}
	}
	for pair := range strings.SplitSeq(up.Query, "&") {
		name, _, _ := strings.Cut(pair, "=")
		if slices.Contains(credentials, strings.ToLower(name)) {
			t.Errorf("Upstream has the query parameter %s: a translator has no credentials", name)
		}
	}
	if strings.HasPrefix(up.Path, "/") || strings.Contains(up.Path, "//") || strings.Contains(up.Path, "..") || strings.ContainsAny(up.Path, "?#") {
		t.Errorf("Upstream has the path %q: want one relative to the base URL, and the query apart", up.Path)
	}
	if bytes.Contains(up.Body, []byte("sp1.")) {
		t.Errorf("Upstream leaks an opaque state envelope (sp1.…)")
	}
}

func upstreamText(up *provider.Upstream) string {
	var b bytes.Buffer
	b.WriteString(up.Method + " " + up.Path)
	if up.Query != "" {
		b.WriteString("?" + up.Query)
	}
	b.WriteString("\n")
	names := make([]string, 0, len(up.Header))
	for name := range up.Header {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		for _, v := range up.Header[name] {
			b.WriteString(name + ": " + v + "\n")
		}
	}
	b.WriteString("\n")
	if json.Indent(&b, up.Body, "", "  ") != nil {
		b.Write(up.Body)
	}
	b.WriteString("\n")
	return b.String()
}
