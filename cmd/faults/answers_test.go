package faults

import "net/http"

// checkAnswers holds what callers were told against the log: what was acknowledged is there, what was refused is not, and
// what nobody knows is there once or not at all.
func (w *workload) checkAnswers(log *witness) (broken []string) {
	var found problems
	w.mu.Lock()
	defer w.mu.Unlock()
	log.mu.Lock()
	defer log.mu.Unlock()
	may := make(map[string]bool)   // tags that some call does not rule out
	told := make(map[string]*call) // tags that every call has refused, with one of them
	for _, c := range w.calls {
		switch c.kind {
		case addKind, bulkKind:
			for i, it := range c.items() {
				tag := c.seats[i].tag
				told[tag] = c
				may[tag] = may[tag] || it.fate != refused
				if it.pid != "" {
					w.checkSeat(log, c, tag, it.pid, &found)
				}
			}
			if there := c.there(log); c.atomic() && c.school.policy != "return_existing" && there != 0 && there != len(c.seats) {
				found.add("%d of %d seats of an atomic bulk were given: %s", there, len(c.seats), c)
			}
		case removeKind:
			s := log.seat(c.school, c.pid)
			if c.fate() == done && (s == nil || (s.LeftAt == "" && log.rooms[c.school.id][s.RoomID].Status != "ended")) {
				found.add("a removed participant is there: %s: %v", c, s)
			}
		case endKind:
			if id, _ := c.answer["id"].(string); c.fate() == done && log.rooms[c.school.id][id].Status != "ended" {
				found.add("an ended room goes on: %s", c)
			}
		case patchKind:
			if there := log.settings[c.value]; (c.fate() == done && !there) || (c.fate() == refused && there) {
				found.add("the value %d was in the log: %t: %s", c.value, there, c)
			}
		case listKind, readKind, configKind, keyKind, revokeKind, nameKind, storeKind, tryKind:
		}
	}
	for tag, c := range told {
		if n := len(log.byTag[tag]); n > 1 || (n > 0 && !may[tag]) {
			found.add("%d seats in the log, refused for sure: %t: %s", n, !may[tag], c)
		}
	}
	return found.take()
}

// checkSeat holds a seat that somebody was told of against the log.
func (w *workload) checkSeat(log *witness, c *call, tag, pid string, found *problems) {
	s := log.seat(c.school, pid)
	switch {
	case s == nil:
		found.add("an acknowledged seat is lost: %s", c)
	case s.DisplayName != tag && c.school.policy != "return_existing":
		found.add("a seat is another one's (%s): %s", s.DisplayName, c)
	case c.kind == addKind && c.status == http.StatusCreated && c.answer["should_start_recording"] == true && !log.wasElected(c.school.id, pid, tag):
		found.add("one is told to record whom the log has not elected: %s", c)
	}
}

// there is how many of the wanted seats are in the log. Called under the witness's mu.
func (c *call) there(log *witness) (n int) {
	for _, s := range c.seats {
		n += min(1, len(log.byTag[s.tag]))
	}
	return n
}

// seat finds a participant of the school. Called under mu.
func (w *witness) seat(s *school, pid string) *seatRecord {
	for room := range w.rooms[s.id] {
		if seat := w.seats[s.id+"/"+room][pid]; seat != nil {
			return seat
		}
	}
	return nil
}
