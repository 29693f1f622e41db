package gateway

import (
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"usher"
	"usher/participants"
	"usher/rooms"
)

// bulkRequest is a bulk add. Each item is read by itself, so that one bad item fails alone.
type bulkRequest struct {
	Participants []jsontext.Value `json:"participants"`
}

// Validate checks the number of items.
func (b *bulkRequest) Validate() []usher.FieldError {
	if len(b.Participants) == 0 {
		return []usher.FieldError{{Field: "participants", Message: "must list at least one participant"}}
	}
	return nil
}

// items reads the participants of the request, each with what is wrong with it.
func (b *bulkRequest) items() []participants.BulkItem {
	items := make([]participants.BulkItem, len(b.Participants))
	for i, raw := range b.Participants {
		if err := unmarshal(raw, &items[i].Request); err != nil {
			items[i].Invalid = usher.AsError(err)
		} else if problems := items[i].Request.Validate(); len(problems) > 0 {
			items[i].Invalid = usher.Invalid(problems...)
		}
	}
	return items
}

// bulkAnswer says what became of each item, in the order of the request.
type bulkAnswer []participants.BulkResult

// AppendJSON writes the answer.
func (a bulkAnswer) AppendJSON(b []byte) []byte {
	o := usher.JSONInto(b)
	o.Within("results", func(b []byte) []byte {
		b = append(b, '[')
		for i := range a {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendResult(b, &a[i])
		}
		return append(b, ']')
	})
	return o.End()
}

func appendResult(b []byte, r *participants.BulkResult) []byte {
	o := usher.JSONInto(b)
	if e := r.Refused; e != nil {
		o.Bool("success", false)
		o.String("error", e.Message())
		o.String("code", string(e.Code))
		if len(e.Fields) > 0 {
			o.Within("errors", func(b []byte) []byte { return appendFields(b, e.Fields) })
		}
		return o.End()
	}
	o.Plain("participant_id", string(r.Participant.ID))
	o.Bool("success", true)
	o.String("role", r.Participant.Role)
	appendTokens(&o, r.Tokens)
	o.Bool("should_start_recording", r.Decision.Elected)
	return o.End()
}

func appendFields(b []byte, fields []usher.FieldError) []byte {
	b = append(b, '[')
	for i, f := range fields {
		if i > 0 {
			b = append(b, ',')
		}
		o := usher.JSONInto(b)
		o.String("field", f.Field)
		o.String("message", f.Message)
		b = o.End()
	}
	return append(b, ']')
}

func (g *Gateway) addParticipants(c *call, ref rooms.Ref) (answer, error) {
	atomic, err := boolOf(c.query, "atomic")
	if err != nil {
		return answer{}, err
	}
	request, err := decode[bulkRequest](c)
	if err != nil {
		return answer{}, err
	}
	if len(request.Participants) > participants.MaxBulk {
		return answer{}, usher.Errorf(usher.CodeBulkTooLarge, "A bulk may add at most %d participants.", participants.MaxBulk).
			With("limit", participants.MaxBulk)
	}
	if err := g.chargeItems(c, len(request.Participants)); err != nil {
		return answer{}, err
	}
	attempt, err := c.attempt()
	if err != nil {
		return answer{}, err
	}
	add := g.Participants.AddMany
	if atomic {
		add = g.Participants.AddAll
	}
	bulk, err := add(c.Context(), c.caller.tenant.ID, ref, request.items(), attempt)
	if err != nil {
		return answer{}, err
	}
	if !bulk.Replayed {
		c.joined = bulk.Seated()
	}
	return ok(bulkAnswer(bulk.Results)).orReplayed(bulk.Replayed), nil
}

// bulkRemoval is the request to take many out of a room: participants, users, or both.
type bulkRemoval struct {
	ParticipantIDs  []string `json:"participant_ids"`
	ExternalUserIDs []string `json:"external_user_ids"`
	BanSeconds      *int     `json:"ban_seconds"`
}

// Validate checks the number of targets and the ban.
func (b *bulkRemoval) Validate() (problems []usher.FieldError) {
	if len(b.ParticipantIDs)+len(b.ExternalUserIDs) == 0 {
		problems = append(problems, usher.FieldError{Field: "participant_ids", Message: "or external_user_ids must name at least one"})
	}
	for i, user := range b.ExternalUserIDs {
		if problem := participants.CheckExternalUserID(user); problem != "" {
			problems = append(problems, usher.FieldError{Field: "external_user_ids." + strconv.Itoa(i), Message: problem})
		}
	}
	if b.BanSeconds != nil && !isBan(*b.BanSeconds) {
		problems = append(problems, errBanSeconds())
	}
	return problems
}

type bulkRemovalAnswer struct {
	Results []removedItem `json:"results"` // participants first, then users, each in the order of the request
}

type removedItem struct {
	ParticipantID  string             `json:"participant_id,omitzero"`
	ExternalUserID string             `json:"external_user_id,omitzero"`
	ParticipantIDs []participants.ID  `json:"participant_ids,omitempty"` // of the user
	Success        bool               `json:"success"`
	Error          string             `json:"error,omitzero"`
	Code           usher.Code         `json:"code,omitzero"`
	Errors         []usher.FieldError `json:"errors,omitempty"`
}

func (g *Gateway) removeParticipants(c *call, ref rooms.Ref) (answer, error) {
	request, err := decode[bulkRemoval](c)
	if err != nil {
		return answer{}, err
	}
	targets := make([]participants.Target, 0, len(request.ParticipantIDs)+len(request.ExternalUserIDs))
	for _, id := range request.ParticipantIDs {
		targets = append(targets, participants.Target{Participant: participants.ID(id)})
	}
	for _, user := range request.ExternalUserIDs {
		targets = append(targets, participants.Target{ExternalUserID: user})
	}
	if len(targets) > participants.MaxBulkRemove {
		return answer{}, usher.Errorf(usher.CodeBulkTooLarge, "A bulk may remove at most %d at once.", participants.MaxBulkRemove).
			With("limit", participants.MaxBulkRemove)
	}
	if err := g.chargeItems(c, len(targets)); err != nil {
		return answer{}, err
	}
	results, err := g.Participants.RemoveMany(c.Context(), c.caller.tenant.ID, ref, targets, banSeconds(request.BanSeconds))
	if err != nil {
		return answer{}, err
	}
	a := bulkRemovalAnswer{Results: make([]removedItem, len(results))}
	for i, r := range results {
		a.Results[i] = removedItemOf(r)
	}
	return ok(a), nil
}

func removedItemOf(r participants.TakenOut) removedItem {
	item := removedItem{ParticipantID: string(r.Participant), ExternalUserID: r.ExternalUserID, Success: r.Refused == nil}
	if r.Participant == "" {
		item.ParticipantIDs = r.Participants
	}
	if e := r.Refused; e != nil {
		item.Error, item.Code, item.Errors = e.Message(), e.Code, e.Fields
	}
	return item
}
