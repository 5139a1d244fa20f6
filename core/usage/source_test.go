package usage

import (
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
)

func TestCodingTool(t *testing.T) {
	t.Parallel()
	tests := []struct {
		header                              string // "Name: value" lines
		path                                string
		tool, version, mode, session, agent string
	}{
		{"User-Agent: claude-cli/2.1.197 (external, sdk-cli)\nX-Claude-Code-Session-Id: 6f1a\nX-Claude-Code-Agent-Id: a7", "", "claude-code", "2.1.197", "headless", "6f1a", "a7"},
		{"User-Agent: claude-cli/2.1.329 (external, cli)", "", "claude-code", "2.1.329", "interactive", "", ""},
		{"User-Agent: node\nX-Claude-Code-Session-Id: 6f1a", "", "claude-code", "", "", "6f1a", ""},
		{"User-Agent: ucode/1.4 claude/2.1.0", "", "claude-code", "2.1.0", "", "", ""},
		{"User-Agent: ucode/1.4 codex/0.169.0", "", "codex", "0.169.0", "", "", ""},
		{"User-Agent: ucode/1.4 pi/0.3", "", "pi", "0.3", "", "", ""},
		{"User-Agent: ucode/1.4", "", "ucode", "1.4", "", "", ""},
		{"User-Agent: codex_exec/0.169.0 (Debian 12.0.0; x86_64) dumb (codex_exec; 0.169.0)\nSession-Id: s1\nThread-Id: t1", "", "codex", "0.169.0", "headless", "s1", ""},
		{"User-Agent: codex-tui/0.132.0 (Mac OS 15)\nsession_id: s2", "", "codex", "0.132.0", "interactive", "s2", ""},
		{"User-Agent: reqwest/0.12\nOriginator: codex_vscode", "", "codex", "", "interactive", "", ""},
		{"User-Agent: GeminiCLI-tui/0.61.0/databricks-claude-opus-4-6 (linux; x64; terminal)", "", "gemini-cli", "0.61.0", "", "", ""},
		{"User-Agent: GeminiCLI/0.29.0/gemini-2.5-flash (linux; x64)", "", "gemini-cli", "0.29.0", "", "", ""},
		{"User-Agent: CloudCodeVSCode/2.20 (aidev_client)", "", "gemini-cli", "2.20", "", "", ""},
		{"User-Agent: opencode/1.18.33\nX-Session-Id: ses_1", "", "opencode", "1.18.33", "", "ses_1", ""},
		{"User-Agent: opencode/1.18.33\nX-Session-Affinity: ses_2", "", "opencode", "1.18.33", "", "ses_2", ""},
		{"User-Agent: QwenCode/0.15.10 (linux; x64)", "", "qwen-code", "0.15.10", "", "", ""},
		{"User-Agent: OpenAI/JS 5.20.1\nX-Initiator: agent", "", "copilot-cli", "", "", "", ""},
		{"User-Agent: Anthropic/JS 0.60\nX-Initiator: user", "", "copilot-cli", "", "", "", ""},
		{"User-Agent: copilot/1.0.5", "", "copilot-cli", "1.0.5", "", "", ""},
		{"User-Agent: Cursor/3.1", "", "cursor", "3.1", "", "", ""},
		{"User-Agent: aider/0.90\nX-Databricks-Use-Coding-Agent-Mode: true", "", "aider", "0.90", "", "", ""},
		{"X-Databricks-Use-Coding-Agent-Mode: TRUE", "", "unknown", "", "", "", ""},
		{"User-Agent: aider/0.90\nX-Databricks-Use-Coding-Agent-Mode: false", "", "", "", "", "", ""},
		{"User-Agent: OpenAI/JS 5.20.1", "", "", "", "", "", ""},
		{"User-Agent: OpenAI/Python 2.1\nX-Session-Id: mine", "", "", "", "", "mine", ""},
		{"User-Agent: curl/8.5.0", "", "", "", "", "", ""},
		{"", "", "", "", "", "", ""},
		{"User-Agent: claude-cli/2.1<script>", "", "claude-code", "", "", "", ""},
		{"User-Agent: claude", "", "claude-code", "", "", "", ""},
		{"User-Agent: axios/1.2", "/cursor/v1/chat/completions", "cursor", "", "", "", ""},
		{"User-Agent: axios/1.2", "/ai-gateway/cursor/v1/chat/completions", "cursor", "", "", "", ""},
		{"User-Agent: opencode/1.18.33", "/cursor/v1/chat/completions", "opencode", "1.18.33", "", "", ""},
		{"User-Agent: OpenAI/JS 5.20.1\nX-Initiator: agent", "/cursor/v1/chat/completions", "copilot-cli", "", "", "", ""},
		{"User-Agent: QwenCode/0.15.10", "/cursor/v1/models", "qwen-code", "0.15.10", "", "", ""},
		{"User-Agent: axios/1.2", "/cursory/v1/chat/completions", "", "", "", "", ""},
		{"User-Agent: curl/8.5.0\nX-Databricks-Use-Coding-Agent-Mode: true", "/anthropic/v1/messages", "curl", "8.5.0", "", "", ""},
	}
	for _, tt := range tests {
		h := http.Header{}
		for line := range strings.Lines(tt.header) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
			h.Set(name, value)
		}
		s := FromRequest(h, tt.path)
		if s.Tool != tt.tool || s.ToolVersion != tt.version || s.Mode != tt.mode || s.Session != tt.session || s.Agent != tt.agent {
			t.Errorf("%q %s: tool %q version %q mode %q session %q agent %q, want %q %q %q %q %q", tt.header, tt.path, s.Tool, s.ToolVersion, s.Mode, s.Session, s.Agent, tt.tool, tt.version, tt.mode, tt.session, tt.agent)
		}
		if s.UserAgent != h.Get("User-Agent") {
			t.Errorf("%q: user agent %q", tt.header, s.UserAgent)
		}
	}
}

func TestTurn(t *testing.T) {
	t.Parallel()
	for metadata, want := range map[string]string{
		``:                                   "",
		`{"turn_id":"t-1","sandbox":"none"}`: "t-1",
		`{"turn_id":"a\u0000b"}`:             "ab",
		`{"turn_id":7}`:                      "",
		`{"turn_id":"cut`:                    "",
		`["turn_id"]`:                        "",
		`{"turn_id":"` + strings.Repeat("t", 20_000) + `"}`: "",
		`{"turn_id":"` + strings.Repeat("t", 1000) + `"}`:   strings.Repeat("t", maxName),
	} {
		h := http.Header{"X-Codex-Turn-Metadata": {metadata}}
		if got := FromRequest(h, "").Turn; got != want {
			t.Errorf("%.40s: %q, want %q", metadata, got, want)
		}
	}
}

func TestParseTags(t *testing.T) {
	t.Parallel()
	many := func(n int) string {
		var parts []string
		for i := range n {
			parts = append(parts, fmt.Sprintf(`"k%d":"v"`, i))
		}
		return "{" + strings.Join(parts, ",") + "}"
	}
	tests := []struct {
		header string
		want   map[string]string
		err    string // in the message; "" for none
	}{
		{``, nil, ""},
		{`{}`, map[string]string{}, ""},
		{`{"team":"search","cost centre":"42"}`, map[string]string{"team": "search", "cost centre": "42"}, ""},
		{`{"team":""}`, map[string]string{"team": ""}, ""},
		{`{"t\u00e9am":"\u0007a"}`, map[string]string{"téam": "a"}, ""},
		{`team=search`, nil, `is not a JSON object of strings. Send it like this: {"team":"search"}.`},
		{`["team"]`, nil, "is not a JSON object of strings"},
		{`null`, nil, "is not a JSON object of strings"},
		{`{"team":"a"} x`, nil, "is not a JSON object of strings"},
		{`{"a":"x","n":1}`, nil, `has a value that is not a string, for the tag "n"`},
		{`{"n":null}`, nil, `not a string, for the tag "n"`},
		{`{"n":{"a":"b"}}`, nil, `not a string, for the tag "n"`},
		{`{"":"x"}`, nil, "has a tag whose name has 0 bytes"},
		{`{"` + strings.Repeat("k", 129) + `":"x"}`, nil, "has a tag whose name has 129 bytes"},
		{`{"k":"` + strings.Repeat("v", 257) + `"}`, nil, `has a value of 257 bytes, for the tag "k"`},
		{many(51), nil, "has 51 tags. Send at most 50."},
	}
	for _, tt := range tests {
		h := http.Header{}
		if tt.header != "" {
			h.Set(TagsHeader, tt.header)
		}
		got, err := ParseTags(h)
		switch {
		case tt.err == "" && (err != nil || !maps.Equal(got, tt.want) || (got == nil) != (tt.want == nil)):
			t.Errorf("%s: %v, %v, want %v", tt.header, got, err, tt.want)
		case tt.err != "":
			e := apierror.From(err)
			if err == nil || e.Code != apierror.Invalid || e.Param != TagsHeader || !strings.Contains(e.Message, tt.err) || !strings.Contains(e.Message, TagsHeader) {
				t.Errorf("%s: error %v (param %q), want one of the header with %q", tt.header, err, e.Param, tt.err)
			}
		}
		if s := FromRequest(h, ""); !maps.Equal(s.Tags, tt.want) {
			t.Errorf("%s: FromRequest has the tags %v, want %v", tt.header, s.Tags, tt.want)
		}
	}
	h := http.Header{}
	h.Set(TagsHeader, many(50))
	if got, err := ParseTags(h); err != nil || len(got) != 50 {
		t.Errorf("50 tags: %d, %v", len(got), err)
	}
}

func TestClean(t *testing.T) {
	t.Parallel()
	tests := []struct {
		in   string
		n    int
		want string
	}{
		{"plain", 10, "plain"},
		{"plain", 3, "pla"},
		{"a\nb\x00c\x7fd\u0085e", 10, "abcde"},
		{"naïve", 10, "naïve"},
		{"naïve", 3, "na"}, // ï is two bytes
		{"naïve", 4, "naï"},
		{"bad\xff\xfe", 10, "bad"},
		{"\xc3", 10, ""},
		{"日本語", 4, "日"},
		{"\U0001F600x", 3, ""},
		{"", 3, ""},
	}
	for _, tt := range tests {
		if got := clean(tt.in, tt.n); got != tt.want {
			t.Errorf("clean(%q, %d) = %q, want %q", tt.in, tt.n, got, tt.want)
		}
	}
	if got := cleanURL("/ai-gateway/gemini/v1beta/models/m:generateContent?key=SECRET"); got != "/ai-gateway/gemini/v1beta/models/m:generateContent" {
		t.Errorf("the query is still in %q", got)
	}
}

// FuzzClean: whatever comes in, what comes out is bounded text.
func FuzzClean(f *testing.F) {
	f.Add("plain", 3)
	f.Add("a\n日本\xff", 5)
	f.Fuzz(func(t *testing.T, s string, n int) {
		n = min(max(n, 0), 1000)
		got := clean(s, n)
		if len(got) > n || !utf8.ValidString(got) || strings.ContainsFunc(got, func(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 }) {
			t.Errorf("clean(%q, %d) = %q", s, n, got)
		}
		if again := clean(got, n); again != got {
			t.Errorf("clean twice: %q, then %q", got, again)
		}
	})
}

// FuzzHeader: no header makes a tool, a version or a session that is not
// bounded text.
func FuzzHeader(f *testing.F) {
	f.Add("claude-cli/2.1.197 (external)", "s", `{"a":"b"}`)
	f.Add("ucode/1 \xff/2", "\n", `{"a`)
	f.Fuzz(func(t *testing.T, ua, session, tags string) {
		s := FromRequest(http.Header{"User-Agent": {ua}, "Session-Id": {session}, TagsHeader: {tags}, "X-Databricks-Use-Coding-Agent-Mode": {"true"}, "X-Codex-Turn-Metadata": {session}}, ua)
		for _, x := range []string{s.UserAgent, s.Tool, s.ToolVersion, s.Session, s.Mode, s.Turn} {
			if len(x) > maxUserAgent || clean(x, maxUserAgent) != x {
				t.Errorf("%q of %q, %q", x, ua, session)
			}
		}
		for k, v := range s.Tags {
			if len(k) > MaxTagKey || len(v) > MaxTagValue || clean(k, MaxTagKey) != k || clean(v, MaxTagValue) != v {
				t.Errorf("tag %q: %q of %q", k, v, tags)
			}
		}
	})
}
