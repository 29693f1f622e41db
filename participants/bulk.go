package participants

import (
	"context"

	"usher"
	"usher/rooms"
	"usher/tenant"
)

// MaxBulk is how many participants one bulk request may add.
const MaxBulk = 1000

// reservedOps is how much of a transaction a bulk leaves for what is not a new participant: the room, its name, the
// tenant's count, compares, and what a replaced seat takes.
const reservedOps = 28

// BulkItem is one request of many: either the request, or what is wrong with it.
type BulkItem struct {
	Request NewParticipant
	Invalid *usher.Error
}

// Bulk is what became of many requests, in their order.
type Bulk struct {
	Results  []BulkResult
	Replayed bool // all of it by an earlier request under the same Idempotency-Key
}

// Seated is how many have a seat.
func (b Bulk) Seated() (n int) {
	for _, r := range b.Results {
		if r.Refused == nil {
			n++
		}
	}
	return n
}

// BulkResult is what became of one of many requests.
type BulkResult struct {
	Refused     *usher.Error // everything else is then zero
	Participant Participant
	Tokens      tenant.Tokens
	Decision    rooms.Decision
}

// MaxAtomic is how many participants an atomic bulk may add: what one transaction of the log holds.
func (s *Service) MaxAtomic() int { return max(1, s.log.MaxTxnOps()-reservedOps) }

// AddMany seats participants as if they had joined one after the other, and answers for each. What concerns the room and
// not an item (no such room, for one) is the error, as it would be Add's. One transaction holds MaxAtomic of them; if the
// log fails after some transactions, the rest are refused with its error.
//
// Under an Idempotency-Key each transaction notes how far the bulk has come, so that a repeat of one that was cut off goes
// on from there.
func (s *Service) AddMany(ctx context.Context, t tenant.ID, ref rooms.Ref, items []BulkItem, attempt tenant.Attempt) (Bulk, error) {
	results, requests, places := sift(items)
	b := batch{requests: requests, step: s.MaxAtomic(), attempt: attempt}
	for b.next < len(requests) {
		a, err := s.seat(ctx, t, ref, b, func(*admission) error { return nil })
		switch {
		case usher.HasCode(err, usher.CodeBulkTooLarge) && b.step > 1:
			b.step /= 2 // replaced seats take room in the transaction too
		case err != nil && b.next == 0:
			return Bulk{}, err
		case err != nil:
			refuse(results, places[b.next:], usher.AsError(err))
			return Bulk{Results: results}, nil
		case a.replayed:
			fill(results, places, a)
			return Bulk{Results: results, Replayed: true}, nil
		default:
			fill(results, places[a.from:], a)
			b.next = a.from + len(a.seats)
		}
	}
	return Bulk{Results: results}, nil
}

// AddAll seats all of the participants or none, in one transaction. The error of a refusal carries what became of every
// item as the member "results" of its problem document.
func (s *Service) AddAll(ctx context.Context, t tenant.ID, ref rooms.Ref, items []BulkItem, attempt tenant.Attempt) (Bulk, error) {
	if limit := s.MaxAtomic(); len(items) > limit {
		return Bulk{}, usher.Errorf(usher.CodeBulkTooLarge, "An atomic bulk may add at most %d participants.", limit).With("limit", limit)
	}
	results, requests, places := sift(items)
	if err := verdictOnAll(results); err != nil {
		return Bulk{}, err
	}
	a, err := s.seat(ctx, t, ref, batch{requests: requests, attempt: attempt}, func(a *admission) error {
		if a.replayed {
			return nil // all were added then; who has left since is told so by itself
		}
		verdicts := make([]BulkResult, len(items))
		fill(verdicts, places, a)
		return verdictOnAll(verdicts)
	})
	if err != nil {
		return Bulk{}, err
	}
	fill(results, places, a)
	return Bulk{Results: results, Replayed: a.replayed}, nil
}

// sift separates the items that can be decided from those that are invalid by themselves, and keeps their places.
func sift(items []BulkItem) (results []BulkResult, requests []NewParticipant, places []int) {
	results = make([]BulkResult, len(items))
	for i, item := range items {
		if item.Invalid != nil {
			results[i].Refused = item.Invalid
			continue
		}
		requests = append(requests, item.Request)
		places = append(places, i)
	}
	return results, requests, places
}

func fill(results []BulkResult, places []int, a *admission) {
	for i, seat := range a.seats {
		results[places[i]] = BulkResult{Refused: seat.refused, Participant: seat.participant, Tokens: seat.tokens, Decision: seat.decision}
	}
}

func refuse(results []BulkResult, places []int, err *usher.Error) {
	for _, place := range places {
		results[place].Refused = err
	}
}

// ItemVerdict is one entry of the member "results" of a refused atomic bulk.
type ItemVerdict struct {
	Success bool       `json:"success"` // always false: nobody was added
	Error   string     `json:"error"`
	Code    usher.Code `json:"code,omitzero"` // of what is wrong with the item; none for an item that would have been added
}

// verdictOnAll is the refusal of all when one is refused: the first one's code, and every item's verdict.
func verdictOnAll(results []BulkResult) error {
	var first *usher.Error
	verdicts := make([]ItemVerdict, len(results))
	for i, r := range results {
		verdicts[i] = ItemVerdict{Error: "not added, because another item was refused"}
		if r.Refused != nil {
			verdicts[i] = ItemVerdict{Error: r.Refused.Message(), Code: r.Refused.Code}
			if first == nil {
				first = r.Refused
			}
		}
	}
	if first == nil {
		return nil
	}
	return usher.Errorf(first.Code, "Nobody was added: %s", first.Message()).With("results", verdicts)
}
