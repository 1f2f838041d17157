package registrytest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/tengil/tengil/engine"
)

// A suite is what the checks so far have found out.
type suite struct {
	reg      engine.Registry
	o        Options
	what     engine.RegistryInfo
	ref      string
	manifest engine.Manifest
	blobList []engine.Descriptor // the config first
}

func (s *suite) info(ctx context.Context) error {
	i, err := s.reg.Info(ctx)
	if err != nil {
		return err
	}
	if err := i.Check(); err != nil {
		return err
	}
	again, err := s.reg.Info(ctx)
	if err != nil || !reflect.DeepEqual(i, again) {
		return fmt.Errorf("asked again it says %+v, %w; before it was %+v", again, orNone(err), i)
	}
	s.what = i
	if s.ref = s.o.Ref; s.ref == "" {
		s.ref = i.Example
	}
	return nil
}

func orNone(err error) error {
	if err == nil {
		return errors.New("no error")
	}
	return err
}

// known is the reason why a check cannot be made.
func (s *suite) known() error {
	switch {
	case s.what.Name == "":
		return skip("it does not say what it is")
	case s.ref == "":
		return skip("no image to try with: it names no example, and none was given")
	}
	return nil
}

func (s *suite) streams() error {
	switch {
	case s.what.Name != "" && !s.what.Has(engine.CanBlobs):
		return skip("it does not stream")
	case s.manifest.Digest == "":
		return skip("the image could not be resolved")
	}
	return nil
}

func (s *suite) resolve(ctx context.Context) error {
	if err := s.known(); err != nil {
		return err
	}
	m, err := s.reg.Resolve(ctx, s.ref, s.o.Arch)
	if err != nil {
		return fmt.Errorf("%q: %w", s.ref, err)
	}
	if err := m.Check(); err != nil {
		return err
	}
	if m.Data == nil {
		if s.what.Has(engine.CanBlobs) {
			return errors.New("it streams blobs, but the manifest that names them is empty")
		}
		s.manifest = m
		return nil
	}
	blobs, err := parseManifest(m.Data)
	if err != nil {
		return err
	}
	s.manifest, s.blobList = m, blobs
	return nil
}

// parseManifest returns the descriptors of an image, the config first.
func parseManifest(data []byte) ([]engine.Descriptor, error) {
	var j struct {
		Manifests []json.RawMessage   `json:"manifests"`
		Config    engine.Descriptor   `json:"config"`
		Layers    []engine.Descriptor `json:"layers"`
	}
	if err := json.Unmarshal(data, &j); err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	switch {
	case j.Manifests != nil:
		return nil, errors.New("it returns an index; wanted the manifest of the image for the architecture")
	case j.Config.Digest == "":
		return nil, errors.New("manifest has no config")
	case len(j.Layers) == 0:
		return nil, errors.New("manifest has no layers")
	}
	blobs := append([]engine.Descriptor{j.Config}, j.Layers...)
	for _, d := range blobs {
		if d.Size < 0 || (engine.Manifest{Digest: d.Digest}).Check() != nil {
			return nil, fmt.Errorf("manifest names a blob of digest %q and %d bytes", engine.Shown(d.Digest, 100), d.Size)
		}
	}
	return blobs, nil
}

// repository returns the ref without its tag or digest.
func (s *suite) repository() string {
	name, _, _ := strings.Cut(s.ref, "@")
	if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') {
		name = name[:i]
	}
	return name
}

func (s *suite) tag() string {
	if _, tag, ok := strings.Cut(s.ref[len(s.repository()):], ":"); ok && !strings.Contains(s.ref, "@") {
		return tag
	}
	return ""
}

func notFound(what string, err error) error {
	switch {
	case err == nil:
		return fmt.Errorf("%s: there is an answer; wanted an error that says not found", what)
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s: wanted an error that says not found, got: %w", what, err)
	}
	return nil
}

func (s *suite) missing(ctx context.Context) error {
	if err := s.known(); err != nil {
		return err
	}
	ref := s.o.Missing
	if ref == "" {
		ref = s.repository() + "-that-nobody-has:0"
	}
	_, err := s.reg.Resolve(ctx, ref, s.o.Arch)
	return notFound(fmt.Sprintf("%q", ref), err)
}

func (s *suite) malformed(ctx context.Context) error {
	if s.what.Name == "" {
		return skip("it does not say what it is")
	}
	for _, ref := range []string{"", "../../etc/passwd:1", "a/../../b", "-o", "a b", "a\nb", "a\x00b", "$(id)", "http://127.0.0.1/x", "a@sha256:12", ":", "@", strings.Repeat("a/", 5000), "\U0001F480"} {
		if m, err := s.reg.Resolve(ctx, ref, s.o.Arch); err == nil {
			return fmt.Errorf("%q: it has a manifest, %s; wanted an error", engine.Shown(ref, 40), engine.Shown(m.Digest, 100))
		} else if ctx.Err() != nil {
			return fmt.Errorf("%q: %w", engine.Shown(ref, 40), err)
		}
	}
	if s.ref != "" {
		if _, err := s.reg.Resolve(ctx, s.ref, s.o.Arch); err != nil {
			return fmt.Errorf("after these, %q: %w", s.ref, err)
		}
	}
	return nil
}

// read reads a whole blob and checks it.
func (s *suite) read(ctx context.Context, d engine.Descriptor) ([]byte, error) {
	r, err := s.reg.Blob(ctx, s.ref, d)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.Digest, err)
	}
	var kept bytes.Buffer
	_, err = io.Copy(&most{&kept, 1 << 20}, d.Verify(r))
	if err := errors.Join(err, r.Close()); err != nil {
		return nil, err
	}
	return kept.Bytes(), nil
}

// most keeps the first bytes and drops the rest.
type most struct {
	to   *bytes.Buffer
	left int
}

func (m *most) Write(p []byte) (int, error) {
	n := min(len(p), m.left)
	m.to.Write(p[:n])
	m.left -= n
	return len(p), nil
}

func (s *suite) blobs(ctx context.Context) error {
	if err := s.streams(); err != nil {
		return err
	}
	for i, d := range s.blobList {
		data, err := s.read(ctx, d)
		if err != nil {
			return err
		}
		if i > 0 {
			continue
		}
		var config struct{ Architecture, OS string }
		if err := json.Unmarshal(data, &config); err != nil {
			return fmt.Errorf("config %s: %w", d.Digest, err)
		}
		if config.Architecture != "" && config.Architecture != s.o.Arch {
			return fmt.Errorf("image is for %q; wanted %q", config.Architecture, s.o.Arch)
		}
	}
	return nil
}

func (s *suite) missingBlob(ctx context.Context) error {
	if err := s.streams(); err != nil {
		return err
	}
	d := engine.Descriptor{MediaType: "application/octet-stream", Digest: "sha256:" + strings.Repeat("0", 64), Size: 3}
	r, err := s.reg.Blob(ctx, s.ref, d)
	if err == nil { // a stream may tell at its first byte
		_, err = io.ReadAll(d.Verify(r))
		_ = r.Close()
	}
	return notFound(d.Digest, err)
}

// largest returns the blob that is best for leaving early.
func (s *suite) largest() engine.Descriptor {
	return slices.MaxFunc(s.blobList, func(a, b engine.Descriptor) int { return int(min(max(a.Size-b.Size, -1), 1)) })
}

func (s *suite) leave(ctx context.Context) error {
	if err := s.streams(); err != nil {
		return err
	}
	for range 20 {
		r, err := s.reg.Blob(ctx, s.ref, s.largest())
		if err != nil {
			return err
		}
		if _, err := r.Read(make([]byte, 1)); err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("first byte: %w", err)
		}
		if err := r.Close(); err != nil {
			return fmt.Errorf("close after one byte: %w", err)
		}
	}
	_, err := s.read(ctx, s.largest())
	return err
}

func (s *suite) parallel(ctx context.Context) error {
	if s.manifest.Digest == "" {
		return skip("the image could not be resolved")
	}
	const askers = 8
	errs := make(chan error, askers)
	for range askers {
		go func() {
			m, err := s.reg.Resolve(ctx, s.ref, s.o.Arch)
			if err == nil && m.Digest != s.manifest.Digest {
				err = fmt.Errorf("one of several got %s; wanted %s", engine.Shown(m.Digest, 100), s.manifest.Digest)
			}
			if err == nil && len(s.blobList) > 0 && s.what.Has(engine.CanBlobs) {
				_, err = s.read(ctx, s.blobList[0])
			}
			errs <- err
		}()
	}
	var all []error
	for range askers {
		all = append(all, <-errs)
	}
	return errors.Join(all...)
}

func (s *suite) cancelled(ctx context.Context) error {
	if err := s.known(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	if m, err := s.reg.Resolve(ctx, s.ref, s.o.Arch); err == nil {
		return fmt.Errorf("it resolves %q to %s though the call was cancelled before", s.ref, engine.Shown(m.Digest, 100))
	} else if !errors.Is(err, context.Canceled) {
		return fmt.Errorf("wanted an error that says cancelled, got: %w", err)
	}
	return nil
}

func (s *suite) cancelledStream(ctx context.Context) error {
	if err := s.streams(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	d := s.largest()
	r, err := s.reg.Blob(ctx, s.ref, d)
	if err != nil {
		return err
	}
	defer r.Close()
	if _, err := r.Read(make([]byte, 1)); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("first byte: %w", err)
	}
	cancel()
	// What was on its way may still come, and no more than that.
	n, err := io.Copy(io.Discard, io.LimitReader(r, d.Size))
	if n == d.Size && d.Size > 16<<20 && err == nil {
		return fmt.Errorf("all %d bytes came though the call was cancelled after the first", d.Size)
	}
	return nil
}

func (s *suite) tags(ctx context.Context) error {
	if err := s.known(); err != nil {
		return err
	}
	if !s.what.Has(engine.CanTags) {
		return skip("it does not list tags")
	}
	tags, err := s.reg.Tags(ctx, s.repository())
	if err != nil {
		return fmt.Errorf("%q: %w", s.repository(), err)
	}
	seen := map[string]bool{}
	for _, t := range tags {
		if !tagPattern.MatchString(t) {
			return fmt.Errorf("%q is no tag", engine.Shown(t, 140))
		}
		if seen[t] {
			return fmt.Errorf("tag %q comes twice", t)
		}
		seen[t] = true
	}
	if t := s.tag(); t != "" && !seen[t] {
		return fmt.Errorf("%q resolves, but %q is none of the %d tags of %q", s.ref, t, len(tags), s.repository())
	}
	none := s.repository() + "-that-nobody-has"
	_, err = s.reg.Tags(ctx, none)
	return notFound(fmt.Sprintf("tags of %q", none), err)
}

var (
	tagPattern    = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$`)
	sourcePattern = regexp.MustCompile(`^[a-zA-Z0-9.-]+(:[0-9]{1,5})?(/[a-z0-9]+([._-]+[a-z0-9]+)*)+$`)
)

func (s *suite) search(ctx context.Context) error {
	if err := s.known(); err != nil {
		return err
	}
	if !s.what.Has(engine.CanSearch) {
		return skip("it does not search")
	}
	word := regexp.MustCompile(`[a-z0-9]+`).FindString(s.repository()[strings.LastIndexByte(s.repository(), '/')+1:])
	found, err := s.reg.Search(ctx, word, 50)
	if err != nil {
		return fmt.Errorf("%q: %w", word, err)
	}
	if len(found) == 0 || len(found) > 50 {
		return fmt.Errorf("%q, which is part of %q, finds %d images; wanted 1 to 50", word, s.ref, len(found))
	}
	for _, f := range found {
		if f.Ref == "" || strings.Contains(f.Ref, "://") || engine.Shown(f.Ref, 300) != f.Ref {
			return fmt.Errorf("%q finds %q; wanted a reference without the scheme", word, engine.Shown(f.Ref, 100))
		}
	}
	if found, err = s.reg.Search(ctx, word, 1); err != nil || len(found) != 1 {
		return fmt.Errorf("with a limit of 1, %q finds %d images, %w", word, len(found), orNone(err))
	}
	const none = "qqzznobodyhasthiszzqq"
	if found, err = s.reg.Search(ctx, none, 50); err != nil || len(found) > 0 {
		return fmt.Errorf("%q finds %d images, %w; wanted none", none, len(found), orNone(err))
	}
	return nil
}

func (s *suite) source(ctx context.Context) error {
	if err := s.known(); err != nil {
		return err
	}
	switch {
	case !s.what.Has(engine.CanSource):
		return skip("it has no source for skopeo")
	case s.manifest.Digest == "":
		return skip("the image could not be resolved")
	}
	at, err := s.reg.Source(ctx, s.ref, s.manifest)
	if err != nil {
		return err
	}
	switch {
	case !sourcePattern.MatchString(at.Reference):
		return fmt.Errorf("source is %q; wanted HOST/REPOSITORY without scheme, tag and digest", engine.Shown(at.Reference, 200))
	case at.Username == "" && at.Password != "":
		return errors.New("source has a password without a user")
	case strings.ContainsAny(at.Username+at.Password.Reveal(), "\n\x00") || strings.Contains(at.Username, ":"):
		return errors.New("source has a colon in the name of its user, or a line end in its credentials")
	case !at.Expires.IsZero() && at.Expires.Before(time.Now()):
		return fmt.Errorf("source has expired at %s, before it was given", at.Expires.UTC().Format(time.RFC3339))
	}
	return nil
}

func (s *suite) unclaimed(ctx context.Context) error {
	if err := s.known(); err != nil {
		return err
	}
	for _, p := range []struct {
		power engine.RegistryPower
		call  func() error
	}{
		{engine.CanTags, func() error { _, err := s.reg.Tags(ctx, s.repository()); return err }},
		{engine.CanSearch, func() error { _, err := s.reg.Search(ctx, "a", 1); return err }},
		{engine.CanSource, func() error { _, err := s.reg.Source(ctx, s.ref, s.manifest); return err }},
		{engine.CanBlobs, func() error {
			r, err := s.reg.Blob(ctx, s.ref, engine.Descriptor{Digest: s.manifest.Digest})
			if err == nil { // a stream tells at its first byte
				_, err = r.Read(make([]byte, 1))
				_ = r.Close()
			}
			return err
		}},
	} {
		if s.what.Has(p.power) {
			continue
		}
		if err := p.call(); !errors.Is(err, errors.ErrUnsupported) {
			return fmt.Errorf("%s: wanted an error that says unsupported, got: %w", p.power, orNone(err))
		}
	}
	return nil
}
