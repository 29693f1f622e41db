package rooms

import (
	"strings"

	"usher/tenant"
)

// Occupancy is what a tenant has at a time.
type Occupancy struct {
	Rooms        int   // that have not ended
	Participants int   // in them
	Bytes        int64 // that are kept for it or set aside for its rooms
	MostBytes    int64 // that it may keep
}

// Census counts what every tenant has: one pass over the rooms, which know how many are in them.
func (s *Service) Census() map[tenant.ID]Occupancy {
	snapshot := s.log.Snapshot()
	all := make(map[tenant.ID]Occupancy)
	for t := range tenant.All(snapshot, "") {
		all[t.ID] = Occupancy{Bytes: tenant.AccountOf(snapshot, t.ID).Bytes, MostBytes: int64(t.Settings.MaxStoredBytes)}
	}
	for row := range Rooms.Scan(snapshot, "", "") {
		owner, _, _ := strings.Cut(row.Path, "/")
		t := tenant.ID(owner)
		has, known := all[t]
		if !known || row.Value.Status == Ended {
			continue
		}
		has.Rooms++
		has.Participants += row.Value.ParticipantCount
		all[t] = has
	}
	return all
}
