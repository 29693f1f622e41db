package openapitest_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"usher/gateway/openapitest"
)

const aRoom = `{"id":"room_01ke9bykyge009jh69rck9w39q","name":"CS101","status":"active","participant_count":0,"locked":false,"config":{},` +
	`"created_at":"2026-01-06T09:59:30.000Z","recording":{"status":"idle"}}`

// problemOf is a problem document as the gateway writes it.
func problemOf(code string, status int, title string) string {
	return fmt.Sprintf(`{"type":"urn:usher:error:%[1]s","title":%[3]q,"status":%[2]d,"detail":"x","code":%[1]q,"error":"x","request_id":"r1"}`,
		code, status, title)
}

var (
	noRoom   = problemOf("room_not_found", 404, "No such room")
	noPath   = problemOf("not_found", 404, "There is nothing at this path")
	noMethod = problemOf("method_not_allowed", 405, "The method is not allowed here")
)

// exchange is a request and what a made-up server answers to it.
type exchange struct {
	name    string
	request string // "GET /path"
	status  int
	header  string // beside the usual two; "-Name" takes one away
	body    string
	want    string // in the report; "" for an answer that is good
}

func exchanges() []exchange {
	const room, problem = "Content-Type: application/json\nETag: \"x\"", "Content-Type: application/problem+json"
	get := "GET /api/v1/rooms/CS101"
	return []exchange{
		{"a good answer", get, 200, room, aRoom, ""},
		{"with a charset", get, 200, "Content-Type: application/json; charset=utf-8\nETag: \"x\"", aRoom, ""},
		{"a name with an escaped slash", "GET /api/v1/rooms/a%2Fb%20%E2%9C%93", 200, room, aRoom, ""},
		{"a good problem", get, 404, problem, noRoom, ""},
		{"no content", "DELETE /api/v1/rooms/CS101", 204, "", "", ""},
		{"HEAD has no body", "HEAD /api/v1/rooms/CS101", 200, room, "", ""},
		{"an unknown path", "GET /api/v1/nothing/here", 404, problem, noPath, ""},
		{"a name that is empty is an unknown path", "GET /api/v1/rooms/", 404, problem, noPath, ""},
		{"another method", "PUT /api/v1/rooms/CS101", 405, problem + "\nAllow: DELETE, GET, HEAD, PATCH", noMethod, ""},
		{"bulk is no participant", "DELETE /api/v1/rooms/CS101/participants/bulk", 405, problem + "\nAllow: POST", noMethod, ""},

		{"an undocumented status", get, 418, room, aRoom, "the status 418 is not documented; these are: 200, 400, 401"},
		{"a missing header", get, 200, room + "\n-Usher-Revision", aRoom, "Required header 'Usher-Revision' is missing"},
		{"a header that is no number", get, 200, room + "\nUsher-Revision: new", aRoom, "got string, want integer"},
		{"a missing challenge", get, 401, problem, problemOf("unauthenticated", 401, "No credential, or one that is not known"), "'WWW-Authenticate' is missing"},
		{"another content type", get, 200, "Content-Type: text/plain", aRoom, "content type 'text/plain'"},
		{"no content type", get, 200, "", aRoom, "content type ''"},
		{"a missing member", get, 200, room, strings.Replace(aRoom, `"name":"CS101",`, "", 1), "missing property 'name'"},
		{"a member too many", get, 200, room, strings.Replace(aRoom, `{"id"`, `{"secret":1,"id"`, 1), "'secret' not allowed"},
		{"a member too many, further down", get, 200, room, strings.Replace(aRoom, `"idle"`, `"idle","by":"x"`, 1), "'by' not allowed"},
		{"a value of the wrong type", get, 200, room, strings.Replace(aRoom, `count":0`, `count":"0"`, 1), "$.participant_count got string, want integer"},
		{"a value out of its list", get, 200, room, strings.Replace(aRoom, `active`, `open`, 1), "$.status value must be one of"},
		{"a time without milliseconds", get, 200, room, strings.Replace(aRoom, `30.000Z`, `30Z`, 1), "$.created_at"},
		{"a time that is none", get, 200, room, strings.Replace(aRoom, `01-06T`, `13-06T`, 1), "$.created_at"},
		{"the id of something else", get, 200, room, strings.Replace(aRoom, `room_`, `p_`, 1), "$.id"},
		{"null for a body", get, 200, room, "null", "the body is null"},
		{"no body", get, 200, room, "", "there is no body"},
		{"a body for no content", "DELETE /api/v1/rooms/CS101", 204, room, aRoom, "there should be no body"},
		{"a name twice", get, 200, room, strings.Replace(aRoom, `{"id"`, `{"name":"x","id"`, 1), "has a name twice"},
		{"two values", get, 200, room, aRoom + aRoom, "not JSON"},
		{"a private key", "GET /api/v1/tenants/tenant_01ke953t00e00bsaekf59edd1r/.well-known/jwks.json", 200, room + "\nCache-Control: no-store",
			`{"keys":[{"kty":"OKP","crv":"Ed25519","alg":"EdDSA","use":"sig","kid":"k","x":"x","d":"d"}]}`, "'d' not allowed"},

		{"a code that the operation does not have", get, 404, problem, noPath, "$.code value must be one of 'room_not_found', 'tenant_not_found'"},
		{"a code of another status", get, 404, problem, strings.Replace(noRoom, "404", "409", 1), "the status in the body is 409"},
		{"a title of its own", get, 404, problem, strings.Replace(noRoom, "No such", "Which", 1), `the title is "Which room"`},
		{"a type of its own", get, 404, problem, strings.Replace(noRoom, "error:room", "error:home", 1), "the type urn:usher:error:home_not_found"},
		{"error that is not detail", get, 404, problem, strings.Replace(noRoom, `"error":"x"`, `"error":"y"`, 1), "error and detail are not the same"},
		{"the id of another request", get, 404, problem, strings.Replace(noRoom, "r1", "r2", 1), `the request_id is "r2"`},
		{"an unknown path that answers", "GET /api/v1/nothing", 200, room, aRoom, "the status 200 is not documented; these are: 404"},
		{"an unknown path in plain text", "GET /api/v1/nothing", 404, "Content-Type: text/plain", "404 page not found", "content type 'text/plain'"},
		{"another method without Allow", "PUT /api/v1/rooms/CS101", 405, problem, noMethod, "'Allow' is missing"},
		{"another method that answers", "PUT /api/v1/rooms/CS101", 200, room, aRoom, "the status 200 is not documented; these are: 405"},
	}
}

func TestEveryDifferenceIsReportedAndNothingElse(t *testing.T) {
	for _, e := range exchanges() {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			recorder := &recorder{TB: t}
			response := e.send(t, openapitest.Transport(recorder, e))
			if body, err := io.ReadAll(response.Body); err != nil || string(body) != e.body {
				t.Errorf("the body after the check is %q, %v", body, err)
			}
			recorder.want(t, e.want)
		})
	}
}

func TestAReportShowsTheRequestAndTheAnswerButNoCredential(t *testing.T) {
	recorder := &recorder{TB: t}
	request, _ := http.NewRequest(http.MethodPost, "http://usher.test/api/v1/rooms?x=1", strings.NewReader(`{"name":"CS101"}`))
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("X-API-Key", "usk_secret")
	e := exchange{status: 201, header: "Content-Type: application/json", body: aRoom}
	if _, err := openapitest.Transport(recorder, e).RoundTrip(request); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"createRoom", "'Location' is missing", "POST /api/v1/rooms?x=1", `{"name":"CS101"}`, "201 Created", "Usher-Revision: 7", aRoom} {
		recorder.want(t, want)
	}
	if strings.Contains(strings.Join(recorder.failures, ""), "usk_secret") {
		t.Error("the report shows a credential")
	}
}

func TestBothWaysReportsARequestThatTheDocumentDoesNotAllow(t *testing.T) {
	const path = "http://usher.test/api/v1/rooms"
	created := exchange{status: 201, header: "Content-Type: application/json\nETag: \"x\"\nLocation: /api/v1/rooms/room_01ke9bykyge009jh69rck9w39q", body: aRoom}
	for name, c := range map[string]struct{ url, body, want string }{
		"good":                 {path, `{"name":"CS101","scheduled_start_at":"2026-01-06T10:00:00+01:00"}`, ""},
		"no name":              {path, `{}`, "missing property 'name'"},
		"an unknown member":    {path, `{"name":"CS101","colour":"red"}`, "'colour' not allowed"},
		"a path of its own":    {path + "/a/b/c/d", `{}`, "an unknown path"},
		"a method of its own":  {path + "/CS101", `{}`, "a method that the path does not have"},
		"a bound not observed": {path, `{"name":"CS101","config":{"max_participants":10001}}`, "$.config.max_participants"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			recorder := &recorder{TB: t}
			request, _ := http.NewRequest(http.MethodPost, c.url, strings.NewReader(c.body))
			request.Header.Set("Content-Type", "application/json")
			request.Header.Set("X-API-Key", "usk_x")
			openapitest.New(recorder).CheckRequest(request)
			recorder.want(t, c.want)
			if c.want != "" {
				return
			}
			if _, err := openapitest.BothWays(recorder, created).RoundTrip(request); err != nil {
				t.Fatal(err)
			}
			recorder.want(t, "")
		})
	}
}

func TestManyAtOnce(t *testing.T) {
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for _, e := range exchanges() {
				recorder := &recorder{TB: t}
				e.send(t, openapitest.Transport(recorder, e))
				recorder.want(t, e.want)
			}
		})
	}
	all.Wait()
}

func BenchmarkCheckAnswer(b *testing.B) {
	e := exchange{request: "GET /api/v1/rooms/CS101", status: 200, header: "Content-Type: application/json", body: aRoom}
	transport := openapitest.Transport(b, e)
	for b.Loop() {
		e.send(b, transport)
	}
}

func (e exchange) send(tb testing.TB, transport http.RoundTripper) *http.Response {
	tb.Helper()
	method, path, _ := strings.Cut(e.request, " ")
	request, err := http.NewRequest(method, "http://usher.test"+path, nil)
	if err != nil {
		tb.Fatal(err)
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		tb.Fatal(err)
	}
	return response
}

// RoundTrip is the made-up server.
func (e exchange) RoundTrip(r *http.Request) (*http.Response, error) {
	header := http.Header{"Usher-Revision": {"7"}, "X-Request-Id": {"r1"}}
	for line := range strings.Lines(e.header) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		header.Set(strings.TrimPrefix(name, "-"), value)
		if strings.HasPrefix(name, "-") {
			header.Del(name[1:])
		}
	}
	return &http.Response{StatusCode: e.status, Header: header, Body: io.NopCloser(strings.NewReader(e.body)), Request: r}, nil
}

// recorder is a test that may fail.
type recorder struct {
	testing.TB
	mu       sync.Mutex
	failures []string // guarded by mu
}

func (r *recorder) Helper() {}

func (r *recorder) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failures = append(r.failures, fmt.Sprintf(format, args...))
}

// want checks that the failures say what is wanted, or that there are none when nothing is.
func (r *recorder) want(t *testing.T, text string) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	got := strings.Join(r.failures, "\n")
	if (text == "") != (got == "") || !strings.Contains(got, text) {
		t.Errorf("want %q, reported: %s", text, got)
	}
}
