package lab

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestStandInsAreTheSameInEveryLab(t *testing.T) {
	const ref = "ghcr.io/immich-app/immich-server"
	digest := func(n *node, tag string) string {
		return strings.TrimSpace(mustRun(t, n, "skopeo", "inspect", "--format", "{{.Digest}}", "docker://"+ref+":"+tag))
	}
	a, b := imageNode(t), imageNode(t)
	first := digest(a, "v3.1.0")
	if again := digest(b, "v3.1.0"); again != first {
		t.Errorf("digests in two labs: %s and %s", first, again)
	}
	if other := digest(a, "v3.0.0"); other == first {
		t.Error("two tags have one digest")
	}
	// A digest that was learnt elsewhere can be pulled here.
	c := imageNode(t)
	mustRun(t, c, "skopeo", "copy", "-q", "docker://"+ref+"@"+first, "oci-archive:/img.tar")
	if o := runOn(t, c, "", "skopeo", "inspect", "docker://"+ref+":nosuch"); o.Exit != 2 {
		t.Errorf("tag nosuch: exit %d, want 2", o.Exit)
	}
}

func TestEveryStandInCanBePulled(t *testing.T) {
	n := imageNode(t)
	for _, rows := range [][]standIn{serviceImages(), appImages(), mediaImages()} {
		for _, row := range rows {
			t.Run(row.repo+" "+row.match, func(t *testing.T) {
				tag := strings.Fields(row.tags)[0]
				repo, err := parseRepo(row.repo)
				if err != nil || repo.String() != row.repo || !isStandInHost(repo.host) {
					t.Fatalf("repository is read as %v, %v", repo, err)
				}
				if got := rowFor(standInRows(row.repo), tag); got.base != row.base {
					t.Errorf("tag %s is served by another row, of %s", tag, got.base)
				}
				mustRun(t, n, "skopeo", "copy", "-q", "docker://"+row.repo+":"+tag, "oci-archive:/img.tar")
				checkStandIn(t, n, row)
			})
		}
	}
}

func checkStandIn(t *testing.T, n *node, row standIn) {
	t.Helper()
	a := opened(t, n)
	if err := a.Config.Check("amd64"); err != nil {
		t.Error(err)
	}
	if len(a.Config.Argv()) == 0 {
		t.Error("image has no command")
	}
	root := t.TempDir()
	if err := a.Unpack(root); err != nil {
		t.Fatal(err)
	}
	passwd, err := os.ReadFile(filepath.Join(root, "etc/passwd"))
	user, _, _ := strings.Cut(row.user, ":")
	if named := user != "" && strings.Trim(user, "0123456789") != ""; named && !strings.Contains("\n"+string(passwd), "\n"+user+":") {
		t.Errorf("user %q is not in /etc/passwd (%v)", user, err)
	}
	fi, err := os.Stat(n.host("/img.tar"))
	if err != nil || fi.Size() > 64<<10 {
		t.Errorf("archive has %d bytes, %v; want a small one", fi.Size(), err)
	}
}

func TestRegistriesServeClients(t *testing.T) {
	n := imageNode(t)
	client := &http.Client{Transport: (&Lab{node: n}).Registries()}
	resp, err := client.Get("https://registry-1.docker.io/v2/valkey/valkey/tags/list")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var list struct{ Tags []string }
	if err := json.NewDecoder(resp.Body).Decode(&list); err != nil {
		t.Fatal(err)
	}
	if want := []string{"8", "8-alpine", "8-bookworm", "9", "9-alpine", "latest"}; !cmp.Equal(list.Tags, want) {
		t.Errorf("tags = %q, want %q", list.Tags, want)
	}
	for _, path := range []string{"/v2/../../../etc/passwd/manifests/x", "/v2/a/../b/manifests/latest", "/v2/a/manifests/..%2f..%2fx"} {
		req, err := http.NewRequest(http.MethodGet, "https://docker.io"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Transport.RoundTrip(req)
		if err == nil && resp.StatusCode == http.StatusOK {
			t.Errorf("%s is answered with 200", path)
		}
	}
}

type realRegistry struct{ asked []string }

func (r *realRegistry) RoundTrip(req *http.Request) (*http.Response, error) {
	r.asked = append(r.asked, req.URL.String())
	return &http.Response{StatusCode: http.StatusTeapot, Body: http.NoBody, Request: req}, nil
}

func TestPullAsksRealRegistriesForWhatIsNotThere(t *testing.T) {
	n := imageNode(t)
	addImage(t, n, "ghcr.io/own/image:1", ImageSpec{})
	mustRun(t, n, "skopeo", "inspect", "docker://ghcr.io/immich-app/postgres:17-vectorchord0.4.3") // a stand-in from before
	r, real := n.registries(), &realRegistry{}
	r.real = real
	tests := []struct {
		url  string
		real bool
	}{
		{"https://ghcr.io/v2/own/image/manifests/1", false},
		{"https://ghcr.io/v2/immich-app/postgres/manifests/17-vectorchord0.4.3", true},
		{"https://index.docker.io/v2/library/alpine/manifests/latest", true},
	}
	for _, tt := range tests {
		req, err := http.NewRequest(http.MethodGet, tt.url, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := r.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		if got := resp.StatusCode == http.StatusTeapot; got != tt.real {
			t.Errorf("%s went to the real registry: %v, want %v (status %d)", tt.url, got, tt.real, resp.StatusCode)
		}
	}
}

func TestPullsSideBySide(t *testing.T) {
	n := imageNode(t)
	refs := []string{
		"ghcr.io/immich-app/immich-server:v3.1.0", "ghcr.io/immich-app/immich-server:v3.0.0",
		"ghcr.io/immich-app/immich-server:v3.1.0", "docker.io/valkey/valkey:8-bookworm",
	}
	outcomes := make([]outcome, len(refs))
	var wg sync.WaitGroup
	for i, ref := range refs {
		wg.Go(func() {
			outcomes[i] = runOn(t, n, "", "skopeo", "copy", "-q", "docker://"+ref, fmt.Sprintf("oci-archive:/%d.tar", i))
		})
	}
	wg.Wait()
	var digests []string
	for i := range refs {
		if outcomes[i] != (outcome{}) {
			t.Fatalf("%s: %+v", refs[i], outcomes[i])
		}
		a, err := n.openArchive(fmt.Sprintf("/%d.tar", i))
		if err != nil {
			t.Fatal(err)
		}
		digests = append(digests, a.Digest)
	}
	if digests[0] != digests[2] || digests[0] == digests[1] {
		t.Errorf("digests %q; want the first and third equal, the second not", digests)
	}
}
