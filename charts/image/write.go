package main

import (
	"fmt"
	"os"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

func writeTar(path, tag string, b built) error {
	reference, err := name.NewTag(tag)
	if err != nil {
		return fmt.Errorf("the tag: %w", err)
	}
	return tarball.WriteToFile(path, reference, b.image)
}

// writeLayout writes an OCI layout whose index names an image for each platform and, referring to each, its bill of
// materials (OCI image specification 1.1, referrers).
func writeLayout(dir string, all []built) (v1.Hash, error) {
	if err := os.RemoveAll(dir); err != nil {
		return v1.Hash{}, err
	}
	images := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	var bills []v1.Image
	for _, b := range all {
		platform := b.platform
		images = mutate.AppendManifests(images, mutate.IndexAddendum{Add: b.image, Descriptor: v1.Descriptor{Platform: &platform}})
		bill, err := attached(b)
		if err != nil {
			return v1.Hash{}, err
		}
		bills = append(bills, bill)
	}
	path, err := layout.Write(dir, empty.Index)
	if err != nil {
		return v1.Hash{}, err
	}
	if err := path.AppendIndex(images); err != nil {
		return v1.Hash{}, err
	}
	for _, bill := range bills {
		if err := path.AppendImage(bill); err != nil {
			return v1.Hash{}, err
		}
	}
	return images.Digest()
}

const cycloneDX = "application/vnd.cyclonedx+json"

// attached is the bill of materials as an artifact that refers to its image.
func attached(b built) (v1.Image, error) {
	subject, err := partial.Descriptor(b.image)
	if err != nil {
		return nil, err
	}
	artifact := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), cycloneDX)
	artifact, err = mutate.AppendLayers(artifact, static.NewLayer(b.sbom, cycloneDX))
	if err != nil {
		return nil, err
	}
	return mutate.Subject(artifact, *subject).(v1.Image), nil
}
