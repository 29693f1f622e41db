package gateway

import (
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"usher"
	"usher/participants"
	"usher/tenant"
)

func (g *Gateway) getSettings(_ *call, id tenant.ID) (answer, error) {
	t, err := g.Tenants.Get(id)
	return settingsOf(t), err
}

func settingsOf(t tenant.Tenant) answer { return ok(jsontext.Value(t.Document)).with("ETag", t.ETag) }

func (g *Gateway) patchSettings(c *call, id tenant.ID) (answer, error) {
	dry, err := boolOf(c.query, "dry_run")
	if err != nil {
		return answer{}, err
	}
	patch, err := bodyOf(c, mergePatch, "application/json")
	if err != nil {
		return answer{}, err
	}
	if dry {
		return g.tryPatch(c, id, patch)
	}
	t, err := g.Tenants.PatchSettings(c.Context(), id, patch, c.ifMatch(), c.actor())
	return settingsOf(t), err
}

// settingsTrial is what a patch would do.
type settingsTrial struct {
	Config        jsontext.Value              `json:"config"`
	Diff          []tenant.Difference         `json:"diff"`
	AffectedRooms []participants.AffectedRoom `json:"affected_rooms"`
	AffectedTotal int                         `json:"affected_rooms_total"`
}

func (g *Gateway) tryPatch(c *call, id tenant.ID, patch []byte) (answer, error) {
	trial, err := g.Tenants.TryPatch(id, patch, c.ifMatch(), c.actor())
	if err != nil {
		return answer{}, err
	}
	affected, total := g.Participants.Affected(id, trial.Before, trial.After)
	return ok(settingsTrial{Config: trial.Document, Diff: trial.Diff, AffectedRooms: affected, AffectedTotal: total}), nil
}

type versionList struct {
	Versions []tenant.Version `json:"versions"`
}

func (g *Gateway) listVersions(_ *call, id tenant.ID) (answer, error) {
	versions, err := g.Tenants.Versions(id)
	return ok(versionList{Versions: versions}), err
}

type versionView struct {
	tenant.Version
	Config jsontext.Value `json:"config"`
}

// comparison is how one version differs from another.
type comparison struct {
	From int64               `json:"from"`
	To   int64               `json:"to"`
	Diff []tenant.Difference `json:"diff"`
}

func (g *Gateway) getVersion(c *call, id tenant.ID) (answer, error) {
	segment, err := c.segment("version")
	if err != nil {
		return answer{}, err
	}
	version, settings, err := g.version(id, "version", segment)
	if err != nil {
		return answer{}, err
	}
	if other := c.query.Get("compare"); other != "" {
		from, before, err := g.version(id, "compare", other)
		if err != nil {
			return answer{}, err
		}
		diff, err := tenant.Diff(before, settings)
		if err != nil {
			return answer{}, usher.Internal(err, "compare versions of %s", id)
		}
		return ok(comparison{From: from.Version, To: version.Version, Diff: diff}), nil
	}
	document, err := settings.Document()
	if err != nil {
		return answer{}, usher.Internal(err, "write a version of %s", id)
	}
	return ok(versionView{Version: version, Config: document}), nil
}

func (g *Gateway) version(id tenant.ID, field, s string) (tenant.Version, tenant.Settings, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 1 {
		return tenant.Version{}, tenant.Settings{}, usher.Invalid(usher.FieldError{Field: field, Message: "must be the number of a version"})
	}
	return g.Tenants.Version(id, n)
}

// rollback is the request to go back to a version.
type rollback struct {
	Version int64 `json:"version"`
}

// Validate checks that a version is named.
func (r *rollback) Validate() []usher.FieldError {
	if r.Version < 1 {
		return []usher.FieldError{{Field: "version", Message: "is required: the number of the version to go back to"}}
	}
	return nil
}

func (g *Gateway) rollbackSettings(c *call, id tenant.ID) (answer, error) {
	request, err := decode[rollback](c)
	if err != nil {
		return answer{}, err
	}
	t, err := g.Tenants.Rollback(c.Context(), id, request.Version, c.ifMatch(), c.actor())
	return settingsOf(t), err
}

func (g *Gateway) getBaseline(*call) (answer, error) {
	b := g.Tenants.Baseline()
	return ok(viewOfBaseline(b)).with("ETag", b.ETag()), nil
}

type baselineView struct {
	Defaults     tenant.Overrides      `json:"defaults"`
	Ceilings     tenant.Ceilings       `json:"ceilings"`               // in force, whoever has set them
	AboveCeiling []tenant.AboveCeiling `json:"above_ceiling,omitzero"` // of a change only
	AboveMore    bool                  `json:"above_ceiling_more,omitzero"`
}

func viewOfBaseline(b tenant.Baseline) baselineView {
	return baselineView{Defaults: b.Defaults, Ceilings: b.InForce(nil).Ceilings}
}

func (g *Gateway) putBaseline(c *call) (answer, error) {
	request, err := decode[tenant.NewBaseline](c)
	if err != nil {
		return answer{}, err
	}
	b, err := g.Tenants.SetBaseline(c.Context(), request, c.ifMatch(), c.actor())
	if err != nil {
		return answer{}, err
	}
	view := viewOfBaseline(b)
	if view.AboveCeiling, view.AboveMore = g.Tenants.AboveCeilings(b); view.AboveCeiling == nil {
		view.AboveCeiling = []tenant.AboveCeiling{}
	}
	return ok(view).with("ETag", b.ETag()), nil
}

type auditList struct {
	Entries       []tenant.AuditEntry `json:"entries"`
	NextPageToken string              `json:"next_page_token,omitzero"`
}

func (g *Gateway) listAudit(c *call, id tenant.ID) (answer, error) {
	if _, err := g.Tenants.Get(id); err != nil {
		return answer{}, err
	}
	return g.audit(c, id)
}

func (g *Gateway) listOperatorAudit(c *call) (answer, error) { return g.audit(c, "") }

func (g *Gateway) audit(c *call, id tenant.ID) (answer, error) {
	page, err := pageOf(c.query)
	if err != nil {
		return answer{}, err
	}
	listed := g.Tenants.Audit(id, tenant.AuditID(page.after), page.pin, page.size)
	list := auditList{Entries: listed.Entries}
	if listed.More {
		list.NextPageToken = nextPage(listed.Pin, string(listed.Entries[len(listed.Entries)-1].ID))
	}
	return ok(list), nil
}
