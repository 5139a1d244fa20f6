package router

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
)

func TestScanBody(t *testing.T) {
	t.Parallel()
	deep := func(n int) string { return `{"a":` + strings.Repeat("[", n-1) + strings.Repeat("]", n-1) + `}` }
	tests := []struct {
		in   string
		want string // part of the refusal; "" when it is taken
	}{
		{in: `{}`},
		{in: " \t\r\n{ \"model\" : \"m\" , \"x\" : [ 1 , -0.5e+3, true,false,null , {} , [] ] } \n"},
		{in: `{"a":"\"\\\/\b\f\n\r\tA\ud800"}`},
		{in: `{"é":1,"a\"b":2,"a\/b":3,"\u00e9x":4}`},
		{in: `{"nested":{"model":1,"model":2,"model":3}}`},
		{in: deep(512)},

		{in: ``, want: "no opening brace at byte 0"},
		{in: `[]`, want: "no opening brace"},
		{in: `"a"`, want: "no opening brace"},
		{in: "\ufeff{}", want: "no opening brace"},
		{in: `{`, want: "no key in quotes"},
		{in: `{"a"`, want: "no colon"},
		{in: `{"a":`, want: "ends too early"},
		{in: `{"a":1`, want: "ends too early"},
		{in: `{"a":1,}`, want: "no key in quotes at byte 7"},
		{in: `{"a":[1,]}`, want: "no value"},
		{in: `{"a":[1}`, want: "neither a comma nor the end"},
		{in: `{"a":1]`, want: "neither a comma nor the end"},
		{in: `{"a" 1}`, want: "no colon"},
		{in: `{a:1}`, want: "no key in quotes"},
		{in: `{"a":01}`, want: "no value"},
		{in: `{"a":-}`, want: "no value"},
		{in: `{"a":1.}`, want: "no value"},
		{in: `{"a":1e}`, want: "no value"},
		{in: `{"a":.5}`, want: "no value"},
		{in: `{"a":+1}`, want: "no value"},
		{in: `{"a":NaN}`, want: "no value"},
		{in: `{"a":tru}`, want: "no value"},
		{in: `{"a":nulls}`, want: "neither a comma nor the end"},
		{in: `{"a":"b}`, want: "a string without an end"},
		{in: `{"a":"\x"}`, want: "a wrong escape"},
		{in: `{"a":"\u12g4"}`, want: "a wrong escape"},
		{in: `{"a":"\u12`, want: "a wrong escape"},
		{in: "{\"a\":\"long enough for a word\n\"}", want: "a control character"},
		{in: "{\"a\":\"\x01\"}", want: "a control character"},
		{in: `{} {}`, want: "something behind the object at byte 3"},
		{in: `{"a":1}x`, want: "something behind"},
		{in: deep(513), want: "more than 512 levels"},
		{in: "{\"a\":\"\xff\"}", want: "not UTF-8"},

		{in: `{"model":"a","model":"b"}`, want: `the key "model" more than once`},
		{in: `{"model":"a","Model":"b"}`, want: "more than once"},
		{in: `{"model":"a","mod\u0065l":"b"}`, want: "escapes what needs no escape"},
		{in: `{"mod\u0065l":"b"}`, want: `Write "model"`},
		{in: `{"stream":true,"ſtream":false}`, want: "more than once"},
		{in: `{"a\"b":1,"a\u0022b":2}`, want: "more than once"},
		{in: `{"\u00e9":1,"é":2}`, want: "more than once"},
		{in: manyMembers(100, ""), want: ""},
		{in: manyMembers(100, `,"K7":1`), want: "more than once"},
	}
	for _, tt := range tests {
		_, err := ScanBody([]byte(tt.in))
		switch {
		case tt.want == "" && err != nil:
			t.Errorf("ScanBody(%.80q) = %v, want it taken", tt.in, err)
		case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
			t.Errorf("ScanBody(%.80q) = %v, want %q", tt.in, err, tt.want)
		case err != nil && apierror.CodeOf(err) != apierror.Invalid:
			t.Errorf("ScanBody(%.80q): code %q, want invalid", tt.in, apierror.CodeOf(err))
		}
	}
}

func manyMembers(n int, more string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,"k%d":%d`, i, i)
	}
	return "{" + b.String()[1:] + more + "}"
}

// Strings are walked over in words: each length, and each place of what ends or
// breaks one.
func TestScanStrings(t *testing.T) {
	t.Parallel()
	for n := range 150 {
		for _, fill := range []string{"a", "é", "\u00ff"} {
			text := strings.Repeat(fill, n)
			s, err := ScanBody([]byte(`{"a":"` + text + `","b":1}`))
			if err != nil || len(s.members) != 2 || string(s.at("a")) != `"`+text+`"` {
				t.Fatalf("a string of %d %q: %v", n, fill, err)
			}
		}
		for at := range n {
			for broken, want := range map[string]string{"\n": "a control character", `\q`: "a wrong escape", "\x1f": "a control character"} {
				text := strings.Repeat("~", at) + broken + strings.Repeat("\x7f", n-at)
				if _, err := ScanBody([]byte(`{"a":"` + text + `"}`)); err == nil || !strings.Contains(err.Error(), want) {
					t.Fatalf("%q at %d of %d: %v, want %s", broken, at, n, err, want)
				}
			}
		}
	}
}

func TestScanLookups(t *testing.T) {
	t.Parallel()
	s, err := ScanBody([]byte(`{"model":"m\u0031","stream":true,"max_tokens":64000,"half":0.5,"round":1.024e3,"none":null,"big":99999999999999999999,
 "metadata":{"user_id":"{\"device_id\":\"d\",\"session_id\":\"s-1\"}","a":{"b":[1,{"c":2}],"b2":"x","b2":"y"},"broken":"{\"a\":"},
 "cfg":{"skip":{"max":1},"s":"}]\\\"","max":7}}`))
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"model": "m1", "metadata.user_id.session_id": "s-1", "metadata.a.b2": "y", "metadata.user_id": `{"device_id":"d","session_id":"s-1"}`,
		"stream": "", "missing": "", "metadata.missing": "", "model.x": "", "metadata.broken.a": "", "": "", "metadata.": "",
	} {
		if got, ok := s.String(path); got != want || ok != (want != "") {
			t.Errorf("String(%q) = %q, %v, want %q", path, got, ok, want)
		}
	}
	for path, want := range map[string]int64{"max_tokens": 64000, "round": 1024, "cfg.max": 7, "cfg.skip.max": 1, "half": 0, "none": 0, "big": 0, "model": 0} {
		if got, ok := s.Int(path); got != want || ok != (want != 0) {
			t.Errorf("Int(%q) = %d, %v, want %d", path, got, ok, want)
		}
	}
	if v, ok := s.Bool("stream"); !v || !ok {
		t.Errorf("Bool(stream) = %v, %v, want true", v, ok)
	}
	if _, ok := s.Bool("none"); ok {
		t.Error("Bool(none) is there, want null to be none")
	}
	if !s.Has("none") || s.Has("nobody") || !s.Has("cfg.skip") {
		t.Error("Has: want none and cfg.skip to be there, and nobody not")
	}
	if (*Scan)(nil).Has("model") {
		t.Error("a nil Scan has a member")
	}
}

func TestScanFindsState(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]bool{
		`{"a":[{"signature":"sp1.anthropic.anthropic.aGk"}]}`:         true,
		`{"parts":[{"thoughtSignature":"c3AxLmdlbWluaS5nZW1pbmku"}]}`: true,
		`{"a":"text that says sp1. somewhere"}`:                       false,
		`{"sp1.x":1,"a":"sp1"}`:                                       false,
	} {
		s, err := ScanBody([]byte(in))
		if err != nil || s.state != want {
			t.Errorf("ScanBody(%s): state %v, %v; want %v", in, s.state, err, want)
		}
	}
}

// What ScanBody takes encoding/json takes, and reads in the same way; what it
// refuses has one of the reasons that are named.
func FuzzScanBody(f *testing.F) {
	for _, seed := range []string{
		`{"model":"m","stream":true,"max_tokens":5,"metadata":{"user_id":"{\"session_id\":\"s\"}"}}`,
		`{"a":[1,2,{"b":"\u00e9\ud83d\ude00"}],"c":-1.5e-7}`, `{"mod\u0065l":1}`, `{"a":1,"A":2}`, "{\"a\":\"\xc3\x28\"}", `{"a":"` + strings.Repeat("x", 40) + `\\"}`,
		`[{}]`, `{"a":{"a":{}}}`, ` {} `, `{"a":00}`, `{"K":1,"K":2}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		before := bytes.Clone(in)
		s, err := ScanBody(in)
		if !bytes.Equal(before, in) {
			t.Fatal("the body was changed")
		}
		if err != nil {
			for _, why := range []string{"more than once", "escapes what needs no escape", "not UTF-8", "more than 512 levels"} {
				if strings.Contains(err.Error(), why) {
					return
				}
			}
			if trimmed := bytes.TrimLeft(in, " \t\r\n"); json.Valid(in) && len(trimmed) > 0 && trimmed[0] == '{' {
				t.Fatalf("refused what encoding/json takes: %v", err)
			}
			return
		}
		var want map[string]json.RawMessage
		if err := json.Unmarshal(in, &want); err != nil {
			t.Fatalf("taken, and encoding/json says %v", err)
		}
		if len(want) != len(s.members) {
			t.Fatalf("%d members, want %d", len(s.members), len(want))
		}
		for name, raw := range want {
			m, ok := s.member(name)
			if !ok { // a key that is written with an escape
				continue
			}
			if got := s.body[m.value:m.end]; !bytes.Equal(got, raw) {
				t.Fatalf("%q = %s, want %s", name, got, raw)
			}
			var fields map[string]json.RawMessage
			if strings.Contains(name, ".") || json.Unmarshal(raw, &fields) != nil {
				continue
			}
			for inner, value := range fields {
				if got := s.at(name + "." + inner); !strings.Contains(inner, ".") && !bytes.Equal(got, value) {
					t.Fatalf("%s.%s = %s, want %s", name, inner, got, value)
				}
			}
		}
	})
}

// agentBody is a request as coding agents send them: about n bytes, most of it
// text with line breaks.
func agentBody(n int) []byte {
	line := `     1\tfunc main() { fmt.Println(\"hello\") } // what the file said at this line\n`
	var b bytes.Buffer
	b.WriteString(`{"model":"databricks-claude-sonnet-4-5","max_tokens":64000,"stream":true,"system":[{"type":"text","text":"You are an agent."}],"messages":[`)
	for b.Len() < n {
		if b.Bytes()[b.Len()-1] == '}' {
			b.WriteByte(',')
		}
		b.WriteString(`{"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_1","content":"` + strings.Repeat(line, 25) + `"}]}`)
	}
	b.WriteString(`],"tools":[]}`)
	return b.Bytes()
}

func BenchmarkScan(b *testing.B) {
	for _, n := range []int{200, 10 << 10, 100 << 10} {
		body := agentBody(n)
		b.Run(fmt.Sprintf("%dKiB", n>>10), func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := ScanBody(body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
