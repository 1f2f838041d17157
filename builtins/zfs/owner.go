package zfs

import (
	"context"
	"fmt"
	"strconv"

	"github.com/tengil/tengil/builtins/act"
	"github.com/tengil/tengil/builtins/bind"
	"github.com/tengil/tengil/engine"
)

// An ownership is who shall own a top directory, as ids of the node, and with
// which permissions. Nil and "" leave them as they are.
type ownership struct {
	uid, gid *int
	mode     string // "750", as stat prints it
}

// A topDir is what stat prints of a top directory; all "" if it was not asked.
type topDir struct{ uid, gid, mode string }

// ownershipOf takes owner, group and mode. Nodes whose Proxmox maps ids for each
// mount point could leave the files unshifted; shifting the owner works on all
// of them, and a dataset looks the same after an upgrade.
func ownershipOf(a engine.Args, src *bind.Source) (o ownership, err error) {
	for _, p := range []string{"owner", "group"} {
		if n := a.Int(p); n < 0 || n > bind.MaxID {
			err := engine.ArgErrorf(p, "wanted 0 to %d, got %d", bind.MaxID, n)
			if inside := n - bind.HostID; inside >= 0 && inside <= bind.MaxID {
				err = engine.WithHint(err, fmt.Sprintf("it is the id inside the container that is wanted; %d on the node is %d inside", n, inside))
			}
			return o, err
		}
	}
	if a.Has("owner") {
		inside := int(a.Int("owner"))
		src.Owner = &inside
		uid := bind.HostID + inside
		o.uid, o.gid = &uid, &uid
	}
	if a.Has("group") {
		if o.uid == nil {
			return o, engine.ArgErrorf("group", "wanted together with owner")
		}
		gid := bind.HostID + int(a.Int("group"))
		o.gid = &gid
	}
	if a.Has("mode") {
		n, err := strconv.ParseUint(a.String("mode"), 8, 16)
		if err != nil || n > 0o7777 || n&0o700 != 0o700 {
			return o, engine.ArgErrorf("mode", "wanted an octal number that lets the owner in, such as %q; got %q", "0750", a.String("mode"))
		}
		o.mode = strconv.FormatUint(n, 8)
	}
	return o, nil
}

// own sets owner and mode of a top directory, never of what is in it.
func (o ownership) own(ctx context.Context, h engine.Host, dir string, have topDir) error {
	if o.uid != nil {
		uid, gid := strconv.Itoa(*o.uid), strconv.Itoa(*o.gid)
		if uid != have.uid || gid != have.gid {
			if err := act.Do(ctx, h, "chown", "-h", uid+":"+gid, dir); err != nil {
				return err
			}
		}
	}
	if o.mode != "" && o.mode != have.mode {
		return act.Do(ctx, h, "chmod", "0"+o.mode, dir)
	}
	return nil
}

// changes compares a top directory with what is wanted.
func (o ownership) changes(have topDir) []engine.Change {
	var out []engine.Change
	add := func(field, from, to, why string) {
		if from != to {
			out = append(out, engine.Change{Action: engine.Update, Field: field, From: from, To: to, Why: why})
		}
	}
	if o.uid != nil {
		add("owner", inside(have.uid, have.gid), inside(strconv.Itoa(*o.uid), strconv.Itoa(*o.gid)), "the container's user must own the top directory")
	}
	if o.mode != "" {
		add("mode", have.mode, o.mode, "the recipe sets it")
	}
	return out
}

// summary tells what a new top directory will be like.
func (o ownership) summary() []string {
	var parts []string
	if o.uid != nil {
		parts = append(parts, "owner="+inside(strconv.Itoa(*o.uid), strconv.Itoa(*o.gid)))
	}
	if o.mode != "" {
		parts = append(parts, "mode="+o.mode)
	}
	return parts
}

// inside prints ids of the node as the container sees them: "999:999".
func inside(uid, gid string) string {
	one := func(s string) string {
		n, err := strconv.Atoi(s)
		switch {
		case err != nil:
			return "?"
		case n >= bind.HostID && n <= bind.HostID+bind.MaxID:
			return strconv.Itoa(n - bind.HostID)
		}
		return "node's " + s
	}
	if uid == "" {
		return ""
	}
	return one(uid) + ":" + one(gid)
}
