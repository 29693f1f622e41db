package token

import (
	"bytes"
	"math/big"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"filippo.io/edwards25519"
	"filippo.io/edwards25519/field"
	"pgregory.net/rapid"
)

// TestMultiplesMadeTogether are those of the library, for any number of them.
func TestMultiplesMadeTogether(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		scalars := make([]edwards25519.Scalar, rapid.IntRange(0, 2*laneCount+1).Draw(t, "scalars"))
		for i := range scalars {
			if _, err := scalars[i].SetUniformBytes(rapid.SliceOfN(rapid.Byte(), 64, 64).Draw(t, "scalar")); err != nil {
				t.Fatal(err)
			}
		}
		points, work := make([]extended, len(scalars)), newLaneWork()
		multiplyBase(points, scalars, &work)
		for i := range points {
			points[i].mustBe(t, &scalars[i])
		}
		if work.lanes != nil && (*work.lanes != lanes{} || work.digits != laneDigits{} || work.text != [32]byte{}) {
			t.Fatal("something of the scalars was left behind")
		}
	})
}

// TestLanesCarry what is too much for a word, however large the words are: entries need not be points for that, and an
// addition in lanes gives what the library's arithmetic gives.
func TestLanesCarry(t *testing.T) {
	t.Parallel()
	if !hasLanes {
		t.Skip("the processor has none")
	}
	extremes := [][]byte{
		make([]byte, 32),                                                      // 0
		append([]byte{1}, make([]byte, 31)...),                                // 1
		append(bytes.Repeat([]byte{0xff}, 31), 0x7f),                          // 2^255 - 1: as much as there can be in each word
		append([]byte{0xec}, append(bytes.Repeat([]byte{0xff}, 30), 0x7f)...), // p - 1
	}
	rapid.Check(t, func(t *rapid.T) {
		element := rapid.OneOf(rapid.SampledFrom(extremes), rapid.Map(rapid.SliceOfN(rapid.Byte(), 32, 32), func(b []byte) []byte {
			b = bytes.Clone(b)
			b[31] &= 0x7f
			return b
		}))
		few := rapid.SliceOfN(element, 1, 9).Draw(t, "elements")
		var table [digits][multiples]entry
		next := 0
		for i := range table {
			for j := range table[i] {
				for at := 0; at < entryBytes; at += 32 {
					copy(table[i][j][at:], few[next%len(few)])
					next++
				}
			}
		}
		work := newLaneWork()
		*work.lanes = littered()
		var digit [laneCount][digits]int8
		for lane := range digit {
			for i := range digit[lane] {
				digit[lane][i] = rapid.Int8Range(1-multiples, multiples).Draw(t, "digit")
			}
			work.digits.set(lane, &digit[lane])
		}
		multiplyBaseIFMA(work.lanes, &work.digits, makeLaneTable(&table))
		for lane := range digit {
			var got, want extended
			work.point(lane, &got)
			want.sum(&table, &digit[lane])
			if got.x.Equal(&want.x)&got.y.Equal(&want.y)&got.z.Equal(&want.z)&got.t.Equal(&want.t) != 1 {
				t.Fatalf("lane %d is %x %x %x %x, want %x %x %x %x", lane, got.x.Bytes(), got.y.Bytes(), got.z.Bytes(), got.t.Bytes(),
					want.x.Bytes(), want.y.Bytes(), want.z.Bytes(), want.t.Bytes())
			}
		}
	})
}

// littered is room in which others have left something.
func littered() (l lanes) {
	var full laneElement
	for i := range full {
		for lane := range full[i] {
			full[i][lane] = 0x5555_5555_5555_5555
		}
	}
	l.x, l.y, l.z, l.t = full, full, full, full
	for i := range l.scratch {
		l.scratch[i] = full
	}
	return l
}

// TestElementsOfLanes are what their words say, also where these are near to a carry.
func TestElementsOfLanes(t *testing.T) {
	t.Parallel()
	words := []uint64{0, 1, 18, 19, 1<<51 - 20, 1<<51 - 19, 1<<51 - 18, 1<<51 - 1, 1 << 51, 1<<51 + 18, 1<<51 + 1<<13}
	p := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))
	var work laneWork
	var of laneElement
	for places := range len(words) * len(words) * len(words) * len(words) * len(words) {
		lane, want := places%laneCount, new(big.Int)
		for i := range of {
			of[i][lane] = words[places%len(words)]
			places /= len(words)
			want.Add(want, new(big.Int).Lsh(new(big.Int).SetUint64(of[i][lane]), uint(51*i)))
		}
		var got field.Element
		work.element(&of, lane, &got)
		text := got.Bytes()
		slices.Reverse(text)
		if new(big.Int).SetBytes(text).Cmp(want.Mod(want, p)) != 0 {
			t.Fatalf("words %v are %x", of, text)
		}
	}
}

// TestLanesAreUsed where the processor has them: everything else would go on without.
func TestLanesAreUsed(t *testing.T) {
	t.Parallel()
	told, err := os.ReadFile("/proc/cpuinfo")
	if err != nil || runtime.GOARCH != "amd64" || strings.Contains(os.Getenv("GODEBUG"), "cpu.") {
		t.Skip("nothing tells what the processor has")
	}
	has := true
	for _, feature := range []string{" avx512f ", " avx512dq ", " avx512ifma "} {
		has = has && strings.Contains(string(told), feature)
	}
	if has != hasLanes {
		t.Errorf("the processor has lanes: %t, and they are used: %t", has, hasLanes)
	}
}

func BenchmarkMultiplyBase(b *testing.B) {
	var scalars [laneCount]edwards25519.Scalar
	var points [laneCount]extended
	work := newLaneWork()
	for _, n := range []int{1, 3, laneCount} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			for b.Loop() {
				multiplyBase(points[:n], scalars[:n], &work)
			}
		})
	}
}
