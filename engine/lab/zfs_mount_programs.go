package lab

import "fmt"

func zfsMount(p *proc) int {
	o, names, ok := p.zfsOptions("a O f l v o:")
	if !ok {
		return 2
	}
	defer p.node.save()
	switch {
	case o.has("a"):
		return p.mountAll()
	case len(names) == 0:
		v := p.node.zfsView()
		for _, name := range v.names {
			if d := v.Datasets.get(name); d.Mounted {
				fmt.Fprintf(p.stdout, "%-30s  %s\n", name, d.Where)
			}
		}
		return 0
	}
	if err := p.node.mountNamed(names[0]); err != nil {
		return p.zfsFail(err)
	}
	return 0
}

func (p *proc) mountAll() int {
	v := p.node.zfsView()
	exit := 0
	for _, name := range v.names {
		can, _ := v.get(name, "canmount")
		if d := v.Datasets.get(name); d.Mounted || d.snapshot() || can.text != "on" {
			continue
		}
		if err := p.node.mountNamed(name); err != nil {
			exit = p.zfsFail(err)
		}
	}
	return exit
}

func (n *node) mountNamed(name string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	z := &n.state.ZFS
	d := z.Datasets.get(name)
	switch {
	case d == nil:
		return zfsErrorf("cannot open '%s': dataset does not exist", name)
	case d.Mounted:
		return zfsErrorf("cannot mount '%s': filesystem already mounted", name)
	case z.inherits(name, "canmount") == "off":
		return zfsErrorf("cannot mount '%s': 'canmount' property is set to 'off'", name)
	}
	switch z.mountpoint(name) {
	case "none":
		return zfsErrorf("cannot mount '%s': no mountpoint set", name)
	case "legacy":
		return zfsErrorf("cannot mount '%s': legacy mountpoint\nuse mount(8) to mount this filesystem", name)
	}
	return n.mountFS(name)
}

func zfsUnmount(p *proc) int {
	_, names, ok := p.zfsOptions("f u a")
	if !ok {
		return 2
	}
	if len(names) != 1 {
		return p.failf(2, "missing filesystem argument\nusage:\n\tunmount [-fu] <-a | filesystem|mountpoint>")
	}
	if err := p.node.unmountNamed(names[0]); err != nil {
		return p.zfsFail(err)
	}
	p.node.save()
	return 0
}

func (n *node) unmountNamed(name string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	d := n.state.ZFS.mountedAt(name)
	if d == nil {
		d = n.state.ZFS.Datasets.get(name)
	}
	switch {
	case d == nil:
		return zfsErrorf("cannot open '%s': dataset does not exist", name)
	case !d.Mounted:
		return zfsErrorf("cannot unmount '%s': not currently mounted", name)
	}
	return n.unmountFS(d.Name)
}
