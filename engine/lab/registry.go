package lab

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// registries are all the registries that a node can reach. Their images lie
// below one directory, so that a digest which one process made known is there
// in the next. It is an http.RoundTripper; no port is opened.
type registries struct {
	dir string // the lab's directory/registry
	// real, if set, serves the hosts and repositories that have no images here.
	real http.RoundTripper
	log  *slog.Logger
	// troubles are the conditions of the node, among them those of registries.
	troubles func() []Condition
}

// registries returns the registries that the node can reach.
func (n *node) registries() *registries {
	r := &registries{dir: filepath.Join(n.dir, "registry"), log: n.log, troubles: n.troubles.all}
	if n.pull {
		r.real = http.DefaultTransport
	}
	return r
}

// Registries returns the registries that the node can reach, by host name, as a
// client's transport: "https://ghcr.io/v2/…" answers without a network.
func (l *Lab) Registries() http.RoundTripper { return l.node.registries() }

// A storedManifest is one manifest or index of a repository.
type storedManifest struct {
	Digest    string `json:"digest"`
	MediaType string `json:"mediaType"` // as pushed; the content need not repeat it
	Data      []byte `json:"data"`
}

// A push is one image on its way into a repository. Manifests precede the
// indexes that name them.
type push struct {
	tags      []string
	manifests []storedManifest
	blobs     map[string][]byte // by digest
}

// digest is what the tags will point to.
func (p push) digest() string { return p.manifests[len(p.manifests)-1].Digest }

func (r *registries) repoDir(repo dockerRepo) string {
	return filepath.Join(r.dir, "repos", repo.host, filepath.FromSlash(repo.path))
}

// put stores an image. Each file is written in one step, blobs before manifests
// before tags, so that whoever reads meanwhile finds whole images.
func (r *registries) put(repo dockerRepo, p push) error {
	dir := r.repoDir(repo)
	blobs := filepath.Join(r.dir, "blobs", "sha256")
	for _, d := range []string{blobs, filepath.Join(dir, "_manifests"), filepath.Join(dir, "_tags")} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return err
		}
	}
	for digest, data := range p.blobs {
		if err := replaceFile(filepath.Join(blobs, strings.TrimPrefix(digest, "sha256:")), data, 0o600); err != nil {
			return err
		}
	}
	for i, m := range p.manifests {
		data, err := json.Marshal(m)
		if err != nil {
			return err
		}
		// The number keeps an index behind what it names when they are read.
		name := fmt.Sprintf("%d-%s.json", i, strings.TrimPrefix(m.Digest, "sha256:"))
		if err := replaceFile(filepath.Join(dir, "_manifests", name), data, 0o600); err != nil {
			return err
		}
	}
	for _, tag := range p.tags {
		if err := replaceFile(filepath.Join(dir, "_tags", tag), []byte(p.digest()), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// RoundTrip answers a request to any registry.
func (r *registries) RoundTrip(req *http.Request) (*http.Response, error) {
	host := req.URL.Host
	if host == "index.docker.io" || host == "registry-1.docker.io" {
		host = "docker.io"
	}
	repo := requestedRepo(host, req.URL.Path)
	return troubled(r.troubles(), host, repo, req, func() (*http.Response, error) { return r.answer(host, repo, req) })
}

// answer answers a request to a registry with which nothing is wrong.
func (r *registries) answer(host string, repo dockerRepo, req *http.Request) (*http.Response, error) {
	if r.real != nil && !r.holds(repo) {
		resp, err := r.real.RoundTrip(req)
		if err == nil || repo.path != "" || !r.holdsHost(host) {
			return resp, err
		}
	}
	if err := r.reachable(host, req.URL.Scheme); err != nil {
		return nil, err
	}
	if !r.allowed(host, req) {
		return serve(http.HandlerFunc(refuseLogin), req)
	}
	return serve(r.handler(repo), req)
}

// requestedRepo returns the repository that a path of the registry protocol
// names; zero if it names none.
func requestedRepo(host, path string) dockerRepo {
	what := requested(path)
	if repo := (dockerRepo{host, what.repo}); what.repo != "" && repo.valid() {
		return repo
	}
	return dockerRepo{}
}

// holds reports whether the repository has images here that are no stand-ins.
func (r *registries) holds(repo dockerRepo) bool {
	if repo.path == "" {
		return false
	}
	_, err := os.Stat(filepath.Join(r.repoDir(repo), "_tags"))
	_, standIn := os.Stat(filepath.Join(r.repoDir(repo), "_stand-in"))
	return err == nil && errors.Is(standIn, fs.ErrNotExist)
}

// unknown reports whether a public repository has neither a stand-in nor images
// that were added, nor can be fetched.
func (r *registries) unknown(repo dockerRepo) bool {
	return r.real == nil && !isLoopback(repo.host) && len(standInRows(repo.String())) == 0 && !r.holds(repo)
}

// holdsHost reports whether a registry has any images here.
func (r *registries) holdsHost(host string) bool {
	_, err := os.Stat(filepath.Join(r.dir, "repos", host))
	return err == nil
}

// reachable returns what dialling a host gives: those of the stand-in images
// and those that images were added to are there. A registry on the loopback
// interface speaks HTTP, all others HTTPS.
func (r *registries) reachable(host, scheme string) error {
	name := hostName(host)
	ip := net.ParseIP(name)
	switch {
	case !isName(strings.ReplaceAll(host, ":", "."), "-."):
		return fmt.Errorf("bad host %q", host)
	case !r.holdsHost(host) && !isStandInHost(host):
		return dialError(host, name, ip)
	case isLoopback(host) && scheme == "https":
		return errors.New("http: server gave HTTP response to HTTPS client")
	}
	return nil
}

// hostName returns a host without its port.
func hostName(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	return host
}

// isLoopback reports whether a registry is on the node's loopback interface.
func isLoopback(host string) bool {
	name := hostName(host)
	ip := net.ParseIP(name)
	return name == "localhost" || ip != nil && ip.IsLoopback()
}

// dialError is what a node says when it cannot reach a registry. Names end at
// its resolver, addresses at the machine.
func dialError(host, name string, ip net.IP) error {
	if ip == nil {
		err := &net.DNSError{Err: "no such host", Name: name, Server: "10.10.10.1:53", IsNotFound: true}
		if strings.HasSuffix(name, ".invalid") {
			err = &net.DNSError{Err: "server misbehaving", Name: name, Server: "10.10.10.1:53"}
		}
		return &net.OpError{Op: "dial", Net: "tcp", Err: err}
	}
	addr, err := net.ResolveTCPAddr("tcp", host)
	if err != nil {
		addr = &net.TCPAddr{IP: ip, Port: 443}
	}
	return &net.OpError{Op: "dial", Net: "tcp", Addr: addr, Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
}

// serve calls a handler as a server would, and keeps its answer in memory.
func serve(h http.Handler, req *http.Request) (*http.Response, error) {
	w := &answer{header: http.Header{}, status: http.StatusOK}
	if req.Body == nil {
		req = req.Clone(req.Context())
		req.Body = http.NoBody
	}
	h.ServeHTTP(w, req)
	if err := errors.Join(req.Context().Err(), req.Body.Close()); err != nil {
		return nil, err
	}
	return &http.Response{
		Status: fmt.Sprintf("%d %s", w.status, http.StatusText(w.status)), StatusCode: w.status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: w.header, Body: io.NopCloser(&w.body), ContentLength: int64(w.body.Len()), Request: req,
	}, nil
}

// An answer is an http.ResponseWriter that keeps what it is given.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (a *answer) Header() http.Header         { return a.header }
func (a *answer) WriteHeader(status int)      { a.status = status }
func (a *answer) Write(p []byte) (int, error) { return a.body.Write(p) }
