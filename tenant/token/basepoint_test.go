package token

import (
	"testing"

	"filippo.io/edwards25519"
	"pgregory.net/rapid"
)

// TestMultiplesOfTheBasePoint are those of the library, in each of the ways in which a processor may make them.
func TestMultiplesOfTheBasePoint(t *testing.T) {
	t.Parallel()
	var alone extended
	together, work := make([]extended, 1), newLaneWork()
	same := func(t rapid.TB, scalar *edwards25519.Scalar) {
		alone.multiplyBase(scalar)
		alone.mustBe(t, scalar)
		multiplyBase(together, []edwards25519.Scalar{*scalar}, &work)
		together[0].mustBe(t, scalar)
	}
	one, err := edwards25519.NewScalar().SetCanonicalBytes(append([]byte{1}, make([]byte, 31)...))
	if err != nil {
		t.Fatal(err)
	}
	up, down := edwards25519.NewScalar(), edwards25519.NewScalar()
	for range 5000 { // the least and the greatest, past the carries of two digits
		same(t, up)
		same(t, down)
		up.Add(up, one)
		down.Subtract(down, one)
	}
	rapid.Check(t, func(t *rapid.T) {
		scalar, err := edwards25519.NewScalar().SetUniformBytes(rapid.SliceOfN(rapid.Byte(), 64, 64).Draw(t, "scalar"))
		if err != nil {
			t.Fatal(err)
		}
		same(t, scalar)
	})
}

// mustBe holds the point against the library's multiple of the base point.
func (p *extended) mustBe(t rapid.TB, scalar *edwards25519.Scalar) {
	t.Helper()
	got, err := new(edwards25519.Point).SetExtendedCoordinates(&p.x, &p.y, &p.z, &p.t)
	if err != nil {
		t.Fatal(err)
	}
	if want := new(edwards25519.Point).ScalarBaseMult(scalar); got.Equal(want) != 1 {
		t.Fatalf("%x times the base point is %x, want %x", scalar.Bytes(), got.Bytes(), want.Bytes())
	}
}

// TestAnEntryIsSelectedByItsPlace, in each of the ways in which a processor may do it.
func TestAnEntryIsSelectedByItsPlace(t *testing.T) {
	t.Parallel()
	row := &baseTable()[7]
	for index := range uint8(multiples + 2) {
		var want, got, other entry
		if index > 0 && index <= multiples {
			want = row[index-1]
		}
		got[1], other[95] = 1, 1 // what was there is gone
		if selectEntry(&got, row, index); got != want {
			t.Errorf("entry %d is %x, want %x", index, got, want)
		}
		if selectEntryAny(&other, row, index); other != want {
			t.Errorf("without special registers entry %d is %x, want %x", index, other, want)
		}
	}
}

func BenchmarkBaseTable(b *testing.B) {
	for b.Loop() {
		makeBaseTable()
	}
}
