package token

import (
	"crypto/subtle"
	"encoding/binary"
	"sync"

	"filippo.io/edwards25519"
	"filippo.io/edwards25519/field"
)

// extended is a point of edwards25519 in extended coordinates (RFC 8032, section 5.1.4).
type extended struct{ x, y, z, t field.Element }

// A multiple of the base point is a sum of 43 multiples that are ready: a scalar has 253 bits, so 43 digits of six bits, each
// from −31 to 32. The library takes four bits at a time, from a table a quarter as large: half as many additions again.
const (
	digitBits  = 6
	digits     = 43
	multiples  = 1 << (digitBits - 1)
	entryBytes = 3 * 32
)

// entry is a point as an addition takes it: y+x, y−x and 2dxy, each as the field's 32 bytes.
type entry [entryBytes]byte

// baseTable has the multiples, 1 to 32 times, of 64^i times the base point. It has 129 KiB and is made in under a millisecond.
var baseTable = sync.OnceValue(makeBaseTable)

func makeBaseTable() *[digits][multiples]entry {
	var (
		table  [digits][multiples]entry
		points [digits * multiples]extended
	)
	first := edwards25519.NewGeneratorPoint()
	for i := range digits {
		point := edwards25519.NewIdentityPoint()
		for j := range multiples {
			x, y, z, t := point.Add(point, first).ExtendedCoordinates()
			points[i*multiples+j] = extended{*x, *y, *z, *t}
		}
		first.Add(point, point) // 32 times it, twice
	}
	makeAffine(points[:], make([]field.Element, len(points)+1))
	d2 := twiceD()
	for i := range points {
		table[i/multiples][i%multiples] = points[i].entry(&d2)
	}
	return &table
}

// makeAffine makes x and y of each point what they are where z is 1, and leaves z and t. It takes one inversion for
// all (Montgomery's trick); products is room for one more element than there are points.
func makeAffine(points []extended, products []field.Element) {
	products[0].One() // of all z before a point
	for i := range points {
		products[i+1].Multiply(&products[i], &points[i].z)
	}
	var rest, inverse field.Element // of the product of all z up to here, and of one
	rest.Invert(&products[len(points)])
	for i := len(points) - 1; i >= 0; i-- {
		p := &points[i]
		inverse.Multiply(&rest, &products[i])
		rest.Multiply(&rest, &p.z)
		p.x.Multiply(&p.x, &inverse)
		p.y.Multiply(&p.y, &inverse)
	}
}

// twiceD is 2d of the curve's equation, d being −121665/121666.
func twiceD() (d2 field.Element) {
	var one, above, below field.Element
	one.One()
	above.Negate(above.Mult32(&one, 2*121665))
	below.Invert(below.Mult32(&one, 121666))
	d2.Multiply(&above, &below)
	return d2
}

// entry is an affine point's.
func (p *extended) entry(d2 *field.Element) (e entry) {
	var sum, difference, product field.Element
	copy(e[0:], sum.Add(&p.y, &p.x).Bytes())
	copy(e[32:], difference.Subtract(&p.y, &p.x).Bytes())
	copy(e[64:], product.Multiply(product.Multiply(&p.x, &p.y), d2).Bytes())
	return e
}

// multiplyBase makes p the scalar times the base point, in the same time for every scalar, with the same memory read.
func (p *extended) multiplyBase(scalar *edwards25519.Scalar) {
	var digit [digits]int8
	defer clear(digit[:])
	recode(&digit, scalar)
	p.sum(baseTable(), &digit)
}

// sum makes p the sum of the multiples that the digits say.
func (p *extended) sum(table *[digits][multiples]entry, digit *[digits]int8) {
	*p = extended{}
	p.y.One()
	p.z.One()
	var e entry
	defer clear(e[:])
	for i := range table {
		negative := int(uint8(digit[i]) >> 7)
		size := uint8((int(digit[i]) ^ -negative) + negative)
		selectEntry(&e, &table[i], size)
		none := byte(subtle.ConstantTimeByteEq(size, 0)) // the point that changes nothing has y+x and y−x of 1
		e[0] |= none
		e[32] |= none
		p.add(&e, negative)
	}
}

// recode gives the digits of a scalar, the least first.
func recode(digit *[digits]int8, scalar *edwards25519.Scalar) {
	var padded [5 * 8]byte // little-endian; a scalar is below 2^253
	defer clear(padded[:])
	text := scalar.Bytes()
	defer clear(text)
	copy(padded[:], text)
	carry := uint8(0)
	for i := range digit {
		at := i * digitBits
		bits := binary.LittleEndian.Uint16(padded[at/8:]) >> (at % 8) & (1<<digitBits - 1)
		d := uint8(bits) + carry // at most 64
		carry = (d + multiples - 1) >> digitBits
		digit[i] = int8(d - carry<<digitBits)
	}
}

// selectEntryAny makes dst the entry whose place, counted from 1, is the index, and zeros for 0. It reads all.
func selectEntryAny(dst *entry, row *[multiples]entry, index uint8) {
	var words [entryBytes / 8]uint64
	for i := range row {
		mask := -uint64(subtle.ConstantTimeByteEq(uint8(i+1), index))
		for w := range words {
			words[w] |= mask & binary.LittleEndian.Uint64(row[i][8*w:])
		}
	}
	for w, word := range words {
		binary.LittleEndian.PutUint64(dst[8*w:], word)
	}
}

// add adds the entry's point, or its negative, by the formulas of RFC 8032, section 5.1.4, with Z2 = 1.
func (p *extended) add(q *entry, negative int) {
	var sum, difference, product, opposite field.Element
	// SetBytes takes any 32 bytes.
	_, _ = sum.SetBytes(q[0:32])
	_, _ = difference.SetBytes(q[32:64])
	_, _ = product.SetBytes(q[64:96])
	sum.Swap(&difference, negative)
	product.Select(opposite.Negate(&product), &product, negative)

	var a, b, c, d, e, f, g, h field.Element
	a.Multiply(a.Subtract(&p.y, &p.x), &difference)
	b.Multiply(b.Add(&p.y, &p.x), &sum)
	c.Multiply(&p.t, &product)
	d.Add(&p.z, &p.z)
	e.Subtract(&b, &a)
	f.Subtract(&d, &c)
	g.Add(&d, &c)
	h.Add(&b, &a)
	p.x.Multiply(&e, &f)
	p.y.Multiply(&g, &h)
	p.t.Multiply(&e, &h)
	p.z.Multiply(&f, &g)
}
