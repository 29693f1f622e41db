package gateway

import (
	"errors"
	"fmt"
	"mime"
	"reflect"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"usher"
)

// validated is a request that knows what is wrong with itself.
type validated interface{ Validate() []usher.FieldError }

// mergePatch is the media type of a JSON Merge Patch (RFC 7396). Every route that takes it takes application/json too.
const mergePatch = "application/merge-patch+json"

// decode makes the body, JSON or one of the other media types, a request and has it validate itself.
func decode[T any, P interface {
	*T
	validated
}](c *call, mediaTypes ...string) (T, error) {
	var request T
	body, err := bodyOf(c, append(mediaTypes, "application/json")...)
	if err == nil {
		err = unmarshal(body, &request)
	}
	if err != nil {
		return request, err
	}
	if problems := P(&request).Validate(); len(problems) > 0 {
		return request, usher.Invalid(problems...)
	}
	return request, nil
}

// decodeOptional is decode for a body that may be left out.
func decodeOptional[T any, P interface {
	*T
	validated
}](c *call) (T, error) {
	if c.ContentLength == 0 && c.Header.Get("Content-Type") == "" {
		var none T
		return none, nil
	}
	return decode[T, P](c)
}

// bodyOf gives the body, which must be of one of the media types.
func bodyOf(c *call, mediaTypes ...string) ([]byte, error) {
	if err := checkMediaType(c.Header.Get("Content-Type"), mediaTypes); err != nil {
		return nil, err
	}
	if len(c.body) == 0 {
		return nil, usher.Errorf(usher.CodeInvalidRequest, "The body is empty; it must be a JSON object.")
	}
	return c.body, nil
}

func checkMediaType(contentType string, allowed []string) error {
	got, parameters, err := mime.ParseMediaType(contentType)
	charset := strings.ToLower(parameters["charset"])
	if err == nil && (charset == "" || charset == "utf-8") {
		for _, want := range allowed {
			if got == want {
				return nil
			}
		}
	}
	return usher.Errorf(usher.CodeUnsupportedMediaType, "Send the body as Content-Type: %s.", strings.Join(allowed, " or "))
}

// unmarshal reads strict JSON: valid UTF-8, no member twice, none that is not known, names in their exact case.
func unmarshal(body []byte, into any) error {
	err := json.Unmarshal(body, into, json.RejectUnknownMembers(true))
	if err == nil {
		return nil
	}
	if wrong, ok := errors.AsType[*json.SemanticError](err); ok {
		return usher.Invalid(usher.FieldError{Field: fieldName(wrong.JSONPointer), Message: complaint(wrong)})
	}
	if syntax, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		if errors.Is(err, jsontext.ErrDuplicateName) {
			return usher.Invalid(usher.FieldError{Field: fieldName(syntax.JSONPointer), Message: "is given twice"})
		}
		return usher.Errorf(usher.CodeInvalidRequest, "The body is not valid JSON, at byte %d.", syntax.ByteOffset)
	}
	return usher.Errorf(usher.CodeInvalidRequest, "The body is not valid JSON.")
}

// fieldName is a JSON pointer as a dotted path; the body itself is "body".
func fieldName(pointer jsontext.Pointer) string {
	name := strings.Join(pointerTokens(pointer), ".")
	if name == "" {
		return "body"
	}
	return name
}

func pointerTokens(pointer jsontext.Pointer) (tokens []string) {
	for token := range pointer.Tokens() {
		tokens = append(tokens, strings.ToValidUTF8(token, "\uFFFD"))
	}
	return tokens
}

// complaint says what a value should have been.
func complaint(wrong *json.SemanticError) string {
	if errors.Is(wrong, json.ErrUnknownName) {
		return "is not a known field"
	}
	if wrong.GoType == nil {
		return "is not valid"
	}
	if wrong.GoType == reflect.TypeFor[usher.Time]() {
		return "must be an RFC 3339 time"
	}
	switch wrong.GoType.Kind() {
	case reflect.String:
		return "must be a string"
	case reflect.Bool:
		return "must be true or false"
	case reflect.Slice, reflect.Array:
		return "must be a list"
	case reflect.Struct, reflect.Map:
		return "must be an object"
	case reflect.Int, reflect.Int64, reflect.Int32, reflect.Uint64:
		return "must be an integer"
	}
	return fmt.Sprintf("must not be %s", wrong.JSONKind)
}
