package secret

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

const canary = "canary-7f3a-do-not-print"

type holder struct {
	Key    Value            `yaml:"key" json:"key"`
	Nested map[string]Value `yaml:"nested" json:"nested"`
	List   []*Value         `yaml:"list" json:"list"`
	hidden Value
}

func TestNothingPrintsASecret(t *testing.T) {
	t.Parallel()
	v := Of(canary)
	h := holder{Key: v, Nested: map[string]Value{"a": v}, List: []*Value{&v}, hidden: v}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T", "%p"} {
		fmt.Fprintf(&out, verb+"\n", v)
		fmt.Fprintf(&out, verb+"\n", &v)
		fmt.Fprintf(&out, verb+"\n", h)
		fmt.Fprintf(&out, verb+"\n", &h)
	}
	fmt.Fprintln(&out, v, h)
	for _, handler := range []slog.Handler{slog.NewJSONHandler(&out, nil), slog.NewTextHandler(&out, nil)} {
		log := slog.New(handler)
		log.Info("m", "v", v, "pointer", &v, "struct", h, "pointer to struct", &h, slog.Group("g", "v", v))
		log.With("v", v).Error("m", "error", fmt.Errorf("key %v: %w", v, os.ErrInvalid))
	}
	for _, x := range []any{v, &v, h, &h, map[Value]int{}} {
		if b, err := json.Marshal(x); err == nil {
			out.Write(b)
		}
		if b, err := yaml.Marshal(x); err == nil {
			out.Write(b)
		}
	}
	for _, leak := range []string{canary, fmt.Sprintf("%x", canary), fmt.Sprintf("%X", canary), canary[:12]} {
		if strings.Contains(out.String(), leak) {
			t.Errorf("output holds %q:\n%s", leak, out.String())
		}
	}
	if !strings.Contains(out.String(), Mask) {
		t.Errorf("output does not hold the mask:\n%s", out.String())
	}
	if got := v.Reveal(); got != canary {
		t.Errorf("Reveal() = %q, want the text", got)
	}
}

func TestUnmarshal(t *testing.T) {
	t.Parallel()
	tests := []struct {
		in, source string
		errors     string // part of the error; "" when it is accepted
	}{
		{in: "key: {env: A_KEY}", source: "env A_KEY"},
		{in: "key:\n  env: A_KEY", source: "env A_KEY"},
		{in: "key: {file: /run/secrets/k}", source: "file /run/secrets/k"},
		{in: "key: null", source: ""},
		{in: "key: " + canary, errors: "use {env: NAME}"},
		{in: "key: [" + canary + "]", errors: "use {env: NAME}"},
		{in: "key: 12345678", errors: "use {env: NAME}"},
		{in: "key: {value: " + canary + "}", errors: "there is no other key"},
		{in: "key: {env: A, file: B}", errors: "exactly one source"},
		{in: "key: {}", errors: "exactly one source"},
		{in: "key: {env: [" + canary + "]}", errors: "plain text"},
		{in: "key: {env: \"\"}", errors: "not empty"},
		{in: "key: {env: " + canary + "}", errors: "is not a name; a secret itself must not stand here"},
		{in: "key: {env: A_KEY }", source: "env A_KEY"},
		{in: "key: {env: 5}", errors: "plain text"},
		{in: "list:\n- {env: A}\nkey: |\n  " + canary, errors: "use {env: NAME}"},
	}
	for _, tt := range tests {
		t.Run(tt.in, func(t *testing.T) {
			t.Parallel()
			var h holder
			err := yaml.UnmarshalWithOptions([]byte(tt.in), &h, yaml.Strict())
			if tt.errors == "" {
				if err != nil {
					t.Fatalf("error %v, want none", err)
				}
				if got := h.Key.Source(); got != tt.source {
					t.Errorf("Source() = %q, want %q", got, tt.source)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.errors) {
				t.Fatalf("error %v, want one with %q", err, tt.errors)
			}
			if pretty := yaml.FormatError(err, false, true); strings.Contains(err.Error(), canary) || strings.Contains(pretty, canary) {
				t.Errorf("the error quotes what was written: %v\n%s", err, pretty)
			}
			if !strings.Contains(err.Error(), "line ") {
				t.Errorf("error %v names no line", err)
			}
		})
	}
}

func TestResolve(t *testing.T) {
	t.Setenv("SECRET_TEST_SET", canary+"\n")
	t.Setenv("SECRET_TEST_EMPTY", "")
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("good", canary+"\n", 0o600)
	write("windows", canary+"\r\n", 0o600)
	write("two", canary+"\n\n", 0o600)
	write("open", canary, 0o644)
	write("empty", "\n", 0o600)
	write("huge", strings.Repeat("x", MaxFile+1), 0o600)
	tests := []struct {
		name    string
		v       Value
		want    string
		errors  string
		warning string
	}{
		{name: "zero"},
		{name: "variable", v: Env("SECRET_TEST_SET"), want: canary},
		{name: "variable not set", v: Env("SECRET_TEST_UNSET"), errors: "SECRET_TEST_UNSET is not set"},
		{name: "variable empty", v: Env("SECRET_TEST_EMPTY"), errors: "SECRET_TEST_EMPTY is empty"},
		{name: "relative file", v: File("good"), want: canary},
		{name: "absolute file", v: File(filepath.Join(dir, "good")), want: canary},
		{name: "one newline is cut", v: File("two"), want: canary + "\n"},
		{name: "carriage return", v: File("windows"), want: canary},
		{name: "readable by others", v: File("open"), want: canary, warning: "chmod 600"},
		{name: "empty file", v: File("empty"), errors: "is empty"},
		{name: "huge file", v: File("huge"), errors: "larger than"},
		{name: "no file", v: File("absent"), errors: "absent"},
		{name: "directory", v: File("."), errors: "is a directory"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			copied := tt.v
			err := tt.v.ResolveIn(dir)
			if tt.errors != "" {
				if err == nil || !strings.Contains(err.Error(), tt.errors) {
					t.Fatalf("ResolveIn error %v, want one with %q", err, tt.errors)
				}
				return
			}
			if err != nil {
				t.Fatalf("ResolveIn error %v, want none", err)
			}
			if got := copied.Reveal(); got != tt.want {
				t.Errorf("Reveal() of a copy = %q, want %q", got, tt.want)
			}
			if got := tt.v.Warning(); (tt.warning == "") != (got == "") || !strings.Contains(got, tt.warning) {
				t.Errorf("Warning() = %q, want %q", got, tt.warning)
			}
		})
	}
}

func TestResolveAllNamesThePathAndFindsEverything(t *testing.T) {
	t.Parallel()
	bad := File("absent-in-list")
	cfg := struct {
		Providers map[string]holder `yaml:"providers"`
		Any       any
	}{Providers: map[string]holder{"openai": {
		Key: File("absent-key"), Nested: map[string]Value{"n": File("absent-nested")}, List: []*Value{nil, &bad},
	}}}
	err := ResolveAll(t.TempDir(), &cfg)
	if err == nil {
		t.Fatal("ResolveAll found no error, want three")
	}
	for _, want := range []string{"providers.openai.key: ", "providers.openai.nested.n: ", "providers.openai.list[1]: ", "absent-key", "absent-nested", "absent-in-list"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error lacks %q:\n%v", want, err)
		}
	}
	var n int
	Each(&cfg, func(string, Value) { n++ })
	if n != 3 {
		t.Errorf("Each found %d values, want 3", n)
	}
}

func TestEqual(t *testing.T) {
	t.Parallel()
	tests := []struct {
		v    Value
		text string
		want bool
	}{
		{Of("a"), "a", true},
		{Of("a"), "b", false},
		{Of("a"), "", false},
		{Value{}, "", false},
		{Env("SECRET_TEST_NEVER_SET"), "", false},
	}
	for _, tt := range tests {
		if got := tt.v.Equal(tt.text); got != tt.want {
			t.Errorf("Equal(%q) = %v, want %v", tt.text, got, tt.want)
		}
	}
}

// Who writes a secret where its place belongs does not find it in the log.
func TestMisplacedSecretsAreNotRepeated(t *testing.T) {
	t.Parallel()
	for _, v := range []Value{
		Env("sk-proj-abc"), Env("ghp_16C7e42F292c6912E7"), Env("pass word"), File("sk-proj-abc"), File("ghp_16C7e42F292c6912E7"),
	} {
		name := strings.Fields(v.Source())[1]
		v.Anchor(t.TempDir())
		err := v.Resolve()
		if err == nil || strings.Contains(err.Error(), name) {
			t.Errorf("the error repeats %q: %v", name, err)
		}
		if b, err := yaml.Marshal(v); err != nil || strings.Contains(string(b), name) {
			t.Errorf("the configuration that is shown repeats %q: %s, %v", name, b, err)
		}
	}
	for _, v := range []Value{Env("OPENAI_API_KEY_FOR_TEAM_2"), File("secrets/openai-key-2024-prod"), File("openai-key"), File("key-for-2024-prod.txt")} {
		_, name, _ := strings.Cut(v.Source(), " ")
		if err := v.Resolve(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("the error does not name %q: %v", name, err)
		}
	}
}

func TestRedactURLs(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"base_url: https://x:PASSWORD@host/v1":            "base_url: https://***@host/v1",
		"state: postgres://u:p@ss@db:5432/x?a=b":          "state: postgres://***@db:5432/x?a=b",
		"https://token@host":                              "https://***@host",
		"https://host/a@b, http://other:80 someone@there": "https://host/a@b, http://other:80 someone@there",
	} {
		if got := RedactURLs(in); got != want {
			t.Errorf("RedactURLs(%q) = %q, want %q", in, got, want)
		}
	}
}
