package usage

import (
	"encoding/json"
	"net/http"
	"strings"
)

// codingTools is how the coding tools call themselves. The text that comes
// first in a user agent decides: a model's name may follow in it, and ucode
// puts itself before the tool that it runs.
var codingTools = []struct{ text, tool string }{
	{"claude", "claude-code"},
	{"codex", "codex"},
	{"gemini", "gemini-cli"},
	{"cloudcodevscode", "gemini-cli"},
	{"opencode", "opencode"},
	{"copilot", "copilot-cli"},
	{"qwen", "qwen-code"},
	{"cursor", "cursor"},
}

// codingTool says which coding tool sent a request, and its version; "" when
// none did. The route counts last, because any tool can use any route.
func codingTool(h http.Header, userAgent, path string) (tool, version string) {
	ua := strings.ToLower(userAgent)
	at := len(ua)
	for _, t := range codingTools {
		if i := strings.Index(ua[:at], t.text); i >= 0 {
			at, tool = i, t.tool
		}
	}
	switch {
	case tool != "":
		return tool, versionAt(ua[at:])
	case strings.HasPrefix(ua, "ucode/"): // ucode/1.2 pi/0.3
		if _, rest, ok := strings.Cut(ua, " "); ok {
			name, _, _ := strings.Cut(rest, "/")
			if isToken(name) {
				return clean(name, 64), versionAt(rest)
			}
		}
		return "ucode", versionAt(ua)
	case h.Get("X-Claude-Code-Session-Id") != "":
		return "claude-code", ""
	case strings.HasPrefix(strings.ToLower(h.Get("Originator")), "codex"):
		return "codex", ""
	case h.Get("X-Initiator") != "" && (strings.HasPrefix(ua, "openai/js") || strings.HasPrefix(ua, "anthropic/js")):
		return "copilot-cli", "" // the version is that of the client library
	case strings.HasPrefix(strings.TrimPrefix(path, "/ai-gateway"), "/cursor/"):
		return "cursor", "" // its servers make the call, under any user agent
	case strings.EqualFold(h.Get("X-Databricks-Use-Coding-Agent-Mode"), "true"):
		// Some coding tool, by its own word; its product names it best.
		name, _, _ := strings.Cut(ua, "/")
		if isToken(name) {
			return clean(name, 64), versionAt(ua)
		}
		return "unknown", ""
	}
	return "", ""
}

// versionAt is what follows the first slash of the product at the beginning of
// ua, such as 2.1.197 of "claude-cli/2.1.197 (external, cli)".
func versionAt(ua string) string {
	product := ua
	if i := strings.IndexAny(product, " ;()"); i >= 0 {
		product = product[:i]
	}
	_, v, _ := strings.Cut(product, "/")
	v, _, _ = strings.Cut(v, "/") // GeminiCLI/0.29.0/model
	if !isToken(v) {
		return ""
	}
	return clean(v, 64)
}

// isToken reports whether s is a name or a version.
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !(c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || strings.IndexByte("._-+", c) >= 0) {
			return false
		}
	}
	return s != ""
}

// sessionHeaders is where each coding tool says which session a request is of.
// Gemini CLI does not say it, and others say it in the body.
var sessionHeaders = map[string][]string{
	"claude-code": {"X-Claude-Code-Session-Id"},
	"codex":       {"Session-Id", "Session_id"}, // with an underscore before 0.132
	"opencode":    {"X-Session-Id", "X-Session-Affinity"},
}

// anySession is tried for all other clients.
var anySession = []string{"X-Session-Id", "Session-Id", "X-Claude-Code-Session-Id"}

func session(h http.Header, tool string) string {
	names, ok := sessionHeaders[tool]
	if !ok {
		names = anySession
	}
	for _, name := range names {
		if v := h[name]; len(v) > 0 && v[0] != "" {
			return clean(v[0], maxName)
		}
	}
	return ""
}

// mode says how a coding tool is used; "" when it does not say.
func mode(h http.Header, tool, userAgent string) string {
	ua := strings.ToLower(userAgent)
	switch tool {
	case "claude-code":
		switch {
		case strings.Contains(ua, ", sdk-"):
			return Headless
		case strings.Contains(ua, ", cli)"):
			return Interactive
		}
	case "codex":
		for _, s := range []string{ua, strings.ToLower(h.Get("Originator"))} {
			switch {
			case strings.Contains(s, "codex_exec"):
				return Headless
			case strings.Contains(s, "codex-tui"), strings.Contains(s, "codex_cli"), strings.Contains(s, "codex_vscode"):
				return Interactive
			}
		}
	}
	return ""
}

// maxTurnMetadata is the longest header that is read for the turn, in bytes.
const maxTurnMetadata = 16 << 10

// turn is the id of the turn, which only Codex says.
func turn(h http.Header) string {
	text := h.Get("X-Codex-Turn-Metadata")
	if text == "" || len(text) > maxTurnMetadata {
		return ""
	}
	var metadata struct {
		Turn string `json:"turn_id"`
	}
	if json.Unmarshal([]byte(text), &metadata) != nil {
		return ""
	}
	return clean(metadata.Turn, maxName)
}
