//go:build !amd64

package token

func selectEntry(dst *entry, row *[multiples]entry, index uint8) { selectEntryAny(dst, row, index) }
