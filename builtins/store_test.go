package builtins_test

import (
	"archive/tar"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tengil/tengil/builtins/oci"
	"github.com/tengil/tengil/engine/lab"
	"github.com/tengil/tengil/engine/plan"
)

// noise is content that does not compress.
func noise(seed uint64, n int) string {
	r := rand.New(rand.NewPCG(seed, 0))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return string(b)
}

// layered is an image of large layers, each given by a number.
func layered(docker bool, layers ...uint64) lab.ImageSpec {
	spec := lab.ImageSpec{Entrypoint: []string{"/bin/sh"}, Env: []string{"PATH=/bin"}, Base: "debian12", Docker: docker}
	for _, n := range layers {
		spec.Layers = append(spec.Layers, []lab.LayerEntry{{Header: tar.Header{Name: "layer"}, Content: noise(n, 200<<10)}})
	}
	return spec
}

// blobs returns the names of the store's blobs with when they were written.
func (b *bench) blobs() map[string]int64 {
	b.t.Helper()
	dir := filepath.Join(b.lab.Root(), "var/lib/tengil/store/blobs/sha256")
	list, err := os.ReadDir(dir)
	if err != nil {
		b.t.Fatal(err)
	}
	out := map[string]int64{}
	for _, e := range list {
		fi, err := e.Info()
		if err != nil {
			b.t.Fatal(err)
		}
		out[e.Name()] = fi.ModTime().UnixNano()
	}
	return out
}

// fetched returns how many large layers were written since before.
func (b *bench) fetched(before map[string]int64) (large int) {
	b.t.Helper()
	for name, at := range b.blobs() {
		fi, err := os.Stat(filepath.Join(b.lab.Root(), "var/lib/tengil/store/blobs/sha256", name))
		if err != nil {
			b.t.Fatal(err)
		}
		if before[name] != at && fi.Size() > 150<<10 {
			large++
		}
	}
	return large
}

func TestOnlyLayersThatChangedAreFetched(t *testing.T) {
	t.Parallel()
	for _, docker := range []bool{false, true} {
		b := openBench(t)
		const pull = `oci_pull("docker.io/library/own:1", policy = "always")`
		b.add(ownImage, layered(docker, 1, 2, 3))
		b.mustRun(pull)
		if n := b.fetched(nil); n != 3 {
			t.Errorf("the first pull fetched %d layers, want 3", n)
		}
		before := b.blobs()
		b.add(ownImage, layered(docker, 1, 2, 4))
		b.mustRun(pull)
		if n := b.fetched(before); n != 1 {
			t.Errorf("an update of one layer fetched %d", n)
		}
		before = b.blobs()
		b.add("docker.io/library/other:1", layered(docker, 1, 2, 5))
		b.mustRun(pull + "\n" + `oci_pull("docker.io/library/other:1")`)
		if n := b.fetched(before); n != 1 {
			t.Errorf("an image that shares two of three layers fetched %d", n)
		}
	}
}

// Two images that are pulled side by side and share most of what they have fetch it once.
func TestTwoPullsFetchWhatTheyShareOnce(t *testing.T) {
	t.Parallel()
	b := openBench(t)
	b.add("docker.io/library/a:1", layered(false, 1, 2, 3, 4, 5, 6))
	b.add("docker.io/library/b:1", layered(false, 1, 2, 3, 4, 5, 7))
	b.mustRun(`oci_pull("docker.io/library/a:1")` + "\n" + `oci_pull("docker.io/library/b:1")`)
	if n, copies := b.fetched(nil), b.ran("skopeo", "copy"); n != 7 || copies != 2 {
		t.Errorf("%d layers fetched by %d pulls, want 7 by 2", n, copies)
	}
}

// An archive that was deleted is no change, and is made again for who needs it.
func TestADeletedArchiveIsMadeOfTheStore(t *testing.T) {
	t.Parallel()
	b := openBench(t)
	b.add(ownImage, layered(true, 1, 2))
	const pull = `img = oci_pull("docker.io/library/own:1")`
	b.mustRun(pull)
	archives, err := filepath.Glob(filepath.Join(b.lab.Root(), "var/lib/vz/template/cache/*.tar"))
	if err != nil || len(archives) != 1 {
		t.Fatalf("archives are %q: %v", archives, err)
	}
	whole, err := os.ReadFile(archives[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(archives[0]); err != nil {
		t.Fatal(err)
	}
	if p := b.plan(pull); !p.Empty() {
		t.Errorf("there is something to do:\n%s", plan.Text(p))
	}
	b.mustRun(pull + `
pct_create("one", image = img, memory = "64M", disk = "1G")
pct_create("two", image = img, memory = "64M", disk = "1G")
`)
	again, err := os.ReadFile(archives[0])
	if err != nil || len(again) != len(whole) {
		t.Errorf("%s has %d bytes, had %d: %v", path.Base(archives[0]), len(again), len(whole), err)
	}
	if n := b.ran("skopeo", "copy"); n != 1 {
		t.Errorf("the image was pulled %d times", n)
	}
}

// A removal of images that is cut anywhere leaves a store in which nothing is wrong,
// and the next one goes on.
func TestACutPruneLeavesNothingWrong(t *testing.T) {
	t.Parallel()
	b := openBench(t)
	b.add(ownImage, layered(false, 1, 2))
	b.add("docker.io/library/other:1", layered(true, 1, 3))
	const pull = `oci_pull("docker.io/library/own:1")` + "\n" + `oci_pull("docker.io/library/other:1")`
	look := func() *oci.Inventory {
		t.Helper()
		inv, err := oci.Look(t.Context(), b.host, "local")
		if err != nil {
			t.Fatal(err)
		}
		return inv
	}
	goes := func(k oci.Kept) bool { return slices.Contains(k.Refs, "docker.io/library/other:1") || len(k.Refs) == 0 }
	for cut := 0; ; cut++ {
		b.mustRun(pull)
		removals := look().Without(goes, true)
		for _, r := range removals[:min(cut, len(removals))] {
			if err := r.Remove(t.Context(), b.host); err != nil {
				t.Fatal(err)
			}
		}
		faults, err := look().Verify(t.Context(), b.host, func(int64, int64) {})
		if err != nil || len(faults) > 0 {
			t.Errorf("after %d of %d removals: %v, %v", cut, len(removals), faults, err)
		}
		for _, r := range look().Without(goes, true) {
			if err := r.Remove(t.Context(), b.host); err != nil {
				t.Fatal(err)
			}
		}
		inv := look()
		if len(inv.Images) != 1 || len(inv.Loose) > 0 || len(inv.Pulls) > 0 || len(inv.Images[0].Missing) > 0 {
			t.Errorf("after %d removals and a whole prune there is %+v", cut, inv)
		}
		if cut >= len(removals) {
			if cut < 3 {
				t.Errorf("only %d removals", cut)
			}
			return
		}
	}
}

// A pull goes on when the run that began it was killed: what it writes is not removed.
func TestNothingIsRemovedUnderAPull(t *testing.T) {
	t.Parallel()
	b := openBench(t)
	if _, err := oci.Busy(t.Context(), b.host); err != nil {
		t.Fatal(err)
	}
	var said error
	b.lab.Fault(lab.Fault{Prefix: []string{"skopeo", "copy"}, Do: lab.Pause, Then: func([]string) { _, said = oci.Busy(t.Context(), b.host) }})
	b.add(ownImage, layered(false, 1))
	b.mustRun(`oci_pull("docker.io/library/own:1")`)
	if said == nil || !strings.Contains(said.Error(), "a pull that outlived its run is at work: tengil-images-pull.") {
		t.Errorf("while a pull is at work: %v", said)
	}
	if _, err := oci.Busy(t.Context(), b.host); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}
