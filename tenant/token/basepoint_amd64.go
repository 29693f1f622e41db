package token

import "golang.org/x/sys/cpu"

// selectEntry is selectEntryAny, by the processor's registers of 32 bytes where it has them.
func selectEntry(dst *entry, row *[multiples]entry, index uint8) {
	if cpu.X86.HasAVX2 {
		selectEntryAVX2(dst, row, index)
		return
	}
	selectEntryAny(dst, row, index)
}

//go:noescape
func selectEntryAVX2(dst *entry, row *[multiples]entry, index uint8)
