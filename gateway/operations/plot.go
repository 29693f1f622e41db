package operations

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// plot is a small picture of the last minutes: lines over time, in units of the picture.
type plot struct {
	Title  string
	Unit   string
	Most   string // the value at the top
	Lines  []plotLine
	Height float64
	Width  float64
}

type plotLine struct {
	Name   string
	Class  string // of the style sheet
	Points string // of an SVG polyline
	Last   string // the newest value
}

const plotWidth, plotHeight = 320, 64

// series is a line before it is drawn: a value for each time but the first, which has nothing before it.
type series struct {
	name, class string
	value       func(now, before sample) float64
}

// draw makes the picture of the samples. Values are shown by show.
func draw(title, unit string, samples []sample, show func(float64) string, lines ...series) plot {
	p := plot{Title: title, Unit: unit, Width: plotWidth, Height: plotHeight}
	most := 0.0
	values := make([][]float64, len(lines))
	for i, line := range lines {
		for j := 1; j < len(samples); j++ {
			v := line.value(samples[j], samples[j-1])
			values[i] = append(values[i], v)
			most = max(most, v)
		}
	}
	p.Most = show(most)
	for i, line := range lines {
		drawn := plotLine{Name: line.name, Class: line.class, Last: show(0)}
		if n := len(values[i]); n > 0 {
			drawn.Last = show(values[i][n-1])
			drawn.Points = points(values[i], samples[1:], most)
		}
		p.Lines = append(p.Lines, drawn)
	}
	return p
}

// points places the values by their time: the right edge is now, the left is remembered ago.
func points(values []float64, samples []sample, most float64) string {
	var b strings.Builder
	now := samples[len(samples)-1].at
	for i, v := range values {
		x := plotWidth * (1 - now.Sub(samples[i].at).Seconds()/remembered.Seconds())
		y := plotHeight - 2.0
		if most > 0 {
			y -= (plotHeight - 4) * v / most
		}
		b.WriteString(strconv.FormatFloat(x, 'f', 1, 64))
		b.WriteByte(',')
		b.WriteString(strconv.FormatFloat(y, 'f', 1, 64))
		b.WriteByte(' ')
	}
	return b.String()
}

// perSecond is how fast a counter rose between two samples. One that fell was begun anew.
func perSecond(now, before float64, took time.Duration) float64 {
	if took <= 0 || now < before {
		return 0
	}
	return (now - before) / took.Seconds()
}

func showRate(v float64) string {
	switch {
	case v == 0:
		return "0"
	case v < 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(math.Round(v), 'f', 0, 64)
}

func showSeconds(v float64) string {
	switch {
	case v == 0:
		return "–"
	case v < .01:
		return strconv.FormatFloat(v*1000, 'f', 1, 64) + " ms"
	case v < 1:
		return strconv.FormatFloat(v*1000, 'f', 0, 64) + " ms"
	}
	return strconv.FormatFloat(v, 'f', 1, 64) + " s"
}

func showBytes(v float64) string {
	for _, unit := range []string{"B", "KiB", "MiB", "GiB"} {
		if v < 1024 || unit == "GiB" {
			return strconv.FormatFloat(v, 'f', 0, 64) + " " + unit
		}
		v /= 1024
	}
	return ""
}
