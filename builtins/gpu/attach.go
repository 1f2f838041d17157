// Package gpu is the recipe function gpu_attach: it finds a graphics card of the
// node and gives it to a container, to the group that may use it there.
package gpu

import (
	"fmt"
	"strings"

	"github.com/tengil/tengil/builtins/pct"
	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/pve"
)

// KindName is the name of the recipe function.
const KindName = "gpu_attach"

// Attach returns the kind.
func Attach() engine.Kind {
	return engine.Kind{
		Name: KindName,
		Doc: "Gives a container a graphics card of the node, for video or computing. The card is named by its PCI slot, as card0 and " +
			"card1 may change places when the node boots; in the container the devices are also /dev/dri/card0 and " +
			"/dev/dri/renderD128, where applications look for them. They belong to the render and video groups of the image, " +
			"so a program must be in these groups or root. NVIDIA cards also need the driver's libraries in the image.",
		Example: `gpu_attach(server, gpu)`,
		Params: []engine.Param{
			{Name: "container", Type: engine.TypeStep, Of: []string{"pct_create"}, Required: true, Position: 1,
				Doc: "The container that gets it.", Example: `server`},
			{Name: "gpu", Type: engine.TypeString, Choices: []string{auto, none, "intel", "amd", "nvidia"}, Default: auto, Position: 2,
				Doc:     "`auto` takes what there is, also nothing; a vendor's name insists on a card of that vendor; `none` attaches nothing.",
				Example: `"intel"`},
			{Name: "index", Type: engine.TypeInt, Default: "0",
				Doc: "Which card, where the node has several of the kind, counted from 0 in the order of their PCI slots.", Example: `1`},
		},
		New: newAttach,
	}
}

// Words for the parameter gpu that are no vendor.
const (
	auto = "auto"
	none = "none"
)

// An attach is the wanted state: what of which card a container gets.
type attach struct {
	container *pct.Container
	node      string     // of the cluster
	vmid      engine.Ref // of the container
	devices   []device
	why       string // for the note in the plan
}

// A device is one device node.
type device struct {
	path   string // on the node
	alias  string // path in the container where applications look for it; "" if it is the same
	groups []string
}

func newAttach(c engine.Call) (*engine.Made, error) {
	h := c.Args.Step("container")
	container, ok := h.Detail.(*pct.Container)
	if !ok {
		return nil, engine.ArgErrorf("container", "%s is no container", h.ID)
	}
	want := c.Args.String("gpu")
	if want == "" {
		want = auto
	}
	a := attach{container: container, node: c.Facts.Node, vmid: engine.Ref{Node: h.ID.Node("create"), Output: "vmid"}}
	card, why, err := choose(want, int(c.Args.Int("index")), c.Facts)
	if err != nil {
		return nil, err
	}
	a.why = why
	if card != nil {
		a.devices = devicesOf(*card)
	}
	for _, d := range a.devices {
		if err := pve.CheckDevicePath(d.path); err != nil {
			return nil, fmt.Errorf("%s card at %s: %w", card.Vendor, card.PCI, err)
		}
	}
	part := engine.Part{Spec: a, AttachTo: h.ID.Node("configure")}
	if card != nil {
		part.Uses = []engine.Ref{a.vmid}
	}
	return &engine.Made{Name: container.Name, Parts: []engine.Part{part}}, nil
}

// choose returns the card to attach, nil for none, and why.
func choose(want string, index int, f *engine.Facts) (*engine.GPU, string, error) {
	if want == none {
		return nil, "none, as the recipe says", nil
	}
	if index < 0 {
		return nil, "", engine.ArgErrorf("index", "wanted 0 or more, got %d", index)
	}
	var fit []engine.GPU
	for _, vendor := range []string{"intel", "amd", "nvidia"} {
		for _, g := range f.GPUs {
			if g.Vendor == vendor && usable(g) && (want == auto || want == vendor) {
				fit = append(fit, g)
			}
		}
	}
	switch {
	case index < len(fit):
		return &fit[index], reason(want, fit, index), nil
	case want == auto && index == 0:
		return nil, "no GPU on " + f.Node + list(f.GPUs), nil
	case len(fit) > 0:
		return nil, "", engine.ArgErrorf("index", "wanted card %d, %s has %d that fit", index, f.Node, len(fit))
	}
	return nil, "", engine.ArgErrorf("gpu", "no %s GPU on %s%s", want, f.Node, list(f.GPUs))
}

// usable reports whether a driver offers the card to programs; one that is
// reserved for a virtual machine (vfio-pci) has no device nodes.
func usable(g engine.GPU) bool {
	if g.Vendor == "nvidia" && g.Driver == "nvidia" {
		return true
	}
	return g.Render != "" && g.PCI != ""
}

func reason(want string, fit []engine.GPU, index int) string {
	g := fit[index]
	s := describe(g)
	switch {
	case len(fit) == 1:
		return s + ", the only one that fits"
	case want == auto:
		return fmt.Sprintf("%s, number %d of %d: Intel before AMD before NVIDIA", s, index, len(fit))
	}
	return fmt.Sprintf("%s, number %d of %d", s, index, len(fit))
}

func describe(g engine.GPU) string {
	s := g.Vendor
	if g.Name != "" {
		s += " " + g.Name
	}
	return s + " at " + g.PCI
}

// list tells for messages what cards there are.
func list(gpus []engine.GPU) string {
	if len(gpus) == 0 {
		return "; it has none"
	}
	var all []string
	for _, g := range gpus {
		s := describe(g)
		if !usable(g) {
			s += " (driver " + g.Driver + ", without device nodes)"
		}
		all = append(all, s)
	}
	return "; it has: " + strings.Join(all, ", ")
}

// devicesOf returns the device nodes of a card. Names below by-path are udev's
// (60-drm.rules) and stay the same.
func devicesOf(g engine.GPU) []device {
	if g.Vendor == "nvidia" && g.Driver == "nvidia" {
		return nvidia(g)
	}
	base := "/dev/dri/by-path/pci-" + g.PCI
	return []device{
		{path: base + "-card", alias: "/dev/dri/card0", groups: []string{"video"}},
		{path: base + "-render", alias: "/dev/dri/renderD128", groups: []string{"render", "video"}},
	}
}

func nvidia(g engine.GPU) []device {
	paths := g.Nodes
	if len(paths) == 0 {
		paths = []string{"/dev/nvidia0", "/dev/nvidiactl", "/dev/nvidia-modeset", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools"}
	}
	var out []device
	for _, p := range paths {
		out = append(out, device{path: p, groups: []string{"video", "render"}})
	}
	return out
}
