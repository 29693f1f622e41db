package main

import (
	"bytes"
	"image/color"
	"io"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgsvg"
)

var (
	ink   = color.RGBA{0x24, 0x2b, 0x33, 0xff}
	faint = color.RGBA{0x6b, 0x72, 0x80, 0xff}
	rule  = color.RGBA{0xe5, 0xe7, 0xeb, 0xff}
	good  = color.RGBA{0x0f, 0x76, 0x6e, 0xff}
	bad   = color.RGBA{0xc2, 0x41, 0x0c, 0xff}

	dashed = draw.LineStyle{Color: ink, Width: 1.2, Dashes: []vg.Length{4, 3}}

	// Told apart by people who see colours differently too: Okabe and Ito's.
	hues = []color.RGBA{
		{0x00, 0x72, 0xb2, 0xff}, {0xd5, 0x5e, 0x00, 0xff}, {0x00, 0x9e, 0x73, 0xff}, {0xcc, 0x79, 0xa7, 0xff}, {0xe6, 0x9f, 0x00, 0xff}, {0x56, 0xb4, 0xe9, 0xff},
	}
)

const (
	pictureWidth  = 11.5 * vg.Inch
	goalHeight    = 16 // points, of a row
	panelHeight   = 3 * vg.Inch
	headHeight    = 46
	footHeight    = 24
	margin        = 14
	dotsPerInch   = 120
	rightmost     = 2.0 // times the bound; what is beyond is drawn there, and its number says it
	goalPanelHead = 50  // the axis below, and space
)

// picture draws the goals on one scale, and below them how costs grow.
func (r report) picture(kind string) ([]byte, error) {
	var bounded []figure
	for _, f := range r.Figures {
		if f.Bound != 0 {
			bounded = append(bounded, f)
		}
	}
	var panels [][]*plot.Plot
	for _, by := range []string{"participants", "tenants"} {
		pair, err := growthPanels(by, r.Growth)
		if err != nil {
			return nil, err
		}
		if pair != nil {
			panels = append(panels, pair)
		}
	}
	goalsHeight := vg.Length(0)
	if len(bounded) > 0 {
		goalsHeight = vg.Length(len(bounded)*goalHeight + goalPanelHead)
	}
	height := headHeight + goalsHeight + panelHeight*vg.Length(len(panels)) + footHeight
	canvas, encode := newCanvas(kind, height)
	all := draw.New(canvas)
	all.FillPolygon(color.White, []vg.Point{{}, {X: pictureWidth}, {X: pictureWidth, Y: height}, {Y: height}})
	write(all, margin, height-20, 15, ink, "Usher against its goals")
	write(all, margin, height-36, 9, faint, "Median and range of each measurement as a share of its bound: what is left of the line is met.")
	write(all, margin, 9, 7.5, faint, r.origin())
	if len(bounded) > 0 {
		p, err := goalPanel(bounded)
		if err != nil {
			return nil, err
		}
		p.Draw(draw.Crop(all, margin, -margin, footHeight+panelHeight*vg.Length(len(panels)), -headHeight))
	}
	if len(panels) > 0 {
		below := draw.Crop(all, margin, -margin, footHeight, -headHeight-goalsHeight)
		tiles := draw.Tiles{Rows: len(panels), Cols: 2, PadX: 22, PadY: 14, PadTop: 10}
		for y, row := range panels {
			for x, p := range row {
				p.Draw(tiles.At(below, x, y))
			}
		}
	}
	var b bytes.Buffer
	_, err := encode.WriteTo(&b)
	return b.Bytes(), err
}

func newCanvas(kind string, height vg.Length) (vg.CanvasSizer, io.WriterTo) {
	if kind == "svg" {
		c := vgsvg.New(pictureWidth, height)
		return c, c
	}
	c := vgimg.NewWith(vgimg.UseWH(pictureWidth, height), vgimg.UseDPI(dotsPerInch))
	return c, vgimg.PngCanvas{Canvas: c}
}

func styled(size vg.Length, c color.Color) text.Style {
	f := plot.DefaultFont
	f.Typeface, f.Variant, f.Size = "Liberation", "Sans", size
	return text.Style{Color: c, Font: f, Handler: plot.DefaultTextHandler}
}

func write(c draw.Canvas, x, y, size vg.Length, of color.Color, what string) {
	c.FillText(styled(size, of), vg.Point{X: x, Y: y}, what)
}

// newPlot is one in the style of the picture.
func newPlot(title, x string) *plot.Plot {
	p := plot.New()
	p.Title.Text, p.Title.Padding = title, 6
	p.Title.TextStyle.Font, p.Title.TextStyle.Color = styled(10, ink).Font, ink
	for _, axis := range []*plot.Axis{&p.X, &p.Y} {
		axis.Label.TextStyle.Font, axis.Label.TextStyle.Color = styled(8.5, faint).Font, faint
		axis.Tick.Label.Font, axis.Tick.Label.Color = styled(8.5, ink).Font, ink
		axis.Color, axis.Tick.Color = rule, rule
	}
	p.X.Label.Text, p.Legend.TextStyle = x, styled(8.5, ink)
	p.Legend.Padding = 3
	grid := plotter.NewGrid()
	grid.Vertical.Color, grid.Horizontal.Color = rule, rule
	grid.Vertical.Dashes, grid.Horizontal.Dashes = nil, nil
	p.Add(grid)
	return p
}

// share is what was measured in bounds: at most 1 is met, also where the bound is the least.
func (g goal) share(v float64) float64 {
	share := v / g.Bound
	if g.Least {
		share = g.Bound / v
	}
	return min(share, rightmost)
}

// goalPanel draws each goal in a row: a point for the median, a line from the least to the most, and the numbers.
func goalPanel(figures []figure) (*plot.Plot, error) {
	p := newPlot("", "")
	labels := make([]string, len(figures))
	sides := map[bool]*spreads{true: {}, false: {}}
	var numbers plotter.XYLabels
	for i, f := range figures {
		row := float64(len(figures) - 1 - i) // from the top down
		labels[int(row)] = f.Label + "   " + f.ID
		low, high := f.share(slices.Min(f.Rounds)), f.share(slices.Max(f.Rounds))
		low, high = min(low, high), max(low, high)
		middle := f.share(f.median())
		sides[f.met()].add(middle, row, middle-low, high-middle)
		numbers.XYs = append(numbers.XYs, plotter.XY{X: rightmost + .06, Y: row})
		numbers.Labels = append(numbers.Labels, format(f.median(), f.Unit)+"   ("+f.bound()+")")
	}
	for met, side := range sides {
		if len(side.XYs) == 0 {
			continue
		}
		c := bad
		if met {
			c = good
		}
		bars, err := plotter.NewXErrorBars(side)
		if err != nil {
			return nil, err
		}
		bars.LineStyle, bars.CapWidth = draw.LineStyle{Color: c, Width: 1.4}, 5
		points, err := plotter.NewScatter(side)
		if err != nil {
			return nil, err
		}
		points.GlyphStyle = draw.GlyphStyle{Color: c, Radius: 3.4, Shape: draw.CircleGlyph{}}
		p.Add(bars, points)
	}
	bound, err := plotter.NewLine(plotter.XYs{{X: 1, Y: -.6}, {X: 1, Y: float64(len(figures)) - .4}})
	if err != nil {
		return nil, err
	}
	bound.LineStyle = dashed
	written, err := plotter.NewLabels(numbers)
	if err != nil {
		return nil, err
	}
	for i, f := range figures {
		c := bad
		if f.met() {
			c = good
		}
		written.TextStyle[i] = styled(8.5, c)
		written.TextStyle[i].YAlign = draw.YCenter
	}
	p.Add(bound, written)
	p.NominalY(labels...)
	p.Y.Tick.Label.XAlign = draw.XRight
	p.Y.Min, p.Y.Max, p.X.Min, p.X.Max = -.6, float64(len(figures))-.4, 0, rightmost+.06
	p.X.Tick.Marker = plot.ConstantTicks{{Value: 0, Label: "0"}, {Value: .5, Label: "0.5×"}, {Value: 1, Label: "the bound"}, {Value: 1.5, Label: "1.5×"}, {Value: rightmost, Label: "2× and more"}}
	return p, nil
}

// spreads are points with what lies to their left and right.
type spreads struct {
	plotter.XYs
	plotter.XErrors
}

func (s *spreads) add(x, y, left, right float64) {
	s.XYs = append(s.XYs, plotter.XY{X: x, Y: y})
	s.XErrors = append(s.XErrors, struct{ Low, High float64 }{left, right})
}

// growthPanels draws on the left what a call costs, and on the right the totals, as times what they are at the smallest size.
func growthPanels(by string, lines []line) ([]*plot.Plot, error) {
	var calls, totals []line
	for _, l := range lines {
		switch {
		case l.By != by || len(l.Points) == 0 || median(l.Points[0].Rounds) <= 0:
		case l.Total:
			totals = append(totals, l)
		default:
			calls = append(calls, l)
		}
	}
	if len(calls) == 0 || len(totals) == 0 {
		return nil, nil
	}
	left, top, err := growthPanel("CPU of one call, while there are ever more "+by, calls)
	if err != nil {
		return nil, err
	}
	left.Y.Min, left.Y.Max = 0, 1.7*max(callGrowth, top) // the legend is above
	left.Y.Tick.Marker = plot.ConstantTicks{{Value: 0, Label: "0"}, {Value: 1, Label: "1×"}, {Value: 2, Label: "2×"}, {Value: 3, Label: "3×"}}
	right, top, err := growthPanel("All "+by+" together", totals)
	if err != nil {
		return nil, err
	}
	right.Y.Scale, right.Y.Min = plot.LogScale{}, .5
	sizes := totals[0].Points
	work := float64(sizes[len(sizes)-1].N) / float64(sizes[0].N)
	right.Y.Max = 30 * max(work, top) // the legend is above here too
	right.Y.Tick.Marker = tens(right.Y.Max)
	first, last := float64(sizes[0].N), float64(sizes[len(sizes)-1].N)
	for _, panel := range []struct {
		*plot.Plot
		name string
		ends [2]float64
	}{{left, "the bound", [2]float64{callGrowth, callGrowth}}, {right, "as fast as the work", [2]float64{1, work}}} {
		bound, err := plotter.NewLine(plotter.XYs{{X: first, Y: panel.ends[0]}, {X: last, Y: panel.ends[1]}})
		if err != nil {
			return nil, err
		}
		bound.LineStyle = dashed
		panel.Add(bound)
		panel.Legend.Add(panel.name, bound)
	}
	return []*plot.Plot{left, right}, nil
}

func growthPanel(title string, lines []line) (p *plot.Plot, top float64, err error) {
	p = newPlot(title, lines[0].By)
	p.Y.Label.Text = "times that at the smallest"
	p.X.Scale = plot.LogScale{}
	p.Legend.Top, p.Legend.Left, p.Legend.XOffs, p.Legend.YOffs = true, true, 8, -2
	var sizes plot.ConstantTicks
	for i, l := range lines {
		sizes = nil
		var points plotter.XYs
		for _, at := range l.Points {
			y := median(at.Rounds) / median(l.Points[0].Rounds)
			sizes = append(sizes, plot.Tick{Value: float64(at.N), Label: thousands(at.N)})
			points, top = append(points, plotter.XY{X: float64(at.N), Y: y}), max(top, y)
		}
		drawn, dots, err := plotter.NewLinePoints(points)
		if err != nil {
			return nil, 0, err
		}
		hue := hues[i%len(hues)]
		drawn.LineStyle = draw.LineStyle{Color: hue, Width: 1.8}
		dots.GlyphStyle = draw.GlyphStyle{Color: hue, Radius: 3, Shape: draw.CircleGlyph{}}
		p.Add(drawn, dots)
		p.Legend.Add(l.Name, drawn, dots)
	}
	p.X.Tick.Marker = sizes
	return p, top, nil
}

// tens are the marks of a logarithmic scale from 1 on.
func tens(most float64) (ticks plot.ConstantTicks) {
	for n := 1; float64(n) <= most; n *= 10 {
		ticks = append(ticks, plot.Tick{Value: float64(n), Label: thousands(n) + "×"})
	}
	return ticks
}
