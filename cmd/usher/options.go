package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"usher/cmd/usher/certificates"
	"usher/gateway"
	"usher/observability"
	"usher/store"
	"usher/tenant"
)

// options are the flags of serve. Each can be given as a variable too: --data-dir as USHER_DATA_DIR; a flag wins.
type options struct {
	Listen        string
	OpsListen     string
	DataDir       string
	IssuerURL     string
	OperatorKey   string
	MasterKeyFile string
	LogFormat     string
	LogLevel      string

	TLSCert       string
	TLSKey        string
	TLSClientCA   string
	TLSMinVersion string
	OpsTLS        bool

	EtcdEndpoints []string
	EtcdCA        string
	EtcdCert      string
	EtcdKey       string
	EtcdUser      string
	EtcdPassword  string
	EtcdPrefix    string
	EtcdMaxTxnOps int
	EtcdListen    string

	TrustedProxies []string
	MaxConnections int
	MaxPerAddress  int
	MaxCPUWait     time.Duration
	BodyMemory     int64

	AnonymousPerSecond float64
	AnonymousBurst     int

	HeaderTimeout time.Duration
	BodyTimeout   time.Duration
	AnswerTimeout time.Duration
	IdleTimeout   time.Duration

	OTLPEndpoint    string
	OTLPProtocol    string
	TraceRatio      float64
	MaxTenantSeries int

	MaxStaleness time.Duration
	StartTimeout time.Duration
	DrainDelay   time.Duration
	DrainTimeout time.Duration
}

// logFlags are those that a command needs to reach the log and to read what is sealed in it.
func (o *options) logFlags(f *pflag.FlagSet) {
	f.StringVar(&o.DataDir, "data-dir", "usher-data", "directory of the embedded etcd and of the keys made on the first start")
	f.StringVar(&o.MasterKeyFile, "master-key-file", "", "file of the keys that encrypt signing keys at rest, read at the start (default: made on the first start in the data directory)")
	f.StringSliceVar(&o.EtcdEndpoints, "etcd-endpoints", nil, "an etcd cluster to use instead of the embedded one, comma-separated")
	f.StringVar(&o.EtcdCA, "etcd-ca-file", "", "authorities that etcd's certificate is checked against (PEM). These three are read again when they change")
	f.StringVar(&o.EtcdCert, "etcd-cert-file", "", "client certificate for etcd (PEM)")
	f.StringVar(&o.EtcdKey, "etcd-key-file", "", "key of the client certificate (PEM)")
	f.StringVar(&o.EtcdUser, "etcd-user", "", "user for etcd")
	f.StringVar(&o.EtcdPassword, "etcd-password", "", "password for etcd; better given as USHER_ETCD_PASSWORD")
	f.StringVar(&o.EtcdPrefix, "etcd-prefix", store.DefaultPrefix, "prefix of every key in etcd")
	f.IntVar(&o.EtcdMaxTxnOps, "etcd-max-txn-ops", store.DefaultMaxTxnOps, "etcd's --max-txn-ops")
	f.DurationVar(&o.StartTimeout, "start-timeout", 2*time.Minute, "for how long to wait for etcd, and then for the first list of the log, before giving up")
}

func (o *options) flags(f *pflag.FlagSet) {
	o.logFlags(f)
	f.StringVar(&o.Listen, "listen", "127.0.0.1:8080", "address of the API")
	f.StringVar(&o.OpsListen, "ops-listen", "127.0.0.1:9090", "address of the operations port: status page, /metrics, /healthz, /readyz, /log-level")
	f.StringVar(&o.IssuerURL, "issuer-url", "", "URL at which callers and verifiers of tokens reach this API: what tokens name as their issuer, so it must be the same on all replicas (default: that of --listen, and no default with --etcd-endpoints)")
	f.StringVar(&o.OperatorKey, "operator-key", "", "the operator's key, at least 16 characters (default: made on the first start and kept in the data directory)")
	f.StringVar(&o.TLSCert, "tls-cert-file", "", "certificate of the API, and what leads to its authority (PEM); without it the API speaks plain HTTP. Read again when it changes")
	f.StringVar(&o.TLSKey, "tls-key-file", "", "key of the API's certificate (PEM)")
	f.StringVar(&o.TLSClientCA, "tls-client-ca-file", "", "authorities (PEM) of the certificates that callers must then have; credentials are needed all the same")
	f.StringVar(&o.TLSMinVersion, "tls-min-version", "1.2", "the least version of TLS: 1.2 or 1.3")
	f.BoolVar(&o.OpsTLS, "ops-tls", false, "the operations port speaks TLS too, with the same certificate; callers need none")
	f.StringVar(&o.LogFormat, "log-format", string(observability.LogText), "text or json")
	f.StringVar(&o.LogLevel, "log-level", "info", "debug, info, warn or error; PUT /log-level on the operations port changes it at run time")
	f.StringVar(&o.EtcdListen, "etcd-listen", "", "URL at which the embedded etcd also serves etcd's own clients, e.g. http://127.0.0.1:2379 for etcdctl")
	f.StringSliceVar(&o.TrustedProxies, "trusted-proxies", nil, "networks of proxies whose X-Forwarded-For and traceparent are believed, comma-separated, e.g. 10.0.0.0/8")
	f.IntVar(&o.MaxConnections, "max-connections", 10_000, "how many connections to the API there may be at once; others wait to be taken")
	f.IntVar(&o.MaxPerAddress, "max-connections-per-address", 0, "how many of them one address may have, of IPv6 one /64; more are closed at once. Proxies that --trusted-proxies names are not bounded by it (0: half of --max-connections)")
	f.Int64Var(&o.BodyMemory, "body-memory", gateway.DefaultBodyMemory, "how many bytes of requests' bodies may be held at once; a tenant's API keys may hold a quarter of it")
	f.DurationVar(&o.MaxCPUWait, "max-cpu-wait", 3*time.Millisecond, "overload: when work waits longer than this for a processor (metric usher_http_processor_wait_seconds), new requests wait for others to end, and after half a second are refused with 503; 0: never")
	f.Float64Var(&o.AnonymousPerSecond, "anonymous-requests-per-second", gateway.DefaultAnonymousPerSecond, "how many requests without a valid credential may come from one address (of IPv6: from one /64). Behind a proxy that --trusted-proxies does not name, all callers have its address")
	f.IntVar(&o.AnonymousBurst, "anonymous-burst", gateway.DefaultAnonymousBurst, "how many of those may come at once after a quiet time")
	f.StringVar(&o.OTLPEndpoint, "otlp-endpoint", "", "URL of an OpenTelemetry collector to send traces to, e.g. http://localhost:4317 (default: no traces)")
	f.StringVar(&o.OTLPProtocol, "otlp-protocol", "grpc", "grpc or http: how the collector is spoken to")
	f.Float64Var(&o.TraceRatio, "trace-ratio", 0.01, "share of requests to trace of those for which no trusted proxy has decided it (traceparent)")
	f.IntVar(&o.MaxTenantSeries, "metrics-max-tenants", gateway.DefaultTenantSeries, "how many tenants have metrics of their own; the others share one")
	f.DurationVar(&o.HeaderTimeout, "header-timeout", 10*time.Second, "how long a caller may take to send a request's header, and for a TLS handshake")
	f.DurationVar(&o.BodyTimeout, "body-timeout", 30*time.Second, "how long it may take to send a request, header and body")
	f.DurationVar(&o.AnswerTimeout, "answer-timeout", time.Minute, "how long a request may take from the end of its header until its answer is sent")
	f.DurationVar(&o.IdleTimeout, "idle-timeout", 2*time.Minute, "how long a connection may wait for its next request")
	f.DurationVar(&o.MaxStaleness, "max-staleness", 10*time.Minute, "for how long to answer reads after the last word from etcd")
	f.DurationVar(&o.DrainDelay, "drain-delay", 0, "for how long to take new requests after SIGTERM, while not ready: what load balancers need to turn away")
	f.DurationVar(&o.DrainTimeout, "drain-timeout", 20*time.Second, "how long requests in flight may take to end after SIGTERM")
}

// fromEnvironment sets the flags that were not given from their variables. An empty variable is as good as none: that is
// what a template leaves of a value that nobody has set.
func fromEnvironment(c *cobra.Command) error {
	var problems []error
	c.Flags().VisitAll(func(f *pflag.Flag) {
		name := "USHER_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		value := os.Getenv(name)
		if value == "" || f.Changed || f.Name == "help" {
			return
		}
		if err := f.Value.Set(value); err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", name, err))
		}
	})
	return errors.Join(problems...)
}

const leastOperatorKey = 16 // characters

// check completes the options and says what is wrong with them.
func (o *options) check() error {
	if err := o.checkTLS(); err != nil {
		return err
	}
	if err := o.checkEtcd(); err != nil {
		return err
	}
	if o.OperatorKey != "" && len(o.OperatorKey) < leastOperatorKey {
		return fmt.Errorf("--operator-key must have at least %d characters", leastOperatorKey)
	}
	if tenant.IsAPIKey(o.OperatorKey) {
		return errors.New("--operator-key must not begin as API keys do")
	}
	if len(o.EtcdEndpoints) > 0 && (o.OperatorKey == "" || o.IssuerURL == "") {
		return errors.New("with --etcd-endpoints, --operator-key and --issuer-url must be given: all replicas must have the same")
	}
	if err := o.checkIssuer(); err != nil {
		return err
	}
	if u, err := url.Parse(o.EtcdListen); o.EtcdListen != "" && (err != nil || u.Host == "") {
		return fmt.Errorf("--etcd-listen: %q is not a URL such as http://127.0.0.1:2379", o.EtcdListen)
	}
	if _, err := o.trustedProxies(); err != nil {
		return err
	}
	if o.TraceRatio < 0 || o.TraceRatio > 1 {
		return errors.New("--trace-ratio must be between 0 and 1")
	}
	if min(o.HeaderTimeout, o.BodyTimeout, o.AnswerTimeout, o.IdleTimeout) <= 0 {
		return errors.New("--header-timeout, --body-timeout, --answer-timeout and --idle-timeout must be more than 0")
	}
	if o.MaxConnections < 1 {
		return errors.New("--max-connections must be at least 1")
	}
	if o.MaxPerAddress < 0 {
		return errors.New("--max-connections-per-address must not be less than 0")
	}
	if o.MaxPerAddress == 0 {
		o.MaxPerAddress = max(1, o.MaxConnections/2)
	}
	if o.BodyMemory < gateway.LeastBodyMemory {
		return fmt.Errorf("--body-memory must be at least %d", gateway.LeastBodyMemory)
	}
	if o.AnonymousPerSecond <= 0 || o.AnonymousBurst < 1 {
		return errors.New("--anonymous-requests-per-second must be more than 0, and --anonymous-burst at least 1")
	}
	if o.MaxTenantSeries < 1 {
		return errors.New("--metrics-max-tenants must be at least 1")
	}
	return nil
}

func (o *options) checkIssuer() error {
	if o.IssuerURL == "" {
		host, named, err := net.SplitHostPort(o.Listen)
		if err != nil {
			return fmt.Errorf("--listen: %q is not an address such as 127.0.0.1:8080", o.Listen)
		}
		port, err := new(net.Resolver).LookupPort(context.Background(), "tcp", named) // it may be a name: no network is asked
		if err != nil {
			return fmt.Errorf("--listen: %w", err)
		}
		if strings.Contains(host, "%") { // a zone of this machine, which no URL of others can have (RFC 6874)
			return fmt.Errorf("--issuer-url must be given where --listen is %s", o.Listen)
		}
		if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() { // every address of this machine, which nobody can call
			host = "localhost"
		}
		o.IssuerURL = o.scheme() + "://" + net.JoinHostPort(host, strconv.Itoa(port))
	}
	u, err := url.Parse(o.IssuerURL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return fmt.Errorf("--issuer-url: %q is not a URL such as https://usher.example.com", o.IssuerURL)
	}
	return nil
}

// checkEtcd is for every command that reaches the log.
func (o *options) checkEtcd() error {
	if (o.EtcdCert == "") != (o.EtcdKey == "") {
		return errors.New("--etcd-cert-file and --etcd-key-file must be given together")
	}
	if len(o.EtcdEndpoints) > 0 && o.MasterKeyFile == "" {
		return errors.New("with --etcd-endpoints, --master-key-file must be given: the same for all that use this etcd")
	}
	return nil
}

func (o *options) checkTLS() error {
	if (o.TLSCert == "") != (o.TLSKey == "") {
		return errors.New("--tls-cert-file and --tls-key-file must be given together")
	}
	if o.TLSCert == "" && (o.TLSClientCA != "" || o.OpsTLS) {
		return errors.New("--tls-client-ca-file and --ops-tls need --tls-cert-file")
	}
	if _, err := certificates.ParseVersion(o.TLSMinVersion); err != nil {
		return fmt.Errorf("--tls-min-version %w", err)
	}
	return nil
}

// scheme of the API's URLs.
func (o *options) scheme() string { return schemeOf(o.TLSCert != "") }

func schemeOf(secure bool) string {
	if secure {
		return "https"
	}
	return "http"
}

func (o *options) trustedProxies() (proxies gateway.Proxies, err error) {
	for _, text := range o.TrustedProxies {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("--trusted-proxies: %q is not a network such as 10.0.0.0/8", text)
		}
		proxies = append(proxies, prefix.Masked())
	}
	return proxies, nil
}

func (o *options) inDataDir(name string) string { return filepath.Join(o.DataDir, name) }

// embeddedDir is where the embedded etcd has the log.
func (o *options) embeddedDir() string { return o.inDataDir("etcd") }
