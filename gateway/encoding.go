package gateway

import (
	"bytes"
	"compress/gzip"
	"strconv"
	"strings"
)

func gzipped(content []byte) []byte {
	var b bytes.Buffer
	w, _ := gzip.NewWriterLevel(&b, gzip.BestCompression) // a level that there is
	_, _ = w.Write(content)                               // memory takes everything
	_ = w.Close()
	return b.Bytes()
}

// prefersGzip says whether a caller takes gzip, and likes nothing else better, by its Accept-Encoding (RFC 9110, section
// 12.5.3). Without one it gets what every client can read.
func prefersGzip(headers []string) bool {
	weights := make(map[string]float64)
	for element := range strings.SplitSeq(strings.Join(headers, ","), ",") {
		coding, parameters, _ := strings.Cut(element, ";")
		coding = strings.ToLower(strings.TrimSpace(coding))
		if coding == "x-gzip" { // the same (section 8.4.1.3)
			coding = "gzip"
		}
		weights[coding] = weight(parameters)
	}
	zipped, named := weights["gzip"]
	if !named {
		zipped = weights["*"]
	}
	return zipped > 0 && zipped >= weights["identity"]
}

// weight reads q=0.5; none is 1, and what is no weight is 0.
func weight(parameters string) float64 {
	name, value, given := strings.Cut(parameters, "=")
	if !given && strings.TrimSpace(name) == "" {
		return 1
	}
	q, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
	if err != nil || !strings.EqualFold(strings.TrimSpace(name), "q") || !(q >= 0 && q <= 1) {
		return 0
	}
	return q
}
