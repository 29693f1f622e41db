package tenant

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"usher"
	"usher/store"
)

// Version is one accepted change of a tenant's settings.
type Version struct {
	Version   int64        `json:"version"`
	ChangedAt usher.Time   `json:"changed_at"`
	ChangedBy string       `json:"changed_by"`
	RequestID string       `json:"request_id"`
	Diff      []Difference `json:"diff"`
}

// Difference is what became of one setting.
type Difference struct {
	Setting string         `json:"setting"`
	From    jsontext.Value `json:"from"`
	To      jsontext.Value `json:"to"`
}

// storedVersion is a Version with the overrides that it led to.
type storedVersion struct {
	Version
	Overrides Overrides `json:"config"`
}

// versions is the table of versions: {tenant}/{number, in ten digits}.
var versions = store.Table[storedVersion]{Name: "tenant-versions", Decode: decodeJSON[storedVersion], Encode: encodeJSON[storedVersion]}

// keptVersions is how many versions of a tenant's settings can be read and rolled back to.
const keptVersions = 50

func versionPath(t ID, n int64) string { return fmt.Sprintf("%s/%010d", t, n) }

// Diff lists what differs between two settings, in the order of the document.
func Diff(before, after Settings) ([]Difference, error) {
	var documents [2][]byte
	for i, s := range []Settings{before, after} {
		var err error
		if documents[i], err = s.Document(); err != nil {
			return nil, err
		}
	}
	diff := []Difference{}
	was := make(map[string]jsontext.Value)
	if err := json.Unmarshal(documents[0], &was); err != nil {
		return nil, err
	}
	is := jsontext.NewDecoder(bytes.NewReader(documents[1]))
	if _, err := is.ReadToken(); err != nil { // the brace
		return nil, err
	}
	for is.PeekKind() == '"' {
		name, err := is.ReadToken()
		if err != nil {
			return nil, err
		}
		key := name.String()
		value, err := is.ReadValue()
		if err != nil {
			return nil, err
		}
		if !bytes.Equal(was[key], value) {
			diff = append(diff, Difference{Setting: key, From: was[key], To: value.Clone()})
		}
	}
	return diff, nil
}

// note writes a version, and takes the one away that is no longer kept.
func note(tx *store.Tx, t Tenant, diff []Difference, by Actor, at usher.Time) {
	versions.Put(tx, versionPath(t.ID, t.Version), storedVersion{
		Version:   Version{Version: t.Version, ChangedAt: at, ChangedBy: by.By, RequestID: by.RequestID, Diff: diff},
		Overrides: t.Overrides,
	})
	if gone := t.Version - keptVersions; gone > 0 {
		versions.Delete(tx, versionPath(t.ID, gone))
	}
}

// Versions lists the versions of the tenant's settings, the newest first.
func (s *Service) Versions(id ID) ([]Version, error) {
	snapshot := s.log.Snapshot()
	if _, err := Find(snapshot, id); err != nil {
		return nil, err
	}
	list := []Version{}
	for row := range versions.Scan(snapshot, string(id)+"/", "") {
		list = append(list, row.Value.Version)
	}
	slices.Reverse(list)
	return list, nil
}

// Version is one version and the whole document as it then was, on the operator's defaults as they are now.
func (s *Service) Version(id ID, n int64) (Version, Settings, error) {
	snapshot := s.log.Snapshot()
	owner, err := Find(snapshot, id)
	if err != nil {
		return Version{}, Settings{}, err
	}
	v, err := findVersion(snapshot, id, n)
	if err != nil {
		return Version{}, Settings{}, err
	}
	b, _ := baselineOf(snapshot)
	settings, err := Resolve(v.Overrides, b.InForce(owner.Ceilings))
	if err != nil {
		return Version{}, Settings{}, usher.Internal(err, "resolve version %d of %s", n, id)
	}
	return v.Version, settings, nil
}

func findVersion(r store.Reader, id ID, n int64) (storedVersion, error) {
	row, ok := versions.Get(r, versionPath(id, n))
	if !ok {
		return storedVersion{}, usher.Errorf(usher.CodeVersionNotFound, "There is no version %d: the newest %d are kept.", n, keptVersions)
	}
	return row.Value, nil
}

// Rollback makes the settings of an earlier version those of a new one. What that version did not set follows its
// default again. A ceiling that the operator has lowered since refuses it, but for the operator, who raises it.
func (s *Service) Rollback(ctx context.Context, id ID, n int64, ifMatch string, by Actor) (Tenant, error) {
	return s.changeSettings(ctx, id, ifMatch, by, "config.rollback", func(r store.Reader, t Tenant, b Baseline) (choice, error) {
		v, err := findVersion(r, id, n)
		if err != nil {
			return choice{}, err
		}
		set, err := v.Overrides.members()
		if err != nil {
			return choice{}, usher.Internal(err, "read version %d of %s", n, id)
		}
		if by.raisesCeilings() {
			t.Ceilings = nil // it has had its say on every setting
		}
		return b.choose(Overrides{}, t.Ceilings, set, by)
	})
}
