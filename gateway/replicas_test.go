package gateway_test

import (
	"net/url"
	"testing"

	"github.com/gofrs/uuid/v5"
)

// TestARefusalIsAsNewAsTheLog: what one replica has acknowledged, another one does not deny in answer to a write, even if
// it has not heard of it yet.
func TestARefusalIsAsNewAsTheLog(t *testing.T) {
	t.Parallel()
	h := open(t, `{"max_concurrent_rooms":100000,"burst":100000,"requests_per_second":100000}`)
	replicas := []*house{h, h.second()}
	denied := 0
	const rounds = 300
	for i := range rounds {
		here, there := replicas[i%2], replicas[(i+1)%2]
		room := uuid.Must(uuid.NewV7()).String()
		seat := here.add(room, object{"display_name": "A"})["participant_id"].(string)
		if r := there.send(h.key, "DELETE", "/api/v1/rooms/"+room+"/participants/"+seat, nil); r.status != 204 {
			denied++
		}
		name := uuid.Must(uuid.NewV4()).String() + " as a name"
		here.must(201, "POST", "/api/v1/rooms", object{"name": name})
		if r := there.send(h.key, "POST", "/api/v1/rooms/"+url.PathEscape(name)+"/end", nil); r.status != 200 {
			denied++
		}
	}
	if denied > 0 {
		t.Errorf("%d of %d were denied", denied, 2*rounds)
	}
}
