package lab

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// zpoolProgram is zpool list and zpool status.
func zpoolProgram(p *proc) int {
	if len(p.argv) < 2 {
		return p.failf(2, "missing command\nusage: zpool command args ...")
	}
	switch p.argv[1] {
	case "list":
		return zpoolList(p)
	case "status":
		return zpoolStatus(p)
	}
	return p.failf(2, "the lab does not model zpool %s", p.argv[1])
}

func zpoolList(p *proc) int {
	o, names, ok := p.zfsOptions("H p o: v")
	if !ok {
		return 2
	}
	columns := strings.Split("name,size,allocated,free,checkpoint,expandsize,fragmentation,capacity,dedupratio,health,altroot", ",")
	if o.has("o") {
		columns = strings.Split(o.last("o"), ",")
	}
	v := p.node.zfsView()
	exit := 0
	var rows [][]string
	for _, name := range names {
		if !slices.ContainsFunc(v.Pools, func(l pool) bool { return l.Name == name }) {
			exit = p.failf(1, "cannot open '%s': no such pool", name)
		}
	}
	for _, l := range v.Pools {
		if len(names) > 0 && !slices.Contains(names, l.Name) {
			continue
		}
		var row []string
		for _, c := range columns {
			text, ok := v.poolValue(l, c, o.has("p"))
			if !ok {
				return p.failf(2, "bad property list: invalid property '%s'\nusage:\n\tlist [-gHLpPv] [-j [--json-int, --json-pool-key-guid]] ...", c)
			}
			row = append(row, text)
		}
		rows = append(rows, row)
	}
	if len(v.Pools) == 0 && len(names) == 0 {
		if !o.has("H") {
			fmt.Fprintln(p.stdout, "no pools available")
		}
		return 0
	}
	p.table(columns, rows, o.has("H"))
	return exit
}

func (v *zfsView) poolValue(l pool, column string, exact bool) (string, bool) {
	size := func(n int64) string {
		if exact {
			return strconv.FormatInt(n, 10)
		}
		return niceBytes(n)
	}
	switch column {
	case "name":
		return l.Name, true
	case "size":
		return size(l.Size), true
	case "alloc", "allocated":
		return size(v.used(l.Name)), true
	case "free":
		return size(l.Size - v.used(l.Name)), true
	case "frag", "fragmentation", "cap", "capacity":
		return map[bool]string{true: "0", false: "0%"}[exact], true
	case "dedup", "dedupratio":
		return map[bool]string{true: "1.00", false: "1.00x"}[exact], true
	case "health":
		return "ONLINE", true
	case "ckpoint", "checkpoint", "expandsz", "expandsize", "altroot":
		return "-", true
	}
	return "", false
}

func zpoolStatus(p *proc) int {
	if slices.Contains(p.argv, "-x") && len(p.node.zfsView().Pools) > 0 {
		fmt.Fprintln(p.stdout, "all pools are healthy")
		return 0
	}
	pools := p.node.zfsView().Pools
	if len(pools) == 0 {
		fmt.Fprintln(p.stdout, "no pools available")
		return 0
	}
	for _, l := range pools {
		fmt.Fprintf(p.stdout, "  pool: %s\n state: ONLINE\nconfig:\n\n\tNAME        STATE     READ WRITE CKSUM\n"+
			"\t%-10s  ONLINE       0     0     0\n\nerrors: No known data errors\n", l.Name, l.Name)
	}
	return 0
}
