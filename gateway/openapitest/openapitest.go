// Package openapitest holds every answer that a test receives against gateway/openapi.yaml. It is for tests only.
//
//	client := &http.Client{Transport: openapitest.Transport(t, http.DefaultTransport)}
//
// An answer must have a status that its operation documents, the headers that are required there, a documented content
// type and a body of its schema; a problem document must agree with itself and with the table of codes. What no
// operation is asked about is held to the two answers that the document has for it: 404 not_found for a path that it
// does not have, 405 method_not_allowed for a method that the path does not have. A difference fails the test with the
// request, the answer and all that differs.
//
// A browser's preflight belongs to the Fetch standard and not to the document; it passes unseen.
//
// Requests are not looked at, since a test may well send a wrong one. BothWays and CheckRequest do look at them.
//
// The work is done by libopenapi-validator, which is sound and quick under OpenAPI 3.1 (the document is compiled once
// for each process, in 0.2 s; an answer takes about 30 µs). Four things it lets pass are checked here (checkBody).
package openapitest

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"testing"
)

// Validator reports to one test. It is safe for concurrent use, as far as the test itself is.
type Validator struct {
	tb       testing.TB
	contract *contract
}

// New makes a Validator that reports to tb.
func New(tb testing.TB) *Validator {
	tb.Helper()
	c, err := theContract()
	if err != nil {
		tb.Fatalf("openapitest: %v", err)
	}
	return &Validator{tb: tb, contract: c}
}

// Operations lists the operations of the document, as "GET /api/v1/rooms/{id}", in its order.
func (v *Validator) Operations() []string { return v.contract.operations() }

// Queries are the parameters in the query of each of the Operations that has any, sorted.
func (v *Validator) Queries() map[string][]string { return v.contract.queries() }

// CheckAnswer fails the test when the answer to r is not one that the document knows. It reads the answer's body and
// puts it back.
func (v *Validator) CheckAnswer(r *http.Request, a *http.Response) {
	v.tb.Helper()
	if r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "" {
		return
	}
	body, err := io.ReadAll(a.Body)
	_ = a.Body.Close()
	a.Body = io.NopCloser(bytes.NewReader(body))
	if err != nil {
		v.tb.Errorf("%s %s: read the answer's body: %v", r.Method, r.URL.EscapedPath(), err)
		return
	}
	asked := v.contract.find(r.Method, r.URL.EscapedPath())
	if differences := asked.answer(v.contract, r, a, body); len(differences) > 0 {
		v.tb.Errorf("%s", report("the answer", asked, r, a, body, differences))
	}
}

// CheckRequest fails the test when r is not a request that the document allows. The body must be one that can be read
// again (http.NewRequest makes it so).
func (v *Validator) CheckRequest(r *http.Request) {
	v.tb.Helper()
	asked := v.contract.find(r.Method, r.URL.EscapedPath())
	if differences := asked.request(v.contract, r); len(differences) > 0 {
		v.tb.Errorf("%s", report("the request", asked, r, nil, nil, differences))
	}
}

// Transport sends by base and checks every answer.
func Transport(tb testing.TB, base http.RoundTripper) http.RoundTripper {
	tb.Helper()
	return &transport{validator: New(tb), base: base}
}

// BothWays is Transport for a test that means to send none but good requests: it checks them too.
func BothWays(tb testing.TB, base http.RoundTripper) http.RoundTripper {
	tb.Helper()
	return &transport{validator: New(tb), base: base, requests: true}
}

type transport struct {
	validator *Validator
	base      http.RoundTripper
	requests  bool
}

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	t.validator.tb.Helper()
	if t.requests {
		t.validator.CheckRequest(r)
	}
	a, err := t.base.RoundTrip(r)
	if err != nil {
		return nil, fmt.Errorf("send %s %s: %w", r.Method, r.URL.EscapedPath(), err)
	}
	t.validator.CheckAnswer(r, a)
	return a, nil
}
