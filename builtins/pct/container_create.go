package pct

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/tengil/tengil/builtins/act"
	"github.com/tengil/tengil/builtins/bind"
	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/pve"
	"github.com/tengil/tengil/engine/record"
	"github.com/tengil/tengil/engine/unit"
)

// create is the node that turns the image into a container. The container is
// made without any bind mount: an image is unpacked through whatever is mounted
// below the root, read-only or not (LXC.pm, mount_all).
type create struct{ *container }

// Diff implements engine.Spec.
func (c create) Diff(now engine.State, in engine.Inputs) (engine.Diff, error) {
	f := now.(*found)
	if err := c.checkImageUser(in); err != nil {
		return engine.Diff{}, err
	}
	current, previous := c.pick(f, in)
	d := engine.Diff{Notes: c.imageNotes(in), Outputs: engine.Outputs{"vmid": engine.Unknown("after create")}}
	if change, refused := f.refusedAddress(); refused {
		d.Changes = append(d.Changes, change)
		return d, nil
	}
	if current != nil {
		d.Outputs["vmid"] = engine.Known(strconv.Itoa(current.VMID))
		if f.intent != nil && !f.working {
			d.Changes = append(d.Changes, engine.Change{Action: engine.Remove, Field: "intent",
				Why: "an earlier run was cut after it had created the container"})
		}
		return d, nil
	}
	if c.vmid != 0 {
		d.Outputs["vmid"] = engine.Known(strconv.Itoa(c.vmid))
		if change, taken := c.taken(f); taken {
			d.Changes = append(d.Changes, change)
			return d, nil
		}
	}
	if len(previous) == 0 {
		if change, found := c.lookalike(f); found {
			d.Changes = append(d.Changes, change)
			return d, nil
		}
		why := "there is no such container"
		switch {
		case f.working:
			why = fmt.Sprintf("an earlier run is creating CT %d; this one waits for it", f.intent.VMID)
		case f.left != nil:
			why = fmt.Sprintf("an earlier run was cut while it created CT %d; what it left is removed first", f.left.VMID)
		}
		d.Changes = append(d.Changes, engine.Change{Action: engine.Create, To: c.imageName, Why: why})
		return d, nil
	}
	d.Changes = c.replaces(previous[len(previous)-1], in)
	for i := range d.Changes {
		d.Changes[i].Loses = fmt.Sprintf("what CT %d wrote outside its mounts, once the new container is ready", previous[len(previous)-1].VMID)
	}
	return d, nil
}

// lookalike refuses to make a second container beside one that was ours and whose
// description somebody has replaced: it still has the app's tag and host name.
func (c create) lookalike(f *found) (engine.Change, bool) {
	for _, id := range slices.Sorted(maps.Keys(f.all.ByID)) {
		g := f.all.ByID[id]
		tags := g.Config.Tags()
		if g.Mine || g.Config.Get("hostname") != c.hostname || !slices.Contains(tags, "tengil") || !slices.Contains(tags, c.app) {
			continue
		}
		if said, ok, _ := record.ParseDescription(g.Config.Description); ok && said.VMID != id {
			continue // a clone
		}
		return engine.Change{Action: engine.AdoptRefused, To: fmt.Sprintf("CT %d", id),
			Why:  fmt.Sprintf("CT %d has the tags and the host name of this container, but not its machine line in the description", id),
			Hint: fmt.Sprintf("if it is the container, put the line back (on the node, with the image's reference and digest):\n    pct set %d --description '{\"tengil\":1,\"app\":%q,\"container\":%q,\"vmid\":%d,\"recipe\":\"\",\"image\":\"REF@sha256:…\"}'\nif it is not, take the tag tengil off", id, c.app, c.name, id)}, true
	}
	return engine.Change{}, false
}

// taken refuses a vmid that the recipe asks for and another guest has.
func (c create) taken(f *found) (engine.Change, bool) {
	if !f.all.Used[c.vmid] || f.left != nil && f.left.VMID == c.vmid {
		return engine.Change{}, false
	}
	change := engine.Change{Action: engine.AdoptRefused, Field: "vmid", To: strconv.Itoa(c.vmid),
		Why:  fmt.Sprintf("guest %d exists and is not container %s of app %s", c.vmid, c.name, c.app),
		Hint: "leave vmid out, or choose a free one"}
	for _, g := range f.guests {
		if g.VMID == c.vmid {
			change.Why = fmt.Sprintf("CT %d must be replaced by a new container, which needs another id while both exist", c.vmid)
		}
	}
	return change, true
}

// imageNotes say what a reader of the plan should know of the image.
func (c create) imageNotes(in engine.Inputs) []engine.Note {
	digest := in.Value(c.digest)
	notes := []engine.Note{{Label: "image", Text: c.imageName + " " + digest.String()}}
	img, known, err := c.image(in)
	if err != nil || !known {
		return notes
	}
	notes = append(notes, engine.Note{Label: "user", Text: c.userNote(img)})
	for _, v := range img.Volumes {
		if !c.mounted(v) {
			notes = append(notes, engine.Note{Label: "volume", Warn: true,
				Text: v + " has no mount: what is written there goes with the container"})
		}
	}
	return notes
}

// checkImageUser refuses a user that no unprivileged container has: Proxmox writes
// any number into the config, and the start fails.
func (c create) checkImageUser(in engine.Inputs) error {
	img, known, err := c.image(in)
	if err != nil || !known || c.user != "" || !c.gates.ImageUser {
		return err
	}
	for id := range strings.SplitSeq(img.User, ":") {
		if strings.Trim(id, "0123456789") == "" && id != "" && !validUser(id) {
			return engine.WithHint(fmt.Errorf("the image wants to run as user %q; an unprivileged container has ids from 0 to %d", img.User, bind.MaxID),
				`say who with user = "UID:GID"`)
		}
	}
	return nil
}

func (c create) userNote(img pve.ImageConfig) string {
	switch {
	case c.user != "":
		return c.user + " (recipe)"
	case img.User == "" || img.User == "0" || img.User == "root" || strings.HasPrefix(img.User, "0:") || strings.HasPrefix(img.User, "root:"):
		return "0 (root in the container, 100000 on the node)"
	case !c.gates.ImageUser:
		return fmt.Sprintf("0 (the image says %s, which pve-container %s does not heed)", img.User, c.facts.Packages["pve-container"])
	}
	if numericUser.MatchString(img.User) {
		return img.User + " (image)"
	}
	return img.User + " (image; its number is looked up in the image's /etc/passwd)"
}

func (c create) mounted(volume string) bool {
	for _, m := range c.mounts {
		if m.target == strings.TrimRight(volume, "/") || strings.HasPrefix(volume, m.target+"/") {
			return true
		}
	}
	for _, t := range c.tmpfs {
		if t.target == strings.TrimRight(volume, "/") {
			return true
		}
	}
	return false
}

// Apply implements engine.Spec.
func (c create) Apply(ctx context.Context, w engine.Work) (engine.Outputs, error) {
	f := w.Now.(*found)
	c.container = c.at(f)
	if current, _ := c.pick(f, w.In); current != nil {
		return vmidOutput(current.VMID), c.forget(ctx, w.Host)
	}
	if f.intent != nil {
		vmid, done, err := c.resume(ctx, w, *f.intent)
		if done || err != nil {
			return vmidOutput(vmid), err
		}
	}
	for try := 0; ; try++ {
		vmid, err := c.chooseID(ctx, w.Host, f)
		if err != nil {
			return nil, err
		}
		err = c.make(ctx, w, vmid)
		if errors.Is(err, pve.ErrExists) && c.vmid == 0 && try < 20 {
			continue // somebody else took the id since we looked
		}
		if err != nil {
			return nil, err
		}
		return vmidOutput(vmid), nil
	}
}

// chooseID returns an id that has no volumes on the storage: what is left there of
// another guest would otherwise go with the remains of a creation that was cut.
func (c create) chooseID(ctx context.Context, h engine.Host, f *found) (int, error) {
	for {
		vmid, err := c.vmid, error(nil)
		if vmid == 0 {
			if vmid, err = c.fleet.ids.next(f.all); err != nil {
				return 0, err
			}
		}
		volumes, err := volumesOf(ctx, h, c.rootStorage(), vmid)
		switch {
		case err != nil:
			return 0, err
		case len(volumes) == 0:
			return vmid, nil
		case c.vmid != 0:
			return 0, engine.WithHint(fmt.Errorf("id %d is free but owns %s", vmid, strings.Join(volumes, ", ")),
				"see what that is, then remove it with pvesm free, or choose another vmid")
		}
	}
}

// volumesOf lists the volumes of an id on a storage.
func volumesOf(ctx context.Context, h engine.Host, storage string, vmid int) ([]string, error) {
	out, err := act.Look(ctx, h, "pvesm", "list", storage, "--vmid", strconv.Itoa(vmid))
	if err != nil {
		return nil, fmt.Errorf("look for volumes of id %d: %w", vmid, err)
	}
	list, err := pve.ParseVolumeList(out)
	var ids []string
	for _, v := range list {
		ids = append(ids, v.ID)
	}
	return ids, err
}

func (c *container) rootStorage() string {
	if c.storage != "" {
		return c.storage
	}
	return c.facts.Default.Storage
}

func vmidOutput(vmid int) engine.Outputs {
	return engine.Outputs{"vmid": engine.Known(strconv.Itoa(vmid))}
}

// resume finishes what an earlier run began: it waits for its unit, takes the
// container if it is whole, and otherwise removes what is left of it.
func (c create) resume(ctx context.Context, w engine.Work, i record.Intent) (vmid int, done bool, err error) {
	w.Report(fmt.Sprintf("waiting for the creation of CT %d that an earlier run began", i.VMID), 0, 0)
	if err := unit.Await(ctx, w.Host, i.Unit); err != nil {
		return 0, false, err
	}
	conf, err := readConfig(ctx, w.Host, i.VMID)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return 0, false, nil
	case err != nil:
		return 0, false, err
	case c.isThis(conf, i.VMID, w.In):
		return i.VMID, true, c.forget(ctx, w.Host)
	case unfinished(conf):
		return 0, false, clearRemains(ctx, w.Host, c.app, i.VMID)
	}
	return 0, false, nil // the id went to somebody else
}

func (c create) isThis(conf *pve.Config, vmid int, in engine.Inputs) bool {
	id, mine, err := identify(conf, vmid)
	return err == nil && mine && id.App == c.app && id.Name == c.name && imageDigest(id.Image) == in.Value(c.digest).Reveal()
}

// clearRemains removes what a killed pct create leaves: a config with nothing
// but its lock, and a volume that the config does not name and that is still
// mounted.
func clearRemains(ctx context.Context, h engine.Host, app string, vmid int) error {
	id := strconv.Itoa(vmid)
	// Somebody else may be creating this id at this moment: pct create holds the
	// lock of the config all the while.
	busy := engine.Cmd{Argv: []string{"flock", "-n", configLock(vmid), "true"}, ReadOnly: true}
	if _, err := h.Run(ctx, busy); err != nil {
		return engine.Transient(fmt.Errorf("CT %d is being worked on: %w", vmid, err))
	}
	// Fails when nothing is mounted, which is just as well.
	if _, err := h.Run(ctx, engine.Cmd{Argv: []string{"umount", "/var/lib/lxc/" + id + "/rootfs"}}); err != nil && !isExit(err) {
		return err
	}
	if err := act.Do(ctx, h, "pct", "unlock", id); err != nil {
		return fmt.Errorf("remove what is left of CT %d: %w", vmid, err)
	}
	// The id had no volumes when it was chosen, so that all it has now are ours.
	task := unit.Task{App: app, Name: "clear." + id, Argv: []string{"pct", "destroy", id, "--destroy-unreferenced-disks", "1"}}
	if err := pve.Explain(unit.Run(ctx, h, task)); err != nil {
		return fmt.Errorf("remove what is left of CT %d: %w", vmid, err)
	}
	return nil
}

// make creates the container under an intent.
func (c create) make(ctx context.Context, w engine.Work, vmid int) error {
	// Days may have passed since the image was pulled and verified.
	if err := c.pulled.Provide(ctx, w.Host, c.app, w.In.Value(c.archive).Reveal(), w.In.Value(c.digest).Reveal(), w.In.Value(c.imageOf).Reveal()); err != nil {
		return err
	}
	task := unit.Task{App: c.app, Name: "create." + c.name, Argv: c.argvCreate(w, vmid)}
	intent := record.Intent{Step: c.id, VMID: vmid, Archive: w.In.Value(c.archive).Reveal(), Unit: task.Unit()}
	if ip, fixed := c.recipeIP(); fixed {
		intent.Address = ip.String()
	}
	if err := act.WriteFile(ctx, w.Host, record.IntentFile(c.app, intent)); err != nil {
		return fmt.Errorf("note the intent: %w", err)
	}
	w.Report(fmt.Sprintf("unpacking into CT %d", vmid), 0, 0)
	err := unit.Run(ctx, w.Host, task)
	if err = pve.Explain(err); errors.Is(err, pve.ErrOSUnknown) && !c.unmanaged && !c.gates.UnmanagedBroken {
		w.Report("Proxmox does not know the system in the image: creating it as unmanaged", 0, 0)
		task.Argv = append(task.Argv, "--ostype", "unmanaged")
		err = unit.Run(ctx, w.Host, task)
		err = pve.Explain(err)
	}
	if err != nil {
		return c.explain(err, w.In)
	}
	if err := c.verify(ctx, w, vmid); err != nil {
		return err
	}
	return c.forget(ctx, w.Host)
}

// explain adds what a reader can do about an image that could not be unpacked.
func (c create) explain(err error, in engine.Inputs) error {
	switch {
	case errors.Is(err, pve.ErrArchive):
		return engine.WithHint(err, fmt.Sprintf("if it was damaged on the node, this finds what, and the next run pulls it again:\n    pvesm free %s\n    tg oci verify --repair\nif it ends here again, the image is broken: use another tag", in.Value(c.archive).Reveal()))
	case errors.Is(err, pve.ErrNoPasswd):
		return engine.WithHint(err, fmt.Sprintf("the image says whom to run as, and Proxmox looks the user up in /etc/passwd, which image %s does not have; use a variant of it that has one", c.imageName))
	case errors.Is(err, pve.ErrVolumeFile):
		return engine.WithHint(err, "the image declares a volume where it has a file; use another tag of the image, or have its maker mend it")
	case errors.Is(err, pve.ErrUnpack) && !c.gates.LayerReplace:
		return engine.WithHint(err, fmt.Sprintf("libpve-rs-perl %s cannot unpack a layer that puts a file where an older one has a directory; 0.11.4 can:\n    apt update && apt full-upgrade",
			c.facts.Packages["libpve-rs-perl"]))
	case errors.Is(err, pve.ErrUnpack):
		return engine.WithHint(err, fmt.Sprintf("an unprivileged container takes ids up to %d and no layer that leads out of its root, through an absolute link, or puts a directory where an older one has a file that it does not delete first; use another image", bind.MaxID))
	}
	return err
}

// argvCreate is the command: what is simple goes along, so that configure finds
// little left to do; identity goes along, so that the container is ours from its
// first moment.
func (c create) argvCreate(w engine.Work, vmid int) []string {
	id := strconv.Itoa(vmid)
	digest := w.In.Value(c.digest).Reveal()
	note := fmt.Sprintf("%s of %s, made by tengil from %s", c.name, c.app, c.imageName)
	argv := []string{"pct", "create", id, w.In.Value(c.archive).Reveal(),
		"--rootfs", fmt.Sprintf("%s:%d", c.rootStorage(), c.disk/engine.GiB),
		"--arch", c.facts.Arch, "--unprivileged", "1",
		"--description", record.Description(note, record.Identity{App: c.app, Name: c.name, VMID: vmid, Recipe: w.App.Digest, Image: c.imageName + "@" + digest})}
	if c.unmanaged {
		argv = append(argv, "--ostype", "unmanaged")
	}
	for _, f := range append(c.plainFields(pve.NewConfig()), c.netField(pve.NewConfig())) {
		if !f.atCreate || f.set == "" {
			continue
		}
		if f.key == "net0" {
			f.set = c.netWithMAC(w.Now.(*found), w.In)
		}
		argv = append(argv, "--"+f.key, f.set)
	}
	return argv
}

// netWithMAC fixes the MAC address, so that a container that replaces another
// keeps its address on the network.
func (c create) netWithMAC(f *found, in engine.Inputs) string {
	n := c.net
	if n.HWAddr == "" {
		if _, previous := c.pick(f, in); len(previous) > 0 {
			n.HWAddr = previous[len(previous)-1].net0().HWAddr
		}
	}
	if n.HWAddr == "" {
		sum := sha256.Sum256([]byte(c.facts.Node + "/" + c.app + "/" + c.name))
		n.HWAddr = fmt.Sprintf("BC:24:11:%02X:%02X:%02X", sum[0], sum[1], sum[2])
	}
	return n.String()
}

// verify looks whether the new container is the one that was asked for.
func (c create) verify(ctx context.Context, w engine.Work, vmid int) error {
	conf, err := readConfig(ctx, w.Host, vmid)
	if err != nil {
		return fmt.Errorf("look at the new CT %d: %w", vmid, err)
	}
	if !c.isThis(conf, vmid, w.In) {
		return fmt.Errorf("CT %d does not carry the identity that pct create was given", vmid)
	}
	return nil
}

// forget removes the intent once the container carries its own marks.
func (c create) forget(ctx context.Context, h engine.Host) error {
	err := act.Do(ctx, h, "rm", "-f", record.IntentPath(c.app, c.id))
	return err
}
