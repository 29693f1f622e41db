package tenant

import (
	"time"

	"usher"
	"usher/store"
)

// Standing is what entitles the bearer of an API key, or of a service token in its place: it can be looked at again on
// another state.
type Standing struct {
	path  string    // of the key's record
	until time.Time // of a service token; zero: as long as the key
}

// Holds refuses when the key is not good any more: it was revoked, has expired, or its tenant is suspended or gone.
func (s Standing) Holds(r store.Reader, now time.Time) error {
	if !s.until.IsZero() && !now.Before(s.until.Add(clockSkew)) {
		return usher.Errorf(usher.CodeTokenExpired, "The token has expired.")
	}
	_, _, err := authenticate(r, s.path, now)
	return err
}
