package oci

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/tengil/tengil/engine/pve"
)

// A Reference names an image in a registry.
type Reference struct {
	Registry   string // "docker.io", "ghcr.io", "registry.lan:5000"
	Repository string // "library/alpine"
	Tag        string // "" with a digest alone
	Digest     string // "sha256:…", "" without
}

// The grammar of references (distribution/reference).
var (
	domainPart = regexp.MustCompile(`^(?:[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?|\[[a-fA-F0-9:]+\])(?::[0-9]{1,5})?$`)
	pathPart   = regexp.MustCompile(`^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$`)
	tagPart    = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$`)
)

// Defaults of Docker's short names: "alpine" is docker.io/library/alpine:latest.
const (
	defaultRegistry  = "docker.io"
	defaultNamespace = "library/"
	defaultTag       = "latest"
)

// ParseReference reads a reference and completes it as docker does. With both a
// tag and a digest, the digest decides and the tag is for people.
func ParseReference(s string) (Reference, error) {
	var r Reference
	rest, digest, pinned := strings.Cut(s, "@")
	if pinned {
		if err := pve.CheckDigest(digest); err != nil {
			return r, fmt.Errorf("image %q: %w", s, err)
		}
		r.Digest = digest
	}
	// A colon after the last slash begins the tag; before it, a port.
	if i := strings.LastIndexByte(rest, ':'); i > strings.LastIndexByte(rest, '/') {
		r.Tag, rest = rest[i+1:], rest[:i]
		if !tagPart.MatchString(r.Tag) {
			return r, fmt.Errorf("image %q: %q is no tag", s, r.Tag)
		}
	} else if !pinned {
		r.Tag = defaultTag
	}
	r.Registry, r.Repository = splitRegistry(rest)
	if !domainPart.MatchString(r.Registry) {
		return r, fmt.Errorf("image %q: %q is no registry", s, r.Registry)
	}
	for part := range strings.SplitSeq(r.Repository, "/") {
		if !pathPart.MatchString(part) {
			return r, fmt.Errorf("image %q: %q in the repository; wanted lower-case letters, digits and single . _ - between them", s, part)
		}
	}
	if len(r.Registry)+len(r.Repository) > 255 {
		return r, fmt.Errorf("image %q: name has more than 255 characters", s)
	}
	return r, nil
}

// splitRegistry parts the registry from the repository: the first component is
// one if it has a dot or a port, or is localhost.
func splitRegistry(s string) (registry, repository string) {
	first, rest, ok := strings.Cut(s, "/")
	if ok && (strings.ContainsAny(first, ".:") || first == "localhost") {
		registry, repository = first, rest
	} else {
		registry, repository = defaultRegistry, s
	}
	if registry == "index.docker.io" {
		registry = defaultRegistry
	}
	if registry == defaultRegistry && !strings.Contains(repository, "/") {
		repository = defaultNamespace + repository
	}
	return registry, repository
}

// String returns the complete reference, with tag and digest as far as given.
func (r Reference) String() string {
	s := r.name()
	if r.Tag != "" {
		s += ":" + r.Tag
	}
	if r.Digest != "" {
		s += "@" + r.Digest
	}
	return s
}

func (r Reference) name() string { return r.Registry + "/" + r.Repository }

// source returns what skopeo is to ask for; skopeo takes no tag beside a digest.
func (r Reference) source() string {
	if r.Digest != "" {
		return r.at(r.Digest)
	}
	return "docker://" + r.name() + ":" + r.Tag
}

// at returns the source of the manifest with that digest.
func (r Reference) at(digest string) string { return "docker://" + r.name() + "@" + digest }
