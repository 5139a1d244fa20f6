package egress

import "net/netip"

// class says what lies behind an IP address.
type class string

const (
	public    class = ""             // anywhere on the internet
	loopback  class = "loopback"     // this machine
	private   class = "private"      // RFC 1918, RFC 4193, shared address space (RFC 6598), site-local
	linkLocal class = "link-local"   // RFC 3927, RFC 4291; cloud metadata lives here
	metadata  class = "metadata"     // metadata services outside the link-local range
	unusable  class = "not routable" // unspecified, multicast, reserved, documentation, tunnels
)

// Services that hand out a machine's credentials at addresses outside
// 169.254.0.0/16: AWS over IPv6, Alibaba Cloud, Azure's wire server, Oracle.
var metadataAddresses = map[netip.Addr]bool{
	netip.MustParseAddr("fd00:ec2::254"):   true,
	netip.MustParseAddr("100.100.100.200"): true,
	netip.MustParseAddr("168.63.129.16"):   true,
	netip.MustParseAddr("192.0.0.192"):     true,
}

// Ranges of the IANA special-purpose registries that netip has no method for.
var ranges = []struct {
	prefix netip.Prefix
	class  class
}{
	{netip.MustParsePrefix("0.0.0.0/8"), unusable},       // this network
	{netip.MustParsePrefix("100.64.0.0/10"), private},    // carrier-grade NAT
	{netip.MustParsePrefix("192.0.0.0/24"), unusable},    // IETF protocol assignments
	{netip.MustParsePrefix("192.0.2.0/24"), unusable},    // documentation
	{netip.MustParsePrefix("192.88.99.0/24"), unusable},  // 6to4 relays
	{netip.MustParsePrefix("198.18.0.0/15"), unusable},   // benchmarking
	{netip.MustParsePrefix("198.51.100.0/24"), unusable}, // documentation
	{netip.MustParsePrefix("203.0.113.0/24"), unusable},  // documentation
	{netip.MustParsePrefix("240.0.0.0/4"), unusable},     // reserved, and broadcast
	{netip.MustParsePrefix("64:ff9b:1::/48"), private},   // local NAT64
	{netip.MustParsePrefix("100::/64"), unusable},        // discard
	{netip.MustParsePrefix("2001::/23"), unusable},       // IETF protocol assignments, Teredo
	{netip.MustParsePrefix("2001:db8::/32"), unusable},   // documentation
	{netip.MustParsePrefix("3fff::/20"), unusable},       // documentation
	{netip.MustParsePrefix("5f00::/16"), unusable},       // segment routing
	{netip.MustParsePrefix("fec0::/10"), private},        // site-local, deprecated
}

var (
	nat64  = netip.MustParsePrefix("64:ff9b::/96")
	sixTo4 = netip.MustParsePrefix("2002::/16")
	compat = netip.MustParsePrefix("::/96")
)

// classify says what lies behind a, looking through the IPv6 forms that hold
// an IPv4 address.
func classify(a netip.Addr) class {
	a = a.Unmap().WithZone("")
	if a.Is6() {
		b := a.As16()
		switch {
		case nat64.Contains(a):
			return classify(netip.AddrFrom4([4]byte(b[12:16])))
		case sixTo4.Contains(a):
			return classify(netip.AddrFrom4([4]byte(b[2:6])))
		case compat.Contains(a) && !a.IsLoopback():
			return unusable // the unspecified address and the old IPv4-compatible form
		}
	}
	switch {
	case metadataAddresses[a]:
		return metadata
	case a.IsLoopback():
		return loopback
	case a.IsUnspecified(), a.IsMulticast():
		return unusable
	case a.IsLinkLocalUnicast():
		return linkLocal
	case a.IsPrivate():
		return private
	}
	for _, r := range ranges {
		if r.prefix.Contains(a) {
			return r.class
		}
	}
	return public
}
