package gateway

import (
	"usher"
	"usher/rooms"
)

func (g *Gateway) createRoom(c *call) (answer, error) {
	request, err := decode[rooms.NewRoom](c)
	if err != nil {
		return answer{}, err
	}
	attempt, err := c.attempt()
	if err != nil {
		return answer{}, err
	}
	made, err := g.Rooms.Create(c.Context(), c.caller.tenant.ID, request, attempt)
	if err != nil {
		return answer{}, err
	}
	room := made.Room
	return created("/api/v1/rooms/"+string(room.ID), room).with("ETag", room.ETag()).orReplayed(made.Replayed), nil
}

type roomList struct {
	Rooms         []rooms.Room `json:"rooms"`
	NextPageToken string       `json:"next_page_token,omitzero"`
}

func (g *Gateway) listRooms(c *call) (answer, error) {
	page, err := pageOf(c.query)
	if err != nil {
		return answer{}, err
	}
	status := rooms.Status(c.query.Get("status"))
	switch status {
	case "", rooms.Scheduled, rooms.Active, rooms.Ended:
	default:
		return answer{}, usher.Invalid(usher.FieldError{Field: "status", Message: "must be scheduled, active or ended"})
	}
	listed := g.Rooms.List(c.caller.tenant.ID, rooms.Query{
		Status: status, Name: c.query.Get("name"), After: rooms.ID(page.after), Pin: page.pin, Limit: page.size,
	})
	list := roomList{Rooms: listed.Rooms}
	if listed.More {
		list.NextPageToken = nextPage(listed.Pin, string(listed.Rooms[len(listed.Rooms)-1].ID))
	}
	return ok(list), nil
}

func (g *Gateway) getRoom(c *call, ref rooms.Ref) (answer, error) {
	return answerRoom(g.Rooms.Get(c.caller.tenant.ID, ref))
}

func (g *Gateway) updateRoom(c *call, ref rooms.Ref) (answer, error) {
	update, err := decode[rooms.Update](c, mergePatch)
	if err != nil {
		return answer{}, err
	}
	return answerRoom(g.Rooms.Update(c.Context(), c.caller.tenant.ID, ref, update, c.ifMatch()))
}

func (g *Gateway) lockRoom(c *call, ref rooms.Ref) (answer, error) {
	return answerRoom(g.Rooms.Lock(c.Context(), c.caller.tenant.ID, ref, true))
}

func (g *Gateway) unlockRoom(c *call, ref rooms.Ref) (answer, error) {
	return answerRoom(g.Rooms.Lock(c.Context(), c.caller.tenant.ID, ref, false))
}

func (g *Gateway) endRoom(c *call, ref rooms.Ref) (answer, error) {
	return answerRoom(g.Rooms.End(c.Context(), c.caller.tenant.ID, ref))
}

func (g *Gateway) startRecording(c *call, ref rooms.Ref) (answer, error) {
	return answerRoom(g.Rooms.StartRecording(c.Context(), c.caller.tenant.ID, ref))
}

func (g *Gateway) stopRecording(c *call, ref rooms.Ref) (answer, error) {
	return answerRoom(g.Rooms.StopRecording(c.Context(), c.caller.tenant.ID, ref))
}

// answerRoom is the room as a call has left it.
func answerRoom(room rooms.Room, err error) (answer, error) {
	if err != nil {
		return answer{}, err
	}
	return ok(room).with("ETag", room.ETag()), nil
}

func (g *Gateway) deleteRoom(c *call, ref rooms.Ref) (answer, error) {
	return noContent(), g.Rooms.Delete(c.Context(), c.caller.tenant.ID, ref)
}
