package lab

import (
	"encoding/json"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

// changeMuch changes every part of a lab's state, and takes some of it back.
func changeMuch(t *testing.T, l *guestLab) {
	t.Helper()
	for _, line := range []string{
		"zfs create -p tank/a/b", "zfs set quota=1G tank/a", "zfs snapshot tank/a@s", "zfs create tank/gone", "zfs destroy tank/gone",
		"zfs rename tank/a tank/z", "touch /root/f /tank/z/f", "chown 5:5 /root/f /tank/z/f", "chmod 0600 /root/f", "rm /tank/z/f",
		"pct create 100 " + webTemplate + " --rootfs local-zfs:1 --ostype unmanaged --hostname one --net0 name=eth0,bridge=vmbr0,ip=dhcp",
		"pct start 100", "pct exec 100 -- true", "pct resize 100 rootfs +1G",
	} {
		l.must(strings.Fields(line)...)
	}
	if o := l.run("systemd-run", "--unit", "kept", "-q", "--wait", "false"); o.Exit == 0 {
		t.Error("the unit did not fail, and is kept by nobody")
	}
}

// sameState fails the test if what a lab came up with is not what it had.
func sameState(t *testing.T, got, want string) {
	t.Helper()
	if got != want {
		a, b := unlike([]byte(got), []byte(want))
		t.Errorf("it comes up with\n%s\nand had\n%s", a, b)
	}
}

// asJSON is all that a state says.
func asJSON(t *testing.T, s *state) string {
	t.Helper()
	data, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// killed returns the state that a lab killed now would come up with, whose files
// are changed first.
func killed(t *testing.T, l *guestLab, change func(dir string)) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{stateFile(""), journalPath("")} {
		data, err := os.ReadFile(l.node.dir + "/" + name)
		if err == nil {
			err = os.WriteFile(dir+"/"+name, data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	change(dir)
	s, err := loadState(dir)
	if err != nil {
		t.Fatal(err)
	}
	return asJSON(t, &s)
}

func appendTo(t *testing.T, name, text string) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestAKilledLabKnowsWhatItDid(t *testing.T) {
	t.Parallel()
	l := newGuestLab(t)
	changeMuch(t, l)
	before, err := os.ReadFile(journalPath(l.node.dir))
	if err != nil || len(before) == 0 {
		t.Fatalf("the journal has %d bytes, %v", len(before), err)
	}
	want := asJSON(t, &l.node.state)
	tests := []struct {
		name   string
		change func(dir string)
	}{
		{"as it is", func(string) {}},
		{"while it wrote", func(dir string) { appendTo(t, journalPath(dir), `{"datasets":{"tank":null`) }},
		{"while it wrote the end", func(dir string) { appendTo(t, journalPath(dir), `{"datasets":{"tank":null}}`) }},
		{"while it wrote all anew", func(dir string) {
			if err := os.WriteFile(stateFile(dir), []byte(want), 0o600); err != nil {
				t.Fatal(err)
			}
		}},
		{"after that", func(dir string) {
			if err := os.WriteFile(stateFile(dir), []byte(want), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(journalPath(dir), 0); err != nil {
				t.Fatal(err)
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			sameState(t, killed(t, l, tt.change), want)
		})
	}
}

func TestADamagedJournalIsNamed(t *testing.T) {
	t.Parallel()
	l := newGuestLab(t)
	l.must("zfs", "create", "tank/a")
	dir := t.TempDir()
	if err := os.WriteFile(stateFile(dir), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(journalPath(dir), []byte("{}\nno\n{}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := loadState(dir); err == nil || !strings.Contains(err.Error(), "state.journal\": line 2") {
		t.Errorf("got %v", err)
	}
}

func TestALongJournalIsWrittenAnew(t *testing.T) {
	t.Parallel()
	l := newGuestLab(t)
	l.must("zfs", "create", "tank/a")
	l.node.saver.mu.Lock()
	l.node.saver.limit = 1
	l.node.saver.mu.Unlock()
	l.must("zfs", "create", "tank/b")
	if fi, err := os.Stat(journalPath(l.node.dir)); err != nil || fi.Size() != 0 {
		t.Errorf("the journal is %v, %v; want it empty", fi, err)
	}
	l.must("zfs", "create", "tank/c")
	sameState(t, killed(t, l, func(string) {}), asJSON(t, &l.node.state))
}

func TestAClosedLabHasNoJournal(t *testing.T) {
	t.Parallel()
	l := newGuestLab(t)
	changeMuch(t, l)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(journalPath(l.node.dir)); !os.IsNotExist(err) {
		t.Errorf("the journal: %v", err)
	}
	s, err := loadState(l.node.dir)
	if err != nil {
		t.Fatal(err)
	}
	sameState(t, asJSON(t, &s), asJSON(t, &l.node.state))
}

func TestWhatCannotBeWrittenIsWrittenLater(t *testing.T) {
	t.Parallel()
	l := newGuestLab(t)
	l.node.saver.mu.Lock()
	good := l.node.saver.journal
	l.node.saver.journal, _ = os.Open(os.DevNull) // not for writing
	bad := l.node.saver.journal
	l.node.saver.mu.Unlock()
	l.must("zfs", "create", "tank/a")
	l.node.saver.mu.Lock()
	l.node.saver.journal = good
	l.node.saver.mu.Unlock()
	if err := bad.Close(); err != nil {
		t.Error(err)
	}
	l.must("zfs", "create", "tank/b")
	sameState(t, killed(t, l, func(string) {}), asJSON(t, &l.node.state))
}

func TestCloseTellsOfAChangeThatWasNotNoted(t *testing.T) {
	t.Parallel()
	l, err := Open(t.Context(), Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	l.node.mu.Lock()
	l.node.state.ZFS.Datasets.get("tank").Props["quota"] = "12345" // not by edit
	l.node.mu.Unlock()
	if err := l.Close(); err == nil || !strings.Contains(err.Error(), "12345") {
		t.Errorf("got %v", err)
	}
}

func TestTableKnowsItsChanges(t *testing.T) {
	t.Parallel()
	var a, b table[string, int]
	a.put("x", 1)
	a.put("y", 2)
	a.put("z", 3)
	a.drop("y")
	a.drop("none")
	p := a.changes()
	if got := slices.Sorted(maps.Keys(p)); !slices.Equal(got, []string{"x", "y", "z"}) || p["y"] != nil || *p["z"] != 3 {
		t.Errorf("changed: %v", p)
	}
	if again := a.changes(); len(again) != 0 {
		t.Errorf("changed since: %v", again)
	}
	b.put("y", 9)
	b.apply(p)
	if !maps.Equal(a.entries, b.entries) {
		t.Errorf("got %v, want %v", b.entries, a.entries)
	}
}

func TestOwnersBelowADirectory(t *testing.T) {
	t.Parallel()
	var o ownerTable
	for _, name := range []string{"/a", "/a/b", "/a/b/c", "/a-b", "/a.b", "/ab", "/b", "/"} {
		o.put(name, owner{UID: len(name)})
	}
	o.drop("/a/b/c")
	o.put("/a/d", owner{})
	for dir, want := range map[string][]string{
		"/a": {"/a", "/a/b", "/a/d"}, "/a/b": {"/a/b"}, "/b": {"/b"}, "/c": nil, "/a/b/c": nil,
		"/": {"/", "/a", "/a-b", "/a.b", "/a/b", "/a/d", "/ab", "/b"},
	} {
		if got := o.within(dir); !slices.Equal(got, want) {
			t.Errorf("within %s: %v, want %v", dir, got, want)
		}
	}
}
