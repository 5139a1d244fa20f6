package httpapi

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// clientIP is the address that a request came from. Forwarding headers count
// as far as trusted proxies wrote them: from the right, the first address that
// is no proxy of ours is the client's. What stands further left anybody may
// have written.
func (a *API) clientIP(r *http.Request) string {
	peer, ok := address(r.RemoteAddr)
	if !ok {
		return r.RemoteAddr
	}
	if !a.trusted(peer) {
		return peer.String()
	}
	for _, hop := range slices.Backward(forwarded(r.Header)) {
		ip, ok := address(hop)
		if !ok { // unknown or _hidden: nothing left of it can be told apart
			break
		}
		if peer = ip; !a.trusted(ip) {
			break
		}
	}
	return peer.String()
}

func (a *API) trusted(ip netip.Addr) bool {
	return slices.ContainsFunc(a.limits.TrustedProxies, func(p netip.Prefix) bool { return p.Contains(ip) })
}

// forwarded are the addresses of a request's way here, the client's first. A
// proxy that writes X-Forwarded-For may hand on a Forwarded that it did not
// look at, so the latter counts only alone.
func forwarded(h http.Header) []string {
	var hops []string
	if vs := h["X-Forwarded-For"]; len(vs) > 0 {
		for part := range strings.SplitSeq(strings.Join(vs, ","), ",") {
			hops = append(hops, strings.TrimSpace(part))
		}
		return hops
	}
	for element := range strings.SplitSeq(strings.Join(h["Forwarded"], ","), ",") { // RFC 7239
		hop := ""
		for pair := range strings.SplitSeq(element, ";") {
			if name, v, ok := strings.Cut(strings.TrimSpace(pair), "="); ok && strings.EqualFold(name, "for") {
				hop = strings.Trim(strings.TrimSpace(v), `"`)
			}
		}
		if strings.TrimSpace(element) != "" {
			hops = append(hops, hop)
		}
	}
	return hops
}

// address reads an IP address, with or without a port or brackets. An IPv4
// address is the same however it is written.
func address(s string) (netip.Addr, bool) {
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.Addr().Unmap().WithZone(""), true
	}
	if rest, ok := strings.CutPrefix(s, "["); ok {
		s, _ = strings.CutSuffix(rest, "]")
	}
	ip, err := netip.ParseAddr(s)
	return ip.Unmap().WithZone(""), err == nil
}
