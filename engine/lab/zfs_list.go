package lab

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// selection says which datasets a zfs list or get is about.
type selection struct {
	names []string
	types []string // filesystem, snapshot
	depth int      // below each name; -1 is without end
}

// selects parses the options -r, -d and -t.
func selects(o options, names []string, defaults ...string) (selection, string) {
	s := selection{names: names, types: defaults}
	if o.has("t") {
		s.types = strings.Split(o.last("t"), ",")
	}
	var types []string
	for _, t := range s.types {
		switch t {
		case "filesystem", "fs", "snapshot", "snap", "volume", "vol", "bookmark":
			types = append(types, map[string]string{"fs": "filesystem", "snap": "snapshot", "vol": "volume"}[t])
			if types[len(types)-1] == "" {
				types[len(types)-1] = t
			}
		case "all":
			types = append(types, "filesystem", "snapshot", "volume", "bookmark")
		default:
			return s, fmt.Sprintf("invalid type '%s'", t)
		}
	}
	s.types = types
	if o.has("r") || len(names) == 0 {
		s.depth = -1
	}
	if o.has("d") {
		n, err := strconv.Atoi(o.last("d"))
		if err != nil || n < 0 {
			return s, fmt.Sprintf("%s is not a number", o.last("d"))
		}
		s.depth = n
	}
	return s, ""
}

// pick returns the selected datasets in order, and the names that there are
// none of.
func (v *zfsView) pick(s selection) (found, missing []string) {
	for _, name := range s.names {
		if !v.Datasets.has(name) {
			missing = append(missing, name)
		}
	}
	for _, name := range v.names {
		if slices.Contains(s.types, v.Datasets.get(name).kind()) && s.covers(name) {
			found = append(found, name)
		}
	}
	return found, missing
}

func (s selection) covers(name string) bool {
	if len(s.names) == 0 {
		return s.depth < 0 || strings.Count(name, "/")+strings.Count(name, "@") <= s.depth
	}
	return slices.ContainsFunc(s.names, func(root string) bool {
		if name == root {
			return true
		}
		rest, ok := strings.CutPrefix(name, root)
		if !ok || rest[0] != '/' && rest[0] != '@' {
			return false
		}
		deep := strings.Count(rest, "/") + strings.Count(rest, "@")
		// Snapshots that are asked for alone are those of the named file system.
		alone := s.depth == 0 && deep == 1 && rest[0] == '@' && !slices.Contains(s.types, "filesystem")
		return s.depth < 0 || deep <= s.depth || alone
	})
}

func zfsList(p *proc) int {
	o, names, ok := p.zfsOptions("H p r d: o: t: s: S: j")
	if !ok {
		return 2
	}
	sel, msg := selects(o, names, "filesystem", "volume")
	if msg != "" {
		return p.failf(2, "%s\nusage:\n\tlist [-Hp] [-j [--json-int]] [-r|-d max] ...", msg)
	}
	columns := []string{"name", "used", "available", "referenced", "mountpoint"}
	if o.has("o") {
		columns = strings.Split(o.last("o"), ",")
	}
	v := p.node.zfsView()
	for _, c := range append(slices.Clone(columns), o["s"]...) {
		if !v.knows(c) {
			return p.failf(2, "bad property list: invalid property '%s'\nusage:\n\tlist [-Hp] [-j [--json-int]] [-r|-d max] ...", c)
		}
	}
	found, missing := v.pick(sel)
	v.sort(found, o["s"], false)
	v.sort(found, o["S"], true)
	exit := 0
	for _, name := range missing {
		exit = p.failf(1, "cannot open '%s': dataset does not exist", name)
	}
	if len(found) == 0 && exit == 0 {
		return p.failf(0, "no datasets available")
	}
	var rows [][]string
	for _, name := range found {
		var row []string
		for _, c := range columns {
			val, _ := v.get(name, c)
			row = append(row, val.show(c, o.has("p")))
		}
		rows = append(rows, row)
	}
	p.table(columns, rows, o.has("H"))
	return exit
}

// knows reports whether there is such a property; without a dataset any name is taken.
func (v *zfsView) knows(prop string) bool {
	if len(v.names) == 0 {
		return true
	}
	_, ok := v.get(v.names[0], prop)
	return ok
}

// sort orders names by properties, numbers as numbers.
func (v *zfsView) sort(names, props []string, down bool) {
	if len(props) == 0 {
		return
	}
	slices.SortStableFunc(names, func(a, b string) int {
		for _, prop := range props {
			x, _ := v.get(a, prop)
			y, _ := v.get(b, prop)
			c := strings.Compare(x.text, y.text)
			i, err1 := strconv.ParseInt(x.text, 10, 64)
			j, err2 := strconv.ParseInt(y.text, 10, 64)
			if err1 == nil && err2 == nil {
				c = int(i - j)
			}
			if down {
				c = -c
			}
			if c != 0 {
				return c
			}
		}
		return 0
	})
}

// table prints rows: with tabs for programs, else aligned below a heading.
func (p *proc) table(columns []string, rows [][]string, bare bool) {
	if bare {
		for _, row := range rows {
			fmt.Fprintln(p.stdout, strings.Join(row, "\t"))
		}
		return
	}
	head := make([]string, len(columns))
	for i, c := range columns {
		head[i] = strings.ToUpper(c)
		if short := map[string]string{"available": "AVAIL", "referenced": "REFER", "allocated": "ALLOC"}[c]; short != "" {
			head[i] = short
		}
	}
	rows = append([][]string{head}, rows...)
	width := make([]int, len(columns))
	for _, row := range rows {
		for i, cell := range row {
			width[i] = max(width[i], len(cell))
		}
	}
	for _, row := range rows {
		var b strings.Builder
		for i, cell := range row {
			fmt.Fprintf(&b, "%-*s  ", width[i], cell)
		}
		fmt.Fprintln(p.stdout, strings.TrimRight(b.String(), " "))
	}
}

func zfsGet(p *proc) int {
	o, args, ok := p.zfsOptions("H p r d: o: t: s: j")
	if !ok {
		return 2
	}
	const usage = "usage:\n\tget [-rHp] [-j [--json-int]] [-d max] [-o \"all\" | field[,...]]\n" +
		"\t    [-t type[,...]] [-s source[,...]]\n\t    <\"all\" | property[,...]> [filesystem|volume|snapshot|bookmark] ..."
	if len(args) == 0 {
		return p.failf(2, "missing property argument\n%s", usage)
	}
	sel, msg := selects(o, args[1:], "filesystem", "volume", "snapshot")
	if msg != "" {
		return p.failf(2, "%s\n%s", msg, usage)
	}
	fields := strings.Split("name,property,value,source", ",")
	if o.has("o") && o.last("o") != "all" {
		fields = strings.Split(o.last("o"), ",")
	}
	var sources []string
	if o.has("s") {
		sources = strings.Split(o.last("s"), ",")
	}
	v := p.node.zfsView()
	props := strings.Split(args[0], ",")
	for _, prop := range props {
		if !v.knows(prop) && prop != "all" {
			return p.failf(2, "bad property list: invalid property '%s'\n%s", prop, usage)
		}
	}
	found, missing := v.pick(sel)
	exit := 0
	for _, name := range missing {
		exit = p.failf(1, "cannot open '%s': dataset does not exist", name)
	}
	var rows [][]string
	for _, name := range found {
		for _, prop := range v.expand(name, props) {
			val, _ := v.get(name, prop)
			kind, _, _ := strings.Cut(val.source, " ")
			if kind == "-" {
				kind = "none"
			}
			if sources != nil && !slices.Contains(sources, kind) {
				continue
			}
			var row []string
			for _, f := range fields {
				row = append(row, map[string]string{
					"name": name, "property": prop, "value": val.show(prop, o.has("p")), "source": val.source,
				}[f])
			}
			rows = append(rows, row)
		}
	}
	p.table(fields, rows, o.has("H"))
	return exit
}

// expand puts all properties of a dataset in place of "all".
func (v *zfsView) expand(name string, props []string) []string {
	if len(props) != 1 || props[0] != "all" {
		return props
	}
	var all []string
	for _, p := range properties() {
		if val, _ := v.get(name, p.name); val.text != "-" {
			all = append(all, p.name)
		}
	}
	seen := map[string]bool{}
	for at := name; at != ""; at = parentDataset(at) {
		for k := range v.Datasets.get(at).Props {
			seen[k] = seen[k] || strings.Contains(k, ":")
		}
	}
	for _, k := range sortedKeys(seen) {
		if seen[k] {
			all = append(all, k)
		}
	}
	return all
}
