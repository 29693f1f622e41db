package gateway

import (
	"net/http"
	"time"

	"usher"
)

// Starting answers as long as there is no Gateway yet: it is worth while to come again.
func Starting() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := &call{Request: r, ctx: r.Context(), id: requestID(r.Header.Get(headerRequestID)), answer: recorder{ResponseWriter: w, unread: unread(r), length: r.ContentLength}}
		c.answer.set(headerRequestID, c.id)
		c.answer.set(headerRevision, "0") // every answer bears one, and nothing is known yet
		writeProblem(&c.answer, c, starting())
	})
}

func starting() *usher.Error {
	return &usher.Error{Code: usher.CodeUnavailable, RetryAfter: time.Second, Detail: "This replica is starting. Try again."}
}
