package tenant

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"usher"
)

// settingsRule is a rule between settings, or one that a JSON Schema cannot say.
//
// There is none that ties burst to requests_per_second: a bucket smaller than a second's worth is a sound choice (it
// makes callers spread their requests), and with such a rule neither could be changed alone.
type settingsRule struct {
	about []string // the settings that it looks at
	check func(Settings) []usher.FieldError
}

func settingsRules() []settingsRule {
	return []settingsRule{
		{[]string{"default_role", "roles"}, defaultRoleExists},
		{[]string{"first_participant_is_host", "roles"}, func(s Settings) []usher.FieldError {
			return needsHost(s, s.FirstParticipantIsHost, "first_participant_is_host")
		}},
		{[]string{"auto_start_recording", "roles"}, func(s Settings) []usher.FieldError {
			return needsHost(s, s.AutoStartRecording, "auto_start_recording")
		}},
		{[]string{"presence_timeout_seconds"}, presenceIsOffOrLong},
		{[]string{"refresh_token_ttl_seconds", "access_token_ttl_seconds"}, refreshOutlivesAccess},
		{[]string{"allowed_origins"}, originsAsBrowsersSendThem},
	}
}

// checkSettings lists how the settings break the rules. Rules about a setting that is faulty in itself are left out:
// what they would say might no longer be true once it is mended.
func checkSettings(s Settings, faulty map[string]bool) (fields []usher.FieldError) {
	for _, rule := range settingsRules() {
		if !slices.ContainsFunc(rule.about, func(key string) bool { return faulty[key] }) {
			fields = append(fields, rule.check(s)...)
		}
	}
	return fields
}

// A role that is not in the map is refused (product.md, section 3), so a default outside it would refuse everybody.
func defaultRoleExists(s Settings) []usher.FieldError {
	if _, ok := s.Roles[s.DefaultRole]; ok {
		return nil
	}
	names := slices.Sorted(maps.Keys(s.Roles))
	return []usher.FieldError{{Field: "default_role", Message: "must be one of roles: " + strings.Join(names, ", ")}}
}

// Both settings speak of hosts, and would be in force and do nothing if nobody could be one.
func needsHost(s Settings, on bool, field string) []usher.FieldError {
	if _, ok := s.Roles[RoleHost]; ok || !on {
		return nil
	}
	return []usher.FieldError{{Field: field, Message: "needs a role named " + RoleHost + " in roles"}}
}

// leastPresenceTimeout is what replicas need to tell each other of heartbeats.
const leastPresenceTimeout = 10

func presenceIsOffOrLong(s Settings) []usher.FieldError {
	if n := s.PresenceTimeoutSeconds; n == 0 || n >= leastPresenceTimeout {
		return nil
	}
	return []usher.FieldError{{Field: "presence_timeout_seconds", Message: fmt.Sprintf("must be 0 (off) or at least %d", leastPresenceTimeout)}}
}

// A refresh token that dies before the access token it should renew renews nothing.
func refreshOutlivesAccess(s Settings) []usher.FieldError {
	if s.RefreshTokenTTLSeconds >= s.AccessTokenTTLSeconds {
		return nil
	}
	return []usher.FieldError{{
		Field:   "refresh_token_ttl_seconds",
		Message: fmt.Sprintf("must be at least access_token_ttl_seconds (%d)", s.AccessTokenTTLSeconds),
	}}
}

// Origins are compared byte by byte with what a browser sends, and that leaves out the scheme's own port (RFC 6454,
// section 6.2): an entry with it would look right and never match.
func originsAsBrowsersSendThem(s Settings) (fields []usher.FieldError) {
	for i, origin := range s.AllowedOrigins {
		problem := ""
		if port, ok := portOf(origin); ok {
			switch _, err := strconv.ParseUint(port, 10, 16); {
			case err != nil:
				problem = "must have a port of at most 65535"
			case port == "443" && strings.HasPrefix(origin, "https:"), port == "80" && strings.HasPrefix(origin, "http:"):
				problem = "must leave out :" + port + ", as browsers do"
			}
		}
		if problem != "" {
			fields = append(fields, usher.FieldError{Field: "allowed_origins." + strconv.Itoa(i), Message: problem})
		}
	}
	return fields
}

// portOf finds the port of an origin that has the schema's form; the colons inside [::1] are none.
func portOf(origin string) (port string, ok bool) {
	i := strings.LastIndexByte(origin, ':')
	if i < 0 || strings.ContainsAny(origin[i:], "/]") {
		return "", false
	}
	return origin[i+1:], true
}
