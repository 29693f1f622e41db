package gateway

import (
	"reflect"
	"slices"
	"testing"

	"usher/gateway/openapitest"
)

func TestTheQueriesAreTheDocuments(t *testing.T) {
	t.Parallel()
	known := queries()
	for _, names := range known {
		slices.Sort(names)
	}
	if documented := openapitest.New(t).Queries(); !reflect.DeepEqual(known, documented) {
		t.Errorf("routes take\n%v\nthe document has\n%v", known, documented)
	}
}
