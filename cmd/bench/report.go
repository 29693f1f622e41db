package main

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// table prints the goals for a person.
func table(w io.Writer, figures []figure) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "GOAL\tWHAT\tBOUND\tMEDIAN\tMIN – MAX\tMET\tHERE") // Flush tells
	for _, f := range figures {
		met := "yes"
		if !f.met() {
			met = "NO"
		}
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", f.ID, f.What, f.bound(), f.format(f.median()), f.spread(), met, f.Context)
	}
	return t.Flush()
}
