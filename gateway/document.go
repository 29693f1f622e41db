package gateway

import (
	_ "embed" // for the document
	"net/http"
	"strings"
	"sync"

	"usher"
	"usher/gateway/reference"
	"usher/tenant"
)

// openapi is what the API promises. Every answer that a test receives is held against it.
//
//go:embed openapi.yaml
var openapi []byte

// document is a body that many callers fetch again and again, so it has an ETag.
type document struct {
	mediaType string
	content   []byte
	etag      string
}

func newDocument(mediaType string, content []byte) document {
	return document{mediaType: mediaType, content: content, etag: usher.ETag(content)}
}

// fetch answers with the document, or with 304 to a caller who has it already (RFC 9110, section 13.1.2).
func (d document) fetch(c *call, cacheControl string) answer {
	a := ok(d)
	if usher.IfNoneMatch(strings.Join(c.Header.Values("If-None-Match"), ","), d.etag) {
		a = answer{status: http.StatusNotModified}
	}
	return a.with("ETag", d.etag).with("Cache-Control", cacheControl)
}

// static is a document that does not change in the life of the process, so it is compressed once.
type static struct{ plain, zipped document }

func newStatic(mediaType string, content []byte) static {
	return static{plain: newDocument(mediaType, content), zipped: newDocument(mediaType, gzipped(content))}
}

// fetch answers with the form that the caller prefers. Each has an ETag of its own (RFC 9110, section 8.8.3).
func (s static) fetch(c *call) answer {
	if !prefersGzip(c.Header.Values("Accept-Encoding")) {
		return s.plain.fetch(c, documentLifetime).with("Vary", "Accept-Encoding")
	}
	return s.zipped.fetch(c, documentLifetime).with("Vary", "Accept-Encoding").with("Content-Encoding", "gzip")
}

// documentLifetime: a new release brings a new document, so it is asked for each time, and seldom sent.
const documentLifetime = "no-cache"

// getOpenAPI answers with the document for tools, getReference with the same for people. Neither changes in the life of
// the process, so each is made once.
func getOpenAPI(c *call) (answer, error) { return openapiDocument().fetch(c), nil }

func getReference(c *call) (answer, error) {
	page, err := referencePage()
	if err != nil {
		return answer{}, usher.Internal(err, "make the reference page")
	}
	return page.fetch(c), nil
}

// getSettingsSchema answers with the schema of the settings: their types, bounds, defaults, and what each means.
func getSettingsSchema(c *call) (answer, error) { return settingsSchema().fetch(c), nil }

var settingsSchema = sync.OnceValue(func() static { return newStatic("application/schema+json", tenant.SettingsSchema()) })

var openapiDocument = sync.OnceValue(func() static { return newStatic("application/yaml", openapi) })

var referencePage = sync.OnceValues(func() (static, error) {
	page, err := reference.Page(openapi)
	return newStatic("text/html; charset=utf-8", page), err
})
