package lab

import (
	"errors"
	"fmt"
	"strings"
)

// An imageName is what skopeo takes as a source or destination:
// "docker://docker.io/library/redis:8" or "oci-archive:/x.tar:name".
type imageName struct {
	given     string // as typed
	transport string // "docker", "oci-archive" or "oci"
	repo      dockerRepo
	tag       string // of docker: the tag, "latest" unless a digest is given
	digest    string // of docker: the digest, or ""
	path      string // of oci-archive and oci, as typed
	image     string // of oci-archive and oci: the name of the image in it, or ""
}

// A dockerRepo is a repository with docker.io's short forms written out.
type dockerRepo struct {
	host string // "docker.io"
	path string // "library/redis"
}

func (r dockerRepo) String() string { return r.host + "/" + r.path }

// with returns the repository with a tag or digest; "" is neither.
func (r dockerRepo) with(ref string) string {
	switch {
	case ref == "":
		return r.String()
	case isDigest(ref):
		return r.String() + "@" + ref
	}
	return r.String() + ":" + ref
}

// familiar is the short form that skopeo shows: "redis", "jellyfin/jellyfin".
func (r dockerRepo) familiar() string {
	if r.host != "docker.io" {
		return r.String()
	}
	if short, ok := strings.CutPrefix(r.path, "library/"); ok && !strings.Contains(short, "/") {
		return short
	}
	return r.path
}

// shown is the name as skopeo prints it once it has parsed it.
func (n imageName) shown() string {
	switch {
	case n.transport != "docker":
		return n.transport + ":" + n.path + ":" + n.image
	case n.digest != "":
		return "docker://" + n.repo.familiar() + "@" + n.digest
	}
	return "docker://" + n.repo.familiar() + ":" + n.tag
}

// manifestRef is the tag or digest.
func (n imageName) manifestRef() string {
	if n.digest != "" {
		return n.digest
	}
	return n.tag
}

// parseImageName parses a name with skopeo's messages (containers/image
// alltransports.go, docker_transport.go).
func parseImageName(s string) (imageName, error) {
	transport, rest, ok := strings.Cut(s, ":")
	if !ok {
		return imageName{}, saidf("Invalid image name %q, expected colon-separated transport:reference", s)
	}
	n := imageName{given: s, transport: transport}
	switch transport {
	case "docker":
		ref, ok := strings.CutPrefix(rest, "//")
		if !ok {
			return n, fmt.Errorf("docker: image reference %s does not start with //", rest)
		}
		var err error
		n.repo, n.tag, n.digest, err = parseDockerRef(ref)
		return n, err
	case "oci-archive", "oci":
		n.path, n.image, _ = strings.Cut(rest, ":")
		return n, nil
	}
	return n, saidf("Invalid image name %q, unknown transport %q", s, transport)
}

var errRefFormat = errors.New("invalid reference format")

// parseDockerRef parses "REPO[:TAG|@DIGEST]" as docker does: without a host it
// is docker.io, there without a slash library/, and without a tag latest.
func parseDockerRef(s string) (repo dockerRepo, tag, digest string, err error) {
	name, digest, hasDigest := strings.Cut(s, "@")
	if hasDigest && !isDigest(digest) {
		return repo, "", "", errRefFormat
	}
	if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') {
		name, tag = name[:i], name[i+1:]
		if !isTag(tag) {
			return repo, "", "", errRefFormat
		}
	}
	repo, err = parseRepo(name)
	switch {
	case err != nil:
		return repo, "", "", err
	case tag != "" && hasDigest:
		return repo, "", "", saidf("Docker references with both a tag and digest are currently not supported")
	case tag == "" && !hasDigest:
		tag = "latest"
	}
	return repo, tag, digest, nil
}

// parseRepo parses a repository name without tag and digest.
func parseRepo(s string) (dockerRepo, error) {
	host, rest, ok := strings.Cut(s, "/")
	if !ok || !strings.ContainsAny(host, ".:") && host != "localhost" && strings.ToLower(host) == host {
		host, rest = "docker.io", s
	}
	if host == "index.docker.io" {
		host = "docker.io"
	}
	if host == "docker.io" && !strings.Contains(rest, "/") {
		rest = "library/" + rest
	}
	if strings.ToLower(rest) != rest {
		return dockerRepo{}, errors.New("invalid reference format: repository name must be lowercase")
	}
	r := dockerRepo{host, rest}
	if !r.valid() {
		return dockerRepo{}, errRefFormat
	}
	return r, nil
}

// valid reports whether host and path are safe as names of files and URLs.
func (r dockerRepo) valid() bool {
	host, port, hasPort := strings.Cut(r.host, ":")
	if !isName(host, "-.") || hasPort && !isName(port, "") {
		return false
	}
	for elem := range strings.SplitSeq(r.path, "/") {
		if !isName(elem, "-._") || strings.ToLower(elem) != elem {
			return false
		}
	}
	return len(r.path) <= 255
}

// isName reports whether s begins and ends with a letter or digit and has only
// those and characters of more in between.
func isName(s, more string) bool {
	for i := range len(s) {
		inner := i > 0 && i < len(s)-1
		if !isAlnum(s[i]) && (!inner || strings.IndexByte(more, s[i]) < 0) {
			return false
		}
	}
	return s != ""
}

func isAlnum(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// isTag reports whether s is a tag: a word character, then up to 127 of those,
// dots and dashes.
func isTag(s string) bool {
	for i := range len(s) {
		if !isAlnum(s[i]) && s[i] != '_' && (i == 0 || s[i] != '.' && s[i] != '-') {
			return false
		}
	}
	return s != "" && len(s) <= 128
}

// isDigest reports whether s is "sha256:" and 64 lower-case hex digits.
func isDigest(s string) bool {
	hex, ok := strings.CutPrefix(s, "sha256:")
	return ok && len(hex) == 64 && strings.Trim(hex, "0123456789abcdef") == ""
}
