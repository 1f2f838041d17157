package lab

import (
	"cmp"
	"errors"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/tengil/tengil/engine/pve"
)

// PowerCut takes the node's power away and boots it again. Sessions, programs,
// units and containers end at once and clean up nothing; locks, mounts that no
// file tells of and what lies in /run and /tmp are gone. File systems of ZFS are
// mounted as at a boot, and the containers with onboot=1 start. The lab goes on
// at the same endpoint. It must not be called by a program of the node.
func (l *Lab) PowerCut() error {
	n := l.node
	none := n.pids.powerOff()
	l.server.power(false)
	n.life.finish()
	<-none
	n.background.Wait()
	err := n.loseState()
	n.life.begin(n.life.context())
	n.pids.powerOn()
	err = errors.Join(err, n.boot())
	n.settle()
	l.server.power(true)
	return err
}

// loseState drops what a node has in its memory.
func (n *node) loseState() error {
	n.killAll()
	n.mu.Lock()
	for id := range n.state.Guests.all() {
		n.state.Guests.edit(id).stop()
	}
	n.state.Units.clear()
	n.state.Holds.clear()
	var bound []string
	for at := range n.state.Mounts.all() {
		bound = append(bound, at)
	}
	n.mu.Unlock()
	var err error
	for _, at := range bound {
		_, gone := n.unbind(at)
		err = errors.Join(err, gone)
	}
	for _, dir := range []string{"/run", "/tmp", "/dev/shm"} {
		err = errors.Join(err, n.empty(dir))
	}
	n.save()
	return err
}

// killAll ends what runs in containers, where that is real.
func (n *node) killAll() {
	for _, id := range n.guestIDs() {
		n.driver.kill(id)
	}
}

// empty removes all that is in a directory.
func (n *node) empty(dir string) error {
	list, err := n.readDir(dir)
	for _, e := range list {
		err = errors.Join(err, n.remove(path.Join(dir, e.Name()), false))
	}
	return err
}

// boot does what systemd does as a node comes up.
func (n *node) boot() error {
	var err error
	for _, dir := range freshDirs() {
		if within(dir, "/run") {
			err = errors.Join(err, n.mkdirAll(dir))
		}
	}
	err = errors.Join(err, n.sweepPrivateTmp())
	n.setOwner("/run/lock", owner{Mode: 0o1777})
	p := &proc{ctx: n.life.context(), node: n, stdout: discard{}, stderr: discard{}}
	p.mountAll()
	for _, id := range n.onBoot() {
		c := &guestCall{proc: p, warn: discard{}, id: id}
		if err := pctStart(c); err != nil {
			n.log.Debug("start at boot", "ct", id, "err", err)
		}
	}
	n.save()
	return err
}

// onBoot returns the containers that start with the node, in the order in which
// they do: by the order of option startup, those without one last, then by id
// (get_start_stop_list in API2/Nodes.pm).
func (n *node) onBoot() []int {
	type start struct{ order, id int }
	var all []start
	for _, id := range n.guestIDs() {
		conf, err := n.guestConfig(id)
		if err != nil || conf.Get("onboot") != "1" {
			continue
		}
		all = append(all, start{startOrder(conf), id})
	}
	slices.SortFunc(all, func(a, b start) int {
		return cmp.Or(cmp.Compare(a.order, b.order), cmp.Compare(a.id, b.id))
	})
	var ids []int
	for _, s := range all {
		ids = append(ids, s.id)
	}
	return ids
}

func startOrder(conf *pve.Config) int {
	for part := range strings.SplitSeq(conf.Get("startup"), ",") {
		part = strings.TrimPrefix(part, "order=")
		if order, err := strconv.Atoi(part); err == nil {
			return order
		}
	}
	return math.MaxInt
}
