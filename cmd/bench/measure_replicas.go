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
		if _, err := h.during(full, func() (err error) {
			own, seen, err = h.joinsSeen(first, second, watched, fmt.Sprintf("Watched %d", round), full.For)
			return err
		}, first.process); err != nil {
			return nil, fmt.Errorf("visibility: %w", err)
		}
		f8a.add(float64(percentile(seen, .5))/float64(percentile(own, .5)), of("seen", millis(percentile(seen, .5)), "ms"),
			of("answered", millis(percentile(own, .5)), "ms"), of("samples", float64(len(seen)), ""))
		f8b.add(float64(percentile(seen, .99))/float64(percentile(own, .99)), append([]number{of("seen", millis(percentile(seen, .99)), "ms"),
			of("answered", millis(percentile(own, .99)), "ms")}, spread(seen)...)...)

		var events watchedEvents
		saturated, err := h.during(h.adding(first, busy, 64), func() (err error) {
			events, err = h.watch(first.etcd)
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
		adds, err := h.during(paced, func() (err error) {
			inForce, err = h.settingsSeen(first, second, watched, paced.For)
			return err
		}, first.process)
		if err != nil {
			return nil, fmt.Errorf("settings: %w", err)
		}
		if adds.perSecond() < 1900 {
			return nil, fmt.Errorf("only %.0f adds per second were made", adds.perSecond())
		}
		f12.add(millis(percentile(inForce, .99)), append([]number{of("p50", millis(percentile(inForce, .5)), "ms"), of("adds", adds.perSecond(), "/s")},
			spread(inForce)...)...)
	}
	return []figure{f8a, f8b, f9a, f9b, f12}, nil
}

// during puts the load on and measures something else, for which the load is held as long as it takes.
func (h *harness) during(p plan, measure func() error, on ...*process) (run, error) {
	p.Most = p.For + 4*patience // for the case that nobody says that it is enough
	return h.putWhile(p, measure, on...)
}

// joinsSeen adds one after another at the first gateway, and asks the second for the room until the new one is in it. Both
// times count from the request on.
func (h *harness) joinsSeen(first, second *gateway, o owner, room string, lasting time.Duration) (own, seen []time.Duration, err error) {
	path := "/api/v1/rooms/" + url.PathEscape(room)
	if err := madeSeen(first, second, o, path); err != nil {
		return nil, nil, err
	}
	sampled := h.sampling(lasting)
	for n := 2; !sampled.ended(len(seen)); n++ {
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
	slices.Sort(own)
	slices.Sort(seen)
	return own, seen, h.enough("joins seen", len(seen), sampled.least)
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

// settingsSeen changes a setting at the first gateway, and asks the second until it is in force there.
func (h *harness) settingsSeen(first, second *gateway, o owner, lasting time.Duration) (took []time.Duration, err error) {
	path, sampled := "/api/v1/tenants/"+o.ID+"/config", h.sampling(lasting)
	for n := 0; !sampled.ended(len(took)); n++ {
		burst, began, answered := 50_000+n%1000, time.Now(), make(chan error, 1)
		go func() {
			_, _, err := first.call(http.MethodPatch, path, operatorKey, map[string]int{"burst": burst}, http.StatusOK)
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
	slices.Sort(took)
	return took, h.enough("settings seen", len(took), sampled.least)
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
func (h *harness) watch(endpoint string) (w watchedEvents, err error) {
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}})
	if err != nil {
		return w, err
	}
	defer func() { _ = client.Close() }()
	var from, to int64
	var began, last time.Time
	events := client.Watch(h.ctx, "/usher/v1/participants/", clientv3.WithPrefix())
	sampled := h.sampling(h.each)
	for !sampled.ended(len(w.lags)) {
		select {
		case <-time.After(time.Until(sampled.until(len(w.lags)))):
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
	slices.Sort(w.lags)
	if !last.After(began) {
		return w, errors.New("all that was committed was seen at once, so there is no rate")
	}
	w.revisionsPerSecond = float64(to-from) / last.Sub(began).Seconds()
	return w, h.enough("commits seen", len(w.lags), sampled.least)
}
