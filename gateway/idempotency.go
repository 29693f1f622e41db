package gateway

import (
	"crypto/sha256"
	"encoding/hex"
	"io"

	"usher"
	"usher/tenant"
)

const (
	idempotencyHeader = "Idempotency-Key"
	replayedHeader    = "Idempotent-Replayed"
	maxIdempotencyKey = 255 // characters
)

// attempt is the request as its Idempotency-Key remembers it, once its body has been read. A repeat must have the same
// method, path, query and body, byte for byte.
func (c *call) attempt() (tenant.Attempt, error) {
	keys := c.Header.Values(idempotencyHeader)
	if len(keys) == 0 {
		return tenant.Attempt{}, nil
	}
	problem := usher.CheckText(keys[0], maxIdempotencyKey)
	if len(keys) > 1 {
		problem = "must be given once"
	}
	if problem != "" {
		return tenant.Attempt{}, usher.Invalid(usher.FieldError{Field: idempotencyHeader, Message: problem})
	}
	sum := sha256.New()
	_, _ = io.WriteString(sum, c.Method+" "+c.URL.EscapedPath()+"?"+c.URL.RawQuery+"\n") // a hash takes everything
	_, _ = sum.Write(c.body)
	return tenant.NewAttempt(keys[0], hex.EncodeToString(sum.Sum(nil))), nil
}

// orReplayed says in the answer that it repeats an earlier one.
func (a answer) orReplayed(replayed bool) answer {
	if !replayed {
		return a
	}
	return a.with(replayedHeader, "true")
}
