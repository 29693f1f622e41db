// Package faults is the fault bench: three processes of etcd, three gateways, every link between them through a proxy of
// the bench's own, a workload of many tenants, and faults. Everything here is a test:
//
//	go test ./cmd/faults -faults.for 60s                   each fault alone, then random ones for a minute
//	go test ./cmd/faults -faults.for 20m -faults.seed 7    a long run that begins as another one did
//
// Without -faults.for only the checks themselves are tested. A failing run prints the command that repeats it.
//
// What is run (processes): process_test.go, etcd_test.go, gateway_test.go; the links between them: link_test.go. What is asked of
// it (workload): workload_test.go, calls_test.go, settings_test.go. What must hold (checks): witness_test.go at every revision
// of the log, answers_test.go for every answer, linear_test.go for histories of rooms and settings, index_test.go for the
// gateways' indexes, leak_test.go for what they hold. Workload and check of one promise each: names_test.go, credentials_test.go,
// stored_test.go. Whether the checks find what is wrong: witness_check_test.go. What is done to it (faults): faults_test.go, log_test.go, full_test.go.
//
// What does not live here: faults that need no process of their own, which are tested where the code is that meets them
// (store, gateway).
package faults
