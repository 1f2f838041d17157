package zfs

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/pve"
)

func (d dataset) Diff(now engine.State, _ engine.Inputs) (engine.Diff, error) {
	st := now.(*state)
	diff := engine.Diff{Outputs: engine.Outputs{"name": engine.Known(d.name), "mountpoint": engine.Known(st.mountpoint)}}
	switch {
	case !st.exists:
		diff.Changes = []engine.Change{{Action: engine.Create, To: d.summary(), Why: "there is no dataset " + d.name}}
		if len(st.missing) > 0 {
			diff.Notes = append(diff.Notes, engine.Note{Label: "parents", Text: strings.Join(st.missing, ", ") + " are made too"})
		}
		return diff, nil
	case !ours(d.name, st.props) || st.props[appProp] != d.app:
		if c, refused := d.adoption(st); refused {
			diff.Changes = []engine.Change{c}
			return diff, nil
		}
	}
	if err := d.checkQuota(st); err != nil {
		return diff, err
	}
	diff.Changes = d.changes(st)
	return diff, nil
}

// adoption returns how a dataset that is not this step's is refused; refused is
// false where the recipe says adopt or tengil made it as a parent for this app.
func (d dataset) adoption(st *state) (c engine.Change, refused bool) {
	app := st.props[appProp]
	switch {
	case ours(d.name, st.props): // another app's
		return engine.Change{
			Action: engine.AdoptRefused, From: "dataset of app " + app,
			Why:  fmt.Sprintf("dataset %s belongs to the app %q", d.name, app),
			Hint: fmt.Sprintf("to use its files from here too, mount its directory: host_dir(%q); or choose another dataset", st.mountpoint),
		}, true
	case d.adopt || app == d.app && st.props[stepProp] == parentMark+d.name:
		return engine.Change{}, false
	}
	return engine.Change{
		Action: engine.AdoptRefused, From: d.used(st),
		Why:  fmt.Sprintf("dataset %s exists and tengil did not make it", d.name),
		Hint: "to use it as it is, say adopt = True in the recipe; its content stays",
	}, true
}

// used tells for people which dataset it is and how much it holds.
func (d dataset) used(st *state) string {
	if n := usage(st.props); n != "" {
		return fmt.Sprintf("dataset %s (%s)", d.name, n)
	}
	return "dataset " + d.name
}

// usage is "1.2G used", "" where that is not known.
func usage(props map[string]string) string {
	n, err := strconv.ParseInt(props["used"], 10, 64)
	if err != nil {
		return ""
	}
	return human(engine.Size(n)) + " used"
}

// changes compares field by field, in a fixed order.
func (d dataset) changes(st *state) []engine.Change {
	var out []engine.Change
	add := func(field, from, to, why string) {
		if from != to {
			out = append(out, engine.Change{Action: engine.Update, Field: field, From: from, To: to, Why: why})
		}
	}
	if !ours(d.name, st.props) {
		add("owner app", "none", d.app, "the recipe adopts it")
	}
	for _, p := range d.props {
		have, want := st.props[p.name], canonical(p.name, p.value)
		why := p.why
		if p.name == "recordsize" {
			why += "; only new files are written that way"
		}
		add(p.name, readable(p.name, have), readable(p.name, want), why)
	}
	if st.props["mounted"] != "yes" {
		add("mounted", "no", "yes", "a container would write below the mountpoint instead of into the dataset")
	}
	out = append(out, d.ownership.changes(st.topDir)...)
	if ours(d.name, st.props) {
		add("protect", onOff(st.props[protectProp] == "on"), onOff(d.protect), "the recipe sets it")
	}
	return out
}

// checkQuota refuses a quota that ZFS would refuse.
func (d dataset) checkQuota(st *state) error {
	for _, p := range d.props {
		if p.name != "quota" {
			continue
		}
		want, _ := pve.ParseSize(p.value)
		used, err := pve.ParseSize(st.props["used"])
		if err == nil && want > 0 && want < used {
			return engine.WithHint(fmt.Errorf("quota is %s, but %s already holds %s", want, d.name, human(used)),
				"wanted a quota above what is used")
		}
	}
	return nil
}

// summary tells what a new dataset will be like.
func (d dataset) summary() string {
	var parts []string
	for _, p := range d.props {
		parts = append(parts, p.name+"="+readable(p.name, canonical(p.name, p.value)))
	}
	return strings.Join(append(parts, d.ownership.summary()...), " ")
}

func onOff(b bool) string {
	if b {
		return "on"
	}
	return "off"
}

// human prints a size rounded, for notes: "1.2G".
func human(n engine.Size) string {
	for _, u := range []struct {
		size engine.Size
		name string
	}{{engine.TiB, "T"}, {engine.GiB, "G"}, {engine.MiB, "M"}, {engine.KiB, "K"}} {
		if n >= u.size {
			return strconv.FormatFloat(float64(n)/float64(u.size), 'f', 1, 64) + u.name
		}
	}
	return strconv.FormatInt(int64(n), 10)
}
