package lab

import (
	"slices"
	"strconv"
	"strings"
)

// getTasks answers what lies below /nodes/N/tasks: the list, newest first, and of
// one task its status and log.
func (c *guestCall) getTasks(parts []string) (any, error) {
	if len(parts) == 3 {
		return c.listTasks(), nil
	}
	upid := parts[3]
	if len(strings.Split(upid, ":")) != 9 {
		return nil, paramError{"upid": "unable to parse worker upid '" + upid + "'"}
	}
	if len(parts) != 5 {
		return nil, noHandler("get", parts)
	}
	row := c.node.taskRow(upid)
	switch parts[4] {
	case "status":
		if row == nil {
			return nil, dief(255, "no such task")
		}
		if status, ended := row["status"]; ended {
			row["exitstatus"] = status
			delete(row, "endtime")
			row["status"] = "stopped"
		} else {
			row["status"] = "running"
		}
		return row, nil
	case "log":
		return c.taskLines(upid)
	}
	return nil, noHandler("get", parts)
}

// listTasks lists the tasks that have ended, and those that run if asked for.
func (c *guestCall) listTasks() any {
	limit, err := strconv.Atoi(c.opts["limit"])
	if err != nil {
		limit = 50
	}
	out := []any{}
	rows := c.node.endedTasks()
	slices.Reverse(rows)
	if c.opts["source"] == "active" || c.opts["source"] == "all" {
		rows = append(c.node.runningTasks(), rows...)
	}
	for _, row := range rows {
		if id := c.opts["vmid"]; id != "" && row["id"] != id {
			continue
		}
		if kind := c.opts["typefilter"]; kind != "" && row["type"] != kind {
			continue
		}
		if len(out) < limit {
			out = append(out, row)
		}
	}
	return out
}

// endedTasks reads the index of the tasks that have ended, oldest first.
func (n *node) endedTasks() []map[string]any {
	data, err := n.readFile(taskIndex)
	if err != nil {
		return nil // none has ended
	}
	var out []map[string]any
	for line := range strings.Lines(string(data)) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), " ", 3)
		if len(f) < 3 {
			continue
		}
		row := upidRow(f[0])
		row["endtime"], row["status"] = hexNumber(f[1]), f[2]
		out = append(out, row)
	}
	return out
}

// runningTasks lists the tasks that run.
func (n *node) runningTasks() []map[string]any {
	var out []map[string]any
	seen := map[string]bool{}
	for _, p := range n.pids.all() {
		if upid, ok := strings.CutPrefix(p.args, "task "); ok && !seen[upid] {
			seen[upid] = true
			out = append(out, upidRow(upid))
		}
	}
	return out
}

// taskRow returns what is known of one task, nil if it is not known.
func (n *node) taskRow(upid string) map[string]any {
	for _, row := range append(n.runningTasks(), n.endedTasks()...) {
		if row["upid"] == upid {
			return row
		}
	}
	return nil
}

// upidRow splits a task's id: UPID:node:pid:pstart:start:type:id:user:.
func upidRow(upid string) map[string]any {
	f := strings.Split(upid, ":")
	if len(f) < 9 {
		return map[string]any{"upid": upid}
	}
	return map[string]any{
		"upid": upid, "node": f[1], "pid": hexNumber(f[2]), "pstart": hexNumber(f[3]), "starttime": hexNumber(f[4]),
		"type": f[5], "id": f[6], "user": f[7],
	}
}

func hexNumber(text string) int64 {
	n, _ := strconv.ParseInt(text, 16, 64) // what is none is 0
	return n
}

// taskLines returns a task's log, numbered from 1.
func (c *guestCall) taskLines(upid string) (any, error) {
	data, err := c.node.readFile(taskLog(upid))
	if err != nil {
		return nil, dief(2, "open '%s' failed: No such file or directory", taskLog(upid))
	}
	out := []any{}
	for line := range strings.Lines(string(data)) {
		out = append(out, map[string]any{"n": len(out) + 1, "t": strings.TrimSuffix(line, "\n")})
	}
	return out, nil
}
