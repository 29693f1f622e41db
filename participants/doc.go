// Package participants is a seat in a room: taking one, alone or many at once, listing, leaving it, and its credentials.
//
// Who gets a seat is decided by the rules of package rooms, on the room's record; this package brings them the requests,
// writes the seats they give, and signs their tokens while the write is in flight.
//
// Records, below the store's prefix:
//
//	participants/{tenant}/{room}/{participant}
//	    {"id":"p_01j…","room_id":"room_01j…","display_name":"John Doe","external_user_id":"user_123",
//	     "role":"participant","joined_at":"2026-01-06T10:00:00.000Z"}
//
//	presence/{tenant}/{room}/{chunk}
//	    {"p_01j…":1767693630000}: when each was last heard of, in milliseconds since 1970. The chunk is "all" for a room of up
//	    to 256 active participants; a larger one has "00" to "15"; see heard.go
//
//	presence-through/{replica}
//	    {"at":"2026-01-06T10:00:30.000Z","behind":{"tenant_01j…":"2026-01-06T10:00:12.000Z"}}: how far a replica has written
//	    what it heard; see watermark.go. Leased: it goes an hour after the replica has died
//
// The value of a participant is what the API answers, byte for byte, so a list is a join of stored bytes. Ids grow in the order of
// joining, so the path is also the order of a list. A participant is active while it has not left and its room has not
// ended: ending a room writes the room alone.
package participants
