package pct

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/tengil/tengil/builtins/act"
	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/pve"
	"github.com/tengil/tengil/engine/record"
)

// configure is the node that brings a container's config to what the recipe
// says. What takes effect at the next start only is changed while the container
// is stopped: so nothing is ever pending, and a run that is cut leaves a stopped
// container that the next one finds, not a running one that lies about its config.
type configure struct{ *container }

// Patience implements engine.Patient: the deadline counts on downTime.
func (c configure) Patience() time.Duration { return downTimeOf(c.startup) - downTime }

// Diff implements engine.Spec. The output "restart" names what makes a restart
// necessary, "" if nothing does.
func (c configure) Diff(now engine.State, in engine.Inputs) (engine.Diff, error) {
	f := now.(*found)
	c.container = c.at(f)
	current, previous := c.pick(f, in)
	have, action, why := pve.NewConfig(), engine.Create, "the container is new"
	switch {
	case current != nil:
		have, action, why = current.Config, engine.Update, ""
	case len(previous) > 0:
		have, action, why = previous[len(previous)-1].Config, engine.Replace, "the container is new"
	}
	w, err := c.compare(have, in)
	if err != nil {
		return engine.Diff{}, err
	}
	if current != nil {
		if err := c.checkUser(have, in); err != nil {
			return engine.Diff{}, err
		}
	}
	changes := changesOf(w.changed(), action, why)
	if action == engine.Replace {
		changes = append(changes, engine.Change{Action: engine.Replace, Field: "config", Why: "the new container gets its mounts, devices and environment"})
	}
	return engine.Diff{Changes: changes, Outputs: engine.Outputs{"restart": engine.Known(restartReason(w.changed()))}}, nil
}

func changesOf(fields []field, action engine.Action, why string) []engine.Change {
	var out []engine.Change
	for _, f := range fields {
		ch := engine.Change{Action: action, Field: f.name, From: f.have, To: f.want.String(), Why: why, Restarts: f.restarts && action == engine.Update, Seal: f.seal}
		if ch.Why == "" {
			ch.Why = cmp.Or(f.why, "the recipe says so")
		}
		if action == engine.Create && ch.To == "" {
			continue
		}
		out = append(out, ch)
	}
	return out
}

// restartReason lists the parameters that take effect at a start only.
func restartReason(fields []field) string {
	var names []string
	for _, f := range fields {
		if f.restarts {
			head, _, _ := strings.Cut(f.name, ".")
			names = append(names, head)
		}
	}
	slices.Sort(names)
	return strings.Join(slices.Compact(names), ", ")
}

// Apply implements engine.Spec.
func (c configure) Apply(ctx context.Context, w engine.Work) (engine.Outputs, error) {
	c.container = c.at(w.Now.(*found))
	vmid, err := strconv.Atoi(w.In.Value(engine.Ref{Node: c.id.Node(partCreate), Output: "vmid"}).Reveal())
	if err != nil {
		return nil, fmt.Errorf("id of the container: %w", err)
	}
	conf, err := readConfig(ctx, w.Host, vmid)
	if err != nil {
		return nil, err
	}
	if id, mine, err := identify(conf, vmid); err != nil || !mine || id.App != c.app || id.Name != c.name {
		return nil, errors.Join(fmt.Errorf("CT %d is not container %s of app %s any more", vmid, c.name, c.app), err)
	}
	if err := c.checkUser(conf, w.In); err != nil {
		return nil, err
	}
	if err := c.retire(ctx, w, vmid); err != nil {
		return nil, err
	}
	want, err := c.compare(conf, w.In)
	if err != nil {
		return nil, err
	}
	changed := want.changed()
	reason := restartReason(changed)
	if reason != "" && w.Now.(*found).knows(vmid) {
		if err := c.stop(ctx, w, vmid, conf); err != nil {
			return nil, err
		}
	}
	if err := c.set(ctx, w.Host, vmid, conf, changed); err != nil {
		return nil, err
	}
	if err := c.keepLog(ctx, w.Host); err != nil {
		return nil, err
	}
	if err := c.writeLines(ctx, w.Host, vmid, w.In, changed); err != nil {
		return nil, err
	}
	if want.grow > 0 {
		if err := doUnmounted(ctx, w.Host, vmid, "pct", "resize", strconv.Itoa(vmid), "rootfs", want.grow.String()); err != nil {
			return nil, err
		}
	}
	return engine.Outputs{"restart": engine.Known(reason)}, nil
}

// checkUser refuses a container that would run as root although its image says
// otherwise: Proxmox writes no user where the image's /etc/passwd does not have it.
func (c *container) checkUser(conf *pve.Config, in engine.Inputs) error {
	img, _, err := c.image(in)
	if err != nil {
		return err
	}
	name, _, _ := strings.Cut(img.User, ":")
	if c.user != "" || !c.gates.ImageUser || name == "" || name == "root" || name == "0" || conf.RawValue("lxc.init.uid") != "" {
		return nil
	}
	return engine.WithHint(fmt.Errorf("the image wants to run as user %q, whom its /etc/passwd does not know; Proxmox would run it as root", name),
		`say who with user = "UID:GID"`)
}

// retire keeps the containers that vmid replaces from starting with the node, as
// after a power cut two of them would write the same data, and lifts their
// protection, which the recipe means for the container that comes.
func (c configure) retire(ctx context.Context, w engine.Work, vmid int) error {
	for _, g := range w.Now.(*found).guests {
		if g.VMID == vmid || normal("onboot", g.Config.Get("onboot"))+normal("protection", g.Config.Get("protection")) == "" {
			continue
		}
		if err := doUnmounted(ctx, w.Host, g.VMID, "pct", "set", strconv.Itoa(g.VMID), "--onboot", "0", "--protection", "0"); err != nil {
			return err
		}
	}
	return nil
}

// knows reports whether the container was there when the node was observed; one
// that was not has never run.
func (f *found) knows(vmid int) bool {
	return slices.ContainsFunc(f.guests, func(g *Guest) bool { return g.VMID == vmid })
}

// stop shuts the container down if it runs. Its mark goes first: what is stopped
// is not ready.
func (c *container) stop(ctx context.Context, w engine.Work, vmid int, conf *pve.Config) error {
	if err := c.unmark(ctx, w.Host); err != nil {
		return err
	}
	w.Report(fmt.Sprintf("shutting CT %d down", vmid), 0, 0)
	return shutdown(ctx, w.Host, vmid, conf)
}

func (c *container) unmark(ctx context.Context, h engine.Host) error {
	err := act.Do(ctx, h, "rm", "-f", record.RunFile(c.app, markName(c.name)))
	return err
}

// downTime is how long an application is given at least to end.
const downTime = time.Minute

// downTimeOf is what a start order gives an application to end.
func downTimeOf(s pve.Startup) time.Duration {
	if s.Down == nil {
		return downTime
	}
	return max(downTime, time.Duration(*s.Down)*time.Second)
}

// shutdown ends a container: the application gets its stop signal and as long as the
// start order in conf gives it, 60 s at least, then it is killed. One that does not
// run is fine.
func shutdown(ctx context.Context, h engine.Host, vmid int, conf *pve.Config) error {
	order, err := pve.ParseStartup(conf.Get("startup"))
	if err != nil {
		order = pve.Startup{} // somebody else's; Proxmox does not heed it either
	}
	seconds := strconv.Itoa(int(downTimeOf(order) / time.Second))
	var res engine.Result
	err = Unmounted(ctx, h, vmid, func() (err error) {
		res, err = h.Run(ctx, engine.Cmd{Argv: []string{"pct", "shutdown", strconv.Itoa(vmid), "--timeout", seconds, "--forceStop", "1"}})
		return pve.Explain(err)
	})
	if errors.Is(err, pve.ErrNotRunning) {
		return nil
	}
	if err == nil && pve.AskedHA(res.Stdout) {
		return await(ctx, h, vmid, false)
	}
	return err
}

// await waits until a container runs or has stopped. Of one that HA manages, pct
// only asks HA and returns before it happened.
func await(ctx context.Context, h engine.Host, vmid int, run bool) error {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval, b.MaxInterval = 500*time.Millisecond, 5*time.Second
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		running, err := isRunning(ctx, h, vmid)
		if err == nil && running != run {
			err = fmt.Errorf("HA has not brought CT %d to where it should be (running: %v)", vmid, run)
		}
		return struct{}{}, err
	}, backoff.WithBackOff(b), backoff.WithMaxElapsedTime(3*time.Minute))
	return err
}

// set sends all options in one command. Protection is lifted first where it
// would refuse the rest.
func (c configure) set(ctx context.Context, h engine.Host, vmid int, conf *pve.Config, changed []field) error {
	id := strconv.Itoa(vmid)
	argv, drop := []string{"pct", "set", id}, []string{}
	for _, f := range changed {
		switch {
		case f.key == "":
		case f.set == "":
			drop = append(drop, f.key)
		default:
			argv = append(argv, "--"+f.key, f.set)
		}
	}
	if len(drop) > 0 {
		argv = append(argv, "--delete", strings.Join(drop, ","))
	}
	if len(argv) == 3 {
		return nil
	}
	if normal("protection", conf.Get("protection")) == "1" {
		if err := doUnmounted(ctx, h, vmid, "pct", "set", id, "--protection", "0"); err != nil {
			return err
		}
		if c.protection {
			argv = append(argv, "--protection", "1")
		}
	}
	return doUnmounted(ctx, h, vmid, argv...)
}

// writeLines writes what no option of pct can: several variables of the
// environment (they are parted by NUL, which no argument holds), and raw lines.
// It first checks that the options are what was asked for, since pct set reports
// success for what it only queues; one that it was not told is somebody else's.
func (c configure) writeLines(ctx context.Context, h engine.Host, vmid int, in engine.Inputs, told []field) error {
	data, err := act.ReadFile(ctx, h, ConfigFile(vmid))
	if err != nil {
		return err
	}
	conf, err := pve.ParseConfig(data)
	if err != nil {
		return err
	}
	want, err := c.compare(conf, in)
	if err != nil {
		return err
	}
	for _, f := range want.changed() {
		switch {
		case f.key == "":
		case slices.ContainsFunc(told, func(t field) bool { return t.key == f.key }):
			return fmt.Errorf("%s of CT %d is %q although pct set was told %q", f.name, vmid, conf.Get(f.key), f.set)
		default:
			return engine.Transient(fmt.Errorf("%s of CT %d became %q: %w", f.name, vmid, conf.Get(f.key), pve.ErrChanged))
		}
	}
	conf.Env, conf.Raw = want.env, want.raw
	text := conf.Bytes()
	if bytes.Equal(text, data) {
		return nil
	}
	return act.WriteFile(ctx, h, engine.File{Name: ConfigFile(vmid), Data: text, Perm: 0o640, Was: data, Lock: configLock(vmid)})
}
