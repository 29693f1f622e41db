package operations

import (
	"bytes"
	"crypto/rand"
	_ "embed" // for the page
	"html/template"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"

	"usher/store"
)

// status is what the page shows.
type status struct {
	Nonce    string // lets the page's own style and script run, and no other
	Version  string
	Host     string
	Now      time.Time
	Uptime   time.Duration
	State    string
	Draining bool
	Facts    []fact
	Plots    []plot
	Tenants  []busyTenant
	Replicas []store.Replica
	Members  []memberRow
	Rejected []store.Rejected
	Lines    []Line
}

// fact is one number with its name.
type fact struct {
	Name, Value string
	Bad         bool
}

type memberRow struct {
	Endpoint            string
	Up, Serving, Leader bool
	Size, Of            string
	Full                int // percent of the quota
}

//go:embed page.html.tmpl
var pageText string

var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"clock": func(t time.Time) string { return t.UTC().Format("15:04:05") },
	"since": func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04") },
	"rate":  showRate,
}).Parse(pageText))

func (o *Operations) status(log *store.Store, w http.ResponseWriter, _ *http.Request) {
	var body bytes.Buffer
	s := o.statusNow(log)
	if err := page.Execute(&body, s); err != nil {
		o.Logger.Error("the status page could not be made", "error", err)
		text(w, http.StatusInternalServerError, "The status page could not be made; the log says why.")
		return
	}
	w.Header().Set("Content-Security-Policy", "default-src 'none'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "+
		"style-src 'nonce-"+s.Nonce+"'; script-src 'nonce-"+s.Nonce+"'")
	write(w, http.StatusOK, "text/html; charset=utf-8", body.Bytes())
}

func (o *Operations) statusNow(log *store.Store) status {
	samples := o.history.all()
	state, age := log.State()
	now := o.Now()
	s := status{
		Nonce: rand.Text(), Version: o.Version, Host: store.Hostname(), Now: now, Uptime: now.Sub(o.started).Round(time.Second),
		State: state.String(), Draining: o.draining.Load(), Plots: plots(samples), Tenants: busiest(samples),
		Replicas: log.ListReplicas(), Rejected: log.Rejected(), Lines: o.Recent(),
	}
	last := sample{}
	if len(samples) > 0 {
		last = samples[len(samples)-1]
	}
	lag := log.Lag()
	s.Facts = []fact{
		{Name: "revision", Value: strconv.FormatInt(log.Revision(), 10)},
		{Name: "revisions behind", Value: strconv.FormatInt(lag, 10), Bad: lag > behindIsBad},
		{Name: "log last heard", Value: heard(state, age), Bad: state != store.Ready},
		{Name: "replicas", Value: strconv.Itoa(len(s.Replicas))},
		{Name: "tenants", Value: count(last.gauges["usher_tenants"])},
		{Name: "rooms", Value: count(last.gauges["usher_rooms_active"])},
		{Name: "participants", Value: count(last.gauges["usher_participants_active"])},
		{Name: "waiting for the log", Value: count(last.gauges["usher_writer_queue_changes"])},
	}
	for _, endpoint := range slices.Sorted(maps.Keys(last.members)) {
		m := last.members[endpoint]
		row := memberRow{Endpoint: endpoint, Up: m.up, Serving: m.serving, Leader: m.leader, Size: showBytes(m.size)}
		if m.quota > 0 {
			row.Of, row.Full = showBytes(m.quota), int(100*m.size/m.quota)
		}
		s.Members = append(s.Members, row)
	}
	return s
}

// behindIsBad is how many revisions behind an index is no longer just about to hear of them.
const behindIsBad = 1000

func heard(state store.State, age time.Duration) string {
	switch state {
	case store.Starting:
		return "not yet"
	case store.Stale:
		return age.Round(time.Second).String() + " ago"
	case store.Ready:
	}
	return "now"
}

func count(v float64) string { return strconv.FormatFloat(v, 'f', 0, 64) }

// plots are the pictures of the last minutes.
func plots(samples []sample) []plot {
	rate := func(of func(sample) float64) func(now, before sample) float64 {
		return func(now, before sample) float64 { return perSecond(of(now), of(before), now.at.Sub(before.at)) }
	}
	class := func(name string) func(now, before sample) float64 {
		return rate(func(s sample) float64 { return s.requests[name] })
	}
	long := func(q float64, of func(sample) buckets) func(now, before sample) float64 {
		return func(now, before sample) float64 { return of(now).quantile(q, of(before)) }
	}
	requests, commits := func(s sample) buckets { return s.duration }, func(s sample) buckets { return s.commits }
	return []plot{
		draw("Requests", "per second", samples, showRate, series{"2xx", "good", class("2xx")}, series{"4xx", "warn", class("4xx")}, series{"5xx", "bad", class("5xx")}),
		draw("Answered within", "of requests", samples, showSeconds, series{"half", "good", long(.5, requests)}, series{"99 %", "warn", long(.99, requests)}),
		draw("Joins", "per second", samples, showRate, series{"seated", "good", rate(func(s sample) float64 { return s.joins })}),
		draw("Committed within", "of transactions", samples, showSeconds, series{"half", "good", long(.5, commits)}, series{"99 %", "warn", long(.99, commits)}),
	}
}
