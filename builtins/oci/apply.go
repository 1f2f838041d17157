package oci

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

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

// fetch copies the image to a temporary name, verifies it there and renames it,
// so that a file of the final name is always whole and checked.
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
	size, err := sizeOf(ctx, w.Host, next.Path)
	if err != nil {
		return nil, err
	}
	if size < 0 {
		if size, err = p.obtain(ctx, w, old, img, next.Path); err != nil {
			return nil, err
		}
	} else if err := img.verify(ctx, w.Host, next.Path); err != nil {
		return nil, DamagedArchive(err, next.Archive)
	}
	next.Size = size
	if err := p.writeFacts(ctx, w.Host, next); err != nil {
		return nil, err
	}
	return outputs(next.Archive, next.Digest, next.Config), nil
}

// obtain makes the archive: of what a pull that ended unseen has left, if that is
// whole, else by another pull. It returns its size. skopeo writes index.json after
// the layers, so that an archive that has one was written to its end.
func (p pull) obtain(ctx context.Context, w engine.Work, old facts, img *image, archive string) (int64, error) {
	partial := partialOf(archive, w.App.Name)
	left, err := sizeOf(ctx, w.Host, partial)
	if err != nil {
		return 0, err
	}
	if left < 0 || img.verify(ctx, w.Host, partial) != nil {
		if err := p.copy(ctx, w, old, img, partial); err != nil {
			return 0, err
		}
	}
	if err := act.Do(ctx, w.Host, "mv", partial, archive); err != nil {
		return 0, err
	}
	size, err := sizeOf(ctx, w.Host, archive)
	if err == nil && size < 0 {
		err = fmt.Errorf("%s is not there, right after it was renamed", archive)
	}
	return size, err
}

// archivePath asks the storage where the archive lies; the file need not exist.
func archivePath(ctx context.Context, h engine.Host, volume string) (string, error) {
	argv := []string{"pvesm", "path", volume}
	out, err := act.Look(ctx, h, argv...)
	if err != nil {
		return "", err
	}
	name, err := pve.ParsePath(argv, out)
	if err != nil {
		return "", err
	}
	if strings.Contains(name, ":") {
		return "", fmt.Errorf("%s is %q on the node; skopeo cannot write to a path with a colon", volume, name)
	}
	return name, nil
}

// sizeOf returns the size of a file, -1 if there is none.
func sizeOf(ctx context.Context, h engine.Host, name string) (int64, error) {
	argv := statAsk(name).Argv()
	out, err := act.Look(ctx, h, argv...)
	var exit *engine.ExitError
	if errors.As(err, &exit) {
		return -1, nil
	}
	if err != nil {
		return -1, err
	}
	return pve.ParseFileSize(argv, out)
}

// copy pulls to partial, which the image's facts name beforehand: a pull of
// another digest that was cut off left its own partial file, and this removes it.
func (p pull) copy(ctx context.Context, w engine.Work, old facts, img *image, partial string) (err error) {
	stale := []string{partial}
	if old.Partial != partial && partialApp(old.Partial) == w.App.Name {
		stale = append(stale, old.Partial)
	}
	if err := act.Do(ctx, w.Host, append([]string{"rm", "-f"}, stale...)...); err != nil {
		return err
	}
	old.Format, old.Ref, old.Arch, old.Partial = record.Format, p.ref.String(), p.foreignArch(), partial
	if err := p.writeFacts(ctx, w.Host, old); err != nil {
		return err
	}
	for _, at := range p.places() {
		if err = p.copyFrom(ctx, w, at, img, partial); !p.fallBack(ctx, w, at, err) {
			return err
		}
		// skopeo adds to an archive that is there.
		if err := act.Do(ctx, w.Host, "rm", "-f", partial); err != nil {
			return err
		}
	}
	return err
}

// copyFrom pulls from one registry and verifies what came.
func (p pull) copyFrom(ctx context.Context, w engine.Work, at Reference, img *image, partial string) error {
	total := img.manifest.Size()
	w.Report("pull "+at.String(), 0, total)
	task := p.task([]string{"skopeo", "copy", at.at(img.digest), "oci-archive:" + partial})
	task.Progress = func(received int64) { w.Report("pull "+at.String(), min(received, total), total) }
	if err := unit.Run(ctx, w.Host, task); err != nil {
		return explain(pve.Explain(err), at)
	}
	w.Report("verify "+p.ref.String(), total, total)
	if err := img.verify(ctx, w.Host, partial); err != nil {
		if !errors.Is(err, engine.ErrTransient) { // else nobody has looked
			err = engine.WithHint(fmt.Errorf("what was pulled is not the image: %w", err), pulledOther)
		}
		// What is not the image must not lie about; that it does not is no reason to hide why.
		return errors.Join(err, act.Do(ctx, w.Host, "rm", "-f", partial))
	}
	return nil
}

func (p pull) task(argv []string) unit.Task { return taskOf(p.key, argv) }

func taskOf(key string, argv []string) unit.Task {
	// skopeo puts an archive together below /var/tmp.
	return unit.Task{App: unitApp, Name: "pull." + key, Argv: argv, Once: true, PrivateTmp: true}
}

// verify compares an archive with what the registry said of the image.
func (img *image) verify(ctx context.Context, h engine.Host, archive string) error {
	digest, config, err := readArchive(ctx, h, archive)
	if err != nil {
		return err
	}
	// skopeo writes the manifest unchanged if it is in OCI's format, and converts
	// Docker's; then the layers tell.
	if digest != img.digest && !img.converted() {
		return fmt.Errorf("archive holds manifest %s; wanted %s", digest, img.digest)
	}
	return sameConfig(config, img.parsed)
}

// VerifyArchive checks that an archive, named by its volume id, is still the one
// that was pulled with that config. The config tells the digests of the unpacked
// layers, and with them Proxmox checks what it unpacks (proxmox-oci): so nothing
// else can come out of the archive than what the registry said.
func VerifyArchive(ctx context.Context, h engine.Host, volume, config string) error {
	want, err := pve.ParseImageConfig([]byte(config))
	if err != nil {
		return err
	}
	name, err := archivePath(ctx, h, volume)
	if err != nil {
		return err
	}
	_, got, err := readArchive(ctx, h, name)
	if err == nil {
		err = sameConfig(got, want)
	}
	if err != nil {
		return DamagedArchive(err, volume)
	}
	return nil
}

// DamagedArchive says of which archive err speaks and how to get a whole one.
func DamagedArchive(err error, volume string) error {
	return engine.WithHint(fmt.Errorf("archive %s: %w", volume, err),
		"it was whole when it was pulled; remove it, and the next run pulls it again:\n    pvesm free "+volume)
}

// readArchive returns the digest of the manifest that Proxmox takes, which is the
// first of index.json, and the config that it names. Blobs have the digests that
// name them.
func readArchive(ctx context.Context, h engine.Host, archive string) (digest string, config []byte, err error) {
	data, err := member(ctx, h, archive, "index.json")
	if err != nil {
		return "", nil, err
	}
	index, err := pve.ParseManifest(data)
	if err != nil {
		return "", nil, fmt.Errorf("index.json: %w", err)
	}
	if len(index.Entries) != 1 {
		return "", nil, fmt.Errorf("archive lists %d images; wanted 1", len(index.Entries))
	}
	digest = index.Entries[0].Digest
	if data, err = blob(ctx, h, archive, digest); err != nil {
		return "", nil, err
	}
	m, err := pve.ParseManifest(data)
	if err != nil {
		return "", nil, err
	}
	if m.IsIndex() {
		return "", nil, errors.New("archive holds an index inside of its index, which Proxmox does not follow")
	}
	config, err = blob(ctx, h, archive, m.Config.Digest)
	return digest, config, err
}

func (img *image) converted() bool {
	return strings.HasPrefix(img.manifest.MediaType, "application/vnd.docker.")
}

// sameConfig checks that the config inside an archive is the one inspected.
func sameConfig(config []byte, want pve.ImageConfig) error {
	got, err := pve.ParseImageConfig(config)
	if err != nil {
		return err
	}
	same := slices.Equal(got.DiffIDs, want.DiffIDs) && slices.Equal(got.Env, want.Env) && slices.Equal(got.Argv(), want.Argv()) &&
		slices.Equal(got.Volumes, want.Volumes) && got.User == want.User && got.WorkingDir == want.WorkingDir &&
		got.StopSignal == want.StopSignal && got.Arch == want.Arch
	if !same {
		return errors.New("the config in the archive is not the one that the registry showed")
	}
	return nil
}

// blob reads a blob of the archive and checks its digest.
func blob(ctx context.Context, h engine.Host, archive, digest string) ([]byte, error) {
	data, err := member(ctx, h, archive, "blobs/sha256/"+strings.TrimPrefix(digest, "sha256:"))
	if err != nil {
		return nil, err
	}
	if got := pve.Digest(data); got != digest {
		return nil, fmt.Errorf("archive has blob %s where it says %s", got, digest)
	}
	return data, nil
}

func member(ctx context.Context, h engine.Host, archive, name string) ([]byte, error) {
	out, err := act.Look(ctx, h, "tar", "-xOf", archive, name)
	if err != nil {
		return nil, err
	}
	return out, limit(out)
}

func (p pull) writeFacts(ctx context.Context, h engine.Host, f facts) error {
	if err := f.write(ctx, h, p.factsFile()); err != nil {
		return fmt.Errorf("facts of %s: %w", p.ref, err)
	}
	return nil
}
