package sshhost

import "testing"

func TestTargets(t *testing.T) {
	for in, want := range map[string]target{
		"pve1":                 {host: "pve1"},
		"root@pve1":            {user: "root", host: "pve1"},
		"root@10.0.0.1:2222":   {user: "root", host: "10.0.0.1", port: "2222"},
		"ssh://admin@pve1:22/": {user: "admin", host: "pve1", port: "22"},
		"ssh://[fd00::1]:2222": {host: "fd00::1", port: "2222"},
		"fd00::1":              {host: "fd00::1"},
	} {
		got, err := parseTarget(in)
		if err != nil || got != want {
			t.Errorf("%q is %+v, %v; want %+v", in, got, err, want)
		}
	}
	for _, in := range []string{"", "-oProxyCommand=x", "root@", "@pve1", "ssh://u:p@pve1", "ssh://pve1/path", "a b"} {
		if got, err := parseTarget(in); err == nil {
			t.Errorf("%q is taken as %+v", in, got)
		}
	}
}
