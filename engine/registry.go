package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"strings"
	"time"
)

// A Registry finds images where skopeo alone would not: in a folder, in a package
// store, at a URL. Plugins are Registries. It is safe for parallel use, and ends a
// call soon after the call's context ended.
//
// Nobody trusts a Registry: who takes bytes from it checks them, with
// Manifest.Check and Descriptor.Verify.
//
// An error wraps fs.ErrNotExist where there is no such image, tag or blob,
// ErrUnauthorized where it wants other credentials, a *BusyError where it was asked
// too often, ErrTransient where trying again may help, and errors.ErrUnsupported
// for what Info does not list in Can.
type Registry interface {
	// Info says what it is and what it can do. It asks nobody.
	Info(ctx context.Context) (RegistryInfo, error)
	// Resolve returns the manifest of the one image that ref means on a processor of
	// architecture arch ("amd64"). ref is what a recipe wrote after the scheme.
	Resolve(ctx context.Context, ref, arch string) (Manifest, error)
	// Tags lists the tags of a repository, in any order.
	Tags(ctx context.Context, repository string) ([]string, error)
	// Search finds at most limit images by words of their name or description.
	Search(ctx context.Context, words string, limit int) ([]FoundImage, error)
	// Source says where skopeo can pull the image that Resolve returned for ref.
	Source(ctx context.Context, ref string, m Manifest) (ImageSource, error)
	// Blob opens a layer or the config of the image that Resolve returned for ref.
	// The caller closes it.
	Blob(ctx context.Context, ref string, d Descriptor) (io.ReadCloser, error)
}

// ErrUnauthorized is wrapped by errors of a Registry that wants credentials, or
// others. Match with errors.Is.
var ErrUnauthorized = errors.New("not authorized")

// A RegistryPower is something that not every Registry can do.
type RegistryPower string

// The powers. A Registry has Source or Blobs, or both.
const (
	CanTags   RegistryPower = "tags"
	CanSearch RegistryPower = "search"
	CanSource RegistryPower = "source" // hands out a place that skopeo pulls from
	CanBlobs  RegistryPower = "blobs"  // streams the image itself
)

// RegistryInfo is what a Registry says of itself.
type RegistryInfo struct {
	Name    string          `json:"name"`    // "registry-dir"
	Version string          `json:"version"` // "1.0.0"
	Scheme  string          `json:"scheme"`  // "dir": recipes write dir://photos/app:1.0
	Doc     string          `json:"doc,omitempty"`
	Can     []RegistryPower `json:"can"`
	// Env are the environment variables that it wants; it gets no others.
	Env []RegistryEnv `json:"env,omitempty"`
	// Hosts are what it connects to, for people.
	Hosts []string `json:"hosts,omitempty"`
	// Example is a ref that is there, for the conformance suite; "" if none is sure to be.
	Example string `json:"example,omitempty"`
}

// A RegistryEnv is an environment variable that a Registry wants.
type RegistryEnv struct {
	Name     string `json:"name"`
	Doc      string `json:"doc,omitempty"`
	Required bool   `json:"required,omitempty"`
	Secret   bool   `json:"secret,omitempty"`
}

// Has reports whether the Registry can do p.
func (i RegistryInfo) Has(p RegistryPower) bool { return slices.Contains(i.Can, p) }

// Check refuses what no Registry may say of itself. Names and schemes begin with a
// letter and go on with small letters, digits and dashes.
func (i RegistryInfo) Check() error {
	for _, w := range []struct{ what, is string }{{"name", i.Name}, {"scheme", i.Scheme}} {
		if !plainWord(w.is) {
			return fmt.Errorf("%s is %q; wanted small letters, digits and dashes, a letter first, at most 40", w.what, Shown(w.is, 60))
		}
	}
	if slices.Contains([]string{"docker", "oci", "oci-archive", "docker-archive", "http", "https", "file", "ssh"}, i.Scheme) {
		return fmt.Errorf("scheme %q is taken", i.Scheme)
	}
	if !oneLine(i.Version, 40) || i.Version == "" {
		return fmt.Errorf("version is %q; wanted a line of at most 40 bytes", Shown(i.Version, 60))
	}
	if !oneLine(i.Doc, 400) {
		return errors.New("doc is no line of at most 400 bytes")
	}
	if !i.Has(CanSource) && !i.Has(CanBlobs) {
		return errors.New("it has neither source nor blobs, so that nothing can be pulled from it")
	}
	for _, p := range i.Can {
		if !slices.Contains([]RegistryPower{CanTags, CanSearch, CanSource, CanBlobs}, p) {
			return fmt.Errorf("it has the power %q, which is none of tags, search, source and blobs", Shown(string(p), 60))
		}
	}
	for _, e := range i.Env {
		if !envName(e.Name) || !oneLine(e.Doc, 400) {
			return fmt.Errorf("it wants the variable %q; wanted a name of capital letters, digits and _ that is not used by programs in general", Shown(e.Name, 60))
		}
	}
	if !oneLine(i.Example, 300) {
		return errors.New("its example is no line of at most 300 bytes")
	}
	for _, h := range i.Hosts {
		if !oneLine(h, 260) {
			return fmt.Errorf("it names the host %q", Shown(h, 60))
		}
	}
	return nil
}

func plainWord(s string) bool {
	return s != "" && len(s) <= 40 && s[0] >= 'a' && s[0] <= 'z' &&
		strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// envName refuses what would change how a program is loaded.
func envName(s string) bool {
	return s != "" && len(s) <= 80 && s[0] >= 'A' && s[0] <= 'Z' &&
		strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == "" &&
		!strings.HasPrefix(s, "LD_") && !strings.HasPrefix(s, "DYLD_") && !strings.HasPrefix(s, "PYTHON") && !strings.HasPrefix(s, "PLUGIN_") &&
		s != "PATH" && s != "SSH_AUTH_SOCK"
}

func oneLine(s string, most int) bool {
	return len(s) <= most && Shown(s, most) == s && !strings.ContainsAny(s, "\n\t")
}

// A Descriptor names content by its digest.
type Descriptor struct {
	MediaType string `json:"mediaType"`
	Digest    string `json:"digest"` // "sha256:…"
	Size      int64  `json:"size"`
}

// A Manifest is an image for one platform, as its registry has it.
type Manifest struct {
	Digest    string
	MediaType string
	// Data are the bytes whose digest that is. A Registry with CanSource alone may
	// leave them to skopeo.
	Data []byte
}

// MaxManifest is the most bytes that a manifest, and what a Registry says at once,
// may have.
const MaxManifest = 4 << 20

// Check compares the data with the digest.
func (m Manifest) Check() error {
	switch {
	case !isDigest(m.Digest):
		return fmt.Errorf("manifest has the digest %q; wanted sha256: and 64 hexadecimal digits", Shown(m.Digest, 100))
	case len(m.Data) > MaxManifest:
		return fmt.Errorf("manifest has %d bytes; at most %d are taken", len(m.Data), MaxManifest)
	case m.Data == nil:
		return nil
	}
	if got := sha256.Sum256(m.Data); "sha256:"+hex.EncodeToString(got[:]) != m.Digest {
		return fmt.Errorf("%w: manifest is sha256:%x; the registry said %s", ErrWrongContent, got, m.Digest)
	}
	return nil
}

func isDigest(s string) bool {
	hexed, ok := strings.CutPrefix(s, "sha256:")
	return ok && len(hexed) == 64 && strings.Trim(hexed, "0123456789abcdef") == ""
}

// ErrWrongContent is wrapped by errors of content that is not what its digest or
// size says. Match with errors.Is.
var ErrWrongContent = errors.New("wrong content")

// Verify returns a reader of r whose end is io.EOF only if r had exactly d.Size
// bytes of d.Digest; any other end wraps ErrWrongContent, or is what r returned. It
// reads at most one byte more than d.Size. Close closes r.
func (d Descriptor) Verify(r io.ReadCloser) io.ReadCloser {
	return &verified{d: d, r: r, sum: sha256.New(), left: d.Size}
}

type verified struct {
	d    Descriptor
	r    io.ReadCloser
	sum  hash.Hash
	left int64
	err  error
}

func (v *verified) Read(p []byte) (int, error) {
	if v.err != nil {
		return 0, v.err
	}
	if int64(len(p)) > v.left+1 {
		p = p[:v.left+1]
	}
	n, err := v.r.Read(p)
	if int64(n) > v.left {
		v.err = fmt.Errorf("%w: %s has more than its %d bytes", ErrWrongContent, v.d.Digest, v.d.Size)
		return 0, v.err
	}
	_, _ = v.sum.Write(p[:n])
	v.left -= int64(n)
	v.err = err
	if errors.Is(err, io.EOF) {
		v.err = v.end()
	}
	return n, v.err
}

func (v *verified) end() error {
	if v.left > 0 {
		return fmt.Errorf("%w: %s ended after %d of %d bytes", ErrWrongContent, v.d.Digest, v.d.Size-v.left, v.d.Size)
	}
	if got := "sha256:" + hex.EncodeToString(v.sum.Sum(nil)); got != v.d.Digest {
		return fmt.Errorf("%w: wanted %s, got %s", ErrWrongContent, v.d.Digest, got)
	}
	return io.EOF
}

func (v *verified) Close() error { return v.r.Close() }

// A FoundImage is a hit of a search.
type FoundImage struct {
	Ref string `json:"ref"` // as it is written after the scheme
	Doc string `json:"doc,omitempty"`
}

// An ImageSource is a place where skopeo can pull, for a short time.
type ImageSource struct {
	Reference string // "git.lan:3000/ben/app", without tag or digest
	Username  string // "" for no credentials
	Password  Secret
	Expires   time.Time // zero if nobody knows
}
