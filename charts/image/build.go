package main

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// user is who the process runs as: nobody in particular, and not root.
const user = 65532

// built is the image of one platform.
type built struct {
	platform v1.Platform
	image    v1.Image
	sbom     []byte // CycloneDX JSON
}

// build compiles Usher for the platform and puts it into an image.
func build(ctx context.Context, s source, work, platform string) (built, error) {
	system, arch, ok := strings.Cut(platform, "/")
	if !ok {
		return built{}, fmt.Errorf("the platform %q is not like linux/amd64", platform)
	}
	binary := filepath.Join(work, "usher-"+arch)
	// The flags of the Dockerfile: no path, no time, no checkout state and no preference of this machine gets into the
	// binary, and the compiler is the one that go.mod names.
	compile := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false",
		"-ldflags", "-s -w -buildid= -X main.stamped="+s.version, "-o", binary, "./cmd/usher")
	compile.Dir = s.dir
	compile.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+system, "GOARCH="+arch, "GOFLAGS=-mod=readonly", "GOWORK=off",
		"GOTOOLCHAIN="+s.toolchain, "GOAMD64=v1", "GOARM64=v8.0", "GOEXPERIMENT=", "GOFIPS140=off")
	compile.Stderr = os.Stderr
	if err := compile.Run(); err != nil {
		return built{}, fmt.Errorf("compile for %s: %w", platform, err)
	}
	b := built{platform: v1.Platform{OS: system, Architecture: arch}}
	var err error
	if b.sbom, err = billOf(binary, s); err != nil {
		return built{}, err
	}
	b.image, err = pack(binary, s, b.platform)
	return b, err
}

// pack makes the image: one layer with the binary and the data directory.
func pack(binary string, s source, p v1.Platform) (v1.Image, error) {
	content, err := layerOf(binary, time.Unix(s.time, 0).UTC())
	if err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil },
		tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return nil, err
	}
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	if image, err = mutate.Append(image, mutate.Addendum{Layer: layer, History: v1.History{CreatedBy: "usher/charts/image", Created: v1.Time{Time: time.Unix(s.time, 0).UTC()}}}); err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = p.OS, p.Architecture
	config.Created = v1.Time{Time: time.Unix(s.time, 0).UTC()}
	config.Config = v1.Config{
		User: fmt.Sprintf("%d:%d", user, user), Entrypoint: []string{"/usher"},
		Env:          []string{"USHER_LISTEN=0.0.0.0:8080", "USHER_OPS_LISTEN=0.0.0.0:9090", "USHER_DATA_DIR=/data"},
		ExposedPorts: map[string]struct{}{"8080/tcp": {}, "9090/tcp": {}}, Volumes: map[string]struct{}{"/data": {}},
		Labels: map[string]string{
			"org.opencontainers.image.title": "usher", "org.opencontainers.image.version": s.version,
			"org.opencontainers.image.revision": s.revision, "org.opencontainers.image.licenses": "Apache-2.0",
			"org.opencontainers.image.description": "The multi-tenant gateway in front of live rooms",
		},
	}
	return mutate.ConfigFile(image, config)
}

// layerOf is the file system as a tar.
func layerOf(binary string, at time.Time) ([]byte, error) {
	program, err := os.ReadFile(binary)
	if err != nil {
		return nil, err
	}
	var content bytes.Buffer
	w := tar.NewWriter(&content)
	for _, f := range []struct {
		header tar.Header
		body   []byte
	}{
		{tar.Header{Name: "usher", Typeflag: tar.TypeReg, Mode: 0o755, Size: int64(len(program))}, program},
		{tar.Header{Name: "data/", Typeflag: tar.TypeDir, Mode: 0o700, Uid: user, Gid: user}, nil},
	} {
		f.header.ModTime, f.header.Format = at, tar.FormatPAX
		if err := w.WriteHeader(&f.header); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.body); err != nil {
			return nil, err
		}
	}
	return content.Bytes(), w.Close()
}
