package main

func log() Dashboard {
	const commits, lag = "usher_log_commit_duration_seconds_bucket{@}", "usher_watch_lag_seconds_bucket{@}"
	return Dashboard{
		Name: "log", Title: "Usher / The log and the index", About: "etcd is the log, memory is the index: how writes get into the one, and how fast the other follows.",
		Rows: []Row{
			{"Writing", []Panel{
				{Title: "Committed within", Kind: Lines, Unit: Seconds, Width: 8, Help: "Transactions of etcd. Runbook: UsherCommitsSlow.",
					Queries: []Query{quantile("50 %", "0.5", commits), quantile("99 %", "0.99", commits)}},
				{Title: "Transactions by outcome", Kind: Lines, Unit: PerSecond, Width: 8, Help: "unknown: sent, and no answer came. Callers are told so.",
					Queries: []Query{query("{{outcome}}", "sum by (outcome) (rate(usher_log_commit_duration_seconds_count{@}[$__rate_interval]))")}},
				{Title: "Changes in a transaction", Kind: Lines, Unit: Count, Width: 8, Help: "What comes while a transaction is in flight goes with the next one.",
					Queries: []Query{query("mean", "sum(rate(usher_writer_batch_changes_sum{@}[$__rate_interval])) / sum(rate(usher_writer_batch_changes_count{@}[$__rate_interval]))"),
						quantile("99 %", "0.99", "usher_writer_batch_changes_bucket{@}")}},
				{Title: "Changes waited", Kind: Lines, Unit: Seconds, Width: 8, Queries: []Query{quantile("50 %", "0.5", "usher_writer_wait_seconds_bucket{@}"), quantile("99 %", "0.99", "usher_writer_wait_seconds_bucket{@}")}},
				{Title: "Changes waiting", Kind: Lines, Unit: Count, Width: 8, Queries: []Query{query("{{instance}}", "sum by (instance) (usher_writer_queue_changes{@})")}},
				{Title: "Decided again", Kind: Lines, Unit: PerSecond, Width: 8, Help: "Another replica had written to the same room first.",
					Queries: []Query{query("{{instance}}", "sum by (instance) (rate(usher_writer_redecided_total{@}[$__rate_interval]))")}},
				{Title: "A decision takes", Kind: Lines, Unit: Seconds, Width: 12, Bad: .01, Help: "All writes of the replica wait for it. Runbook: UsherDecisionsSlow.",
					Queries: []Query{quantile("50 %", "0.5", "usher_writer_decide_seconds_bucket{@}"), quantile("99 %", "0.99", "usher_writer_decide_seconds_bucket{@}")}},
				{Title: "Decisions of more than 10 ms", Kind: Lines, Unit: Count, Width: 12, Bad: 1, Help: "The log names each, with its caller. Runbook: UsherDecisionsSlow.",
					Queries: []Query{query("{{instance}}", "sum by (instance) (increase(usher_writer_decide_over_budget_total{@}[$__rate_interval]))")}},
			}},
			{"Following", []Panel{
				{Title: "Revisions behind", Kind: Lines, Unit: Count, Width: 8, Bad: 1000, Help: "Between the newest revision that a quorum has shown and the one that the index shows. Runbook: UsherWatchLag.",
					Queries: []Query{query("{{instance}}", "clamp_min(usher_watch_observed_revision{@} - usher_watch_applied_revision{@}, 0)")}},
				{Title: "Shown after the acknowledgement", Kind: Lines, Unit: Seconds, Width: 8, Queries: []Query{quantile("50 %", "0.5", lag), quantile("99 %", "0.99", lag)}},
				{Title: "Last heard of a quorum", Kind: Lines, Unit: Seconds, Width: 8, Bad: 3, Help: "From three seconds on a replica is stale. Runbook: UsherStale.",
					Queries: []Query{query("{{instance}}", "usher_staleness_seconds{@}")}},
				{Title: "Changes heard", Kind: Lines, Unit: PerSecond, Width: 8, Queries: []Query{query("{{instance}}", "sum by (instance) (rate(usher_watch_events_total{@}[$__rate_interval]))")}},
				{Title: "Revisions", Kind: Lines, Unit: PerSecond, Width: 8, Help: "Watchers fall behind at about 10 000 a second.",
					Queries: []Query{query("applied", "max(rate(usher_watch_applied_revision{@}[$__rate_interval]))"), query("observed", "max(rate(usher_watch_observed_revision{@}[$__rate_interval]))")}},
				{Title: "Lists of the whole log, and broken watches", Kind: Lines, Unit: Count, Width: 8, Help: "Runbook: UsherRelistStorm.",
					Queries: []Query{query("{{reason}}", "sum by (reason) (increase(usher_log_relists_total{@}[$__rate_interval]))"), query("broken watches", "sum(increase(usher_watch_breaks_total{@}[$__rate_interval]))")}},
				{Title: "The last list took", Kind: Lines, Unit: Seconds, Width: 12, Queries: []Query{query("{{instance}}", "usher_log_last_list_duration_seconds{@}")}},
				{Title: "Records that do not decode", Kind: Lines, Unit: Count, Width: 12, Bad: 1, Help: "Their last good value stays in force. Runbook: UsherRejectedRecord.", Queries: []Query{query("{{instance}}", "usher_log_rejected_records{@}")}},
			}},
			{"etcd, as the gateways see it", []Panel{
				{Title: "Members that answer, know a leader, and serve", Kind: Lines, Unit: Count, Width: 8, Help: "Who does not serve, while others do, gets no requests. Runbooks: UsherEtcdMemberDown, UsherEtcdNoLeader.",
					Queries: []Query{query("answer", "sum(max by (member) (usher_etcd_up{@}))"), query("know a leader", "sum(max by (member) (usher_etcd_has_leader{@}))"),
						query("serve", "sum(max by (member) (usher_etcd_serving{@}))")}},
				{Title: "Database", Kind: Lines, Unit: Bytes, Width: 8, Help: "used is what a defragmentation would leave. Runbook: UsherEtcdQuota.",
					Queries: []Query{query("{{member}}", "max by (member) (usher_etcd_db_size_bytes{@})"), query("{{member}} used", "max by (member) (usher_etcd_db_used_bytes{@})"), query("quota", "min(usher_etcd_db_quota_bytes{@})")}},
				{Title: "Alarms", Kind: Lines, Unit: Count, Width: 8, Bad: 1, Help: "NOSPACE or CORRUPT: writes are refused. Runbook: UsherEtcdAlarm.", Queries: []Query{query("{{member}} {{alarm}}", "max by (member, alarm) (usher_etcd_alarm{@})")}},
			}},
			{"Sweeping", []Panel{
				{Title: "A sweep takes", Kind: Lines, Unit: Seconds, Width: 8, Queries: []Query{quantile("99 %", "0.99", "usher_sweeper_duration_seconds_bucket{@}")}},
				{Title: "Swept", Kind: Lines, Unit: PerSecond, Width: 8, Queries: []Query{query("{{what}}", "sum by (what) (rate(usher_sweeper_swept_total{@}[$__rate_interval]))")}},
				{Title: "Since the last complete sweep", Kind: Lines, Unit: Seconds, Width: 8, Bad: 600, Help: "Runbook: UsherSweeperStuck.", Queries: []Query{query("", "time() - max(usher_sweeper_last_success_timestamp_seconds{@})"), query("not complete", "sum(increase(usher_sweeper_failures_total{@}[$__rate_interval]))")}},
			}},
		},
	}
}
