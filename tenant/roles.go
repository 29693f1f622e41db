package tenant

import "slices"

// RoleHost is the role that first_participant_is_host gives and auto_start_recording waits for. Every other role is a
// name that means only the grants that the tenant gave it.
const RoleHost = "host"

// Grant is something that a role lets a participant do in its room.
type Grant string

// The grants.
const (
	GrantPublish   Grant = "publish"   // send audio and video
	GrantSubscribe Grant = "subscribe" // receive it
	GrantModerate  Grant = "moderate"  // remove others, end the room
	GrantRecord    Grant = "record"    // start and stop recordings
)

// Grants is what a role may do, in the order that the tenant wrote it. It must not be changed once it is resolved.
type Grants []Grant

// Has says whether g is granted. A role that does not exist has no Grants, and so nothing is granted to it.
func (gs Grants) Has(g Grant) bool { return slices.Contains(gs, g) }

// Strings is the grants as the claim of a token lists them.
func (gs Grants) Strings() []string {
	names := make([]string, len(gs))
	for i, g := range gs {
		names[i] = string(g)
	}
	return names
}
