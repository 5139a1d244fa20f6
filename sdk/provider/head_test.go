package provider

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

// The heads as README.md of sdk/proto describes them: what encoding/json makes of
// them is what is meant.
type (
	reqHeadJSON struct {
		Op      Op
		Account Account
		Model   string
		Carry   http.Header
		Short   bool
	}
	upReqHeadJSON struct {
		Method, Path, Query          string
		Header                       http.Header
		Stream, None, Embeds, Counts bool
		Lost                         []string
	}
	upHeadJSON struct {
		Status int
		Header http.Header
	}
	acceptHeadJSON struct {
		Surface, Route, Model, Query string
		Stream                       bool
		Header                       http.Header
	}
	dialogueHeadJSON struct {
		Op                            Op
		Model                         string
		Stream, Counts, Embeds, Short bool
		Lost                          []string
	}
)

// headForms read a head both ways.
var headForms = map[string]struct {
	meant func() any
	read  func(payload []byte) (any, error)
}{
	"req": {func() any { return new(reqHeadJSON) }, func(b []byte) (any, error) {
		t, short, err := parseTurn(b)
		return &reqHeadJSON{t.Op, t.Account, t.Model, t.Carry, short}, err
	}},
	"upreq": {func() any { return new(upReqHeadJSON) }, func(b []byte) (any, error) {
		h, err := parseUpReq(b)
		out := &upReqHeadJSON{None: h.None, Embeds: h.Embeds, Counts: h.Counts}
		if up := h.Upstream; up != nil {
			out.Method, out.Path, out.Query, out.Header, out.Stream, out.Lost = up.Method, up.Path, up.Query, up.Header, up.Stream, up.Lost
		}
		return out, err
	}},
	"uphead": {func() any { return new(upHeadJSON) }, func(b []byte) (any, error) {
		r, err := parseUpHead(b[4:])
		return &upHeadJSON{r.Status, r.Header}, err
	}},
	"accept": {func() any { return new(acceptHeadJSON) }, func(b []byte) (any, error) {
		r, err := parseAccept(b)
		return &acceptHeadJSON{r.Surface, r.Route, r.Model, r.Query, r.Stream, r.Header}, err
	}},
	"dialogue": {func() any { return new(dialogueHeadJSON) }, func(b []byte) (any, error) {
		h, err := parseDialogue(b)
		return &dialogueHeadJSON{h.Op, h.Model, h.Stream, h.Counts, h.Embeds, h.Short, h.Lost}, err
	}},
}

// FuzzHeadRead compares the reading of heads with encoding/json. Left out is
// where the two differ by intent: keys that are there twice or in another case,
// and bytes that are not UTF-8.
func FuzzHeadRead(f *testing.F) {
	for _, s := range []string{
		`{"op":"generate","account":{"name":"a","settings":{"x":[1, 2.50,"é"]}},"model":"m","carry":{"Anthropic-Beta":["b","c"]},"short":true}`,
		`{"method":"POST","path":"v1/messages","query":"a=b","header":{"Accept":["x"],"Y":null,"Z":[null]},"stream":true,"lost":["input[0]"],"counts":true}`,
		`{"none":true,"embeds":true}`, `{"status":200,"header":{"Content-Type":["application/json"]}}`,
		`{"surface":"anthropic","route":"/v1/messages","query":"beta=true","header":{"X":[""]}}`,
		`{"op":"generate","model":"\u0000\ud83d\ude00\"\\\/","stream":false,"lost":[],"short":true}`,
		`{"status":200.0}`, `{"status":"200"}`, `{"status":99999999999999999999}`, `{"model":7}`, `{"header":{"a":"b"}}`, `{"lost":[1]}`, `{"account":[]}`,
		`{"op":"a","op":"b","account":{"name":1,"settings":{"x":{},"y":[],"z":[[1]]}},"short":false,"carry":{},"header":{"a":[]},"lost":[{}]}`,
		`null`, `[]`, `{}`, ` {"unknown":{"a":[[[]]]}} `, `{"model":null,"account":null}`, `{"a":1`, `{"stream":1}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, head []byte) {
		if !utf8.Valid(head) || ambiguous(head) || bytes.Contains(bytes.ToLower(head), []byte(`\ud`)) {
			t.Skip()
		}
		payload := append(binary.BigEndian.AppendUint32(nil, uint32(len(head))), head...)
		parsed := append(binary.BigEndian.AppendUint32(nil, uint32(len(head)+1)), ' ') // what begins so is not plain
		parsed = append(parsed, head...)
		for name, form := range headForms {
			h, err := form.read(payload)
			if p, perr := form.read(parsed); (err == nil) != (perr == nil) || err == nil && !reflect.DeepEqual(h, p) ||
				err != nil && err.Error() != perr.Error() && !strings.Contains(err.Error(), "parse JSON") {
				t.Errorf("%s: read as it lies it is %+v, %v, by the parser %+v, %v", name, h, err, p, perr)
			}
			want := form.meant()
			if json.Unmarshal(head, want) != nil || bytes.Equal(bytes.TrimSpace(head), []byte("null")) {
				form.read(payload) // must not panic; the parser takes some of what is no JSON
				continue
			}
			got, err := form.read(payload)
			if err != nil && strings.Contains(err.Error(), "JSON") { // of the body, which is empty
				continue
			}
			if up, ok := want.(*upReqHeadJSON); ok && up.None {
				*up = upReqHeadJSON{None: true, Embeds: up.Embeds, Counts: up.Counts}
			}
			if req, ok := want.(*reqHeadJSON); ok {
				req.Account.Settings = compact(req.Account.Settings)
				got := got.(*reqHeadJSON)
				got.Account.Settings = compact(got.Account.Settings)
			}
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%s: got %+v, %v, want %+v", name, got, err, want)
			}
		}
	})
}

// ambiguous reports whether keys of an object differ at most in case, or whether
// one is a known key in another case.
func ambiguous(b []byte) bool {
	d := json.NewDecoder(bytes.NewReader(b))
	var open []map[string]bool // of the objects; nil for arrays
	key := false
	for {
		tok, err := d.Token()
		if err != nil {
			return false
		}
		switch tok := tok.(type) {
		case json.Delim:
			switch tok {
			case '{':
				open = append(open, map[string]bool{})
			case '[':
				open = append(open, nil)
			default:
				open = open[:len(open)-1]
			}
			key = len(open) > 0 && open[len(open)-1] != nil
			continue
		case string:
			if key {
				low := strings.ToLower(tok)
				if open[len(open)-1][low] || low != tok && len(open) < 3 || strings.ContainsFunc(tok, func(r rune) bool { return r >= utf8.RuneSelf }) {
					return true
				}
				open[len(open)-1][low] = true
				key = false
				continue
			}
		}
		key = len(open) > 0 && open[len(open)-1] != nil
	}
}

func compact(b json.RawMessage) json.RawMessage {
	var v any
	if len(b) == 0 || json.Unmarshal(b, &v) != nil || v == nil {
		return nil
	}
	out, _ := json.Marshal(v)
	return out
}

// FuzzHeadWrite has encoding/json read what is written.
func FuzzHeadWrite(f *testing.F) {
	f.Add("generate", "a\"b\\c\n\x00é😀\u2028<&>", "\xff", true, 200)
	f.Add("", "", "", false, -1)
	f.Fuzz(func(t *testing.T, a, b, c string, flag bool, n int) {
		for _, p := range []*string{&a, &b, &c} {
			*p = strings.ToValidUTF8(*p, "\ufffd")
		}
		h := http.Header{a: {b, c}}
		if c != a {
			h[c] = []string{}
		}
		head := func(payload []byte) []byte { return payload[4 : 4+binary.BigEndian.Uint32(payload)] }
		check := func(name string, head []byte, got, want any) {
			if err := json.Unmarshal(head, got); err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%s: %q is read as %+v, %v, want %+v", name, head, got, err, want)
			}
		}
		req, err := appendTurn(nil, Turn{Op: Op(a), Account: Account{b, json.RawMessage(`{"x":1}`)}, Model: c, Carry: h})
		if err != nil {
			t.Fatal(err)
		}
		check("req", head(req), new(reqHeadJSON), &reqHeadJSON{Op(a), Account{b, json.RawMessage(`{"x":1}`)}, c, h, true})
		up := &Upstream{Method: a, Path: b, Query: c, Header: h, Stream: flag, Lost: []string{b, c}}
		upReq, _ := appendUpReq(nil, &embedExchange{&exchange{up: up}})
		check("upreq", head(upReq), new(upReqHeadJSON), &upReqHeadJSON{Method: a, Path: b, Query: c, Header: h, Stream: flag, Lost: up.Lost, Embeds: true})
		check("uphead", appendUpHead(nil, n, h), new(upHeadJSON), &upHeadJSON{n, h})
		check("accept", head(appendAccept(nil, ClientRequest{Surface: a, Route: b, Model: c, Stream: flag, Query: a, Header: h})),
			new(acceptHeadJSON), &acceptHeadJSON{a, b, c, a, flag, h})
		d, err := appendDialogue(nil, &countDialogue{&dialogue{asked: Asked{Op: "x" + Op(a), Model: b, Stream: flag, Lost: []string{c}, Request: request("x")}}})
		if err != nil {
			t.Fatal(err)
		}
		check("dialogue", head(d), new(dialogueHeadJSON), &dialogueHeadJSON{"x" + Op(a), b, flag, true, false, true, []string{c}})
	})
}
