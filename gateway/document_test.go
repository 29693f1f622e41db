package gateway_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
)

func TestDocumentsAreFetchedOnce(t *testing.T) {
	t.Parallel()
	h := open(t, "")
	want, err := os.ReadFile("openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if r := h.send("", "GET", "/openapi.yaml", nil); r.raw != string(want) || r.header.Get("Content-Type") != "application/yaml" {
		t.Errorf("the document is %d bytes of %s", len(r.raw), r.header.Get("Content-Type"))
	}
	if r := h.send("", "GET", "/docs", nil); !strings.Contains(r.raw, "<html") || !strings.Contains(r.raw, "addParticipant") {
		t.Errorf("the reference is %.200s", r.raw)
	}
	for _, path := range []string{"/openapi.yaml", "/docs", "/api/v1/tenants/" + h.tenant + "/.well-known/jwks.json"} {
		first := h.send("", "GET", path, nil)
		etag := first.header.Get("ETag")
		for _, given := range []string{etag, `"other", W/` + etag, "*"} {
			if again := h.send("", "GET", path, nil, "If-None-Match", given); again.status != http.StatusNotModified || again.raw != "" {
				t.Errorf("%s with If-None-Match %s: %d, %d bytes", path, given, again.status, len(again.raw))
			}
		}
		if again := h.send("", "GET", path, nil, "If-None-Match", `"other"`); again.status != 200 || again.raw != first.raw {
			t.Errorf("%s with another's ETag: %d", path, again.status)
		}
		h.refused("", 405, "method_not_allowed", "POST", path, nil)
	}
}

// TestDocumentsAreCompressedForWhoWantsThat: each form has its ETag, and caches are told that there are two.
func TestDocumentsAreCompressedForWhoWantsThat(t *testing.T) {
	t.Parallel()
	h := open(t, "")
	ask := func(path, encoding, etag string) (*http.Response, []byte) {
		request, err := http.NewRequest(http.MethodGet, h.url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Accept-Encoding", encoding)
		if etag != "" {
			request.Header.Set("If-None-Match", etag)
		}
		request.Header.Set("Origin", "https://app.example")
		r, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = r.Body.Close() }()
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		if vary := strings.Join(r.Header.Values("Vary"), ","); !strings.Contains(vary, "Accept-Encoding") || !strings.Contains(vary, "Origin") {
			t.Errorf("%s as %q varies by %s", path, encoding, vary)
		}
		return r, body
	}
	for _, path := range []string{"/openapi.yaml", "/docs", "/settings.schema.json"} {
		plain, content := ask(path, "gzip;q=0", "")
		zipped, small := ask(path, "br, gzip", "")
		if plain.Header.Get("Content-Encoding") != "" || zipped.Header.Get("Content-Encoding") != "gzip" || len(small)*3 > len(content) {
			t.Errorf("%s: %q of %d bytes, %q of %d", path, plain.Header.Get("Content-Encoding"), len(content), zipped.Header.Get("Content-Encoding"), len(small))
		}
		reader, err := gzip.NewReader(bytes.NewReader(small))
		if err != nil {
			t.Fatal(err)
		}
		if opened, err := io.ReadAll(reader); err != nil || !bytes.Equal(opened, content) {
			t.Errorf("%s: what was compressed is %d bytes, %v", path, len(opened), err)
		}
		tags := []string{plain.Header.Get("ETag"), zipped.Header.Get("ETag")}
		if tags[0] == "" || tags[0] == tags[1] {
			t.Errorf("%s: the ETags are %v", path, tags)
		}
		for i, encoding := range []string{"identity", "gzip"} {
			if r, body := ask(path, encoding, tags[i]); r.StatusCode != http.StatusNotModified || len(body) > 0 || r.Header.Get("ETag") != tags[i] {
				t.Errorf("%s as %s, which the caller has: %d", path, encoding, r.StatusCode)
			}
			if r, _ := ask(path, encoding, tags[1-i]); r.StatusCode != http.StatusOK {
				t.Errorf("%s as %s, of which the caller has the other form: %d", path, encoding, r.StatusCode)
			}
		}
	}
}

func TestDiscoveryLeadsToTheKeys(t *testing.T) {
	t.Parallel()
	h := open(t, `{"signing_algorithm":"ES256"}`)
	owner := "/api/v1/tenants/" + h.tenant
	found := h.send("", "GET", owner+"/.well-known/openid-configuration", nil)
	if found.body["issuer"] != "https://usher.example"+owner ||
		found.body["jwks_uri"] != "https://usher.example"+owner+"/.well-known/jwks.json" ||
		found.body["id_token_signing_alg_values_supported"].([]any)[0] != "ES256" {
		t.Errorf("discovery: %s", found.raw)
	}
	h.refused("", 404, "tenant_not_found", "GET", "/api/v1/tenants/tenant_01ke953t00e00bsaekf59edd1r/.well-known/openid-configuration", nil)
}
