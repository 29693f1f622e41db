package gateway

import "testing"

func TestWhoPrefersGzip(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]bool{
		"": false, "gzip": true, "GZIP": true, "x-gzip": true, "gzip, deflate, br": true, "br, gzip;q=0.5": true, "*": true,
		"gzip;q=0": false, "gzip; q=0.000": false, "*;q=0": false, "*, gzip;q=0": false, "*;q=0, gzip": true, "identity": false,
		"identity;q=1, gzip;q=0.5": false, "identity;q=0.5, gzip;q=0.9": true, "gzip ; Q=0.3": true, "gzip;q=none": false,
		"gzip;q=NaN": false, "gzip;q=2": false, "gzip;level=9": false, "gzipped": false, "deflate": false, ",,": false,
	} {
		if got := prefersGzip([]string{header}); got != want {
			t.Errorf("%q prefers gzip: %v", header, got)
		}
	}
	if !prefersGzip([]string{"br", "gzip"}) {
		t.Error("the second of two headers was not read")
	}
}
