package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"go.yaml.in/yaml/v3"
)

// output is how a command shows what it was answered: a table for people, JSON or YAML for machines.
type output struct {
	w      io.Writer
	format string
}

func (o output) check() error {
	switch o.format {
	case "table", "json", "yaml":
		return nil
	}
	return errors.New("-o must be table, json or yaml")
}

// columns are the members of an entry that a table shows; a dot leads to a member of a member.
type columns []string

// list shows entries.
func (o output) list(entries []jsontext.Value, shown columns) error {
	if o.format != "table" {
		if entries == nil {
			entries = []jsontext.Value{}
		}
		encoded, err := json.Marshal(entries)
		if err != nil {
			return err
		}
		return o.raw(encoded)
	}
	t := tabwriter.NewWriter(o.w, 0, 4, 2, ' ', 0)
	titles := make([]string, len(shown))
	for i, column := range shown {
		titles[i] = strings.ToUpper(strings.ReplaceAll(column, ".", " "))
	}
	if _, err := fmt.Fprintln(t, strings.Join(titles, "\t")); err != nil {
		return err
	}
	for _, entry := range entries {
		cells := make([]string, len(shown))
		for i, column := range shown {
			cells[i] = cell(entry, column)
		}
		if _, err := fmt.Fprintln(t, strings.Join(cells, "\t")); err != nil {
			return err
		}
	}
	return t.Flush()
}

// one shows a single thing: a line for each member.
func (o output) one(body jsontext.Value) error {
	if o.format != "table" {
		return o.raw(body)
	}
	t := tabwriter.NewWriter(o.w, 0, 4, 2, ' ', 0)
	d := jsontext.NewDecoder(bytes.NewReader(body))
	if _, err := d.ReadToken(); err != nil { // the brace
		return err
	}
	for d.PeekKind() == '"' {
		name, err := d.ReadToken()
		if err != nil {
			return err
		}
		label := name.String()
		value, err := d.ReadValue()
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(t, "%s\t%s\n", label, plain(value)); err != nil {
			return err
		}
	}
	return t.Flush()
}

// raw shows JSON, indented, or the same as YAML.
func (o output) raw(body jsontext.Value) error {
	if o.format == "yaml" {
		text, err := asYAML(body)
		if err != nil {
			return err
		}
		_, err = o.w.Write(text)
		return err
	}
	body = body.Clone()
	if err := body.Indent(jsontext.WithIndent("  ")); err != nil {
		return err
	}
	_, err := fmt.Fprintln(o.w, string(body))
	return err
}

// asYAML writes JSON as YAML, its members in their order.
func asYAML(body jsontext.Value) ([]byte, error) {
	var node yaml.Node
	if err := yaml.Unmarshal(body, &node); err != nil { // JSON is YAML
		return nil, err
	}
	block(&node)
	var text bytes.Buffer
	encoder := yaml.NewEncoder(&text)
	encoder.SetIndent(2)
	if err := encoder.Encode(&node); err != nil {
		return nil, err
	}
	return text.Bytes(), encoder.Close()
}

// block has a node written in lines rather than in braces; short lists stay on theirs.
func block(n *yaml.Node) {
	if n.Kind == yaml.ScalarNode && n.Style == yaml.DoubleQuotedStyle {
		n.Style = 0
	}
	if n.Kind == yaml.MappingNode && len(n.Content) > 0 {
		n.Style = 0
	}
	for _, child := range n.Content {
		block(child)
	}
}

// cell is a member of an entry as a cell of a table.
func cell(entry jsontext.Value, column string) string {
	name, rest, deeper := strings.Cut(column, ".")
	var members map[string]jsontext.Value
	if err := json.Unmarshal(entry, &members); err != nil || members[name] == nil {
		return "-"
	}
	if deeper {
		return cell(members[name], rest)
	}
	return plain(members[name])
}

// plain is a value as a person reads it.
func plain(value jsontext.Value) string {
	if value.Kind() == '"' {
		var s string
		if err := json.Unmarshal(value, &s); err == nil {
			return s
		}
	}
	if value.Kind() == '[' {
		var all []jsontext.Value
		if err := json.Unmarshal(value, &all); err == nil && len(all) > 0 && all[0].Kind() == '"' {
			parts := make([]string, len(all))
			for i, one := range all {
				parts[i] = plain(one)
			}
			return strings.Join(parts, ",")
		}
	}
	return string(value)
}
