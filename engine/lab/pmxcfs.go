package lab

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// membersPath tells of the cluster. A node of none has no need of it here.
const membersPath = "/etc/pve/.members"

// members returns membersPath of the first of two nodes, the other of which is gone
// (cfs_create_memberlist_msg in status.c).
func (n *node) members() []byte {
	return fmt.Appendf(nil, `{
"nodename": %q,
"version": 4,
"cluster": { "name": "lab", "version": 2, "nodes": 2, "quorate": 0 },
"nodelist": {
  %[1]q: { "id": 1, "online": 1, "ip": "192.0.2.1"},
  %q: { "id": 2, "online": 0}
  }
}
`, n.name, n.name+"2")
}

// tellMembers makes membersPath tell whether the node lacks its quorum.
func (n *node) tellMembers() error {
	if n.noQuorum() {
		return replaceFile(n.host(membersPath), n.members(), 0o640)
	}
	err := os.Remove(n.host(membersPath))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

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
