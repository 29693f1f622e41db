// Package rooms is one run of a call: how it comes to be, who may enter, and how it ends.
//
// A room's record moves with everything that happens in the room. So whoever wants a seat, ends the room or starts its
// recording decides on the record as it is and commits only if it has not changed meanwhile; capacity, one seat for each
// user and one recorder hold across replicas without a lock.
//
// The rules are functions of values, without clock, I/O or lock: Admit (admit.go), Open, Leave, Lock, End and when a room
// has outlived itself (lifecycle.go), elect (recording.go), what a patch makes of a room (update.go). The service (service.go) brings them the records and takes what they decide to the log.
//
// Records, below the store's prefix:
//
//	rooms/{tenant}/{room}           the room, as the API answers it, and its last_seat; an aggregate
//	bans/{tenant}/{room}/{user}     {"external_user_id": …, "banned_at": …, "expires_at": …}
//	room-names/{tenant}/{name}      {"room_id": …}: the newest room of the name, live or ended
//
// A room's record also says how many bytes are kept of the room (bytes.go); seats and bans are guarded by it: whoever writes
// one writes the room too.
//
// What sits in a room is the business of the package participants.
package rooms
