package gateway_test

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
)

func itoa(n int) string { return strconv.Itoa(n) }

// TestPathTricks: a path means what it says or nothing. None reaches another tenant, another route or an error of ours.
func TestPathTricks(t *testing.T) {
	t.Parallel()
	h := open(t, "")
	other, otherKey := h.newTenant("")
	if r := h.send(otherKey, "POST", "/api/v1/rooms", object{"name": "theirs", "metadata": object{"secret": marker}}); r.status != 201 {
		t.Fatal(r.raw)
	}
	h.must(201, "POST", "/api/v1/rooms", object{"name": "a/b"})
	h.must(201, "POST", "/api/v1/rooms", object{"name": "%2e%2e"})
	h.must(201, "POST", "/api/v1/rooms", object{"name": "bulk"})
	for path, want := range map[string]int{
		"/api/v1/rooms/a%2Fb":                              200, // an escaped slash is a part of the name
		"/api/v1/rooms/a%2fb":                              200,
		"/api/v1/rooms/a/b":                                404,
		"/api/v1/rooms/%252e%252e":                         200, // a name that looks escaped is taken as it is
		"/api/v1/rooms/..":                                 400, // nothing is resolved, and there is no such name
		"/api/v1/rooms/%2e%2e":                             400,
		"/api/v1/rooms/bulk":                               200,
		"/api/v1/rooms/../tenants":                         404,
		"/api/v1/rooms/%2e%2e/tenants":                     404,
		"/api/v1/rooms/..%2ftenants":                       404,
		"/api/v1//rooms":                                   404,
		"//api/v1/rooms":                                   404,
		"/api/v1/rooms/":                                   404,
		"/api/v1/rooms//participants":                      404,
		"/API/v1/rooms":                                    404,
		"/api/v1/rooms/%00":                                400,
		"/api/v1/rooms/a%00b":                              400,
		"/api/v1/rooms/%c0%ae%c0%ae":                       400, // overlong UTF-8
		"/api/v1/rooms/%ed%a0%80":                          400, // half a surrogate pair
		"/api/v1/rooms/%ff":                                400,
		"/api/v1/rooms/a%0d%0aX:%20y":                      400,
		"/api/v1/rooms/%20":                                400,
		"/api/v1/rooms/;a=b":                               404,
		"/api/v1/rooms/theirs":                             404,
		"/api/v1/tenants/" + other:                         404,
		"/api/v1/tenants/" + other + "%2F..%2F" + h.tenant: 404,
		"/api/v1/tenants/" + h.tenant + "/../" + other:     404,
		"/api/v1/tenants/" + h.tenant + "%2F..%2F" + other + "/keys": 404,
		"/api/v1/tenants/" + strings.ToUpper(h.tenant):               404,
		"/api/v1/tenants/" + h.tenant + "%00":                        404,
		"/api/v1/rooms/" + strings.Repeat("a", 201):                  400,
		"/api/v1/rooms/" + strings.Repeat("%C3%A9", 200):             404,
		"/api/v1/rooms/" + strings.Repeat("a", 20000):                400,
		"/api/v1/rooms/" + strings.Repeat("a/", 5000):                404,
		"/metrics": 404, "/debug/pprof/heap": 404, "/healthz": 404, "/": 404, "*": 404,
	} {
		request, err := http.NewRequest(http.MethodGet, h.url, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.URL.Opaque = path // sent as it is
		request.Header.Set("X-API-Key", h.key)
		response, err := http.DefaultTransport.RoundTrip(request)
		if err != nil {
			t.Errorf("%.80s: %v", path, err)
			continue
		}
		_ = response.Body.Close()
		if response.StatusCode != want && (path != "*" || response.StatusCode != http.StatusBadRequest) {
			t.Errorf("%.80s is answered %d, want %d", path, response.StatusCode, want)
		}
	}
}

// TestQueryTricks: what is given twice, or is no number, or is not escaped, is an answer that the caller can read.
func TestQueryTricks(t *testing.T) {
	t.Parallel()
	h := open(t, "")
	for query, want := range map[string]int{
		"page_size=0": 400, "page_size=-1": 400, "page_size=1001": 400, "page_size=1e3": 400, "page_size=99999999999999999999": 400, "page_size=%00": 400,
		"page_size=1&page_size=100000": 400, "page_token=": 200, "page_token=x": 400, "page_token=" + strings.Repeat("A", 10000): 400, "page_token=MC5h": 400, "page_token=LTEuYQ": 400,
		"page_token=OTk5OTk5OTk5OTk5OTk5OTk5OTk5LmE": 400, "status=%zz": 400, "status=none": 400, "name=%ff": 200, "%00=a": 400, "a;b": 400, "=": 400, "&&&": 200,
	} {
		request, err := http.NewRequest(http.MethodGet, h.url+"/api/v1/rooms", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.URL.RawQuery = query
		request.Header.Set("X-API-Key", h.key)
		response, err := h.client.Do(request)
		if err != nil {
			t.Errorf("%.80s: %v", query, err)
			continue
		}
		_ = response.Body.Close()
		if response.StatusCode != want {
			t.Errorf("?%.80s is answered %d, want %d", query, response.StatusCode, want)
		}
	}
}

// TestHeaderTricks: headers that are strange, long or given twice.
func TestHeaderTricks(t *testing.T) {
	t.Parallel()
	h := open(t, "")
	for name, c := range map[string]struct {
		want    int
		headers string
	}{
		"a revision that will never be":   {503, "Usher-Min-Revision: 9223372036854775807\r\n"},
		"a revision beyond numbers":       {400, "Usher-Min-Revision: 9223372036854775808\r\n"},
		"a negative revision":             {400, "Usher-Min-Revision: -1\r\n"},
		"a revision with an exponent":     {400, "Usher-Min-Revision: 1e3\r\n"},
		"an id that breaks lines":         {200, "X-Request-ID: a\tb\"\\\r\n"},
		"a long id":                       {200, "X-Request-ID: " + strings.Repeat("a", 5000) + "\r\n"},
		"two keys":                        {200, "X-API-Key: usk_wrong\r\n"},
		"a broken trace":                  {200, "Traceparent: 00-zz-zz-zz\r\nTracestate: " + strings.Repeat("a=b,", 1000) + "\r\n"},
		"many hops":                       {200, "X-Forwarded-For: " + strings.Repeat("1.2.3.4,", 3000) + "\r\n"},
		"hops that are none":              {200, "X-Forwarded-For: ::ffff:999.1.1.1%eth0, \xff\r\n"},
		"a range":                         {200, "Range: bytes=0-1,2-3,4-5\r\n"},
		"another method":                  {200, "X-HTTP-Method-Override: DELETE\r\nX-Method-Override: DELETE\r\n"},
		"another address":                 {200, "X-Original-URL: /api/v1/tenants\r\nX-Rewrite-URL: /api/v1/tenants\r\n"},
		"another tenant, without the key": {200, "Usher-Tenant: tenant_00000000000000000000000000\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			statuses, body := h.raw("GET /api/v1/rooms HTTP/1.1\r\nHost: usher\r\nX-API-Key: " + h.key + "\r\n" + c.headers + "Connection: close\r\n\r\n")
			if len(statuses) != 1 || statuses[0] != c.want {
				t.Errorf("answered %v, want %d: %.300s", statuses, c.want, body)
			}
		})
	}
}

// TestBodyTricks: JSON that readers take in different ways is refused.
func TestBodyTricks(t *testing.T) {
	t.Parallel()
	h := open(t, "")
	deep := strings.Repeat(`{"a":`, 9000) + "1" + strings.Repeat("}", 9000)
	for name, body := range map[string]string{
		"a name twice":                           `{"display_name": "A", "display_name": "B"}`,
		"a name twice, escaped":                  `{"display_name": "A", "display\u005fname": "B"}`,
		"a name in another case":                 `{"Display_Name": "A"}`,
		"a byte order mark":                      "\ufeff" + `{"display_name": "A"}`,
		"invalid UTF-8":                          "{\"display_name\": \"\xff\"}",
		"overlong UTF-8":                         "{\"display_name\": \"\xc0\xaf\"}",
		"half a surrogate pair":                  `{"display_name": "\ud800"}`,
		"a null":                                 `{"display_name": "a\u0000b"}`,
		"a right-to-left override and a control": "{\"display_name\": \"a\u202eb\u0007\"}",
		"two documents":                          `{"display_name": "A"} {"display_name": "B"}`,
		"a comment":                              `{"display_name": "A" /* b */}`,
		"single quotes":                          `{'display_name': 'A'}`,
		"a trailing comma":                       `{"display_name": "A",}`,
		"infinity":                               `{"display_name": "A", "metadata": {"a": Infinity}}`,
		"a list":                                 `["display_name", "A"]`,
		"nothing but null":                       `null`,
		"deep nesting":                           `{"display_name": "A", "metadata": ` + deep + `}`,
		"nesting without an end":                 strings.Repeat(`{"metadata":`, 5_000),
		"metadata twice in it":                   `{"display_name": "A", "metadata": {"a": 1, "a": 2}}`,
		"metadata that is too much":              `{"display_name": "A", "metadata": {"a": "` + strings.Repeat("a", 5000) + `"}}`,
		"a name that is too long":                `{"display_name": "` + strings.Repeat("a", 201) + `"}`,
		"a long unknown name":                    `{"` + strings.Repeat("a", 60_000) + `": 1}`,
		"a prototype":                            `{"display_name": "A", "__proto__": {"role": "host"}}`,
	} {
		t.Run(name, func(t *testing.T) {
			h.t = t
			h.refused(h.key, 400, "invalid_request", "POST", "/api/v1/rooms/r/participants", body)
		})
	}
	h.t = t
	// Numbers that a double holds, if not exactly, are kept as they were sent; others would keep callers from reading the room.
	added := h.add("r", object{"display_name": "A"})
	for _, number := range []string{"-0", "0.1e-999", "123456789012345678901234567890", "1.7976931348623157e308"} {
		r := h.send(h.key, "POST", "/api/v1/rooms/r/participants", `{"display_name": "A", "metadata": {"n": `+number+`}}`)
		if r.status != 201 || !strings.Contains(r.raw, number) {
			t.Errorf("%.40s is answered %d %s", number, r.status, r.raw)
		}
	}
	for _, number := range []string{"1e400", "-1e400", "1" + strings.Repeat("0", 3000)} {
		h.refused(h.key, 400, "invalid_request", "POST", "/api/v1/rooms/r/participants", `{"display_name": "A", "metadata": {"n": [`+number+`]}}`)
		h.refused(h.key, 400, "invalid_request", "PATCH", "/api/v1/rooms/r", `{"metadata": {"n": `+number+`}}`)
	}
	for path, body := range map[string]string{
		"/api/v1/rooms": `{"name": "a", "config": {"max_participants": 1e99}}`, "/api/v1/rooms/r/participants/bulk-remove": `{"external_user_ids": ["a"], "ban_seconds": 9223372036854775807}`,
	} {
		h.refused(h.key, 400, "invalid_request", "POST", path, body)
	}
	if r := h.send(h.key, "DELETE", "/api/v1/rooms/r/participants/"+url.PathEscape(idOf(added))+"?ban_seconds=99999999999999999999", nil); r.status != 400 {
		t.Errorf("a ban without an end: %d %s", r.status, r.raw)
	}
}
