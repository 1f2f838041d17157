package gpu

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/tengil/tengil/builtins/pct"
	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/pve"
)

// mode lets the group in and nobody else: 0666 would open the node's device to
// every user of the container.
const mode = "0660"

func statAsk(name string) engine.Ask { return engine.AskRun("stat", "-L", "-c", "%F", name) }

func (a attach) Asks(*engine.Answers) []engine.Ask {
	if len(a.devices) == 0 {
		return nil
	}
	asks := pct.GuestAsks(a.node)
	for _, d := range a.devices {
		asks = append(asks, statAsk(d.path))
	}
	return asks
}

// A state is the devices that the containers of that name have, by id of the
// container and path. Their groups were looked up when they were attached.
type state map[string]map[string]pve.Device

func (a attach) Observe(ans *engine.Answers) (engine.State, error) {
	st := state{}
	if len(a.devices) == 0 {
		return st, nil
	}
	for _, d := range a.devices {
		if err := present(ans, d.path); err != nil {
			return nil, err
		}
	}
	guests, err := pct.GuestsOf(ans, a.node)
	if err != nil {
		return nil, err
	}
	for _, g := range guests.Named(a.container.App, a.container.Name) {
		devices := map[string]pve.Device{}
		for _, i := range g.Config.Indexed("dev") {
			key := "dev" + strconv.Itoa(i)
			d, err := pve.ParseDevice(g.Config.Get(key))
			if err != nil {
				return nil, fmt.Errorf("CT %d: %s: %w", g.VMID, key, err)
			}
			devices[d.Path] = d
		}
		st[strconv.Itoa(g.VMID)] = devices
	}
	return st, nil
}

// present fails where a device is missing: the container could not start.
func present(a *engine.Answers, name string) error {
	err := a.Get(statAsk(name)).Err
	var exit *engine.ExitError
	switch {
	case errors.Is(err, engine.ErrNobody):
		return nil // nobody was there to answer (engine.NothingThere)
	case errors.As(err, &exit):
		return engine.WithHint(fmt.Errorf("device %q does not exist", name),
			"its driver is not loaded, or the card was moved to another slot; see on the node:\n    ls -l /dev/dri/by-path")
	}
	return err
}

func (a attach) Diff(now engine.State, in engine.Inputs) (engine.Diff, error) {
	d := engine.Diff{Notes: []engine.Note{{Label: "gpu", Text: a.why}}, Outputs: engine.Outputs{"devices": engine.Known(""), "lxc": engine.Known("")}}
	if len(a.devices) == 0 {
		return d, nil
	}
	vmid := in.Value(a.vmid)
	have, all := map[string]pve.Device{}, false
	if vmid.IsKnown() {
		have = now.(state)[vmid.Reveal()]
		all = true
	}
	var devices []string
	for _, dev := range a.devices {
		was, ok := have[dev.path]
		all = all && ok
		devices = append(devices, pve.Device{Path: dev.path, GID: was.GID, Mode: mode}.String())
	}
	if all {
		d.Outputs = a.outputs(vmid.Reveal(), devices)
		return d, nil
	}
	later := engine.Unknown("once the image's groups are read")
	d.Outputs = engine.Outputs{"devices": later, "lxc": later}
	d.Changes = []engine.Change{{Action: engine.Create, To: a.paths(),
		Why: "the container does not have the card yet; the groups that may use it are looked up in the image"}}
	return d, nil
}

func (a attach) paths() string {
	var out []string
	for _, d := range a.devices {
		out = append(out, d.path)
	}
	return strings.Join(out, " ")
}

// outputs are the devN values and the lines that show the devices under the
// names that applications know. The source of these mounts is where Proxmox
// makes the device nodes for the container, before it mounts anything
// (lxc-pve-prestart-hook; lxc-pve-autodev-hook mounts from there too), so that
// both names are one node with one owner.
func (a attach) outputs(vmid string, devices []string) engine.Outputs {
	var lines []string
	for _, d := range a.devices {
		if d.alias != "" {
			lines = append(lines, fmt.Sprintf("lxc.mount.entry: /var/lib/lxc/%s/passthrough%s %s none bind,optional,create=file 0 0",
				vmid, d.path, strings.TrimPrefix(d.alias, "/")))
		}
	}
	return engine.Outputs{"devices": engine.Known(strings.Join(devices, "\n")), "lxc": engine.Known(strings.Join(lines, "\n"))}
}

// Apply looks up the groups in the image's root file system. The devices
// themselves are set by the container's configure node.
func (a attach) Apply(ctx context.Context, w engine.Work) (engine.Outputs, error) {
	vmid := w.In.Value(a.vmid).Reveal()
	id, err := strconv.Atoi(vmid)
	if err != nil {
		return nil, fmt.Errorf("id of %s is %q; wanted a number", a.container.Name, vmid)
	}
	groups, err := readGroups(ctx, w.Host, id)
	if err != nil {
		return nil, err
	}
	var devices []string
	for _, d := range a.devices {
		gid, name := pick(groups, d.groups)
		if name == "" {
			w.Report("the image has no group "+strings.Join(d.groups, " or ")+"; only root of the container may use "+d.path, 0, 0)
		}
		devices = append(devices, pve.Device{Path: d.path, GID: gid, Mode: mode}.String())
	}
	return a.outputs(vmid, devices), nil
}

// pick returns the first group that the image has; root's, and no name, if none.
func pick(groups map[string]int, names []string) (gid int, name string) {
	for _, n := range names {
		if gid, ok := groups[n]; ok {
			return gid, n
		}
	}
	return 0, ""
}
