// Command image builds Usher's container image without a container engine: the image that the Dockerfile describes, for
// each platform, with its bill of materials attached. The same source gives the same bytes, on every machine.
//
//	cd charts
//	go run ./image -out ../usher.tar              # one platform, for "docker load" and "ctr images import"
//	go run ./image -layout ../usher-oci           # all platforms, an OCI layout, for "skopeo copy" and "crane push"
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
)

func main() {
	var o options
	flag.StringVar(&o.source, "source", "..", "Usher's checkout")
	flag.StringVar(&o.version, "version", "", "version to stamp (default: what git describes)")
	flag.StringVar(&o.tag, "tag", "", "name and tag in the tar (default usher:<version>)")
	flag.StringVar(&o.out, "out", "", "tar to write, of this machine's platform or of -platform")
	flag.StringVar(&o.layout, "layout", "", "directory to write an OCI layout of all platforms to")
	flag.StringVar(&o.platform, "platform", "linux/amd64", "platform of the tar")
	flag.StringVar(&o.sbom, "sbom", "", "file to write the bill of materials to as well (CycloneDX)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

type options struct{ source, version, tag, out, layout, platform, sbom string }

// platforms are those of the layout.
var platforms = []string{"linux/amd64", "linux/arm64"}

func run(ctx context.Context, o options) (err error) {
	if o.out == "" && o.layout == "" {
		return errors.New("say what to write: -out FILE or -layout DIRECTORY")
	}
	source, err := sourceOf(ctx, o)
	if err != nil {
		return err
	}
	if o.tag == "" {
		o.tag = "usher:" + strings.TrimPrefix(source.version, "v")
	}
	work, err := os.MkdirTemp("", "usher-image")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	if o.out != "" {
		fmt.Println("building", o.platform)
		b, err := build(ctx, source, work, o.platform)
		if err != nil {
			return err
		}
		if err := writeTar(o.out, o.tag, b); err != nil {
			return err
		}
		if err := writeSBOM(o.sbom, b); err != nil {
			return err
		}
		digest, err := b.image.Digest()
		if err != nil {
			return err
		}
		fmt.Printf("%s  %s  %s\n", o.out, o.tag, digest)
	}
	if o.layout == "" {
		return nil
	}
	var all []built
	for _, p := range platforms {
		fmt.Println("building", p)
		b, err := build(ctx, source, work, p)
		if err != nil {
			return err
		}
		all = append(all, b)
	}
	digest, err := writeLayout(o.layout, all)
	if err != nil {
		return err
	}
	fmt.Printf("%s  %s\n", o.layout, digest)
	return writeSBOM(o.sbom, all[0])
}

// source is what an image is made of.
type source struct {
	dir, version, revision string
	toolchain              string // of go.mod, "go1.27.3"
	time                   int64  // of the commit, in Unix seconds: an image has no other time
}

func sourceOf(ctx context.Context, o options) (s source, err error) {
	if s.dir, err = filepath.Abs(o.source); err != nil {
		return s, err
	}
	git := func(args ...string) (string, error) {
		out, err := exec.CommandContext(ctx, "git", append([]string{"-C", s.dir}, args...)...).Output()
		if err != nil {
			return "", fmt.Errorf("git %s: %w", args[0], err)
		}
		return strings.TrimSpace(string(out)), nil
	}
	if s.revision, err = git("rev-parse", "HEAD"); err != nil {
		return s, err
	}
	stamp, err := git("log", "-1", "--format=%ct")
	if err != nil {
		return s, err
	}
	if _, err := fmt.Sscan(stamp, &s.time); err != nil {
		return s, fmt.Errorf("read the commit's time: %w", err)
	}
	asked := exec.CommandContext(ctx, "go", "mod", "edit", "-json")
	asked.Dir, asked.Env = s.dir, append(os.Environ(), "GOWORK=off", "GOFLAGS=")
	out, err := asked.Output()
	if err != nil {
		return s, fmt.Errorf("ask for the module's toolchain: %w", err)
	}
	var module struct{ Toolchain string }
	if err := json.Unmarshal(out, &module); err != nil {
		return s, fmt.Errorf("read the module's toolchain: %w", err)
	}
	if s.toolchain = module.Toolchain; s.toolchain == "" {
		return s, errors.New("go.mod names no toolchain, with which to build")
	}
	if s.version = o.version; s.version == "" {
		if s.version, err = git("describe", "--tags", "--always", "--dirty"); err != nil {
			return s, err
		}
	}
	return s, nil
}
