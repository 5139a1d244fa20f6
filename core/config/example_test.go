package config

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/sallyport-gateway/sallyport/core/secret"
)

// exampleFile has every key of the configuration.
func exampleFile(t *testing.T) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "examples", "gateway.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// all is the example with its marks taken away.
func all(text []byte) []byte {
	return regexp.MustCompile(`(?m)^( *)#: `).ReplaceAll(text, []byte("$1"))
}

// parseExample reads a text in a directory that has the certificate which the
// example names.
func parseExample(t *testing.T, text []byte) *Config {
	t.Helper()
	dir := t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	like := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, like, like, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(
		os.WriteFile(filepath.Join(dir, "cert.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), 0o600),
		os.WriteFile(filepath.Join(dir, "key.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	c, err := Parse(text, dir)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// The example has every key that the configuration knows, each where it belongs.
func TestExampleHasEveryKey(t *testing.T) {
	text := all(exampleFile(t))
	parseExample(t, text)
	file, err := parser.ParseBytes(text, 0)
	if err != nil {
		t.Fatal(err)
	}
	has, known := map[string]bool{}, map[string]bool{}
	for _, doc := range file.Docs {
		keysOf(doc.Body, reflect.TypeFor[Config](), "", has)
	}
	schema(reflect.TypeFor[Config](), "", known)
	for _, key := range slices.Sorted(maps.Keys(known)) {
		if !has[key] && !strings.HasPrefix(key, "models.<name>.fallback.") { // they are those of destinations
			t.Errorf("examples/gateway.yaml lacks %s", key)
		}
	}
	if len(known) < 100 {
		t.Errorf("only %d keys are known", len(known))
	}
}

// What stands in the example without a mark is its default: without these lines
// nothing changes.
func TestExampleHasDefaults(t *testing.T) {
	text := exampleFile(t)
	c := parseExample(t, text)
	must := regexp.MustCompile(`(?ms)^(version|providers|models|access|catalog):.*?(?:^$|\z)`)
	short := bytes.Join(must.FindAll(text, -1), []byte("\n"))
	short = regexp.MustCompile(`(?m)^    timeouts:.*\n(?:      .*\n)+`).ReplaceAll(short, nil)
	if len(short) > len(text)/2 || bytes.Contains(short, []byte("\n    timeouts:")) {
		t.Fatalf("this is not the example without what may be left out:\n%s", short)
	}
	d, err := Parse(short, c.dir)
	if err != nil {
		t.Fatal(err)
	}
	got, want := show(t, c.Effective()), show(t, d.Effective())
	if got != want {
		t.Errorf("the example is not what is in force without it:\n%s\nwant\n%s", got, want)
	}
}

func show(t *testing.T, c *Config) string {
	t.Helper()
	b, err := yaml.MarshalWithOptions(c, yaml.OmitEmpty())
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Defaults that other packages fill in by themselves are what those packages
// say.
func TestEffectiveDefaults(t *testing.T) {
	for file, says := range map[string][]string{
		"core/httpapi/body.go": {"defaultBody   = 32 << 20", "defaultBudget = 256 << 20"},
		"sandbox/box.go": {"cmp.Or(l.Memory, 256<<20)", "cmp.Or(l.Scratch, 64<<20)", "cmp.Or(l.Output, 256<<10)", "cmp.Or(l.Wall, 30*time.Second)",
			"cmp.Or(l.CPU, 10*time.Second)", "cmp.Or(l.Sessions, 1000)", "cmp.Or(cfg.Workers, runtime.GOMAXPROCS(0))"},
		"core/toolset/image.go": {"defaultTableBytes = 64 << 20"},
	} {
		b, err := os.ReadFile(filepath.Join("..", "..", file))
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range says {
			if !bytes.Contains(b, []byte(s)) {
				t.Errorf("%s does not say %q any more: give Effective, examples/gateway.yaml and this test the new default", file, s)
			}
		}
	}
	const text = least + `requests: {body: 5}
code_execution: {languages: [sql], limits: {wall: 1s}}
budgets: [{each: user, usd: 1, per: day, alert: []}, {each: model, usd: 1, per: day, webhook: {url: "https://x"}}]
surfaces: {gemini: {enabled: false}, cursor: {}}
listen: 0.0.0.0:9
`
	c, err := Parse([]byte(text), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	before := show(t, c)
	e := c.Effective()
	if e.Requests.Body != 5 || e.Requests.Budget != 256<<20 || !slices.Equal(e.CodeExecution.Languages, []string{"sql"}) || e.CodeExecution.Limits.Wall != time.Second || e.CodeExecution.Limits.CPU != 10*time.Second {
		t.Errorf("got %+v and %+v", e.Requests, e.CodeExecution)
	}
	if len(e.Budgets[0].Alert) != 0 || e.Budgets[0].Then != "block" || !slices.Equal(e.Budgets[1].Alert, []int{100}) || e.Budgets[1].Webhook.Header != "Authorization" {
		t.Errorf("got budgets %+v", e.Budgets)
	}
	if *e.Surfaces["gemini"].Enabled || !*e.Surfaces["cursor"].Enabled || e.PublicURL != "http://0.0.0.0:9" || e.Providers["demo"].Timeouts.Idle != 300*time.Second {
		t.Errorf("got %+v, %s, %+v", e.Surfaces, e.PublicURL, e.Providers)
	}
	if show(t, c) != before {
		t.Error("Effective has changed the configuration itself")
	}
}

// opaque are types whose keys are not the configuration's.
func opaque(t reflect.Type) bool {
	return t == reflect.TypeFor[secret.Value]() || t == reflect.TypeFor[map[string]any]()
}

// schema notes every key that a value of type t may have, below path.
func schema(t reflect.Type, path string, out map[string]bool) {
	switch {
	case opaque(t):
	case t.Kind() == reflect.Pointer, t.Kind() == reflect.Slice:
		schema(t.Elem(), path, out)
	case t.Kind() == reflect.Map:
		schema(t.Elem(), path+".<name>", out)
	case t.Kind() == reflect.Struct:
		for name, f := range fields(t) {
			key := strings.TrimPrefix(path+"."+name, ".")
			out[key] = true
			schema(f, key, out)
		}
	}
}

// keysOf notes every key of a text that is read into a t.
func keysOf(n ast.Node, t reflect.Type, path string, out map[string]bool) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if opaque(t) {
		return
	}
	switch n := n.(type) {
	case *ast.MappingNode:
		for _, v := range n.Values {
			keysOf(v, t, path, out)
		}
	case *ast.MappingValueNode:
		name := n.Key.GetToken().Value
		switch t.Kind() {
		case reflect.Map:
			keysOf(n.Value, t.Elem(), path+".<name>", out)
		case reflect.Struct:
			key := strings.TrimPrefix(path+"."+name, ".")
			out[key] = true
			if f, ok := fields(t)[name]; ok {
				keysOf(n.Value, f, key, out)
			}
		}
	case *ast.SequenceNode:
		if t.Kind() == reflect.Slice {
			for _, v := range n.Values {
				keysOf(v, t.Elem(), path, out)
			}
		}
	}
}
