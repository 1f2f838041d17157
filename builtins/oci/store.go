package oci

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/tengil/tengil/builtins/act"
	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/pve"
	"github.com/tengil/tengil/engine/record"
	"github.com/tengil/tengil/engine/unit"
)

// The store of a node has the blobs of all its images, each once, by their
// digests, and of each image an index that names its manifest. An archive, which
// Proxmox unpacks, is made of them. See docs/adr/0019-a-store-of-layers.md.
//
//	store/oci-layout
//	store/blobs/sha256/DIGEST          layers, configs, manifests
//	store/images/DIGEST/index.json     DIGEST is that of the registry's manifest
//	store/pulls/IMAGE.APP/             what a pull that is at work puts elsewhere at its end
var storeBlobs = record.StoreFile("blobs")

// layoutText is what a file oci-layout holds (OCI image layout specification).
const layoutText = `{"imageLayoutVersion":"1.0.0"}`

func blobName(digest string) string { return path.Join("blobs", "sha256", hexOf(digest)) }

func blobFile(digest string) string { return record.StoreFile(blobName(digest)) }

// indexDir holds the index of an image, by the digest that the registry knows it by.
func indexDir(digest string) string { return record.StoreFile("images", hexOf(digest)) }

func indexFile(digest string) string { return path.Join(indexDir(digest), "index.json") }

// pullDir is where a pull for an app leaves its own index until it is done.
func pullDir(key, app string) string { return record.StoreFile("pulls", key+"."+app) }

func hexOf(digest string) string { return strings.TrimPrefix(digest, "sha256:") }

// lockFile is locked by who fetches the blob.
func lockFile(digest string) string { return record.RunFile(unitApp, hexOf(digest)+".lock") }

type descriptorJSON struct {
	MediaType string `json:"mediaType"`
	Digest    string `json:"digest"`
	Size      int64  `json:"size"`
}

// ociManifest is the media type of manifests in the store. skopeo turns those of
// Docker into it.
const ociManifest = "application/vnd.oci.image.manifest.v1+json"

// parts are the blobs of an image but for its manifest, each once.
func parts(m pve.Manifest) []pve.Descriptor {
	var out []pve.Descriptor
	seen := map[string]bool{}
	for _, d := range append([]pve.Descriptor{m.Config}, m.Layers...) {
		if !seen[d.Digest] {
			seen[d.Digest] = true
			out = append(out, d)
		}
	}
	return out
}

// A stored is what the store has of an image.
type stored struct {
	manifest pve.Descriptor   // in the store; zero if it is not known or not there
	missing  []pve.Descriptor // blobs that are not there; the manifest is none of them
	damaged  []string         // files with another content than their names say
}

func (s stored) whole() bool { return s.manifest.Digest != "" && len(s.missing) == 0 }

// inStore looks for the image in the store: for its blobs, and, with a digest, for a
// manifest that says of the image what the registry said.
func (img *image) inStore(ctx context.Context, h engine.Host, manifest string) (stored, error) {
	wanted := parts(img.manifest)
	sizes := sizesAsk(wanted, func(d pve.Descriptor) string { return d.Digest })
	config := engine.AskFile(blobFile(img.manifest.Config.Digest))
	asks := []engine.Ask{sizes, config}
	if manifest != "" {
		asks = append(asks, engine.AskFile(blobFile(manifest)))
	}
	a, err := h.Batch(ctx, asks)
	if err != nil {
		return stored{}, err
	}
	var s stored
	have, err := sizesIn(a.Get(sizes), sizes.Argv())
	if err != nil {
		return s, err
	}
	for _, d := range wanted {
		size, there := have[blobFile(d.Digest)]
		if there && size == d.Size {
			continue
		}
		s.missing = append(s.missing, d)
		if there {
			s.damaged = append(s.damaged, blobFile(d.Digest))
		}
	}
	if data, err := a.File(config.File()); err == nil && pve.Digest(data) != img.manifest.Config.Digest {
		if !slices.Contains(s.damaged, config.File()) {
			s.missing, s.damaged = append(s.missing, img.manifest.Config), append(s.damaged, config.File())
		}
	} else if err == nil {
		if err := sameConfig(data, img.parsed); err != nil {
			return s, err
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return s, err
	}
	if manifest == "" {
		return s, nil
	}
	data, err := a.File(blobFile(manifest))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return s, nil
	case err != nil:
		return s, err
	case pve.Digest(data) != manifest:
		s.damaged = append(s.damaged, blobFile(manifest))
		return s, nil
	}
	if err := img.sameParts(data); err != nil {
		return s, err
	}
	s.manifest = pve.Descriptor{MediaType: ociManifest, Digest: manifest, Size: int64(len(data))}
	return s, nil
}

// sameParts checks that a manifest of the store is made of the blobs that the
// registry named.
func (img *image) sameParts(manifest []byte) error {
	m, err := pve.ParseManifest(manifest)
	if err != nil {
		return err
	}
	digests := func(m pve.Manifest) (out []string) {
		for _, d := range append([]pve.Descriptor{m.Config}, m.Layers...) {
			out = append(out, d.Digest)
		}
		return out
	}
	if !slices.Equal(digests(m), digests(img.manifest)) {
		return errors.New("the manifest in the store names other layers than the registry did")
	}
	return nil
}

// sizesAsk asks for the sizes of blobs that are in the store.
func sizesAsk[T any](blobs []T, digest func(T) string) engine.Ask {
	argv := []string{"stat", "-c", "%s %n"}
	for _, b := range blobs {
		argv = append(argv, blobFile(digest(b)))
	}
	return engine.AskRun(argv...)
}

// sizesIn reads its answer; stat ends with 1 if one of them is missing.
func sizesIn(a engine.Answer, argv []string) (map[string]int64, error) {
	out := a.Result.Stdout
	var exit *engine.ExitError
	switch {
	case errors.As(a.Err, &exit):
		out = exit.Stdout
	case a.Err != nil:
		return nil, a.Err
	}
	return pve.ParseFileSizes(argv, out)
}

// lookInStore looks for the image as the registry has it, or as skopeo has converted it.
func (p pull) lookInStore(ctx context.Context, h engine.Host, img *image) (stored, error) {
	manifest := img.digest
	if img.converted() {
		var err error
		if manifest, err = readIndex(ctx, h, indexFile(img.digest)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return stored{}, err
		}
	}
	return img.inStore(ctx, h, manifest)
}

// fill fetches what is missing. What of the image is there already, from another
// image or a pull that was cut off, is not fetched again.
func (p pull) fill(ctx context.Context, w engine.Work, img *image, s stored) (stored, error) {
	dir := pullDir(p.key, w.App.Name)
	err := act.Do(ctx, w.Host, "mkdir", "-p", "-m", "700", storeBlobs, path.Dir(dir))
	if err != nil {
		return s, err
	}
	for _, at := range p.places() {
		if err = p.copyFrom(ctx, w, at, img, s.missing); !p.fallBack(ctx, w, at, err) {
			break
		}
	}
	if err != nil {
		return s, err
	}
	w.Report("verify "+p.ref.String(), 0, 0)
	manifest := img.digest
	if img.converted() {
		manifest, err = readIndex(ctx, w.Host, path.Join(dir, "index.json"))
	}
	if err == nil {
		s, err = img.inStore(ctx, w.Host, manifest)
	}
	if err == nil && !s.whole() {
		err = fmt.Errorf("skopeo says that it copied the image, but %d of its blobs are not in %s", max(1, len(s.missing)), storeBlobs)
	}
	if err != nil && !errors.Is(err, engine.ErrTransient) { // else nobody has looked
		err = engine.WithHint(fmt.Errorf("what was pulled is not the image: %w", err), pulledOther)
	}
	return s, errors.Join(err, act.Do(ctx, w.Host, "rm", "-rf", "--", dir))
}

// writeIndex notes which manifest of the store is the image.
func writeIndex(ctx context.Context, h engine.Host, digest string, manifest pve.Descriptor) error {
	text, err := json.Marshal(struct {
		SchemaVersion int              `json:"schemaVersion"`
		MediaType     string           `json:"mediaType"`
		Manifests     []descriptorJSON `json:"manifests"`
	}{2, "application/vnd.oci.image.index.v1+json", []descriptorJSON{{manifest.MediaType, manifest.Digest, manifest.Size}}})
	if err != nil {
		return err
	}
	for _, f := range []engine.File{
		{Name: record.StoreFile("oci-layout"), Data: []byte(layoutText), Perm: 0o600},
		{Name: indexFile(digest), Data: text, Perm: 0o600},
	} {
		if err := act.WriteFile(ctx, h, f); err != nil {
			return err
		}
	}
	return nil
}

// A blob is one of those that an image is made of.
type blob struct {
	Digest string `json:"digest"`
	Size   int64  `json:"size"` // bytes
}

// blobsOf are all blobs of an image: layers, config, manifest.
func blobsOf(manifest pve.Descriptor, m pve.Manifest) []blob {
	config, layers := parts(m)[0], parts(m)[1:]
	var out []blob
	for _, d := range append(layers, config, manifest) {
		out = append(out, blob{d.Digest, d.Size})
	}
	return out
}

// readIndex returns the digest of the only manifest of an index in a file.
func readIndex(ctx context.Context, h engine.Host, name string) (string, error) {
	data, err := act.ReadFile(ctx, h, name)
	if err != nil {
		return "", err
	}
	digest, err := indexed(data)
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	return digest, nil
}

// indexed returns the digest of the only manifest of an index.
func indexed(data []byte) (string, error) {
	index, err := pve.ParseManifest(data)
	if err != nil {
		return "", fmt.Errorf("index.json: %w", err)
	}
	if len(index.Entries) != 1 {
		return "", fmt.Errorf("index.json: archive lists %d images; wanted 1", len(index.Entries))
	}
	return index.Entries[0].Digest, nil
}

// copyFrom copies from one registry.
func (p pull) copyFrom(ctx context.Context, w engine.Work, at Reference, img *image, missing []pve.Descriptor) error {
	total := pve.Manifest{Layers: missing}.Size()
	w.Report("pull "+at.String(), 0, total)
	skopeo := []string{"skopeo", "copy", "--dest-shared-blob-dir", storeBlobs, "--dest-oci-accept-uncompressed-layers",
		at.at(img.digest), "oci:" + pullDir(p.key, w.App.Name)}
	task := p.task(append(locks(missing), skopeo...))
	task.Progress = func(received int64) { w.Report("pull "+at.String(), min(received, total), total) }
	err := unit.Run(ctx, w.Host, task)
	var exit *engine.ExitError
	if errors.As(err, &exit) {
		exit.Argv = skopeo // flock ends as what it has run
	}
	return explain(pve.Explain(err), at)
}

// maxLocks is how many blobs one pull locks: for each there is a process.
const maxLocks = 16

// locks returns what to put before a command that fetches blobs, so that of two
// pulls which want mostly the same one waits for the other, and finds it there. It
// locks the largest of them, in an order that all keep to: together they are three
// quarters of all that is to be fetched, so that two which do not wait for each
// other have at most half of it in common.
func locks(blobs []pve.Descriptor) []string {
	sorted := slices.SortedFunc(slices.Values(blobs), func(a, b pve.Descriptor) int {
		if a.Size != b.Size {
			return int(max(-1, min(1, b.Size-a.Size)))
		}
		return strings.Compare(a.Digest, b.Digest)
	})
	total := pve.Manifest{Layers: blobs}.Size()
	var digests []string
	var sum int64
	for _, d := range sorted {
		if sum >= total/4*3 || len(digests) == maxLocks {
			break
		}
		sum += d.Size
		digests = append(digests, d.Digest)
	}
	slices.Sort(digests)
	var argv []string
	for _, d := range digests {
		argv = append(argv, "flock", lockFile(d))
	}
	return argv
}

func (p pull) task(argv []string) unit.Task { return taskOf(p.key, argv) }

func taskOf(key string, argv []string) unit.Task {
	return unit.Task{App: unitApp, Name: "pull." + key, Argv: argv, Once: true, PrivateTmp: true}
}
