package observability

import "runtime/debug"

// Build is what this binary was built from.
type Build struct {
	Version  string // of the release, or of the checkout it was built from
	Revision string // of the source; "" where the build did not say
}

// ReadBuild asks the binary. A version that the build stamped wins over the one that Go has worked out.
func ReadBuild(stamped string) Build {
	b := Build{Version: stamped}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	if b.Version == "" {
		b.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			b.Revision = s.Value
		}
	}
	return b
}
