package gateway

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/sallyport-gateway/sallyport/"

// mayImport says which of our packages each package may import, by path below
// the module; "x/..." covers what is under x. A package that is not listed may
// not exist yet: an arrow is drawn with its first real caller.
var mayImport = map[string][]string{
	"sdk/...":                         {"sdk/..."},
	"plugins/...":                     {"sdk/..."},
	"examples/...":                    {"sdk/...", "core/gatewaytest", "examples/..."},
	"sandbox":                         {"sandbox/internal/manifest", "sandbox/internal/wire"}, // and no WebAssembly
	"sandbox/worker":                  {"sandbox/internal/..."},
	"sandbox/internal/...":            {"sandbox/internal/..."},
	"sandbox/internal/toy":            {"sandbox/guests/fetch"}, // a kit of tests, kept in the cache of guests
	"sandbox/guests/...":              {"sandbox/guests/...", "sandbox/internal/..."},
	"core/cmd/sallyport":              {"core/...", "sdk/...", "sandbox", "sandbox/worker", "examples/samples"},
	"core/cmd/sallyport-confine":      {"sdk/confine"},
	"core/gateway":                    {"core/...", "sandbox", "sdk/..."},
	"core/gatewaytest":                {"core/gateway", "core/config", "core/secret"},
	"core/gatewaytest/upstream":       {},
	"core/gatewaytest/upstream/serve": {"core/gatewaytest/upstream"},
	"core/config":                     {"core/spelling", "core/access", "core/catalog", "core/egress", "core/httpapi", "core/pluginhost", "core/ratelimit", "core/router", "core/secret", "core/tables", "core/toolset", "core/usage", "sdk/..."},
	"core/httpapi":                    {"core/supervisor/...", "core/router", "core/ratelimit", "core/spelling", "core/sqlapi", "core/usage", "core/access", "core/catalog", "core/secret", "sdk/..."},
	"core/supervisor/...":             {"core/supervisor/...", "core/router", "core/toolset", "core/usage", "core/access", "core/egress", "core/secret", "sdk/..."},
	"core/toolset":                    {"core/spelling", "core/settings", "core/router", "core/usage", "core/catalog", "core/access", "core/egress", "core/secret", "sandbox", "sdk/..."},
	"core/router":                     {"core/spelling", "core/settings", "core/usage", "core/ratelimit", "core/access", "core/egress", "core/secret", "sdk/..."},
	"core/settings":                   {"core/spelling"},
	"core/sqlapi":                     {"core/catalog", "core/access", "core/secret", "sdk/..."},
	"core/usage":                      {"core/tables", "core/ledger", "core/delta", "core/secret", "sdk/..."},
	"core/store/storetest":            {"core/store"},
	"core/usage/usagetest":            {"core/usage", "core/tables", "core/ledger", "core/delta", "core/store", "core/store/storetest", "sdk/..."},
	"core/tables":                     {"core/ledger", "core/delta", "core/store"},
	"core/backup":                     {"core/ledger", "core/delta", "core/store", "core/secret"},
	"core/catalog":                    {"core/spelling", "core/access", "core/delta", "core/secret", "sdk/..."},
	"core/access":                     {"core/spelling", "core/store", "core/secret", "sdk/..."},
	"core/pluginhost":                 {"core/pluginlock", "core/secret", "sdk/..."},
	"core/pluginlock":                 {"core/spelling", "sdk/..."},
	"core/ratelimit":                  {"core/standing", "core/spelling", "core/secret", "sdk/..."},
	"core/client":                     {"core/spelling"},
	"core/metrics":                    {},
	"core/scaffold":                   {},
	"core/store":                      {"core/secret"},
	"core/egress":                     {"core/secret", "sdk/socket"},
	"core/delta":                      {},
	"core/delta/readertest":           {},
	"core/ledger":                     {},
	"core/secret":                     {},
	"core/standing":                   {},
	"core/spelling":                   {},
}

// doors lists the dependencies that only some packages may use.
var doors = map[string][]string{
	"github.com/tetratelabs/wazero":    {"sandbox/..."},
	"mvdan.cc/sh":                      {"sandbox/guests/..."},
	"github.com/itchyny/gojq":          {"sandbox/guests/..."},
	"github.com/mark3labs/mcp-go":      {"connectors/..."},
	"github.com/hashicorp/go-plugin":   {"sdk/...", "core/pluginhost"},
	"github.com/valyala/fastjson":      {"core/router", "core/httpapi", "sdk/...", "plugins/..."},
	"github.com/dgraph-io/ristretto":   {"core/access", "core/catalog", "connectors/...", "core/toolset"},
	"github.com/prometheus":            {"core/metrics", "core/pluginhost"},
	"github.com/parquet-go/parquet-go": {"core/delta", "examples/samples"},
	"modernc.org/sqlite":               {"core/store", "plugins/tool-vector-search-index"},
	"github.com/jackc/pgx":             {"core/store"},
	"github.com/duckdb/duckdb-go":      {"plugins/engine-duckdb"},
	"github.com/tailscale/hujson":      {"core/client"},
	"github.com/pelletier/go-toml":     {"core/client"},
}

type listed struct {
	ImportPath string
	Imports    []string
	CgoFiles   []string
	Error      *struct{ Err string }
}

// packages lists every package of the module as a build with tags sees it.
func packages(t *testing.T, env ...string) []listed {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports,CgoFiles,Error", "./...")
	cmd.Dir = filepath.Join("..", "..")
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var ps []listed
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return ps
		} else if err != nil {
			t.Fatal(err)
		}
		ps = append(ps, p)
	}
}

func matches(pattern, path string) bool {
	if dir, ok := strings.CutSuffix(pattern, "/..."); ok {
		return path == dir || strings.HasPrefix(path, dir+"/")
	}
	return pattern == path
}

func anyMatches(patterns []string, path string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return matches(p, path) })
}

// wrongArrows reports every import of p that the rules do not allow.
func wrongArrows(p listed) []string {
	path := strings.TrimPrefix(p.ImportPath, module)
	var rule []string
	known := false
	for pattern, allowed := range mayImport {
		if matches(pattern, path) {
			known = true
			rule = append(rule, allowed...)
		}
	}
	var wrong []string
	if !known {
		wrong = append(wrong, path+" is not in the table of import rules")
	}
	for _, imp := range p.Imports {
		if ours, ok := strings.CutPrefix(imp, module); ok {
			if !anyMatches(rule, ours) {
				wrong = append(wrong, path+" must not import "+ours)
			}
			continue
		}
		for dep, who := range doors {
			if (imp == dep || strings.HasPrefix(imp, dep+"/")) && !anyMatches(who, path) {
				wrong = append(wrong, path+" must not import "+imp)
			}
		}
	}
	for _, part := range strings.Split(path, "/") {
		if slices.Contains([]string{"util", "utils", "common", "types", "helpers", "models"}, part) {
			wrong = append(wrong, path+": no package is called "+part)
		}
	}
	return wrong
}

func TestImports(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t) {
		for _, w := range wrongArrows(p) {
			t.Error(w)
		}
		if len(p.CgoFiles) > 0 && !strings.HasPrefix(p.ImportPath, module+"plugins/") {
			t.Errorf("%s uses cgo; only plugins may", p.ImportPath)
		}
	}
}

// The rules must be able to fail.
func TestImportRulesRefuse(t *testing.T) {
	t.Parallel()
	tests := []struct {
		from, imp string
		wrong     bool
	}{
		{"core/router", module + "plugins/provider-demo", true},
		{"core/router", module + "core/config", true},
		{"core/router", module + "core/access", false},
		{"core/catalog", module + "core/router", true},
		{"plugins/tool-table", module + "core/access", true},
		{"plugins/tool-table", module + "sdk/tool", false},
		{"sdk/tool", module + "core/access", true},
		{"core/catalog", "github.com/parquet-go/parquet-go", true},
		{"core/delta", "github.com/parquet-go/parquet-go", false},
		{"core/access", "github.com/dgraph-io/ristretto/v2", false},
		{"core/router", "github.com/dgraph-io/ristretto/v2", true},
		{"core/util", "fmt", true},
	}
	for _, tt := range tests {
		got := wrongArrows(listed{ImportPath: module + tt.from, Imports: []string{tt.imp}})
		if (len(got) > 0) != tt.wrong {
			t.Errorf("%s → %s: got %v, want wrong = %v", tt.from, tt.imp, got, tt.wrong)
		}
	}
}
