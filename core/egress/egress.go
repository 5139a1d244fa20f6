// Package egress is the one door out: every request the gateway makes leaves
// here. It keeps one rule: a request goes to a place the operator configured
// and to no other, whatever a client, a translator, a name server or the
// service itself says.
//
// So base URLs come from the configuration only; paths are relative and clean;
// redirects are answers, not instructions; addresses are checked after the
// name was resolved, at the moment of the connection; and the account's key is
// attached here, after everything else was decided.
package egress

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/net/http/httpproxy"

	"github.com/sallyport-gateway/sallyport/core/secret"
	"github.com/sallyport-gateway/sallyport/sdk/socket"
)

// Defaults of Timeouts and AccountConfig.
const (
	DefaultConnect   = 10 * time.Second
	DefaultFirstByte = 120 * time.Second
	DefaultIdle      = 300 * time.Second
	DefaultMaxBody   = 32 << 20

	maxHeaderBytes = 64 << 10 // of a response head
	streamFactor   = 8        // a stream is not kept, so it may be longer
	pipeBuffer     = 16 << 10 // each way of a connection: a usual request leaves in one write
)

// Config is how the gateway as a whole goes out; the zero value goes directly.
type Config struct {
	// Proxy is the URL of an HTTP proxy, or "environment" for HTTP_PROXY,
	// HTTPS_PROXY and NO_PROXY. Empty means none: the environment alone does
	// not decide where requests go. Through a proxy only the proxy's address
	// is checked here; it resolves the names.
	Proxy string `yaml:"proxy"`
	// NoProxy lists hosts, domains and networks reached directly, separated by
	// commas. Loopback always is.
	NoProxy string `yaml:"no_proxy"`

	Version  string         `yaml:"-"` // of the gateway, for User-Agent; "" means "dev"
	Resolver *net.Resolver  `yaml:"-"` // nil means the system's
	RootCAs  *x509.CertPool `yaml:"-"` // nil means the system's
}

// Egress makes accounts. It is safe for concurrent use.
type Egress struct {
	agent    []string // value of User-Agent
	proxy    func(*url.URL) (*url.URL, error)
	resolver *net.Resolver
	roots    *x509.CertPool
}

// New checks cfg. It opens nothing.
func New(cfg Config) (*Egress, error) {
	if cfg.Version == "" {
		cfg.Version = "dev"
	}
	e := &Egress{agent: []string{"sallyport/" + cfg.Version}, resolver: cfg.Resolver, roots: cfg.RootCAs}
	switch cfg.Proxy {
	case "":
		if cfg.NoProxy != "" {
			return nil, errors.New("egress: no_proxy is set without proxy")
		}
		e.proxy = func(*url.URL) (*url.URL, error) { return nil, nil }
	case "environment":
		p := httpproxy.FromEnvironment()
		if cfg.NoProxy != "" {
			p.NoProxy = cfg.NoProxy
		}
		e.proxy = p.ProxyFunc()
	default:
		if _, err := parseTarget(cfg.Proxy, true); err != nil {
			return nil, fmt.Errorf("egress: proxy %w", err)
		}
		e.proxy = (&httpproxy.Config{HTTPProxy: cfg.Proxy, HTTPSProxy: cfg.Proxy, NoProxy: cfg.NoProxy}).ProxyFunc()
	}
	return e, nil
}

// Timeouts bound the phases of one request. There is no bound on the whole: a
// model may write for an hour, as long as it writes.
type Timeouts struct {
	Connect   time.Duration `yaml:"connect"`    // name, TCP; and again for TLS. 0 means 10 s
	FirstByte time.Duration `yaml:"first_byte"` // from the start to the first byte of the response's body. 0 means 120 s
	Idle      time.Duration `yaml:"idle"`       // between two pieces of the body. 0 means 300 s
}

// Validate says which timeout is negative; nil when none is.
func (t Timeouts) Validate() error {
	for _, d := range []struct {
		name string
		d    time.Duration
	}{{"connect", t.Connect}, {"first_byte", t.FirstByte}, {"idle", t.Idle}} {
		if d.d < 0 {
			return fmt.Errorf("timeouts.%s is negative", d.name)
		}
	}
	return nil
}

// AccountConfig is one place to go to, with the operator's key for it.
type AccountConfig struct {
	Name       string // for errors
	BaseURL    string // https://host[:port][/path]
	Private    bool   // the host's name may resolve to loopback and private addresses
	Credential Credential
	Key        secret.Value // read again for each request; empty means no key is sent
	Timeouts   Timeouts
	MaxBody    int64 // bytes of a response, decompressed; 0 means 32 MiB. Of a stream eight times as many
}

// Account makes requests to one base URL over its own pool of connections.
type Account struct {
	name      string
	agent     []string
	target    target
	cred      Credential
	keyName   string // of the header that the key goes into, canonical; "" for another scheme
	own       string // keyName folded
	key       *keyring
	firstByte time.Duration
	idle      time.Duration
	maxBody   int64
	plain     *plain          // without TLS and proxy; nil for the others
	transport *http.Transport // nil where plain is not
	finders   atomic.Pointer[keyFinder]
	latest    atomic.Pointer[resolved]
}

// CheckURL says why a URL cannot be an account's base URL; nil when it can. The
// error does not repeat the URL, which may hold a secret.
func CheckURL(base string) error {
	_, err := parseTarget(base, false)
	return err
}

// Account checks c and makes an account of it. It opens no connection. Close
// it when it is no longer used.
func (e *Egress) Account(c AccountConfig) (*Account, error) {
	t, err := parseTarget(c.BaseURL, c.Private)
	if err != nil {
		return nil, fmt.Errorf("base_url %w", err)
	}
	if err := c.Credential.Validate(); err != nil {
		return nil, err
	}
	if err := c.Timeouts.Validate(); err != nil {
		return nil, err
	}
	if c.MaxBody < 0 {
		return nil, errors.New("the bound of a response is negative")
	}
	a := &Account{
		name: c.Name, agent: e.agent, target: t, cred: c.Credential, key: newKeyring(c.Key),
		firstByte: or(c.Timeouts.FirstByte, DefaultFirstByte),
		idle:      or(c.Timeouts.Idle, DefaultIdle),
		maxBody:   or(c.MaxBody, DefaultMaxBody),
	}
	if c.Credential.Scheme == SchemeHeader {
		a.keyName, a.own = http.CanonicalHeaderKey(c.Credential.Name), folded(c.Credential.Name)
	}
	via, err := e.proxy(t.base)
	if err != nil {
		return nil, errors.New("the proxy for base_url is not a URL")
	}
	connect := or(c.Timeouts.Connect, DefaultConnect)
	if via == nil && t.base.Scheme == "http" {
		if a.plain, err = newPlain(t, e.dial(t, connect)); err != nil {
			return nil, fmt.Errorf("base_url %w", err)
		}
		return a, nil
	}
	a.transport = e.transport(t, via, connect)
	return a, nil
}

// dial makes what connects to t and to no other place.
func (e *Egress) dial(t target, connect time.Duration) func(context.Context) (net.Conn, error) {
	dialer := &net.Dialer{
		Timeout: connect, KeepAlive: 30 * time.Second, Resolver: e.resolver,
		ControlContext: func(_ context.Context, _, address string, _ syscall.RawConn) error {
			ap, err := netip.ParseAddrPort(address)
			if err != nil {
				return &addressError{"the address to connect to cannot be read"}
			}
			if err := t.allows(ap.Addr()); err != nil {
				return &addressError{err.Error()}
			}
			return nil
		},
	}
	return func(ctx context.Context) (net.Conn, error) {
		c, err := dialer.DialContext(ctx, "tcp", t.addr)
		if err != nil {
			return nil, err
		}
		return socket.Direct(c), nil
	}
}

// transport makes a connection pool that reaches t, through the proxy via
// unless nil, and no other place.
func (e *Egress) transport(t target, via *url.URL, connect time.Duration) *http.Transport {
	dialled := t
	if via != nil {
		if p, err := parseTarget((&url.URL{Scheme: via.Scheme, Host: via.Host}).String(), true); err == nil {
			dialled = p
		}
	}
	dial := e.dial(dialled, connect)
	tr := &http.Transport{
		Proxy: func(*http.Request) (*url.URL, error) { return via, nil },
		DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
			if !strings.EqualFold(addr, dialled.addr) {
				return nil, &addressError{"the connection asked for is not to the configured host"}
			}
			return dial(ctx)
		},
		TLSClientConfig:        &tls.Config{RootCAs: e.roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    connect,
		MaxResponseHeaderBytes: maxHeaderBytes,
		MaxIdleConns:           maxIdle,
		MaxIdleConnsPerHost:    maxIdle,
		IdleConnTimeout:        idleTime,
		ReadBufferSize:         pipeBuffer,
		WriteBufferSize:        pipeBuffer,
		DisableCompression:     true, // done in body.go, where it is bounded
		Protocols:              new(http.Protocols),
		// A connection that died in silence is found by asking, not by the
		// request that waits on it.
		HTTP2: &http.HTTP2Config{SendPingTimeout: 30 * time.Second, PingTimeout: 15 * time.Second},
	}
	tr.Protocols.SetHTTP1(true)
	tr.Protocols.SetHTTP2(true)
	return tr
}

// Close ends the connections that are not in use. Requests under way go on.
func (a *Account) Close() {
	if a.plain != nil {
		a.plain.close()
		return
	}
	a.transport.CloseIdleConnections()
}

// Scrub removes the account's key from a text that came from the service.
func (a *Account) Scrub(s string) string { return a.finder(a.known()).text(s) }

// KeyError says why the account's key cannot be read; nil when it can, or when
// none is configured.
func (a *Account) KeyError() error {
	_, err := a.key.text()
	return err
}

// known is the key as far as it can be read, for taking it out of texts.
func (a *Account) known() string {
	key, _ := a.key.text()
	return key
}

// addressError is a refusal inside the dialer.
type addressError struct{ text string }

func (e *addressError) Error() string { return e.text }

func or[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}
