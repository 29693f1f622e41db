package main

import (
	"encoding/json"
	"fmt"
)

// Dashboard is one page of panels.
type Dashboard struct {
	Name  string // of its file and, after "usher-", its uid: links to it stay good
	Title string
	About string
	Rows  []Row
}

// Row is a line of panels under a title.
type Row struct {
	Title  string
	Panels []Panel
}

// Panel is one question.
type Panel struct {
	Title   string
	Help    string // what it means, and what to do when it looks bad
	Kind    Kind
	Unit    Unit
	Width   int // of 24
	Height  int // 0 means 8
	Queries []Query
	Bad     float64 // a value from which on it is shown red; 0 for none
	Max     float64 // of the axis; 0 for what comes
	Stack   bool
}

// Query is PromQL; $job and $namespace are the reader's choice. Legend names its series.
type Query struct {
	Expr   string
	Legend string
}

// Kind is how a panel shows its answer.
type Kind string

// The kinds in use, by the ids of Grafana's own panels.
const (
	Lines   Kind = "timeseries"
	Number  Kind = "stat"
	Table   Kind = "table"
	Heatmap Kind = "heatmap"
)

// Unit is what a value counts, by Grafana's ids.
type Unit string

// The units in use.
const (
	Count     Unit = "short"
	PerSecond Unit = "cps"
	Requests  Unit = "reqps"
	Seconds   Unit = "s"
	Bytes     Unit = "bytes"
	Share     Unit = "percentunit"
	Time      Unit = "dateTimeFromNow"
	Text      Unit = "none"
)

type object = map[string]any

// dataSource is the one that the reader chooses.
var dataSource = object{"type": "prometheus", "uid": "${datasource}"}

// JSON is the dashboard as Grafana reads it.
func (d Dashboard) JSON() ([]byte, error) {
	var panels []any
	id, y := 0, 0
	for _, row := range d.Rows {
		id++
		panels = append(panels, object{"id": id, "type": "row", "title": row.Title, "collapsed": false, "panels": []any{},
			"gridPos": object{"x": 0, "y": y, "w": 24, "h": 1}})
		y++
		x, tallest := 0, 0
		for _, p := range row.Panels {
			if p.Height == 0 {
				p.Height = 8
			}
			if x+p.Width > 24 {
				x, y, tallest = 0, y+tallest, 0
			}
			id++
			panels = append(panels, p.json(id, x, y))
			x, tallest = x+p.Width, max(tallest, p.Height)
		}
		y += tallest
	}
	text, err := json.MarshalIndent(object{
		"uid": "usher-" + d.Name, "title": d.Title, "description": d.About, "tags": []string{"usher"}, "schemaVersion": 41, "version": 1,
		"editable": true, "graphTooltip": 1, "refresh": "30s", "timezone": "", "time": object{"from": "now-3h", "to": "now"},
		"links": []any{object{"title": "Usher", "type": "dashboards", "tags": []string{"usher"}, "asDropdown": false, "includeVars": true,
			"keepTime": true, "targetBlank": false, "icon": "external link", "tooltip": "", "url": ""}},
		"annotations": object{"list": []any{}}, "templating": object{"list": variables()}, "panels": panels,
	}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("dashboard %s: %w", d.Name, err)
	}
	return append(text, '\n'), nil
}

// variables are the reader's choices. ".*" also fits series that have no such label, as those of a static target.
func variables() []any {
	of := func(name, label string) object {
		return object{
			"name": name, "label": name, "type": "query", "datasource": dataSource, "hide": 0, "skipUrlSync": false,
			"query": object{"query": "label_values(usher_build_info, " + label + ")", "refId": name}, "refresh": 2, "sort": 1,
			"multi": true, "includeAll": true, "allValue": ".*", "current": object{"text": []string{"All"}, "value": []string{"$__all"}},
		}
	}
	return []any{
		object{"name": "datasource", "label": "data source", "type": "datasource", "query": "prometheus", "hide": 0, "skipUrlSync": false,
			"multi": false, "includeAll": false, "refresh": 1, "current": object{"text": "", "value": ""}},
		of("namespace", "namespace"), of("job", "job"),
	}
}

func (p Panel) json(id, x, y int) object {
	steps := []any{object{"color": "green", "value": nil}}
	if p.Bad > 0 {
		steps = append(steps, object{"color": "red", "value": p.Bad})
	}
	defaults := object{"unit": string(p.Unit), "thresholds": object{"mode": "absolute", "steps": steps}, "color": object{"mode": "palette-classic"}}
	if p.Max > 0 {
		defaults["max"] = p.Max
	}
	var targets []any
	for i, q := range p.Queries {
		t := object{"refId": string(rune('A' + i)), "datasource": dataSource, "expr": q.Expr, "legendFormat": q.Legend, "editorMode": "code", "range": true}
		if p.Kind == Table {
			t["format"], t["instant"], t["range"] = "table", true, false
		}
		if p.Kind == Heatmap {
			t["format"] = "heatmap"
		}
		if p.Kind == Lines && p.Unit == Seconds {
			t["exemplar"] = true
		}
		targets = append(targets, t)
	}
	panel := object{
		"id": id, "type": string(p.Kind), "title": p.Title, "description": p.Help, "datasource": dataSource, "targets": targets,
		"gridPos":     object{"x": x, "y": y, "w": p.Width, "h": p.Height},
		"fieldConfig": object{"defaults": defaults, "overrides": []any{}},
	}
	panel["options"], defaults["custom"] = p.options(defaults)
	if p.Kind == Table {
		panel["transformations"] = []any{object{"id": "organize", "options": object{"excludeByName": object{"Time": true}}}}
	}
	return panel
}

// options are what Grafana wants to know of a panel's kind, and of its fields.
func (p Panel) options(defaults object) (options, custom object) {
	reduced := object{"calcs": []string{"lastNotNull"}, "fields": "", "values": false}
	switch p.Kind {
	case Number:
		defaults["color"] = object{"mode": "thresholds"}
		return object{"reduceOptions": reduced, "graphMode": "area", "colorMode": "value", "justifyMode": "auto", "textMode": "auto",
			"wideLayout": true, "orientation": "auto", "showPercentChange": false, "percentChangeColorMode": "standard"}, object{}
	case Table:
		return object{"showHeader": true, "frameIndex": 0, "cellHeight": "sm"}, object{"align": "auto", "inspect": false, "cellOptions": object{"type": "auto"}}
	case Heatmap:
		return object{
			"calculate": false, "cellGap": 1, "color": object{"mode": "scheme", "scheme": "Oranges", "steps": 64, "exponent": 0.5, "fill": "dark-orange", "reverse": false},
			"exemplars": object{"color": "rgba(255,0,255,0.7)"}, "filterValues": object{"le": 1e-9}, "legend": object{"show": true},
			"rowsFrame": object{"layout": "auto"}, "showValue": "never", "yAxis": object{"axisPlacement": "left", "reverse": false, "unit": string(p.Unit)},
			"tooltip": object{"mode": "single", "yHistogram": true, "showColorScale": false},
		}, object{"hideFrom": object{"legend": false, "tooltip": false, "viz": false}}
	case Lines:
	}
	stacking, fill := "none", 8
	if p.Stack {
		stacking, fill = "normal", 30
	}
	options = object{
		"legend":  object{"displayMode": "list", "placement": "bottom", "showLegend": true, "calcs": []string{}},
		"tooltip": object{"mode": "multi", "sort": "desc"},
	}
	return options, object{
		"drawStyle": "line", "lineWidth": 1, "fillOpacity": fill, "showPoints": "never", "spanNulls": false,
		"stacking": object{"mode": stacking, "group": "A"}, "thresholdsStyle": object{"mode": "off"}, "axisSoftMin": 0,
	}
}
