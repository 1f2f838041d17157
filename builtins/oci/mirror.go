package oci

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/tengil/tengil/engine"
)

// through returns where a mirror has the image: mirror is a registry, and maybe a
// path that goes before the repository.
func (r Reference) through(mirror string) Reference {
	host, prefix, _ := strings.Cut(mirror, "/")
	r.Registry, r.Repository = host, path.Join(prefix, r.Repository)
	return r
}

// places returns where the image may be had, the host's mirror first. Whatever
// the place, the image has one name and one digest.
func (p pull) places() []Reference {
	if p.mirror == "" {
		return []Reference{p.ref}
	}
	return []Reference{p.ref.through(p.mirror), p.ref}
}

// fallBack tells that a mirror did not do, and reports whether to go on to the
// next place. What failed on the way to the node tells nothing of a registry.
func (p pull) fallBack(ctx context.Context, w engine.Work, from Reference, err error) bool {
	var exit *engine.ExitError
	lost := errors.Is(err, engine.ErrTransient) && !errors.As(err, &exit)
	if err == nil || lost || ctx.Err() != nil || from == p.ref {
		return false
	}
	why, _, _ := strings.Cut(err.Error(), "\n")
	w.Report(fmt.Sprintf("%s does not have it (%s); pull from %s", from.Registry, why, p.ref.Registry), 0, 0)
	return true
}
