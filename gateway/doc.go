// Package gateway is the HTTP surface: it turns requests into calls of the domain services and their answers into JSON.
//
// A request goes down once: gateway.go (request id, state, revision) → routes.go (which route, and who may call it) →
// caller.go (the credential) → a handler in participants.go, rooms.go or tenants.go, which decodes, makes one call and
// encodes. What goes wrong comes back as a *usher.Error and becomes a problem document in one place, problem.go.
//
// Nothing here knows etcd, and nothing below knows HTTP.
package gateway
