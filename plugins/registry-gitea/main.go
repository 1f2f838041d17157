// Command registry-gitea is a registry plugin of tengil: the container packages of a
// Gitea or Forgejo. Recipes write gitea://OWNER/NAME:TAG.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/plugins/sdk"
	"github.com/tengil/tengil/plugins/webget"
)

func main() { sdk.Serve(newRegistry(os.Getenv)) }

// A registry is one Gitea.
type registry struct {
	base   string // "https://git.lan"
	token  string
	owners []string
	web    *http.Client

	mu     sync.Mutex
	bearer map[string]string // by scope
}

func newRegistry(getenv func(string) string) *registry {
	return &registry{
		base: strings.TrimRight(getenv("GITEA_URL"), "/"), token: getenv("GITEA_TOKEN"),
		owners: strings.Fields(getenv("GITEA_OWNERS")), web: webget.Client(), bearer: map[string]string{},
	}
}

// Info implements sdk.Registry.
func (r *registry) Info() sdk.Info {
	return sdk.Info{
		Name: "registry-gitea", Version: "1.0.0", Scheme: "gitea", Doc: "container packages of a Gitea or Forgejo",
		Env: []sdk.Env{
			{Name: "GITEA_URL", Doc: "where it is, as https://git.lan", Required: true},
			{Name: "GITEA_TOKEN", Doc: "an access token that may read packages", Secret: true},
			{Name: "GITEA_OWNERS", Doc: "whose packages are searched, parted by blanks; without it those of the token's user and organizations"},
		},
		Hosts: []string{"that of GITEA_URL"},
	}
}

var (
	namePattern   = regexp.MustCompile(`^[a-z0-9]+([._-]+[a-z0-9]+)*(/[a-z0-9]+([._-]+[a-z0-9]+)*)+$`)
	tagPattern    = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$`)
	digestPattern = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
	challenge     = regexp.MustCompile(`(realm|service)="([^"]*)"`)
)

// parse splits OWNER/NAME:TAG or OWNER/NAME@DIGEST.
func parse(ref string) (name, at string, err error) {
	name, at, pinned := strings.Cut(ref, "@")
	if !pinned {
		name, at, _ = strings.Cut(ref, ":")
		if at == "" {
			at = "latest"
		}
	} else {
		name, _, _ = strings.Cut(name, ":") // with both the digest decides
	}
	if len(name) > 255 || !namePattern.MatchString(name) || pinned && !digestPattern.MatchString(at) || !pinned && !tagPattern.MatchString(at) {
		return "", "", fmt.Errorf("%.100q is no image of a Gitea; wanted OWNER/NAME:TAG", ref)
	}
	return name, at, nil
}

// ask sends a request to the registry of the Gitea, which is that of the
// distribution specification. It says where tokens are to be had when it wants one.
func (r *registry) ask(ctx context.Context, name, rest string, accept ...string) (*http.Response, error) {
	for again := true; ; again = false {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.base+"/v2/"+name+rest, nil)
		if err != nil {
			return nil, err
		}
		req.Header["Accept"] = accept
		r.mu.Lock()
		if b := r.bearer[name]; b != "" {
			req.Header.Set("Authorization", "Bearer "+b)
		}
		r.mu.Unlock()
		res, err := webget.Do(r.web, req)
		if !again || res == nil || res.StatusCode != http.StatusUnauthorized {
			return res, err
		}
		if err := r.authorize(ctx, name, res.Header.Get("WWW-Authenticate")); err != nil {
			return nil, err
		}
	}
}

// authorize gets a token that lives shortly, for one repository.
func (r *registry) authorize(ctx context.Context, name, asks string) error {
	said := map[string]string{}
	for _, m := range challenge.FindAllStringSubmatch(asks, -1) {
		said[m[1]] = m[2]
	}
	realm, err := url.Parse(said["realm"])
	if base, baseErr := url.Parse(r.base); err != nil || baseErr != nil || !strings.HasPrefix(asks, "Bearer ") || realm.Host != base.Host || realm.Scheme != base.Scheme {
		return sdk.Unauthorized("%s sends for a token to %.100q; wanted a place of its own", r.base, said["realm"])
	}
	realm.RawQuery = url.Values{"service": {said["service"]}, "scope": {"repository:" + name + ":pull"}}.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, realm.String(), nil)
	if err != nil {
		return err
	}
	if r.token != "" {
		req.SetBasicAuth("token", r.token) // any user goes with a token
	}
	data, _, err := webget.Read(ctx, r.web, req, 1<<20)
	if err != nil {
		return err
	}
	var got struct{ Token string }
	if err := json.Unmarshal(data, &got); err != nil || got.Token == "" {
		return sdk.Unauthorized("%s gives no token for %s", r.base, name)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bearer[name] = got.Token
	return nil
}

const (
	ociManifest    = "application/vnd.oci.image.manifest.v1+json"
	ociIndex       = "application/vnd.oci.image.index.v1+json"
	dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	dockerIndex    = "application/vnd.docker.distribution.manifest.list.v2+json"
)

func (r *registry) manifest(ctx context.Context, name, at string) (sdk.Manifest, error) {
	res, err := r.ask(ctx, name, "/manifests/"+at, ociManifest, ociIndex, dockerManifest, dockerIndex)
	if err != nil {
		return sdk.Manifest{}, err
	}
	defer res.Body.Close()
	data, err := io.ReadAll(io.LimitReader(res.Body, engine.MaxManifest+1))
	if err != nil {
		return sdk.Manifest{}, sdk.Temporary("manifest of %s: %w", name, err)
	}
	m := sdk.Manifest{Digest: at, MediaType: res.Header.Get("Content-Type"), Data: data}
	if !digestPattern.MatchString(at) {
		m.Digest = res.Header.Get("Docker-Content-Digest")
	}
	return m, m.Check()
}

// Resolve implements sdk.Registry.
func (r *registry) Resolve(ctx context.Context, ref, arch string) (sdk.Manifest, error) {
	name, at, err := parse(ref)
	if err != nil {
		return sdk.Manifest{}, err
	}
	m, err := r.manifest(ctx, name, at)
	if err != nil || m.MediaType != ociIndex && m.MediaType != dockerIndex {
		return m, err
	}
	var index struct {
		Manifests []struct {
			Digest   string
			Platform struct{ Architecture, OS string }
		}
	}
	if err := json.Unmarshal(m.Data, &index); err != nil {
		return sdk.Manifest{}, fmt.Errorf("index of %s: %w", ref, err)
	}
	for _, one := range index.Manifests {
		if one.Platform.Architecture == arch && (one.Platform.OS == "linux" || one.Platform.OS == "") {
			return r.manifest(ctx, name, one.Digest)
		}
	}
	return sdk.Manifest{}, sdk.NotFound("%s is not there for %s", ref, arch)
}

// Source implements sdk.Sourcer: the Gitea is a registry too.
func (r *registry) Source(_ context.Context, ref string, _ sdk.Manifest) (sdk.Source, error) {
	name, _, err := parse(ref)
	if err != nil {
		return sdk.Source{}, err
	}
	base, err := url.Parse(r.base)
	if err != nil || base.Host == "" || base.Path != "" {
		return sdk.Source{}, fmt.Errorf("GITEA_URL is %.100q; wanted https://HOST", r.base)
	}
	at := sdk.Source{Reference: base.Host + "/" + name}
	if r.token != "" {
		at.Username, at.Password = "token", sdk.Secret(r.token)
	}
	return at, nil
}

// Blob implements sdk.Blobber, for nodes that do not reach the Gitea.
func (r *registry) Blob(ctx context.Context, ref string, d sdk.Descriptor) (io.ReadCloser, error) {
	name, _, err := parse(ref)
	if err != nil {
		return nil, err
	}
	if !digestPattern.MatchString(d.Digest) {
		return nil, fmt.Errorf("%.100q is no digest", d.Digest)
	}
	res, err := r.ask(ctx, name, "/blobs/"+d.Digest)
	if err != nil {
		return nil, err
	}
	return res.Body, nil
}

// Tags implements sdk.Tagger.
func (r *registry) Tags(ctx context.Context, repository string) ([]string, error) {
	if name, _, err := parse(repository); err != nil || name != repository {
		return nil, errors.Join(err, fmt.Errorf("%.100q is no name without a tag", repository))
	}
	var tags []string
	for last := ""; ; last = tags[len(tags)-1] {
		res, err := r.ask(ctx, repository, "/tags/list?"+url.Values{"n": {"1000"}, "last": {last}}.Encode())
		if err != nil {
			return nil, err
		}
		var page struct{ Tags []string }
		err = json.NewDecoder(io.LimitReader(res.Body, engine.MaxManifest)).Decode(&page)
		_ = res.Body.Close()
		if err != nil {
			return nil, fmt.Errorf("tags of %s: %w", repository, err)
		}
		page.Tags = slices.DeleteFunc(page.Tags, func(t string) bool { return slices.Contains(tags, t) })
		tags = append(tags, page.Tags...)
		if len(page.Tags) == 0 || len(tags) > 10_000 || res.Header.Get("Link") == "" {
			return tags, nil
		}
	}
}

// api asks the API of the Gitea.
func (r *registry) api(ctx context.Context, path string, query url.Values, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.base+"/api/v1/"+path+"?"+query.Encode(), nil)
	if err != nil {
		return err
	}
	if r.token != "" {
		req.Header.Set("Authorization", "token "+r.token)
	}
	data, _, err := webget.Read(ctx, r.web, req, engine.MaxManifest)
	if err != nil {
		return err
	}
	if err := json.NewDecoder(bytes.NewReader(data)).Decode(into); err != nil {
		return fmt.Errorf("/api/v1/%s: %w", path, err)
	}
	return nil
}

// whose returns the owners whose packages are searched.
func (r *registry) whose(ctx context.Context) ([]string, error) {
	if len(r.owners) > 0 {
		return r.owners, nil
	}
	if r.token == "" {
		return nil, sdk.Unauthorized("set GITEA_OWNERS or GITEA_TOKEN, which tell whose packages to search")
	}
	var user struct{ Login string }
	if err := r.api(ctx, "user", nil, &user); err != nil {
		return nil, err
	}
	var orgs []struct{ Username string }
	if err := r.api(ctx, "user/orgs", url.Values{"limit": {"50"}}, &orgs); err != nil {
		return nil, err
	}
	owners := []string{user.Login}
	for _, o := range orgs {
		owners = append(owners, o.Username)
	}
	return owners, nil
}

// Search implements sdk.Searcher. Every version of a package is a hit of Gitea's.
func (r *registry) Search(ctx context.Context, words string, limit int) ([]sdk.Found, error) {
	owners, err := r.whose(ctx)
	if err != nil {
		return nil, err
	}
	var found []sdk.Found
	for _, owner := range owners {
		var packages []struct{ Name, Version string }
		if err := r.api(ctx, "packages/"+url.PathEscape(owner), url.Values{"type": {"container"}, "q": {words}, "limit": {"50"}}, &packages); err != nil {
			return nil, err
		}
		for _, p := range packages {
			ref := strings.ToLower(owner) + "/" + p.Name
			if !digestPattern.MatchString(p.Version) {
				ref += ":" + p.Version
			}
			if len(found) < limit && !slices.ContainsFunc(found, func(f sdk.Found) bool { return f.Ref == ref }) {
				found = append(found, sdk.Found{Ref: ref})
			}
		}
	}
	return found, nil
}
