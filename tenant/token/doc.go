// Package token makes, keeps and uses the keys of Usher's tokens. It is all of JOSE that there is in Usher, and the only
// package that knows which library does it. It knows nothing of tenants' records, rooms, etcd or HTTP.
//
// # A token
//
// Somebody who takes a seat in a room gets three tokens, one for each audience: for the media servers, for Usher's API,
// and for refreshing the other two. Each is a JWT (RFC 7519), signed by the tenant's own key and readable by anybody. A
// media token has this header, which names the key and says what kind of token it is,
//
//	{"alg":"EdDSA","kid":"kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k","typ":"at+jwt"}
//
// and these claims:
//
//	{
//	  "iss": "https://usher.example/api/v1/tenants/tenant_01h2xcejqtf2nbrexx3vqjhp41",
//	  "sub": "p_01h455vb4pex5vsknk084sn02q",
//	  "tenant_id": "tenant_01h2xcejqtf2nbrexx3vqjhp41",
//	  "room_id": "room_01h455vb4pex5vsknk084sn02r",
//	  "room_name": "CS101 Lecture",
//	  "name": "John Doe",
//	  "external_user_id": "user_123",
//	  "role": "participant",
//	  "grants": ["publish", "subscribe"],
//	  "iat": 1767693600,
//	  "nbf": 1767693600,
//	  "exp": 1767697200,
//	  "aud": "media",
//	  "jti": "q6v1hDkYcV3bGmC0pYxZ4g"
//	}
//
// The typ goes with the aud: at+jwt with media (RFC 9068), api+jwt with api, refresh+jwt with refresh.
//
// # Keys
//
// A [SigningKey] signs with one algorithm for life, and its kid is its JWK thumbprint (RFC 7638): kid, key and algorithm
// cannot come apart. Its private half leaves this package only sealed, as a JWK in a JWE (RFC 7516), encrypted under one
// of the [MasterKeys], which come from a file and are never stored beside what they seal:
//
//	{"alg":"dir","cty":"jwk+json","enc":"A256GCM","kid":"jEF1UW5TVUKqNjuZ"}
//
// Its public half is a [PublicKey]; [JWKS] publishes several. Keys print as "[redacted]", whatever they are printed with.
//
// # Signing and verifying
//
// A [Signer] is made once for a key and kept. Verifying takes two steps, since the key must be looked up in between:
//
//	unverified, err := token.Parse(compact)               // well formed; nothing is believed yet
//	key, ok := keys[unverified.KID()]                     // of the tenant unverified.TenantID()
//	claims, err := unverified.Verify(key, token.Expect{   // believed, or an *usher.Error that says why not
//		Issuer:    issuer,
//		TenantID:  unverified.TenantID(),
//		Audiences: []token.Audience{token.AudienceAPI},
//		Now:       now,
//	})
//
// The rules are those of RFC 8725: the key, not the token, decides the algorithm; issuer, audience and type are always
// checked; a token brings no key of its own, no extension that must be understood, no name twice.
package token
