package main

import (
	"fmt"
	"strconv"
)

// line is how a cost goes with the number of participants, or of tenants.
type line struct {
	goal           // of its growth
	By     string  `json:"by"`
	Name   string  `json:"name"`
	Cost   string  `json:"cost"` // what is measured at each size
	In     string  `json:"cost_unit"`
	Total  bool    `json:"total"` // of all there is; otherwise of one call, whatever there is
	Points []point `json:"points"`
}

// point is what was measured at one size.
type point struct {
	N      int       `json:"n"`
	Rounds []float64 `json:"rounds"`
}

func (l *line) add(n int, measured float64) {
	if last := len(l.Points) - 1; last < 0 || l.Points[last].N != n {
		l.Points = append(l.Points, point{N: n})
	}
	p := &l.Points[len(l.Points)-1]
	p.Rounds = append(p.Rounds, measured)
}

// growth is by how much a cost has grown more than the work, round by round. The work of a call is the same at every size,
// so its cost at the largest is compared with that at the smallest. The work of a total is proportional to what there is,
// so the share of each is compared, at the largest size with the middle one: at the smallest it is lost in what is there
// anyway.
func (l line) growth() (f figure, err error) {
	f.goal = l.goal
	if len(l.Points) != 3 {
		return f, fmt.Errorf("%s was measured at %d sizes, not 3", l.ID, len(l.Points))
	}
	from, to, work := l.Points[0], l.Points[2], 1.0
	if l.Total {
		from = l.Points[1]
		work = float64(to.N) / float64(from.N)
	}
	for i := range to.Rounds {
		f.add(to.Rounds[i] / from.Rounds[i] / work)
	}
	for _, p := range l.Points {
		f.Context = append(f.Context, number{"at " + thousands(p.N), l.In, p.Rounds})
	}
	return f, nil
}

func (l line) header() []string {
	cells := []string{"cost by number of " + l.By}
	for _, p := range l.Points {
		cells = append(cells, thousands(p.N))
	}
	return append(cells, "growth")
}

func (l line) row() []string {
	cells := []string{l.Cost}
	for _, p := range l.Points {
		cells = append(cells, format(median(p.Rounds), l.In))
	}
	if f, err := l.growth(); err == nil && l.Bound != 0 {
		return append(cells, format(f.median(), "×"))
	}
	return append(cells, "–")
}

// thousands writes a number as people read it: 1 000 000.
func thousands(n int) string {
	text := strconv.Itoa(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + " " + text[i:]
	}
	return text
}
