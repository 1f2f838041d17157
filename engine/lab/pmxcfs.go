package lab

import (
	"bytes"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// vmlistPath is a file that pmxcfs makes up when it is read.
const vmlistPath = "/etc/pve/.vmlist"

// vmlist returns /etc/pve/.vmlist as pmxcfs writes it (status.c): the guests of
// all nodes, by the config files that are there.
func (n *node) vmlist() []byte {
	var ids []int
	files, _ := filepath.Glob(n.host("/etc/pve/nodes/*/lxc/*.conf")) // the pattern is sound
	nodes := map[int]string{}
	for _, f := range files {
		id, err := strconv.Atoi(strings.TrimSuffix(filepath.Base(f), ".conf"))
		if err != nil {
			continue
		}
		ids = append(ids, id)
		nodes[id] = filepath.Base(filepath.Dir(filepath.Dir(f)))
	}
	slices.Sort(ids)
	var b bytes.Buffer
	fmt.Fprintf(&b, "{\n\"version\": %d,\n\"ids\": {\n", len(ids)+1)
	for i, id := range ids {
		if i > 0 {
			b.WriteString(",\n")
		}
		fmt.Fprintf(&b, `"%d": { "node": %q, "type": "lxc", "version": %d }`, id, nodes[id], i+1)
	}
	b.WriteString("}\n\n}\n")
	return b.Bytes()
}

// writeVMList brings the file up to date for those who open it.
func (n *node) writeVMList() error {
	return replaceFile(n.host(vmlistPath), n.vmlist(), 0o640)
}
