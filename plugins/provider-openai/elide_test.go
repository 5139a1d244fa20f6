package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/sallyport-gateway/sallyport/sdk/golden"
	"github.com/sallyport-gateway/sallyport/sdk/sse"
)

var longest = strings.Repeat(`é \" \\ \u00e9 \ud83d\ude00 `, 400)

func TestElider(t *testing.T) {
	t.Parallel()
	tests := []struct {
		rule, in string
		want     []string // the data of what remains, with CUT for what is left of a long text
	}{
		{rule: "what says nothing new is left out", in: "event: response.created\ndata: {}\n\nevent: response.output_text.done\r\ndata: {\"text\":\"x\"}\r\n\r\nevent: x\ndata: 1\n\n", want: []string{"1"}},
		{rule: "short texts stay", in: "event: response.completed\ndata: {\"a\":\"x\"}\n\n", want: []string{`{"a":"x"}`}},
		{rule: "long ones of the last event are cut", in: "event: response.completed\ndata: {\"a\":\"" + longest + "\",\"b\":[\"x\"]}\n\n", want: []string{`{"a":"CUT","b":["x"]}`}},
		{rule: "those of an item stay when no delta came", in: "event: response.output_item.done\ndata: {\"text\":\"" + longest + "\"}\n\n", want: []string{`{"text":"` + longest + `"}`}},
		{rule: "and are cut when one did, but for what deltas do not tell", in: "event: response.output_text.delta\ndata: 1\n\nevent: response.output_item.done\ndata: {\"text\":\"" + longest + "\",\"encrypted_content\":\"" + longest + "\"}\n\n",
			want: []string{"1", `{"text":"CUT","encrypted_content":"` + longest + `"}`}},
		{rule: "a new item begins anew", in: "event: response.output_text.delta\ndata: 1\n\nevent: response.output_item.added\ndata: 2\n\nevent: response.output_item.done\ndata: {\"text\":\"" + longest + "\"}\n\n", want: []string{"1", "2", `{"text":"` + longest + `"}`}},
		{rule: "events without a name stay", in: ": hello\n\ndata: {\"type\":\"response.created\"}\n\nid: 1\ndata: 2", want: []string{`{"type":"response.created"}`, "2"}},
		{rule: "the name is that of its own event", in: "event: response.created\n\ndata: 1\n\n", want: []string{"1"}},
		{rule: "several lines of data", in: "event: response.completed\ndata: {\"a\":\ndata: 1}\n\n", want: []string{"{\"a\":\n1}"}},
	}
	for _, tt := range tests {
		for _, size := range []int{1, 2, 7, 4096, 1 << 20} {
			got := remains(t, newElider(&golden.Pieces{Rest: []byte(tt.in), Sizes: func() int { return size }, End: io.EOF}))
			if !slices.Equal(got, tt.want) {
				t.Errorf("%s, %d bytes at a time: %.300q, want %.300q", tt.rule, size, got, tt.want)
			}
		}
	}
}

// remains reads what an elider leaves, with CUT in the place of texts that it
// cut.
func remains(t *testing.T, r io.Reader) (data []string) {
	t.Helper()
	in := sse.NewReader(r)
	for {
		ev, err := in.Next(t.Context())
		if err != nil {
			return data
		}
		if bytes.Contains(ev.Data, []byte("{")) && !json.Valid(ev.Data) {
			t.Errorf("no JSON: %.300q", ev.Data)
		}
		s := string(ev.Data)
		for {
			end := strings.Index(s, elided)
			if end < 0 {
				break
			}
			begin := strings.LastIndex(s[:end], `:"`) + 2
			if n := end - begin; n > 2*longText {
				t.Errorf("%d bytes are left of a text", n)
			}
			s = s[:begin] + "CUT" + s[end+len(elided):]
		}
		data = append(data, s)
	}
}

// FuzzElider holds that what remains does not depend on how the bytes come, and
// that a cut stream stays cut.
func FuzzElider(f *testing.F) {
	f.Add([]byte("event: response.completed\ndata: {\"a\":\""+longest+"\"}\n\n"), 3)
	f.Add([]byte("event: response.output_text.delta\r\ndata: 1\r\n\r\nevent: response.output_item.done\ndata: {\"text\":\""+longest[:5000]+"\n"), 1)
	f.Fuzz(func(t *testing.T, b []byte, size int) {
		size = max(size%5000, 1)
		whole, err := io.ReadAll(newElider(bytes.NewReader(b)))
		if err != nil {
			t.Fatal(err)
		}
		cut := errors.New("cut")
		pieces, err := io.ReadAll(newElider(&golden.Pieces{Rest: b, Sizes: func() int { return size }, End: cut}))
		if !errors.Is(err, cut) || !bytes.Equal(whole, pieces) {
			t.Errorf("%q, %d bytes at a time: %q, %v, want %q", b, size, pieces, err, whole)
		}
	})
}
