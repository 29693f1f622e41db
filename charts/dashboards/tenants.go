package main

func tenants() Dashboard {
	return Dashboard{
		Name: "tenants", Title: "Usher / Tenants", About: "Who asks for what. As many tenants have series of their own as --metrics-max-tenants; the others are together \"other\".",
		Rows: []Row{
			{"The busiest", []Panel{
				{Title: "Requests", Kind: Lines, Unit: Requests, Width: 12, Queries: []Query{query("{{tenant}}", "topk(10, sum by (tenant) (rate(usher_tenant_requests_total{@}[$__rate_interval])))")}},
				{Title: "Joins", Kind: Lines, Unit: PerSecond, Width: 12, Queries: []Query{query("{{tenant}}", "topk(10, sum by (tenant) (rate(usher_tenant_joins_total{@}[$__rate_interval])))")}},
				{Title: "Participants", Kind: Lines, Unit: Count, Width: 12, Queries: []Query{query("{{tenant}}", "topk(10, max by (tenant) (usher_tenant_participants{@}))")}},
				{Title: "Rooms", Kind: Lines, Unit: Count, Width: 12, Queries: []Query{query("{{tenant}}", "topk(10, max by (tenant) (usher_tenant_rooms{@}))")}},
			}},
			{"What they keep", []Panel{
				{Title: "Bytes", Kind: Lines, Unit: Bytes, Width: 12, Help: "All that is kept for a tenant, and what its rooms have set aside.",
					Queries: []Query{query("{{tenant}}", "topk(10, max by (tenant) (usher_tenant_stored_bytes{@}))")}},
				{Title: "Share of max_stored_bytes", Kind: Lines, Unit: Share, Width: 12, Max: 1, Bad: .8, Help: "At 94 % what adds is refused. Runbook: UsherTenantNearItsStoredBytes.",
					Queries: []Query{query("{{tenant}}", "topk(10, max by (tenant) (usher_tenant_stored_bytes{@}) / max by (tenant) (usher_tenant_max_stored_bytes{@}))")}},
			}},
			{"In trouble", []Panel{
				{Title: "Refused by their rate limit", Kind: Lines, Unit: Requests, Width: 8, Help: "Requests that got 429. Raise requests_per_second and burst, or ask the tenant.",
					Queries: []Query{query("{{tenant}}", "topk(10, sum by (tenant) (rate(usher_tenant_rate_limited_total{@}[$__rate_interval])))")}},
				{Title: "Share of requests refused (4xx)", Kind: Lines, Unit: Share, Width: 8, Max: 1,
					Queries: []Query{query("{{tenant}}", `topk(10, sum by (tenant) (rate(usher_tenant_requests_total{@, status="4xx"}[$__rate_interval])) / sum by (tenant) (rate(usher_tenant_requests_total{@}[$__rate_interval])))`)}},
				{Title: "By status", Kind: Table, Unit: Count, Width: 8, Help: "Requests of the last hour.",
					Queries: []Query{query("", "topk(20, sum by (tenant, status) (increase(usher_tenant_requests_total{@}[1h])))")}},
			}},
			{"Keys and series", []Panel{
				{Title: "Oldest signing keys", Kind: Table, Unit: Seconds, Width: 12, Help: "How long a tenant's key has been signing. Runbook: UsherSigningKeyOverdue.",
					Queries: []Query{query("", "sort_desc(time() - max by (tenant) (usher_signing_key_active_timestamp_seconds{@}))")}},
				{Title: "Tenants with series of their own", Kind: Number, Unit: Count, Width: 6, Queries: []Query{query("", "max(usher_tenant_series{@})")}},
				{Title: "Counted as other", Kind: Lines, Unit: Requests, Width: 6, Help: "Requests of tenants that have no series of their own: raise --metrics-max-tenants if you need to tell them apart.",
					Queries: []Query{query("other", "sum(rate(usher_tenant_series_overflows_total{@}[$__rate_interval]))")}},
			}},
		},
	}
}
