package proof

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// faults breaks things, and mends them again.
type faults struct {
	t        *testing.T
	p        *prometheus
	etcd     *clientv3.Client
	members  []*member
	link     *link
	one, two *gateway
	key      string // of a tenant
}

func (f faults) put(key, value string) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if _, err := f.etcd.Put(ctx, key, value); err != nil {
		f.t.Fatal(err)
	}
}

func (f faults) quiet(alert string) {
	f.t.Helper()
	until(f.t, alert+" to end", time.Minute, func() bool { return len(f.p.firing()[alert]) == 0 })
}

func (f faults) rejectedRecord() {
	const key = "/usher/v1/rooms/tenant_x/room_x"
	f.put(key, "{")
	f.p.fires("UsherRejectedRecord", "instance", f.one.ops)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if _, err := f.etcd.Delete(ctx, key); err != nil {
		f.t.Fatal(err)
	}
	f.quiet("UsherRejectedRecord")
}

// fullTenant has a tenant add until it may keep no more, and then take it all away.
func (f faults) fullTenant() {
	f.t.Helper()
	id, key := f.one.tenant(f.t, `{"max_stored_bytes": 4194304, "max_participants_per_room": 10000}`)
	one := `{"display_name":"A","metadata":{"x":"` + strings.Repeat("x", 4000) + `"}}`
	bulk := `{"participants":[` + one + strings.Repeat(","+one, 49) + `]}`
	until(f.t, "a tenant to be refused", time.Minute, func() bool {
		status, answer := f.one.call(key, http.MethodPost, "/api/v1/rooms/hoard/participants/bulk", bulk)
		return status == http.StatusForbidden && answer["code"] == "quota_exceeded"
	})
	f.p.fires("UsherTenantNearItsStoredBytes", "tenant", id)
	if status, answer := f.one.call(key, http.MethodDelete, "/api/v1/rooms/hoard", ""); status != http.StatusNoContent {
		f.t.Fatalf("the room stays: %d %v", status, answer)
	}
	f.quiet("UsherTenantNearItsStoredBytes")
}

// oldSigningKey has a key begin two years ago.
func (f faults) oldSigningKey() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	found, err := f.etcd.Get(ctx, "/usher/v1/signing-keys/", clientv3.WithPrefix(), clientv3.WithLimit(1))
	if err != nil || len(found.Kvs) != 1 {
		f.t.Fatal(err, found)
	}
	key, value := string(found.Kvs[0].Key), string(found.Kvs[0].Value)
	old := regexp.MustCompile(`"active_from":"[^"]*"`).ReplaceAllString(value, `"active_from":"`+time.Now().AddDate(-2, 0, 0).UTC().Format("2006-01-02T15:04:05.000Z")+`"`)
	if old == value {
		f.t.Fatalf("no active_from in %s", value)
	}
	f.put(key, old)
	f.p.fires("UsherSigningKeyOverdue", "tenant", strings.Split(strings.TrimPrefix(key, "/usher/v1/signing-keys/"), "/")[0])
}

// slowWatch delays what the watch brings to one gateway, at which many then wait.
func (f faults) slowWatch() {
	f.link.delay.Store(int64(1200 * time.Millisecond))
	ctx, cancel := context.WithCancel(context.Background())
	var waiting sync.WaitGroup
	for w := range 200 {
		waiting.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				status, _ := f.two.call(f.key, http.MethodPost, fmt.Sprintf("/api/v1/rooms/slow-%d-%d/participants", w, n/30), `{"display_name":"A"}`)
				if status != http.StatusCreated {
					<-time.After(time.Second) // what is refused at once is not slow, and must not be most of what there is
				}
			}
		})
	}
	f.p.fires("UsherWatchLag", "instance", f.two.ops)
	f.p.fires("UsherLatencyBudgetBurnsFast", "job", "usher", "namespace", "rooms")
	f.p.fires("UsherLatencyBudgetBurnsSlowly")
	cancel()
	waiting.Wait()
	f.link.delay.Store(0)
}

// compactions take away, again and again, what a broken watch would go on with.
func (f faults) compactions() {
	for range 6 {
		f.link.breakWatch()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		for range 3 {
			f.put("/usher/v1/nothing", "")
		}
		at, err := f.etcd.Get(ctx, "x")
		if err == nil {
			_, err = f.etcd.Compact(ctx, at.Header.Revision)
		}
		cancel()
		if err != nil {
			f.t.Fatal(err)
		}
		before := f.relists()
		f.link.mend()
		until(f.t, "a list", time.Minute, func() bool { return f.relists() > before })
	}
	f.p.fires("UsherRelistStorm", "instance", f.two.ops)
}

func (f faults) relists() float64 {
	found, err := f.p.query(fmt.Sprintf(`usher_log_relists_total{reason="compacted", instance=%q}`, f.two.ops))
	if err != nil || len(found) != 1 {
		return 0
	}
	return found[0].value
}

// slowEtcd stops all members for most of every second, as a disk would that cannot keep up.
func (f faults) slowEtcd() {
	over := make(chan struct{})
	var slowing sync.WaitGroup
	slowing.Go(func() {
		for {
			for _, s := range []syscall.Signal{syscall.SIGSTOP, syscall.SIGCONT} {
				for _, m := range f.members {
					m.signal(s)
				}
				select {
				case <-time.After(map[syscall.Signal]time.Duration{syscall.SIGSTOP: 800 * time.Millisecond, syscall.SIGCONT: 300 * time.Millisecond}[s]):
				case <-over:
					for _, m := range f.members {
						m.signal(syscall.SIGCONT)
					}
					return
				}
			}
		}
	})
	f.p.fires("UsherCommitsSlow")
	close(over)
	slowing.Wait()
}

func (f faults) memberLost() {
	f.members[2].kill()
	f.p.fires("UsherEtcdMemberDown", "member", f.members[2].tls)
}

// noLeader leaves one member of three.
func (f faults) noLeader() {
	f.members[1].kill()
	f.p.fires("UsherEtcdNoLeader", "job", "usher", "namespace", "rooms")
	f.p.fires("UsherStale", "instance", f.one.ops)
	f.p.fires("UsherErrorBudgetBurnsFast", "job", "usher", "namespace", "rooms")
	f.p.fires("UsherErrorBudgetBurnsSlowly")
	f.p.fires("UsherSweeperStuck")
	f.members[1].start(f.t)
	f.members[2].start(f.t)
	for _, alert := range []string{"UsherEtcdNoLeader", "UsherStale", "UsherEtcdMemberDown", "UsherSweeperStuck"} {
		f.quiet(alert)
	}
}

// full writes until etcd takes no more. How much that is differs, as a member rewrites a page of bbolt, which has two or three
// of these values, for every commit. Small steps, and few between two commits, so that the warning is seen before the end.
func (f faults) full(quota int64) {
	nearly := quota * 85 / 100
	until(f.t, "etcd to be nearly full", time.Minute, func() bool {
		if err := f.ballast(); err != nil {
			f.t.Log(err)
		}
		return f.size() > nearly
	})
	f.p.fires("UsherEtcdQuota", "job", "usher")
	until(f.t, "etcd to be full", time.Minute, func() bool { return errors.Is(f.ballast(), rpctypes.ErrNoSpace) })
	f.p.fires("UsherEtcdAlarm", "alarm", "NOSPACE")
}

// ballast writes half a MiB.
func (f faults) ballast() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_, err := f.etcd.Put(ctx, "/ballast/"+rand.Text(), strings.Repeat("x", 1<<19))
	return err
}

// size is what the quota is held against, in bytes, of the member that has most.
func (f faults) size() (most int64) {
	f.t.Helper()
	for _, m := range f.members {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		status, err := f.etcd.Status(ctx, m.plain)
		cancel()
		if err != nil {
			f.t.Fatal(err)
		}
		most = max(most, status.DbSize)
	}
	return most
}
