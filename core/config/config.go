// Package config reads the gateway's configuration file. The file fills the
// Config structs of the packages that use them, so those structs are its
// reference; an unknown key is an error with its line and the nearest key we
// know.
package config

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"

	"github.com/sallyport-gateway/sallyport/core/access"
	"github.com/sallyport-gateway/sallyport/core/catalog"
	"github.com/sallyport-gateway/sallyport/core/egress"
	"github.com/sallyport-gateway/sallyport/core/httpapi"
	"github.com/sallyport-gateway/sallyport/core/pluginhost"
	"github.com/sallyport-gateway/sallyport/core/ratelimit"
	"github.com/sallyport-gateway/sallyport/core/router"
	"github.com/sallyport-gateway/sallyport/core/secret"
	"github.com/sallyport-gateway/sallyport/core/tables"
	"github.com/sallyport-gateway/sallyport/core/toolset"
)

// DefaultAddress is where the gateway listens when the file does not say.
const DefaultAddress = "127.0.0.1:8080"

// Config is the whole file.
type Config struct {
	Version   int      `yaml:"version"`    // of the file format; must be 1
	Listen    Listen   `yaml:"listen"`     // address, or {address, tls, trusted_proxies}
	Metrics   string   `yaml:"metrics"`    // host:port of a second listener, for Prometheus: GET /metrics without a token; none if empty
	PublicURL string   `yaml:"public_url"` // how clients reach the gateway; http://<listen> if empty
	Data      Data     `yaml:"data"`       // directory, or {log, tables, state}; ./sallyport-data if empty
	Plugins   []string `yaml:"plugins"`    // directories of plugin programs, to which OwnPlugins is added; plugins beside the binary if empty

	// Unconfined set to "allow" runs plugins also on a system that cannot
	// confine them, or not wholly: then a bad plugin reaches what the
	// gateway's user may. macOS needs it.
	Unconfined string           `yaml:"unconfined"`
	Launcher   string           `yaml:"-"` // the program that confines plugins, not of the file; sallyport-confine beside the binary if empty
	Worker     string           `yaml:"-"` // the program that runs models' programs, not of the file; this one if empty
	Dev        []pluginhost.Dev `yaml:"-"` // plugins under development, not of the file: serve --dev

	Providers map[string]router.Provider `yaml:"providers"`
	Models    map[string]router.Model    `yaml:"models"`
	Access    access.Config              `yaml:"access"`
	Catalog   catalog.Config             `yaml:"catalog"`
	Egress    egress.Config              `yaml:"egress"`   // how the gateway reaches the outside
	Requests  httpapi.Limits             `yaml:"requests"` // bounds on request bodies
	Shutdown  time.Duration              `yaml:"shutdown"` // how long running requests may take to finish; 0 means 30 s
	Tables    tables.Config              `yaml:"tables"`   // how the gateway writes its own tables, and how long it keeps their rows

	// Unrecorded turns the recording of calls off, for measuring what it costs.
	// Not of the file: a gateway that serves somebody keeps its rows.
	Unrecorded bool `yaml:"-"`

	Tools toolset.Config `yaml:"tools"` // the operator's side of each tool type

	Surfaces  httpapi.SurfacesConfig `yaml:"surfaces"`  // who may use which surface, under which names of models
	Listeners []Listener             `yaml:"listeners"` // more addresses, which carry some surfaces only
	Budgets   []ratelimit.Budget     `yaml:"budgets"`   // how much models may cost

	CodeExecution CodeExecution         `yaml:"code_execution"` // programs that models write
	Connections   map[string]Connection `yaml:"connections"`

	dir  string // relative paths resolve against it
	file string // "" for the built-in defaults
}

// Listen says where to listen.
type Listen struct {
	Address        string   `yaml:"address"` // host:port
	TLS            TLS      `yaml:"tls"`
	TrustedProxies []string `yaml:"trusted_proxies"` // addresses and CIDR ranges whose forwarding headers count
}

// Proxies are the ranges of TrustedProxies.
func (l Listen) Proxies() []netip.Prefix {
	var ps []netip.Prefix
	for _, text := range l.TrustedProxies {
		if p, err := proxyRange(text); err == nil { // finish has checked them
			ps = append(ps, p)
		}
	}
	return ps
}

// proxyRange reads an address or a range of addresses.
func proxyRange(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	return netip.ParsePrefix(text)
}

// Listener is one more address to listen on. It carries the named surfaces and
// GET /health, and nothing else: so one surface can be on the internet while
// the others are not.
type Listener struct {
	Address  string   `yaml:"address"` // host:port
	TLS      TLS      `yaml:"tls"`
	Surfaces []string `yaml:"surfaces"` // at least one, such as cursor
}

// TLS names the certificate to serve with.
type TLS struct {
	Cert string `yaml:"cert"` // PEM file: leaf, then intermediates
	Key  string `yaml:"key"`  // PEM file
}

// UnmarshalYAML takes an address alone, or a map.
func (l *Listen) UnmarshalYAML(n ast.Node) error {
	type plain Listen
	return scalarOr(n, &l.Address, (*plain)(l))
}

// Data says where state is kept.
type Data struct {
	Dir    string `yaml:"dir"`    // holds everything below unless they say otherwise
	Log    string `yaml:"log"`    // directory of the append log; <dir>/log if empty. One gateway at a time has it open
	Tables string `yaml:"tables"` // directory of the tables that the gateway writes; <dir>/tables if empty
	State  string `yaml:"state"`  // sqlite:FILE or postgres://…; sqlite:<dir>/state.db if empty
}

// UnmarshalYAML takes a directory alone, or a map.
func (d *Data) UnmarshalYAML(n ast.Node) error {
	type plain Data
	return scalarOr(n, &d.Dir, (*plain)(d))
}

// scalarOr decodes a scalar into text, anything else into rest.
func scalarOr(n ast.Node, text *string, rest any) error {
	if _, ok := n.(ast.ScalarNode); ok {
		return yaml.NodeToValue(n, text)
	}
	return yaml.NodeToValue(n, rest, yaml.Strict())
}

// Connection is a service reached by MCP.
type Connection struct {
	Type      string            `yaml:"type"` // mcp
	Transport string            `yaml:"transport"`
	URL       string            `yaml:"url"`
	Command   []string          `yaml:"command"`
	Env       map[string]string `yaml:"env"`
	Auth      ConnectionAuth    `yaml:"auth"`
}

// ConnectionAuth says how the gateway identifies itself, or its user, there.
type ConnectionAuth struct {
	Type         string       `yaml:"type"` // none, bearer, oauth
	Token        secret.Value `yaml:"token"`
	ClientID     string       `yaml:"client_id"`
	ClientSecret secret.Value `yaml:"client_secret"`
	Scopes       []string     `yaml:"scopes"`
}

// Load reads the file at path.
func Load(path string) (*Config, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	c, err := Parse(text, filepath.Dir(abs))
	if err != nil {
		return nil, fmt.Errorf("config %s: %w", path, err)
	}
	c.file = abs
	return c, nil
}

// Parse reads a configuration text whose relative paths resolve against dir.
func Parse(text []byte, dir string) (*Config, error) {
	c := &Config{dir: dir}
	if err := yaml.UnmarshalWithOptions(text, c, yaml.Strict()); err != nil {
		return nil, explain(text, err)
	}
	if err := c.finish(); err != nil {
		return nil, err
	}
	return c, nil
}

// File is the file the Config was read from, "" for the built-in defaults.
func (c *Config) File() string { return c.file }

// Dir is the directory that relative paths resolve against.
func (c *Config) Dir() string { return c.dir }

// OwnPlugins is the directory, below the data directory, in which `plugin add`
// puts what others wrote. The gateway uses it beside those of Plugins.
func (c *Config) OwnPlugins() string { return filepath.Join(c.Data.Dir, "plugins") }

// Path resolves p against the configuration's directory.
func (c *Config) Path(p string) string {
	if p == "" || filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(c.dir, p)
}

// finish fills in defaults, resolves paths and checks what no package checks.
func (c *Config) finish() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	switch {
	case c.Version == 0:
		bad("version: is missing; write version: 1")
	case c.Version != 1:
		bad("version: must be 1, got %d", c.Version)
	}
	if c.Listen.Address == "" {
		c.Listen.Address = DefaultAddress
	}
	if err := Address(c.Listen.Address); err != nil {
		bad("listen: %w", err)
	}
	if c.Metrics != "" {
		if err := Address(c.Metrics); err != nil {
			bad("metrics: %w", err)
		} else if c.Metrics == c.Listen.Address && !strings.HasSuffix(c.Metrics, ":0") {
			bad("metrics: %q is where the gateway itself listens; metrics have an address of their own", c.Metrics)
		}
	}
	c.checkTLS(bad, "listen", &c.Listen.TLS)
	for i := range c.Listeners {
		l, key := &c.Listeners[i], fmt.Sprintf("listeners[%d]", i)
		if err := Address(l.Address); err != nil {
			bad("%s.address: %w", key, err)
		}
		if len(l.Surfaces) == 0 {
			bad("%s.surfaces: is missing; name the surfaces it carries, such as [cursor]", key)
		}
		c.checkTLS(bad, key, &l.TLS)
	}
	if c.Requests.Body < 0 || c.Requests.Budget < 0 {
		bad("requests: body and budget must not be negative")
	}
	for _, p := range c.Listen.TrustedProxies {
		if _, err := proxyRange(p); err != nil {
			bad("listen.trusted_proxies: %q is neither an address nor a range such as 10.0.0.0/8", p)
		}
	}
	if c.PublicURL != "" {
		u, err := url.Parse(c.PublicURL)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.RawQuery != "" {
			bad("public_url: %q is not a URL such as https://gateway.example.com", secret.RedactURLs(c.PublicURL))
		}
		c.PublicURL = strings.TrimRight(c.PublicURL, "/")
	}
	if c.Data.Dir == "" {
		c.Data.Dir = "sallyport-data"
	}
	c.Data.Dir = c.Path(c.Data.Dir)
	for _, part := range []struct {
		path *string
		name string
	}{{&c.Data.Log, "log"}, {&c.Data.Tables, "tables"}} {
		if *part.path == "" {
			*part.path = filepath.Join(c.Data.Dir, part.name)
		}
		*part.path = c.Path(*part.path)
	}
	if c.Data.Log == c.Data.Tables {
		bad("data: log and tables need a directory each, not both %s", c.Data.Log)
	}
	if c.Data.State == "" {
		c.Data.State = "sqlite:" + filepath.Join(c.Data.Dir, "state.db")
	} else if f, ok := strings.CutPrefix(c.Data.State, "sqlite:"); ok {
		c.Data.State = "sqlite:" + c.Path(f)
	} else if !strings.HasPrefix(c.Data.State, "postgres://") && !strings.HasPrefix(c.Data.State, "postgresql://") {
		bad("data.state: must be sqlite:FILE or postgres://…")
	}
	for i, d := range c.Plugins {
		c.Plugins[i] = c.Path(d)
	}
	if c.Unconfined != "" && c.Unconfined != "allow" {
		bad(`unconfined: %q is not known; write "unconfined: allow" to run plugins where the system cannot confine them, else leave it out`, c.Unconfined)
	}
	if c.Shutdown < 0 {
		bad("shutdown: must not be negative")
	}
	if c.Shutdown == 0 {
		c.Shutdown = 30 * time.Second
	}
	if err := c.Tables.Validate(); err != nil {
		bad("tables: %w", err)
	}
	c.Tables = c.Tables.WithDefaults()
	if len(c.Providers) == 0 || len(c.Models) == 0 {
		bad("providers, models: a gateway needs at least one of each")
	}
	secret.Each(c, func(_ string, v secret.Value) { v.Anchor(c.dir) })
	c.checkCode(bad)
	c.checkLater(bad)
	c.Tools = c.Tools.WithDefaults()
	for _, err := range []error{c.routes().Validate(), c.Limits().Validate(), c.Surfaces.Validate(), c.Tools.Validate(), c.Access.Validate(), c.Catalog.Validate()} {
		if err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Address checks a listening address: host:port with a number as port.
func Address(s string) error {
	_, port, err := net.SplitHostPort(s)
	if err != nil {
		return fmt.Errorf("%q is not host:port", s)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return fmt.Errorf("%q: the port must be a number from 0 to 65535", s)
	}
	return nil
}

func (c *Config) routes() router.Config {
	return router.Config{Providers: c.Providers, Models: c.Models}
}

// PayloadTables are the tables that keep requests and replies, each once.
func (c *Config) PayloadTables() []string { return c.routes().PayloadTables() }

// Limits are the bounds on requests, tokens and money.
func (c *Config) Limits() ratelimit.Config {
	cfg := ratelimit.Config{Models: map[string][]ratelimit.Limit{}, Budgets: c.Budgets}
	for name, m := range c.Models {
		cfg.Known = append(cfg.Known, name)
		if len(m.Limits) > 0 {
			cfg.Models[name] = m.Limits
		}
	}
	return cfg
}

// checkTLS resolves the paths of a certificate and tries it.
func (c *Config) checkTLS(bad func(string, ...any), key string, t *TLS) {
	if (t.Cert == "") != (t.Key == "") {
		bad("%s.tls: cert and key go together", key)
		return
	}
	if t.Cert == "" {
		return
	}
	t.Cert, t.Key = c.Path(t.Cert), c.Path(t.Key)
	if _, err := tls.LoadX509KeyPair(t.Cert, t.Key); err != nil {
		bad("%s.tls: %w; `sallyport cert` makes a pair", key, err)
	}
}

// checkLater checks the keys of parts that are not in force yet.
func (c *Config) checkLater(bad func(string, ...any)) {
	for name, v := range c.Connections {
		oneOf(bad, "connections."+name+".type", v.Type, "mcp")
		oneOf(bad, "connections."+name+".transport", v.Transport, "http", "sse", "stdio")
		oneOf(bad, "connections."+name+".auth.type", v.Auth.Type, "", "none", "bearer", "oauth")
		if v.Transport == "stdio" && len(v.Command) == 0 {
			bad("connections.%s.command: a stdio server needs a command", name)
		}
		if v.Transport != "stdio" && v.URL == "" {
			bad("connections.%s.url: is missing", name)
		}
	}
}

func oneOf(bad func(string, ...any), path, got string, want ...string) {
	if !slices.Contains(want, got) {
		bad("%s: %q is not one of %s", path, got, strings.Join(slices.DeleteFunc(slices.Clone(want), func(s string) bool { return s == "" }), ", "))
	}
}

// NotInForce has one line for each key of the file whose part is not built
// yet: checked, and without effect.
func (c *Config) NotInForce() []string {
	var lines []string
	add := func(set bool, what string) {
		if set {
			lines = append(lines, what+": checked, but not in force yet")
		}
	}
	add(len(c.Connections) > 0, "connections")
	return lines
}

// Administrator is the first user who is an administrator, "" if none.
func (c *Config) Administrator() string {
	for _, u := range c.Access.Users {
		if u.Admin {
			return u.Name
		}
	}
	return ""
}

// MissingSecrets has one line for each secret that cannot be read. What needs
// it fails with a clear error when it is used; the rest of the gateway works.
func (c *Config) MissingSecrets() []string {
	var lines []string
	secret.Each(c, func(path string, v secret.Value) {
		if err := v.ResolveIn(c.dir); err != nil {
			lines = append(lines, path+": "+err.Error())
		} else if w := v.Warning(); w != "" {
			lines = append(lines, path+": "+w)
		}
	})
	return lines
}
