package client

import (
	"reflect"
	"strings"
	"testing"
)

func TestApply(t *testing.T) {
	t.Parallel()
	env := func(name, value string) Edit { return Edit{Path: []string{"env", name}, Value: value} }
	tests := []struct {
		name, format string
		before       string
		edits        []Edit
		after        string
	}{
		{"a new file", "json", "", []Edit{env("A", "1"), env("B", "2"), {Path: []string{"c"}, Value: true}},
			"{\n  \"env\": {\n    \"A\": \"1\",\n    \"B\": \"2\"\n  },\n  \"c\": true\n}\n"},
		{"an empty object", "json", "{}\n", []Edit{env("A", "1")}, "{\n  \"env\": {\n    \"A\": \"1\"\n  }\n}\n"},
		{"comments, order and indentation stay", "json",
			"{\n\t// first\n\t\"z\": 1, /* one */\n\t\"env\": {\n\t\t\"OLD\": \"x\" // mine\n\t} // last\n}",
			[]Edit{env("A", "1"), {Path: []string{"b"}, Value: "é<&>"}},
			"{\n\t// first\n\t\"z\": 1, /* one */\n\t\"env\": {\n\t\t\"OLD\": \"x\", // mine\n\t\t\"A\": \"1\"\n\t}, // last\n\t\"b\": \"é<&>\"\n}"},
		{"a comma at the end stays", "json", "{\n  \"a\": 1,\n}\n", []Edit{{Path: []string{"b"}, Value: "2"}}, "{\n  \"a\": 1,\n  \"b\": \"2\",\n}\n"},
		{"on one line", "json", `{"a": 1}`, []Edit{{Path: []string{"b"}, Value: "2"}}, `{"a": 1, "b": "2"}`},
		{"line breaks of Windows, byte order mark", "json", "\xef\xbb\xbf{\r\n  \"a\": 1\r\n}\r\n", []Edit{{Path: []string{"b"}, Value: "2"}}, "\xef\xbb\xbf{\r\n  \"a\": 1,\r\n  \"b\": \"2\"\r\n}\r\n"},
		{"the last of two keys counts", "json", `{"a": 1, "a": 2}`, []Edit{{Path: []string{"a"}, Value: "x"}}, `{"a": 1, "a": "x"}`},
		{"what is there already", "json", `{"a":  "x"}`, []Edit{{Path: []string{"a"}, Value: "x"}}, `{"a":  "x"}`},
		{"a value that stays", "json", `{"a": true}`, []Edit{{Path: []string{"a"}, Value: false, IfNone: true}}, `{"a": true}`},
		{"a member goes", "json", "{\n  \"a\": 1,\n  // about b\n  \"b\": 2\n}", []Edit{{Path: []string{"b"}}}, "{\n  \"a\": 1\n  // about b\n}"},
		{"the first member goes", "json", "{\"a\": 1, \"b\": 2}", []Edit{{Path: []string{"a"}}, {Path: []string{"gone"}}}, "{ \"b\": 2}"},
		{"a list", "json", "{}", []Edit{{Path: []string{"l"}, Value: []string{"x", "y z"}}}, "{\n  \"l\": [\"x\",\"y z\"]\n}"},

		{"a new file", "toml", "", []Edit{{Path: []string{"model"}, Value: "m"}, {Path: []string{"p", "q", "name"}, Value: "n"}, {Path: []string{"p", "q", "url"}, Value: "u"}},
			"model = \"m\"\n\n[p.q]\nname = \"n\"\nurl = \"u\"\n"},
		{"keys go before the first table and its comment", "toml", "# about t\n[t]\nx = 1 # one\n", []Edit{{Path: []string{"model"}, Value: "m"}}, "model = \"m\"\n\n# about t\n[t]\nx = 1 # one\n"},
		{"behind the last key of the top", "toml", "a = [\n  1, # one\n]\n\n[t]\nx = 1\n", []Edit{{Path: []string{"model"}, Value: "m"}}, "a = [\n  1, # one\n]\nmodel = \"m\"\n\n[t]\nx = 1\n"},
		{"a value in place", "toml", "model = 'old'  # mine\nb = 2", []Edit{{Path: []string{"model"}, Value: "m"}}, "model = \"m\"  # mine\nb = 2"},
		{"a table that is there", "toml", "[p.\"q\"] # q\nx = \"\"\"\n[p.q]\ny = 1\n\"\"\"\n\n[z]\ny = 2\n", []Edit{{Path: []string{"p", "q", "y"}, Value: "v"}}, "[p.\"q\"] # q\nx = \"\"\"\n[p.q]\ny = 1\n\"\"\"\ny = \"v\"\n\n[z]\ny = 2\n"},
		{"no line break at the end", "toml", "[t]\nx = 1", []Edit{{Path: []string{"t", "y"}, Value: "v"}, {Path: []string{"u", "z"}, Value: "w"}}, "[t]\nx = 1\ny = \"v\"\n\n[u]\nz = \"w\"\n"},
		{"a dotted key", "toml", "p.q.name = 'x'\n", []Edit{{Path: []string{"p", "q", "name"}, Value: "n"}}, "p.q.name = \"n\"\n"},
		{"a key goes", "toml", "profile = \"x\" # why\nmodel = \"m\"\n", []Edit{{Path: []string{"profile"}}}, "model = \"m\"\n"},
		{"a list", "toml", "", []Edit{{Path: []string{"a", "args"}, Value: []string{"x", "C:\\y"}}}, "[a]\nargs = [\"x\", \"C:\\\\y\"]\n"},

		{"a new file", "env", "", []Edit{{Path: []string{"A"}, Value: "1"}}, "A=1\n"},
		{"comments and quotes", "env", "# mine\nexport A=\"old\"\nB = x # y", []Edit{{Path: []string{"A"}, Value: "1"}, {Path: []string{"C"}, Value: "3"}}, "# mine\nexport A=1\nB = x # y\nC=3\n"},
		{"the last of two lines counts", "env", "A=1\nA=2\n", []Edit{{Path: []string{"A"}, Value: "3"}}, "A=1\nA=3\n"},
		{"a line goes", "env", "A=1\r\nB=2\r\n", []Edit{{Path: []string{"A"}}, {Path: []string{"C"}, Value: "3"}}, "B=2\r\nC=3\r\n"},
		{"a commented line is none", "env", "#A=1\n", []Edit{{Path: []string{"A"}, Value: "2"}}, "#A=1\nA=2\n"},
	}
	for _, tt := range tests {
		t.Run(tt.format+", "+tt.name, func(t *testing.T) {
			t.Parallel()
			f := formats[tt.format]
			after, changes, err := apply(f, []byte(tt.before), tt.edits)
			if err != nil {
				t.Fatal(err)
			}
			if string(after) != tt.after {
				t.Errorf("got\n%q, want\n%q", after, tt.after)
			}
			back, _, err := takeOut(f, after, changes, false)
			if err != nil {
				t.Fatalf("take out: %v", err)
			}
			was, _ := f.decode([]byte(tt.before))
			if is, err := f.decode(back); err != nil || !reflect.DeepEqual(is, was) {
				t.Errorf("taken out it is\n%s\n(%v), want the meaning of\n%s", back, err, tt.before)
			}
		})
	}
}

func TestApplyRefuses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		format, text string
		edit         Edit
		want         string
	}{
		{"json", "{\"a\": ", Edit{Path: []string{"b"}, Value: "x"}, "it is no JSON"},
		{"json", "[1]", Edit{Path: []string{"b"}, Value: "x"}, "it holds no JSON object"},
		{"json", `{"env": "x"}`, Edit{Path: []string{"env", "A"}, Value: "x"}, `"env" is no object`},
		{"toml", "a = ", Edit{Path: []string{"b"}, Value: "x"}, "it is no TOML"},
		{"toml", "p = {q = {name = 'x'}}\n", Edit{Path: []string{"p", "q", "name"}, Value: "n"}, "in a form"},
		{"toml", "p = {q = {name = 'x'}}\n", Edit{Path: []string{"p", "r", "name"}, Value: "n"}, "in a form"},
		{"toml", "[[p]]\nx = 1\n", Edit{Path: []string{"p", "q"}, Value: "n"}, "in a form"},
	} {
		if _, _, err := apply(formats[tt.format], []byte(tt.text), []Edit{tt.edit}); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s %q: got %v, want %q", tt.format, tt.text, err, tt.want)
		}
	}
}

// What somebody else wrote since stays, and what they wrote over is not taken
// for ours.
func TestTakeOut(t *testing.T) {
	t.Parallel()
	f := formats["json"]
	before := "{\n  // mine\n  \"model\": \"old\"\n}\n"
	after, changes, err := apply(f, []byte(before), []Edit{{Path: []string{"model"}, Value: "new"}, {Path: []string{"env", "A"}, Value: "1"}})
	if err != nil {
		t.Fatal(err)
	}
	edited := strings.Replace(string(after), "}\n}", "},\n  \"theme\": \"dark\" // since\n}", 1)
	back, _, err := takeOut(f, []byte(edited), changes, false)
	if want := "{\n  // mine\n  \"model\": \"old\",\n  \"theme\": \"dark\" // since\n}\n"; err != nil || string(back) != want {
		t.Errorf("got %q (%v), want %q", back, err, want)
	}
	beside := strings.Replace(string(after), `"A": "1"`, `"A": "1", "B": "2"`, 1)
	back, _, err = takeOut(f, []byte(beside), changes, false)
	if err != nil || strings.Contains(string(back), `"A"`) || !strings.Contains(string(back), `"B": "2"`) {
		t.Errorf("got %q (%v), want B and not A", back, err)
	}
	for _, tt := range []struct{ old, now, left, over, kept string }{
		{`"new"`, `"newer"`, `{"model":"newer"}`, `{"model":"old"}`, "model"},
		{`"A": "1"`, `"A": "2"`, `{"env":{"A":"2"},"model":"old"}`, `{"model":"old"}`, "env.A"},
		{`"A": "1"`, ``, `{"model":"old"}`, `{"model":"old"}`, ""},   // gone already
		{`"new"`, `"old"`, `{"model":"old"}`, `{"model":"old"}`, ""}, // as it was
	} {
		text := []byte(strings.Replace(string(after), tt.old, tt.now, 1))
		for over, want := range map[bool]string{false: tt.left, true: tt.over} {
			back, kept, err := takeOut(f, text, changes, over)
			if err != nil {
				t.Errorf("%s: %v", text, err)
				continue
			}
			m, err := f.decode(back)
			if got := f.literal(m); err != nil || got != want || !over && strings.Join(kept, " ") != tt.kept || over && kept != nil {
				t.Errorf("%s, over %v: got %s and kept %q (%v), want %s and %q", text, over, got, kept, err, want, tt.kept)
			}
		}
	}
}

// fuzzEdits holds that edits do what they say, disturb nothing else, and can
// be taken out.
func fuzzEdits(f *testing.F, name string) {
	form := formats[name]
	edits := []Edit{{Path: []string{"model"}, Value: "m"}, {Path: []string{"p", "q", "r"}, Value: "v"}, {Path: []string{"gone"}}}
	if name == "env" {
		edits = []Edit{{Path: []string{"MODEL"}, Value: "m"}, {Path: []string{"P"}, Value: "v"}, {Path: []string{"GONE"}}}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		was, err := form.decode(text)
		if err != nil {
			return
		}
		after, changes, err := apply(form, text, edits)
		if err != nil {
			return // it says that it cannot
		}
		want := was
		for _, e := range edits {
			want = with(want, e.Path, e.Value)
		}
		if is, err := form.decode(after); err != nil || !reflect.DeepEqual(is, want) {
			t.Fatalf("%q became %q (%v)", text, after, err)
		}
		back, _, err := takeOut(form, after, changes, false)
		if err != nil {
			t.Fatalf("%q became %q: %v", text, after, err)
		}
		if is, err := form.decode(back); err != nil || !reflect.DeepEqual(is, was) {
			t.Fatalf("%q became %q and then %q (%v)", text, after, back, err)
		}
	})
}

func FuzzJSON(f *testing.F) {
	for _, s := range []string{"", "{}", `{"a":1,/*c*/"p":{"x":[1,2,],},}`, "{\n \"p\": {\"q\": {}}, // c\n \"gone\": null\n}", "// c\n{}\n// d", "\xef\xbb\xbf{\r\n}"} {
		f.Add([]byte(s))
	}
	fuzzEdits(f, "json")
}

func FuzzTOML(f *testing.F) {
	for _, s := range []string{"", "a = 1", "gone = 1\n[p]\nx = '''\n[p.q]'''\n", "p.q.s = 1\n", "[p.q]\n[z]\n", "[[a]]\nx=1\n[[a]]\n", "[a.b]\n\n# c\n[p]\r\nq = {r = 1}\r\n"} {
		f.Add([]byte(s))
	}
	fuzzEdits(f, "toml")
}

func FuzzEnv(f *testing.F) {
	for _, s := range []string{"", "A=1", "export MODEL='x'\nGONE = 1\r\n# P=2\n", "P\nMODEL=\"a\nb\"\n"} {
		f.Add([]byte(s))
	}
	fuzzEdits(f, "env")
}
