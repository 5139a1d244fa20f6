package golden

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

// Turn is one dialogue with a translator: what is asked, and what the provider
// answers. Its sections are described at plugintest.Golden.
type Turn struct {
	Turn   provider.Turn
	Status int
	Header http.Header // nil when there is no reply
	Body   []byte
	Cut    bool // the reply ends there without its end
}

// turnHead is the form of the section turn.
type turnHead struct {
	Op      provider.Op         `json:"op,omitempty"`
	Model   string              `json:"model"`
	Account provider.Account    `json:"account"`
	Carry   map[string][]string `json:"carry,omitempty"`
}

// ReadTurn reads the sections turn, request and reply of an archive.
func ReadTurn(a *Archive) (*Turn, error) {
	text, _ := a.Get("turn")
	var head turnHead
	dec := json.NewDecoder(strings.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&head); err != nil {
		return nil, fmt.Errorf("section turn: %w", err)
	}
	t := &Turn{Turn: provider.Turn{Op: head.Op, Model: head.Model, Account: head.Account, Carry: head.Carry}}
	if t.Turn.Op == "" {
		t.Turn.Op = provider.Generate
	}
	text, _ = a.Get("request")
	if t.Turn.Op == provider.Embed {
		t.Turn.Embed = new(provider.EmbedRequest)
		if err := json.Unmarshal([]byte(text), t.Turn.Embed); err != nil {
			return nil, fmt.Errorf("section request: %w", err)
		}
	} else {
		r, err := openresponses.ReadRequest([]byte(text))
		if err != nil {
			return nil, fmt.Errorf("section request: %w", err)
		}
		t.Turn.Request = r
	}
	if text, ok := a.Get("reply"); ok {
		if err := t.readReply(text); err != nil {
			return nil, fmt.Errorf("section reply: %w", err)
		}
	}
	return t, nil
}

func (t *Turn) readReply(text string) error {
	first, rest, _ := strings.Cut(text, "\n")
	first, t.Cut = strings.CutSuffix(first, " (cut)")
	code, _, _ := strings.Cut(first, " ")
	var err error
	if t.Status, err = strconv.Atoi(code); err != nil {
		return fmt.Errorf("status line %q: %w", first, err)
	}
	t.Header = http.Header{}
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
		t.Header.Add(name, strings.TrimSpace(value))
	}
	t.Body = []byte(rest)
	return nil
}

// Archive writes the dialogue down, with what the translator made of it: its
// Upstream (nil for none) and the lines of its events.
func (t *Turn) Archive(head string, up *provider.Upstream, events string) (*Archive, error) {
	a := &Archive{Head: head}
	j, err := json.Marshal(turnHead{Op: t.Turn.Op, Model: t.Turn.Model, Account: t.Turn.Account, Carry: t.Turn.Carry})
	if err != nil {
		return nil, fmt.Errorf("section turn: %w", err)
	}
	a.Set("turn", string(j)+"\n")
	var request any = t.Turn.Embed
	if t.Turn.Request != nil {
		request = json.RawMessage(t.Turn.Request.AppendJSON(nil))
	}
	text, err := Pretty(request)
	if err != nil {
		return nil, fmt.Errorf("section request: %w", err)
	}
	a.Set("request", string(text))
	if up != nil {
		a.Set("upstream", UpstreamText(up))
		a.Set("lost", Lines(up.Lost))
	}
	if t.Header != nil {
		a.Set("reply", t.replyText())
	}
	a.Set("events", events)
	return a, nil
}

func (t *Turn) replyText() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d %s", t.Status, http.StatusText(t.Status))
	if t.Cut {
		b.WriteString(" (cut)")
	}
	b.WriteString("\n")
	writeHeader(&b, t.Header)
	b.WriteString("\n")
	b.Write(t.Body)
	return b.String()
}

// Reply is the provider's answer with that body, whole; a zero Reply when there
// is none.
func (t *Turn) Reply(body []byte) provider.Reply {
	if t.Header == nil {
		return provider.Reply{}
	}
	return t.ReplyOf(&Pieces{Rest: body, End: t.End()})
}

// ReplyOf is the provider's answer with that body.
func (t *Turn) ReplyOf(body io.Reader) provider.Reply {
	return provider.Reply{Status: t.Status, Header: t.Header.Clone(), Body: body}
}

// End is the error that the body ends in.
func (t *Turn) End() error {
	if t.Cut {
		return io.ErrUnexpectedEOF
	}
	return io.EOF
}

// Stream reports whether the reply is a stream of server-sent events.
func (t *Turn) Stream() bool {
	return strings.HasPrefix(t.Header.Get("Content-Type"), "text/event-stream")
}

// Pieces is a reply body that comes in pieces.
type Pieces struct {
	Rest  []byte
	Sizes func() int // of the next piece; nil: all at once
	End   error      // io.EOF, or why it is cut
}

// Read implements io.Reader.
func (p *Pieces) Read(b []byte) (int, error) {
	if len(p.Rest) == 0 {
		return 0, p.End
	}
	n := len(p.Rest)
	if p.Sizes != nil {
		n = min(n, max(1, p.Sizes()))
	}
	n = copy(b, p.Rest[:n])
	p.Rest = p.Rest[n:]
	return n, nil
}

// UpstreamText is the section upstream: method, path and query, headers, an
// empty line, and the body, indented when it is JSON.
func UpstreamText(up *provider.Upstream) string {
	var b bytes.Buffer
	b.WriteString(up.Method + " " + up.Path)
	if up.Query != "" {
		b.WriteString("?" + up.Query)
	}
	b.WriteString("\n")
	writeHeader(&b, up.Header)
	b.WriteString("\n")
	if json.Indent(&b, up.Body, "", "  ") != nil {
		b.Write(up.Body)
	}
	b.WriteString("\n")
	return b.String()
}

func writeHeader(w io.StringWriter, h http.Header) {
	names := make([]string, 0, len(h))
	for name := range h {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		for _, v := range h[name] {
			w.WriteString(name + ": " + v + "\n") // into memory
		}
	}
}

// ErrorLine is an error as the section events tells it.
func ErrorLine(err error) string {
	e, ok := errors.AsType[*apierror.Error](err)
	if !ok {
		return "not an *apierror.Error: " + err.Error() + "\n"
	}
	b, merr := json.Marshal(Failure{e})
	if merr != nil {
		return "not JSON: " + merr.Error() + "\n"
	}
	return string(b) + "\n"
}

// Lines joins a list, one a line; "" for an empty one.
func Lines(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return strings.Join(list, "\n") + "\n"
}
