package gateway

import (
	"context"

	"usher"
	"usher/rooms"
	"usher/tenant"
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
	query := c.URL.Query()
	page, err := pageOf(query)
	if err != nil {
		return answer{}, err
	}
	status := rooms.Status(query.Get("status"))
	switch status {
	case "", rooms.Scheduled, rooms.Active, rooms.Ended:
	default:
		return answer{}, usher.Invalid(usher.FieldError{Field: "status", Message: "must be scheduled, active or ended"})
	}
	listed := g.Rooms.List(c.caller.tenant.ID, rooms.Query{
		Status: status, Name: query.Get("name"), After: rooms.ID(page.after), Pin: page.pin, Limit: page.size,
	})
	list := roomList{Rooms: listed.Rooms}
	if listed.More {
		list.NextPageToken = nextPage(listed.Pin, string(listed.Rooms[len(listed.Rooms)-1].ID))
	}
	return ok(list), nil
}

func (g *Gateway) getRoom(c *call) (answer, error) {
	return g.withRoom(c, func(_ context.Context, t tenant.ID, ref rooms.Ref) (rooms.Room, error) { return g.Rooms.Get(t, ref) })
}

func (g *Gateway) updateRoom(c *call) (answer, error) {
	update, err := decode[rooms.Update](c, mergePatch)
	if err != nil {
		return answer{}, err
	}
	return g.withRoom(c, func(ctx context.Context, t tenant.ID, ref rooms.Ref) (rooms.Room, error) {
		return g.Rooms.Update(ctx, t, ref, update, c.ifMatch())
	})
}

func (g *Gateway) lockRoom(c *call) (answer, error)   { return g.setLocked(c, true) }
func (g *Gateway) unlockRoom(c *call) (answer, error) { return g.setLocked(c, false) }

func (g *Gateway) setLocked(c *call, locked bool) (answer, error) {
	return g.withRoom(c, func(ctx context.Context, t tenant.ID, ref rooms.Ref) (rooms.Room, error) {
		return g.Rooms.Lock(ctx, t, ref, locked)
	})
}

func (g *Gateway) endRoom(c *call) (answer, error) { return g.withRoom(c, g.Rooms.End) }
func (g *Gateway) startRecording(c *call) (answer, error) {
	return g.withRoom(c, g.Rooms.StartRecording)
}
func (g *Gateway) stopRecording(c *call) (answer, error) { return g.withRoom(c, g.Rooms.StopRecording) }

// withRoom answers the room of the path as do leaves it.
func (g *Gateway) withRoom(c *call, do func(context.Context, tenant.ID, rooms.Ref) (rooms.Room, error)) (answer, error) {
	ref, err := c.room()
	if err != nil {
		return answer{}, err
	}
	room, err := do(c.Context(), c.caller.tenant.ID, ref)
	if err != nil {
		return answer{}, err
	}
	return ok(room).with("ETag", room.ETag()), nil
}

func (g *Gateway) deleteRoom(c *call) (answer, error) {
	ref, err := c.room()
	if err != nil {
		return answer{}, err
	}
	return noContent(), g.Rooms.Delete(c.Context(), c.caller.tenant.ID, ref)
}
