package dialogue

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/valyala/fastjson"
)

func TestParseData(t *testing.T) {
	t.Parallel()
	tests := []struct {
		in, filename string
		want         Data
		ok           bool
	}{
		{"data:image/png;base64,aGk=", "", Data{"image/png", "aGk="}, true},
		{"data:IMAGE/PNG;name=x;base64,aGk", "", Data{"image/png", "aGk="}, true},
		{"data:;base64,aGk=", "", Data{"text/plain", "aGk="}, true},
		{"data:text/plain,h%69", "", Data{"text/plain", "aGk="}, true},
		{"data:image/png;base64,-_8=", "", Data{"image/png", "+/8="}, true},
		{"data:image/png;base64,aG\r\nk=", "", Data{"image/png", "aGk="}, true},
		{"aGk=", "a.PDF", Data{"application/pdf", "aGk="}, true},
		{"aGk=", "", Data{"", "aGk="}, true},
		{"data:image/png;base64,a*k=", "", Data{}, false},
		{"data:image/png;base64,", "", Data{}, false},
		{"data:image/png;base64", "", Data{}, false},
		{"data:text/plain,%zz", "", Data{}, false},
		{"https://example.com/", "", Data{}, false},
		{"", "a.pdf", Data{}, false},
	}
	for _, tt := range tests {
		got, ok := ParseData(tt.in, tt.filename)
		if ok != tt.ok || ok && got != tt.want {
			t.Errorf("ParseData(%q, %q) = %v, %v, want %v, %v", tt.in, tt.filename, got, ok, tt.want, tt.ok)
		}
		if ok && string(got.Bytes()) == "" {
			t.Errorf("ParseData(%q) has no bytes", tt.in)
		}
	}
}

func TestIsHTTPS(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]bool{
		"https://example.com/a": true, "http://example.com/a": false, "https:///a": false, "https://u:p@example.com/": false,
		"file:///etc/passwd": false, "gs://bucket/x": false, "": false, "data:image/png;base64,aGk=": false, "//example.com": false,
	} {
		if got := IsHTTPS(in); got != want {
			t.Errorf("IsHTTPS(%q) = %v, want %v", in, got, want)
		}
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 65)
	n := &Names{Max: 64, Fits: func(c byte, first bool) bool { return Word(c) && !(first && c == '2') }}
	for in, want := range map[string]string{
		"main__sales__reviews": "main__sales__reviews",
		"a.b":                  "a_b_" + Digest(8, "a.b"),
		"a_b":                  "a_b",
		"a:b":                  "a_b_" + Digest(8, "a:b"),
		"2x":                   "_x_" + Digest(8, "2x"),
		"łó":                   "_____"[:4] + "_" + Digest(8, "łó"),
		long:                   long[:55] + "_" + Digest(8, long),
		"":                     "__" + Digest(8, ""),
	} {
		got := n.Out(in)
		if got != want || len(got) > 64 {
			t.Errorf("Out(%q) = %q, want %q", in, got, want)
		}
		if back := n.Back(got); back != in {
			t.Errorf("Back(%q) = %q, want %q", got, back, in)
		}
	}
	if got := n.Back("never_seen"); got != "never_seen" {
		t.Errorf("Back of a name that was not mapped = %q", got)
	}
}

func TestIsID(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]bool{"toolu_01-A": true, "": false, "a b": false, "é": false, "a.b": false, strings.Repeat("a", 64): true, strings.Repeat("a", 65): false} {
		if got := IsID(in); got != want {
			t.Errorf("IsID(%q) = %v, want %v", in, got, want)
		}
	}
}

func TestObject(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		`{"a":1e400}`: `{"a":1e400}`, "": "{}", "  ": "{}", `[1]`: `{"arguments":"[1]"}`, "null": `{"arguments":"null"}`,
		`{"a":`: `{"arguments":"{\"a\":"}`, `{} x`: `{"arguments":"{} x"}`,
	} {
		if got := string(Object(in)); got != want {
			t.Errorf("Object(%q) = %s, want %s", in, got, want)
		}
	}
}

func TestSentence(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"": "it gave no reason.", "no": "no.", "no.": "no.", "why?": "why?", "a\nb\x00": "a b.", " x ": "x.", "\xff": "\uFFFD.",
	} {
		if got := Sentence(in); got != want {
			t.Errorf("Sentence(%q) = %q, want %q", in, got, want)
		}
	}
	if got := Sentence(strings.Repeat("ł", 10000)); len(got) > maxSentence+4 || !utf8.ValidString(got) {
		t.Errorf("a long message: %d bytes, valid %v", len(got), utf8.ValidString(got))
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	for in, want := range map[string]time.Duration{
		"": 0, "7": 7 * time.Second, "0.5": 500 * time.Millisecond, "-1": 0, "nan": 0, "inf": 0, "1e9": 0, "soon": 0,
		"Fri, 20 Nov 2026 12:00:30 GMT": 30 * time.Second, "Fri, 20 Nov 2026 11:00:00 GMT": 0,
	} {
		if got := RetryAfter(http.Header{"Retry-After": {in}}, now); got != want {
			t.Errorf("RetryAfter(%q) = %v, want %v", in, got, want)
		}
	}
}

func TestMend(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		`{"a":"x"}`: `{"a":"x"}`, `"\ud83d\ude00"`: `"\ud83d\ude00"`, `"\ud83d"`: `"\ufffd"`, `"\ude00"`: `"\ufffd"`,
		`"\ud83d\ud83d\ude00"`: `"\ufffd\ud83d\ude00"`, `"\\ud83d"`: `"\\ud83d"`, `"\\\ud83d"`: `"\\\ufffd"`, `"\uD83Dx"`: `"\ufffdx"`,
		`"\ud8`: `"\ud8`, "\"\xff\"": "\"\uFFFD\"", `"\ud83d\u0041"`: `"\ufffd\u0041"`,
	} {
		if got := string(Mend([]byte(in))); got != want {
			t.Errorf("Mend(%q) = %q, want %q", in, got, want)
		}
		kept := []byte(in)
		if got := string(Mended(kept)); got != want || string(kept) != in {
			t.Errorf("Mended(%q) = %q and left %q, want %q", in, got, kept, want)
		}
	}
}

// FuzzMend: what fastjson reads after Mend is what encoding/json reads.
func FuzzMend(f *testing.F) {
	f.Add(`"\ud83d\ude00 \ud83d \\ud83d"`)
	f.Fuzz(func(t *testing.T, in string) {
		var want string
		if !utf8.ValidString(in) || json.Unmarshal([]byte(in), &want) != nil {
			return // of bytes that are no letters the two make a different number of U+FFFD
		}
		v, err := fastjson.ParseBytes(Mend([]byte(in)))
		if err != nil {
			t.Fatalf("Mend made %q unreadable: %v", in, err)
		}
		if got := string(v.GetStringBytes()); got != want {
			t.Errorf("%q reads %q, want %q", in, got, want)
		}
	})
}

func TestSeed(t *testing.T) {
	t.Parallel()
	a, again, b := Seed{Body: []byte("a")}, Seed{Body: []byte("a")}, Seed{Body: []byte("b")}
	one := a.Digest(24, "1")
	if len(one) != 24 || one != again.Digest(24, "1") || one != a.Digest(24, "1") {
		t.Errorf("the same request and part gave %q and %q", one, again.Digest(24, "1"))
	}
	if one == b.Digest(24, "1") || one == a.Digest(24, "2") {
		t.Error("another request or part gave the same id")
	}
	if want := Digest(24, Digest(16, "a"), "1"); one != want {
		t.Errorf("got %q, want %q", one, want)
	}
}
