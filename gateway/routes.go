package gateway

import (
	"cmp"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gorilla/mux"

	"usher"
	"usher/participants"
	"usher/rooms"
	"usher/tenant"
)

// route is one line of the table: where, who, with how much, and what.
type route struct {
	method string
	path   string
	access access
	body   int64 // the largest that is taken, in bytes; noBody: there is none
	handle func(*call) (answer, error)
}

// endpoint is a route with what is ready in it, so that no request has to make it.
type endpoint struct {
	route
	query     []string // parameters
	takesAway bool     // see takesAway
	durations *durations
	lines     slog.Handler // of the log, with the method and the route in them
}

// routes is the whole API.
func (g *Gateway) routes() []route {
	const (
		room   = "/api/v1/rooms/{id}"
		owner  = "/api/v1/tenants/{id}"
		get    = http.MethodGet
		post   = http.MethodPost
		patch  = http.MethodPatch
		remove = http.MethodDelete
	)
	return []route{
		{post, room + "/participants", byKey(tenant.ParticipantsWrite), ordinaryBody, inRoom(g.addParticipant)},
		{get, room + "/participants", byKey(tenant.ParticipantsRead).orSeat(""), noBody, inRoom(g.listParticipants)},
		{post, room + "/participants/bulk", byKey(tenant.ParticipantsWrite), bulkBody, inRoom(g.addParticipants)},
		{post, room + "/participants/bulk-remove", byKey(tenant.ParticipantsWrite).orSeat(tenant.GrantModerate), bulkBody, inRoom(g.removeParticipants)},
		{get, room + "/participants/{pid}", byKey(tenant.ParticipantsRead).orSeat(""), noBody, inSeat(g.getParticipant)},
		{remove, room + "/participants/{pid}", byKey(tenant.ParticipantsWrite).orSeat(tenant.GrantModerate), noBody, inSeat(g.removeParticipant)},
		{post, room + "/participants/{pid}/token", byKey(tenant.ParticipantsWrite).orOwnSeat().orRefreshToken(), noBody, inSeat(g.refreshTokens)},
		{post, room + "/participants/{pid}/leave", byKey(tenant.ParticipantsWrite).orOwnSeat(), noBody, inSeat(g.leave)},
		{post, room + "/participants/{pid}/heartbeat", byKey(tenant.ParticipantsWrite).orOwnSeat(), noBody, inSeat(g.heartbeat)},
		{get, room + "/bans", byKey(tenant.ParticipantsRead).orSeat(tenant.GrantModerate), noBody, inRoom(g.listBans)},
		{remove, room + "/bans", byKey(tenant.ParticipantsWrite).orSeat(tenant.GrantModerate), noBody, inRoom(g.liftBans)},

		{post, "/api/v1/rooms", byKey(tenant.RoomsWrite), ordinaryBody, g.createRoom},
		{get, "/api/v1/rooms", byKey(tenant.RoomsRead), noBody, g.listRooms},
		{get, room, byKey(tenant.RoomsRead).orSeat(""), noBody, inRoom(g.getRoom)},
		{patch, room, byKey(tenant.RoomsWrite), ordinaryBody, inRoom(g.updateRoom)},
		{remove, room, byKey(tenant.RoomsWrite), noBody, inRoom(g.deleteRoom)},
		{post, room + "/end", byKey(tenant.RoomsWrite).orSeat(tenant.GrantModerate), noBody, inRoom(g.endRoom)},
		{post, room + "/lock", byKey(tenant.RoomsWrite).orSeat(tenant.GrantModerate), noBody, inRoom(g.lockRoom)},
		{post, room + "/unlock", byKey(tenant.RoomsWrite).orSeat(tenant.GrantModerate), noBody, inRoom(g.unlockRoom)},
		{post, room + "/recordings/start", byKey(tenant.RoomsWrite).orSeat(tenant.GrantRecord), noBody, inRoom(g.startRecording)},
		{post, room + "/recordings/stop", byKey(tenant.RoomsWrite).orSeat(tenant.GrantRecord), noBody, inRoom(g.stopRecording)},

		{post, "/api/v1/auth/token", byAnyKey(), ordinaryBody, g.exchangeKey},
		{post, "/api/v1/tokens/introspect", byKey(tenant.ParticipantsRead), ordinaryBody, g.introspect},

		{post, "/api/v1/tenants", byOperator(), ordinaryBody, g.createTenant},
		{get, "/api/v1/tenants", byOperator(), noBody, g.listTenants},
		{get, owner, ofTenant(tenant.TenantRead), noBody, inTenant(g.getTenant)},
		{patch, owner, ofTenant(tenant.TenantWrite), ordinaryBody, inTenant(g.updateTenant)},
		{remove, owner, byOperator(), noBody, inTenant(g.deleteTenant)},
		{post, owner + "/suspend", byOperator(), ordinaryBody, inTenant(g.suspendTenant)},
		{post, owner + "/resume", byOperator(), noBody, inTenant(g.resumeTenant)},
		{get, owner + "/config", ofTenant(tenant.TenantRead), noBody, inTenant(g.getSettings)},
		{patch, owner + "/config", ofTenant(tenant.TenantWrite), settingsBody, inTenant(g.patchSettings)},
		{get, owner + "/config/versions", ofTenant(tenant.TenantRead), noBody, inTenant(g.listVersions)},
		{get, owner + "/config/versions/{version}", ofTenant(tenant.TenantRead), noBody, inTenant(g.getVersion)},
		{post, owner + "/config/rollback", ofTenant(tenant.TenantWrite), ordinaryBody, inTenant(g.rollbackSettings)},
		{post, owner + "/keys", ofTenant(tenant.TenantWrite), ordinaryBody, inTenant(g.createKey)},
		{get, owner + "/keys", ofTenant(tenant.TenantRead), noBody, inTenant(g.listKeys)},
		{remove, owner + "/keys/{key_id}", ofTenant(tenant.TenantWrite), noBody, inTenant(g.revokeKey)},
		{post, owner + "/keys/{key_id}/rotate", ofTenant(tenant.TenantWrite), ordinaryBody, inTenant(g.rotateKey)},
		{post, owner + "/rotate-key", ofTenant(tenant.TenantWrite), ordinaryBody, inTenant(g.rotateMainKey)},
		{post, owner + "/signing-keys/rotate", ofTenant(tenant.TenantWrite).costing(rotationCost), ordinaryBody, inTenant(g.rotateSigningKey)},
		{get, owner + "/signing-keys", ofTenant(tenant.TenantRead), noBody, inTenant(g.listSigningKeys)},
		{remove, owner + "/signing-keys/{kid}", ofTenant(tenant.TenantWrite), noBody, inTenant(g.deleteSigningKey)},
		{get, owner + "/audit", ofTenant(tenant.TenantRead), noBody, inTenant(g.listAudit)},
		{get, owner + "/.well-known/jwks.json", byAnybody(), noBody, inTenant(g.getJWKS)},
		{get, owner + "/.well-known/openid-configuration", byAnybody(), noBody, inTenant(g.getDiscovery)},

		{get, "/api/v1/defaults", byOperator(), noBody, g.getBaseline},
		{http.MethodPut, "/api/v1/defaults", byOperator(), ordinaryBody, g.putBaseline},
		{get, "/api/v1/audit", byOperator(), noBody, g.listOperatorAudit},
		{get, "/settings.schema.json", byAnybody().atAnyTime(), noBody, getSettingsSchema},

		{get, "/openapi.yaml", byAnybody().atAnyTime(), noBody, getOpenAPI},
		{get, "/docs", byAnybody().atAnyTime(), noBody, getReference},
	}
}

// rotationCost is what a new signing key costs, in ordinary requests: an RSA key takes 75 ms of a processor, and most
// requests less than one.
const rotationCost = 50

// inTenant hands the tenant that the path names to a handler.
func inTenant(handle func(*call, tenant.ID) (answer, error)) func(*call) (answer, error) {
	return func(c *call) (answer, error) {
		id, err := c.pathTenant()
		if err != nil {
			return answer{}, err
		}
		return handle(c, id)
	}
}

// inRoom hands the room that the path refers to to a handler.
func inRoom(handle func(*call, rooms.Ref) (answer, error)) func(*call) (answer, error) {
	return func(c *call) (answer, error) {
		ref, err := c.room()
		if err != nil {
			return answer{}, err
		}
		return handle(c, ref)
	}
}

// inSeat hands the participant of the path, and its room, to a handler.
func inSeat(handle func(*call, rooms.Ref, participants.ID) (answer, error)) func(*call) (answer, error) {
	return inRoom(func(c *call, ref rooms.Ref) (answer, error) {
		id, err := c.participant()
		if err != nil {
			return answer{}, err
		}
		return handle(c, ref, id)
	})
}

// resource is a path of the table, with what may be done there.
type resource struct {
	gateway  *Gateway
	prefix   string   // of the template, up to its first variable
	segments []string // of what follows, the variables in braces; none: the template has no variable
	methods  map[string]*endpoint
	allow    string // as the header Allow names them
}

// route builds the router from the table: one entry for each path, which knows its methods.
func (g *Gateway) route() {
	g.router = mux.NewRouter().SkipClean(true)
	g.resources = make(map[*mux.Route]*resource)
	paths, queries, takesAway := make(map[string]*resource), queries(), takesAway()
	for _, r := range g.routes() { // in the table's order: "bulk" before "{pid}"
		known := paths[r.path]
		if known == nil {
			known = newResource(g, r.path)
			paths[r.path] = known
			g.resources[g.router.MatcherFunc(known.matches)] = known
		}
		known.methods[r.method] = &endpoint{
			route: r, query: queries[r.method+" "+r.path], takesAway: takesAway[r.method+" "+r.path], durations: g.metrics.durations(r.method, r.path),
			lines: g.lines.WithAttrs([]slog.Attr{slog.String("method", r.method), slog.String("route", r.path)}),
		}
	}
	for _, known := range paths {
		known.allow = allowed(known.methods)
	}
}

func newResource(g *Gateway, template string) *resource {
	r := &resource{gateway: g, prefix: template, methods: make(map[string]*endpoint)}
	if before, _, variable := strings.Cut(template, "{"); variable {
		r.prefix, r.segments = before, strings.Split(template[len(before):], "/")
	}
	return r
}

// matches says whether a request's path is the resource's. The router's own patterns are regular expressions, tried one
// after the other; reading the segments as they stand takes a tenth of the time.
func (r *resource) matches(request *http.Request, _ *mux.RouteMatch) bool {
	rest, ok := strings.CutPrefix(escapedPath(request), r.prefix)
	if !ok || len(r.segments) == 0 {
		return ok && rest == ""
	}
	for i, want := range r.segments {
		given, after, more := strings.Cut(rest, "/")
		if more != (i < len(r.segments)-1) || given == "" || (given != want && want[0] != '{') {
			return false
		}
		rest = after
	}
	return true
}

// segment is what stands in the path for a variable of the template, as it was sent.
func (r *resource) segment(request *http.Request, name string) string {
	rest := escapedPath(request)[len(r.prefix):]
	for _, want := range r.segments {
		given, after, _ := strings.Cut(rest, "/")
		if len(want) == len(name)+2 && want[1:len(want)-1] == name {
			return given
		}
		rest = after
	}
	return ""
}

// escapedPath is the path in a form in which an escaped slash is not one: as it was sent, where net/http has kept that
// since the plain path would not say it all, and otherwise the plain path.
func escapedPath(request *http.Request) string {
	if request.URL.RawPath != "" {
		return request.URL.RawPath
	}
	return request.URL.Path
}

// dispatch finds what the path names, and has it serve the request.
func (g *Gateway) dispatch(w *recorder, c *call) {
	var match mux.RouteMatch
	if !g.router.Match(c.Request, &match) {
		g.turnAway(w, c, usher.Errorf(usher.CodeNotFound, "There is nothing at this path; /docs has all there are."))
		return
	}
	c.resource = g.resources[match.Route]
	c.resource.serve(w, c)
}

// serve takes a request through what every route needs: the method, the state of the index, the credential, the handler.
func (r *resource) serve(w *recorder, c *call) {
	g, method := r.gateway, c.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	if isPreflight(c.Request) {
		if err := g.chargeStranger(c, nil); err != nil {
			g.fail(w, c, err)
			return
		}
		g.preflight(w, c.Request, r.methods)
		return
	}
	c.route = r.methods[method]
	if c.route == nil {
		w.Header().Set("Allow", r.allow)
		g.turnAway(w, c, usher.Errorf(usher.CodeMethodNotAllowed, "Use %s here.", r.allow))
		return
	}
	a, err := g.answer(w, c)
	g.allowOrigin(c, w.Header())
	if err != nil {
		g.fail(w, c, err)
		return
	}
	a.write(g, w, c)
}

func (g *Gateway) answer(w *recorder, c *call) (answer, error) {
	if !c.route.access.anyTime {
		if err := g.admitState(w); err != nil {
			return answer{}, err
		}
	}
	if err := g.authorize(c); err != nil {
		return answer{}, err
	}
	if err := cmp.Or(c.ask(), c.expect()); err != nil {
		return answer{}, err
	}
	// Before it is under way: who is slow to send takes no place from others.
	if err := g.receive(c); err != nil {
		return answer{}, err
	}
	defer g.deadline(c)()
	g.bind(c)
	a, err := g.handle(c)
	if err == nil {
		g.enforce(w, c) // holding up nobody: it only waits
	}
	return a, err
}

// handle has the route handle the call, when there is room for it among those under way.
func (g *Gateway) handle(c *call) (answer, error) {
	if c.caller.credential == operatorKey { // who has to put right what is wrong
		return c.route.handle(c)
	}
	others := &g.writing
	if reads(c.Method) {
		others = &g.reading
	}
	if err := others.enter(c.Context(), time.Now()); err != nil {
		return answer{}, err
	}
	defer others.leave()
	if len(c.body) >= heavyBody {
		if err := g.heavy.Acquire(c.Context(), 1); err != nil {
			return answer{}, &usher.Error{Code: usher.CodeUnavailable, RetryAfter: time.Second, Err: err,
				Detail: "Nothing was done: requests as large as this one wait for each other, and this one has waited too long. Try again."}
		}
		defer g.heavy.Release(1)
	}
	return c.route.handle(c)
}

// heavyBody is from how many bytes on a body takes so long to read and to judge, milliseconds, that only half of the
// processors work on such ones: the others are left to those who ask for little. A bulk of a hundred ordinary participants
// has half of it.
const heavyBody = 16 << 10

// turnAway answers who comes for what there is not, once that is paid for.
func (g *Gateway) turnAway(w *recorder, c *call, err error) {
	g.fail(w, c, cmp.Or(g.chargeVisitor(c), err))
}

func (g *Gateway) fail(w *recorder, c *call, err error) {
	c.failure = err
	writeProblem(w, c, err)
}

func allowed(methods map[string]*endpoint) string {
	var names []string
	for name := range methods {
		names = append(names, name)
		if name == http.MethodGet {
			names = append(names, http.MethodHead)
		}
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// segment is a variable of the path, unescaped: a name may hold spaces, Unicode and slashes.
func (c *call) segment(name string) (string, error) {
	s := c.resource.segment(c.Request, name)
	if c.URL.RawPath == "" {
		return s, nil // the plain path, which net/http has unescaped
	}
	s, err := url.PathUnescape(s)
	if err != nil {
		return "", usher.Invalid(usher.FieldError{Field: name, Message: "is not properly escaped"})
	}
	return s, nil
}
