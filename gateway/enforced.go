package gateway

import (
	"net/http"
	"strconv"
)

// takesAway names the routes that take away what somebody could do. Their answers wait until the replicas that are alive
// have applied it, half a second at most, and say in Usher-Enforced in how many of those it is in force that may still
// answer anybody.
func takesAway() map[string]bool {
	const (
		room  = "/api/v1/rooms/{id}"
		owner = "/api/v1/tenants/{id}"
	)
	return map[string]bool{
		http.MethodPost + " " + room + "/participants/bulk-remove": true,
		http.MethodDelete + " " + room + "/participants/{pid}":     true,
		http.MethodPost + " " + room + "/participants/{pid}/leave": true,
		http.MethodDelete + " " + room:                             true,
		http.MethodPost + " " + room + "/end":                      true,
		http.MethodPost + " " + room + "/lock":                     true,
		http.MethodDelete + " " + owner:                            true,
		http.MethodPost + " " + owner + "/suspend":                 true,
		http.MethodDelete + " " + owner + "/keys/{key_id}":         true,
		http.MethodPost + " " + owner + "/keys/{key_id}/rotate":    true,
		http.MethodPost + " " + owner + "/rotate-key":              true,
		http.MethodPost + " " + owner + "/signing-keys/rotate":     true,
		http.MethodDelete + " " + owner + "/signing-keys/{kid}":    true,
	}
}

const headerEnforced = "Usher-Enforced"

// enforce tells how far what the call has taken away is in force.
func (g *Gateway) enforce(w *recorder, c *call) {
	if !c.request.TakesAway {
		return
	}
	applied, of := g.Log.Enforced(c.Context(), &c.request)
	w.set(headerEnforced, strconv.Itoa(applied)+"/"+strconv.Itoa(of))
}
