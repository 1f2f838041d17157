package lab

import (
	"context"
	"crypto/rand"
	"errors"
	"path"
	"strings"
)

// privatePrefix begins the names of the directories that stand for /var/tmp in units
// with PrivateTmp=yes (systemd.exec(5)).
const privatePrefix = "/var/tmp/systemd-private-"

type tmpKey struct{}

// withPrivateTmp gives the programs that run with the returned context a /var/tmp of
// their own. remove removes it; after a loss of power systemd-tmpfiles does.
func (n *node) withPrivateTmp(ctx context.Context, unit string) (_ context.Context, remove func(), err error) {
	top := privatePrefix + strings.ToLower(rand.Text()[:10]) + "-" + unit
	dir := path.Join(top, "tmp")
	if err := n.mkdirAll(dir); err != nil {
		return ctx, nil, err
	}
	return context.WithValue(ctx, tmpKey{}, dir), func() {
		if !n.pids.powered() {
			return
		}
		if err := n.removeAll(top); err != nil {
			n.log.Error("remove private tmp", "unit", unit, "err", err)
		}
	}, nil
}

// sweepPrivateTmp removes what units left when the power went.
func (n *node) sweepPrivateTmp() error {
	list, err := n.readDir("/var/tmp")
	for _, e := range list {
		if name := path.Join("/var/tmp", e.Name()); strings.HasPrefix(name, privatePrefix) {
			err = errors.Join(err, n.removeAll(name))
		}
	}
	return err
}

// tempName returns a path in the program's /var/tmp that is not in use.
func (p *proc) tempName(prefix string) string {
	dir, ok := p.ctx.Value(tmpKey{}).(string)
	if !ok {
		dir = "/var/tmp"
	}
	return path.Join(dir, prefix+strings.ToLower(rand.Text()[:10]))
}
