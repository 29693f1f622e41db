package token

import "golang.org/x/sys/cpu"

// hasLanes is whether the processor has what multiplyBaseIFMA is written for: registers of 64 bytes (F), masks of a byte and to
// multiply 64 bits in each of their eight words (DQ), and to multiply 52 and add (IFMA).
var hasLanes = cpu.X86.HasAVX512F && cpu.X86.HasAVX512DQ && cpu.X86.HasAVX512IFMA

// multiplyBaseIFMA makes the points of all lanes the multiples of the base point that their digits say, in the same time
// for all digits, with the same memory read.
//
//go:noescape
func multiplyBaseIFMA(l *lanes, digit *laneDigits, table *laneTable)
