package pve

import (
	"io/fs"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tengil/tengil/engine"
)

// answersOf are answers with one file, and nothing else there.
func answersOf(file, content string) *engine.Answers {
	all := map[string]engine.Answer{}
	for _, q := range HealthAsks() {
		all[q.Key()] = engine.NothingThere(q)
	}
	all[engine.AskFile(file).Key()] = engine.Answer{Data: []byte(content)}
	return engine.NewAnswers(all)
}

func TestMapsContainers(t *testing.T) {
	for _, tt := range []struct {
		name, file string
		want       bool
	}{
		{"as Debian has it", "root:100000:65536\n", true},
		{"by number, among others", "ben:165536:65536\n0:100000:65536\n", true},
		{"more than that", "root:65536:1000000\n", true},
		{"too few", "root:100000:65535\n", false},
		{"they begin later", "root:100001:65536\n", false},
		{"of another user", "ben:100000:65536\n", false},
		{"commented out", "#root:100000:65536\n", false},
		{"no number", "root:many:65536\n", false},
		{"empty", "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := MapsContainers(answersOf(SubUIDFile, tt.file), SubUIDFile)
			if err != nil || got != tt.want {
				t.Errorf("got %v, %v, want %v", got, err, tt.want)
			}
		})
	}
	if got, err := MapsContainers(answersOf("/x", ""), SubGIDFile); got || err != nil {
		t.Errorf("without the file: got %v, %v", got, err)
	}
}

func TestClusterOf(t *testing.T) {
	for _, tt := range []struct {
		name, file string
		want       *Cluster
		fails      bool
	}{
		{"a node alone", `{"nodename": "pve", "version": 0}`, nil, false},
		{"a cluster", `{"nodename": "a", "cluster": {"name": "home", "version": 3, "nodes": 3, "quorate": 1}}`, &Cluster{"home", 3, 1}, false},
		{"no JSON", `{`, nil, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ClusterOf(answersOf(membersFile, tt.file))
			if diff := cmp.Diff(tt.want, got); diff != "" || (err != nil) != tt.fails {
				t.Errorf("%v, (-want +got):\n%s", err, diff)
			}
		})
	}
}

func TestSSHDOption(t *testing.T) {
	for _, tt := range []struct{ name, main, more, want string }{
		{"nothing is said", "Port 22\n#MaxSessions 2\n", "", ""},
		{"in the main file", "\tmaxsessions=3 # few\n", "", "3"},
		{"the first counts", "MaxSessions 3\nMaxSessions 4\n", "", "3"},
		{"what is included stands where the line is", "Include /etc/ssh/sshd_config.d/*.conf\nMaxSessions 3\n", "MaxSessions 5\n", "5"},
		{"what is not included does not count", "MaxSessions 3\n", "MaxSessions 5\n", "3"},
		{"not in a Match block", "Match User ben\n  MaxSessions 1\n", "", ""},
		{"nor in that of an included file", "Include /etc/ssh/sshd_config.d/*.conf\n", "Match User ben\nMaxSessions 1\n", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := engine.NewAnswers(map[string]engine.Answer{
				engine.AskFile(sshdConfig).Key():     {Data: []byte(tt.main)},
				engine.AskGlob(sshdConfigGlob).Key(): {Files: map[string][]byte{"/etc/ssh/sshd_config.d/a.conf": []byte(tt.more)}},
			})
			if got := SSHDOption(a, "MaxSessions"); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
	if got := SSHDOption(engine.NewAnswers(map[string]engine.Answer{engine.AskFile(sshdConfig).Key(): {Err: fs.ErrNotExist}}), "Port"); got != "" {
		t.Errorf("without a file: %q", got)
	}
}

func TestClocksSpaceAndShell(t *testing.T) {
	said := func(q engine.Ask, out string) *engine.Answers {
		return engine.NewAnswers(map[string]engine.Answer{q.Key(): {Result: engine.Result{Stdout: []byte(out)}}})
	}
	if got, err := NodeTime(said(clockAsk(), "1770000000\n")); err != nil || !got.Equal(time.Unix(1770000000, 0)) {
		t.Errorf("time: %v, %v", got, err)
	}
	if _, err := NodeTime(said(clockAsk(), "noon\n")); err == nil {
		t.Error("noon is no time")
	}
	for out, want := range map[string][2]bool{"yes\n": {true, true}, "no\n": {false, true}, "": {false, false}} {
		if follows, known := ClockFollows(said(syncAsk(), out)); [2]bool{follows, known} != want {
			t.Errorf("%q: got %v, %v", out, follows, known)
		}
	}
	if got, err := FreeSpace(said(spaceAsk("/x"), "1000 4096 ab\n"), "/x"); err != nil || got != 4096000 {
		t.Errorf("space: %v, %v", got, err)
	}
	if _, err := FreeSpace(said(spaceAsk("/x"), "much\n"), "/x"); err == nil {
		t.Error("much is no space")
	}
	if got := LoginShell(answersOf(passwdFile, "daemon:x:1:1::/:/usr/sbin/nologin\nroot:x:0:0:root:/root:/usr/bin/fish\n")); got != "/usr/bin/fish" {
		t.Errorf("shell: %q", got)
	}
}

func TestOldPackages(t *testing.T) {
	with := func(container, rs string) map[string]string {
		return map[string]string{"pve-container": container, "libpve-rs-perl": rs}
	}
	for _, tt := range []struct {
		container, rs string
		want          []string // NAME WANT, ! for grave
	}{
		{"6.1.10", "0.11.4", nil},
		{"6.1.4", "0.11.4", []string{"pve-container 6.1.6"}},
		{"6.0.18", "0.11.4", []string{"pve-container 6.1.0", "pve-container 6.1.6"}},
		{"6.0.19", "0.11.3", []string{"pve-container 6.1.1!", "libpve-rs-perl 0.11.4!", "pve-container 6.1.0", "pve-container 6.1.2", "pve-container 6.1.6"}},
	} {
		var got []string
		for _, o := range OldPackages(with(tt.container, tt.rs)) {
			text := o.Name + " " + o.Want
			if o.Grave {
				text += "!"
			}
			got = append(got, text)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s, %s (-want +got):\n%s", tt.container, tt.rs, diff)
		}
	}
}
