package egress

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"
)

// target is where an account's requests go: one scheme, one host, one port,
// and what addresses that host may turn out to have.
type target struct {
	base *url.URL   // path without a slash at its end
	addr string     // host:port as dialled
	host string     // the host as written
	ip   netip.Addr // when the operator wrote an address
	near bool       // the host may have loopback and private addresses
}

// parseTarget reads a base URL from the configuration.
func parseTarget(base string, allowPrivate bool) (target, error) {
	u, err := url.Parse(strings.TrimSpace(base))
	if err != nil {
		return target{}, errors.New("is not a URL") // err would repeat it, with what may be a secret in it
	}
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return target{}, errors.New("must begin with https:// or http://")
	case u.Hostname() == "":
		return target{}, errors.New("names no host")
	case u.User != nil:
		return target{}, errors.New("must not hold a user name or password; use key")
	case u.Fragment != "":
		return target{}, errors.New("must not hold a fragment")
	}
	if !cleanQuery(u.RawQuery) {
		return target{}, errors.New("holds a query that cannot be read")
	}
	path := strings.Trim(u.EscapedPath(), "/")
	if path != "" {
		if _, err := cleanPath(path); err != nil {
			return target{}, fmt.Errorf("has a path that %w", err)
		}
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	host := strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))
	t := target{base: u, host: host, addr: net.JoinHostPort(host, port), near: allowPrivate || neverPublic(host)}
	if ip, err := netip.ParseAddr(host); err == nil {
		t.ip = ip.Unmap()
	}
	return t, nil
}

// neverPublic reports whether a host name cannot exist on the internet, so
// that whoever configured it meant a private network: one label, or under a
// top-level domain set apart for that (RFC 6761, RFC 6762, RFC 8375, and
// ICANN's reservation of .internal).
func neverPublic(host string) bool {
	if _, err := netip.ParseAddr(host); err == nil {
		return false
	}
	if !strings.Contains(host, ".") {
		return true
	}
	for _, s := range []string{".localhost", ".local", ".internal", ".home.arpa"} {
		if strings.HasSuffix(host, s) {
			return true
		}
	}
	return false
}

// allows decides on an address that the target's host resolved to.
func (t target) allows(a netip.Addr) error {
	a = a.Unmap()
	if t.ip.IsValid() && a.WithZone("") == t.ip.WithZone("") {
		return nil // exactly this address is configured
	}
	c := classify(a)
	switch {
	case c == public:
		return nil
	case (c == loopback || c == private) && t.near:
		return nil
	case c == loopback || c == private:
		return fmt.Errorf("%s resolves to the %s address %s, which is not allowed for a public name; "+
			"if the service is in a private network, set `private: true` beside base_url or write its address there", t.host, c, a)
	}
	return fmt.Errorf("%s resolves to the %s address %s, which is never allowed through a name", t.host, c, a)
}

// cleanPath checks a relative path, still escaped, and returns it unescaped.
// It is refused rather than repaired: a path that needs repair was not made by
// a translator in good faith.
func cleanPath(path string) (string, error) {
	if strings.ContainsAny(path, "?#\\") {
		return "", errors.New("holds one of ? # \\")
	}
	if strings.HasPrefix(path, "/") {
		return "", errors.New("is not relative")
	}
	plain, err := url.PathUnescape(path)
	if err != nil {
		return "", errors.New("holds a wrong escape")
	}
	for i := range len(plain) {
		if c := plain[i]; c < 0x20 || c == 0x7f || c == '\\' {
			return "", errors.New("holds a control character or a backslash")
		}
	}
	if escapedTwice(plain) {
		return "", errors.New("holds a double escape of one of . / \\ ; %")
	}
	// On the wire a segment ends at a slash; a service that unescapes first
	// sees more slashes; one that knows parameters of segments takes "..;a" for
	// "..". Each reading must be clean.
	for _, form := range []string{path, plain} {
		for seg := range strings.SplitSeq(form, "/") {
			if seg, _, _ = strings.Cut(seg, ";"); seg == "." || seg == ".." {
				return "", errors.New("holds . or .. as a segment")
			}
		}
	}
	for seg := range strings.SplitSeq(path, "/") {
		if seg == "" {
			return "", errors.New("holds an empty segment")
		}
	}
	if first, _, _ := strings.Cut(path, "/"); strings.HasSuffix(first, ":") {
		return "", errors.New("holds a scheme")
	}
	return plain, nil
}

// escapedTwice reports whether a path that was unescaped still holds an escape
// of a character that makes segments, or of the one that makes escapes.
func escapedTwice(plain string) bool {
	for rest, found := plain, true; found; {
		if _, rest, found = strings.Cut(rest, "%"); len(rest) < 2 {
			continue
		}
		switch strings.ToLower(rest[:2]) {
		case "2e", "2f", "5c", "3b", "25":
			return true
		}
	}
	return false
}

// cleanQuery reports whether a query is well-formed and escaped.
func cleanQuery(query string) bool {
	for i := range len(query) {
		if c := query[i]; c <= ' ' || c >= 0x7f || c == '#' {
			return false
		}
	}
	_, err := url.ParseQuery(query)
	return err == nil
}

// resolve is that of the target. Most requests of an account go to one path,
// which is looked at once.
func (a *Account) resolve(path, query string) (url.URL, error) {
	if last := a.latest.Load(); query == "" && last != nil && last.path == path {
		return last.url, nil
	}
	u, err := a.target.resolve(path, query)
	if err != nil {
		return url.URL{}, err
	}
	if query == "" {
		a.latest.Store(&resolved{path, *u})
	}
	return *u, nil
}

// resolved is a path and what it resolves to.
type resolved struct {
	path string
	url  url.URL
}

// resolve gives the URL for a relative path and a query.
func (t target) resolve(path, query string) (*url.URL, error) {
	u := *t.base
	u.Path, u.RawPath = strings.TrimRight(u.Path, "/"), strings.TrimRight(u.EscapedPath(), "/")
	if path != "" {
		plain, err := cleanPath(path)
		if err != nil {
			return nil, fmt.Errorf("the path of the request %w", err)
		}
		u.Path, u.RawPath = u.Path+"/"+plain, u.RawPath+"/"+path
	}
	if !cleanQuery(query) {
		return nil, errors.New("the query of the request cannot be read")
	}
	if query != "" && u.RawQuery != "" {
		u.RawQuery += "&" + query
	} else if query != "" {
		u.RawQuery = query
	}
	return &u, nil
}
