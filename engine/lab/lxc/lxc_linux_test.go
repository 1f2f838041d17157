package lxc

import "testing"

func TestReasonsAreThoseOfAStartInTheForeground(t *testing.T) {
	const log = `lxc-start 104 20261124131126.233 ERROR    start - ../src/lxc/start.c:start:2197 - No such file or directory - Failed to exec "/bin/x: y"
lxc-start 104 20261124131126.233 ERROR    sync - ../src/lxc/sync.c:sync_wait:34 - An error occurred in another process (expected sequence number 7)
lxc-start 104 20261124131126.233 ERROR    lxccontainer - ../src/lxc/lxccontainer.c:wait_on_daemonized_start:878 - Received container state "ABORTING" instead of "RUNNING"
lxc-start 104 20261124131126.234 ERROR    lxc_start - ../src/lxc/tools/lxc_start.c:main:306 - The container failed to start
something else
`
	const want = "start: 2197 No such file or directory - Failed to exec \"/bin/x: y\"\n" +
		"sync_wait: 34 An error occurred in another process (expected sequence number 7)\n"
	if got := reasons(log); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestTheLabsCgroupIsBesideItsStarters(t *testing.T) {
	for text, want := range map[string]string{
		"0::/user.slice/user-1000.slice/session-3.scope\n": "/user.slice/user-1000.slice",
		"1:name=systemd:/x\n0::/system.slice/a.service\n":  "/system.slice",
		"0::/\n": "/",
		"":       "/",
	} {
		if got := cgroupBeside(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
