// Package usher holds what every floor of the house shares: the one error type and its table of codes.
//
// The house, from the street down; arrows run down only (house_test.go keeps them):
//
//	cmd/usher        the binary: serve, and the command line        wires, decides nothing
//	   │
//	gateway          the HTTP surface                              knows no etcd
//	   │
//	participants     a seat: add, bulk, list, remove, refresh      knows no HTTP
//	   │
//	rooms            a run of a call: lifecycle, admission
//	   │
//	tenant           who everything belongs to: settings, keys, tokens
//	   │
//	store            the log (etcd) and the index (memdb), one writer
//
// observability is built once and handed down. What lives here must be usable by all of them, so this package imports
// nothing of the house.
package usher
