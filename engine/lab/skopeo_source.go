package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// An imageSource is what skopeo reads an image from.
type imageSource interface {
	// manifest returns a manifest or index by digest; "" is the image's own.
	manifest(ctx context.Context, digest string) (rawManifest, error)
	// blob opens a blob, whose digest the caller checks. The caller closes it.
	blob(ctx context.Context, digest string) (io.ReadCloser, error)
}

// A rawManifest is a manifest or index as it is stored.
type rawManifest struct {
	data      []byte
	mediaType string
}

func (m rawManifest) digest() string { return digestOf(m.data) }

func (m rawManifest) parse() (manifest, error) {
	var parsed manifest
	err := json.Unmarshal(m.data, &parsed)
	return parsed, err
}

// source opens an image and finds its manifest. prefix is that of the flags.
func (s *skopeoRun) source(n imageName, prefix string) (imageSource, error) {
	switch n.transport {
	case "docker":
		d, err := s.dockerSource(n.repo, n.manifestRef(), prefix)
		if err != nil {
			return nil, err
		}
		_, err = d.manifest(s.ctx, "")
		return d, err
	case "oci-archive":
		return s.archiveSource(n)
	}
	return s.layoutSource(n)
}

// A dockerSource is an image of a registry.
type dockerSource struct {
	repo    name.Repository
	shown   dockerRepo
	ref     string // tag or digest
	reg     http.RoundTripper
	auth    authn.Authenticator
	options []remote.Option
	got     rawManifest // the image's own, once read
}

// dockerSource makes sure that the registry answers and returns the image,
// which need not exist.
func (s *skopeoRun) dockerSource(repo dockerRepo, ref, prefix string) (*dockerSource, error) {
	if s.reg.unknown(repo) {
		s.missing = repo.with(ref)
	}
	if err := s.ping(repo.host, s.tlsVerify(prefix)); err != nil {
		return nil, err
	}
	var options []name.Option
	if !s.tlsVerify(prefix) {
		options = append(options, name.Insecure)
	}
	r, err := name.NewRepository(repo.String(), options...)
	if err != nil {
		return nil, errRefFormat
	}
	auth, err := s.credentials(repo.host, prefix)
	if err != nil {
		return nil, err
	}
	return &dockerSource{repo: r, shown: repo, ref: ref, reg: s.reg, auth: auth, options: []remote.Option{
		remote.WithTransport(s.reg), remote.WithAuth(auth), remote.WithContext(s.ctx),
		// skopeo does not try again unless it is told to (--retry-times).
		remote.WithRetryBackoff(remote.Backoff{Steps: 1}), remote.WithRetryStatusCodes(),
	}}, nil
}

// ping asks the registry whether it is one: over HTTPS and, if that need not be
// verified, over HTTP.
func (s *skopeoRun) ping(host string, verify bool) error {
	if host == "docker.io" {
		host = "registry-1.docker.io"
	}
	schemes := []string{"https", "http"}
	if verify {
		schemes = schemes[:1]
	}
	client := &http.Client{Transport: s.reg}
	var err error
	for _, scheme := range schemes {
		var req *http.Request
		if req, err = http.NewRequestWithContext(s.ctx, http.MethodGet, scheme+"://"+host+"/v2/", nil); err != nil {
			return err
		}
		var resp *http.Response
		if resp, err = client.Do(req); err == nil {
			if err = resp.Body.Close(); err != nil || resp.StatusCode == http.StatusOK || resp.StatusCode == http.StatusUnauthorized {
				return err
			}
			err = fmt.Errorf("received unexpected HTTP status: %s", resp.Status)
			break
		}
	}
	if s.ctx.Err() != nil {
		return &endedError{exitKilled}
	}
	if s.node.pull {
		fmt.Fprintf(s.stderr, "lab: no network: this lab pulls real images, and %s cannot be reached\n", host)
	}
	return fmt.Errorf("pinging container registry %s: %w", host, err)
}

func (d *dockerSource) manifest(ctx context.Context, digest string) (rawManifest, error) {
	own := digest == "" || digest == d.ref
	if own && d.got.data != nil {
		return d.got, nil
	}
	ref := orElse(digest, d.ref)
	var at name.Reference = d.repo.Tag(ref)
	if isDigest(ref) {
		at = d.repo.Digest(ref)
	}
	desc, err := remote.Get(at, d.options...)
	if err != nil {
		return rawManifest{}, d.readError(ctx, ref, err)
	}
	m := rawManifest{desc.Manifest, string(desc.MediaType)}
	if own {
		d.got = m
	}
	return m, nil
}

// readError puts what a registry answered into skopeo's words.
func (d *dockerSource) readError(ctx context.Context, ref string, err error) error {
	if ctx.Err() != nil {
		return &endedError{exitKilled}
	}
	doing := fmt.Sprintf("reading manifest %s in %s", ref, d.shown)
	var answer *transport.Error
	switch {
	case isDigest(ref) && strings.Contains(err.Error(), "does not match requested digest"):
		return fmt.Errorf("%s: Manifest does not match provided manifest digest %s", doing, ref)
	case !errors.As(err, &answer):
		return fmt.Errorf("%s: %w", doing, err)
	case answer.StatusCode == http.StatusNotFound:
		return fmt.Errorf("%s: %w", doing, errNotFound)
	case answer.StatusCode == http.StatusUnauthorized:
		return fmt.Errorf("%s: unauthorized: authentication required", doing)
	case len(answer.Errors) > 0:
		e := answer.Errors[0]
		return fmt.Errorf("%s: %s: %s", doing, knownCode(string(e.Code)), e.Message)
	}
	return fmt.Errorf("%s: received unexpected HTTP status: %d %s", doing, answer.StatusCode, http.StatusText(answer.StatusCode))
}

// blob opens a blob without checking its digest.
func (d *dockerSource) blob(ctx context.Context, digest string) (io.ReadCloser, error) {
	rt, err := transport.NewWithContext(ctx, d.repo.Registry, d.auth, d.reg, []string{d.repo.Scope(transport.PullScope)})
	if err != nil {
		return nil, fmt.Errorf("fetching blob: %w", err)
	}
	url := d.repo.Scheme() + "://" + d.repo.RegistryStr() + "/v2/" + d.repo.RepositoryStr() + "/blobs/" + digest
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := (&http.Client{Transport: rt}).Do(req)
	switch {
	case ctx.Err() != nil:
		return nil, &endedError{exitKilled}
	case err != nil:
		return nil, fmt.Errorf("fetching blob: %w", err)
	case resp.StatusCode == http.StatusNotFound:
		return nil, errors.Join(errors.New("fetching blob: blob unknown to registry"), resp.Body.Close())
	case resp.StatusCode != http.StatusOK:
		return nil, errors.Join(fmt.Errorf("fetching blob: received unexpected HTTP status: %s", resp.Status), resp.Body.Close())
	}
	return resp.Body, nil
}

// credentials returns what skopeo sends to a registry.
func (s *skopeoRun) credentials(host, prefix string) (authn.Authenticator, error) {
	creds := s.flags[prefix+"creds"]
	if creds == "" && s.flags[prefix+"no-creds"] != "true" {
		known, err := s.passwords(prefix)
		if err != nil {
			return nil, err
		}
		creds = known.get(host)
	}
	if creds == "" {
		return authn.Anonymous, nil
	}
	user, password, _ := strings.Cut(creds, ":")
	return &authn.Basic{Username: user, Password: password}, nil
}

// An image is the manifest that is chosen for the wanted platform.
type image struct {
	src imageSource
	raw rawManifest // as stored
	manifest
	configBlob []byte
}

// choose returns the image itself or, of an index, the one for the platform.
func (s *skopeoRun) choose(src imageSource) (*image, error) {
	raw, err := src.manifest(s.ctx, "")
	if err != nil {
		return nil, err
	}
	m, err := raw.parse()
	if err != nil {
		return nil, err
	}
	if isIndexType(raw.mediaType) {
		d, err := s.platform(m, raw.mediaType)
		if err != nil {
			return nil, &choiceError{err}
		}
		if raw, err = src.manifest(s.ctx, d.Digest); err != nil {
			return nil, err
		}
		if m, err = raw.parse(); err != nil {
			return nil, err
		}
	}
	img := &image{src: src, raw: raw, manifest: m}
	if m.Config == nil {
		return nil, fmt.Errorf("unsupported manifest type %q", raw.mediaType)
	}
	img.configBlob, err = img.readBlob(s.ctx, m.Config.Digest)
	return img, readingBlob(err)
}

// A choiceError says that an index has nothing for the platform. inspect and
// copy put different words before it.
type choiceError struct{ error }

// platform returns the entry of an index for the wanted platform.
func (s *skopeoRun) platform(m manifest, mediaType string) (descriptor, error) {
	for _, d := range m.Manifests {
		if d.Platform != nil && d.Platform.Architecture == s.arch() && d.Platform.OS == s.os() {
			return d, nil
		}
	}
	what := "image index"
	if mediaType == mediaDockerList {
		what = "manifest list"
	}
	return descriptor{}, fmt.Errorf("no image found in %s for architecture %q, variant %q, OS %q", what, s.arch(), s.flags["override-variant"], s.os())
}

// readBlob reads a small blob and checks its digest.
func (img *image) readBlob(ctx context.Context, digest string) ([]byte, error) {
	r, err := img.src.blob(ctx, digest)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var b bytes.Buffer
	if err := copyBlob(ctx, &b, r, digest); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// isDocker reports whether the image has Docker's media types.
func (img *image) isDocker() bool {
	return img.raw.mediaType == mediaDockerManifest
}

// ociConfig returns the config as OCI's types hold it; what only Docker knows,
// such as health checks, is dropped.
func (img *image) ociConfig() (ociConfigFile, error) {
	var c ociConfigFile
	if err := json.Unmarshal(img.configBlob, &c); err != nil {
		return c, err
	}
	return c, nil
}

// toOCI returns the image as an OCI image: itself, or converted from Docker's
// media types, which changes the digests of config and manifest but not of layers.
func (img *image) toOCI() (*image, error) {
	if !img.isDocker() {
		return img, nil
	}
	c, err := img.ociConfig()
	if err != nil {
		return nil, err
	}
	config, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	m := manifest{
		SchemaVersion: 2, MediaType: mediaOCIManifest,
		Config: &descriptor{MediaType: mediaOCIConfig, Digest: digestOf(config), Size: int64(len(config))},
	}
	for _, l := range img.Layers {
		m.Layers = append(m.Layers, descriptor{MediaType: ociLayerType(l.MediaType), Digest: l.Digest, Size: l.Size})
	}
	data, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	return &image{src: img.src, raw: rawManifest{data, mediaOCIManifest}, manifest: m, configBlob: config}, nil
}
