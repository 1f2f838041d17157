package oci

import (
	"encoding/json"
	"fmt"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/pve"
)

func (p pull) Diff(now engine.State, _ engine.Inputs) (engine.Diff, error) {
	st := now.(*state)
	digest, change := p.change(st)
	if change == nil {
		if err := check(st.facts.Config, p.arch); err != nil {
			return engine.Diff{}, fmt.Errorf("%s: %w", p.factsFile(), err)
		}
		return engine.Diff{
			Outputs: outputs(st.facts.Archive, st.facts.Digest, st.facts.Config),
			Notes:   []engine.Note{p.note(st.facts.Digest)},
		}, nil
	}
	d := engine.Diff{Changes: []engine.Change{*change}}
	var mirror []engine.Note
	if p.mirror != "" {
		mirror = []engine.Note{{Label: "mirror", Text: p.places()[0].name() + ", or else " + p.ref.Registry}}
	}
	if digest == "" { // nobody could be asked
		when := engine.Unknown("after the pull")
		d.Outputs = engine.Outputs{"archive": when, "digest": when, "config": when}
		d.Notes = mirror
		return d, nil
	}
	config := st.facts.Config
	if digest == st.digest {
		config = st.config
	}
	if err := check(config, p.arch); err != nil {
		return d, err
	}
	d.Outputs = outputs(p.volume(digest), digest, config)
	d.Notes = append([]engine.Note{p.note(digest)}, mirror...)
	return d, nil
}

// change returns the digest to pull and why; nil if nothing is to be done.
func (p pull) change(st *state) (string, *engine.Change) {
	c := &engine.Change{Action: engine.Create, To: p.ref.String()}
	switch {
	case st.facts.Digest == "":
		c.Why = "the image is not on the node"
		return st.digest, c
	case st.asked && st.digest != st.facts.Digest:
		c.Action, c.Field, c.From, c.To = engine.Update, "digest", short(st.facts.Digest), short(st.digest)
		c.Why = p.ref.String() + " has moved"
		return st.digest, c
	case !st.present:
		c.Why = fmt.Sprintf("the archive %s is gone or has another size", st.facts.Archive)
		return st.facts.Digest, c
	}
	return "", nil
}

func (p pull) note(digest string) engine.Note {
	return engine.Note{Label: "image", Text: p.ref.String() + " " + short(digest)}
}

// short returns a digest as people read it.
func short(digest string) string { return digest[:min(len(digest), len("sha256:")+12)] }

func outputs(archive, digest string, config json.RawMessage) engine.Outputs {
	return engine.Outputs{"archive": engine.Known(archive), "digest": engine.Known(digest), "config": engine.Known(string(config))}
}

// check refuses an image that the node must not be given.
func check(config json.RawMessage, arch string) error {
	c, err := pve.ParseImageConfig(config)
	if err != nil {
		return err
	}
	return refuse(c, arch)
}

// otherImage is what there is to do about an image that must not be used.
const otherImage = "nothing was done; use another tag of the image, or have its maker mend it"

func refuse(c pve.ImageConfig, arch string) error {
	return engine.WithHint(c.Check(arch), otherImage)
}
