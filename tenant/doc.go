// Package tenant is who everything belongs to: tenants and their settings, API keys, signing keys and tokens.
//
// Records, below the store's prefix:
//
//	tenants/{tenant}               name, status, the settings the tenant has set itself, the signing key in use; an aggregate
//	tenant-versions/{tenant}/{n}   the newest 50 versions of the settings: who, when, by which request, what
//	defaults/operator              the operator's defaults and ceilings for all tenants; an aggregate
//	audit/{tenant}/{entry}         every change of the tenant; under "operator" what concerns no single one
//	api-keys/{sha256 of the key}   whose key it is and what it may; the key itself is nowhere
//	api-key-ids/{tenant}/{key}     where that record is, so that a key is found by its id; an aggregate
//	api-key-uses/{tenant}/{key}    when it was last used, to the minute
//	signing-keys/{tenant}/{kid}    the public key, and the private one sealed under a master key that is not in etcd; an
//	                               aggregate
//
//	idempotency/{tenant}/{key}     what the request under an Idempotency-Key has done; swept after a day, an aggregate
//	accounts/{tenant}              {"rooms": 3, "bytes": 48213}: what its limits are held against; an aggregate
//
// Settings are resolved, and what follows from them compiled, once for each version of the record and of the operator's
// defaults, not when a request comes. The package token below knows how to sign and verify; this one knows with which key, and for whom.
package tenant
