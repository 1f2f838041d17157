package pve

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestConfigRoundTripsEveryCapturedFile(t *testing.T) {
	for name, data := range capturedConfigs(t) {
		c, err := ParseConfig(data)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want, got := string(data), string(c.Bytes())
		if !writtenByPVE(want) {
			want, got = sortedLines(want), sortedLines(got)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if diff := cmp.Diff(c.Bytes(), c.Clone().Bytes()); diff != "" {
			t.Errorf("%s: clone differs:\n%s", name, diff)
		}
	}
}

// writtenByPVE tells files that Config.pm wrote from those that were edited by
// hand, or whose image smuggled blanks or line breaks in: options and environment
// stand before raw lines, and no line ends in a blank.
func writtenByPVE(conf string) bool {
	main, _, _ := strings.Cut(conf, "\n[")
	raw := false
	for line := range strings.Lines(main) {
		isRaw := strings.HasPrefix(line, "lxc.") && !strings.HasPrefix(line, EnvKey+":")
		if raw && !isRaw || strings.TrimRight(line, " \t\r\n")+"\n" != line {
			return false
		}
		raw = raw || isRaw
	}
	return true
}

func sortedLines(conf string) string {
	var lines []string
	for line := range strings.Lines(conf) {
		lines = append(lines, strings.TrimRight(line, " \t\r\n"))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// TestConfigRewritesAsPVE has as input a file edited by hand and as wanted
// output what "pct set --memory 514" made of it. Captured: pve-container 6.1.10, 2026-11-23.
func TestConfigRewritesAsPVE(t *testing.T) {
	in := "# by hand\narch: amd64\nhostname: w\nmemory: 513\nrootfs: local-zfs:subvol-101-disk-0,size=1G\n" +
		"lxc.environment.runtime: PATH=/bin:/sbin\nlxc.init.cwd: /www\nfoo: bar\nlxc.nosuch: 1\nmy-key: 2\nlxc.cap.drop: sys_time\n#at the end\n"
	want := "# by hand\n#at the end\narch: amd64\nfoo: bar\nhostname: w\nmemory: 514\nrootfs: local-zfs:subvol-101-disk-0,size=1G\n" +
		"lxc.environment.runtime: PATH=/bin:/sbin\nlxc.init.cwd: /www\nlxc.cap.drop: sys_time\n"
	wantWarnings := []string{
		"unable to parse value of 'foo' - unknown setting 'foo'",
		"unable to parse config: lxc.nosuch: 1",
		"unable to parse config: my-key: 2",
	}
	c, err := ParseConfig([]byte(in))
	if err != nil {
		t.Fatal(err)
	}
	c.Options["memory"] = "514"
	if diff := cmp.Diff(want, string(c.Bytes())); diff != "" {
		t.Errorf("file (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(wantWarnings, c.Warnings); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"lxc.nosuch: 1", "my-key: 2"}, c.Unknown); diff != "" {
		t.Errorf("unknown lines (-want +got):\n%s", diff)
	}
}

// Captured: pve-container 6.1.10, 2026-11-23: --description and the lines it left.
func TestDescriptionIsWrittenAsPVE(t *testing.T) {
	for _, c := range []struct{ name, description, lines string }{
		{"one line", "one line", "#one line\n"},
		{"a trailing newline is not a line", "two\nlines\n", "#two\n#lines\n"},
		{"leading blank lines stay", "\n\nblank first", "#\n#\n#blank first\n"},
		{"trailing newlines are cut", "trailing blank \n\n", "#trailing blank \n"},
		{"percent, colon, 8-bit and tab are encoded", "100% : # é ☃ \t tab \"q\" 'q' \\ back", "#100%25 %3A # %C3%A9 %E2%98%83 %09 tab \"q\" 'q' \\ back\n"},
		{"JSON", `{"a": 1, "b": ["x:y", "%41"], "owner": "cell"}`, `#{"a"%3A 1, "b"%3A ["x%3Ay", "%2541"], "owner"%3A "cell"}` + "\n"},
		{"what looks like other lines", "# heading\n#no blank\nkey: value\n[section]\n", "## heading\n##no blank\n#key%3A value\n#[section]\n"},
		{"carriage returns", "\r\nwindows\r\n", "#%0D\n#windows%0D\n"},
		{"nothing", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			conf := NewConfig()
			conf.Description = c.description
			if got := string(conf.Bytes()); got != c.lines {
				t.Errorf("lines are %q, want %q", got, c.lines)
			}
			back, err := ParseConfig([]byte(c.lines))
			if err != nil {
				t.Fatal(err)
			}
			want := strings.TrimRight(c.description, "\n")
			if want != "" {
				want += "\n"
			}
			if back.Description != want {
				t.Errorf("description read back is %q, want %q", back.Description, want)
			}
		})
	}
}

func TestConfigHelpers(t *testing.T) {
	c, err := ParseConfig([]byte("lock: create\nmp0: /a,mp=/a\nmp10: /c,mp=/c\nmp3: /b,mp=/b\nmp03: x\ntags: tengil;immich\n" +
		"lxc.signal.halt: SIGINT\n\n[pve:pending]\ndelete: env,!unused0\nmemory: 1024\nlxc.environment.runtime: A=1\n\n[s1]\nmemory: 1\nsnaptime: 17\n"))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]any{
		"lock": c.Lock(), "tags": c.Tags(), "mp": c.Indexed("mp"), "net": c.Indexed("net"), "halt": c.RawValue("lxc.signal.halt"),
		"pending": c.Pending, "delete": c.PendingDelete, "pending env": c.PendingEnv, "has": c.HasPending(), "snapshot": c.Snapshots[0].Name,
	}
	want := map[string]any{
		"lock": "create", "tags": []string{"tengil", "immich"}, "mp": []int{0, 3, 10}, "net": []int(nil), "halt": "SIGINT",
		"pending": map[string]string{"memory": "1024"}, "delete": map[string]bool{"env": false, "unused0": true},
		"pending env": []string{"A=1"}, "has": true, "snapshot": "s1",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestOddSections(t *testing.T) {
	c, err := ParseConfig([]byte("memory: 1\ndelete: env\n\n[s1]\nmemory: 2\n\n[a1]\nmemory: 4\n\n[s1]\nmemory: 3\n\n[odd:one]\ncores: 1\n"))
	if err != nil {
		t.Fatal(err)
	}
	// The second s1 wins; a header that PVE does not know ends no section.
	want := "memory: 1\n\n[a1]\nmemory: 4\n\n[s1]\ncores: 1\nmemory: 3\n"
	if diff := cmp.Diff(want, string(c.Bytes())); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	warnings := []string{"property 'delete' is only allowed in [pve:pending]", "unable to parse config: [odd:one]"}
	if diff := cmp.Diff(warnings, c.Warnings); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
	if _, err := ParseConfig([]byte("memory: 1\x00")); err == nil {
		t.Error("a file with a NUL byte passes")
	}
}

func TestEmptyValues(t *testing.T) {
	c, err := ParseConfig([]byte("tags: \nmemory:\n"))
	if err != nil {
		t.Fatal(err)
	}
	// "pct set --tags ''" leaves the first line (captured: pve-container 6.1.10, 2026-11-23).
	if got, want := string(c.Bytes()), "tags: \n"; got != want {
		t.Errorf("written as %q, want %q", got, want)
	}
	if diff := cmp.Diff([]string{"unable to parse config: memory:"}, c.Warnings); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
}

func TestCloneSharesNothing(t *testing.T) {
	c, err := ParseConfig([]byte("memory: 1\nlxc.environment.runtime: A=1\n\n[s1]\nmemory: 1\n"))
	if err != nil {
		t.Fatal(err)
	}
	before := string(c.Bytes())
	d := c.Clone()
	d.Options["memory"], d.Env[0], d.Snapshots[0].Options["memory"], d.Pending["cores"] = "2", "B=2", "2", "1"
	if got := string(c.Bytes()); got != before {
		t.Errorf("a change of the clone changed the original to %q", got)
	}
}

func FuzzConfig(f *testing.F) {
	for _, data := range capturedConfigs(f) {
		f.Add(string(data))
	}
	f.Add("tags: \n#x%zz%41\n[a]\n[pve:pending]\ndelete: !a,b\n[pve:pending]\nlxc.a = 1\nlxc.environment.runtime:\n")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := ParseConfig([]byte(text))
		if err != nil {
			return
		}
		once := c.Bytes()
		again, err := ParseConfig(once)
		if err != nil {
			t.Fatalf("own output is refused: %v", err)
		}
		if diff := cmp.Diff(string(once), string(again.Bytes())); diff != "" {
			t.Errorf("second writing differs (-first +second):\n%s", diff)
		}
	})
}
