package gateway

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"usher"
)

// queries are the parameters that routes take in their query. All others are refused, as unknown members of a body are:
// "?dryrun=true" would otherwise do what a dry run is there to try first.
func queries() map[string][]string {
	const (
		room  = "/api/v1/rooms/{id}"
		owner = "/api/v1/tenants/{id}"
	)
	paged := []string{"page_size", "page_token"}
	return map[string][]string{
		http.MethodGet + " /api/v1/rooms":                           append([]string{"name", "status"}, paged...),
		http.MethodGet + " " + room + "/participants":               append([]string{"active"}, paged...),
		http.MethodDelete + " " + room + "/participants/{pid}":      {"ban_seconds"},
		http.MethodPost + " " + room + "/participants/bulk":         {"atomic"},
		http.MethodGet + " " + room + "/bans":                       paged,
		http.MethodDelete + " " + room + "/bans":                    {"external_user_id"},
		http.MethodGet + " /api/v1/tenants":                         paged,
		http.MethodGet + " /api/v1/audit":                           paged,
		http.MethodGet + " " + owner + "/audit":                     paged,
		http.MethodPatch + " " + owner + "/config":                  {"dry_run"},
		http.MethodGet + " " + owner + "/config/versions/{version}": {"compare"},
		http.MethodDelete + " " + owner + "/signing-keys/{kid}":     {"force"},
	}
}

// ask reads the query. What anybody may ask for takes whatever comes: such a URL may have been through many hands.
func (c *call) ask() error {
	if c.URL.RawQuery == "" || c.route.access.anybody {
		return nil
	}
	var err error
	if c.query, err = url.ParseQuery(c.URL.RawQuery); err != nil {
		return usher.Errorf(usher.CodeInvalidRequest, "The query of the URL is not properly escaped.")
	}
	var problems []usher.FieldError
	for name, values := range c.query {
		switch {
		case !slices.Contains(c.route.query, name):
			problems = append(problems, usher.FieldError{Field: cmp.Or(name, "query"), Message: "is not a known query parameter; " + c.route.known()})
		case len(values) > 1:
			problems = append(problems, usher.FieldError{Field: name, Message: "is given twice"})
		}
	}
	if len(problems) == 0 {
		return nil
	}
	problems = problems[:min(len(problems), toldProblems)] // an answer is no longer for a longer query
	slices.SortFunc(problems, func(a, b usher.FieldError) int { return strings.Compare(a.Field, b.Field) })
	return usher.Invalid(problems...)
}

// toldProblems is of how many parameters it is told what is wrong with them.
const toldProblems = 10

func (e *endpoint) known() string {
	if len(e.query) == 0 {
		return "there are none here"
	}
	return "known here: " + strings.Join(e.query, ", ")
}
