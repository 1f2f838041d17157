package oci

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/tengil/tengil/builtins/act"
	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/pve"
	"github.com/tengil/tengil/engine/record"
)

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

// Provide has the archive, named by its volume id, on the node, and checks that it
// is still the one that was pulled with that config. The config tells the digests
// of the unpacked layers, and with them Proxmox checks what it unpacks
// (proxmox-oci): so nothing else can come out of the archive than what the registry
// said. An archive that is gone is made anew of what the store has of the image.
func (i *Image) Provide(ctx context.Context, h engine.Host, app, volume, digest, config string) error {
	want, err := pve.ParseImageConfig([]byte(config))
	if err != nil {
		return err
	}
	f := facts{Digest: digest, Archive: volume}
	if f.Path, err = archivePath(ctx, h, volume); err != nil {
		return err
	}
	_, got, err := readArchive(ctx, h, f.Path)
	var exit *engine.ExitError
	if errors.As(err, &exit) {
		if restoreErr := i.restore(ctx, h, app, f, want); restoreErr != nil {
			return restoreErr
		}
		_, got, err = readArchive(ctx, h, f.Path)
	}
	if err == nil {
		err = sameConfig(got, want)
	}
	if err != nil {
		return DamagedArchive(err, volume)
	}
	return nil
}

// A restoring keeps two containers of one evaluation from making one archive anew at
// a time; the lock of the app keeps two runs from it.
type restoring struct{ sync.Mutex }

// restore makes the archive if it is gone.
func (i *Image) restore(ctx context.Context, h engine.Host, app string, f facts, want pve.ImageConfig) error {
	i.restoring.Lock()
	defer i.restoring.Unlock()
	size, err := sizeOf(ctx, h, f.Path)
	if err != nil || size >= 0 {
		return err
	}
	if err := f.restore(ctx, h, app, want); err != nil {
		return engine.WithHint(fmt.Errorf("archive %s is gone, and the store cannot replace it: %w", f.Archive, err), "run it again: what is missing is then pulled")
	}
	return nil
}

// restore makes the archive of an image of what the store has. What is damaged
// there is removed.
func (f facts) restore(ctx context.Context, h engine.Host, app string, want pve.ImageConfig) error {
	manifest, err := readIndex(ctx, h, indexFile(f.Digest))
	if err != nil {
		return err
	}
	data, err := act.ReadFile(ctx, h, blobFile(manifest))
	if err != nil {
		return err
	}
	img := image{digest: f.Digest, parsed: want}
	if img.manifest, err = pve.ParseManifest(data); err != nil {
		return fmt.Errorf("%s: %w", blobFile(manifest), err)
	}
	s, err := img.inStore(ctx, h, manifest)
	if err != nil {
		return err
	}
	if !s.whole() {
		err := fmt.Errorf("%d of its blobs are missing in %s or damaged", len(s.missing), storeBlobs)
		if len(s.damaged) > 0 {
			err = errors.Join(err, act.Do(ctx, h, append([]string{"rm", "-f", "--"}, s.damaged...)...))
		}
		return err
	}
	f.Blobs = blobsOf(s.manifest, img.manifest)
	_, err = f.writeArchive(ctx, h, app)
	return err
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
	if digest, err = indexed(data); err != nil {
		return "", nil, err
	}
	if data, err = blobIn(ctx, h, archive, digest); err != nil {
		return "", nil, err
	}
	m, err := pve.ParseManifest(data)
	if err != nil {
		return "", nil, err
	}
	if m.IsIndex() {
		return "", nil, errors.New("archive holds an index inside of its index, which Proxmox does not follow")
	}
	config, err = blobIn(ctx, h, archive, m.Config.Digest)
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

// blobIn reads a blob of an archive and checks its digest.
func blobIn(ctx context.Context, h engine.Host, archive, digest string) ([]byte, error) {
	data, err := member(ctx, h, archive, blobName(digest))
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

// writeArchive makes the archive of what the store has, under a temporary name
// which it then gives up, and returns its size. The index comes last.
func (f facts) writeArchive(ctx context.Context, h engine.Host, app string) (int64, error) {
	partial := partialOf(f.Path, app)
	argv := []string{"tar", "-cf", partial, "-C", record.StoreFile(), "oci-layout"}
	for _, b := range f.Blobs {
		argv = append(argv, blobName(b.Digest))
	}
	if err := act.Do(ctx, h, append(argv, "-C", indexDir(f.Digest), "index.json")...); err != nil {
		return 0, err
	}
	if err := act.Do(ctx, h, "mv", partial, f.Path); err != nil {
		return 0, err
	}
	size, err := sizeOf(ctx, h, f.Path)
	if err == nil && size < 0 {
		err = fmt.Errorf("%s is not there, right after it was renamed", f.Path)
	}
	return size, err
}
