package golden

import (
	"errors"
	"strings"
	"testing"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

var chat = provider.Manifest{
	Dialects: []provider.Dialect{{Name: "chat", Errors: "openai", Ends: []string{"[DONE]", "chat.over"}, Failures: []string{"error", "chat.failed"}}},
	Surfaces: []provider.Surface{{Name: "chat", Base: "/chat", Routes: []provider.SurfaceRoute{{Path: "/say", Op: provider.Generate, Dialect: "chat"}}}},
}

const chatHead = "Why.\n\n-- client --\n{\"surface\":\"chat\",\"route\":\"/say\"}\n-- body --\n{\"model\":\"m\",\"messages\":[{\"role\":\"user\"}]}\n"

const chatEvents = `-- events --
{"type":"response.completed","response":{"status":"completed"}}
`

func readFront(t *testing.T, more string) *Front {
	t.Helper()
	f, err := ReadFront(Parse([]byte(chatHead+more)), chat)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestReadFrontRefuses(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ text, says string }{
		"no prose":         {strings.TrimPrefix(chatHead, "Why.\n"), "say above"},
		"unknown section":  {chatHead + "-- rely --\nx\n", `unknown section "rely"`},
		"unknown member":   {"Why.\n-- client --\n{\"surfaces\":\"chat\"}\n-- body --\n{}\n", "section client"},
		"no body":          {"Why.\n-- client --\n{\"surface\":\"chat\",\"route\":\"/say\"}\n", "section body is missing"},
		"unknown surface":  {"Why.\n-- client --\n{\"surface\":\"x\",\"route\":\"/say\"}\n-- body --\n{}\n", `no surface "x"`},
		"unknown route":    {"Why.\n-- client --\n{\"surface\":\"chat\",\"route\":\"/x\"}\n-- body --\n{}\n", `no route "/x"`},
		"no event":         {chatHead + "-- events --\n{\"type\":\"x\"}\n", "section events"},
		"events unordered": {chatHead + "-- events --\n{\"type\":\"response.output_text.delta\",\"delta\":\"x\"}\n", "section events"},
		"event after end":  {chatHead + "-- events --\n{\"error\":{\"code\":\"internal\",\"message\":\"x\"}}\n{\"type\":\"response.completed\",\"response\":{}}\n", "follows the error"},
		"no end":           {chatHead + "-- events --\n{\"type\":\"response.output_item.added\",\"output_index\":0,\"item\":{\"type\":\"message\",\"role\":\"assistant\",\"content\":[]}}\n", "want a terminal event"},
		"no group":         {chatHead + "-- varies --\nid\n", "has 0 groups"},
		"no expression":    {chatHead + "-- varies --\n(\n", "section varies"},
		"no count":         {chatHead + "-- count --\n{\"n\":1}\n", "section count"},
		"no vectors":       {chatHead + "-- vectors --\n[]\n", "section vectors"},
	} {
		if _, err := ReadFront(Parse([]byte(tt.text)), chat); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v, want one that says %q", name, err, tt.says)
		}
	}
}

func TestMask(t *testing.T) {
	t.Parallel()
	f := readFront(t, "-- varies --\n\"id\":\"([^\"]+)\"\n\"at\":([0-9]+)\n")
	const in = `{"id":"a7","at":5}{"id":"a7","at":6,"of":{"id":"b"}}{"id":"","at":5}`
	const want = `{"id":"*1","at":*2}{"id":"*1","at":*3,"of":{"id":"*4"}}{"id":"","at":*2}`
	if got := f.Mask(in); got != want {
		t.Errorf("Mask = %s, want %s", got, want)
	}
}

// What each rule finds in what was written.
func TestCheckWritten(t *testing.T) {
	t.Parallel()
	failed := apierror.New(apierror.UpstreamFailed, "No.")
	const piece, done = "data: {\"x\":1}\n\n", "data: [DONE]\n\n"
	for _, tt := range []struct {
		name    string
		stream  bool
		failure *apierror.Error
		writes  []string
		err     error
		rule    string // "" when all is well
	}{
		{"a stream", true, nil, []string{piece, done}, nil, ""},
		{"a stream in one write", true, nil, []string{": hello\n\n" + piece + done}, nil, ""},
		{"a stream with CRLF", true, nil, []string{"data: {}\r\n\r\n", "data: [DONE]\r\n\r\n"}, nil, ""},
		{"an end by name", true, nil, []string{"event: chat.over\ndata: {}\n\n"}, nil, ""},
		{"an end by type", true, nil, []string{"data: {\"type\":\"chat.over\"}\n\n"}, nil, ""},
		{"a failure by member", true, failed, []string{piece, "data: {\"error\":{}}\n\n"}, nil, ""},
		{"a failure by name and an end", true, failed, []string{"event: chat.failed\ndata: {}\n\n" + done}, nil, ""},
		{"a member that is null", true, nil, []string{"data: {\"error\":null}\n\n" + done}, nil, ""},
		{"an array", true, nil, []string{"[{}", ",{}", "]"}, nil, ""},
		{"a body", false, nil, []string{`{"x":1}`}, nil, ""},
		{"a body's failure", false, failed, nil, failed, ""},

		{"nothing", true, nil, nil, nil, "stream-without-end"},
		{"no end", true, nil, []string{piece}, nil, "stream-without-end"},
		{"something after the end", true, nil, []string{done, piece}, nil, "stream-without-end"},
		{"no end after a failure", true, failed, []string{"data: {\"error\":{}}\n\n", piece}, nil, "stream-without-end"},
		{"half an event", true, nil, []string{"data: {", "}\n\n" + done}, nil, "write-splits-event"},
		{"an end without its line", true, nil, []string{piece, "data: [DONE]\n"}, nil, "write-splits-event"},
		{"a failure hidden", true, failed, []string{piece, done}, nil, "error-hidden"},
		{"a failure that is none", true, nil, []string{"event: chat.failed\ndata: {}\n\n" + done}, nil, "success-as-error"},
		{"data that is no JSON", true, nil, []string{"data: {x}\n\n" + done}, nil, "stream-malformed"},
		{"a line without field", true, nil, []string{"hello\n\n" + done}, nil, "stream-malformed"},
		{"an array that breaks off", true, nil, []string{"[{}"}, nil, "stream-malformed"},
		{"an error beside a stream", true, failed, []string{"data: {\"error\":{}}\n\n"}, failed, "write-fails"},
		{"a body in pieces", false, nil, []string{`{"x"`, `:1}`}, nil, "body-in-pieces"},
		{"no JSON", false, nil, []string{`x`}, nil, "body-json"},
		{"a body that fails", false, nil, nil, errors.New("x"), "write-fails"},
		{"a failure as a body", false, failed, []string{`{"error":1}`}, nil, "error-as-body"},
		{"a failure kept", false, failed, nil, nil, "error-as-body"},
		{"another failure", false, failed, nil, apierror.New(apierror.Internal, "x"), "error-as-body"},
	} {
		f := readFront(t, chatEvents)
		got := f.CheckWritten(provider.Asked{Op: provider.Generate, Stream: tt.stream}, &Written{Writes: tt.writes, Err: tt.err}, tt.failure)
		found := tt.rule == ""
		for _, b := range got {
			found = found || b.Rule == tt.rule
		}
		if !found || tt.rule == "" && len(got) > 0 {
			t.Errorf("%s: found %v, want %q", tt.name, got, tt.rule)
		}
	}
}

func TestCheckAsked(t *testing.T) {
	t.Parallel()
	r := &openresponses.Request{Model: "m", Input: []openresponses.Item{openresponses.Text("user", "x")}}
	for _, tt := range []struct {
		asked  provider.Asked
		stream string
		rule   string
	}{
		{provider.Asked{Op: provider.Generate, Request: r}, "", ""},
		{provider.Asked{Op: provider.Generate, Request: r, Stream: true}, provider.StreamAlways, ""},
		{provider.Asked{Op: provider.CountTokens, Request: r}, "", "asked-op"},
		{provider.Asked{Op: provider.Generate, Request: r, Stream: true}, provider.StreamNever, "asked-stream"},
		{provider.Asked{Op: provider.Generate, Request: r}, provider.StreamAlways, "asked-stream"},
		{provider.Asked{Op: provider.Generate}, "", "asked-request"},
		{provider.Asked{Op: provider.Generate, Request: &openresponses.Request{Tools: []openresponses.Tool{{Raw: []byte(`{"a":1,"a":2}`)}}}}, "", "asked-request"},
	} {
		f := readFront(t, "")
		f.Route.Stream = tt.stream
		got := f.CheckAsked(tt.asked)
		if len(got) == 0 != (tt.rule == "") || len(got) > 0 && got[0].Rule != tt.rule {
			t.Errorf("%+v: found %v, want %q", tt.asked, got, tt.rule)
		}
	}
}

func TestWrongBodies(t *testing.T) {
	t.Parallel()
	all := map[string]string{}
	for _, w := range readFront(t, "").WrongBodies() {
		all[w.What] = string(w.Body)
	}
	for what, want := range map[string]string{
		"model is a number":          `{"messages":[{"role":"user"}],"model":-7.5}`,
		"messages is a text":         `{"messages":"x y","model":"m"}`,
		"messages[0] is null":        `{"messages":[null],"model":"m"}`,
		"messages[0].role is a list": `{"messages":[{"role":[1]}],"model":"m"}`,
		"the body is null":           `null`,
	} {
		if all[what] != want {
			t.Errorf("%s: %s, want %s", what, all[what], want)
		}
	}
	for _, tt := range []struct {
		err  error
		rule string
	}{
		{apierror.At(apierror.Invalid, "messages[0].role", "No."), ""},
		{apierror.At(apierror.Unsupported, "tools[0]", "No."), ""},
		{apierror.New(apierror.Invalid, "No."), "accept-field"},
		{apierror.At(apierror.Invalid, "model", " "), "accept-field"},
		{apierror.At(apierror.NotFound, "model", "No."), "accept-code"},
		{errors.New("x"), "accept-code"},
	} {
		b := Wrong{What: "x", Field: true}.CheckRefusal(tt.err)
		if b == nil != (tt.rule == "") || b != nil && b.Rule != tt.rule {
			t.Errorf("%v: %v, want %q", tt.err, b, tt.rule)
		}
	}
}
