package token

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json"
)

// strictBase64 refuses a last character whose unused bits are not zero, so that one value has one encoding.
var strictBase64 = base64.RawURLEncoding.Strict()

// decodeBase64 decodes one part of a compact JWS or JWE: base64url, no padding, no white space (RFC 7515, section 2).
func decodeBase64(part string) ([]byte, error) {
	// encoding/base64 skips line breaks even when strict.
	if strings.ContainsAny(part, "\r\n") {
		return nil, errors.New("is not base64url")
	}
	decoded, err := strictBase64.DecodeString(part)
	if err != nil {
		return nil, errors.New("is not base64url")
	}
	return decoded, nil
}

// decodeJSON decodes one part of a compact JWS or JWE into the struct that into points to. Names are matched with their
// case and may not repeat, at any depth (RFC 7515, section 4; RFC 7519, section 4); names that into does not have are
// ignored, as both RFCs demand.
func decodeJSON(part string, into any) error {
	decoded, err := decodeBase64(part)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(decoded, into); err != nil {
		return fmt.Errorf("is not a JSON object of the expected form: %w", err)
	}
	return nil
}
