package pve

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A Task is one that a node lists: an entry of /nodes/N/tasks.
type Task struct {
	UPID  string
	Type  string // "vzstart"
	ID    int    // of the guest; 0 where it is about none
	User  string // "root@pam"
	Start time.Time
	End   time.Time // zero while it runs
	// Status is "OK", "WARNINGS: n" or what went wrong; "" while it runs.
	Status string
}

// Failed reports whether the task has ended without doing what it was to do.
func (t Task) Failed() bool {
	return t.Status != "" && t.Status != "OK" && !strings.HasPrefix(t.Status, "WARNINGS")
}

// TasksArgv returns the command that lists a node's last tasks which have ended,
// the newest first.
func TasksArgv(node string, limit int) []string {
	return []string{"pvesh", "get", "/nodes/" + node + "/tasks", "--limit", strconv.Itoa(limit), "--output-format", "json"}
}

// ParseTasks reads what the command of TasksArgv prints.
func ParseTasks(data []byte) ([]Task, error) {
	var list []struct {
		UPID      string   `json:"upid"`
		Type      string   `json:"type"`
		ID        string   `json:"id"`
		User      string   `json:"user"`
		StartTime looseInt `json:"starttime"`
		EndTime   looseInt `json:"endtime"`
		Status    string   `json:"status"`
	}
	if err := json.Unmarshal(data, &list); err != nil {
		return nil, fmt.Errorf("list of tasks: %w", err)
	}
	tasks := make([]Task, 0, len(list))
	for _, j := range list {
		t := Task{UPID: j.UPID, Type: j.Type, User: j.User, Start: time.Unix(int64(j.StartTime), 0), Status: j.Status}
		t.ID, _ = strconv.Atoi(j.ID) // "" or the name of a storage: about no guest
		if j.EndTime > 0 {
			t.End = time.Unix(int64(j.EndTime), 0)
		}
		tasks = append(tasks, t)
	}
	return tasks, nil
}
