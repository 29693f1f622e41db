// Command bench measures Usher against its own limits, side by side in one run: go run ./cmd/bench.
//
// The gateway and every baseline run as processes of their own, the load comes from one more, and rounds of the two sides
// of a ratio take turns, so that a busy machine slows both. CPU is what the operating system has charged to a process.
// Every answer is checked, its status, its size and how it begins, and what was seated is counted again at the end.
//
//	main.go       flags, and which child this process is
//	goals.go      the goals and how a measurement is judged
//	house.go      starts gateways, their tenants, and the baselines
//	etcd.go       the real etcd server, as processes of its own
//	process.go    a child: start, CPU, stop
//	plan.go       what a load is, and how it is asked for
//	load.go       the child that makes it
//	baselines.go  the children that Usher is compared with
//	measure_*.go  one measurement each
//	growth.go     how a cost goes with the size, and by how much that is more than the work
//	report.go     the tables and the JSON; machine.go where they come from; picture.go the SVG and PNG
//
// What does not live here: micro-benchmarks, which stand beside the code that they are about (go test -bench).
package main
