package oci

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/tengil/tengil/builtins/act"
	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/pve"
	"github.com/tengil/tengil/engine/record"
	"github.com/tengil/tengil/engine/unit"
)

// unitApp stands in for an app's name in the names of units: images
// belong to no app.
const unitApp = "images"

// Apply pulls the image that the plan names. Two apps may want one image at a
// time: the second finds the unit of the first and waits for it. What is written
// under the final name is the same whoever writes it.
func (p pull) Apply(ctx context.Context, w engine.Work) (engine.Outputs, error) {
	st := w.Now.(*state)
	digest, _ := p.change(st)
	img, err := p.inspectImage(ctx, w, digest)
	if err != nil {
		return nil, err
	}
	return p.fetch(ctx, w, st.facts, img)
}

// An image is what the registry has, by digest.
type image struct {
	digest   string
	manifest pve.Manifest
	config   json.RawMessage
	parsed   pve.ImageConfig
}

// inspectImage asks the registry for the image and checks it before anything of
// it is written. digest may be "" where the plan could not ask.
func (p pull) inspectImage(ctx context.Context, w engine.Work, digest string) (img *image, err error) {
	for _, at := range p.places() {
		if img, err = p.inspectAt(ctx, w.Host, at, digest); !p.fallBack(ctx, w, at, err) {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	if err := img.manifest.CheckLayers(len(img.parsed.DiffIDs)); err != nil {
		return nil, engine.WithHint(err, otherImage)
	}
	return img, refuse(img.parsed, p.arch)
}

// inspectAt asks one registry.
func (p pull) inspectAt(ctx context.Context, h engine.Host, at Reference, digest string) (*image, error) {
	if digest == "" {
		raw, err := p.look(ctx, h, "--raw", at, at.source())
		if err != nil {
			return nil, err
		}
		if digest, err = p.platformDigest(raw); err != nil {
			return nil, noManifest(at, at.source(), raw, err)
		}
	}
	img := &image{digest: digest}
	raw, err := p.look(ctx, h, "--raw", at, at.at(digest))
	if err != nil {
		return nil, err
	}
	if got := pve.Digest(raw); got != digest {
		return nil, explain(fmt.Errorf("%w: manifest %s; wanted %s", pve.ErrDigest, got, digest), at)
	}
	if img.manifest, err = pve.ParseManifest(raw); err != nil {
		return nil, p.strange("--raw", at.at(digest), err)
	}
	config, err := p.look(ctx, h, "--config", at, at.at(digest))
	if err != nil {
		return nil, err
	}
	if img.config, err = compact(config); err != nil {
		return nil, p.strange("--config", at.at(digest), err)
	}
	if img.parsed, err = pve.ParseImageConfig(img.config); err != nil {
		return nil, p.strange("--config", at.at(digest), err)
	}
	return img, nil
}

func (p pull) look(ctx context.Context, h engine.Host, what string, at Reference, source string) ([]byte, error) {
	out, err := act.Look(ctx, h, p.inspect(what, source)...)
	if err != nil {
		return nil, explain(err, at)
	}
	return out, limit(out)
}

// fetch has the image in the store, makes the archive of it and notes both.
func (p pull) fetch(ctx context.Context, w engine.Work, old facts, img *image) (engine.Outputs, error) {
	next := facts{Format: record.Format, Ref: p.ref.String(), Arch: p.foreignArch(), Digest: img.digest, Config: img.config, Archive: p.volume(img.digest)}
	var err error
	if next.Path, err = archivePath(ctx, w.Host, next.Archive); err != nil {
		return nil, err
	}
	// A pull that a run was cut off from may still be at work.
	if err := unit.Await(ctx, w.Host, p.task(nil).Unit()); err != nil {
		return nil, err
	}
	if next.Size, err = sizeOf(ctx, w.Host, next.Path); err != nil {
		return nil, err
	}
	s, err := p.lookInStore(ctx, w.Host, img)
	if err != nil {
		return nil, err
	}
	if !s.whole() || next.Size < 0 {
		if err := p.begin(ctx, w, old, next.Path, s.damaged); err != nil {
			return nil, err
		}
	}
	if !s.whole() {
		if s, err = p.fill(ctx, w, img, s); err != nil {
			return nil, err
		}
	}
	next.Blobs = blobsOf(s.manifest, img.manifest)
	if err := writeIndex(ctx, w.Host, img.digest, s.manifest); err != nil {
		return nil, err
	}
	if next.Size < 0 {
		next.Size, err = next.writeArchive(ctx, w.Host, w.App.Name)
	} else if err = img.verify(ctx, w.Host, next.Path); err != nil {
		err = DamagedArchive(err, next.Archive)
	}
	if err != nil {
		return nil, err
	}
	if err := p.writeFacts(ctx, w.Host, next); err != nil {
		return nil, err
	}
	return outputs(next.Archive, next.Digest, next.Config), nil
}

// begin notes what is left if the pull is cut off, and removes what an earlier one
// of the app has left.
func (p pull) begin(ctx context.Context, w engine.Work, old facts, archive string, damaged []string) error {
	stale := append([]string{pullDir(p.key, w.App.Name)}, damaged...)
	if partialApp(old.Partial) == w.App.Name {
		stale = append(stale, old.Partial)
	}
	old.Format, old.Ref, old.Arch, old.Partial = record.Format, p.ref.String(), p.foreignArch(), partialOf(archive, w.App.Name)
	if err := p.writeFacts(ctx, w.Host, old); err != nil {
		return err
	}
	return act.Do(ctx, w.Host, append([]string{"rm", "-rf", "--"}, stale...)...)
}

func (p pull) writeFacts(ctx context.Context, h engine.Host, f facts) error {
	if err := f.write(ctx, h, p.factsFile()); err != nil {
		return fmt.Errorf("facts of %s: %w", p.ref, err)
	}
	return nil
}
