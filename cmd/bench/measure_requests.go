package main

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"
)

// tokenBytes is about what a token's header and claims have, which is what is signed.
const tokenBytes = 450

// measureAdds is G1 to G4: what seating costs on one gateway with an etcd of its own, which is how it starts.
func (h *harness) measureAdds() ([]figure, error) {
	g, err := h.gateway("adds")
	if err != nil {
		return nil, err
	}
	defer g.stop()
	owners, err := g.tenants(8)
	if err != nil {
		return nil, err
	}
	sample := h.adding(g, owners[:1], 1)
	sent, answer, err := h.example(sample)
	if err != nil {
		return nil, err
	}
	_, sentBody, _ := strings.Cut(string(sent), "\r\n\r\n")
	server, address, err := h.bare(bare{Bytes: len(answer), Signatures: 3, Signed: tokenBytes})
	if err != nil {
		return nil, err
	}
	defer server.stop()
	floor, floorAddress, err := h.bare(bare{Bytes: len(answer), Signatures: 3, Signed: tokenBytes, Log: h.dir + "/floor"})
	if err != nil {
		return nil, err
	}
	defer floor.stop()
	etcd, err := child(h.ctx, h.dir, "transactions", h.dir+"/transactions")
	if err != nil {
		return nil, err
	}
	defer etcd.stop()
	signer, err := child(h.ctx, h.dir, "signatures")
	if err != nil {
		return nil, err
	}
	defer signer.stop()

	f1, f2, f3, f4a, f4b := figure{goal: g1}, figure{goal: g2}, figure{goal: g3}, figure{goal: g4a}, figure{goal: g4b}
	posting := plan{
		Address: address, Connections: 64, For: h.each,
		Request: request{Method: http.MethodPost, Path: "/api/v1/rooms/CS101/participants", Body: sentBody, Header: map[string]string{"X-API-Key": owners[0].Key}},
		Want:    want{Status: http.StatusOK, Least: len(answer), Most: len(answer), Begins: "xxxx"},
	}
	for round := range h.rounds {
		h.say("adds, round %d of %d", round+1, h.rounds)
		add, err := h.addAndCount(g, owners, 64, 1)
		if err != nil {
			return nil, err
		}
		post, err := h.put(posting, server)
		if err != nil {
			return nil, err
		}
		committing := posting
		committing.Address = floorAddress
		floor64, err := h.put(committing, floor)
		if err != nil {
			return nil, err
		}
		raw64, err := h.transact(etcd, 64)
		if err != nil {
			return nil, err
		}
		one, err := h.addAndCount(g, owners, 1, 1)
		if err != nil {
			return nil, err
		}
		committing.Connections = 1
		floor1, err := h.put(committing, floor)
		if err != nil {
			return nil, err
		}
		raw1, err := h.transact(etcd, 1)
		if err != nil {
			return nil, err
		}
		bulk, err := h.addAndCount(g, owners, 8, bulkSize)
		if err != nil {
			return nil, err
		}
		signed, err := h.sign(signer)
		if err != nil {
			return nil, err
		}
		f1.add(add.cpuEach()/post.cpuEach(), of("add", 1e6*add.cpuEach(), "µs"), of("bare", 1e6*post.cpuEach(), "µs"), of("floor", 1e6*floor64.cpuEach(), "µs"),
			of("p50", millis(add.percentile(.5)), "ms"), of("p99", millis(add.percentile(.99)), "ms"))
		f2.add(add.perSecond()/raw64, of("adds", add.perSecond(), "/s"), of("transactions", raw64, "/s"), of("floor", floor64.perSecond(), "/s"))
		f3.add(one.perSecond()/raw1, of("adds", one.perSecond(), "/s"), of("transactions", raw1, "/s"), of("floor", floor1.perSecond(), "/s"),
			of("p50", millis(one.percentile(.5)), "ms"), of("p99", millis(one.percentile(.99)), "ms"))
		f4a.add(bulk.cpuEach()/(300*signed), of("bulk", 1e6*bulk.cpuEach(), "µs"), of("signatures", 3e8*signed, "µs"),
			of("participants", 100*bulk.perSecond(), "/s"))
		f4b.add(bulk.cpuEach() / add.cpuEach())
	}
	return []figure{f1, f2, f3, f4a, f4b}, nil
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// addAndCount seats for a while and counts afterwards.
func (h *harness) addAndCount(g *gateway, owners []owner, connections, atOnce int) (run, error) {
	p := h.adding(g, owners, connections)
	if atOnce > 1 {
		p = h.bulks(g, owners, connections)
	}
	r, err := h.put(p, g.process)
	if err != nil {
		return r, err
	}
	return r, h.counted(g, p, owners, r.Answers)
}

// transact gives raw transactions per second.
func (h *harness) transact(etcd *process, inFlight int) (float64, error) {
	settle()
	done, err := ask[int64](etcd, transactions{For: h.each, InFlight: inFlight, Bytes: recordBytes})
	return float64(done) / h.each.Seconds(), err
}

// sign gives the CPU of one raw signature, in seconds.
func (h *harness) sign(signer *process) (float64, error) {
	before := signer.cpu()
	n, err := ask[int](signer, signing{For: h.each / 4, Bytes: tokenBytes})
	return (signer.cpu() - before).Seconds() / float64(n), err
}

// measureReads is G5 and G6.
func (h *harness) measureReads() ([]figure, error) {
	g, err := h.gateway("reads")
	if err != nil {
		return nil, err
	}
	defer g.stop()
	owners, err := g.tenants(1)
	if err != nil {
		return nil, err
	}
	o, fill := owners[0], h.adding(g, owners, 1)
	seating := func(room string, seats int) (path string, ids []string, err error) {
		path = "/api/v1/rooms/" + room + "/participants"
		for i := range seats {
			_, body := fill.Request.Seats.next(0, i)
			text, _, err := g.call(http.MethodPost, path, o.Key, json.RawMessage(body), http.StatusCreated)
			if err != nil {
				return "", nil, err
			}
			var added struct {
				ID string `json:"participant_id"`
			}
			if err := json.Unmarshal(text, &added); err != nil {
				return "", nil, err
			}
			ids = append(ids, added.ID)
		}
		return path, ids, nil
	}
	path, ids, err := seating("whole", 100)
	if err != nil {
		return nil, err
	}
	larger, others, err := seating("larger", 101) // of which a page is not kept
	if err != nil {
		return nil, err
	}
	reading := func(path, begins string) (theirs, bareOnes plan, server *process, err error) {
		text, _, err := g.call(http.MethodGet, path, o.Key, nil, http.StatusOK)
		if err != nil {
			return theirs, bareOnes, nil, err
		}
		server, address, err := h.bare(bare{Bytes: len(text)})
		theirs = plan{
			Address: g.address, Connections: 64, For: h.each, Request: request{Method: http.MethodGet, Path: path, Header: map[string]string{"X-API-Key": o.Key}},
			Want: want{Status: http.StatusOK, Least: len(text), Most: len(text), Begins: begins},
		}
		bareOnes = theirs
		bareOnes.Address, bareOnes.Want.Begins = address, "xxxx"
		return theirs, bareOnes, server, err
	}
	listing, bareList, listServer, err := reading(path+"?active=true", `{"participants":[{"id":"`+ids[0])
	if err != nil {
		return nil, err
	}
	defer listServer.stop()
	paging, barePage, pageServer, err := reading(larger+"?active=true&page_size=100", `{"participants":[{"id":"`+others[0])
	if err != nil {
		return nil, err
	}
	defer pageServer.stop()
	getting, bareGet, getServer, err := reading(path+"/"+ids[50], `{"id":"`+ids[50])
	if err != nil {
		return nil, err
	}
	defer getServer.stop()
	f5a, f5b, f6 := figure{goal: g5a}, figure{goal: g5b}, figure{goal: g6}
	for round := range h.rounds {
		h.say("reads, round %d of %d", round+1, h.rounds)
		var each [6]run
		for i, side := range []struct {
			plan plan
			on   *process
		}{{listing, g.process}, {bareList, listServer}, {paging, g.process}, {barePage, pageServer}, {getting, g.process}, {bareGet, getServer}} {
			if each[i], err = h.put(side.plan, side.on); err != nil {
				return nil, err
			}
		}
		list, bareList, page, barePage := each[0].cpuEach(), each[1].cpuEach(), each[2].cpuEach(), each[3].cpuEach()
		get, bareGet := each[4].cpuEach(), each[5].cpuEach()
		f5a.add(list/bareList, of("list", 1e6*list, "µs"), of("bare", 1e6*bareList, "µs"), of("lists", each[0].perSecond(), "/s"))
		f5b.add(page/barePage, of("list", 1e6*page, "µs"), of("bare", 1e6*barePage, "µs"))
		f6.add(1e6*(get-bareGet), of("get", 1e6*get, "µs"), of("bare", 1e6*bareGet, "µs"), of("gets", each[4].perSecond(), "/s"))
	}
	return []figure{f5a, f5b, f6}, nil
}
