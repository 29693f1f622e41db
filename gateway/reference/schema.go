package reference

import (
	"fmt"
	"html"
	"html/template"
	"strings"
)

// typeOf says in a few words what a schema allows, with links to the schemas that it names.
func (r *renderer) typeOf(s schema) template.HTML {
	said := r.kindOf(s)
	if bounds := boundsOf(s); bounds != "" {
		said += ", " + html.EscapeString(bounds)
	}
	if !s.Default.IsZero() {
		said += ", default <code>" + html.EscapeString(compact(&s.Default)) + "</code>"
	}
	return template.HTML(said) //nolint:gosec // built of escaped parts
}

func (r *renderer) kindOf(s schema) string {
	switch {
	case s.Ref != "":
		name := strings.TrimPrefix(s.Ref, "#/components/schemas/")
		if _, err := dereferenced(s.Ref, "schemas", s, r.Components.Schemas); err != nil {
			r.fail(err)
		}
		return `<a href="#schema-` + html.EscapeString(name) + `">` + html.EscapeString(name) + `</a>`
	case len(s.OneOf) > 0:
		return r.several(s.OneOf, " or ")
	case len(s.AllOf) > 0:
		return r.several(s.AllOf[:1], "")
	case !s.Const.IsZero():
		return "<code>" + html.EscapeString(compact(&s.Const)) + "</code>"
	case len(s.Enum) > 0:
		values := make([]string, len(s.Enum))
		for i := range s.Enum {
			values[i] = "<code>" + html.EscapeString(compact(&s.Enum[i])) + "</code>"
		}
		return strings.Join(values, " | ")
	case s.Items != nil:
		return "list of " + r.kindOf(*s.Items)
	case s.Additional.schema != nil:
		return "map to " + r.kindOf(*s.Additional.schema)
	case s.Format == "date-time":
		return "time (RFC 3339)"
	}
	return html.EscapeString(strings.Join(s.Type, " or "))
}

func (r *renderer) several(all []schema, between string) string {
	parts := make([]string, len(all))
	for i, s := range all {
		parts[i] = r.kindOf(s)
	}
	return strings.Join(parts, between)
}

func boundsOf(s schema) string {
	var parts []string
	between := func(from, to any, hasFrom, hasTo bool, unit string) {
		switch {
		case hasFrom && hasTo:
			parts = append(parts, fmt.Sprintf("%v…%v%s", from, to, unit))
		case hasFrom:
			parts = append(parts, fmt.Sprintf("at least %v%s", from, unit))
		case hasTo:
			parts = append(parts, fmt.Sprintf("at most %v%s", to, unit))
		}
	}
	between(s.Minimum.Value, s.Maximum.Value, !s.Minimum.IsZero(), !s.Maximum.IsZero(), "")
	between(number(s.MinLength), number(s.MaxLength), s.MinLength != nil, s.MaxLength != nil, " characters")
	between(number(s.MinItems), number(s.MaxItems), s.MinItems != nil, s.MaxItems != nil, " entries")
	if s.Pattern != "" && len(s.Pattern) <= 60 {
		parts = append(parts, "like "+s.Pattern)
	}
	return strings.Join(parts, ", ")
}

func number(n *int) int {
	if n == nil {
		return 0
	}
	return *n
}
