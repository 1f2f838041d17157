package pct

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/tengil/tengil/builtins/bind"
	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/pve"
)

// DeviceKind is the name of the recipe function.
const DeviceKind = "device_attach"

// Device returns the kind device_attach.
func Device() engine.Kind {
	return engine.Kind{
		Name: DeviceKind,
		Doc: "Gives a container one device of the node. The device must exist at every start of the container. " +
			"For graphics use gpu_attach, which finds the device and the group that may use it.",
		Example: `device_attach(server, "/dev/net/tun", mode = "0666")`,
		Params: []engine.Param{
			{Name: "container", Type: engine.TypeStep, Of: []string{"pct_create"}, Required: true, Position: 1,
				Doc: "The container that gets it.", Example: `server`},
			{Name: "path", Type: engine.TypeString, Required: true, Position: 2,
				Doc: "The device on the node; it has the same path in the container.", Example: `"/dev/serial/by-id/usb-zigbee"`},
			{Name: "uid", Type: engine.TypeInt, Default: "0", Doc: "User in the container that owns it.", Example: `1000`},
			{Name: "gid", Type: engine.TypeInt, Default: "0", Doc: "Group in the container that owns it.", Example: `20`},
			{Name: "mode", Type: engine.TypeString, Default: "0660", Doc: "Permissions in the container, in octal.", Example: `"0600"`},
			{Name: "deny_write", Type: engine.TypeBool, Default: "False", Doc: "Allow reading alone.", Example: `True`},
		},
		New: newDevice,
	}
}

// A deviceSpec is one device that the container's configure node takes.
type deviceSpec struct{ device pve.Device }

func newDevice(c engine.Call) (*engine.Made, error) {
	h := c.Args.Step("container")
	container, ok := h.Detail.(*Container)
	if !ok {
		return nil, engine.ArgErrorf("container", "%s is no container", h.ID)
	}
	d := pve.Device{
		Path: c.Args.String("path"), UID: int(c.Args.Int("uid")), GID: int(c.Args.Int("gid")), DenyWrite: c.Args.Bool("deny_write"),
	}
	if err := pve.CheckDevicePath(d.Path); err != nil {
		return nil, engine.ArgErrorf("path", "%w", err)
	}
	for _, p := range []string{"uid", "gid"} {
		if n := c.Args.Int(p); n < 0 || n > bind.MaxID {
			return nil, engine.ArgErrorf(p, "wanted 0 to %d, got %d", bind.MaxID, n)
		}
	}
	if c.Args.Has("mode") {
		n, err := strconv.ParseUint(c.Args.String("mode"), 8, 16)
		if err != nil || n > 0o777 {
			return nil, engine.ArgErrorf("mode", "wanted an octal number such as %q, got %q", "0660", c.Args.String("mode"))
		}
		d.Mode = fmt.Sprintf("%04o", n)
	}
	return &engine.Made{
		Name: container.Name + d.Path,
		Parts: []engine.Part{{
			Spec: deviceSpec{d}, AttachTo: h.ID.Node(partConfigure),
		}},
	}, nil
}

func (s deviceSpec) statAsk() engine.Ask {
	return engine.AskRun("stat", "-L", "-c", "%F", s.device.Path)
}

func (s deviceSpec) Asks(*engine.Answers) []engine.Ask { return []engine.Ask{s.statAsk()} }

// Observe fails where the device is missing: the container could not start.
func (s deviceSpec) Observe(a *engine.Answers) (engine.State, error) {
	ans := a.Get(s.statAsk())
	var exit *engine.ExitError
	switch {
	case errors.Is(ans.Err, engine.ErrNobody):
		return nil, nil // nobody was there to answer (engine.NothingThere)
	case errors.As(ans.Err, &exit):
		return nil, engine.WithHint(fmt.Errorf("device %q does not exist", s.device.Path),
			"plug it in or load its driver; a container with a missing device does not start")
	case ans.Err != nil:
		return nil, ans.Err
	}
	kind, err := pve.ParseFileType(s.statAsk().Argv(), ans.Result.Stdout)
	if err != nil {
		return nil, err
	}
	if kind != "character special file" && kind != "block special file" {
		return nil, fmt.Errorf("%q is a %s; wanted a device", s.device.Path, kind)
	}
	return nil, nil
}

// Diff has no changes of its own: the container's configure node shows them.
func (s deviceSpec) Diff(engine.State, engine.Inputs) (engine.Diff, error) {
	return engine.Diff{Outputs: s.outputs()}, nil
}

func (s deviceSpec) outputs() engine.Outputs {
	return engine.Outputs{"devices": engine.Known(s.device.String())}
}

// Apply has nothing to do.
func (s deviceSpec) Apply(context.Context, engine.Work) (engine.Outputs, error) {
	return s.outputs(), nil
}
