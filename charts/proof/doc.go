// Package proof holds the chart against what it will meet, without a cluster: both Helms render it, every manifest is
// decoded into the types of the API that it is for, checked against the schemas of a real API server, and against the
// policies that a careful cluster enforces. And it holds the dashboards and the alerts against a real Prometheus that
// scrapes a real Usher, while things break.
//
// Everything here is a test. It is in a module of its own, so that the product depends on none of it.
package proof
