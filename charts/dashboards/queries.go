package main

import "strings"

// of puts the reader's choice of replicas where a query says @.
func of(expr string) string {
	return strings.NewReplacer("@,", `namespace=~"$namespace", job=~"$job",`, "@", `namespace=~"$namespace", job=~"$job"`).Replace(expr)
}

func query(legend, expr string) Query { return Query{Expr: of(expr), Legend: legend} }

// quantile is of a histogram, in all replicas or by the labels.
func quantile(legend, q, histogram string, by ...string) Query {
	return query(legend, "histogram_quantile("+q+", sum by ("+strings.Join(append(by, "le"), ", ")+") (rate("+histogram+"[$__rate_interval])))")
}
