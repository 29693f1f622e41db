package rooms

import (
	"fmt"
	"time"

	"usher/tenant"
)

// Effects says in words what a change of the tenant's settings does to a room. An ended room is not affected.
func Effects(room Room, before, after tenant.Settings, now time.Time) (effects []string) {
	if room.Status == Ended {
		return nil
	}
	say := func(holds bool, format string, args ...any) {
		if holds {
			effects = append(effects, fmt.Sprintf(format, args...))
		}
	}
	was, is := room.capacity(before), room.capacity(after)
	over := room.ParticipantCount > is
	say(is != was && over, "it admits %d instead of %d at once, and %d are in: nobody is removed, and nobody new gets in", is, was, room.ParticipantCount)
	say(is != was && !over, "it admits %d instead of %d at once", is, was)
	say(Outlived(room, after, now) && !Outlived(room, before, now), "it ends at the next sweep, for it has been empty for long enough")
	if room.startsLater(now) {
		say(before.AllowEarlyJoin && !after.AllowEarlyJoin, "it cannot be joined before its start")
		say(!before.AllowEarlyJoin && after.AllowEarlyJoin, "it can be joined before its start")
	}
	enabled := room.Config.RecordingEnabled == nil || *room.Config.RecordingEnabled
	rule := func(s tenant.Settings) Rule {
		if r := ruleOf(s); r != RuleAuto || enabled {
			return r
		}
		return RuleNone
	}
	from, to := rule(before), rule(after)
	say(from != to && to == RuleNone, "nobody is told to record it any more")
	say(from != to && to == RuleForce && room.Recording.Status == Idle, "whoever joins next is told to record it")
	say(from != to && to == RuleAuto && room.Recording.Status == Idle, "the next host to join is told to record it")
	return effects
}
