package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"
)

// report is all that one run has found.
type report struct {
	Began    time.Time `json:"began"`
	Took     float64   `json:"took_seconds"`
	Quick    bool      `json:"quick"`
	Machine  machine   `json:"machine"`
	Figures  []figure  `json:"figures"`
	Growth   []line    `json:"growth,omitempty"`
	Unknown  []unknown `json:"not_measured,omitempty"`
	Failures []unknown `json:"failed,omitempty"`
}

// unknown is what this run has not measured, and why.
type unknown struct {
	What string `json:"what"`
	Why  string `json:"why"`
}

var columns = []string{"goal", "what", "bound", "median", "min – max", "met", "here"}

func (r report) rows() (rows [][]string) {
	for _, f := range r.Figures {
		rows = append(rows, []string{f.ID, f.What, f.bound(), format(f.median(), f.Unit), f.spread(), f.verdict(), f.context()})
	}
	return rows
}

// missed are the goals that are not met.
func (r report) missed() (ids []string) {
	for _, f := range r.Figures {
		if f.verdict() == "NO" {
			ids = append(ids, f.ID)
		}
	}
	return ids
}

// footnotes say what is missing in the table.
func (r report) footnotes() (lines []string) {
	for _, f := range r.Failures {
		lines = append(lines, fmt.Sprintf("FAILED: %s: %s", f.What, f.Why))
	}
	for _, u := range r.Unknown {
		lines = append(lines, fmt.Sprintf("Not measured: %s: %s", u.What, u.Why))
	}
	return lines
}

// table prints the report for a person at a terminal.
func (r report) table(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, strings.ToUpper(strings.Join(columns, "\t"))) // Flush tells
	for _, row := range r.rows() {
		_, _ = fmt.Fprintln(t, strings.Join(row, "\t"))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if err := r.growthTable(w); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\n%s\n%s\n", strings.Join(append(r.footnotes(), r.judgement()), "\n"), r.origin())
	return err
}

// growthTable prints the absolute costs that the growth factors come from.
func (r report) growthTable(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for i, l := range r.Growth {
		if i == 0 || l.By != r.Growth[i-1].By {
			_, _ = fmt.Fprintln(t, "\n"+strings.ToUpper(strings.Join(l.header(), "\t")))
		}
		_, _ = fmt.Fprintln(t, strings.Join(l.row(), "\t"))
	}
	return t.Flush()
}

// markdown is the table as a part of a document.
func (r report) markdown() string {
	var b strings.Builder
	row := func(cells []string) { _, _ = fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | ")) }
	head := func(cells []string) {
		row(cells)
		_, _ = fmt.Fprintf(&b, "|%s\n", strings.Repeat("---|", len(cells)))
	}
	_, _ = fmt.Fprintf(&b, "<!-- Written by bench --out; the next run overwrites it. -->\n\n%s\n\n", r.origin())
	head(columns)
	for _, cells := range r.rows() {
		if cells[5] == "NO" {
			cells[5] = "**no**"
		}
		row(cells)
	}
	for i, l := range r.Growth {
		if i == 0 || l.By != r.Growth[i-1].By {
			b.WriteString("\n")
			head(l.header())
		}
		row(l.row())
	}
	for _, note := range r.footnotes() {
		_, _ = fmt.Fprintf(&b, "\n%s\n", note)
	}
	_, _ = fmt.Fprintf(&b, "\n%s\n", r.judgement())
	return b.String()
}

func (r report) judgement() string {
	bounded := 0
	for _, f := range r.Figures {
		if f.Bound != 0 {
			bounded++
		}
	}
	missed := r.missed()
	switch {
	case bounded == 0:
		return "No goal was measured."
	case len(missed) == 0:
		return fmt.Sprintf("All %d goals that were measured are met.", bounded)
	}
	return fmt.Sprintf("%d of %d goals that were measured are met; not met: %s.", bounded-len(missed), bounded, strings.Join(missed, ", "))
}

// origin says what was measured, where and when.
func (r report) origin() string {
	length := "full"
	if r.Quick {
		length = "quick"
	}
	return fmt.Sprintf("%s (%s); a %s run of %.0f s on %s, begun %s.", r.Machine.Usher, r.Machine.Commit, length, r.Took, r.Machine, r.Began.UTC().Format("2006-01-02 15:04 UTC"))
}

// write puts the report into files: into the directory as JSON, Markdown and pictures, and as JSON alone into another.
func (r report) write(dir, jsonFile string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	files := map[string][]byte{}
	if jsonFile != "" {
		files[jsonFile] = text
	}
	if dir != "" {
		files[filepath.Join(dir, "bench.json")], files[filepath.Join(dir, "bench.md")] = text, []byte(r.markdown())
		for _, kind := range []string{"svg", "png"} {
			if files[filepath.Join(dir, "bench."+kind)], err = r.picture(kind); err != nil {
				return fmt.Errorf("draw the %s: %w", kind, err)
			}
		}
	}
	for path, content := range files {
		if err := os.WriteFile(path, content, 0o644); err != nil {
			return err
		}
	}
	return nil
}
