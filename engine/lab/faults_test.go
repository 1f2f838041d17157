package lab

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

// ssh runs a command line over SSH, each time with a connection of its own.
func (l *guestLab) ssh(command string) (outcome, error) {
	l.t.Helper()
	var out, errs bytes.Buffer
	exit, err := Shell(l.t.Context(), l.Endpoint(), command, strings.NewReader(""), &out, &errs)
	return outcome{exit, out.String(), errs.String()}, err
}

func TestFaultsSpoilOutput(t *testing.T) {
	t.Parallel()
	l := newGuestLab(t)
	whole := l.must("zfs", "list")
	tests := []struct {
		name  string
		fault Fault
		want  outcome
	}{
		{"cut off", Fault{Do: Truncate, Bytes: 7}, outcome{Stdout: whole[:7]}},
		{"longer than what there is", Fault{Do: Truncate, Bytes: 1 << 20}, outcome{Stdout: whole}},
		{"of another kind", Fault{Do: Replace, Text: "{\"a\":"}, outcome{Stdout: "{\"a\":"}},
		{"waited for", Fault{Do: Pause, For: time.Millisecond}, outcome{Stdout: whole}},
		{"waited for, then failed", Fault{For: time.Millisecond, Exit: 3, Stderr: "no\n"}, outcome{Exit: 3, Stderr: "no\n"}},
	}
	for _, tt := range tests {
		tt.fault.Prefix = []string{"zfs", "list"}
		l.Fault(tt.fault)
		if got := l.run("zfs", "list"); got != tt.want {
			t.Errorf("%s: got %+v, want %+v", tt.name, got, tt.want)
		}
		if got := l.must("zfs", "list"); got != whole {
			t.Errorf("%s: the second time: %q", tt.name, got)
		}
	}
}

func TestFaultsRepeat(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name       string
		nth, times int
		want       string // of six runs
		pending    int    // after them
	}{
		{"once", 0, 0, "x-----", 0},
		{"the third time", 3, 0, "--x---", 0},
		{"twice from the second on", 2, 2, "-xx---", 0},
		{"for ever from the fourth on", 4, Forever, "---xxx", 0},
		{"not yet", 7, 0, "------", 1},
		{"for ever but not yet", 7, Forever, "------", 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := newGuestLab(t)
			l.Fault(Fault{Prefix: []string{"true"}, Nth: tt.nth, Times: tt.times})
			got := ""
			for range 6 {
				got += map[bool]string{true: "-", false: "x"}[l.run("true").Exit == 0]
			}
			if got != tt.want || l.Pending() != tt.pending {
				t.Errorf("got %s with %d pending, want %s with %d", got, l.Pending(), tt.want, tt.pending)
			}
		})
	}
}

func TestFaultsOfRequests(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		fault Fault
		want  outcome
		cut   bool
		ran   bool
	}{
		{"fails before", Fault{Exit: 4, Stderr: "no\n"}, outcome{Exit: 4, Stderr: "no\n"}, false, false},
		{"fails after", Fault{When: After, Exit: 4}, outcome{Exit: 4, Stdout: "said\n"}, false, true},
		{"is cut before", Fault{Do: Cut}, outcome{}, true, false},
		{"is cut after", Fault{Do: Cut, When: After}, outcome{}, true, true},
		{"loses output", Fault{Do: Truncate, Bytes: 2}, outcome{Stdout: "sa"}, false, true},
		{"is another's", Fault{Prefix: []string{"nothing like it"}}, outcome{Stdout: "said\n"}, false, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := newGuestLab(t)
			tt.fault.Of = Requests
			if tt.fault.Prefix == nil {
				tt.fault.Prefix = []string{"echo said"}
			}
			l.Fault(tt.fault)
			got, err := l.ssh("touch /root/ran && echo said")
			if tt.cut != (err != nil) {
				t.Fatalf("got %+v, %v; want cut: %v", got, err, tt.cut)
			}
			if !tt.cut && got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
			if ran := l.run("test", "-e", "/root/ran").Exit == 0; ran != tt.ran {
				t.Errorf("it ran: %v, want %v", ran, tt.ran)
			}
		})
	}
}

func TestFaultsOfFiles(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		fault   Fault
		command string
		want    outcome
	}{
		{"a read fails", Fault{Of: Reads}, "cat /srv/f", outcome{1, "", "cat: /srv/f: Input/output error\n"}},
		{"a read by a pattern", Fault{Of: Reads, Prefix: []string{"/srv/*"}}, "cat /srv/f", outcome{1, "", "cat: /srv/f: Input/output error\n"}},
		{"a read that is short", Fault{Of: Reads, Do: Truncate, Bytes: 3}, "cat /srv/f", outcome{Stdout: "con"}},
		{"a read of something else", Fault{Of: Reads, Do: Replace, Text: "[]"}, "head -c 100 /srv/f", outcome{Stdout: "[]"}},
		{"a write of the shell fails", Fault{Of: Writes}, "echo new > /srv/f", outcome{1, "", "sh: 1: /srv/f: Input/output error\n"}},
		{"a write of a program fails", Fault{Of: Writes}, "echo new | tee /srv/f >/dev/null", outcome{1, "", "tee: /srv/f: Input/output error\n"}},
		{"another's file", Fault{Of: Reads, Prefix: []string{"/srv/g"}}, "cat /srv/f", outcome{Stdout: "content\n"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := newGuestLab(t)
			l.must("sh", "-c", "echo content > /srv/f")
			if tt.fault.Prefix == nil {
				tt.fault.Prefix = []string{"/srv/f"}
			}
			l.Fault(tt.fault)
			if got := l.run("sh", "-c", tt.command); got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
			if got := l.must("cat", "/srv/f"); got != "content\n" {
				t.Errorf("the file holds %q", got)
			}
		})
	}
}

func TestSomebodyElseIsFasterOrSlower(t *testing.T) {
	t.Parallel()
	lock := []string{"sh", "-c", "f=/etc/pve/lxc/101.conf; { echo lock: backup; cat $f; } >$f.new && mv $f.new $f"}
	away := []string{"sh", "-c", "d=/etc/pve/nodes; mkdir -p $d/pve2/lxc && mv $d/pve/lxc/101.conf $d/pve2/lxc/101.conf"}
	tests := []struct {
		name  string
		fault Fault
		run   []string
		want  outcome
		conf  string // what the config tells then, "" if it is gone
	}{
		{
			"who changes it before", Fault{Argv: []string{"pct", "set", "101", "--memory", "999"}},
			[]string{"pct", "set", "101", "--cores", "1"}, outcome{}, "memory: 999",
		},
		{
			"who changes it after", Fault{When: After, Argv: []string{"pct", "set", "101", "--memory", "999"}},
			[]string{"pct", "set", "101", "--memory", "64"}, outcome{}, "memory: 999",
		},
		{
			"who removes it", Fault{Argv: []string{"pct", "destroy", "101"}},
			[]string{"pct", "set", "101", "--cores", "1"}, outcome{2, "", "Configuration file 'nodes/pve/lxc/101.conf' does not exist\n"}, "",
		},
		{
			"who saves it", Fault{Argv: lock},
			[]string{"pct", "set", "101", "--cores", "1"}, outcome{255, "", "CT is locked (backup)\n"}, "lock: backup",
		},
		{
			"who migrates it", Fault{Argv: away},
			[]string{"pct", "start", "101"}, outcome{255, "", "Configuration file 'nodes/pve/lxc/101.conf' does not exist\n"}, "",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := newGuestLab(t)
			l.must("pct", "create", "101", "local:vztmpl/web_latest.tar", "--rootfs", "local-zfs:1", "--ostype", "unmanaged", "--hostname", "web")
			tt.fault.Do, tt.fault.Prefix = Meddle, tt.run[:2]
			l.Fault(tt.fault)
			if got := l.run(tt.run...); got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
			conf := l.run("cat", "/etc/pve/lxc/101.conf")
			if (conf.Exit == 0) != (tt.conf != "") || !strings.Contains(conf.Stdout, tt.conf) {
				t.Errorf("config: %+v, want %q", conf, tt.conf)
			}
		})
	}
}

func TestBadFaultsAreRefused(t *testing.T) {
	t.Parallel()
	l := newGuestLab(t)
	tests := []struct {
		fault Fault
		want  string
	}{
		{Fault{Do: Pause}, "pause needs to know for how long"},
		{Fault{Do: Meddle}, "meddle needs to know what to run"},
		{Fault{Argv: []string{"true"}}, "only meddle runs something, fail does not"},
		{Fault{Of: Requests, When: During}, "there is no during for a request"},
		{Fault{Of: Reads, When: After}, "a fault of a read comes before it"},
		{Fault{Nth: -1}, "a number is too small: nth -1"},
	}
	for _, tt := range tests {
		argv, err := tt.fault.AddArgv()
		if err != nil {
			t.Fatal(err)
		}
		if got := l.run(argv...); got.Exit != 1 || !strings.Contains(got.Stderr, tt.want) {
			t.Errorf("%v: got %+v, want %q", tt.fault, got, tt.want)
		}
	}
	if got := l.run(FaultProgram, "add", `{"do":"explode"}`); got.Exit != 1 || !strings.Contains(got.Stderr, `"explode" is none of fail, cut`) {
		t.Errorf("an unknown effect: %+v", got)
	}
	if n := l.Pending(); n != 0 {
		t.Errorf("%d faults were taken", n)
	}
}
