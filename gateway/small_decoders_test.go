package gateway

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"usher"
)

// FuzzHeadersAndQuery: what comes in a query or a header and is read by hand is refused with the field's name, or read.
func FuzzHeadersAndQuery(f *testing.F) {
	f.Add("page_size=10&page_token="+nextPage(5, "room_1"), "an id", "Bearer a", "10.0.0.1, ::1", "key")
	f.Add("page_token=LTEu", "a\"b", "bearer  ", ",,,", "")
	f.Add("page_size=1;page_token=MS4", strings.Repeat("a", 200), "Basic a", "fe80::1%eth0", "\x00")
	f.Add("active=maybe&page_size=%zz", "\xff", "\xff\xff", "999.9.9.9", strings.Repeat("é", 256))
	f.Fuzz(func(t *testing.T, rawQuery, id, authorization, hops, idempotency string) {
		query, _ := url.ParseQuery(rawQuery)
		p, err := pageOf(query)
		if err != nil && !usher.HasCode(err, usher.CodeInvalidRequest) {
			t.Fatalf("%q: %v", rawQuery, err)
		}
		if err == nil && (p.size < 1 || p.size > maxPage || p.pin < 0) {
			t.Fatalf("%q is the page %+v", rawQuery, p)
		}
		if err == nil && p.pin > 0 {
			if again, err := pageOf(url.Values{"page_token": {nextPage(p.pin, p.after)}}); err != nil || again.pin != p.pin || again.after != p.after {
				t.Fatalf("%+v becomes %+v, %v", p, again, err)
			}
		}
		if given := requestID(id); given == "" || len(given) > maxRequestID || strings.ContainsAny(given, "\r\n\"\\ \x00") {
			t.Fatalf("%q becomes the id %q", id, given)
		}
		c := &call{Request: httptest.NewRequest(http.MethodPost, "/", nil)}
		c.Header.Set("Authorization", authorization)
		c.Header.Set("X-Forwarded-For", hops)
		c.Header[idempotencyHeader] = []string{idempotency}
		if credential, err := credentialOf(c); err != nil && !usher.HasCode(err, usher.CodeUnauthenticated) {
			t.Fatalf("%q is %q, %v", authorization, credential, err)
		}
		g := &Gateway{Options: Options{TrustedProxies: nil}}
		if from := g.address(c); from.String() != "192.0.2.1" {
			t.Fatalf("a stranger's X-Forwarded-For is believed: %s", from)
		}
		if _, err := c.attempt(); err == nil && !utf8.ValidString(idempotency) {
			t.Fatalf("%q is an idempotency key", idempotency)
		}
	})
}
