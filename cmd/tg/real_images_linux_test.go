package main

import (
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// counting is what counts the bytes that a registry sends, in front of it.
func counting(registry string, n *atomic.Int64) http.Handler {
	to := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: registry})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { to.ServeHTTP(countingWriter{w, n}, r) })
}

type countingWriter struct {
	http.ResponseWriter
	n *atomic.Int64
}

func (w countingWriter) Write(p []byte) (int, error) {
	n, err := w.ResponseWriter.Write(p)
	w.n.Add(int64(n))
	return n, err
}

// serve serves until the test has ended.
func serve(t testing.TB, ln net.Listener, h http.Handler) {
	s := &http.Server{Handler: h}
	go s.Serve(ln) // ends with Close
	t.Cleanup(func() { s.Close() })
}

// randomLayers are n layers of random content that nothing can compress.
func randomLayers(t *testing.T, n int, size int64) []v1.Layer {
	t.Helper()
	var out []v1.Layer
	for range n {
		l, err := random.Layer(size, types.OCIUncompressedLayer)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, l)
	}
	return out
}

// pushLayers pushes an image of these layers.
func (r *realRig) pushLayers(t *testing.T, name string, layers []v1.Layer) {
	t.Helper()
	image, err := mutate.AppendLayers(mutate.MediaType(mutate.ConfigMediaType(empty.Image, types.OCIConfigJSON), types.OCIManifestSchema1), layers...)
	var config *v1.ConfigFile
	if err == nil {
		config, err = image.ConfigFile()
	}
	if err == nil {
		config = config.DeepCopy()
		config.OS, config.Architecture, config.Config.Cmd = "linux", "amd64", []string{"/bin/true"}
		image, err = mutate.ConfigFile(image, config)
	}
	if err != nil {
		t.Fatal(err)
	}
	r.push(t, changedLayout(t, r.images["redis"], func(v1.Image) (v1.Image, error) { return image, nil }), name)
}

// What comes from a real registry, with the real skopeo, is what the node lacks, and
// no more than two percent besides.
func TestRealPullsCostWhatChanged(t *testing.T) {
	needLXC(t)
	needImages(t)
	t.Parallel()
	rig := rigOf(newRealLab(t))
	rig.serveImages(t)
	rig.tg(t, "lab", "start", "--real")
	var sent atomic.Int64
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serve(t, ln, counting(rig.registry, &sent))
	counted := ln.Addr().String()
	const mb = 1 << 20
	shared, own, other, changed := randomLayers(t, 9, 2*mb), randomLayers(t, 1, 2*mb), randomLayers(t, 1, 2*mb), randomLayers(t, 1, mb)
	rig.pushLayers(t, "a:1", append(shared, own...))
	recipe := filepath.Join(rig.home, "images.star")
	pull := func(name string, refs ...string) int64 {
		t.Helper()
		text := `recipe(name = "` + name + `")` + "\n"
		for _, ref := range refs {
			text += `oci_pull("` + counted + "/stack/" + ref + `", policy = "always")` + "\n"
		}
		if err := os.WriteFile(recipe, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		before := sent.Load()
		rig.tg(t, "run", recipe, "--yes")
		return sent.Load() - before
	}
	check := func(what string, got, want int64) {
		t.Helper()
		const rest = 48 << 10 // manifests and configs, which are asked for several times
		if got < want || got > want+want/50+rest {
			t.Errorf("%s: %d bytes came from the registry, want %d and at most 2 %% more", what, got, want)
		}
		t.Logf("%s: %d bytes, of which %d are layers", what, got, want)
	}
	check("the first pull", pull("first", "a:1"), 20*mb)
	check("the same again", pull("first", "a:1"), 0)
	rig.pushLayers(t, "a:1", append(shared, changed...))
	check("one layer changed", pull("first", "a:1"), mb)
	rig.pushLayers(t, "b:1", append(shared, other...))
	check("another image with nine of ten layers", pull("second", "b:1"), 2*mb)

	rig.tg(t, "oci", "prune", "--yes")
	check("two at once that share nine of ten layers", pull("first", "a:1", "b:1"), (18+1+2)*mb)
	if said := rig.tg(t, "oci", "verify"); !strings.Contains(said, "2 images: whole") {
		t.Errorf("verify says %q", said)
	}
}
