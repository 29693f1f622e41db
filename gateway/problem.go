package gateway

import (
	"math"
	"net/http"
	"strconv"

	"github.com/go-json-experiment/json"

	"usher"
)

// problem is an error as the API answers it (RFC 9457).
type problem struct {
	Type      string             `json:"type"`
	Title     string             `json:"title"`
	Status    int                `json:"status"`
	Detail    string             `json:"detail"`
	Code      usher.Code         `json:"code"`
	Error     string             `json:"error"` // the same as Detail, for clients of the older shape
	RequestID string             `json:"request_id"`
	Errors    []usher.FieldError `json:"errors,omitempty"`
	Members   map[string]any     `json:",embed"`
}

// writeProblem is the one place where an error becomes an answer. Of an error that is not the caller's business it tells
// the code's title only.
func writeProblem(w *recorder, c *call, err error) {
	e := usher.AsError(err)
	info := e.Code.Info()
	p := problem{
		Type: "urn:usher:error:" + string(e.Code), Title: info.Title, Status: info.Status, Detail: e.Message(),
		Code: e.Code, Error: e.Message(), RequestID: c.id, Errors: e.Fields, Members: e.Members,
	}
	header := w.Header()
	if e.RetryAfter > 0 {
		header.Set("Retry-After", strconv.Itoa(int(math.Ceil(e.RetryAfter.Seconds()))))
	}
	if info.Status == http.StatusUnauthorized {
		header.Set("WWW-Authenticate", challenge(e.Code))
	}
	body, err := json.Marshal(p, json.Deterministic(true))
	if err != nil {
		body = []byte(`{"code":"internal"}`)
	}
	writeBody(w, info.Status, "application/problem+json", body)
}

// challenge is the WWW-Authenticate of a 401 (RFC 6750, section 3).
func challenge(code usher.Code) string {
	if code == usher.CodeUnauthenticated {
		return `Bearer realm="usher"`
	}
	return `Bearer realm="usher", error="invalid_token", error_description="` + string(code) + `"`
}

// Values that many answers share, which nobody may change.
var nosniff, noStore = []string{"nosniff"}, []string{"no-store"}

func writeBody(w *recorder, status int, contentType string, body []byte) {
	header := w.Header()
	w.set("Content-Type", contentType)
	w.set("Content-Length", strconv.Itoa(len(body)))
	header["X-Content-Type-Options"] = nosniff
	if header["Cache-Control"] == nil {
		header["Cache-Control"] = noStore
	}
	w.WriteHeader(status)
	_, _ = w.Write(body) // the caller is gone, if this fails
}
