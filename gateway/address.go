package gateway

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// Site is the part of the network that one caller has to itself: an IPv4 address, or the /64 of an IPv6 one, of which a
// network has 2^64 (RFC 6177). Limits are by site.
func Site(a netip.Addr) netip.Prefix {
	bits := 64
	if a = a.Unmap(); a.Is4() {
		bits = 32
	}
	site, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{} // no address at all
	}
	return site
}

// Proxies are the networks of the proxies that are trusted.
type Proxies []netip.Prefix

// Contain says whether an address is one of them.
func (p Proxies) Contain(a netip.Addr) bool {
	return slices.ContainsFunc(p, func(network netip.Prefix) bool { return network.Contains(a) })
}

// Sent says whether one of them has sent the request.
func (p Proxies) Sent(r *http.Request) bool {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	return err == nil && p.Contain(peer.Addr().Unmap())
}

// address is where the request comes from. Behind proxies that are trusted it is what they say in X-Forwarded-For: the
// last address that is no trusted proxy's, since whatever stands before it the client may have written itself.
func (g *Gateway) address(c *call) netip.Addr {
	peer, err := netip.ParseAddrPort(c.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	from := peer.Addr().Unmap()
	hops := strings.Split(strings.Join(c.Header.Values("X-Forwarded-For"), ","), ",")
	for _, hop := range slices.Backward(hops) {
		if !g.TrustedProxies.Contain(from) {
			break
		}
		addr, err := netip.ParseAddr(strings.TrimSpace(hop))
		if err != nil {
			break
		}
		from = addr.Unmap()
	}
	return from
}
