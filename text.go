package usher

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// CheckText says what is wrong with a text that a caller sent, as the end of a sentence that begins with the field's
// name: it must hold 1 to most characters (runes), valid UTF-8, and no control characters.
func CheckText(s string, most int) (problem string) {
	switch {
	case s == "":
		return "is required"
	case !utf8.ValidString(s):
		return "is not valid UTF-8"
	case utf8.RuneCountInString(s) > most:
		return fmt.Sprintf("must be at most %d characters", most)
	case strings.ContainsFunc(s, unicode.IsControl):
		return "must not contain control characters"
	}
	return ""
}
