// Package oci is the recipe function oci_pull: an image of a registry as an
// archive on the node that Proxmox can unpack. Images belong to no app: apps
// that use the same image use the same archive.
package oci

import (
	"errors"
	"fmt"
	"slices"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/pve"
	"github.com/tengil/tengil/engine/record"
)

// KindName is the name of the recipe function.
const KindName = "oci_pull"

// archs are the architectures that Proxmox VE runs on, as Debian names them.
var archs = []string{"amd64", "arm64"}

// When a moving tag is looked up again.
const (
	pullMissing = "missing"
	pullAlways  = "always"
)

// Pull returns the kind.
func Pull() engine.Kind {
	return engine.Kind{
		Name: KindName,
		Doc: "Pulls an image from a registry and keeps it on the node as an archive, named by its digest. " +
			"Before the node sees the archive, its digest is verified and its config is inspected: control characters, " +
			"another platform or settings with which no container starts are refused.",
		Example: `oci_pull("docker.io/library/alpine:3.22")`,
		Params: []engine.Param{
			{Name: "ref", Type: engine.TypeString, Required: true, Position: 1,
				Doc:     "The image: registry, repository and tag or digest. Without a registry Docker Hub is meant, without a tag `latest`.",
				Example: `"ghcr.io/immich-app/immich-server:" + release`},
			{Name: "arch", Type: engine.TypeString, Choices: archs, Default: "the node's",
				Doc: "The processor architecture of the image.", Example: `"amd64"`},
			{Name: "policy", Type: engine.TypeString, Choices: []string{pullMissing, pullAlways}, Default: pullMissing,
				Doc: "`missing` keeps what was pulled once; `always` asks the registry in every run whether the tag has moved.", Example: `"always"`},
		},
		Outputs: []engine.Output{
			{Name: "archive", Doc: "The volume id of the archive."},
			{Name: "digest", Doc: "The digest of the image's manifest in the registry."},
			{Name: "config", Doc: "The image's config, as JSON."},
		},
		New:      newPull,
		FindAsks: findAsks,
		Find:     find,
	}
}

// An Image is the Detail of an oci_pull handle.
type Image struct {
	Ref  Reference
	Arch string // Debian's name: amd64, arm64

	restoring *restoring
}

// A pull is the wanted state.
type pull struct {
	ref     Reference
	arch    string
	foreign bool   // arch is not the node's, so skopeo must be told
	storage string // for archives
	always  bool
	mirror  string // registry to ask first, "" for none
	key     string // names the image's facts, unit and lock
}

func newPull(c engine.Call) (*engine.Made, error) {
	ref, err := ParseReference(c.Args.String("ref"))
	if err != nil {
		return nil, engine.ArgErrorf("ref", "%w", err)
	}
	p := pull{ref: ref, arch: c.Args.String("arch"), always: c.Args.String("policy") == pullAlways}
	if !c.Args.Has("arch") {
		p.arch = c.Facts.Arch
	}
	p.foreign = p.arch != c.Facts.Arch
	p.mirror = c.Facts.Default.Mirrors[ref.Registry]
	if p.storage, err = templates(c.Facts); err != nil {
		return nil, err
	}
	name := stepName(ref.String(), p.foreignArch())
	p.key = record.FileName(ref.String() + "+" + p.arch)
	if len(p.key) > 180 { // a file's name has at most 255 characters
		p.key = record.FileName(pve.Digest([]byte(ref.String() + "+" + p.arch)))
	}
	return &engine.Made{
		Name:   name,
		Parts:  []engine.Part{{Spec: p, Class: engine.Download}},
		Detail: &Image{Ref: ref, Arch: p.arch, restoring: engine.SharedBy[restoring](c.Shared)},
	}, nil
}

// foreignArch returns the architecture if it is not the node's, else "".
func (p pull) foreignArch() string {
	if p.foreign {
		return p.arch
	}
	return ""
}

func stepName(ref, foreignArch string) string {
	if foreignArch == "" {
		return ref
	}
	return ref + "+" + foreignArch
}

// templates returns the storage that archives go to.
func templates(f *engine.Facts) (string, error) {
	name := f.Default.Templates
	if slices.ContainsFunc(pve.StoragesFor(f, "vztmpl"), func(s engine.Storage) bool { return s.Name == name }) {
		return name, nil
	}
	if name != "" {
		return "", fmt.Errorf("storage %q on %s cannot keep archives; it lacks the content type vztmpl, is off, or is not for this node", name, f.Node)
	}
	return "", engine.WithHint(errors.New("no storage on "+f.Node+" can keep archives"),
		"allow the content type vztmpl on a directory storage, for example, keeping what is allowed already:\n"+
			"    pvesm set local --content iso,vztmpl,backup")
}

// volume returns the volume id of the archive of a digest.
func (p pull) volume(digest string) string {
	return p.storage + ":vztmpl/" + pve.ArchiveName(p.ref.Registry, p.ref.Repository, digest)
}
