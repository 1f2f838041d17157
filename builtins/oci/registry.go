package oci

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/semver"

	"github.com/tengil/tengil/builtins/act"
	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/pve"
)

// AuthFile is where a node remembers passwords of registries. skopeo reads it by
// itself, and it outlives a login session (containers-auth.json(5)).
const AuthFile = "/root/.config/containers/auth.json"

// Login has the node's skopeo log in to a registry; password is read there only.
func Login(ctx context.Context, h engine.Host, registry, user string, password io.Reader) error {
	if err := checkRegistry(registry); err != nil {
		return err
	}
	if _, at := pve.ControlChars(user); at >= 0 || user == "" || strings.HasPrefix(user, "-") {
		return fmt.Errorf("user is %q; wanted a name", user)
	}
	if err := act.Do(ctx, h, "mkdir", "-p", "-m", "700", path.Dir(AuthFile)); err != nil {
		return err
	}
	argv := []string{"skopeo", "login", "--authfile", AuthFile, "--username", user, "--password-stdin", registry}
	_, err := h.Run(ctx, engine.Cmd{Argv: argv, Stdin: password, Audit: audited(argv)})
	return pve.Explain(err)
}

// Logout has the node forget the password of a registry.
func Logout(ctx context.Context, h engine.Host, registry string) error {
	if err := checkRegistry(registry); err != nil {
		return err
	}
	argv := []string{"skopeo", "logout", "--authfile", AuthFile, registry}
	_, err := h.Run(ctx, engine.Cmd{Argv: argv, Audit: audited(argv)})
	return pve.Explain(err)
}

func audited(argv []string) *engine.Audit {
	return &engine.Audit{Time: time.Now().UTC(), App: unitApp, Argv: argv}
}

func checkRegistry(name string) error {
	if !domainPart.MatchString(name) {
		return fmt.Errorf("%q is no registry; wanted a host, maybe with a port", name)
	}
	return nil
}

// Tags lists the tags of a repository as its registry has them: versions, newest
// first, then all else by name.
func Tags(ctx context.Context, h engine.Host, repository string) ([]string, error) {
	ref, err := ParseReference(repository)
	if err != nil {
		return nil, err
	}
	out, err := act.Look(ctx, h, "skopeo", "list-tags", "docker://"+ref.name(), "--command-timeout", answerTime)
	if err != nil {
		return nil, explain(err, ref)
	}
	var list struct{ Tags []string }
	if err := json.Unmarshal(out, &list); err != nil {
		return nil, fmt.Errorf("skopeo list-tags: wanted JSON: %w", err)
	}
	for _, tag := range list.Tags {
		if !tagPart.MatchString(tag) {
			return nil, fmt.Errorf("the registry has a tag %.80q, which is none", tag)
		}
	}
	SortTags(list.Tags)
	return list.Tags, nil
}

// SortTags puts versions first, the newest of them at the top.
func SortTags(tags []string) {
	version := func(tag string) string {
		if !strings.HasPrefix(tag, "v") {
			tag = "v" + tag
		}
		if !semver.IsValid(tag) {
			return ""
		}
		return tag
	}
	slices.SortStableFunc(tags, func(a, b string) int {
		va, vb := version(a), version(b)
		if va == "" && vb == "" {
			return strings.Compare(a, b)
		}
		if c := semver.Compare(vb, va); c != 0 { // what is no version is less than all
			return c
		}
		return strings.Compare(a, b)
	})
}

// An Inspection is an image as its registry has it, and as Proxmox will use it.
type Inspection struct {
	Ref        string   `json:"ref"`
	Digest     string   `json:"digest"`
	Platform   string   `json:"platform"`
	Size       int64    `json:"size"` // bytes of the layers, compressed
	Layers     []string `json:"layers"`
	Argv       []string `json:"argv"`
	Env        []string `json:"env"`
	User       string   `json:"user,omitempty"`
	WorkingDir string   `json:"workingDir,omitempty"`
	Volumes    []string `json:"volumes"`
	Ports      []string `json:"ports"`
	StopSignal string   `json:"stopSignal,omitempty"`
}

// Inspect asks a registry for an image, as a pull does before it fetches anything:
// what a pull refuses is an error here. arch "" is the node's.
func Inspect(ctx context.Context, h engine.Host, f *engine.Facts, name, arch string) (*Inspection, error) {
	values := map[string]any{"ref": name}
	given := map[string]bool{"ref": true}
	if arch != "" {
		if !slices.Contains(archs, arch) {
			return nil, fmt.Errorf("arch is %q; wanted one of %s", arch, strings.Join(archs, ", "))
		}
		values["arch"], given["arch"] = arch, true
	}
	made, err := newPull(engine.Call{Facts: f, Args: engine.Args{Values: values, Given: given}})
	var arg *engine.ArgError
	if errors.As(err, &arg) {
		return nil, arg.Err
	}
	if err != nil {
		return nil, err
	}
	p := made.Parts[0].Spec.(pull)
	img, err := p.inspectImage(ctx, engine.Work{Host: h, Report: func(string, int64, int64) {}}, p.ref.Digest)
	if err != nil {
		return nil, err
	}
	c := img.parsed
	out := &Inspection{
		Ref: p.ref.String(), Digest: img.digest, Platform: c.OS + "/" + c.Arch, Size: img.manifest.Size(), Layers: []string{},
		Argv: append([]string{}, c.Argv()...), Env: append([]string{}, c.Env...), User: c.User, WorkingDir: c.WorkingDir,
		Volumes: append([]string{}, c.Volumes...), Ports: append([]string{}, c.ExposedPorts...), StopSignal: c.StopSignal,
	}
	for _, l := range img.manifest.Layers {
		out.Layers = append(out.Layers, l.Digest)
	}
	return out, nil
}
