package participants

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"usher/rooms"
	"usher/store"
	"usher/tenant"
)

// AffectedRoom is what a change of settings does to a live room, in words.
type AffectedRoom struct {
	RoomID  rooms.ID `json:"room_id"`
	Name    string   `json:"name"`
	Effects []string `json:"effects"`
}

// MaxAffected is how many rooms are named; the others are counted.
const MaxAffected = 100

// Affected names the tenant's live rooms that a change of settings would affect, at most MaxAffected, and counts all.
func (s *Service) Affected(t tenant.ID, before, after tenant.Settings) (affected []AffectedRoom, total int) {
	snapshot := s.log.Snapshot()
	now := s.now()
	affected = []AffectedRoom{}
	for row := range rooms.Rooms.Scan(snapshot, string(t)+"/", "") {
		room := row.Value
		effects := rooms.Effects(room, before, after, now)
		if room.Status != rooms.Ended && room.ParticipantCount > 0 {
			effects = append(effects, roleEffects(rolesIn(snapshot, t, room.ID), before, after)...)
		}
		if len(effects) == 0 {
			continue
		}
		if total++; len(affected) < MaxAffected {
			affected = append(affected, AffectedRoom{RoomID: room.ID, Name: room.Name, Effects: effects})
		}
	}
	return affected, total
}

// rolesIn counts the active participants by role.
func rolesIn(snapshot *store.Snapshot, t tenant.ID, room rooms.ID) map[string]int {
	count := make(map[string]int)
	for row := range Participants.ScanLive(snapshot, path(t, room, "")) {
		if p, err := row.Value.participant(); err == nil {
			count[p.Role]++
		}
	}
	return count
}

func roleEffects(count map[string]int, before, after tenant.Settings) (effects []string) {
	for _, role := range slices.Sorted(maps.Keys(count)) {
		was, is := before.Roles[role], after.Roles[role]
		for _, grant := range was {
			if !is.Has(grant) {
				effects = append(effects, fmt.Sprintf("%d of role %s may no longer %s", count[role], role, grant))
			}
		}
		for _, grant := range is {
			if !was.Has(grant) {
				effects = append(effects, fmt.Sprintf("%d of role %s may %s from now on", count[role], role, grant))
			}
		}
	}
	if was, is := presenceTimeout(before), presenceTimeout(after); is > 0 && (was == 0 || is < was) {
		effects = append(effects, fmt.Sprintf("whoever sends no heartbeat within %s leaves", is.Round(time.Second)))
	}
	return effects
}
