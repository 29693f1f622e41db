package participants

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"usher"
	"usher/rooms"
	"usher/store"
	"usher/tenant"
)

// BenchmarkLookUpByUser is what a duplicate policy asks of the index in each round: who is in a room of 100, alone and
// after 100 000 others have left it.
//
//	go test ./participants -run '^$' -bench LookUpByUser -benchtime 100x
func BenchmarkLookUpByUser(b *testing.B) {
	log, err := store.Embed(context.Background(), store.EmbedOptions{Dir: b.TempDir(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = log.Close() })
	s, err := store.Open(log, store.Options{Logger: slog.New(slog.DiscardHandler)}, Definitions()...)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(s.Close)
	if err := s.WaitReady(context.Background()); err != nil {
		b.Fatal(err)
	}
	const active = 100
	for _, left := range []int{0, 100_000} {
		b.Run(fmt.Sprint("left=", left), func(b *testing.B) {
			room := rooms.ID(fmt.Sprint("room_", left))
			seats := make([]Participant, left+active)
			for i := range seats {
				seats[i] = Participant{ID: ID(fmt.Sprintf("p_%026d", i)), RoomID: room, DisplayName: "A", ExternalUserID: fmt.Sprint("user_", i)}
				if i < left {
					seats[i] = seats[i].left(Left, usher.At(time.Now()))
				}
			}
			prefix := path("t", room, "")
			write(b, s, "t", seats)
			b.ReportAllocs()
			for b.Loop() {
				if users := usersIn(s.Snapshot(), prefix); len(users) != active {
					b.Fatal(len(users))
				}
			}
		})
	}
}

// write puts the seats into the log, many to a transaction.
func write(t testing.TB, s *store.Store, owner tenant.ID, seats []Participant) {
	t.Helper()
	for len(seats) > 0 {
		some := seats[:min(100, len(seats))]
		seats = seats[len(some):]
		if _, err := store.Commit(context.Background(), s, store.Change[struct{}]{
			Aggregates: func(*store.Snapshot) []store.Key { return nil },
			Decide: func(tx *store.Tx) (struct{}, error) {
				for _, p := range some {
					Participants.Put(tx, path(owner, p.RoomID, p.ID), recordOf(p))
				}
				return struct{}{}, nil
			},
		}); err != nil {
			t.Fatal(err)
		}
	}
}
