package lab

import (
	"strings"
	"testing"
)

// Programs refuse options that they do not have, and those that are not modelled.
func TestProgramsRefuseWhatTheyDoNotKnow(t *testing.T) {
	l := newGuestLab(t)
	for line := range strings.Lines(`ls --colour /
ls -Z /
ls -t /
id -z
id nobody-here
nproc --max
nproc 2
uname -Q
pveversion --all
setsid -f true
nohup -x true
date -r /etc/hosts
lxc-info -n 100 -p
lxc-info --all
curl -Z http://10.10.10.5/
stat -Z /
readlink -Z /
find / -size 1
touch -d now /tmp/x
sort -k2
wc -w /etc/hosts
`) {
		if o := l.run(strings.Fields(line)...); o.Exit == 0 || o.Stderr == "" || o.Stdout != "" {
			t.Errorf("%s: %+v; wanted a refusal", line, o)
		}
	}
}

func TestProgramsOfContainersRefuseWhatTheyDoNotKnow(t *testing.T) {
	l := newGuestLab(t)
	l.must("skopeo", "copy", "docker://docker.io/library/alpine:3.22", "oci-archive:/var/lib/vz/template/cache/alpine.tar")
	l.must("pct", "create", "101", "local:vztmpl/alpine.tar", "--rootfs", "local-zfs:1", "--hostname", "box", "--ostype", "unmanaged")
	l.must("pct", "start", "101")
	inside := func(line string) outcome {
		return l.run(append([]string{"pct", "exec", "101", "--"}, strings.Fields(line)...)...)
	}
	for line := range strings.Lines(`ls --colour /
ls -t /
cat -x /etc/hosts
hostname -z
hostname other
id -Z
sleep --for 1
touch -d now /tmp/x
mkdir -m 700 /tmp/x
rm --all /tmp/x
stat /etc/hosts
stat -c %s /none
grep -z a /etc/hosts
ps -Z
test -Q /etc/hosts
test a like b
getent --all hosts
getent none
getent
`) {
		if o := inside(line); o.Exit == 0 || o.Stderr == "" || o.Stdout != "" {
			t.Errorf("%s: %+v; wanted a refusal", line, o)
		}
	}
	for line, want := range map[string]string{
		"getent passwd root": "root:x:0:0:", "getent passwd 0": "root:x:0:0:", "getent group 0": "root:x:0:",
		"stat -c %u:%g /etc": "0:0", "id -u": "0", "id -un": "root", "ps": "\n    1 root      0:00 /", "ls -d /etc": "/etc\n",
	} {
		if o := inside(line); o.Exit != 0 || !strings.Contains(o.Stdout, want) {
			t.Errorf("%s: %+v; wanted %q", line, o, want)
		}
	}
	for line, want := range map[string]int{
		"getent passwd nobody-here": 2, "test ! -e /none": 0, "test ! -e /etc": 1, "test -L /etc": 1, "test -d /etc": 0, "test a != b": 0, "test a": 0,
	} {
		if o := inside(line); o.Exit != want {
			t.Errorf("%s: %+v; wanted status %d", line, o, want)
		}
	}
}
