package client

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// entryOf is a file or directory as an Undo has to leave it.
type entryOf struct {
	mode fs.FileMode
	text string
}

// tree is everything below dir.
func tree(t *testing.T, dir string) map[string]entryOf {
	t.Helper()
	out := map[string]entryOf{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		e := entryOf{mode: info.Mode()}
		switch {
		case info.Mode().IsRegular():
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			e.text = string(b)
		case info.Mode()&fs.ModeSymlink != 0:
			e.text, err = os.Readlink(path)
		}
		rel, _ := filepath.Rel(dir, path)
		out[rel] = e
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func sameTree(t *testing.T, got, want map[string]entryOf) {
	t.Helper()
	for path, e := range want {
		if got[path] != e {
			t.Errorf("%s is %v, want %v", path, got[path], e)
		}
	}
	for path := range got {
		if _, ok := want[path]; !ok {
			t.Errorf("%s was left behind", path)
		}
	}
}

// files of a user who has configured everything before, in their own way.
var existing = map[string]string{
	".claude/settings.json":           "{\n    \"permissions\": {\"allow\": [\"Bash\"]},\n    \"env\": {\n        \"ANTHROPIC_AUTH_TOKEN\": \"sk-old\",\n        \"FOO\": \"bar\"\n    }\n}\n",
	".codex/config.toml":              "# mine\nprofile = \"work\"\nmodel = 'o3' # the best\n\n[profiles.work]\nmodel_provider = \"corp\"\n\n[model_providers.corp]\nname = \"Corp\"\nbase_url = \"https://corp\"\n",
	".gemini/settings.json":           "{ /* all */ \"theme\": \"x\", \"security\": {\"auth\": {\"selectedType\": \"oauth-personal\"}} }",
	".gemini/.env":                    "# keys\nexport GEMINI_API_KEY='old' \nOTHER=1",
	".config/opencode/opencode.jsonc": "{\n\t\"$schema\": \"https://opencode.ai/config.json\", // c\n\t\"provider\": {\"corp\": {\"npm\": \"x\"}},\n\t\"model\": \"corp/y\",\n}\n",
	".qwen/settings.json":             "{\"$version\": 4}\n",
	".profile":                        "umask 022\n",
}

func place(t *testing.T, with map[string]string) Place {
	t.Helper()
	home := t.TempDir()
	for path, text := range with {
		file := filepath.Join(home, path)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	dir := filepath.Join(home, "work")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return Place{Home: home, Dir: dir, OS: "linux", Getenv: func(string) string { return "" }, Program: "/opt/bin/sallyport"}
}

const canary = "dapi-canary-token-2718"

func gateway(model string) Gateway {
	return Gateway{URL: "http://127.0.0.1:8080", Model: model, Token: Token{Text: canary}}
}

// set runs a setup, and checks what a preview of it says first.
func set(t *testing.T, s Setup) Plan {
	t.Helper()
	plan, err := s.Plan()
	if err != nil {
		t.Fatalf("%s: %v", s.Agent.Name, err)
	}
	before := tree(t, s.Place.Home)
	var b bytes.Buffer
	if err := s.Preview(&b, plan); err != nil {
		t.Fatalf("%s: %v", s.Agent.Name, err)
	}
	sameTree(t, tree(t, s.Place.Home), before)
	if strings.Contains(b.String(), canary) {
		t.Errorf("%s: the preview shows the token:\n%s", s.Agent.Name, &b)
	}
	if err := s.Apply(plan); err != nil {
		t.Fatalf("%s: %v", s.Agent.Name, err)
	}
	after := tree(t, s.Place.Home)
	for _, f := range plan.Files {
		real, err := filepath.EvalSymlinks(f.Path)
		if err != nil {
			t.Fatal(err)
		}
		rel, _ := filepath.Rel(s.Place.Home, real)
		if told := strings.Contains(b.String(), "+++ "+f.Path+"\n"); told != (after[rel].text != before[rel].text) {
			t.Errorf("%s: whether %s changes: the preview says %v:\n%s", s.Agent.Name, f.Path, told, &b)
		}
	}
	return plan
}

func undo(t *testing.T, s Setup) []Undone {
	t.Helper()
	done, err := Undo(s.Place, s.Agent, s.Project, false)
	if err != nil {
		t.Fatalf("%s: %v", s.Agent.Name, err)
	}
	return done
}

// A home directory is byte for byte what it was after an undo: with files in
// it and without, after one setup and after several, in any order.
func TestUndo(t *testing.T) {
	t.Parallel()
	for name, with := range map[string]map[string]string{"full": existing, "empty": nil} {
		for _, project := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				p := place(t, with)
				before := tree(t, p.Home)
				var done []Setup
				for _, a := range Agents() {
					s := Setup{Agent: a, Gateway: gateway("databricks-model-1"), Place: p, Project: project}
					if _, err := s.Plan(); err != nil && project {
						continue // it has none
					}
					plan := set(t, s)
					if len(plan.Files) == 0 {
						if len(plan.Notes) < 3 {
							t.Errorf("%s: neither files nor instructions: %v", a.Name, plan.Notes)
						}
						if _, err := Undo(p, a, project, false); !errors.Is(err, ErrNotSetUp) {
							t.Errorf("%s: undo gives %v, want ErrNotSetUp", a.Name, err)
						}
						continue
					}
					s.Gateway = gateway("databricks-model-2")
					set(t, s) // a second one, over the first
					done = append(done, s)
					if name == "empty" || project { // alone, it leaves nothing
						undo(t, s)
						if len(done) == 1 {
							sameTree(t, tree(t, p.Home), before)
						}
						set(t, s)
					}
				}
				if len(done) < 4-1 {
					t.Fatalf("only %d clients were set up", len(done))
				}
				for i := range done { // the first one first: its directories are in use by the others
					undo(t, done[i])
				}
				sameTree(t, tree(t, p.Home), before)
			})
		}
	}
}

// Only one file that nobody else may read holds the token, or those of clients
// that take it from nowhere else; none of a project does.
func TestTokenIsKept(t *testing.T) {
	t.Parallel()
	for _, a := range Agents() {
		for _, project := range []bool{false, true} {
			p := place(t, existing)
			s := Setup{Agent: a, Gateway: gateway("m"), Place: p, Project: project}
			if _, err := s.Plan(); err != nil {
				continue
			}
			set(t, s)
			holders := 0
			for path, e := range tree(t, p.Home) {
				if strings.Contains(e.text, canary) {
					holders++
					if e.mode.Perm()&0o077 != 0 {
						t.Errorf("%s: %s holds the token and has the mode %v", a.Name, path, e.mode)
					}
				}
			}
			want := map[string]int{"claude": 1, "copilot": 1, "gemini": 1, "opencode": 1, "qwen": 1}[a.Name]
			if project {
				want = 0
			}
			if a.Name != "codex" && holders != want { // of Codex it depends on the version
				t.Errorf("%s, project %v: %d files hold the token, want %d", a.Name, project, holders, want)
			}
		}
	}
}

// What the user changed since a setup stays at an undo, and the next setup
// writes over its own settings.
func TestUndoAfterChanges(t *testing.T) {
	t.Parallel()
	claude, _ := Named("claude")
	p := place(t, existing)
	file := filepath.Join(p.Home, ".claude/settings.json")
	s := Setup{Agent: claude, Gateway: gateway("m"), Place: p}
	set(t, s)
	written, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	mine := strings.Replace(string(written), `"m"`, `"mine"`, 1)
	if err := os.WriteFile(file, []byte(mine), 0o640); err != nil {
		t.Fatal(err)
	}
	done := undo(t, s)
	want := strings.Replace(existing[".claude/settings.json"], `"FOO": "bar"`, `"FOO": "bar", "ANTHROPIC_MODEL": "mine"`, 1)
	sameMeaning(t, file, want)
	if i := slices.IndexFunc(done, func(u Undone) bool { return u.Path == file }); i < 0 || !done[i].Merged || !slices.Equal(done[i].Kept, []string{"env.ANTHROPIC_MODEL"}) {
		t.Errorf("got %+v, want that it is told what was kept", done)
	}

	// A setup writes over it, and what it can be taken back to is what was there
	// before the first one.
	p = place(t, existing)
	s.Place, file = p, filepath.Join(p.Home, ".claude/settings.json")
	before := tree(t, p.Home)
	set(t, s)
	if written, err = os.ReadFile(file); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		mine = strings.Replace(string(written), `"m"`, `"mine"`, 1)
		if err := os.WriteFile(file, []byte(mine), 0o640); err != nil {
			t.Fatal(err)
		}
		set(t, s)
		if now, err := os.ReadFile(file); err != nil || string(now) != string(written) {
			t.Errorf("after another setup (%v):\n%s\nwant\n%s", err, now, written)
		}
	}
	undo(t, s)
	sameTree(t, tree(t, p.Home), before)

	set(t, s)
	added := strings.Replace(string(written), "{\n", "{\n    \"theme\": \"dark\", // since\n", 1)
	if err := os.WriteFile(file, []byte(added), 0o640); err != nil {
		t.Fatal(err)
	}
	done = undo(t, s)
	if i := len(done) - 1; !done[0].Merged && !done[i].Merged {
		t.Errorf("got %+v, want that it is told", done)
	}
	sameMeaning(t, file, strings.Replace(existing[".claude/settings.json"], "{\n", "{\n    \"theme\": \"dark\",\n", 1))
	if got, _ := os.ReadFile(file); !strings.Contains(string(got), "// since") {
		t.Errorf("a comment is gone:\n%s", got)
	}
}

func sameMeaning(t *testing.T, file, want string) {
	t.Helper()
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	is, err := jsonc{}.decode(got)
	if err != nil {
		t.Fatal(err)
	}
	was, err := jsonc{}.decode([]byte(want))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(is, was) {
		t.Errorf("got\n%s\nwant the meaning of\n%s", got, want)
	}
}

// Codex does not start with a table for a provider that is not whole: an undo
// that would leave one changes nothing and names the key.
func TestUndoLeavesNoTorso(t *testing.T) {
	t.Parallel()
	codex, _ := Named("codex")
	for _, edit := range []string{"query_params = {a = \"b\"}", "base_url = \"https://else\""} {
		p := place(t, existing)
		first := tree(t, p.Home)
		s := Setup{Agent: codex, Gateway: gateway("m"), Place: p}
		set(t, s)
		file := filepath.Join(p.Home, ".codex/config.toml")
		written, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name, _, _ := strings.Cut(edit, " ")
		text := strings.Replace(string(written), "wire_api = \"responses\"\n", "wire_api = \"responses\"\n"+edit+"\n", 1)
		if name == "base_url" {
			text = strings.Replace(string(written), "base_url = \"http://127.0.0.1:8080/openai/v1\"", edit, 1)
		}
		if text == string(written) {
			t.Fatal("nothing was changed")
		}
		if err := os.WriteFile(file, []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
		before := tree(t, p.Home)
		if _, err := Undo(p, codex, false, false); err == nil || !strings.Contains(err.Error(), "the table [model_providers.sallyport] holds "+name) {
			t.Errorf("got %v, want a refusal that names %s", err, name)
		}
		sameTree(t, tree(t, p.Home), before)
		if name == "base_url" {
			set(t, s)
			undo(t, s)
			sameTree(t, tree(t, p.Home), first)
		}
	}
}

// A link that leads to nothing is written through, and left as it was.
func TestDanglingLink(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("links are for administrators there")
	}
	claude, _ := Named("claude")
	for link, target := range map[string]string{".claude/settings.json": "../dotfiles/deep/claude.json", ".claude": "dotfiles/claude"} {
		p := place(t, nil)
		path := filepath.Join(p.Home, link)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(target, path); err != nil {
			t.Fatal(err)
		}
		before := tree(t, p.Home)
		s := Setup{Agent: claude, Gateway: gateway("m"), Place: p}
		set(t, s)
		if now := tree(t, p.Home); now[link] != before[link] {
			t.Errorf("the link %s was replaced", link)
		}
		if text, err := os.ReadFile(filepath.Join(p.Home, ".claude/settings.json")); err != nil || !strings.Contains(string(text), "ANTHROPIC_MODEL") {
			t.Errorf("%s: got %s (%v)", link, text, err)
		}
		undo(t, s)
		sameTree(t, tree(t, p.Home), before)
	}
}

// A file behind a link is changed where it is, and the link stays.
func TestLink(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("links are for administrators there")
	}
	p := place(t, map[string]string{"dotfiles/claude.json": "{}\n"})
	if err := os.Mkdir(filepath.Join(p.Home, ".claude"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../dotfiles/claude.json", filepath.Join(p.Home, ".claude/settings.json")); err != nil {
		t.Fatal(err)
	}
	before := tree(t, p.Home)
	claude, _ := Named("claude")
	s := Setup{Agent: claude, Gateway: gateway("m"), Place: p}
	set(t, s)
	now := tree(t, p.Home)
	if now[".claude/settings.json"] != before[".claude/settings.json"] || !strings.Contains(now["dotfiles/claude.json"].text, "ANTHROPIC_MODEL") {
		t.Error("the link was replaced")
	}
	undo(t, s)
	sameTree(t, tree(t, p.Home), before)
}

// A file that cannot be read as what it should be stops everything before
// anything is written.
func TestBrokenFile(t *testing.T) {
	t.Parallel()
	p := place(t, map[string]string{".gemini/settings.json": "{ \"a\": \n", ".gemini/.env": "A=1\n"})
	before := tree(t, p.Home)
	gemini, _ := Named("gemini")
	s := Setup{Agent: gemini, Gateway: gateway("m"), Place: p}
	plan, err := s.Plan()
	if err == nil {
		err = s.Apply(plan)
	}
	if err == nil || !strings.Contains(err.Error(), ".gemini/settings.json: it is no JSON") {
		t.Errorf("got %v, want an error that names the file", err)
	}
	sameTree(t, tree(t, p.Home), before)
}

func TestPlanRefuses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		agent string
		s     Setup
		want  string
	}{
		{"claude", Setup{Gateway: Gateway{URL: "127.0.0.1:8080", Model: "m"}}, "is no URL"},
		{"claude", Setup{Gateway: Gateway{URL: "https://x/?a=b", Model: "m"}}, "scheme, host and port"},
		{"claude", Setup{Gateway: Gateway{URL: "https://x"}}, "the model is empty"},
		{"claude", Setup{Gateway: Gateway{URL: "https://x", Model: "a\"b"}}, "holds '\"'"},
		{"claude", Setup{Gateway: Gateway{URL: "https://x", Model: "m", Token: Token{Text: "a b"}}}, "the token holds"},
		{"claude", Setup{Gateway: gateway("m"), Profile: "x"}, "has no profiles"},
		{"codex", Setup{Gateway: gateway("m"), Profile: "../x"}, "letters, digits"},
		{"codex", Setup{Gateway: gateway("m"), Project: true}, "leave out --project"},
		{"cursor", Setup{Gateway: gateway("m"), Project: true}, "leave out --project"},
		{"gemini", Setup{Gateway: Gateway{URL: "https://x", Model: "m", Token: Token{File: "/no/such/file"}}}, "/no/such/file"},
	} {
		tt.s.Agent, _ = Named(tt.agent)
		tt.s.Place = place(t, nil)
		if _, err := tt.s.Plan(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", tt.agent, err, tt.want)
		}
	}
}
