package pve_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tengil/tengil/engine/pve"
)

func TestParseTasks(t *testing.T) {
	got, err := pve.ParseTasks([]byte(`[
		{"upid":"UPID:pve:1:2:3:vzstart:101:root@pam:","node":"pve","pid":1,"pstart":2,"starttime":1000,"endtime":1003,"type":"vzstart","id":"101","user":"root@pam","status":"OK"},
		{"upid":"b","starttime":"1001","endtime":1002,"type":"vzcreate","id":"102","user":"ben@pve","status":"unable to create CT 102"},
		{"upid":"c","starttime":1004,"type":"aptupdate","id":"","user":"root@pam"},
		{"upid":"d","starttime":1004,"endtime":1005,"type":"vzstart","id":"103","user":"root@pam","status":"WARNINGS: 1"}]`))
	if err != nil {
		t.Fatal(err)
	}
	want := []pve.Task{
		{UPID: "UPID:pve:1:2:3:vzstart:101:root@pam:", Type: "vzstart", ID: 101, User: "root@pam", Start: time.Unix(1000, 0), End: time.Unix(1003, 0), Status: "OK"},
		{UPID: "b", Type: "vzcreate", ID: 102, User: "ben@pve", Start: time.Unix(1001, 0), End: time.Unix(1002, 0), Status: "unable to create CT 102"},
		{UPID: "c", Type: "aptupdate", User: "root@pam", Start: time.Unix(1004, 0)},
		{UPID: "d", Type: "vzstart", ID: 103, User: "root@pam", Start: time.Unix(1004, 0), End: time.Unix(1005, 0), Status: "WARNINGS: 1"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for i, failed := range []bool{false, true, false, false} {
		if got[i].Failed() != failed {
			t.Errorf("%q failed: %v", got[i].Status, !failed)
		}
	}
	if _, err := pve.ParseTasks([]byte("no json")); err == nil {
		t.Error("wanted an error")
	}
}
