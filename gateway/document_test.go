package gateway_test

import (
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
