package main

import (
	"bytes"
	"encoding/json"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// found is a report as a run makes it, with each kind of figure in it.
func found() report {
	met, missed := figure{goal: g1}, figure{goal: g2}
	context := figure{goal: c1}
	for i := range 5 {
		met.add(1.5+.1*float64(i), of("add", 210+float64(i), "µs"), of("bare", 120, "µs"))
		missed.add(.3 + .01*float64(i))
		context.add(2000 + float64(i))
	}
	r := report{
		Began: time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC), Took: 61.5, Machine: machine{Cores: 2, Go: "go1.26", Usher: "usher v1"},
		Figures: []figure{met, missed, context}, Unknown: []unknown{{"G13", "no livekit-server"}}, Failures: []unknown{{"index", "it broke"}},
	}
	for _, by := range []string{"participants", "tenants"} {
		g := growing{name: by}
		g.newLines("G14")
		for _, l := range g.lines() {
			for i, n := range []int{1000, 100_000, 1_000_000} {
				l.add(n, 100+float64(i))
				if l.Total {
					l.Points[i].Rounds[0] = float64(n) / 1000
				}
			}
			r.Growth = append(r.Growth, *l)
		}
	}
	return r
}

func TestTheMedianIsTheMiddleOne(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		of   []float64
		want float64
	}{{[]float64{3}, 3}, {[]float64{9, 1, 5}, 5}, {[]float64{4, 1, 3, 2}, 2.5}} {
		if got := median(c.of); got != c.want {
			t.Errorf("median(%v) = %v, want %v", c.of, got, c.want)
		}
	}
}

func TestAPercentileIsWhatSoManyWereFasterThan(t *testing.T) {
	t.Parallel()
	var hundred []time.Duration
	for i := range 100 {
		hundred = append(hundred, time.Duration(i))
	}
	for _, c := range []struct {
		of    []time.Duration
		share float64
		want  time.Duration
	}{{nil, .5, 0}, {hundred, .5, 50}, {hundred, .99, 99}, {hundred, 1, 99}, {hundred[:1], .99, 0}} {
		if got := percentile(c.of, c.share); got != c.want {
			t.Errorf("percentile of %d at %v = %v, want %v", len(c.of), c.share, got, c.want)
		}
	}
}

func TestAFigureIsJudgedByItsMedian(t *testing.T) {
	t.Parallel()
	most, least := goal{ID: "most", Unit: "×", Bound: 2}, goal{ID: "least", Unit: "×", Bound: 2, Least: true}
	for _, c := range []struct {
		goal   goal
		rounds []float64
		want   string
	}{
		{most, []float64{1, 2, 9}, "yes"}, {most, []float64{1, 2.1, 9}, "NO"}, {most, nil, "NO"},
		{least, []float64{1, 2, 9}, "yes"}, {least, []float64{1, 1.9, 9}, "NO"}, {least, nil, "NO"},
		{goal{ID: "context"}, []float64{1}, "–"},
	} {
		if got := (figure{goal: c.goal, Rounds: c.rounds}).verdict(); got != c.want {
			t.Errorf("%s with %v: %s, want %s", c.goal.ID, c.rounds, got, c.want)
		}
	}
}

// A share is at most 1 just where the goal is met, so that the picture and the table say the same.
func TestTheShareOfABoundSaysWhetherItIsMet(t *testing.T) {
	t.Parallel()
	for _, g := range []goal{g1, g2, g7c, g10a} {
		for _, v := range []float64{.01, .2, .349, .35, 1, 1.8, 1.801, 4, 5, 999, 1000, 1001} {
			if met := g.share(v) <= 1; met != g.met(v) {
				t.Errorf("%s at %v: the share is %v, met is %v", g.ID, v, g.share(v), g.met(v))
			}
		}
	}
}

func TestGrowthIsWhatACostGrowsMoreThanTheWork(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		total bool
		costs [3]float64
		want  float64
	}{
		{"a call that costs the same", false, [3]float64{50, 70, 50}, 1},
		{"a call that costs three times as much", false, [3]float64{50, 70, 150}, 3},
		{"a total that grows with the number", true, [3]float64{5, 10, 100}, 1},
		{"a total that grows with its square", true, [3]float64{5, 10, 1000}, 10},
	} {
		l := line{goal: goal{ID: "G", Unit: "×", Bound: 2}, Total: c.total}
		for i, n := range []int{1000, 100_000, 1_000_000} {
			l.add(n, c.costs[i])
		}
		f, err := l.growth()
		if err != nil || math.Abs(f.median()-c.want) > 1e-9 {
			t.Errorf("%s: %v, %v, want %v", c.name, f.median(), err, c.want)
		}
	}
	if _, err := (line{Points: []point{{1, []float64{1}}}}).growth(); err == nil {
		t.Error("one size has a growth")
	}
}

func TestAReportComesBackFromItsJSON(t *testing.T) {
	t.Parallel()
	r := found()
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var back report
	if err := json.Unmarshal(text, &back); err != nil || !reflect.DeepEqual(back, r) {
		t.Errorf("it comes back as %+v, %v\nfrom %s", back, err, text)
	}
	for _, want := range []string{`"id":"G1"`, `"bound":1.8`, `"median":1.7`, `"min":1.5`, `"max":1.9`, `"met":true`, `"met":false`, `"cores":2`} {
		if !bytes.Contains(text, []byte(want)) {
			t.Errorf("there is no %s in %s", want, text)
		}
	}
}

func TestTheTablesNameWhatIsMissed(t *testing.T) {
	t.Parallel()
	var terminal bytes.Buffer
	if err := found().table(&terminal); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"terminal": terminal.String(), "markdown": found().markdown()} {
		for _, want := range []string{"1.70×", "≥ 0.35×", "not met: G2", "FAILED: index: it broke", "Not measured: G13: no livekit-server", "1 000 000", "bare 120 µs"} {
			if !strings.Contains(text, want) {
				t.Errorf("%s: there is no %q in\n%s", name, want, text)
			}
		}
	}
}

func TestThePictureIsDrawn(t *testing.T) {
	t.Parallel()
	whole, nothing := found(), report{}
	for name, r := range map[string]report{"whole": whole, "nothing": nothing, "no growth": {Figures: whole.Figures}, "growth alone": {Growth: whole.Growth}} {
		drawn, err := r.picture("png")
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if image, err := png.Decode(bytes.NewReader(drawn)); err != nil || image.Bounds().Dx() < 1000 {
			t.Errorf("%s: not a picture: %v", name, err)
		}
		svg, err := r.picture("svg")
		if err != nil || !bytes.Contains(svg, []byte("<svg")) || !bytes.Contains(svg, []byte("Usher against its goals")) {
			t.Errorf("%s: not a picture: %v\n%.200s", name, err, svg)
		}
	}
	svg, err := whole.picture("svg")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"add: CPU   G1", "1.70×", "settings change", "1 000 000"} {
		if !bytes.Contains(svg, []byte(want)) {
			t.Errorf("there is no %q in the picture", want)
		}
	}
}

func TestTheFlags(t *testing.T) {
	t.Parallel()
	o, err := parse([]string{"--quick", "--only", "growth,cluster", "--out", "x"})
	if err != nil || o.Rounds != 3 || o.Each != 700*time.Millisecond || !reflect.DeepEqual(o.Only, []string{"growth", "cluster"}) {
		t.Errorf("%+v, %v", o, err)
	}
	if o, err := parse([]string{"--quick", "--rounds", "2"}); err != nil || o.Rounds != 2 {
		t.Errorf("what was asked for is not what is done: %+v, %v", o, err)
	}
	for _, args := range [][]string{{"--only", "nothing"}, {"quick"}, {"--rounds", "0"}, {"--each", "-1s"}} {
		if _, err := parse(args); err == nil {
			t.Errorf("%v is taken", args)
		}
	}
}

func TestWhatCannotBeWrittenIsFoundAtOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, o := range []options{{Out: file}, {Profiles: filepath.Join(file, "x")}, {JSON: filepath.Join(file, "x.json")}, {LiveKit: filepath.Join(dir, "none")}} {
		if o.prepare() == nil {
			t.Errorf("%+v is taken", o)
		}
	}
	o := options{Out: filepath.Join(dir, "a", "b"), Profiles: filepath.Join(dir, "c"), JSON: filepath.Join(dir, "d", "x.json"), LiveKit: file}
	if err := o.prepare(); err != nil {
		t.Fatal(err)
	}
	for _, made := range []string{o.Out, o.Profiles, filepath.Dir(o.JSON)} {
		if info, err := os.Stat(made); err != nil || !info.IsDir() {
			t.Errorf("%s is not there: %v", made, err)
		}
	}
}

// Who is refused is not fast: a refused add counts as one that took as long as the whole of what was timed.
func TestARefusedAddIsNotAFastOne(t *testing.T) {
	t.Parallel()
	o := outcome{Took: time.Minute}
	for i := range 100 {
		o.Latencies = append(o.Latencies, time.Duration(i)*time.Millisecond)
	}
	o.Answers = len(o.Latencies)
	for _, c := range []struct {
		refused int
		share   float64
		want    float64
	}{{0, .5, .05}, {0, .99, .099}, {1, .99, .099}, {2, .99, 60}, {100, .5, 60}, {98, .5, .099}} {
		o.Refused = c.refused
		if got := seconds(o, c.share); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("%d refused: the percentile at %v is %v s, want %v", c.refused, c.share, got, c.want)
		}
	}
}

// A round goes on until it has samples enough, and not for ever.
func TestARoundGoesOnUntilItHasEnough(t *testing.T) {
	t.Parallel()
	h := &harness{quick: true}
	s := h.sampling(0)
	if s.ended(0) || s.ended(leastSamplesQuick-1) {
		t.Error("it ends with too few")
	}
	if !s.ended(leastSamplesQuick) {
		t.Error("it goes on with enough")
	}
	s.last = time.Now()
	if !s.ended(0) {
		t.Error("it goes on for ever")
	}
	var said int
	h.say = func(string, ...any) { said++ }
	if h.enough("x", 0, 20) == nil || h.enough("x", 19, 20) != nil || said != 1 || h.enough("x", 20, 20) != nil || said != 1 {
		t.Errorf("it has said %d times that there are too few", said)
	}
	if h := (&harness{}); h.sampling(time.Hour).ended(1<<30) || h.leastAdds() <= (&harness{quick: true}).leastAdds() {
		t.Error("a full round is no longer than a quick one")
	}
}

// A document of members is JSON, and as large as it may be.
func TestMembersFillADocument(t *testing.T) {
	t.Parallel()
	for _, size := range []int{200, 4096, 1<<20 - 1} {
		text := members(`{"metadata":{`, `"%d":{}`, size)
		var read struct{ Metadata map[string]any }
		if err := json.Unmarshal([]byte(text), &read); err != nil || len(text) > size || len(text) < size-20 || len(read.Metadata) < size/20 {
			t.Errorf("%d bytes for %d, with %d members: %v", len(text), size, len(read.Metadata), err)
		}
	}
	if n := len(largest()); n != metadataMost {
		t.Errorf("the largest metadata has %d bytes", n)
	}
}
