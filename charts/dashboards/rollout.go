package main

func rollout() Dashboard {
	return Dashboard{
		Name: "rollout", Title: "Usher / Rollout", About: "Replica by replica: what runs, since when, in what state, and at what cost.",
		Rows: []Row{
			{"What runs", []Panel{
				{Title: "Versions", Kind: Table, Unit: Text, Width: 8, Queries: []Query{query("", "count by (version, revision, goversion) (usher_build_info{@})")}},
				{Title: "Replicas by version", Kind: Lines, Unit: Count, Width: 8, Stack: true, Help: "Runbook: UsherVersionsDiffer.", Queries: []Query{query("{{version}}", "count by (version) (usher_build_info{@})")}},
				{Title: "Up for", Kind: Table, Unit: Seconds, Width: 8, Queries: []Query{query("", "sort(time() - process_start_time_seconds{@})")}},
				{Title: "State", Kind: Lines, Unit: Count, Width: 12, Stack: true, Queries: []Query{query("{{state}}", "sum by (state) (usher_state{@})")}},
				{Title: "Replicas that know of each other", Kind: Lines, Unit: Count, Width: 6, Queries: []Query{query("{{instance}}", "usher_replicas{@}")}},
				{Title: "Who sweeps", Kind: Lines, Unit: Count, Width: 6, Queries: []Query{query("{{instance}}", "usher_sweeper_leading{@}")}},
			}},
			{"Does the new one do well?", []Panel{
				{Title: "Errors by replica", Kind: Lines, Unit: Share, Width: 8, Queries: []Query{query("{{instance}}", `(sum by (instance) (rate(usher_http_request_duration_seconds_count{@, status="5xx"}[$__rate_interval])) or 0 * sum by (instance) (rate(usher_http_request_duration_seconds_count{@}[$__rate_interval]))) / sum by (instance) (rate(usher_http_request_duration_seconds_count{@}[$__rate_interval]))`)}},
				{Title: "Answered within (99 %) by replica", Kind: Lines, Unit: Seconds, Width: 8, Queries: []Query{quantile("{{instance}}", "0.99", "usher_http_request_duration_seconds_bucket{@}", "instance")}},
				{Title: "Requests by replica", Kind: Lines, Unit: Requests, Width: 8, Queries: []Query{query("{{instance}}", "sum by (instance) (rate(usher_http_request_duration_seconds_count{@}[$__rate_interval]))")}},
			}},
			{"At what cost", []Panel{
				{Title: "CPU", Kind: Lines, Unit: Count, Width: 8, Help: "In cores.", Queries: []Query{query("{{instance}}", "rate(process_cpu_seconds_total{@}[$__rate_interval])")}},
				{Title: "Memory", Kind: Lines, Unit: Bytes, Width: 8, Queries: []Query{query("{{instance}} resident", "process_resident_memory_bytes{@}"), query("{{instance}} live heap", "go_memstats_heap_alloc_bytes{@}")}},
				{Title: "Goroutines", Kind: Lines, Unit: Count, Width: 8, Queries: []Query{query("{{instance}}", "go_goroutines{@}")}},
				{Title: "File descriptors", Kind: Lines, Unit: Share, Width: 8, Max: 1, Queries: []Query{query("{{instance}}", "process_open_fds{@} / process_max_fds{@}")}},
				{Title: "Pauses of the garbage collector", Kind: Lines, Unit: Seconds, Width: 8, Queries: []Query{query("{{instance}}", `go_gc_duration_seconds{@, quantile=~"1|1.0"}`)}},
				{Title: "Certificates expire in", Kind: Table, Unit: Seconds, Width: 8, Help: "Runbook: UsherCertificateExpires.", Queries: []Query{query("", "sort(min by (certificate) (usher_certificate_expires_timestamp_seconds{@}) - time())")}},
			}},
		},
	}
}
