package dialogue

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
)

func TestReadBody(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, length, body string
		want               int // bytes
	}{
		{"as said", "5", "hello", 5},
		{"no length", "", "hello", 5},
		{"length is no number", "five", "hello", 5},
		{"length is negative", "-1", "hello", 5},
		{"shorter than said", "1000000000000", "hello", 5},
		{"longer than said", "1", "hello", 5},
		{"empty", "0", "", 0},
		{"as long as allowed", "10", "0123456789", 10},
		{"one more tells", "12", "0123456789ab", 11},
		{"not said to be too long", "3", strings.Repeat("x", 4000), 11},
	} {
		h := http.Header{"Content-Length": {tc.length}}
		for how, body := range map[string]io.Reader{"at once": strings.NewReader(tc.body), "byte by byte": iotest.OneByteReader(strings.NewReader(tc.body))} {
			got, err := ReadBody(nil, body, h, 10)
			if err != nil || string(got) != tc.body[:tc.want] {
				t.Errorf("%s, %s: got %q, %v", tc.name, how, got, err)
			}
			if cap(got) > 2*believed {
				t.Errorf("%s: %d bytes were made room for", tc.name, cap(got))
			}
		}
	}
	if b, err := ReadBody(nil, io.MultiReader(strings.NewReader("cut"), iotest.ErrReader(io.ErrUnexpectedEOF)), http.Header{}, 10); err != io.ErrUnexpectedEOF || string(b) != "cut" {
		t.Errorf("a body that is cut: got %q, %v", b, err)
	}
}

func TestReadBodyUsesTheMemoryItIsGiven(t *testing.T) {
	t.Parallel()
	room := make([]byte, 3, 4<<10)
	got, err := ReadBody(room, strings.NewReader("hello"), http.Header{"Content-Length": {"5"}}, 10)
	if err != nil || string(got) != "hello" || &got[0] != &room[0] {
		t.Errorf("got %q, %v, want hello in the same place", got, err)
	}
}
