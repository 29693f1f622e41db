package main

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// TestTheImage builds the image from two clones of the checkout in different places, for users with different preferences,
// compares them, and looks inside.
func TestTheImage(t *testing.T) {
	t.Parallel()
	command := filepath.Join(t.TempDir(), "image")
	if out, err := exec.Command("go", "build", "-o", command, ".").CombinedOutput(); err != nil {
		t.Fatal(string(out))
	}
	var tars [2]string
	for i := range tars {
		clone := filepath.Join(t.TempDir(), "a checkout")
		if out, err := exec.Command("git", "clone", "-q", "../..", clone).CombinedOutput(); err != nil {
			t.Fatal(string(out))
		}
		tars[i] = filepath.Join(t.TempDir(), "usher.tar")
		c := exec.Command(command, "-source", clone, "-version", "v1.2.3", "-out", tars[i], "-sbom", tars[i]+".json")
		c.Env = append(os.Environ(), [][]string{{}, {"GOAMD64=v3", "GOFLAGS=-race", "GOTOOLCHAIN=auto"}}[i]...)
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	image, err := tarball.ImageFromPath(tars[0], nil)
	if err != nil {
		t.Fatal(err)
	}
	other, err := tarball.ImageFromPath(tars[1], nil)
	if err != nil {
		t.Fatal(err)
	}
	one, err1 := image.Digest()
	two, err2 := other.Digest()
	if err1 != nil || err2 != nil || one != two {
		t.Errorf("the same source gives %s and %s (%v, %v)", one, two, err1, err2)
	}
	config, err := image.ConfigFile()
	if err != nil || config.Config.User != "65532:65532" || config.Config.Labels["org.opencontainers.image.version"] != "v1.2.3" {
		t.Errorf("%v %+v", err, config)
	}
	layers, err := image.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatal(err, layers)
	}
	content, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	files := make(map[string]*tar.Header)
	program := filepath.Join(t.TempDir(), "usher")
	for r := tar.NewReader(content); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		files[h.Name] = h
		if h.Name == "usher" {
			body, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(program, body, 0o700); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(files) != 2 || files["usher"] == nil || files["data/"] == nil || files["data/"].Uid != user {
		t.Errorf("the image holds %v, want the binary and its data directory", files)
	}
	if out, err := exec.Command(program, "version").Output(); err != nil || !strings.HasPrefix(string(out), "usher v1.2.3 ") {
		t.Errorf("its binary says %q, %v", out, err)
	}
	if out, _ := exec.Command("ldd", program).CombinedOutput(); !strings.Contains(string(out), "not a dynamic executable") {
		t.Errorf("the binary is not static: %s", out)
	}
	bill, err := os.ReadFile(tars[0] + ".json")
	if err != nil || !bytes.Contains(bill, []byte("pkg:golang/go.etcd.io/etcd/server/v3@")) || !bytes.Contains(bill, []byte("CycloneDX")) {
		t.Errorf("the bill of materials is not one: %v %.200s", err, bill)
	}
}

// TestTheDockerfileSaysTheSame keeps the two ways to build apart in nothing.
func TestTheDockerfileSaysTheSame(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("build.go")
	if err != nil {
		t.Fatal(err)
	}
	module, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	if version := regexp.MustCompile(`(?m)^toolchain go(\S+)$`).FindSubmatch(module); !bytes.Contains(text, append([]byte("golang:"), append(version[1], " AS build"...)...)) {
		t.Errorf("the Dockerfile does not compile with Go %s, which go.mod names", version[1])
	}
	for _, both := range []string{"-trimpath", "-buildvcs=false", "-s -w -buildid= -X main.stamped=", "CGO_ENABLED=0", "USHER_OPS_LISTEN=0.0.0.0:9090", "USHER_LISTEN=0.0.0.0:8080", "USHER_DATA_DIR=/data", "65532", "org.opencontainers.image.version", "org.opencontainers.image.title", "org.opencontainers.image.licenses"} {
		if !bytes.Contains(text, []byte(both)) || !bytes.Contains(source, []byte(both)) {
			t.Errorf("only one of Dockerfile and build.go has %s", both)
		}
	}
}

func TestTheLayoutHasEveryPlatformAndItsBill(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("compiles for two platforms")
	}
	dir := filepath.Join(t.TempDir(), "oci")
	if err := run(context.Background(), options{source: "../..", layout: dir}); err != nil {
		t.Fatal(err)
	}
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	outer, err := index.IndexManifest()
	if err != nil || len(outer.Manifests) != 1+len(platforms) {
		t.Fatal(err, outer)
	}
	images, err := index.ImageIndex(outer.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	inner, err := images.IndexManifest()
	if err != nil || len(inner.Manifests) != len(platforms) {
		t.Fatal(err, inner)
	}
	for i, m := range inner.Manifests {
		if m.Platform.String() != platforms[i] {
			t.Errorf("platform %d is %s, want %s", i, m.Platform, platforms[i])
		}
		bill, err := index.Image(outer.Manifests[1+i].Digest)
		if err != nil {
			t.Fatal(err)
		}
		manifest, err := bill.Manifest()
		if err != nil || manifest.Subject == nil || manifest.Subject.Digest != m.Digest {
			t.Errorf("the bill of %s refers to another image: %v %+v", m.Platform, err, manifest)
		}
		raw, err := bill.RawManifest()
		if err != nil || !json.Valid(raw) {
			t.Error(err)
		}
	}
}
