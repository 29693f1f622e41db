package main

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"usher/participants"
	"usher/rooms"
	"usher/store"
	"usher/tenant"
)

// indexed is what is found of an index of all that is in an etcd.
type indexed struct {
	Rows        int // participants
	Bytes       int // of their values
	Heap, Plain uint64
	Drain       time.Duration // of the whole range
	Load        time.Duration // of the whole range, by a gateway
}

// seatKeys is what the keys of participants begin with.
const seatKeys = store.DefaultPrefix + rooms.SeatsTable + "/"

// serveIndex is the child that reads an etcd's records: to drop them, which is the drain, or to make the gateway's index of
// them, and a plain map.
func serveIndex(args []string) error {
	client, err := clientv3.New(clientv3.Config{Endpoints: args})
	if err != nil {
		return err
	}
	log, err := store.Dial(context.Background(), store.DialOptions{Endpoints: args, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	return answerTo(func(what string) (found indexed, err error) {
		if what == "drain" {
			found.Drain, err = drain(client, func(key, _ []byte) {
				if strings.HasPrefix(string(key), seatKeys) {
					found.Rows++
				}
			})
			return found, err
		}
		if err := found.index(log); err != nil {
			return found, err
		}
		return found, found.plainly(client)
	})
}

// index makes the gateway's index of the records.
func (found *indexed) index(log *store.Log) error {
	before := heap()
	tables := append(append(tenant.Definitions(), rooms.Definitions()...), participants.Definitions()...)
	s, err := store.Open(log, store.Options{Logger: slog.New(slog.DiscardHandler)}, tables...)
	if err != nil {
		return err
	}
	defer s.Close()
	if err := s.WaitReady(context.Background()); err != nil {
		return err
	}
	found.Heap = heap() - before
	for row := range participants.Participants.Scan(s.Snapshot(), "", "") {
		found.Rows++
		found.Bytes += len(row.Value.JSON)
	}
	return nil
}

// plainly puts the same rows into a map.
func (found *indexed) plainly(client *clientv3.Client) error {
	before := heap()
	plain := make(map[string]*store.Row[participants.Record])
	_, err := drain(client, func(key, value []byte) {
		if path, ok := strings.CutPrefix(string(key), seatKeys); ok {
			if record, err := participants.Participants.Decode(path, value); err == nil {
				plain[path] = &store.Row[participants.Record]{Path: path, Value: record}
			}
		}
	})
	found.Plain = heap() - before
	if err == nil && len(plain) != found.Rows {
		err = fmt.Errorf("the map has %d rows, the index %d", len(plain), found.Rows)
	}
	return err
}

func heap() uint64 {
	runtime.GC()
	runtime.GC() // what the first has set free of finalizers and pools
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// drain reads the whole range by the same stream as the gateway, and does nothing with it.
func drain(client *clientv3.Client, each func(key, value []byte)) (time.Duration, error) {
	began := time.Now()
	stream, err := client.GetStream(context.Background(), store.DefaultPrefix, clientv3.WithPrefix())
	if err != nil {
		return 0, err
	}
	for chunk := range stream {
		if err := chunk.Err(); err != nil {
			return 0, err
		}
		for _, kv := range chunk.Kvs {
			each(kv.Key, kv.Value)
		}
	}
	return time.Since(began), nil
}

// fill seats so many, in rooms of 100, by bulks. Their metadata makes a record about 377 bytes long, the length at which
// the design was measured. It seats as many as the connections can in equal shares.
func (h *harness) fill(g *gateway, owners []owner, n, connections int) error {
	p := h.bulks(g, owners, connections)
	p.Request.Seats.Metadata = fmt.Sprintf(`{"seat":"%s"}`, strings.Repeat("x", 124))
	p.Each = max(1, n/(connections*p.Request.Seats.AtOnce))
	_, err := h.put(p, g.process)
	return err
}

// measureIndex is G10 and G11.
func (h *harness) measureIndex() ([]figure, error) {
	large := 1_000_000
	if h.quick {
		large = 50_000
	}
	bytes, ratio, load, growth := figure{goal: g10a}, figure{goal: g10b}, figure{goal: g11a}, figure{goal: g11b}
	var found [2][]indexed // by size
	for i, n := range []int{large / 10, large} {
		if err := h.index(n, func(f indexed) { found[i] = append(found[i], f) }); err != nil {
			return nil, err
		}
	}
	for round, f := range found[1] {
		small := found[0][round]
		bytes.add(float64(f.Heap)/float64(f.Rows), of("participants", float64(f.Rows), ""), of("each", float64(f.Bytes)/float64(f.Rows), "B"))
		ratio.add(float64(f.Heap)/float64(f.Plain), of("index", float64(f.Heap)/1e6, "MB"), of("map", float64(f.Plain)/1e6, "MB"))
		load.add(f.Load.Seconds()/f.Drain.Seconds(), of("load", f.Load.Seconds(), "s"), of("drain", f.Drain.Seconds(), "s"))
		growth.add(f.Load.Seconds()/small.Load.Seconds(), of("large", f.Load.Seconds(), "s"), of("small", small.Load.Seconds(), "s"),
			of("drained: large", f.Drain.Seconds(), "s"), of("small", small.Drain.Seconds(), "s"))
	}
	return []figure{bytes, ratio, load, growth}, nil
}

// index fills an etcd with so many participants, through a gateway, and has them read, round by round.
func (h *harness) index(n int, each func(indexed)) error {
	h.say("index: seating %d", n)
	name := fmt.Sprintf("index-%d", n)
	cluster, err := h.etcds(name, 1)
	if err != nil {
		return err
	}
	defer stopAll(cluster)
	if err := h.seat(cluster, name+"-filled", n); err != nil {
		return err
	}
	for round := range h.rounds {
		h.say("index of %d, round %d of %d", n, round+1, h.rounds)
		found, err := h.read(cluster, fmt.Sprintf("%s-%d", name, round), round%2 == 0)
		if err != nil {
			return err
		}
		if found.Rows < n*9/10 {
			return fmt.Errorf("%d participants were found of %d", found.Rows, n)
		}
		each(found)
	}
	return nil
}

// seat has a gateway seat so many, and ends it.
func (h *harness) seat(cluster []*etcd, name string, n int) error {
	g, err := h.on(cluster, name)
	if err != nil {
		return err
	}
	defer g.stop()
	owners, err := g.tenants(8)
	if err != nil {
		return err
	}
	return h.fill(g, owners, n, 8)
}

// read is one round: a gateway's first load and the drain, in turns, since whoever reads first finds the server cold; then
// what the rows take in memory.
func (h *harness) read(cluster []*etcd, name string, drainFirst bool) (found indexed, err error) {
	p, err := child(h.ctx, h.dir, "index", cluster[0].url)
	if err != nil {
		return found, err
	}
	defer p.stop()
	var loaded, drained indexed
	turns := []func() error{
		func() (err error) { loaded, err = h.firstLoad(cluster, name); return err },
		func() (err error) { drained, err = ask[indexed](p, "drain"); return err },
	}
	if drainFirst {
		turns[0], turns[1] = turns[1], turns[0]
	}
	for _, turn := range turns {
		if err := turn(); err != nil {
			return found, err
		}
	}
	found, err = ask[indexed](p, "index")
	if err == nil && (loaded.Rows != found.Rows || drained.Rows != found.Rows) {
		err = fmt.Errorf("of %d participants the gateway has read %d, and the drain %d", found.Rows, loaded.Rows, drained.Rows)
	}
	found.Load, found.Drain = loaded.Load, drained.Drain
	return found, err
}

// firstLoad is what a gateway that has just started has read into its index, and how long that has taken.
func (h *harness) firstLoad(cluster []*etcd, name string) (found indexed, err error) {
	g, err := h.on(cluster, name)
	if err != nil {
		return found, err
	}
	defer g.stop()
	seconds, err := g.metric(h, "usher_log_last_list_duration_seconds")
	if err != nil {
		return found, err
	}
	active, err := g.metric(h, "usher_participants_active")
	return indexed{Rows: int(active), Load: time.Duration(seconds * float64(time.Second))}, err
}
