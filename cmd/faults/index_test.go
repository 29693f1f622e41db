package faults

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// checkIndex waits until the gateway is as new as the log, and compares its index with it, key for key, each table at the
// revision at which the gateway shows it.
func (c *cluster) checkIndex(g *gateway) error {
	newest, err := c.revision()
	if err != nil {
		return fmt.Errorf("ask for the log's revision: %w", err)
	}
	var summary struct {
		Revision string         `json:"revision"`
		Tables   map[string]any `json:"tables"`
		Rejected []string       `json:"rejected"`
	}
	if !until(20*time.Second, func() bool {
		status, _, body := g.ask("/debug/index")
		if status != http.StatusOK || json.Unmarshal([]byte(body), &summary) != nil {
			return false
		}
		revision, err := strconv.ParseInt(summary.Revision, 10, 64)
		return err == nil && revision >= newest && g.ready()
	}) {
		return fmt.Errorf("%s is at revision %s and ready: %t, the log is at %d", g.name, summary.Revision, g.ready(), newest)
	}
	if len(summary.Tables) == 0 {
		return fmt.Errorf("%s shows no tables", g.name)
	}
	for table := range summary.Tables {
		if !until(20*time.Second, func() bool {
			var again bool
			again, err = c.checkTable(g, table, summary.Rejected)
			return !again
		}) || err != nil {
			return fmt.Errorf("compare %s of %s: %w", table, g.name, err)
		}
	}
	return nil
}

// checkTable says to try again when the log does not have the table as it was any more, or goes back to an older state
// that the gateway has yet to see.
func (c *cluster) checkTable(g *gateway, table string, rejected []string) (again bool, err error) {
	status, header, body := g.ask("/debug/index/" + table)
	if status != http.StatusOK {
		return false, fmt.Errorf("%s does not show its %s: %d %s", g.name, table, status, body)
	}
	revision, err := strconv.ParseInt(header.Get("Usher-Revision"), 10, 64)
	if err != nil {
		return false, fmt.Errorf("%s shows its %s at no revision: %w", g.name, table, err)
	}
	ctx, cancel := within(10 * time.Second)
	defer cancel()
	under := prefix + table + "/"
	response, err := c.client.Get(ctx, under, clientv3.WithPrefix(), clientv3.WithRev(revision))
	if errors.Is(err, rpctypes.ErrCompacted) || errors.Is(err, rpctypes.ErrFutureRev) {
		return true, err
	}
	if err != nil {
		return false, fmt.Errorf("list the log's %s at revision %d: %w", table, revision, err)
	}
	var want []string
	for _, kv := range response.Kvs {
		path := strings.TrimPrefix(string(kv.Key), under)
		if slices.Contains(rejected, table+"/"+path) {
			continue
		}
		canonical := jsontext.Value(slices.Clone(kv.Value))
		if err := canonical.Canonicalize(); err != nil {
			return false, fmt.Errorf("%s is no JSON: %w", kv.Key, err)
		}
		sum := sha256.Sum256(canonical)
		want = append(want, fmt.Sprintf("%s %d %d %s", path, kv.CreateRevision, kv.ModRevision, hex.EncodeToString(sum[:])))
	}
	var got []string
	for _, line := range strings.Split(strings.TrimSuffix(body, "\n"), "\n") {
		path, _, _ := strings.Cut(line, " ")
		if line != "" && !slices.Contains(rejected, table+"/"+path) {
			got = append(got, line)
		}
	}
	if slices.Equal(got, want) {
		return false, nil
	}
	return false, fmt.Errorf("%s and the log differ in %s at revision %d:\n  only %s has %s\n  only the log has %s",
		g.name, table, revision, g.name, some(got, want), some(want, got))
}

// some are a few of those that are not among the others.
func some(all, others []string) string {
	there := make(map[string]bool, len(others))
	for _, o := range others {
		there[o] = true
	}
	only := slices.DeleteFunc(slices.Clone(all), func(s string) bool { return there[s] })
	return fmt.Sprintf("%d: %q", len(only), only[:min(len(only), 5)])
}
