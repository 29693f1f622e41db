// Command dashboards writes Usher's Grafana dashboards into the chart. A dashboard is a list of rows of panels, each a
// question with the query that answers it: overview.go, tenants.go, log.go, rollout.go. What Grafana wants around that is
// in grafana.go.
//
//	cd charts
//	go run ./dashboards          # after a change of a dashboard; a test compares what it writes with what is there
package main

import (
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	if err := write("usher/dashboards"); err != nil {
		fmt.Fprintln(os.Stderr, "dashboards:", err)
		os.Exit(1)
	}
}

func all() []Dashboard { return []Dashboard{overview(), tenants(), log(), rollout()} }

func write(dir string) error {
	for _, d := range all() {
		text, err := d.JSON()
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, d.Name+".json"), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}
