package lab

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
)

// systemctlProgram is systemctl for transient units.
func systemctlProgram(p *proc) int {
	o, args, err := grammar{
		names: "p: property: a all plain no-legend no-pager full l t: type: state: value q quiet now signal: s: kill-whom: no-block",
	}.parse(p.argv[1:])
	if err != nil {
		return p.failf(1, "systemctl: %v", err)
	}
	if len(args) == 0 {
		args = []string{"list-units"}
	}
	names := args[1:]
	switch args[0] {
	case "show":
		return p.showUnits(o, names)
	case "list-units":
		return p.listUnits(o, names)
	case "stop":
		return p.stopUnits(names, true)
	case "kill":
		return p.stopUnits(names, false)
	case "reset-failed":
		return p.resetFailed(names)
	case "is-active", "is-failed":
		return p.isState(o, args[0], names)
	case "daemon-reload":
		return 0
	case "start", "restart", "reload", "reload-or-restart":
		return p.controlUnits(args[0], names)
	}
	return p.failf(1, "Unknown command verb '%s'.", args[0])
}

// units returns copies of the units that match one of the patterns (all if there
// are none), by name.
func (n *node) units(patterns []string) []unit {
	n.mu.Lock()
	defer n.mu.Unlock()
	var out []unit
	for _, name := range n.state.Units.keys() {
		if len(patterns) == 0 || slices.ContainsFunc(patterns, func(p string) bool {
			ok, _ := path.Match(p, name) // a bad pattern matches nothing
			return ok || serviceName(p) == name
		}) {
			out = append(out, *n.state.Units.get(name))
		}
	}
	return out
}

// unit returns a copy of one unit; one that is not loaded is inactive, as
// systemd shows it.
func (n *node) unit(name string) (unit, bool) {
	n.mu.Lock()
	u := n.state.Units.get(serviceName(name))
	if u != nil {
		defer n.mu.Unlock()
		return *u, true
	}
	n.mu.Unlock()
	if s, ok := n.serviceOf(name); ok {
		return n.asUnit(s), true
	}
	return unit{Name: serviceName(name), Active: "inactive", Sub: "dead", Result: "success", Description: serviceName(name)}, false
}

func (p *proc) showUnits(o options, names []string) int {
	var want []string
	for _, list := range slices.Concat(o["p"], o["property"]) {
		want = append(want, strings.Split(list, ",")...)
	}
	for i, name := range names {
		if i > 0 {
			fmt.Fprintln(p.stdout)
		}
		u, loaded := p.node.unit(name)
		for _, kv := range u.properties(loaded) {
			switch {
			case len(want) > 0 && !slices.Contains(want, kv[0]):
			case o.has("value"):
				fmt.Fprintln(p.stdout, kv[1])
			default:
				fmt.Fprintf(p.stdout, "%s=%s\n", kv[0], kv[1])
			}
		}
	}
	return 0
}

// properties are what systemctl show prints, in its order.
func (u unit) properties(loaded bool) [][2]string {
	load := map[bool]string{true: "loaded", false: "not-found"}[loaded]
	return [][2]string{
		{"Type", u.Type},
		{"MainPID", strconv.Itoa(u.PID)},
		{"Result", u.Result},
		{"ExecMainPID", strconv.Itoa(u.PID)},
		{"ExecMainCode", strconv.Itoa(u.Code)},
		{"ExecMainStatus", strconv.Itoa(u.Status)},
		{"Id", u.Name},
		{"Description", u.Description},
		{"LoadState", load},
		{"ActiveState", u.Active},
		{"SubState", u.Sub},
		{"Transient", map[bool]string{true: "yes", false: "no"}[loaded]},
	}
}

func (p *proc) listUnits(o options, patterns []string) int {
	units := p.node.units(patterns)
	var rows [][]string
	for _, u := range units {
		if s := o.last("state"); s != "" && !slices.Contains(strings.Split(s, ","), u.Active) {
			continue
		}
		rows = append(rows, []string{u.Name, "loaded", u.Active, u.Sub, u.Description})
	}
	if !o.has("no-legend") {
		rows = append([][]string{{"UNIT", "LOAD", "ACTIVE", "SUB", "DESCRIPTION"}}, rows...)
	}
	width := make([]int, 5)
	for _, row := range rows {
		for i, cell := range row {
			width[i] = max(width[i], len(cell))
		}
	}
	mark := map[bool]string{true: "", false: "  "}[o.has("plain")]
	for _, row := range rows {
		fmt.Fprint(p.stdout, mark)
		for i, cell := range row[:4] {
			fmt.Fprintf(p.stdout, "%-*s ", width[i], cell)
		}
		fmt.Fprintln(p.stdout, row[4])
	}
	if !o.has("no-legend") {
		fmt.Fprintf(p.stdout, "\n%d loaded units listed.\n", len(rows)-1)
	}
	return 0
}

// stopUnits ends units and waits until they have ended. Those that systemctl
// stop ends have not failed.
func (p *proc) stopUnits(names []string, stop bool) int {
	exit := 0
	for _, name := range names {
		if s, ok := p.node.serviceOf(name); ok {
			if err := p.node.setService(s, false); err != nil {
				exit = p.failf(1, "Failed to stop %s: %v", s.unit, err)
			}
			continue
		}
		run, loaded := p.node.stopUnit(serviceName(name), stop)
		if !loaded {
			exit = p.failf(5, "Failed to stop %[1]s: Unit %[1]s not loaded.", serviceName(name))
			continue
		}
		if run == nil {
			continue
		}
		select {
		case <-run.done:
		case <-p.ctx.Done():
			return exitKilled
		}
	}
	p.node.save()
	return exit
}

func (n *node) stopUnit(name string, asked bool) (*unitRun, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	u := n.state.Units.edit(name)
	switch {
	case u == nil:
		return nil, false
	case u.run == nil: // exited, and kept as active
		if u.Active == "active" {
			n.state.Units.drop(name)
		}
		return nil, true
	}
	u.run.asked = asked
	u.run.end()
	return u.run, true
}

func (p *proc) resetFailed(names []string) int {
	n := p.node
	exit := 0
	for _, name := range names {
		if _, ok := n.unit(name); !ok && !strings.ContainsAny(name, "*?[") {
			exit = p.failf(1, "Failed to reset failed state of unit %[1]s: Unit %[1]s not loaded.", serviceName(name))
		}
	}
	for _, u := range n.units(names) {
		if u.Active != "failed" {
			continue
		}
		n.mu.Lock()
		n.state.Units.drop(u.Name)
		n.mu.Unlock()
	}
	n.save()
	return exit
}

// isState is is-active and is-failed.
func (p *proc) isState(o options, verb string, names []string) int {
	want := strings.TrimPrefix(verb, "is-")
	exit := 3
	if want == "failed" {
		exit = 1
	}
	for _, name := range names {
		u, loaded := p.node.unit(name)
		if u.Active == want {
			exit = 0
		} else if !loaded && exit != 0 && want == "active" {
			exit = 4 // no such unit
		}
		p.say(o.has("q") || o.has("quiet"), u.Active)
	}
	return exit
}

// journalctlProgram is journalctl -u UNIT: what a unit wrote.
func journalctlProgram(p *proc) int {
	o, _, err := grammar{names: "u: unit: o: output: no-pager n: lines: q quiet b since: x e"}.parse(p.argv[1:])
	if err != nil {
		return p.failf(1, "journalctl: %v", err)
	}
	data, err := p.node.readFile(journalFile(serviceName(o.last("u") + o.last("unit"))))
	if err != nil {
		fmt.Fprintln(p.stdout, "-- No entries --")
		return 0
	}
	_, _ = p.stdout.Write(data) // a closed pipe is no error here
	return 0
}
