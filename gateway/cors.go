package gateway

import (
	"net/http"
	"slices"
	"sync/atomic"

	"usher/tenant"
)

// Browsers ask before they let a page's script call with a token (CORS, the Fetch standard). Such a question carries no
// credential, so it cannot be told which tenant it concerns: it is answered yes when any tenant allows the origin. What
// counts is the call itself, whose answer a script may read only if the token's own tenant allows its origin.

const (
	corsMethods = "GET, POST, DELETE"
	corsHeaders = "Authorization, Content-Type, Usher-Min-Revision, X-Request-ID"
	corsExposed = "ETag, RateLimit, RateLimit-Policy, Retry-After, Usher-Enforced, Usher-Revision, Usher-Stale, X-Request-ID"
	corsMaxAge  = "600" // seconds for which a browser may remember the answer
)

// isPreflight says whether a request is a browser's question.
func isPreflight(r *http.Request) bool {
	return r.Method == http.MethodOptions && r.Header.Get("Origin") != "" && r.Header.Get("Access-Control-Request-Method") != ""
}

// preflight answers the question for a path: only routes that a participant's token may call are open to scripts, and
// those that anybody may.
func (g *Gateway) preflight(w *recorder, r *http.Request, methods map[string]*endpoint) {
	header := w.Header()
	header.Add("Vary", "Origin, Access-Control-Request-Method")
	origin := r.Header.Get("Origin")
	route := methods[r.Header.Get("Access-Control-Request-Method")]
	if route != nil && (route.access.anybody || (route.access.seat && g.origins.allows(g.Tenants, origin))) {
		header.Set("Access-Control-Allow-Origin", origin)
		header.Set("Access-Control-Allow-Methods", corsMethods)
		header.Set("Access-Control-Allow-Headers", corsHeaders)
		header.Set("Access-Control-Max-Age", corsMaxAge)
	}
	w.WriteHeader(http.StatusNoContent)
}

// allowOrigin lets a script read the answer, when the caller is a participant whose tenant allows the script's origin.
func (g *Gateway) allowOrigin(c *call, header http.Header) {
	origin := c.Header.Get("Origin")
	if origin == "" || c.route == nil {
		return
	}
	header.Add("Vary", "Origin")
	switch {
	case c.route.access.anybody:
		header.Set("Access-Control-Allow-Origin", "*")
	case c.caller.credential == seatJWT && slices.Contains(c.caller.tenant.Settings.AllowedOrigins, origin):
		header.Set("Access-Control-Allow-Origin", origin)
	default:
		return
	}
	header.Set("Access-Control-Expose-Headers", corsExposed)
}

// origins remembers which origins any tenant allows.
type origins struct{ known atomic.Pointer[knownOrigins] }

type knownOrigins struct {
	allowed map[string]struct{}
	changed [2]<-chan struct{} // one is closed when allowed may be out of date
}

func (k *knownOrigins) current() bool {
	if k == nil {
		return false
	}
	for _, changed := range k.changed {
		select {
		case <-changed:
			return false
		default:
		}
	}
	return true
}

func (o *origins) allows(tenants *tenant.Service, origin string) bool {
	known := o.known.Load()
	if !known.current() {
		known = &knownOrigins{}
		known.allowed, known.changed = tenants.AllowedOrigins()
		o.known.Store(known)
	}
	_, ok := known.allowed[origin]
	return ok
}
