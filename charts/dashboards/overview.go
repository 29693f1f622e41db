package main

func overview() Dashboard {
	const requests, duration = "usher_http_request_duration_seconds_count", "usher_http_request_duration_seconds_bucket"
	return Dashboard{
		Name: "overview", Title: "Usher / Overview", About: "Is it well? Rates, errors and durations of the API, and what is in the rooms.",
		Rows: []Row{
			{"Now", []Panel{
				{Title: "Replicas ready", Kind: Number, Unit: Text, Width: 3, Height: 4, Help: "Those that answer from a fresh index.",
					Queries: []Query{query("ready", `sum(usher_state{@, state="READY"})`)}},
				{Title: "Replicas stale", Kind: Number, Unit: Text, Width: 3, Height: 4, Bad: 1, Help: "Those that have lost etcd: they answer reads from memory and refuse writes. Runbook: UsherStale.",
					Queries: []Query{query("stale", `sum(usher_state{@, state="STALE"})`)}},
				{Title: "Requests", Kind: Number, Unit: Requests, Width: 3, Height: 4, Queries: []Query{query("", "sum(rate("+requests+"{@}[$__rate_interval]))")}},
				{Title: "Errors of ours", Kind: Number, Unit: Share, Width: 3, Height: 4, Bad: .001, Help: "The share of 5xx; the objective is 0.1 %.",
					Queries: []Query{query("", `(sum(rate(`+requests+`{@, status="5xx"}[$__rate_interval])) or vector(0)) / sum(rate(`+requests+`{@}[$__rate_interval]))`)}},
				{Title: "Answered within (99 %)", Kind: Number, Unit: Seconds, Width: 3, Height: 4, Bad: .25, Queries: []Query{quantile("", "0.99", duration+"{@}")}},
				{Title: "Participants", Kind: Number, Unit: Count, Width: 3, Height: 4, Queries: []Query{query("", "max(usher_participants_active{@})")}},
				{Title: "Rooms", Kind: Number, Unit: Count, Width: 3, Height: 4, Queries: []Query{query("", "max(usher_rooms_active{@})")}},
				{Title: "Tenants", Kind: Number, Unit: Count, Width: 3, Height: 4, Queries: []Query{query("{{status}}", "max by (status) (usher_tenants{@})")}},
			}},
			{"Requests", []Panel{
				{Title: "Requests by status", Kind: Lines, Unit: Requests, Width: 8, Stack: true, Queries: []Query{query("{{status}}", "sum by (status) (rate("+requests+"{@}[$__rate_interval]))")}},
				{Title: "Requests by route", Kind: Lines, Unit: Requests, Width: 8, Queries: []Query{query("{{method}} {{route}}", "topk(10, sum by (method, route) (rate("+requests+"{@}[$__rate_interval])))")}},
				{Title: "Answered within", Kind: Lines, Unit: Seconds, Width: 8, Help: "With exemplars where requests are traced.",
					Queries: []Query{quantile("50 %", "0.5", duration+"{@}"), quantile("95 %", "0.95", duration+"{@}"), quantile("99 %", "0.99", duration+"{@}")}},
				{Title: "Durations", Kind: Heatmap, Unit: Seconds, Width: 12, Queries: []Query{query("{{le}}", "sum by (le) (rate("+duration+"{@}[$__rate_interval]))")}},
				{Title: "Slowest routes", Kind: Table, Unit: Seconds, Width: 12, Help: "The 99th percentile of the last five minutes.",
					Queries: []Query{query("", "topk(10, histogram_quantile(0.99, sum by (method, route, le) (rate("+duration+"{@}[5m]))))")}},
				{Title: "Errors of ours by route", Kind: Lines, Unit: Requests, Width: 12, Help: "5xx. The codes are in the log: grep for \"ERROR\". Runbook: UsherErrorBudgetBurnsFast.",
					Queries: []Query{query("{{method}} {{route}}", `topk(10, sum by (method, route) (rate(`+requests+`{@, status="5xx"}[$__rate_interval])) or 0 * sum by (method, route) (rate(`+requests+`{@}[$__rate_interval])))`)}},
				{Title: "Panics", Kind: Lines, Unit: Count, Width: 12, Bad: 1, Help: "Requests that hit a defect. Runbook: UsherPanics.", Queries: []Query{query("{{instance}}", "sum by (instance) (increase(usher_http_panics_total{@}[$__rate_interval]))")}},
				{Title: "In flight, and connections", Kind: Lines, Unit: Count, Width: 12, Queries: []Query{query("{{instance}}", "sum by (instance) (usher_http_requests_in_flight{@})"),
					query("{{instance}} connections", "sum by (instance) (usher_http_connections{@})")}},
				{Title: "Sent", Kind: Lines, Unit: "Bps", Width: 12, Queries: []Query{query("{{instance}}", "sum by (instance) (rate(usher_http_response_bytes_total{@}[$__rate_interval]))")}},
			}},
			{"What is asked, and what comes of it", []Panel{
				{Title: "Joins by outcome", Kind: Lines, Unit: PerSecond, Width: 8, Stack: true, Help: "seated, existing (the user had a seat), replayed, or the code of the refusal.",
					Queries: []Query{query("{{outcome}}", "sum by (outcome) (rate(usher_participants_joins_total{@}[$__rate_interval]))")}},
				{Title: "Decisions on credentials", Kind: Lines, Unit: PerSecond, Width: 8, Queries: []Query{query("{{credential}} {{decision}}", "sum by (credential, decision) (rate(usher_auth_decisions_total{@}[$__rate_interval]))")}},
				{Title: "Rate limits", Kind: Lines, Unit: PerSecond, Width: 8,
					Help:    "By bucket: a tenant's keys, its participants together, one participant, one address without a valid credential.",
					Queries: []Query{query("{{bucket}} {{decision}}", "sum by (bucket, decision) (rate(usher_rate_limit_decisions_total{@}[$__rate_interval]))")}},
				{Title: "Refused because there was too much to do", Kind: Lines, Unit: PerSecond, Width: 8,
					Help: "By the gateway, whose processors are busy (--max-cpu-wait), or by the writer, since the log takes no more.",
					Queries: []Query{query("{{kind}}", "sum by (kind) (rate(usher_http_shed_total{@}[$__rate_interval]))"),
						query("the log", "sum(rate(usher_writer_shed_total{@}[$__rate_interval]))")}},
				{Title: "Waiting while processors are busy", Kind: Lines, Unit: Count, Width: 8,
					Help: "Reads and writes that wait for others of their kind to end, and how many may be under way; a bound of 0 is none.",
					Queries: []Query{query("{{instance}} {{kind}}s waiting", "sum by (instance, kind) (usher_http_requests_waiting{@})"),
						query("{{instance}} {{kind}}s bound", "sum by (instance, kind) (usher_http_requests_bound{@})")}},
				{Title: "Wait for a processor", Kind: Lines, Unit: Seconds, Width: 8, Help: "Half of all that is waited is in shorter waits. Beyond --max-cpu-wait requests are bounded.",
					Queries: []Query{query("{{instance}}", "max by (instance) (usher_http_processor_wait_seconds{@})")}},
				{Title: "Tokens issued", Kind: Lines, Unit: PerSecond, Width: 12, Queries: []Query{query("{{alg}}", "sum by (alg) (rate(usher_tokens_issued_total{@}[$__rate_interval]))")}},
				{Title: "Tokens verified", Kind: Lines, Unit: PerSecond, Width: 12, Queries: []Query{query("{{alg}} {{result}}", "sum by (alg, result) (rate(usher_tokens_verified_total{@}[$__rate_interval]))")}},
			}},
			{"The objectives", []Panel{
				{Title: "Share of errors", Kind: Lines, Unit: Share, Width: 12, Help: "The recorded ratios that the alerts on the objective go by.",
					Queries: []Query{query("5 min", "usher:http_errors:ratio_rate5m{@}"), query("1 h", "usher:http_errors:ratio_rate1h{@}"), query("6 h", "usher:http_errors:ratio_rate6h{@}")}},
				{Title: "Share of requests that took longer than 250 ms", Kind: Lines, Unit: Share, Width: 12,
					Queries: []Query{query("5 min", "usher:http_slow:ratio_rate5m{@}"), query("1 h", "usher:http_slow:ratio_rate1h{@}"), query("6 h", "usher:http_slow:ratio_rate6h{@}")}},
			}},
		},
	}
}
