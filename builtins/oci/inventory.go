package oci

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/pve"
	"github.com/tengil/tengil/engine/record"
)

// An Inventory is what a node keeps of images.
type Inventory struct {
	Images []Kept
	// Loose are blobs in the store that no image names, such as the layers of an image
	// that was removed, or those of a pull that was cut off.
	Loose []File
	// Pulls are directories that pulls have left which did not end.
	Pulls []string
}

// A Kept is one image that a node keeps, in its store or as an archive.
type Kept struct {
	Digest   string   // of the registry's manifest
	Refs     []string // which references it was pulled as last; empty if a tag has moved on
	Config   string   // JSON; "" if no facts tell
	Archive  string   // volume id; "" if there is none
	Packed   int64    // bytes of the archive
	Blobs    []File
	Missing  []string // digests of blobs that the store lacks
	manifest string
	facts    []string // files
}

// A File is a file of the store.
type File struct {
	Name string
	Size int64 // bytes
}

// Size is how many bytes its blobs take, some of which others may share.
func (k Kept) Size() int64 { return sum(k.Blobs) }

func sum(files []File) (n int64) {
	for _, f := range files {
		n += f.Size
	}
	return n
}

// hasArchive reports whether an archive's volume id is that of an image.
func hasArchive(volume, digest string) bool {
	return strings.HasSuffix(volume, "_"+hexOf(digest)+".tar")
}

func storeAsk() engine.Ask {
	return engine.AskRun("find", record.StoreFile(), "-printf", `%y %s %p\n`)
}

// Look asks a node what it keeps of images. storage is where archives are.
func Look(ctx context.Context, h engine.Host, storage string) (*Inventory, error) {
	archives := engine.AskRun("pvesm", "list", storage, "--content", "vztmpl")
	a, err := h.Batch(ctx, []engine.Ask{storeAsk(), engine.AskGlob(record.ImageFile("*")), engine.AskGlob(record.StoreFile("images", "*", "index.json")), archives})
	if err != nil {
		return nil, err
	}
	inv := &Inventory{}
	files, err := inv.readStore(a)
	if err != nil {
		return nil, err
	}
	kept := map[string]*Kept{}
	of := func(digest string) *Kept {
		if kept[digest] == nil {
			kept[digest] = &Kept{Digest: digest}
		}
		return kept[digest]
	}
	if err := readAllFacts(a, of); err != nil {
		return nil, err
	}
	indexes, err := a.Glob(record.StoreFile("images", "*", "index.json"))
	if err != nil {
		return nil, err
	}
	for name, data := range indexes {
		k := of("sha256:" + path.Base(path.Dir(name)))
		if k.manifest, err = indexed(data); err != nil {
			k.Missing = append(k.Missing, "index")
		}
	}
	if err := readBlobs(ctx, h, kept, files); err != nil {
		return nil, err
	}
	if ans := a.Get(archives); ans.Err != nil {
		return nil, ans.Err
	} else if err := readArchives(ans.Result.Stdout, kept); err != nil {
		return nil, err
	}
	named := map[string]bool{}
	for _, digest := range slices.Sorted(maps.Keys(kept)) {
		k := kept[digest]
		slices.Sort(k.Refs)
		for _, f := range k.Blobs {
			named[f.Name] = true
		}
		inv.Images = append(inv.Images, *k)
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if !named[name] {
			inv.Loose = append(inv.Loose, File{name, files[name]})
		}
	}
	return inv, nil
}

// readStore returns the blobs of the store with their sizes.
func (inv *Inventory) readStore(a *engine.Answers) (map[string]int64, error) {
	files := map[string]int64{}
	ans := a.Get(storeAsk())
	var exit *engine.ExitError
	if errors.As(ans.Err, &exit) {
		return files, nil // there is no store yet
	}
	if ans.Err != nil {
		return nil, ans.Err
	}
	for line := range strings.Lines(string(ans.Result.Stdout)) {
		var kind, name string
		var size int64
		if n, err := fmt.Sscan(line, &kind, &size, &name); err != nil || n != 3 {
			return nil, fmt.Errorf("%s: wanted a type, a size and a name in each line, got %.80q", storeAsk(), line)
		}
		switch {
		case kind == "f" && path.Dir(name) == path.Join(storeBlobs, "sha256"):
			files[name] = size
		case kind == "d" && path.Dir(name) == record.StoreFile("pulls"):
			inv.Pulls = append(inv.Pulls, name)
		}
	}
	return files, nil
}

// readAllFacts notes what the facts of images tell. Those that cannot be read tell
// nothing, and are none of an image that anybody could want.
func readAllFacts(a *engine.Answers, of func(string) *Kept) error {
	all, err := a.Glob(record.ImageFile("*"))
	if err != nil {
		return err
	}
	for name, data := range all {
		f, err := parseFacts(name, data)
		if err != nil || f.Digest == "" {
			continue
		}
		k := of(f.Digest)
		k.Refs = append(k.Refs, stepName(f.Ref, f.Arch))
		k.Config, k.facts = string(f.Config), append(k.facts, name)
	}
	return nil
}

// readBlobs reads the manifests of the images, and with them which blobs they have.
func readBlobs(ctx context.Context, h engine.Host, kept map[string]*Kept, files map[string]int64) error {
	var asks []engine.Ask
	for _, k := range kept {
		if k.manifest != "" {
			asks = append(asks, engine.AskFile(blobFile(k.manifest)))
		}
	}
	if len(asks) == 0 {
		return nil
	}
	a, err := h.Batch(ctx, asks)
	if err != nil {
		return err
	}
	for _, k := range kept {
		if k.manifest == "" {
			continue
		}
		data, err := a.File(blobFile(k.manifest))
		var m pve.Manifest
		if err == nil {
			m, err = pve.ParseManifest(data)
		}
		if err != nil {
			k.Missing = append(k.Missing, k.manifest)
			continue
		}
		for _, b := range blobsOf(pve.Descriptor{Digest: k.manifest, Size: int64(len(data))}, m) {
			if size, there := files[blobFile(b.Digest)]; there && size == b.Size {
				k.Blobs = append(k.Blobs, File{blobFile(b.Digest), size})
			} else {
				k.Missing = append(k.Missing, b.Digest)
			}
		}
	}
	return nil
}

// readArchives finds the archives of images among the volumes of a storage.
func readArchives(list []byte, kept map[string]*Kept) error {
	volumes, err := pve.ParseVolumeList(list)
	if err != nil {
		return err
	}
	for _, v := range volumes {
		for _, k := range kept {
			if hasArchive(v.ID, k.Digest) {
				k.Archive, k.Packed = v.ID, v.Size
			}
		}
	}
	return nil
}
