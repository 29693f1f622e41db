package usher

import (
	"crypto/sha256"
	"encoding/base64"
	"strings"
)

// ETag is a strong tag of exactly this content, quoted (RFC 9110, section 8.8.3).
func ETag(content []byte) string {
	sum := sha256.Sum256(content)
	return `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`
}

// IfMatch says whether an If-Match header lets a change of what has the tag pass: there is none, it is *, or one of its
// tags is the tag. A weak one never is (RFC 9110, section 13.1.1).
func IfMatch(header, etag string) bool {
	return header == "" || anyTag(header, func(tag string) bool { return tag == "*" || tag == etag })
}

// IfNoneMatch says whether the one who sends the header has what has the tag already; a weak tag is as good as a strong
// one for that (RFC 9110, section 13.1.2).
func IfNoneMatch(header, etag string) bool {
	return anyTag(header, func(tag string) bool { return tag == "*" || strings.TrimPrefix(tag, "W/") == etag })
}

func anyTag(header string, matches func(string) bool) bool {
	for tag := range strings.SplitSeq(header, ",") {
		if matches(strings.TrimSpace(tag)) {
			return true
		}
	}
	return false
}
