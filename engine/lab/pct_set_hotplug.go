package lab

import (
	"fmt"
	"maps"
	"net/netip"
	"path"
	"slices"
	"strings"

	"github.com/tengil/tengil/engine/pve"
)

// hotplug makes effective what can be changed while the container runs; the rest
// stays pending (vmconfig_hotplug_pending in Config.pm).
func (u *update) hotplug() error {
	for _, k := range slices.Sorted(maps.Keys(u.conf.PendingDelete)) {
		if !u.touched[k] {
			continue
		}
		done, err := u.unplug(k)
		if err != nil {
			u.refused[k] = fmt.Sprintf("unable to hotplug %s: %v\n", k, err)
		}
		if done {
			unsetOption(&u.conf.Section, k)
			delete(u.conf.PendingDelete, k)
		}
	}
	for _, k := range pendingKeys(u.conf) {
		if !u.touched[k] {
			continue
		}
		v, _ := pendingOption(u.conf, k)
		v, done, err := u.plug(k, v)
		if err != nil {
			u.refused[k] = fmt.Sprintf("unable to hotplug %s: %v\n", k, err)
			continue
		}
		if done {
			setOption(&u.conf.Section, k, v)
			unsetPending(u.conf, k)
		}
	}
	for _, k := range []string{"memory", "cores", "cpulimit"} {
		if !u.touched[k] {
			continue
		}
		if err := u.node.driver.limit(u.id, u.conf); err != nil {
			u.refused[k] = fmt.Sprintf("unable to hotplug %s: %v\n", k, err)
		}
		break // it sets all
	}
	return nil
}

// takesEffect reports whether an option needs no more than to be written.
func takesEffect(key string) bool {
	return slices.Contains([]string{
		"description", "onboot", "startup", "protection", "hostname", "hookscript", "cores", "tags", "lock",
		"cpulimit", "cpuunits", "swap",
	}, key)
}

// unplug reports whether a deletion takes effect at once.
func (u *update) unplug(key string) (done bool, err error) {
	switch {
	case takesEffect(key):
		return true, nil
	case isIndexed(key, "unused"):
		err := u.destroyUnused(u.conf.Get(key))
		return err == nil, err
	case isIndexed(key, "net") && len(key) == len("net0"):
		fmt.Fprintf(u.stdout, "delete ips from %s\n", key)
		err := u.unplugNet(key)
		return err == nil, err
	}
	return false, nil
}

// plug makes one value effective, if it can be done at once.
func (u *update) plug(key, value string) (text string, done bool, err error) {
	_, exists := u.conf.Options[key]
	switch {
	case takesEffect(key) || key == "memory":
		return value, true, nil
	case isIndexed(key, "net"):
		text, err = u.plugNet(key, value)
		return text, err == nil, err
	case isIndexed(key, "mp") && !exists:
		text, err = u.plugMount(key, value)
		return text, err == nil, err
	case isIndexed(key, "dev") && !exists:
		err = u.node.driver.plugDevice(u.id, value)
		return value, err == nil, err
	}
	return "", false, nil
}

// plugMount mounts a new mount point into the running container.
func (u *update) plugMount(key, value string) (string, error) {
	m, err := pve.ParseMount(value)
	if err != nil {
		return "", err
	}
	if m.Kind() != pve.VolumeMount {
		if err := u.node.checkBindSource(m.Volume); err != nil {
			return "", err
		}
	}
	text, err := u.applyMount(key, value)
	if err != nil {
		return "", err
	}
	if m, err = pve.ParseMount(text); err != nil {
		return "", err
	}
	source, err := u.node.mountSource(m)
	if err != nil {
		return "", err
	}
	mount := guestMount{Key: key, Path: path.Join("/", m.Path), Source: source, RO: m.RO.True(), IDMap: m.IDMap}
	if err := u.node.driver.plugMount(u.id, mount); err != nil {
		return "", err
	}
	u.node.changeGuest(u.id, func(g *guestState) { g.Mounts = append(slices.Clone(g.Mounts), mount) })
	u.node.holdMounts(u.id)
	return text, nil
}

// plugNet puts an interface into the running container. One that was there is
// taken out first; if the new one cannot be had, it is gone (update_net in LXC.pm).
func (u *update) plugNet(key, value string) (string, error) {
	text, err := u.completeNet(value)
	if err != nil {
		return "", err
	}
	nic, err := pve.ParseNet(text)
	if err != nil {
		return "", err
	}
	old, had := u.conf.Options[key]
	o, err := pve.ParseNet(old)
	same := had && err == nil && o.HWAddr == nic.HWAddr && o.Name == nic.Name && o.Bridge == nic.Bridge && o.Tag == nic.Tag
	if same {
		if o.IP != nic.IP {
			fmt.Fprintf(u.stdout, "net.ipv4.conf.%s.promote_secondaries = 1\nnet.ipv4.conf.%s.promote_secondaries = 0\n", nic.Name, nic.Name)
		}
		u.node.forgetLink(u.id, key)
		err = u.node.driver.address(u.id, key, nic)
	} else {
		if had {
			if err := u.unplugNet(key); err != nil {
				return "", err
			}
			delete(u.conf.Options, key)
			if err := u.node.writeConfig(u.id, u.conf); err != nil {
				return "", err
			}
		}
		if err := u.checkHotNet(key, nic); err != nil {
			return "", err
		}
		err = u.node.driver.plugLink(u.id, key, nic)
	}
	if err != nil {
		return "", err
	}
	link := u.node.linkOf(u.id, key, nic, true)
	link.Hot = true
	u.node.changeGuest(u.id, func(g *guestState) {
		g.Links = append(slices.Clone(g.Links), link)
	})
	return text, nil
}

// checkHotNet refuses an interface that the node cannot make.
func (u *update) checkHotNet(key string, nic pve.Net) error {
	if nic.Bridge == "" {
		return dief(255, "unable to get bridge setting")
	}
	if err := u.node.checkBridge(nic.Bridge); err != nil {
		return err
	}
	if nic.Trunks != "" {
		return dief(255, "vlan aware feature need to be enabled to use trunks at /usr/share/perl5/PVE/Network.pm line 543.")
	}
	if ports, _ := u.node.readDir(path.Join("/sys/class/net", nic.Bridge, "brif")); nic.Tag != 0 && len(ports) == 0 {
		return dief(255, "no physical interface on bridge '%s'", nic.Bridge)
	}
	for _, l := range u.node.guest(u.id).Links {
		if l.Name == nic.Name {
			pair := fmt.Sprintf("veth%di%sp", u.id, strings.TrimPrefix(key, "net"))
			fmt.Fprintf(u.warn, "lxc-device: %d: ../src/lxc/tools/lxc_device.c: lxc_device_main: 152 Failed to add %s to %d\n", u.id, pair, u.id)
			return dief(1, "command 'lxc-device -n %d add %s %s' failed: exit code 1", u.id, pair, nic.Name)
		}
	}
	return nil
}

func (u *update) unplugNet(key string) error {
	u.node.forgetLink(u.id, key)
	return u.node.driver.unplugLink(u.id, key)
}

// forgetLink notes that an interface is gone.
func (n *node) forgetLink(id int, key string) {
	n.changeGuest(id, func(g *guestState) {
		g.Links = slices.DeleteFunc(slices.Clone(g.Links), func(l guestLink) bool { return l.Key == key })
	})
}

// checkBridge refuses a bridge that the node does not have.
func (n *node) checkBridge(name string) error {
	if _, err := n.stat(path.Join("/sys/class/net", name, "bridge")); err != nil {
		return dief(255, "bridge '%s' does not exist", name)
	}
	return nil
}

// checkIDMap refuses entries that map one id of the container twice.
func checkIDMap(text string) error {
	if text == "" || text == "passthrough" {
		return nil
	}
	entries, err := parseIDMap(text)
	if err != nil {
		return err
	}
	var seen []idEntry
	for _, e := range entries {
		for _, o := range seen {
			if first := max(e.inside, o.inside); o.kind == e.kind && first < min(e.inside+e.size, o.inside+o.size) {
				return dief(255, "invalid map entry '%s %d %d %d': container %sid %d is also mapped by entry '%s %d %d %d'",
					e.kind, e.inside, e.on, e.size, e.kind, first, o.kind, o.inside, o.on, o.size)
			}
		}
		seen = append(seen, e)
	}
	return nil
}

// linkOf returns how an interface looks inside a running container. Where the
// node does not configure it, and no init of the container does, it has no address.
func (n *node) linkOf(id int, key string, nic pve.Net, configured bool) guestLink {
	l := guestLink{Key: key, Name: nic.Name, HWAddr: strings.ToLower(nic.HWAddr), Down: nic.LinkDown.True()}
	if l.Down || !configured && !nic.HostManaged.True() {
		return l
	}
	switch nic.IP {
	case "dhcp":
		l.IP = n.lease(id, l.HWAddr)
	case "manual", "":
	default:
		l.IP = nic.IP
	}
	if _, err := netip.ParsePrefix(nic.IP6); err == nil {
		l.IP6 = nic.IP6
	}
	return l
}
