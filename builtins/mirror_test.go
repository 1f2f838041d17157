package builtins_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/tengil/tengil/builtins"
	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/exec"
	"github.com/tengil/tengil/engine/lab"
	"github.com/tengil/tengil/engine/plan"
	"github.com/tengil/tengil/engine/pve"
	"github.com/tengil/tengil/engine/recipe"
	"github.com/tengil/tengil/engine/sshhost"
)

const (
	ownImage = "docker.io/library/own:1"
	mirror   = "mirror.lan:5000/hub"
	mirrored = mirror + "/library/own:1"
)

var behindMirror = engine.Choices{Mirrors: map[string]string{"docker.io": mirror}}

// ownImages puts an image into the registry and into its mirror.
func ownImages(t *testing.T, l *lab.Lab) {
	t.Helper()
	for _, ref := range []string{ownImage, mirrored} {
		if _, err := l.AddImage(ref, lab.ImageSpec{Cmd: []string{"/bin/sh"}, Base: "alpine"}); err != nil {
			t.Fatal(err)
		}
	}
}

// mirrorPlan compares a recipe that pulls an image with a lab whose owner has
// chosen a mirror.
func (b *bench) mirrorPlan(image string) (*engine.Plan, error) {
	b.t.Helper()
	a, err := b.host.Batch(b.t.Context(), pve.FactAsks())
	if err != nil {
		b.t.Fatal(err)
	}
	facts, err := pve.ParseFacts(a, behindMirror)
	if err != nil {
		b.t.Fatal(err)
	}
	r, err := recipe.Load(b.t.Context(), "app.star", recipe.Options{
		Kinds: builtins.Kinds(), Constructors: builtins.Constructors(), Facts: facts,
		FS: fstest.MapFS{"app.star": {Data: []byte("recipe(name = \"app\")\noci_pull(\"" + image + "\")\n")}},
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return plan.Build(b.t.Context(), r.Graph, b.host, facts, plan.Options{Kinds: builtins.Kinds()})
}

// A run with nothing to do costs at most three round trips (promise 9), one of
// which reads the facts, also where a mirror does not have what is asked for anew.
func TestPromise9NoOpIsCheapWhereTheMirrorLacksTheImage(t *testing.T) {
	t.Parallel()
	for name, where := range map[string]struct {
		refs []string
		want []string // what is asked, besides the facts
	}{
		"the mirror has it":   {[]string{ownImage, mirrored}, []string{"mirror.lan:5000/hub/library/own:1"}},
		"the mirror lacks it": {[]string{ownImage}, []string{"mirror.lan:5000/hub/library/own:1", "docker.io/library/own:1"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := openBench(t)
			for _, ref := range where.refs {
				b.add(ref, lab.ImageSpec{Cmd: []string{"/bin/sh"}, Base: "alpine"})
			}
			const always = ownImage + `", policy = "always`
			p, err := b.mirrorPlan(always)
			if err != nil {
				t.Fatal(err)
			}
			if err := b.run(p); err != nil {
				t.Fatal(err)
			}
			trips, mark := b.host.(*sshhost.Host).RoundTrips(), len(b.lab.Log())
			if p, err = b.mirrorPlan(always); err != nil {
				t.Fatal(err)
			}
			if !p.Empty() {
				t.Fatalf("not a no-op:\n%s", plan.Text(p))
			}
			if n := b.host.(*sshhost.Host).RoundTrips() - trips; n > 3 {
				t.Errorf("%d round trips, want at most 3", n)
			}
			var asked []string
			for _, e := range b.lab.Log()[mark:] {
				if len(e.Argv) > 3 && e.Argv[1] == "inspect" && e.Argv[2] == "--raw" {
					asked = append(asked, strings.TrimPrefix(e.Argv[3], "docker://"))
				}
			}
			if !slices.Equal(asked, where.want) {
				t.Errorf("asked %q, want %q", asked, where.want)
			}
		})
	}
}

// copied returns the sources that skopeo copied from without failing.
func (b *bench) copied() []string {
	var from []string
	for _, e := range b.lab.Log() {
		if len(e.Argv) > 2 && e.Argv[0] == "skopeo" && e.Argv[1] == "copy" && e.Exit == 0 {
			name, _, _ := strings.Cut(e.Argv[len(e.Argv)-2], "@")
			from = append(from, name)
		}
	}
	return from
}

func TestAMirrorIsPulledFromAndTheRegistryIsWhatRemains(t *testing.T) {
	t.Parallel()
	spec := lab.ImageSpec{Cmd: []string{"/bin/sh"}, Base: "alpine"}
	copies := func(source string) func(argv []string) bool {
		return func(argv []string) bool {
			return argv[0] == "skopeo" && argv[1] == "copy" && strings.HasPrefix(argv[len(argv)-2], "docker://"+source)
		}
	}
	for _, tt := range []struct {
		name  string
		setup func(b *bench)
		from  string // where the image comes from
		told  string // in an event; "" for none
	}{
		{"a mirror that has it", func(b *bench) { b.add(mirrored, spec) }, "docker://mirror.lan:5000/hub/library/own", ""},
		{"a mirror that has it not", func(*bench) {}, "docker://docker.io/library/own", "mirror.lan:5000 does not have it"},
		{"a mirror that fails when it is copied from", func(b *bench) {
			b.add(mirrored, spec)
			b.lab.Fault(lab.Fault{Match: copies("mirror.lan"), Nth: 1, When: lab.Before, Do: lab.Fail, Exit: 1, Stderr: "received unexpected HTTP status: 502 Bad Gateway\n"})
		}, "docker://docker.io/library/own", "mirror.lan:5000 does not have it"},
		{"a mirror that breaks off in the middle", func(b *bench) {
			b.add(mirrored, spec)
			b.lab.Fault(lab.Fault{Match: copies("mirror.lan"), Nth: 1, When: lab.During, Do: lab.Fail, Exit: 1, Stderr: "unexpected EOF\n"})
		}, "docker://docker.io/library/own", "mirror.lan:5000 does not have it"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := openBench(t)
			b.add(ownImage, spec)
			tt.setup(b)
			p, err := b.mirrorPlan(ownImage)
			if err != nil {
				t.Fatal(err)
			}
			if p.Rounds > 3 {
				t.Errorf("the plan took %d round trips", p.Rounds)
			}
			var told []string
			_, err = exec.Run(t.Context(), p, b.host, exec.Options{Pause: time.Millisecond, Events: func(e engine.Event) { told = append(told, e.Text) }})
			if err != nil {
				t.Fatal(err)
			}
			if got := b.copied(); !slices.Equal(got, []string{tt.from}) {
				t.Errorf("copied from %q, want %q", got, tt.from)
			}
			if says := strings.Join(told, "\n"); !strings.Contains(says, tt.told) || tt.told == "" && strings.Contains(says, "does not have it") {
				t.Errorf("told %q, want %q", says, tt.told)
			}
			again, err := b.mirrorPlan(ownImage)
			if err != nil {
				t.Fatal(err)
			}
			if !again.Empty() {
				t.Errorf("there is still to do:\n%s", plan.Text(again))
			}
			archive := again.Nodes[0].Diff.Outputs["archive"].Reveal()
			if !strings.HasPrefix(archive, "local:vztmpl/docker.io_library_own_") {
				t.Errorf("the archive is %s, not named by the image", archive)
			}
		})
	}
}

func TestAMirrorWithAnotherImageIsNotBelieved(t *testing.T) {
	t.Parallel()
	b := openBench(t)
	digest := b.add(ownImage, lab.ImageSpec{Cmd: []string{"/bin/sh"}, Base: "alpine"})
	b.add(mirrored, lab.ImageSpec{Cmd: []string{"/bin/false"}, Base: "alpine"})
	p, err := b.mirrorPlan(ownImage + "@" + digest)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.run(p); err != nil {
		t.Fatal(err)
	}
	if got := b.copied(); !slices.Equal(got, []string{"docker://docker.io/library/own"}) {
		t.Errorf("copied from %q", got)
	}
}

func TestAnImageThatIsNowhereBlamesTheRegistry(t *testing.T) {
	t.Parallel()
	b := openBench(t)
	_, err := b.mirrorPlan(ownImage)
	if err == nil {
		t.Fatal("there is a plan")
	}
	said := strings.ReplaceAll(err.Error()+"\n"+engine.HintOf(err), "oci_pull/"+ownImage, "the step")
	if !strings.Contains(said, "the registry has no "+ownImage) || strings.Contains(said, "mirror.lan") {
		t.Errorf("got %s", said)
	}
}

// silent makes skopeo inspect of a registry run into the time
// that it is given.
func (b *bench) silent(registry string) {
	b.lab.Fault(lab.Fault{
		Match: func(argv []string) bool {
			return len(argv) > 5 && argv[1] == "inspect" && strings.HasPrefix(argv[3], "docker://"+registry) && slices.Equal(argv[4:], []string{"--command-timeout", "60s"})
		},
		Times: 100, When: lab.Before, Do: lab.Fail,
		Stderr: `time="2026-01-01T00:00:00Z" level=fatal msg="Error parsing image name: pinging container registry ` + registry + `: Get \"https://` + registry + `/v2/\": context deadline exceeded"` + "\n",
	})
}

func TestARegistryThatDoesNotAnswerIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	b := openBench(t)
	ownImages(t, b.lab)
	b.silent("mirror.lan:5000")
	p, err := b.mirrorPlan(ownImage)
	if err != nil {
		t.Fatal(err)
	}
	if p.Rounds != 3 {
		t.Errorf("the mirror answered: the plan took %d round trips", p.Rounds)
	}
	b.silent("docker.io")
	if _, err := b.mirrorPlan(ownImage); !errors.Is(err, pve.ErrRegistry) || !errors.Is(err, engine.ErrTransient) {
		t.Errorf("neither answers: error %v", err)
	}
}

func (b *bench) add(ref string, spec lab.ImageSpec) string {
	b.t.Helper()
	digest, err := b.lab.AddImage(ref, spec)
	if err != nil {
		b.t.Fatal(err)
	}
	return digest
}
