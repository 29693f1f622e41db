package observability

import (
	"crypto/x509"
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Metrics is the registry of the process. It gives a sample of all there is, whoever asks: a scrape, or the status page.
type Metrics struct {
	*prometheus.Registry
	certificates *prometheus.GaugeVec
	renewals     *prometheus.CounterVec
}

// NewMetrics makes a registry that knows the process, Go's runtime and what was built.
func NewMetrics(b Build) *Metrics {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	make := promauto.With(registry)
	make.NewGauge(prometheus.GaugeOpts{
		Name: "usher_build_info", Help: "1; what runs is in the labels.",
		ConstLabels: prometheus.Labels{"version": b.Version, "revision": b.Revision, "goversion": runtime.Version()},
	}).Set(1)
	return &Metrics{
		Registry: registry,
		certificates: make.NewGaugeVec(prometheus.GaugeOpts{
			Name: "usher_certificate_expires_timestamp_seconds", Help: "When a certificate that this replica uses expires.",
		}, []string{"certificate"}),
		renewals: make.NewCounterVec(prometheus.CounterOpts{
			Name: "usher_certificate_renewals_total",
			Help: "Times that certificates were read again because their files had changed: taken, or refused and the old ones kept.",
		}, []string{"files", "result"}),
	}
}

// Certificate notes until when the certificate that is used for the purpose is good.
func (m *Metrics) Certificate(purpose string, c *x509.Certificate) {
	m.certificates.WithLabelValues(purpose).Set(float64(c.NotAfter.Unix()))
}

// Connections is the gauge of connections to the API.
func (m *Metrics) Connections() prometheus.Gauge {
	return promauto.With(m.Registry).NewGauge(prometheus.GaugeOpts{Name: "usher_http_connections", Help: "Connections to the API that are open."})
}

// Renewal notes that changed files of certificates were taken, or were no good.
func (m *Metrics) Renewal(files string, err error) {
	result := "taken"
	if err != nil {
		result = "refused"
	}
	m.renewals.WithLabelValues(files, result).Inc()
}

// Renewals begins to count for the files.
func (m *Metrics) Renewals(files string) {
	m.renewals.WithLabelValues(files, "taken")
	m.renewals.WithLabelValues(files, "refused")
}
