package participants

import (
	"hash/maphash"
	"sync/atomic"

	"usher/store"
)

// lists keeps the lists of whole rooms that were asked for again while nothing had changed: of a room that something has
// happened in all who are in it ask for the list. What is kept of a room is valid until a record of it changes, which the
// index tells; nothing has to be remembered to be thrown away. There are so many places, and what shares one takes turns.
type lists struct {
	seed   maphash.Seed
	places [listPlaces]atomic.Pointer[keptList]
}

const (
	listPlaces = 1 << 10
	mostListed = 64 << 10 // bytes of a list that is kept, so that all places together take 64 MiB at most
)

// keptList is what is known of a room's list. It does not change.
type keptList struct {
	prefix        string
	ended, active bool
	changed       <-chan struct{} // closed when it is another one
	page          *Page           // with the list; nil when it was asked for once
	length        int             // how many participants are in it
}

func newLists() lists { return lists{seed: maphash.MakeSeed()} }

// page is the first page of the list of the room whose participants' paths begin with prefix, kept or read.
func (l *lists) page(snapshot *store.Snapshot, prefix string, ended bool, q Query, read func() (Page, error)) (Page, error) {
	at := maphash.String(l.seed, prefix) % listPlaces
	if q.Active { // beside the other list of the room
		at ^= 1
	}
	place := &l.places[at]
	known := place.Load()
	again := known != nil && known.prefix == prefix && known.ended == ended && known.active == q.Active && !isClosed(known.changed)
	if again && known.page != nil && known.length <= q.Limit {
		page := *known.page
		page.Pin = q.Pin
		return page, nil
	}
	// From the very snapshot that is read: what is kept may be known to be so on a newer one.
	next := &keptList{prefix: prefix, ended: ended, active: q.Active, changed: Participants.Changed(snapshot, prefix)}
	page, err := read()
	if err != nil || page.More || page.size() > mostListed || again && known.page != nil {
		return page, err
	}
	if again {
		page.joined, page.participants, next.length = page.AppendJSON(make([]byte, 0, page.size())), nil, len(page.participants)
		next.page = &page
	}
	place.Store(next)
	return page, nil
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
