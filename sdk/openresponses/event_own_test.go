package openresponses

import (
	"bytes"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// What our own processes write is read without the parser, but for what few
// events have.
func TestOwnEventsAreReadAsTheyAreWritten(t *testing.T) {
	t.Parallel()
	events := append(turn(),
		Event{Type: EventTextDelta, Delta: "a \"quoted\" \\ line\n\ttab\r, é and \U0001F600, " + strings.Repeat("long enough ", 40) + "\n"},
		Event{Type: EventIncomplete, Terminal: &Terminal{Status: StatusIncomplete, Reason: "max_output_tokens"}, Usage: &Usage{Input: 1, CacheRead: 2, CacheWrite: 3, CacheWrite1h: 4, Estimated: true}},
		Event{Type: EventItemAdded, Item: &Item{Type: TypeMessage, ID: "i", Status: "s", Role: "r", Phase: "p", Content: []Part{}}},
	)
	for _, e := range events {
		wire := e.AppendJSON(nil)
		r := own{scanner: scanner{b: wire}}
		var got Event
		ok := r.event(&got)
		rare := e.Annotation != nil || strings.Contains(string(wire), "url_citation")
		if ok == rare {
			t.Errorf("%s: read as our own is %v", wire, ok)
		}
		if ok && !reflect.DeepEqual(got, e) {
			t.Errorf("%s was read as\n%#v, want\n%#v", wire, got, e)
		}
	}
}

// Whatever is not exactly ours is the parser's, also where it looks alike.
func TestWhatIsNotOurOwnIsLeftToTheParser(t *testing.T) {
	t.Parallel()
	const delta = `{"type":"response.output_text.delta","output_index":0,"content_index":0,"delta":`
	const done = `{"type":"response.output_item.done","output_index":0,"item":{"type":"message","content":[`
	for _, b := range []string{
		``, `{`, `{"type":`, `{"type":"response.created"}`, delta, delta + `"`, delta + `"x`, delta + `"x"`, delta + `"x"} `, delta + `"x"}}`, delta + `"x","delta":"y"}`,
		delta + `"\u0041"}`, delta + `"\x"}`, delta + `"\`, delta + `null}`, delta + `7}`, `{"type":"response.output_text.delta","content_index":0,"output_index":0,"delta":""}`,
		strings.Replace(delta, `:0`, `:00`, 1) + `""}`, strings.Replace(delta, `:0`, `:2147483648`, 1) + `""}`, strings.Replace(delta, `:0`, `:-1`, 1) + `""}`,
		strings.Replace(delta, `:0`, `:1234567890123456789`, 1) + `""}`, strings.Replace(delta, `:0`, `:1.0`, 1) + `""}`,
		done, done + `]`, done + `]}`, done + `,]}}`, done + `{"type":"acme","text":"x"}]}}`, done + `{"type":"output_text","text":"x","annotations":[],"logprobs":[]}]}}`,
		done + `{"type":"output_text","text":"x","annotations":[]}{"type":"output_text","text":"x","annotations":[]}]}}`,
		`{"type":"response.completed","response":{"status":"completed","usage":null}}`, `{"type":"response.failed","response":{"status":"failed","error":{"code":"internal"}}}`,
	} {
		r := own{scanner: scanner{b: []byte(b)}}
		if e := (Event{}); r.event(&e) {
			t.Errorf("%s was read as our own: %+v", b, e)
		}
	}
}

// ownBody is a request as AppendJSON writes it, with a member of each kind.
var ownBody = `{"model":"m","input":[` + strings.Join(ours, ",") + `],"instructions":"be \"brief\"","tools":[` +
	`{"type":"function","name":"f","description":"d\u0001é","parameters":{"type":"object","properties":{"a":{"enum":[1.5,null]}}},"strict":true},` +
	`{"type":"function","name":"g"},{"type":"web_search","filters":{"a":[]}}],"tool_choice":"auto","stream":true,"store":false,"parallel_tool_calls":true,` +
	`"max_output_tokens":1000,"temperature":0.5,"top_p":1,"reasoning":{"effort":"low"},"text":{"format":{"type":"json_object"}},"metadata":{"a":"b"},` +
	`"service_tier":"flex","safety_identifier":"s","prompt_cache_key":"k","top_k":7,"x":{"y":[1]}}`

func TestOwnRequestsAreReadAsTheParserReadsThem(t *testing.T) {
	t.Parallel()
	for _, body := range []string{ownBody, ` { "model" : "m" , "input" : [ ` + strings.Join(echoes, " , ") + ` ] , "tools" : [ ] , "x" : [ 1 , 2 ] } `,
		`{}`, `{"input":"hi","tools":null,"stream":null,"temperature":-1e-2,"max_output_tokens":null}`, `{"mod\u0065l":"\ud83d\ude00\/","input":[{"role":"user","content":"x"}]}`} {
		got, ok := ownRequest([]byte(body))
		want := new(Request)
		if err := readRequest([]byte(body), false, want); err != nil {
			t.Fatal(err)
		}
		if !ok || !reflect.DeepEqual(got, want) {
			t.Errorf("%s was read (%v) as\n%#v, by the parser as\n%#v", body, ok, got, want)
		}
	}
}

// What is not acceptable is not read at all, wherever it is.
func TestOwnRequestsAreChecked(t *testing.T) {
	t.Parallel()
	const user = `{"type":"message","role":"user","content":[{"type":"input_text","text":`
	const tool = `{"type":"function","name":"f","parameters":`
	deep := strings.Repeat(`{"a":`, maxDepth) + `1` + strings.Repeat(`}`, maxDepth)
	for _, body := range []string{``, `{`, `[]`, `7`, `{,}`, `{"model":"m",}`, `{"model":"m"`, `{"model":"m"}}`, `{"model":"m"} 7`, `{"model" "m"}`, `{"model":"m";"stream":true}`, `{"model":7}`,
		`{"model":"a","model":"b"}`, `{"model":"a","mod\u0065l":"b"}`, `{"model":"m","x":{"a":1,"a":2}}`, `{"tools":[` + tool + `{"a":1,"a":2}}]}`, `{"input":[{"type":"message","type":"message"}]}`,
		"{\"model\":\"\xff\"}", "{\"model\":\"a\nb\"}", `{"model":"\q"}`, `{"model":"\ud800"}`, `{"x\ud800":1}`, `{"x":"\udc00"}`, `{"x":01}`, `{"x":nan}`, `{"temperature":1.}`, `{"temperature":1e400}`,
		`{"max_output_tokens":01}`, `{"max_output_tokens":1e3}`, `{"max_output_tokens":12345678901234567890}`, `{"stream":truer}`, `{"stream":fals}`, `{"store":t}`,
		`{"input":[` + user + "\"\xff\"}]}]}", `{"input":[` + user + "\"\x01\"}]}]}", `{"input":[` + user + `"\ud800"}]}]}`, `{"input":[` + user + `"x"}]},]}`, `{"input":[` + user + `"x"}]}`, `{"input":[7]}`,
		"{\"input\":[{\"type\":\"message\",\"role\":\"\xff\",\"content\":[]}]}", "{\"input\":[{\"type\":\"message\",\"role\":\"\x01\",\"content\":[]}]}",
		`{"tools":[` + tool + `{"a":tru}}]}`, `{"tools":[` + tool + deep + `}]}`, `{"x":` + deep + `}`, `{"tools":[` + tool + `7}]}`, `{"tools":[` + tool + `{}},]}`} {
		if r, ok := ownRequest([]byte(body)); ok {
			t.Errorf("%.200s was read as %#v", body, r)
		}
	}
}

// FuzzOwnRequest holds the two readers of requests together.
func FuzzOwnRequest(f *testing.F) {
	for _, s := range append(slices.Clone(echoes), ours...) {
		f.Add([]byte(`{"model":"m","input":[` + s + `],"max_output_tokens":1000,"metadata":{"a":"b"},"x":[1, 2]}`))
	}
	f.Add([]byte(ownBody))
	f.Add([]byte(` { "input" : [ ` + strings.Join(ours, " , ") + ` , 7 ] , "model" : null }`))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, ok := ownRequest(b)
		if !ok {
			return
		}
		clean, err := check(b)
		if err != nil || !bytes.Equal(clean, b) {
			t.Fatalf("%q is our own, and the check says %v and gives %q", b, err, clean)
		}
		want := new(Request)
		if err := readRequest(clean, false, want); err != nil {
			t.Fatalf("%q is our own, and the parser says %v", b, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%q was read as\n%#v, by the parser as\n%#v", b, got, want)
		}
	})
}

// ours are items as AppendJSON writes them.
var ours = []string{
	`{"type":"message","role":"user","content":[{"type":"input_text","text":"a\n\"b\""},{"type":"input_text","text":""}]}`,
	`{"type":"message","id":"m","status":"completed","role":"assistant","phase":"commentary","content":[{"type":"output_text","text":"x","annotations":[]},{"type":"refusal","refusal":"no"}]}`,
	`{"type":"function_call","id":"f","call_id":"c","name":"n","arguments":"{\"a\":1}","status":"completed"}`,
	`{"type":"function_call_output","call_id":"c","output":"42"}`,
	`{"type":"reasoning","summary":[{"type":"summary_text","text":"s"}],"content":[],"encrypted_content":"sp1.a.b.AA"}`,
	`{"type":"message","role":"user","content":[{"type":"input_image","image_url":"data:,"}]}`,
}

// Items as we write them keep their JSON and that of their parts, and are read
// without the parser unless they are rare.
func TestOwnItemsKeepTheirJSON(t *testing.T) {
	t.Parallel()
	body := []byte(`{"model":"m","input":[` + strings.Join(ours, ",") + `]}`)
	r, err := ReadRequest(body)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range ours {
		if got := string(r.Input[i].Raw); got != want {
			t.Errorf("item %d keeps %s, want %s", i, got, want)
		}
		in := own{scanner: scanner{b: []byte(want)}, strict: true, raws: true}
		if in.item(new(Item)); in.other != strings.Contains(want, "input_image") {
			t.Errorf("%s: left to the parser is %v", want, in.other)
		}
	}
	if got, want := string(r.Input[0].Content[0].Raw), `{"type":"input_text","text":"a\n\"b\""}`; got != want {
		t.Errorf("a part keeps %s, want %s", got, want)
	}
	if got := r.AppendJSON(nil); string(got) != string(body) {
		t.Errorf("%s was written as %s", body, got)
	}
	clear(body)
	if r.Model != "m" || r.Input[3].Output.Text != "42" || string(r.Input[3].Raw) != ours[3] {
		t.Error("what was read shares the memory of the body")
	}
}

// FuzzOwnEvent holds the two readers together.
func FuzzOwnEvent(f *testing.F) {
	for _, e := range turn() {
		f.Add(e.AppendJSON(nil))
	}
	f.Add([]byte(`{"type":"response.output_text.delta","output_index":0,"content_index":0,"delta":"\n\"\\\/\b\u0041"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := own{scanner: scanner{b: b}}
		var got Event
		if !r.event(&got) {
			return
		}
		want, err := parseEvent(b)
		if err != nil {
			t.Fatalf("%q is our own, and the parser says %v", b, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%q was read as\n%#v, by the parser as\n%#v", b, got, want)
		}
	})
}

// BenchmarkReadRequest reads the request of a short turn, as our processes write it.
func BenchmarkReadRequest(b *testing.B) {
	body := []byte(`{"model":"m","input":[{"type":"message","role":"user","content":[{"type":"input_text","text":"` + strings.Repeat("word ", 10) +
		`"}]}],"max_output_tokens":1000,"safety_identifier":"user_0123456789abcdef0123456789abcdef","prompt_cache_key":"s-1"}`)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ReadRequest(body); err != nil {
			b.Fatal(err)
		}
	}
}
