package faults

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// A room's history is what was asked of it and answered. It is linearizable when there is an order of the calls, each
// somewhere between its beginning and its end, in which every answer is what the rules say. Reads take part that were as
// new as any answer before them (Usher-Min-Revision); of others Usher promises less.

// roomState is a room as the rules see it. It is never changed.
type roomState struct {
	created, ended bool
	seats          []taken // active, in order of id
}

type taken struct{ pid, user string }

// roomCall is a call about a room, as the model takes it.
type roomCall struct {
	kind   kind
	school *school
	seats  []wanted
	pid    string
	atomic bool
}

// roomAnswer is what is known of its outcome.
type roomAnswer struct {
	open  bool   // nothing: it may happen, even later, or not
	code  string // of a refusal as a whole
	items []item // of seats
	count int    // participants in the room after it; -1 when not told
	list  []string
}

var roomModel = porcupine.Model{
	Init: func() any { return roomState{} },
	Step: func(state, input, output any) (bool, any) {
		legal, after := state.(roomState).step(input.(roomCall), output.(roomAnswer))
		return legal, after
	},
	Equal: func(a, b any) bool {
		x, y := a.(roomState), b.(roomState)
		return x.created == y.created && x.ended == y.ended && slices.Equal(x.seats, y.seats)
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v → %+v", input, output) },
}

func (s roomState) step(c roomCall, a roomAnswer) (legal bool, after roomState) {
	switch c.kind {
	case addKind, bulkKind:
		return s.add(c, a)
	case removeKind:
		after = s
		after.seats = slices.DeleteFunc(slices.Clone(s.seats), func(t taken) bool { return t.pid == c.pid })
		return a.code == "", after
	case endKind:
		if a.code == "room_not_found" {
			return !s.created, s
		}
		return a.code == "" && (a.open || s.created), roomState{created: true, ended: true}
	default: // list
		if a.code == "room_not_found" {
			return !s.created, s
		}
		return a.code == "" && slices.EqualFunc(s.seats, a.list, func(t taken, pid string) bool { return t.pid == pid }), s
	}
}

func (s roomState) add(c roomCall, a roomAnswer) (bool, roomState) {
	if a.code == "room_limit_reached" { // it depends on the tenant's other rooms, and only a room that is new can meet it
		return !s.created, s
	}
	after := s
	for i, seat := range c.seats {
		want, existing, next := after.admit(c.school, seat)
		if c.atomic && a.code != "" {
			if want != "" {
				return want == a.code, s
			}
			next.seats = append(next.seats, taken{pid: fmt.Sprint("not added ", i), user: seat.user}) // for the items that follow
			after = next
			continue
		}
		switch it := a.items[i]; {
		case it.fate == unknown: // nothing came of it, as the log shows; why is not known
		case it.fate == refused:
			if want != it.code {
				return false, s
			}
		case want != "" || (existing != "" && existing != it.pid):
			return false, s
		case existing == "":
			next.seats = append(next.seats, taken{it.pid, seat.user})
			slices.SortFunc(next.seats, func(a, b taken) int { return strings.Compare(a.pid, b.pid) })
			next.created = true
			after = next
		}
	}
	if c.atomic && a.code != "" {
		return false, s // nothing was wrong with any
	}
	return a.count < 0 || a.count == len(after.seats), after
}

// admit says what becomes of one who wants a seat: the code of the refusal, or the seat that the user has already, or
// else the state that it is added to.
func (s roomState) admit(school *school, seat wanted) (code, existing string, next roomState) {
	next = s
	next.seats = slices.Clone(s.seats)
	if s.ended {
		return "room_ended", "", next
	}
	mine := slices.IndexFunc(s.seats, func(t taken) bool { return t.user == seat.user })
	if seat.user != "" && mine >= 0 {
		switch school.policy {
		case "reject":
			return "participant_duplicate", "", next
		case "return_existing":
			return "", s.seats[mine].pid, next
		case "replace":
			next.seats = slices.Delete(next.seats, mine, mine+1)
			return "", "", next
		}
	}
	if len(s.seats) >= school.capacity {
		return "room_full", "", next
	}
	return "", "", next
}

// operation is the call as a part of its room's history; none when it says nothing of it.
func (w *workload) operation(c *call, log *witness, told map[string]bool) (porcupine.Operation, bool) {
	o := porcupine.Operation{Call: int64(c.began.Sub(w.epoch)), Return: int64(c.ended.Sub(w.epoch)), Metadata: c,
		Input: roomCall{kind: c.kind, school: c.school, seats: c.seats, pid: c.pid, atomic: c.atomic()}}
	a := roomAnswer{code: c.code, count: -1}
	fate := c.fate()
	if fate == refused && (c.code == "unavailable" || c.code == "participant_left") {
		return o, false // nothing happened
	}
	if fate == unknown {
		o.Return, a.open, a.code = math.MaxInt64, true, ""
	}
	switch c.kind {
	case addKind, bulkKind:
		if c.replayed() || (fate == unknown && told[c.seats[0].tag]) {
			return o, false // it is a read of what is in the history already, or its repeat has done it
		}
		a.items = c.items()
		if fate != refused && !c.resolve(&a, log) {
			return o, false
		}
		if room, ok := c.answer["room"].(map[string]any); ok {
			a.count = int(room["participant_count"].(float64))
		}
	case listKind:
		if fate == unknown {
			return o, false
		}
		list, _ := c.answer["participants"].([]any)
		for _, p := range list {
			a.list = append(a.list, p.(map[string]any)["id"].(string))
		}
		slices.Sort(a.list)
	case removeKind, endKind:
	default:
		return o, false
	}
	o.Output = a
	return o, true
}

func (c *call) replayed() bool { return c.header.Get("Idempotent-Replayed") != "" }

// resolve looks up in the log what became of seats of which no answer tells, and says whether anything did.
func (c *call) resolve(a *roomAnswer, log *witness) (something bool) {
	for i, it := range a.items {
		if it.fate == unknown {
			if seats := log.byTag[c.seats[i].tag]; len(seats) > 0 {
				it = item{fate: done, pid: seats[0].ID}
			}
		}
		a.items[i] = it
		something = something || it.fate != unknown
	}
	return something
}

// undecided counts histories that were too long to be checked in the time.
type undecided struct{ histories, of int }

const historyPatience = 10 * time.Second

// checkHistories holds the histories of rooms that had calls since the time, and of the registry, against the models.
func (w *workload) checkHistories(log *witness, since time.Time) (broken []string, u undecided) {
	histories, busy := make(map[*room][]porcupine.Operation), make(map[*room]bool)
	var settings []porcupine.Operation
	w.mu.Lock()
	log.mu.Lock()
	told := make(map[string]bool) // tags of which it is told by which call they were added
	for _, c := range w.calls {
		if len(c.seats) > 0 && c.fate() == done && !c.replayed() {
			told[c.seats[0].tag] = true
		}
	}
	for _, c := range w.calls {
		if o, ok := w.settingsOperation(c, log); ok {
			settings = append(settings, o)
		}
		if c.room == nil || c.room.named {
			continue
		}
		if o, ok := w.operation(c, log, told); ok {
			histories[c.room] = append(histories[c.room], o)
			if len(c.seats) > 0 {
				told[c.seats[0].tag] = true
			}
			busy[c.room] = busy[c.room] || c.ended.After(since)
		}
	}
	log.mu.Unlock()
	w.mu.Unlock()
	judge := func(what string, model porcupine.Model, history []porcupine.Operation) {
		u.of++
		switch porcupine.CheckOperationsTimeout(model, history, historyPatience) {
		case porcupine.Unknown:
			u.histories++
		case porcupine.Illegal:
			var told strings.Builder
			for _, o := range history {
				c := o.Metadata.(*call)
				fmt.Fprintf(&told, "\n  %9.3f–%.3f %s (%+v → %+v)", c.began.Sub(w.epoch).Seconds(), c.ended.Sub(w.epoch).Seconds(), c, o.Input, o.Output)
			}
			broken = append(broken, fmt.Sprintf("the history of %s is not linearizable:%s", what, &told))
		case porcupine.Ok:
		}
	}
	for r, history := range histories {
		if busy[r] {
			judge(r.ref+" ("+r.school.policy+")", roomModel, history)
		}
	}
	judge("the settings", settingsModel(int(w.registry.first)), settings)
	return broken, u
}

// settingsCall and settingsAnswer are of a register with compare and set.
type settingsCall struct {
	write, expect int // 0 for none
}

type settingsAnswer struct {
	open     bool
	mismatch bool // 412
	value    int
}

func settingsModel(first int) porcupine.Model {
	return porcupine.Model{Init: func() any { return first }, Step: stepSettings}
}

func stepSettings(state, input, output any) (bool, any) {
	now, c, a := state.(int), input.(settingsCall), output.(settingsAnswer)
	switch {
	case c.write == 0:
		return a.value == now, now
	case a.mismatch:
		return c.expect != now, now
	case c.expect != 0 && c.expect != now && !a.open:
		return false, now
	case c.expect != 0 && c.expect != now:
		return true, now // nobody knows, and it did nothing
	}
	return true, c.write
}

func (w *workload) settingsOperation(c *call, log *witness) (porcupine.Operation, bool) {
	o := porcupine.Operation{Call: int64(c.began.Sub(w.epoch)), Return: int64(c.ended.Sub(w.epoch)), Metadata: c}
	fate := c.fate()
	switch {
	case c.kind == configKind && fate == done:
		o.Input, o.Output = settingsCall{}, settingsAnswer{value: c.setting()}
	case c.kind == patchKind && c.code == "precondition_failed":
		o.Input, o.Output = settingsCall{c.value, c.expect}, settingsAnswer{mismatch: true}
	case c.kind == patchKind && (fate == done || (fate == unknown && log.settings[c.value])):
		o.Input, o.Output = settingsCall{c.value, c.expect}, settingsAnswer{open: fate == unknown}
		if fate == unknown {
			o.Return = math.MaxInt64
		}
	default:
		return o, false
	}
	return o, true
}

// TestTheModelKnowsRightFromWrong: a check that cannot fail finds nothing.
func TestTheModelKnowsRightFromWrong(t *testing.T) {
	t.Parallel()
	s := &school{policy: "reject", capacity: 1}
	add := func(from, to int64, user, pid, code string, count int) porcupine.Operation {
		it := item{fate: done, pid: pid}
		if code != "" {
			it = item{fate: refused, code: code}
		}
		return porcupine.Operation{Call: from, Return: to, Input: roomCall{kind: addKind, school: s, seats: []wanted{{user: user}}},
			Output: roomAnswer{code: code, items: []item{it}, count: count}}
	}
	list := func(from, to int64, pids ...string) porcupine.Operation {
		return porcupine.Operation{Call: from, Return: to, Input: roomCall{kind: listKind, school: s}, Output: roomAnswer{list: pids}}
	}
	for name, c := range map[string]struct {
		history []porcupine.Operation
		legal   bool
	}{
		"one after the other": {[]porcupine.Operation{add(0, 1, "a", "p1", "", 1), list(2, 3, "p1"), add(4, 5, "b", "", "room_full", -1)}, true},
		"at once":             {[]porcupine.Operation{add(0, 9, "a", "p1", "", 1), list(1, 2), list(3, 4, "p1")}, true},
		"two in one place":    {[]porcupine.Operation{add(0, 1, "a", "p1", "", 1), add(2, 3, "b", "p2", "", 2)}, false},
		"twice the same user": {[]porcupine.Operation{add(0, 1, "a", "p1", "", 1), add(2, 3, "a", "", "room_full", -1)}, false},
		"unseen":              {[]porcupine.Operation{add(0, 1, "a", "p1", "", 1), list(2, 3)}, false},
		"seen and unseen":     {[]porcupine.Operation{add(0, 9, "a", "p1", "", 1), list(1, 2, "p1"), list(3, 4)}, false},
	} {
		if got := porcupine.CheckOperations(roomModel, c.history); got != c.legal {
			t.Errorf("%s is legal: %t", name, got)
		}
	}
}
