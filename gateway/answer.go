package gateway

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"usher"
)

// answer is what a handler gives back when all went well.
type answer struct {
	status int
	body   any               // encoded as JSON unless it is a jsontext.Value, a document or an appender; nil for none
	header map[string]string // beyond the usual
}

// appender is an answer that writes its own JSON, on paths where reflection would be much of the work.
type appender interface{ AppendJSON(b []byte) []byte }

// buffers are reused for answers that are written by appending.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// maxKeptBuffer keeps one huge answer from staying in memory for ever, in bytes.
const maxKeptBuffer = 512 << 10

func ok(body any) answer { return answer{status: http.StatusOK, body: body} }

func created(location string, body any) answer {
	return answer{status: http.StatusCreated, body: body, header: map[string]string{"Location": location}}
}

func noContent() answer { return answer{status: http.StatusNoContent} }

func (a answer) with(name, value string) answer {
	if a.header == nil {
		a.header = make(map[string]string, 1)
	}
	a.header[name] = value
	return a
}

func (a answer) write(g *Gateway, w *recorder, c *call) {
	// A write's answer shows what it wrote, so it is at least as new as that; a read's is as new as it was before it.
	if !reads(c.Method) {
		w.set(headerRevision, strconv.FormatInt(g.Log.Revision(), 10))
	}
	for name, value := range a.header {
		if name == "Vary" { // which may have more than one cause
			w.Header().Add(name, value)
			continue
		}
		w.Header().Set(name, value)
	}
	if a.body == nil {
		w.WriteHeader(a.status)
		return
	}
	switch body := a.body.(type) {
	case document:
		writeBody(w, a.status, body.mediaType, body.content)
	case jsontext.Value:
		writeBody(w, a.status, "application/json", body)
	case appender:
		buffer := buffers.Get().(*[]byte)
		*buffer = body.AppendJSON((*buffer)[:0])
		writeBody(w, a.status, "application/json", *buffer) // net/http has copied or sent it when this returns
		if cap(*buffer) <= maxKeptBuffer {
			buffers.Put(buffer)
		}
	default:
		encoded, err := json.Marshal(a.body, json.Deterministic(true))
		if err != nil {
			g.fail(w, c, usher.Internal(err, "encode an answer"))
			return
		}
		writeBody(w, a.status, "application/json", encoded)
	}
}

// maxPage is how many entries a page may have, and has when nothing is said.
const maxPage = 1000

// page is which part of a list a request asks for.
type page struct {
	size  int
	after string // the last id of the page before
	pin   int64  // the revision that the list was begun at
}

// pageOf reads page_size and page_token.
func pageOf(query url.Values) (page, error) {
	p := page{size: maxPage}
	if s := query.Get("page_size"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > maxPage {
			return p, usher.Invalid(usher.FieldError{Field: "page_size", Message: "must be between 1 and 1000"})
		}
		p.size = n
	}
	token := query.Get("page_token")
	if token == "" {
		return p, nil
	}
	text, err := base64.RawURLEncoding.DecodeString(token)
	pin, after, cut := strings.Cut(string(text), ".")
	p.after = after
	if err == nil {
		p.pin, err = strconv.ParseInt(pin, 10, 64)
	}
	if err != nil || !cut || p.pin < 1 {
		return p, usher.Invalid(usher.FieldError{Field: "page_token", Message: "is not one that next_page_token has given"})
	}
	return p, nil
}

// nextPage is the token of the page after the one that ends with last.
func nextPage(pin int64, last string) string {
	return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%d.%s", pin, last))
}

// ifMatch is the If-Match of the request as one list of tags.
func (c *call) ifMatch() string { return strings.Join(c.Header.Values("If-Match"), ",") }

// boolOf reads a query parameter that is true or false, and false when it is not there.
func boolOf(query url.Values, name string) (bool, error) {
	switch query.Get(name) {
	case "", "false":
		return false, nil
	case "true":
		return true, nil
	}
	return false, usher.Invalid(usher.FieldError{Field: name, Message: "must be true or false"})
}
