package openapitest

import (
	"fmt"
	"io"
	"net/http"
	"strings"
)

// maxShown is how much of a body a report shows, in bytes.
const maxShown = 4 << 10

// report tells what differs, and from which request and answer; a is nil for a request that was not sent.
func report(what string, q asked, r *http.Request, a *http.Response, body []byte, differences []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s is not what gateway/openapi.yaml says of %s:\n", what, q.name)
	for _, d := range differences {
		fmt.Fprintf(&b, "  - %s\n", d)
	}
	fmt.Fprintf(&b, "the request:\n")
	show(&b, r.Method+" "+r.URL.RequestURI(), r.Header, bodyOf(r))
	if a != nil {
		fmt.Fprintf(&b, "the answer:\n")
		show(&b, fmt.Sprintf("%d %s", a.StatusCode, http.StatusText(a.StatusCode)), a.Header, body)
	}
	return b.String()
}

// bodyOf is the request's body, where it can be read again.
func bodyOf(r *http.Request) []byte {
	if r.GetBody == nil {
		return nil
	}
	reader, err := r.GetBody()
	if err != nil {
		return nil
	}
	defer func() { _ = reader.Close() }()
	body, _ := io.ReadAll(io.LimitReader(reader, maxShown+1))
	return body
}

// show writes a message, indented, and keeps credentials to itself: the logs of tests are read by many.
func show(b *strings.Builder, first string, header http.Header, body []byte) {
	header = header.Clone()
	for _, secret := range []string{"Authorization", "X-Api-Key"} {
		if header.Get(secret) != "" {
			header.Set(secret, "[redacted]")
		}
	}
	var message strings.Builder
	fmt.Fprintln(&message, first)
	_ = header.Write(&message) // a strings.Builder does not fail
	if cut := len(body) > maxShown; cut {
		body = append(body[:maxShown:maxShown], "…"...)
	}
	fmt.Fprintf(&message, "\n%s", body)
	text := strings.TrimSpace(strings.ReplaceAll(message.String(), "\r\n", "\n"))
	fmt.Fprintf(b, "    %s\n", strings.ReplaceAll(text, "\n", "\n    "))
}
