package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tengil/tengil/plugins/registrytest"
	"github.com/tengil/tengil/plugins/sdk"
)

func archive(t *testing.T, s *registrytest.Sample) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	add := func(name string, data []byte) {
		if err := w.WriteHeader(&tar.Header{Name: name, Size: int64(len(data)), Mode: 0o644}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	for digest, data := range s.Blobs {
		add("blobs/sha256/"+strings.TrimPrefix(digest, "sha256:"), data)
	}
	add("blobs/sha256/"+strings.TrimPrefix(s.Manifest.Digest, "sha256:"), s.Manifest.Data)
	index, err := json.Marshal(map[string]any{"manifests": []any{map[string]any{"mediaType": s.Manifest.MediaType, "digest": s.Manifest.Digest}}})
	if err != nil {
		t.Fatal(err)
	}
	add("index.json", index)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// served returns a registry, the host of a web server, and how many bytes it has sent.
func served(t *testing.T, files map[string]http.HandlerFunc) (registry, string, *atomic.Int64) {
	t.Helper()
	var sent atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if f, ok := files[q.URL.Path]; ok {
			f(counted{w, &sent}, q)
			return
		}
		http.NotFound(w, q)
	}))
	t.Cleanup(server.Close)
	host := strings.TrimPrefix(server.URL, "http://")
	return newRegistry(func(string) string { return "other.lan " + host }), host, &sent
}

type counted struct {
	http.ResponseWriter
	sent *atomic.Int64
}

func (c counted) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p)
	c.sent.Add(int64(n))
	return n, err
}

func file(data []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, q *http.Request) {
		http.ServeContent(w, q, "x.tar", time.Time{}, bytes.NewReader(data))
	}
}

func TestConformance(t *testing.T) {
	s := registrytest.NewSample("amd64", nil)
	r, host, _ := served(t, map[string]http.HandlerFunc{"/images/app-1.0.tar": file(archive(t, s))})
	report := registrytest.Run(t.Context(), sdk.Adapt(r), registrytest.Options{
		Ref: host + "/images/app-1.0.tar@" + s.Manifest.Digest, Missing: host + "/images/app-2.0.tar@" + s.Manifest.Digest,
	})
	if err := report.Err(); err != nil {
		t.Error(err)
	}
	if passed, _, _ := report.Count(); passed != 11 {
		t.Errorf("%d checks passed: %+v", passed, report)
	}
	if _, err := r.Resolve(t.Context(), host+"/other.tar@"+s.Manifest.Digest, "amd64"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
	if _, err := r.Resolve(t.Context(), host+"/images/app-1.0.tar@"+s.Config.Digest, "amd64"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("another image: %v", err)
	}
	if _, err := r.Resolve(t.Context(), host+"/images/app-1.0.tar", "amd64"); err == nil || !strings.Contains(err.Error(), ".tar@"+s.Manifest.Digest) {
		t.Errorf("no digest: wanted to be told which it is, got %v", err)
	}
}

func TestResolveFetchesLittle(t *testing.T) {
	s := registrytest.NewSample("amd64", map[string][]byte{"big": make([]byte, 20<<20)})
	r, host, sent := served(t, map[string]http.HandlerFunc{"/a.tar": file(archive(t, s))})
	if _, err := r.Resolve(t.Context(), host+"/a.tar@"+s.Manifest.Digest, "amd64"); err != nil {
		t.Fatal(err)
	}
	if n := sent.Load(); n > 1<<20 {
		t.Errorf("%d bytes were fetched to find the manifest in an archive of 20 MB", n)
	}
}

func TestHostileServers(t *testing.T) {
	s := registrytest.NewSample("amd64", nil)
	whole := archive(t, s)
	r, host, _ := served(t, map[string]http.HandlerFunc{
		"/whole.tar": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(whole) },
		"/short.tar": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Range", "bytes 0-65535/100000")
			w.Header().Set("Content-Length", "65536")
			w.WriteHeader(http.StatusPartialContent)
			_, _ = w.Write(whole[:100])
		},
		"/other.tar": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Range", "bytes 5-10/100000")
			w.WriteHeader(http.StatusPartialContent)
			_, _ = w.Write(whole[5:11])
		},
		"/file.tar": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "file:///etc/passwd")
			w.WriteHeader(http.StatusFound)
		},
		"/busy.tar": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "9")
			w.WriteHeader(http.StatusTooManyRequests)
		},
		"/zip.tar": file([]byte("PK\x03\x04" + strings.Repeat("x", 3000))),
	})
	for name, want := range map[string]string{
		"whole": "sends no parts of a file", "short": "after 0 bytes of 100000", "other": "sends what was not asked for",
		"file": "redirects from http to file", "busy": "429", "zip": "this is no tar",
	} {
		if _, err := r.Resolve(t.Context(), host+"/"+name+".tar@"+s.Manifest.Digest, "amd64"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: wanted an error with %q, got %v", name, want, err)
		}
	}
	// Without having been named, a host is asked over TLS alone.
	if _, err := newRegistry(func(string) string { return "" }).Resolve(t.Context(), host+"/zip.tar@"+s.Manifest.Digest, "amd64"); err == nil || strings.Contains(err.Error(), "tar, or") {
		t.Errorf("without TLS: got %v", err)
	}
}
