package recipe_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/recipe"
)

// A fakeSpec is a node that remembers what its call was given.
type fakeSpec struct {
	args engine.Args
	part string
}

func (fakeSpec) Asks(*engine.Answers) []engine.Ask                          { return nil }
func (fakeSpec) Observe(*engine.Answers) (engine.State, error)              { return nil, nil }
func (fakeSpec) Diff(engine.State, engine.Inputs) (engine.Diff, error)      { return engine.Diff{}, nil }
func (fakeSpec) Apply(context.Context, engine.Work) (engine.Outputs, error) { return nil, nil }

// fakeKinds are step kinds with the names and shapes of the real ones, as far as
// the recipes that ship use them.
func fakeKinds() []engine.Kind {
	return []engine.Kind{
		{
			Name: "oci_pull", Doc: "Pulls an image. It is fake.", Example: `oci_pull("a")`,
			Params:  []engine.Param{{Name: "ref", Type: engine.TypeString, Required: true, Position: 1, Doc: "The image.", Example: `"alpine"`}},
			Outputs: []engine.Output{{Name: "digest", Doc: "The digest."}},
			New:     func(c engine.Call) (*engine.Made, error) { return oneNode(c, c.Args.String("ref")), nil },
		},
		{
			Name: "zfs_dataset", Doc: "Makes a dataset.", Example: `zfs_dataset("a")`,
			Params: []engine.Param{
				{Name: "name", Type: engine.TypeString, Required: true, Position: 1, Doc: "Its name."},
				{Name: "profile", Type: engine.TypeString, Choices: []string{"media", "postgres", "appdata", "downloads"}, Doc: "Its use."},
				{Name: "owner", Type: engine.TypeInt, Default: "root", Doc: "Its owner."},
				{Name: "protect", Type: engine.TypeBool, Default: "False", Doc: "Keep it."},
			},
			Outputs: []engine.Output{{Name: "name", Doc: "Its name."}},
			New: func(c engine.Call) (*engine.Made, error) {
				m := oneNode(c, c.Args.String("name"))
				m.Known = map[string]string{"name": c.Args.String("name")}
				return m, nil
			},
		},
		{
			Name: "secret", Doc: "A secret.", Example: `secret("a")`, Result: "value",
			Params:  []engine.Param{{Name: "name", Type: engine.TypeString, Required: true, Position: 1, Doc: "Its name."}},
			Outputs: []engine.Output{{Name: "value", Doc: "The secret.", Secret: true}},
			New:     func(c engine.Call) (*engine.Made, error) { return oneNode(c, c.Args.String("name")), nil },
		},
		pctCreate(),
		{
			Name: "gpu_attach", Doc: "Attaches a GPU.", Example: `gpu_attach(x)`,
			Params: []engine.Param{
				{Name: "container", Type: engine.TypeStep, Of: []string{"pct_create"}, Required: true, Position: 1, Doc: "Where."},
				{Name: "vendor", Type: engine.TypeString, Default: "auto", Position: 2, Doc: "Which."},
			},
			New: func(c engine.Call) (*engine.Made, error) {
				to := c.Args.Step("container").ID
				m := oneNode(c, to.Name())
				m.Parts[0].AttachTo = to.Node("configure")
				return m, nil
			},
		},
	}
}

func oneNode(c engine.Call, name string) *engine.Made {
	return &engine.Made{Name: name, Parts: []engine.Part{{Spec: fakeSpec{args: c.Args}}}}
}

func pctCreate() engine.Kind {
	return engine.Kind{
		Name: "pct_create", Doc: "Makes a container. It is fake.", Example: `pct_create("a", image = x)`,
		Params: []engine.Param{
			{Name: "name", Type: engine.TypeString, Required: true, Position: 1, Doc: "Its name.", Example: `"db"`},
			{Name: "image", Type: engine.TypeStep, Of: []string{"oci_pull"}, Required: true, Doc: "Its image.", Example: `oci_pull("alpine")`},
			{Name: "memory", Type: engine.TypeSize, Default: "512M", Doc: "Its memory."},
			{Name: "disk", Type: engine.TypeSize, Default: `"4G"`, Doc: "Its disk."},
			{Name: "shm", Type: engine.TypeSize, Doc: "Its shared memory."},
			{Name: "cores", Type: engine.TypeInt, Doc: "Its cores."},
			{Name: "mounts", Type: engine.TypeMap, Of: []string{"zfs_dataset", "mount"}, Doc: "Its mounts."},
			{Name: "env", Type: engine.TypeTextMap, Default: "{}", Doc: "Its environment."},
			{Name: "cmd", Type: engine.TypeTexts, Default: "[]", Doc: "Its command."},
			{Name: "tags", Type: engine.TypeStrings, Default: `["a", "b"]`, Doc: "Its tags."},
			{Name: "onboot", Type: engine.TypeBool, Default: "true", Doc: "Start it."},
			{Name: "timeout", Type: engine.TypeDuration, Default: "30s", Doc: "Its time."},
			{Name: "after", Type: engine.TypeSteps, Doc: "What it waits for."},
			{Name: "ready", Type: engine.TypeObject, Of: []string{"exec_ready", "tcp_ready", "http_ready"}, Doc: "Its probe."},
			{Name: "probes", Type: engine.TypeObjects, Of: []string{"tcp_ready"}, Doc: "More probes."},
			{Name: "source", Type: engine.TypeStepOrString, Of: []string{"zfs_dataset"}, Doc: "A source."},
			{Name: "motd", Type: engine.TypeText, Doc: "A text."},
		},
		Outputs: []engine.Output{
			{Name: "name", Doc: "Its name."},
			{Name: "address", Part: "start", Doc: "Its address."},
		},
		New: newContainer,
	}
}

func newContainer(c engine.Call) (*engine.Made, error) {
	if m := c.Args.Size("memory"); m < 16*engine.MiB {
		return nil, engine.WithHint(engine.ArgErrorf("memory", "wanted at least 16M, got %s", m), "give it more")
	}
	id := engine.StepID("pct_create/" + c.Args.String("name"))
	part := func(name string) engine.Part {
		return engine.Part{Name: name, Spec: fakeSpec{args: c.Args, part: name}}
	}
	create, configure, start, ready := part("create"), part("configure"), part("start"), part("ready")
	create.After = []engine.NodeID{c.Args.Step("image").ID.Node("")}
	configure.After = []engine.NodeID{id.Node("create")}
	for _, e := range c.Args.Entries("mounts") {
		if h, ok := e.Value.(*engine.Handle); ok {
			configure.After = append(configure.After, h.ID.Node(""))
		}
	}
	start.After = []engine.NodeID{id.Node("configure")}
	for _, e := range c.Args.Entries("env") {
		start.Uses = append(start.Uses, e.Value.(engine.Text).Refs()...)
	}
	ready.After = []engine.NodeID{id.Node("start")}
	return &engine.Made{
		Name: c.Args.String("name"), Known: map[string]string{"name": c.Args.String("name")},
		Parts: []engine.Part{create, configure, start, ready},
	}, nil
}

type fakeProbe struct{ kind, args string }

func fakeConstructors() []engine.Constructor {
	probe := func(name string, params ...engine.Param) engine.Constructor {
		return engine.Constructor{Name: name, Doc: "A probe.", Example: name + "(1)", Params: params,
			New: func(c engine.Call) (any, error) { return fakeProbe{name, fmt.Sprint(c.Args.Values)}, nil }}
	}
	port := engine.Param{Name: "port", Type: engine.TypeInt, Required: true, Position: 1, Doc: "The port."}
	return []engine.Constructor{
		probe("exec_ready", engine.Param{Name: "argv", Type: engine.TypeStrings, Required: true, Position: 1, Doc: "The command."}),
		probe("tcp_ready", port),
		probe("http_ready", port, engine.Param{Name: "path", Type: engine.TypeString, Default: `"/"`, Position: 2, Doc: "The path."}),
		{
			Name: "mount", Doc: "A mount.", Example: "mount(x)",
			Params: []engine.Param{
				{Name: "source", Type: engine.TypeStep, Of: []string{"zfs_dataset"}, Required: true, Position: 1, Doc: "What."},
				{Name: "ro", Type: engine.TypeBool, Default: "False", Doc: "Read-only."},
			},
			New: func(c engine.Call) (any, error) { return c.Args.Step("source").ID, nil },
		},
	}
}

func testFacts() *engine.Facts {
	return &engine.Facts{
		Node: "pve1", Arch: "amd64", PVE: "9.1.2", Cores: 8, Memory: 32 * engine.GiB,
		Packages: map[string]string{"pve-container": "6.1.10", "skopeo": "1.18.0"},
		Pools:    []engine.Pool{{Name: "rpool", Size: engine.TiB, Free: 100 * engine.GiB, Health: "ONLINE"}, {Name: "data", Size: engine.TiB}},
		Storages: []engine.Storage{{Name: "local", Type: "dir", Content: []string{"vztmpl"}}, {Name: "local-zfs", Type: "zfspool", Content: []string{"rootdir"}},
			{Name: "off", Off: true}, {Name: "elsewhere", Nodes: []string{"pve2"}}},
		Bridges: []string{"vmbr0"},
		GPUs:    []engine.GPU{{Vendor: "intel", PCI: "0000:00:02.0", Driver: "i915"}},
		Default: engine.Choices{Pool: "rpool", Storage: "local-zfs", Bridge: "vmbr0"},
	}
}

func testOptions(files map[string]string) recipe.Options {
	m := fstest.MapFS{}
	for name, text := range files {
		m[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return recipe.Options{Kinds: fakeKinds(), Constructors: fakeConstructors(), Facts: testFacts(), FS: m}
}

// head begins the recipes of tests on the line of their first statement.
const head = `recipe("app"); `

func load(t *testing.T, text string) *recipe.Recipe {
	t.Helper()
	return loadWith(t, testOptions(map[string]string{"x.star": head + text}))
}

func loadWith(t *testing.T, o recipe.Options) *recipe.Recipe {
	t.Helper()
	r, err := recipe.Load(t.Context(), "x.star", o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// dump is a canonical text of a graph: everything but what pointers hide.
func dump(g *engine.Graph) string {
	var b strings.Builder
	fmt.Fprintf(&b, "app %+v\n", g.App)
	for _, n := range g.Nodes() {
		s := n.Spec.(fakeSpec)
		fmt.Fprintf(&b, "%s at %s via %v needs %v attached %v\n", n.ID, n.Step.Pos, n.Step.Via, n.Needs, n.Attached)
		for _, e := range s.args.Entries("env") {
			fmt.Fprintf(&b, "    %s=%v\n", e.Key, e.Value)
		}
	}
	for _, o := range g.Outputs {
		fmt.Fprintf(&b, "output %s = %s at %s\n", o.Name, o.Text, o.Pos)
	}
	return b.String()
}
