package main

import (
	"bytes"
	"debug/buildinfo"
	"fmt"
	"os"
	"time"

	"github.com/CycloneDX/cyclonedx-go"
)

// billOf lists what the binary was linked from, as the binary itself says: nothing can be in it and not in the list.
func billOf(binary string, s source) ([]byte, error) {
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return nil, fmt.Errorf("read what the binary is made of: %w", err)
	}
	purl := func(path, version string) string { return "pkg:golang/" + path + "@" + version }
	components := []cyclonedx.Component{{
		BOMRef: "std", Type: cyclonedx.ComponentTypeLibrary, Name: "std", Version: info.GoVersion, PackageURL: purl("std", info.GoVersion[len("go"):]),
	}}
	for _, d := range info.Deps {
		if d.Replace != nil {
			d = d.Replace
		}
		components = append(components, cyclonedx.Component{
			BOMRef: purl(d.Path, d.Version), Type: cyclonedx.ComponentTypeLibrary, Name: d.Path, Version: d.Version, PackageURL: purl(d.Path, d.Version),
			Properties: &[]cyclonedx.Property{{Name: "go:sum", Value: d.Sum}},
		})
	}
	bill := cyclonedx.NewBOM()
	bill.Metadata = &cyclonedx.Metadata{
		Timestamp: time.Unix(s.time, 0).UTC().Format(time.RFC3339),
		Component: &cyclonedx.Component{BOMRef: "usher", Type: cyclonedx.ComponentTypeApplication, Name: "usher", Version: s.version,
			Licenses: &cyclonedx.Licenses{{License: &cyclonedx.License{ID: "Apache-2.0"}}}},
	}
	bill.Components = &components
	var out bytes.Buffer
	encoder := cyclonedx.NewBOMEncoder(&out, cyclonedx.BOMFileFormatJSON).SetPretty(true)
	if err := encoder.Encode(bill); err != nil {
		return nil, fmt.Errorf("write the bill of materials: %w", err)
	}
	return out.Bytes(), nil
}

func writeSBOM(path string, b built) error {
	if path == "" {
		return nil
	}
	return os.WriteFile(path, b.sbom, 0o644)
}
