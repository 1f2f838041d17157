package recipe

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.starlark.net/starlark"

	"github.com/tengil/tengil/engine"
)

func requiresDecl() declaration {
	return declaration{
		Name:    "requires",
		Doc:     "Says what the node must have. Where it is missing, the recipe ends here with a message that says so.",
		Example: `requires(pve = ">=9.1", gpu = ["intel", "amd"])`,
		Params: []engine.Param{
			{Name: "pve", Type: engine.TypeString, Doc: "Release of Proxmox VE: a comparison, or several with \",\" between.", Example: `">=9.1"`},
			{Name: "gpu", Type: typeAny, Doc: "True for any graphics device, or a vendor, or a list of vendors of which one will do: intel, amd, nvidia.", Example: `True`},
			{Name: "pool", Type: typeAny, Doc: "True for any ZFS pool, or a directory in place of one; or the name of one.", Example: `True`},
		},
		Run: (*evaluation).declareRequires,
	}
}

func (ev *evaluation) declareRequires(c declared) (starlark.Value, error) {
	checks := []struct {
		name  string
		check func(any) (want string, err error)
	}{
		{"pve", ev.requirePVE}, {"gpu", ev.requireGPU}, {"pool", ev.requirePool},
	}
	for _, r := range checks {
		if !c.Has(r.name) {
			continue
		}
		want, err := r.check(c.Values[r.name])
		if err != nil {
			return nil, err
		}
		if want != "" {
			ev.requires = append(ev.requires, Requirement{Name: r.name, Want: want, Pos: c.pos})
		}
	}
	return starlark.None, nil
}

func (ev *evaluation) requirePVE(v any) (string, error) {
	want := v.(string)
	for _, part := range strings.Split(want, ",") {
		ok, err := versionIs(ev.o.Facts.PVE, strings.TrimSpace(part))
		if err != nil {
			return "", fmt.Errorf("pve: %w", err)
		}
		if !ok {
			return "", fmt.Errorf("this recipe needs Proxmox VE %s, and %s runs %s", want, ev.o.Facts.Node, ev.o.Facts.PVE)
		}
	}
	return want, nil
}

// versionIs compares a version with a condition such as ">=9.1".
func versionIs(have, condition string) (bool, error) {
	number := strings.TrimLeft(condition, "<>=!")
	op := condition[:len(condition)-len(number)]
	a, okA := versionParts(have)
	b, okB := versionParts(strings.TrimSpace(number))
	if !okB {
		return false, fmt.Errorf("wanted a condition such as \">=9.1\", got %q", condition)
	}
	if !okA {
		return false, fmt.Errorf("the node's release %q is not a version", have)
	}
	order := slices.Compare(a, b)
	switch op {
	case ">=":
		return order >= 0, nil
	case ">":
		return order > 0, nil
	case "<=":
		return order <= 0, nil
	case "<":
		return order < 0, nil
	case "==":
		return order == 0, nil
	}
	return false, fmt.Errorf("wanted a condition such as \">=9.1\", got %q", condition)
}

// versionParts splits "9.1.2"; trailing zeros do not count.
func versionParts(s string) ([]int, bool) {
	var out []int
	for _, p := range strings.Split(s, ".") {
		n, err := strconv.Atoi(p)
		if err != nil || n < 0 {
			return nil, false
		}
		out = append(out, n)
	}
	for len(out) > 1 && out[len(out)-1] == 0 {
		out = out[:len(out)-1]
	}
	return out, true
}

func (ev *evaluation) requireGPU(v any) (string, error) {
	var vendors []string
	switch v := v.(type) {
	case bool:
		if !v {
			return "", nil
		}
	case string:
		vendors = []string{v}
	case []any:
		for _, e := range v {
			s, ok := e.(string)
			if !ok {
				return "", fmt.Errorf("gpu: wanted a list of vendors, got %v in it", e)
			}
			vendors = append(vendors, s)
		}
	default:
		return "", fmt.Errorf("gpu: wanted True, a vendor or a list of vendors, got %v", v)
	}
	known := []string{"intel", "amd", "nvidia"}
	for _, vendor := range vendors {
		if !slices.Contains(known, vendor) {
			return "", fmt.Errorf("gpu: wanted one of %s, got %q%s", quotedList(known), vendor, engine.DidYouMean(vendor, known))
		}
	}
	fits := func(g engine.GPU) bool { return len(vendors) == 0 || slices.Contains(vendors, g.Vendor) }
	if !slices.ContainsFunc(ev.o.Facts.GPUs, fits) {
		return "", ev.noGPU(vendors)
	}
	return or(strings.Join(vendors, " or "), "any"), nil
}

func (ev *evaluation) noGPU(vendors []string) error {
	want := "a GPU"
	if len(vendors) > 0 {
		want += " of " + strings.Join(vendors, " or ")
	}
	var have []string
	for _, g := range ev.o.Facts.GPUs {
		have = append(have, g.Vendor)
	}
	return fmt.Errorf("this recipe needs %s, and %s has %s", want, ev.o.Facts.Node, or(strings.Join(have, ", "), "none"))
}

func (ev *evaluation) requirePool(v any) (string, error) {
	switch v := v.(type) {
	case bool:
		if !v {
			return "", nil
		}
		if len(ev.o.Facts.Pools) == 0 {
			return "", engine.WithHint(fmt.Errorf("this recipe needs a ZFS pool, and %s has none", ev.o.Facts.Node), noPoolHint)
		}
		return "any", nil
	case string:
		if err := checkPool(ev.o.Facts, v); err != nil {
			return "", fmt.Errorf("this recipe needs a ZFS pool that is not there: %w", err)
		}
		return v, nil
	}
	return "", fmt.Errorf("pool: wanted True or the name of a pool, got %v", v)
}
