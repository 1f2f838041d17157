package oci

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/pve"
	"github.com/tengil/tengil/engine/record"
	"github.com/tengil/tengil/engine/unit"
)

// A Removal is something that a node need not keep.
type Removal struct {
	What string // "image docker.io/library/redis:8", "archive local:vztmpl/…"
	Size int64  // bytes that it frees
	argv []string
}

// atOnce is how many files one command names.
const atOnce = 500

// Without returns what to remove so that the images for which goes reports true are
// not kept, and nothing that no image needs. With archives set, the archives of the
// others go too: they are made anew of the store for who needs them. What is first
// is removed first, so that a removal that is cut off has left nothing that looks
// whole.
func (inv *Inventory) Without(goes func(Kept) bool, archives bool) []Removal {
	var out []Removal
	needed := map[string]bool{}
	for _, k := range inv.Images {
		if !goes(k) {
			for _, f := range k.Blobs {
				needed[f.Name] = true
			}
			if archives && k.Archive != "" && len(k.Missing) == 0 && len(k.Blobs) > 0 {
				out = append(out, k.archiveRemoval())
			}
			continue
		}
		remove := append([]string{"rm", "-rf", "--"}, k.facts...)
		out = append(out, Removal{What: "image " + k.Name(), argv: append(remove, indexDir(k.Digest))})
		if k.Archive != "" {
			out = append(out, k.archiveRemoval())
		}
	}
	var loose []File
	seen := map[string]bool{}
	for _, k := range inv.Images {
		for _, f := range k.Blobs {
			if !needed[f.Name] && !seen[f.Name] {
				seen[f.Name] = true
				loose = append(loose, f)
			}
		}
	}
	loose = append(loose, inv.Loose...)
	for part := range slices.Chunk(loose, atOnce) {
		out = append(out, Removal{What: fmt.Sprintf("%d blobs", len(part)), Size: sum(part), argv: append([]string{"rm", "-f", "--"}, names(part)...)})
	}
	if len(inv.Pulls) > 0 {
		out = append(out, Removal{What: "what pulls have left that were cut off", argv: append([]string{"rm", "-rf", "--"}, inv.Pulls...)})
	}
	return out
}

func (k Kept) archiveRemoval() Removal {
	return Removal{What: "archive " + k.Archive, Size: k.Packed, argv: []string{"pvesm", "free", k.Archive}}
}

// Name is how people call the image: its references, else its digest.
func (k Kept) Name() string {
	if len(k.Refs) > 0 {
		return strings.Join(k.Refs, ", ")
	}
	return k.Digest
}

func names(files []File) []string {
	out := make([]string, len(files))
	for i, f := range files {
		out[i] = f.Name
	}
	return out
}

// Remove removes it.
func (r Removal) Remove(ctx context.Context, h engine.Host) error {
	_, err := h.Run(ctx, engine.Cmd{Argv: r.argv, Audit: audited(r.argv)})
	return pve.Explain(err)
}

// A Fault is something wrong with what a node keeps of images.
type Fault struct {
	What, Why string
	// Repair makes the next run fetch it again; nil where that happens anyway.
	Repair []Removal
}

// Verify reads all blobs of the store and compares them with their digests.
func (inv *Inventory) Verify(ctx context.Context, h engine.Host, report func(done, total int64)) ([]Fault, error) {
	all := map[string]int64{}
	for _, k := range inv.Images {
		for _, f := range k.Blobs {
			all[f.Name] = f.Size
		}
	}
	for _, f := range inv.Loose {
		all[f.Name] = f.Size
	}
	var files []File
	var total, done int64
	for name, size := range all {
		files = append(files, File{name, size})
		total += size
	}
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Name, b.Name) })
	var faults []Fault
	for part := range slices.Chunk(files, 50) {
		report(done, total)
		bad, err := damaged(ctx, h, part)
		if err != nil {
			return nil, err
		}
		for _, name := range bad {
			faults = append(faults, inv.damage(name, all[name]))
		}
		done += sum(part)
	}
	for _, k := range inv.Images {
		if k.manifest != "" && len(k.Missing) > 0 {
			faults = append(faults, Fault{What: "image " + k.Name(), Why: fmt.Sprintf("the store lacks %d of its blobs, or has another size of them", len(k.Missing)),
				Repair: []Removal{{What: "image " + k.Name(), argv: append(append([]string{"rm", "-rf", "--"}, k.facts...), indexDir(k.Digest))}}})
		}
	}
	return faults, nil
}

// damage tells of a blob that is not what its name says. Archives that were made of
// it go with it.
func (inv *Inventory) damage(name string, size int64) Fault {
	f := Fault{What: name, Why: "its content has another digest", Repair: []Removal{{What: "blob " + name, Size: size, argv: []string{"rm", "-f", "--", name}}}}
	for _, k := range inv.Images {
		if slices.Contains(names(k.Blobs), name) && k.Archive != "" {
			f.Repair = append(f.Repair, k.archiveRemoval())
		}
	}
	return f
}

// damaged returns the files whose content is not what their names say.
func damaged(ctx context.Context, h engine.Host, files []File) ([]string, error) {
	argv := append([]string{"sha256sum", "--"}, names(files)...)
	res, err := h.Run(ctx, engine.Cmd{Argv: argv, ReadOnly: true})
	if err != nil {
		return nil, pve.Explain(err)
	}
	is := map[string]string{}
	for line := range strings.Lines(string(res.Stdout)) {
		digest, name, _ := strings.Cut(strings.TrimSpace(line), "  ")
		is[name] = digest
	}
	var bad []string
	for _, f := range files {
		if blobFile(is[f.Name]) != f.Name {
			bad = append(bad, f.Name)
		}
	}
	return bad, nil
}

// Busy returns the locks of the runs that could be at work with images; who removes
// some must hold them. A pull that has outlived its run is an error.
func Busy(ctx context.Context, h engine.Host) ([]string, error) {
	a, err := h.Batch(ctx, []engine.Ask{engine.AskGlob(record.LockPath("*")), unit.ListAsk(unitApp)})
	if err != nil {
		return nil, err
	}
	pulls, err := unit.Running(a, unitApp)
	if err != nil {
		return nil, err
	}
	if len(pulls) > 0 {
		return nil, engine.WithHint(fmt.Errorf("a pull that outlived its run is at work: %s", pulls[0]), "wait until it has ended, and run this again; on the node:\n    systemctl status "+pulls[0])
	}
	files, err := a.Glob(record.LockPath("*"))
	if err != nil {
		return nil, err
	}
	var out []string
	for name := range files {
		out = append(out, name)
	}
	slices.Sort(out)
	return out, nil
}
