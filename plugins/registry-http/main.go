// Command registry-http is a registry plugin of tengil: image archives on web
// servers, as skopeo and docker save write them. Recipes write
// web://downloads.example/app-1.0.tar@sha256:…, with the digest of the image's
// manifest. Nothing but what is needed of an archive is fetched.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/tengil/tengil/plugins/imagefile"
	"github.com/tengil/tengil/plugins/sdk"
	"github.com/tengil/tengil/plugins/webget"
)

func main() { sdk.Serve(newRegistry(os.Getenv)) }

type registry struct {
	web   *http.Client
	plain []string // hosts that are asked without TLS
}

func newRegistry(getenv func(string) string) registry {
	return registry{web: webget.Client(), plain: strings.Fields(getenv("WEB_PLAIN_HOSTS"))}
}

// Info implements sdk.Registry.
func (r registry) Info() sdk.Info {
	return sdk.Info{
		Name: "registry-http", Version: "1.0.0", Scheme: "web", Doc: "image archives on web servers, pinned by the digest of the image",
		Env:   []sdk.Env{{Name: "WEB_PLAIN_HOSTS", Doc: "hosts, with their ports, to be asked over http rather than https, parted by blanks"}},
		Hosts: []string{"those that references name"},
	}
}

var refPattern = regexp.MustCompile(`^([A-Za-z0-9.-]+(?::[0-9]{1,5})?)((?:/[A-Za-z0-9_~+-][A-Za-z0-9._~+-]*)+\.tar)(?:@(sha256:[0-9a-f]{64}))?$`)

// open reads what an archive holds. wanted is the digest of the reference.
func (r registry) open(ctx context.Context, ref string) (f *imagefile.File, wanted string, err error) {
	m := refPattern.FindStringSubmatch(ref)
	if m == nil || len(ref) > 1000 {
		return nil, "", fmt.Errorf("%.100q is no archive on a web server; wanted HOST/PATH.tar@sha256:DIGEST", ref)
	}
	scheme := "https://"
	if slices.Contains(r.plain, m[1]) {
		scheme = "http://"
	}
	at := &remote{ctx: ctx, web: r.web, url: scheme + m[1] + m[2]}
	if err := at.fetch(0); err != nil {
		return nil, "", err
	}
	f, err = imagefile.Tar(at, at.size)
	return f, m[3], err
}

// Resolve implements sdk.Registry.
func (r registry) Resolve(ctx context.Context, ref, arch string) (sdk.Manifest, error) {
	f, wanted, err := r.open(ctx, ref)
	if err != nil {
		return sdk.Manifest{}, err
	}
	m, err := f.Image("", wanted, arch)
	if err == nil && wanted == "" {
		return sdk.Manifest{}, fmt.Errorf("%q says no digest, and a web server is not trusted to have the same tomorrow; what is there now is %s@%s", ref, ref, m.Digest)
	}
	return m, err
}

// Blob implements sdk.Blobber.
func (r registry) Blob(ctx context.Context, ref string, d sdk.Descriptor) (io.ReadCloser, error) {
	f, _, err := r.open(ctx, ref)
	if err != nil {
		return nil, err
	}
	return f.Blob(d.Digest)
}

// A remote is a file on a web server, of which parts are fetched as they are read.
type remote struct {
	ctx  context.Context //nolint:containedctx // it belongs to one call
	web  *http.Client
	url  string
	size int64
	tag  string // ETag: it must be the same file all the time

	at   int64 // where part lies
	part []byte
}

// window is how much is fetched at once. Headers of a tar are far apart, layers are
// read on and on: so what follows on what was read last is fetched in larger parts.
const (
	window = 64 << 10
	large  = 4 << 20
)

// ReadAt implements io.ReaderAt.
func (f *remote) ReadAt(p []byte, off int64) (int, error) {
	n := 0
	for n < len(p) {
		if off+int64(n) >= f.size {
			return n, io.EOF
		}
		if at := off + int64(n); at < f.at || at >= f.at+int64(len(f.part)) {
			if err := f.fetch(at); err != nil {
				return n, err
			}
		}
		n += copy(p[n:], f.part[off+int64(n)-f.at:])
	}
	return n, nil
}

var contentRange = regexp.MustCompile(`^bytes ([0-9]+)-([0-9]+)/([0-9]+)$`)

// fetch gets the part that begins at off.
func (f *remote) fetch(off int64) error {
	size := int64(window)
	if off > 0 && off == f.at+int64(len(f.part)) {
		size = large
	}
	req, err := http.NewRequestWithContext(f.ctx, http.MethodGet, f.url, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", off, off+size-1))
	res, err := webget.Do(f.web, req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	m := contentRange.FindStringSubmatch(res.Header.Get("Content-Range"))
	if res.StatusCode != http.StatusPartialContent || m == nil {
		return fmt.Errorf("%s sends no parts of a file (it answers %s to a request for a range); archives need a server that does", req.URL.Host, res.Status)
	}
	begin, _ := strconv.ParseInt(m[1], 10, 64)
	total, err := strconv.ParseInt(m[3], 10, 64)
	if begin != off || err != nil || f.size != 0 && total != f.size || f.size != 0 && res.Header.Get("ETag") != f.tag {
		return sdk.Temporary("%s was changed while it was read, or %s sends what was not asked for: %s", req.URL.Path, req.URL.Host, m[0])
	}
	part, err := io.ReadAll(io.LimitReader(res.Body, size))
	if err != nil || len(part) == 0 {
		return sdk.Temporary("%s: after %d bytes of %d: %w", req.URL.Host, off, total, errors.Join(err, io.ErrUnexpectedEOF))
	}
	f.at, f.part, f.size, f.tag = off, part, total, res.Header.Get("ETag")
	return nil
}
