package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// A request is what a path of the registry protocol asks for
// (OCI distribution-spec, "Endpoints"). Zero is none that the lab knows.
type request struct {
	repo string // "library/postgres"
	kind string // "manifests", "blobs", "tags"
	ref  string // tag, digest, or "list"
}

func requested(path string) request {
	rest, ok := strings.CutPrefix(path, "/v2/")
	if !ok {
		return request{}
	}
	for _, kind := range []string{"manifests", "blobs", "tags"} {
		if i := strings.LastIndex(rest, "/"+kind+"/"); i >= 0 {
			return request{rest[:i], kind, rest[i+len(kind)+2:]}
		}
	}
	return request{}
}

// handler serves one repository to those who read; a zero one serves what a
// registry says of itself.
func (r *registries) handler(repo dockerRepo) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		what := requested(req.URL.Path)
		reads := req.Method == http.MethodGet || req.Method == http.MethodHead
		switch {
		case strings.TrimSuffix(req.URL.Path, "/") == "/v2":
			w.Header().Set("Docker-Distribution-API-Version", "registry/2.0")
		case repo.path == "":
			refuse(w, http.StatusNotFound, "NAME_UNKNOWN", "Unknown name")
		case !reads:
			refuse(w, http.StatusMethodNotAllowed, "UNSUPPORTED", "The operation is unsupported")
		case what.kind == "manifests":
			r.serveManifest(w, repo, what.ref)
		case what.kind == "blobs":
			r.serveBlob(w, repo, what.ref)
		default:
			r.serveTags(w, repo)
		}
	})
}

// refuse answers with an error of the registry protocol.
func refuse(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"errors":[{"code":%q,"message":%q}]}`, code, message)
}

// fault answers that the registry is broken.
func fault(w http.ResponseWriter, err error) {
	refuse(w, http.StatusInternalServerError, "INTERNAL_SERVER_ERROR", err.Error())
}

func (r *registries) serveManifest(w http.ResponseWriter, repo dockerRepo, ref string) {
	m, err := r.manifest(repo, ref)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		refuse(w, http.StatusNotFound, "MANIFEST_UNKNOWN", "Unknown manifest")
	case err != nil:
		fault(w, err)
	default:
		w.Header().Set("Content-Type", m.MediaType)
		w.Header().Set("Docker-Content-Digest", m.Digest)
		_, _ = w.Write(m.Data) // kept in memory
	}
}

func (r *registries) serveBlob(w http.ResponseWriter, repo dockerRepo, digest string) {
	if !isDigest(digest) {
		refuse(w, http.StatusBadRequest, "DIGEST_INVALID", "Invalid digest")
		return
	}
	b, err := r.blob(repo, digest)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		refuse(w, http.StatusNotFound, "BLOB_UNKNOWN", "Unknown blob")
		return
	case err != nil:
		fault(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Docker-Content-Digest", digest)
	w.Header().Set("Content-Length", strconv.FormatInt(b.size, 10))
	_, err = io.Copy(w, b)
	if err := errors.Join(err, b.Close()); err != nil {
		r.log.Error("read blob", "digest", digest, "err", err)
	}
}

func (r *registries) serveTags(w http.ResponseWriter, repo dockerRepo) {
	tags, err := r.tags(repo)
	switch {
	case err == nil && len(tags) == 0:
		refuse(w, http.StatusNotFound, "NAME_UNKNOWN", "Unknown name")
		return
	case err != nil:
		fault(w, err)
		return
	}
	data, err := json.Marshal(struct {
		Name string   `json:"name"`
		Tags []string `json:"tags"`
	}{repo.path, tags})
	if err != nil {
		fault(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(data) // kept in memory
}

// manifest returns what a tag or digest names; the error wraps fs.ErrNotExist if
// the repository has none. A tag that a stand-in is made for is one from then on.
func (r *registries) manifest(repo dockerRepo, ref string) (storedManifest, error) {
	digest := ref
	if isTag(ref) {
		data, err := os.ReadFile(filepath.Join(r.repoDir(repo), "_tags", ref))
		if errors.Is(err, fs.ErrNotExist) {
			return r.newStandIn(repo, ref)
		}
		if err != nil {
			return storedManifest{}, err
		}
		digest = string(data)
	}
	if !isDigest(digest) {
		return storedManifest{}, fs.ErrNotExist
	}
	m, err := r.stored(repo, digest)
	if errors.Is(err, fs.ErrNotExist) {
		return r.standInManifest(repo, digest)
	}
	return m, err
}

// stored returns a manifest that was put into the lab's directory.
func (r *registries) stored(repo dockerRepo, digest string) (m storedManifest, err error) {
	dir := filepath.Join(r.repoDir(repo), "_manifests")
	list, err := os.ReadDir(dir)
	if err != nil {
		return m, err
	}
	end := "-" + strings.TrimPrefix(digest, "sha256:") + ".json"
	i := slices.IndexFunc(list, func(e fs.DirEntry) bool { return strings.HasSuffix(e.Name(), end) })
	if i < 0 {
		return m, fs.ErrNotExist
	}
	name := filepath.Join(dir, list[i].Name())
	data, err := os.ReadFile(name)
	if err != nil {
		return m, err
	}
	if err := json.Unmarshal(data, &m); err != nil {
		return m, fmt.Errorf("read %q: %w", name, err)
	}
	return m, nil
}

// tags returns the tags of a repository, sorted: those that it was asked for,
// those that were put there, and those that a stand-in is known to have.
func (r *registries) tags(repo dockerRepo) ([]string, error) {
	list, err := os.ReadDir(filepath.Join(r.repoDir(repo), "_tags"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var tags []string
	for _, e := range list {
		if !strings.HasPrefix(e.Name(), ".") { // else it is being written
			tags = append(tags, e.Name())
		}
	}
	if r.real == nil {
		tags = append(tags, standInTags(repo)...)
	}
	slices.Sort(tags)
	return slices.Compact(tags), nil
}
