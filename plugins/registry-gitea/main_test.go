package main

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/plugins/registrytest"
	"github.com/tengil/tengil/plugins/sdk"
)

const token = "0123456789abcdef-secret"

// A gitea is modelled on the documentation of Gitea's API (packages, users,
// organizations) and on the distribution specification, which its registry follows;
// that the realm of tokens is /v2/token, and that any user goes with an access token,
// is inferred from the container registry's documentation.
type gitea struct {
	*http.ServeMux
	sample *registrytest.Sample
}

func newGitea(t *testing.T) (*gitea, *registry) {
	t.Helper()
	g := &gitea{http.NewServeMux(), registrytest.NewSample("amd64", nil)}
	server := httptest.NewServer(g)
	t.Cleanup(server.Close)
	bearer := func(h http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, q *http.Request) {
			if q.Header.Get("Authorization") != "Bearer short-lived" {
				w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s/v2/token",service="container_registry",scope="*"`, server.URL))
				http.Error(w, `{"errors":[{"code":"UNAUTHORIZED"}]}`, http.StatusUnauthorized)
				return
			}
			h(w, q)
		}
	}
	needsToken := func(h http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, q *http.Request) {
			if q.Header.Get("Authorization") != "token "+token {
				http.Error(w, `{"message":"token is required"}`, http.StatusUnauthorized)
				return
			}
			h(w, q)
		}
	}
	asJSON := func(w http.ResponseWriter, v any) { _ = json.NewEncoder(w).Encode(v) }
	index := []byte(fmt.Sprintf(`{"schemaVersion":2,"manifests":[{"digest":"sha256:%064d","platform":{"architecture":"s390x","os":"linux"}},{"digest":%q,"platform":{"architecture":"amd64","os":"linux"}}]}`, 0, g.sample.Manifest.Digest))
	g.HandleFunc("GET /v2/token", func(w http.ResponseWriter, q *http.Request) {
		if _, password, _ := q.BasicAuth(); password != token {
			http.Error(w, "{}", http.StatusUnauthorized)
			return
		}
		asJSON(w, map[string]string{"token": "short-lived"})
	})
	g.HandleFunc("GET /v2/ben/app/manifests/{at}", bearer(func(w http.ResponseWriter, q *http.Request) {
		data, mediaType, digest := g.sample.Manifest.Data, g.sample.Manifest.MediaType, g.sample.Manifest.Digest
		switch q.PathValue("at") {
		case "1.0":
			data, mediaType, digest = index, ociIndex, digestOf(index)
		case digest:
		default:
			http.NotFound(w, q)
			return
		}
		w.Header().Set("Content-Type", mediaType)
		w.Header().Set("Docker-Content-Digest", digest)
		_, _ = w.Write(data)
	}))
	g.HandleFunc("GET /v2/ben/app/blobs/{digest}", bearer(func(w http.ResponseWriter, q *http.Request) {
		data, ok := g.sample.Blobs[q.PathValue("digest")]
		if !ok {
			http.NotFound(w, q)
			return
		}
		_, _ = w.Write(data)
	}))
	g.HandleFunc("GET /v2/ben/app/tags/list", bearer(func(w http.ResponseWriter, _ *http.Request) {
		asJSON(w, map[string]any{"name": "ben/app", "tags": []string{"1.0"}})
	}))
	g.HandleFunc("GET /v2/", bearer(http.NotFound))
	g.HandleFunc("GET /api/v1/user", needsToken(func(w http.ResponseWriter, _ *http.Request) { asJSON(w, map[string]string{"login": "ben"}) }))
	g.HandleFunc("GET /api/v1/user/orgs", needsToken(func(w http.ResponseWriter, _ *http.Request) { asJSON(w, []any{}) }))
	g.HandleFunc("GET /api/v1/packages/ben", needsToken(func(w http.ResponseWriter, q *http.Request) {
		if !strings.Contains("app", q.FormValue("q")) || q.FormValue("type") != "container" {
			asJSON(w, []any{})
			return
		}
		asJSON(w, []map[string]string{{"type": "container", "name": "app", "version": "1.0"}, {"type": "container", "name": "app", "version": g.sample.Manifest.Digest}})
	}))
	env := map[string]string{"GITEA_URL": server.URL + "/", "GITEA_TOKEN": token}
	return g, newRegistry(func(k string) string { return env[k] })
}

func TestConformance(t *testing.T) {
	_, r := newGitea(t)
	report := registrytest.Run(t.Context(), sdk.Adapt(r), registrytest.Options{Ref: "ben/app:1.0"})
	if err := report.Err(); err != nil {
		t.Error(err)
	}
	if passed, _, _ := report.Count(); passed != 14 {
		t.Errorf("%d checks passed: %+v", passed, report)
	}
}

func TestWhatAnswersMean(t *testing.T) {
	for _, tt := range []struct {
		status int
		header string
		kind   error
	}{
		{404, "", fs.ErrNotExist}, {403, "", engine.ErrUnauthorized}, {429, "7", engine.ErrTransient}, {429, "", engine.ErrTransient},
		{500, "", engine.ErrTransient}, {503, "", engine.ErrTransient},
	} {
		g, r := newGitea(t)
		g.HandleFunc("GET /v2/ben/bad/manifests/1", func(w http.ResponseWriter, _ *http.Request) {
			if tt.header != "" {
				w.Header().Set("Retry-After", tt.header)
			}
			w.WriteHeader(tt.status)
		})
		_, err := r.Resolve(t.Context(), "ben/bad:1", "amd64")
		if !errors.Is(err, tt.kind) || strings.Contains(err.Error(), token) {
			t.Errorf("status %d: wanted one that is %q, got %v", tt.status, tt.kind, err)
		}
		var busy *engine.BusyError
		if tt.header == "7" && (!errors.As(err, &busy) || busy.After != 7*time.Second) {
			t.Errorf("it asks to be left alone for 7 s: got %#v", busy)
		}
	}
}

func TestHostileAnswers(t *testing.T) {
	g, r := newGitea(t)
	stolen := ""
	thief := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, q *http.Request) { stolen += q.Header.Get("Authorization") }))
	t.Cleanup(thief.Close)
	g.HandleFunc("GET /v2/ben/realm/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", `Bearer realm="`+thief.URL+`/token",service="x"`)
		w.WriteHeader(http.StatusUnauthorized)
	})
	g.HandleFunc("GET /v2/ben/loop/", func(w http.ResponseWriter, q *http.Request) { http.Redirect(w, q, q.URL.Path, http.StatusFound) })
	g.HandleFunc("GET /v2/ben/file/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "file:///etc/passwd")
		w.WriteHeader(http.StatusFound)
	})
	g.HandleFunc("GET /v2/ben/html/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Docker-Content-Digest", "sha256:"+strings.Repeat("0", 64))
		_, _ = w.Write([]byte("<html>log in</html>"))
	})
	g.HandleFunc("GET /v2/ben/huge/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Docker-Content-Digest", "sha256:"+strings.Repeat("0", 64))
		_, _ = w.Write(make([]byte, engine.MaxManifest+100))
	})
	for ref, want := range map[string]string{
		"ben/realm:1": "wanted a place of its own", "ben/loop:1": "redirects more than 5 times", "ben/file:1": "redirects from http to file",
		"ben/html:1": "wrong content", "ben/huge:1": "at most 4194304 are taken",
	} {
		if _, err := r.Resolve(t.Context(), ref, "amd64"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: wanted an error with %q, got %v", ref, want, err)
		}
	}
	if stolen != "" {
		t.Errorf("credentials went elsewhere: %q", stolen)
	}
}

func TestAWrongTokenIsToldAsThat(t *testing.T) {
	_, r := newGitea(t)
	r.token = "wrong"
	if _, err := r.Resolve(t.Context(), "ben/app:1.0", "amd64"); !errors.Is(err, engine.ErrUnauthorized) || strings.Contains(err.Error(), "wrong") {
		t.Errorf("got %v", err)
	}
	if _, err := r.Search(t.Context(), "app", 5); !errors.Is(err, engine.ErrUnauthorized) {
		t.Errorf("search: got %v", err)
	}
}

func digestOf(data []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(data)) }
