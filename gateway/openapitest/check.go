package openapitest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	failure "github.com/pb33f/libopenapi-validator/errors"
	v3 "github.com/pb33f/libopenapi/datamodel/high/v3"
	"github.com/pb33f/libopenapi/orderedmap"

	"usher"
)

// answer lists how the answer differs from what the document says.
func (q asked) answer(c *contract, r *http.Request, a *http.Response, body []byte) (differences []string) {
	known := maps.Collect(q.operation.Responses.Codes.FromOldest())
	documented := known[strconv.Itoa(a.StatusCode)]
	if documented == nil {
		return []string{fmt.Sprintf("the status %d is not documented; these are: %s",
			a.StatusCode, strings.Join(slices.Sorted(maps.Keys(known)), ", "))}
	}
	if r.Method != http.MethodHead {
		if problem := checkBody(documented, a.Header, body); problem != "" {
			differences = append(differences, problem)
		}
	}
	request, answer := *r, *a
	request.Method, answer.Body = q.method, io.NopCloser(bytes.NewReader(body))
	_, failures := c.validator.GetResponseBodyValidator().ValidateResponseBodyWithPathItem(&request, &answer, q.item, q.template)
	return append(differences, explain(failures)...)
}

// request lists how the request differs from what the document allows.
func (q asked) request(c *contract, r *http.Request) []string {
	if q.template == unknownPath || q.template == otherMethod {
		return []string{"the document does not have it: this is " + q.name}
	}
	copied := r.Clone(r.Context())
	copied.Method = q.method
	if r.Body != nil && r.Body != http.NoBody {
		if r.GetBody == nil {
			return []string{"its body cannot be read twice (GetBody is not set), so it cannot be checked"}
		}
		body, err := r.GetBody()
		if err != nil {
			return []string{"read its body: " + err.Error()}
		}
		copied.Body = body
	}
	_, failures := c.validator.ValidateHttpRequestSyncWithPathItem(copied, q.item, q.template)
	return explain(failures)
}

// explain makes a line of every failure that the library found.
func explain(failures []*failure.ValidationError) (lines []string) {
	for _, f := range failures {
		if len(f.SchemaValidationErrors) == 0 {
			lines = append(lines, f.Reason)
		}
		for _, s := range f.SchemaValidationErrors {
			lines = append(lines, strings.TrimSpace(s.FieldPath+" "+s.Reason))
		}
	}
	slices.Sort(lines)
	return slices.Compact(lines)
}

// checkBody finds what the library lets pass: no body where there should be one, a body where there should be none, null
// for anything, and JSON with a name twice or bytes that are no text, which readers take in different ways.
func checkBody(documented *v3.Response, header http.Header, body []byte) string {
	mediaType, _, _ := mime.ParseMediaType(header.Get("Content-Type"))
	isJSON, empty := strings.HasSuffix(mediaType, "json"), orderedmap.Len(documented.Content) == 0
	switch {
	case empty && len(body) > 0:
		return fmt.Sprintf("there should be no body; there are %d bytes", len(body))
	case empty:
		return ""
	case len(body) == 0:
		return "there is no body"
	case isJSON && !jsontext.Value(body).IsValid():
		return "the body is not JSON, or has a name twice"
	case isJSON && jsontext.Value(body).Kind() == 'n':
		return "the body is null"
	case mediaType == "application/problem+json":
		return checkProblem(header, body)
	}
	return ""
}

// checkProblem holds a problem document against itself, its headers and the table of codes. That it has the members is
// the schema's business.
func checkProblem(header http.Header, body []byte) string {
	var p struct {
		Type, Title, Detail, Error string
		Status                     int
		Code                       usher.Code
		RequestID                  string `json:"request_id"`
	}
	if json.Unmarshal(body, &p) != nil {
		return ""
	}
	info := p.Code.Info()
	switch {
	case info.Code != p.Code:
		return fmt.Sprintf("the code %q is not in the table of codes", p.Code)
	case p.Status != info.Status:
		return fmt.Sprintf("the status in the body is %d; that of the code %s is %d", p.Status, p.Code, info.Status)
	case p.Title != info.Title:
		return fmt.Sprintf("the title is %q; that of the code %s is %q", p.Title, p.Code, info.Title)
	case p.Type != "urn:usher:error:"+string(p.Code):
		return fmt.Sprintf("the type %s is not that of the code %s", p.Type, p.Code)
	case p.Error != p.Detail:
		return "error and detail are not the same"
	case p.RequestID != header.Get("X-Request-ID"):
		return fmt.Sprintf("the request_id is %q and the header X-Request-ID %q", p.RequestID, header.Get("X-Request-ID"))
	}
	return ""
}
