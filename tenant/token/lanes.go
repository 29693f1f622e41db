package token

import (
	"encoding/binary"
	"sync"

	"filippo.io/edwards25519"
	"filippo.io/edwards25519/field"
)

// multiplyBase makes each point its scalar times the base point, eight at once where the processor can.
func multiplyBase(points []extended, scalars []edwards25519.Scalar, work *laneWork) {
	for hasLanes && len(points) > 0 {
		n := min(len(points), laneCount)
		work.multiply(points[:n], scalars[:n])
		points, scalars = points[n:], scalars[n:]
	}
	for i := range points {
		points[i].multiplyBase(&scalars[i])
	}
}

const laneCount = 8

// laneElement is an element of the field for each lane, in words of 51 bits, the least first: word i of lane n is at [i][n].
type laneElement [5][laneCount]uint64

// lanes are eight points, and room for what an addition needs on the way: multiplyBaseIFMA knows where.
type lanes struct {
	x, y, z, t laneElement
	scratch    [7]laneElement
}

// laneDigits are the digits of eight scalars (see recode): multiplyBaseIFMA knows where.
type laneDigits struct {
	size     [digits][laneCount]uint8
	negative [digits]uint8 // a bit for each lane
}

// laneTable has the entries of a table word by word: word w of entry j of digit i is at [i][w][j], so that all entries of a
// digit are read and each lane takes the word of its own.
type laneTable [digits][entryBytes / 8][multiples]uint64

var baseLaneTable = sync.OnceValue(func() *laneTable { return makeLaneTable(makeBaseTable()) })

func makeLaneTable(from *[digits][multiples]entry) *laneTable {
	var table laneTable
	for i := range from {
		for j := range from[i] {
			for w := range table[i] {
				table[i][w][j] = binary.LittleEndian.Uint64(from[i][j][8*w:])
			}
		}
	}
	return &table
}

// laneWork is what it takes to multiply in lanes, kept for the next time.
type laneWork struct {
	*lanes // apart, so that it begins where a line of the cache does
	digits laneDigits
	text   [32]byte // of an element
}

func newLaneWork() laneWork {
	if !hasLanes {
		return laneWork{}
	}
	return laneWork{lanes: new(lanes)}
}

// multiply is multiplyBase for at most as many as there are lanes. It leaves nothing of the scalars behind.
func (w *laneWork) multiply(points []extended, scalars []edwards25519.Scalar) {
	defer func() { *w.lanes, w.digits, w.text = lanes{}, laneDigits{}, [32]byte{} }()
	var digit [digits]int8
	defer clear(digit[:])
	for lane := range scalars {
		recode(&digit, &scalars[lane])
		w.digits.set(lane, &digit)
	}
	multiplyBaseIFMA(w.lanes, &w.digits, baseLaneTable())
	for lane := range points {
		w.point(lane, &points[lane])
	}
}

// set gives the lane its digits, in the same time whatever they are.
func (d *laneDigits) set(lane int, digit *[digits]int8) {
	for i, one := range digit {
		negative := uint8(one) >> 7
		d.size[i][lane] = (uint8(one) ^ -negative) + negative
		d.negative[i] |= negative << lane
	}
}

// point makes p the lane's.
func (w *laneWork) point(lane int, p *extended) {
	w.element(&w.x, lane, &p.x)
	w.element(&w.y, lane, &p.y)
	w.element(&w.z, lane, &p.z)
	w.element(&w.t, lane, &p.t)
}

// element makes v the lane's.
func (w *laneWork) element(of *laneElement, lane int, v *field.Element) {
	const wordBits, mask = 51, 1<<51 - 1
	a, b, c, d, e := of[0][lane], of[1][lane], of[2][lane], of[3][lane], of[4][lane] // an array would stay on the stack
	// What the second round carries out of the last word fits into the first.
	for range 2 {
		b += a >> wordBits
		c += b >> wordBits
		d += c >> wordBits
		e += d >> wordBits
		a = a&mask + 19*(e>>wordBits)
		b, c, d, e = b&mask, c&mask, d&mask, e&mask
	}
	binary.LittleEndian.PutUint64(w.text[0:], a|b<<51)
	binary.LittleEndian.PutUint64(w.text[8:], b>>13|c<<38)
	binary.LittleEndian.PutUint64(w.text[16:], c>>26|d<<25)
	binary.LittleEndian.PutUint64(w.text[24:], d>>39|e<<12)
	_, _ = v.SetBytes(w.text[:]) // takes any 32 bytes
}
