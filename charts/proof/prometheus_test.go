package proof

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"sigs.k8s.io/yaml"
)

// prometheus is a running server that scrapes the gateways every second.
type prometheus struct {
	*program
	t     *testing.T
	url   string
	fired map[string]bool // alerts that were seen to
}

// startPrometheus evaluates the chart's rules. What they wait for is left out, so that a fault need not last an hour:
// rules_test.yaml covers that.
func startPrometheus(t *testing.T, gateways ...*gateway) *prometheus {
	t.Helper()
	dir := t.TempDir()
	text, err := os.ReadFile(chartDir + "/rules/usher.yaml")
	if err != nil {
		t.Fatal(err)
	}
	quick := regexp.MustCompile(`for: \d+[smh]`).ReplaceAllString(string(text), "for: 0s")
	quick = strings.ReplaceAll(quick, "interval: 30s", "interval: 1s")
	quick = strings.ReplaceAll(quick, "(usher_sweeper_last_success_timestamp_seconds) > 600", "(usher_sweeper_last_success_timestamp_seconds) > 20")
	var targets []string
	for _, g := range gateways {
		targets = append(targets, g.ops)
	}
	config, err := yaml.Marshal(map[string]any{
		"global":     map[string]any{"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
		"rule_files": []string{"rules.yaml"},
		"scrape_configs": []any{map[string]any{"job_name": "usher",
			"static_configs": []any{map[string]any{"targets": targets, "labels": map[string]string{"namespace": "rooms"}}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"rules.yaml": []byte(quick), "prometheus.yaml": config} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	address := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	p := &prometheus{t: t, url: "http://" + address, fired: make(map[string]bool)}
	p.program = run(t, tool(t, "prometheus"), "--config.file", filepath.Join(dir, "prometheus.yaml"), "--storage.tsdb.path", filepath.Join(dir, "data"),
		"--web.listen-address", address, "--log.level", "error")
	until(t, "Prometheus", 30*time.Second, func() bool {
		response, err := http.Get(p.url + "/-/ready")
		if err != nil {
			return false
		}
		_ = response.Body.Close()
		return response.StatusCode == http.StatusOK
	})
	return p
}

// series is one of an answer.
type series struct {
	labels map[string]string
	value  float64
}

func (p *prometheus) query(expr string) ([]series, error) {
	var answer struct {
		Status, Error string
		Data          struct {
			Result []struct {
				Metric map[string]string
				Value  [2]any
			}
		}
	}
	if err := p.get("/api/v1/query?query="+url.QueryEscape(expr), &answer); err != nil {
		return nil, err
	}
	if answer.Status != "success" {
		return nil, fmt.Errorf("%s", answer.Error)
	}
	var all []series
	for _, r := range answer.Data.Result {
		text, _ := r.Value[1].(string)
		value, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, err
		}
		all = append(all, series{r.Metric, value})
	}
	return all, nil
}

func (p *prometheus) get(path string, into any) error {
	response, err := http.Get(p.url + path)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	return json.NewDecoder(response.Body).Decode(into)
}

// firing are the alerts that fire now, with the labels of each.
func (p *prometheus) firing() map[string][]map[string]string {
	var answer struct {
		Data struct {
			Alerts []struct {
				Labels map[string]string
				State  string
			}
		}
	}
	all := make(map[string][]map[string]string)
	if p.get("/api/v1/alerts", &answer) != nil {
		return all
	}
	for _, a := range answer.Data.Alerts {
		if a.State == "firing" {
			all[a.Labels["alertname"]] = append(all[a.Labels["alertname"]], a.Labels)
		}
	}
	return all
}

// fires waits for an alert, with the labels.
func (p *prometheus) fires(alert string, labels ...string) {
	p.t.Helper()
	until(p.t, alert, time.Minute, func() bool {
		for _, is := range p.firing()[alert] {
			if slices.ContainsFunc(pairs(labels), func(l [2]string) bool { return is[l[0]] != l[1] }) {
				continue
			}
			return true
		}
		return false
	})
	p.fired[alert] = true
	p.t.Logf("%s fires", alert)
}

func pairs(labels []string) (all [][2]string) {
	for i := 0; i+1 < len(labels); i += 2 {
		all = append(all, [2]string{labels[i], labels[i+1]})
	}
	return all
}

// traffic asks for all there is to ask for, of every gateway, until it is stopped. The key is the tenant's.
func traffic(t *testing.T, gateways ...*gateway) (key string, stop func()) {
	_, key = gateways[0].tenant(t, `{"max_participants_per_room": 30, "signing_key_rotation_days": 90}`)
	_, limited := gateways[0].tenant(t, `{"requests_per_second": 1, "burst": 1}`)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for i, g := range gateways {
		for w := range 3 {
			running.Go(func() {
				for n := 0; ctx.Err() == nil; n++ {
					room := fmt.Sprintf("/api/v1/rooms/room-%d-%d-%d", i, w, n/40)
					status, added := g.call(key, http.MethodPost, room+"/participants", `{"display_name":"A"}`)
					g.call(key, http.MethodGet, room+"/participants", "")
					g.call(limited, http.MethodGet, "/api/v1/rooms", "")
					g.call("usk_nonsense", http.MethodGet, "/api/v1/rooms", "")
					if status == http.StatusCreated {
						g.call(added["auth_token"].(string), http.MethodGet, room, "")
						g.call(added["auth_token"].(string)+"x", http.MethodGet, room, "")
					}
					select {
					case <-time.After(200 * time.Millisecond):
					case <-ctx.Done():
					}
				}
			})
		}
	}
	return key, func() {
		cancel()
		running.Wait()
	}
}

// TestOnARealPrometheus runs two gateways of two versions on a real etcd of three members, under load, before a real
// Prometheus. First all is well, and every panel and every part of every alert has data. Then things break one by one, and
// the alerts say so. It does not run beside other tests: how late a watch is, and whether a budget burns, is a matter of time.
func TestOnARealPrometheus(t *testing.T) {
	tool(t, "prometheus")
	const quota = 48 << 20 // bytes
	certs, keys := certificates(t, 10*24*time.Hour), masterKeys(t)
	members := cluster(t, built(t, "..", "go.etcd.io/etcd/server/v3", "etcd"), certs, quota)
	spoilt := newLink(t, members[0].plain)
	one := startGateway(t, built(t, "../..", "./cmd/usher", "usher", "-ldflags", "-X main.stamped=v1.0.0"), keys,
		"--etcd-endpoints", strings.Join([]string{members[0].tls, members[1].tls, members[2].tls}, ","),
		"--etcd-ca-file", certs+"/ca.crt", "--etcd-cert-file", certs+"/tls.crt", "--etcd-key-file", certs+"/tls.key")
	two := startGateway(t, built(t, "../..", "./cmd/usher", "usher", "-ldflags", "-X main.stamped=v1.1.0"), keys, "--etcd-endpoints", spoilt.url())
	etcd, err := clientv3.New(clientv3.Config{Endpoints: []string{members[0].plain, members[1].plain, members[2].plain}, DialTimeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = etcd.Close() })
	p := startPrometheus(t, one, two)
	key, stop := traffic(t, one, two)
	defer stop()

	t.Log("all is well")
	one.metricsPassPromtool(t)
	p.knowsTheDashboards()
	p.knowsTheAlerts()
	// These are true from the start: the certificate has ten days, and there are two versions.
	p.fires("UsherCertificateExpires", "certificate", "etcd_client", "instance", one.ops)
	p.fires("UsherVersionsDiffer", "job", "usher", "namespace", "rooms")
	until(t, "quiet", 6*time.Minute, func() bool { return len(p.firing()) == 2 }) // what was slow at the start counts for five

	f := faults{t: t, p: p, etcd: etcd, members: members, link: spoilt, one: one, two: two, key: key}
	f.rejectedRecord()
	f.fullTenant()
	f.oldSigningKey()
	f.slowWatch()
	f.compactions()
	f.slowEtcd()
	f.memberLost()
	f.noLeader()
	f.full(quota)
	stop()
	one.signal(syscall.SIGTERM)
	two.signal(syscall.SIGTERM)
	p.fires("UsherAbsent")
	for _, r := range rules(t) {
		// No way to make a request panic is known, nor a decision take long: either would be a defect. gateway/metrics_test.go
		// holds that a panic would be counted.
		if r.Alert != "" && r.Alert != "UsherPanics" && r.Alert != "UsherDecisionsSlow" && !p.fired[r.Alert] {
			t.Errorf("nothing made %s fire", r.Alert)
		}
	}
}

// metricsPassPromtool has Prometheus' own linter read what is scraped.
func (g *gateway) metricsPassPromtool(t *testing.T) {
	t.Helper()
	response, err := http.Get("http://" + g.ops + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	c := exec.Command(tool(t, "promtool"), "check", "metrics")
	c.Stdin = response.Body
	if out, err := c.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
}

var placeholder = regexp.MustCompile(`\{\{\s*(\w+)\s*\}\}`)

// knowsTheDashboards asks every query of every panel: each has data, with the labels that its legend shows.
func (p *prometheus) knowsTheDashboards() {
	p.t.Helper()
	files, err := filepath.Glob(chartDir + "/dashboards/*.json")
	if err != nil || len(files) != 4 {
		p.t.Fatal(err, files)
	}
	asked := 0
	for _, file := range files {
		var dashboard struct {
			Panels []struct {
				Title   string
				Targets []struct{ Expr, LegendFormat string }
			}
		}
		text, err := os.ReadFile(file)
		if err == nil {
			err = json.Unmarshal(text, &dashboard)
		}
		if err != nil {
			p.t.Fatal(err)
		}
		for _, panel := range dashboard.Panels {
			for _, target := range panel.Targets {
				asked++
				p.hasData(filepath.Base(file)+": "+panel.Title, target.Expr, target.LegendFormat)
			}
		}
	}
	p.t.Logf("%d queries of %d dashboards have data", asked, len(files))
}

func (p *prometheus) hasData(what, expr, legend string) {
	p.t.Helper()
	expr = strings.NewReplacer("$namespace", ".*", "$job", ".*", "$__rate_interval", "20s").Replace(expr)
	var last []series
	until(p.t, what+": "+expr, time.Minute, func() bool {
		found, err := p.query(expr)
		if err != nil {
			p.t.Fatalf("%s: %v", what, err)
		}
		last = found
		return slices.ContainsFunc(found, func(s series) bool { return !math.IsNaN(s.value) })
	})
	for _, name := range placeholder.FindAllStringSubmatch(legend, -1) {
		for _, s := range last {
			if s.labels[name[1]] == "" {
				p.t.Errorf("%s: a series has no label %s: %v", what, name[1], s.labels)
			}
		}
	}
}

// selector is a series that an expression goes by.
var selector = regexp.MustCompile(`usher[a-z0-9_:]+(\{[^}]*\})?`)

// knowsTheAlerts asks for every series that an alert goes by, so that none can be silent because of a name.
func (p *prometheus) knowsTheAlerts() {
	p.t.Helper()
	for _, r := range rules(p.t) {
		for _, s := range selector.FindAllString(r.Expr, -1) {
			if strings.Contains(s, `"5xx"`) {
				continue // there are none while all is well
			}
			p.hasData(r.Alert+r.Record, s, "")
		}
	}
}
