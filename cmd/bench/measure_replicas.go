package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// measureReplicas is G8, G9 and G12: what a second replica, and a client of etcd, see of the first one's writes.
func (h *harness) measureReplicas() ([]figure, error) {
	first, err := h.withEtcd("first")
	if err != nil {
		return nil, err
	}
	defer first.stop()
	second, err := h.beside(first, "second")
	if err != nil {
		return nil, err
	}
	defer second.stop()
	owners, err := first.tenants(9)
	if err != nil {
		return nil, err
	}
	busy, watched := owners[:8], owners[8]
	f8a, f8b, f9a, f9b, f12 := figure{goal: g8a}, figure{goal: g8b}, figure{goal: g9a}, figure{goal: g9b}, figure{goal: g12}
	for round := range h.rounds {
		h.say("replicas, round %d of %d", round+1, h.rounds)
		full := h.adding(first, busy, 64)
		var own, seen []time.Duration
		if _, err := h.during(full, func(stop <-chan struct{}) (err error) {
			own, seen, err = joinsSeen(first, second, watched, fmt.Sprintf("Watched %d", round), stop)
			return err
		}, first.process); err != nil {
			return nil, fmt.Errorf("visibility: %w", err)
		}
		f8a.add(float64(percentile(seen, .5))/float64(percentile(own, .5)), of("seen", millis(percentile(seen, .5)), "ms"),
			of("answered", millis(percentile(own, .5)), "ms"), of("samples", float64(len(seen)), ""))
		f8b.add(float64(percentile(seen, .99))/float64(percentile(own, .99)), of("seen", millis(percentile(seen, .99)), "ms"),
			of("answered", millis(percentile(own, .99)), "ms"))

		var events watchedEvents
		saturated, err := h.during(h.adding(first, busy, 64), func(stop <-chan struct{}) (err error) {
			events, err = h.watch(first.etcd, stop)
			return err
		}, first.process)
		if err != nil {
			return nil, fmt.Errorf("watch: %w", err)
		}
		// The lag counts from the decision on, so the commit is in it.
		f9a.add(millis(percentile(events.lags, .99)), of("p50", millis(percentile(events.lags, .5)), "ms"),
			of("events", float64(len(events.lags)), ""), of("adds", saturated.perSecond(), "/s"))
		f9b.add(events.revisionsPerSecond, of("adds in a revision", saturated.perSecond()/events.revisionsPerSecond, ""))

		paced := h.adding(first, busy, 64)
		paced.PerSecond = 2000
		paced.For = max(h.each, 2*time.Second) // in less, the wait for the last answer alone makes it look slower
		var inForce []time.Duration
		adds, err := h.during(paced, func(stop <-chan struct{}) (err error) {
			inForce, err = settingsSeen(first, second, watched, stop)
			return err
		}, first.process)
		if err != nil {
			return nil, fmt.Errorf("settings: %w", err)
		}
		if adds.perSecond() < 1900 {
			return nil, fmt.Errorf("only %.0f adds per second were made", adds.perSecond())
		}
		f12.add(millis(percentile(inForce, .99)), of("p50", millis(percentile(inForce, .5)), "ms"), of("changes", float64(len(inForce)), ""),
			of("adds", adds.perSecond(), "/s"))
	}
	return []figure{f8a, f8b, f9a, f9b, f12}, nil
}

// during puts the load on and measures something else while it lasts.
func (h *harness) during(p plan, measure func(stop <-chan struct{}) error, on ...*process) (run, error) {
	stop, measured := make(chan struct{}), make(chan error, 1)
	go func() { measured <- measure(stop) }()
	r, err := h.put(p, on...)
	close(stop)
	return r, errors.Join(err, <-measured)
}

// joinsSeen adds one after another at the first gateway, and asks the second for the room until the new one is in it. Both
// times count from the request on.
func joinsSeen(first, second *gateway, o owner, room string, stop <-chan struct{}) (own, seen []time.Duration, err error) {
	path := "/api/v1/rooms/" + url.PathEscape(room)
	if err := madeSeen(first, second, o, path); err != nil {
		return nil, nil, err
	}
	for n := 2; ; n++ {
		select {
		case <-stop:
			slices.Sort(own)
			slices.Sort(seen)
			return own, seen, enough(len(own))
		default:
		}
		began, answered := time.Now(), make(chan error, 1)
		var took time.Duration
		go func() {
			_, _, err := first.call(http.MethodPost, path+"/participants", o.Key, map[string]string{"display_name": "A"}, http.StatusCreated)
			took = time.Since(began)
			answered <- err
		}()
		err := second.until(o.Key, path, func(text []byte) bool {
			var room struct {
				Count int `json:"participant_count"`
			}
			return json.Unmarshal(text, &room) == nil && room.Count >= n
		})
		visible := time.Since(began)
		if err := errors.Join(err, <-answered); err != nil {
			return nil, nil, err
		}
		own, seen = append(own, took), append(seen, visible)
	}
}

// madeSeen makes the room by a first joining, and waits until the second gateway has it.
func madeSeen(first, second *gateway, o owner, path string) error {
	_, header, err := first.call(http.MethodPost, path+"/participants", o.Key, map[string]string{"display_name": "A"}, http.StatusCreated)
	if err != nil {
		return err
	}
	revision, err := strconv.ParseInt(header.Get("Usher-Revision"), 10, 64)
	if err != nil {
		return err
	}
	_, _, err = second.callFrom(http.MethodGet, path, o.Key, revision)
	return err
}

func enough(samples int) error {
	if samples < 20 {
		return fmt.Errorf("only %d samples", samples)
	}
	return nil
}

// settingsSeen changes a setting at the first gateway, and asks the second until it is in force there.
func settingsSeen(first, second *gateway, o owner, stop <-chan struct{}) (took []time.Duration, err error) {
	path := "/api/v1/tenants/" + o.ID + "/config"
	for n := 0; ; n++ {
		select {
		case <-stop:
			slices.Sort(took)
			return took, enough(len(took))
		default:
		}
		burst, began, answered := 50_000+n%1000, time.Now(), make(chan error, 1)
		go func() {
			_, _, err := first.call(http.MethodPatch, path, o.Key, map[string]int{"burst": burst}, http.StatusOK)
			answered <- err
		}()
		err := second.until(o.Key, path, func(text []byte) bool {
			var settings struct{ Burst int }
			return json.Unmarshal(text, &settings) == nil && settings.Burst == burst
		})
		took = append(took, time.Since(began))
		if err := errors.Join(err, <-answered); err != nil {
			return nil, err
		}
	}
}

// until asks the gateway, each time for a newer revision than it has shown, until the answer is as wanted. The gateway
// answers when it has that revision, so that nobody has to ask in a loop.
func (g *gateway) until(key, path string, holds func([]byte) bool) error {
	revision := int64(0)
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
		text, header, err := g.callFrom(http.MethodGet, path, key, revision)
		if err != nil {
			return err
		}
		if holds(text) {
			return nil
		}
		if revision, err = strconv.ParseInt(header.Get("Usher-Revision"), 10, 64); err != nil {
			return err
		}
		revision++
	}
	return errors.New("it was not to be seen on the other replica in 20 s")
}

// watchedEvents is what a client of etcd has seen.
type watchedEvents struct {
	lags               []time.Duration // from the joining's own time, which is when it was decided, to the event; sorted
	revisionsPerSecond float64
}

// watch follows the participants in etcd, as any client may.
func (h *harness) watch(endpoint string, stop <-chan struct{}) (w watchedEvents, err error) {
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}})
	if err != nil {
		return w, err
	}
	defer func() { _ = client.Close() }()
	var from, to int64
	var began, last time.Time
	events := client.Watch(h.ctx, "/usher/v1/participants/", clientv3.WithPrefix())
	for {
		select {
		case <-stop:
			slices.Sort(w.lags)
			w.revisionsPerSecond = float64(to-from) / last.Sub(began).Seconds()
			return w, enough(len(w.lags))
		case response := <-events:
			now := time.Now()
			if err := response.Err(); err != nil {
				return w, err
			}
			if from == 0 {
				from, began = response.Header.Revision, now
			}
			to, last = response.Header.Revision, now
			for _, e := range response.Events {
				var p struct {
					JoinedAt time.Time `json:"joined_at"`
				}
				if err := json.Unmarshal(e.Kv.Value, &p); err != nil {
					return w, err
				}
				w.lags = append(w.lags, now.Sub(p.JoinedAt))
			}
		}
	}
}
