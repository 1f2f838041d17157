package pve

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/tengil/tengil/engine"
)

func FuzzMessages(f *testing.F) {
	type message struct{ Stderr string }
	for _, m := range captured[message](f, "messages.json") {
		f.Add(m.Stderr, "", 255)
	}
	f.Fuzz(func(t *testing.T, stderr, stdout string, exit int) {
		means := Classify(stderr, stdout, exit)
		if exit == 0 && means != nil {
			t.Errorf("a command that succeeded means %v", means)
		}
		err := Explain(&engine.ExitError{Argv: []string{"pct"}, Exit: exit, Stderr: []byte(stderr), Stdout: []byte(stdout)})
		if err.Error() == "" || errors.Is(err, engine.ErrTransient) != errors.Is(means, engine.ErrTransient) {
			t.Errorf("%q is explained as %v, classified as %v", stderr, err, means)
		}
	})
}

// Whatever a node says, its facts are read or refused, and what is read can be
// used in commands.
func FuzzFacts(f *testing.F) {
	f.Add("pve-manager 9.1.7\npve-container 6.1.10\n", "amd64\n", "pve1\n", "4\n", "MemTotal: 1024 kB\n",
		"dir: local\n\tpath /var/lib/vz\n\tcontent vztmpl\n", "tank\t1\t1\tONLINE\n", "DRIVER=i915\nPCI_ID=8086:1\nPCI_SLOT_NAME=0000:00:02.0\n")
	f.Add("", "", "", "", "", "", "", "")
	f.Fuzz(func(t *testing.T, packages, arch, node, cores, memory, storages, pools, card string) {
		out := func(s string) engine.Answer { return engine.Answer{Result: engine.Result{Stdout: []byte(s)}} }
		m := map[string]engine.Answer{}
		for _, q := range FactAsks() {
			m[q.Key()] = engine.NothingThere(q)
		}
		m[packagesAsk().Key()] = out(packages)
		m[engine.AskRun("dpkg", "--print-architecture").Key()] = out(arch)
		m[NodeNameAsk().Key()] = out(node)
		m[engine.AskRun("nproc").Key()] = out(cores)
		m[engine.AskFile(memInfo).Key()] = engine.Answer{Data: []byte(memory)}
		m[engine.AskFile(StorageCfgFile).Key()] = engine.Answer{Data: []byte(storages)}
		m[poolsAsk().Key()] = out(pools)
		m[engine.AskGlob(drmGlob).Key()] = engine.Answer{Files: map[string][]byte{"/sys/class/drm/card0/device/uevent": []byte(card)}}
		facts, err := ParseFacts(engine.NewAnswers(m), engine.Choices{})
		if err != nil {
			return
		}
		if strings.ContainsAny(facts.Node+facts.Arch, " /\n\x00") || facts.Node == "" || facts.Cores < 1 || facts.Memory < 0 {
			t.Errorf("facts are %+v", facts)
		}
		for _, s := range facts.Storages {
			if CheckStorageID(s.Name) != nil {
				t.Errorf("storage %q", s.Name)
			}
		}
		for _, p := range facts.Pools {
			if CheckDataset(p.Name) != nil || p.Size < 0 || p.Free < 0 {
				t.Errorf("pool %+v", p)
			}
		}
		_ = Supported(facts)
		_, _ = GatesOf(facts.Packages)
	})
}

func FuzzOutput(f *testing.F) {
	for _, s := range []string{"directory\n", "/srv\n", "123\n", "0 0 755\n", "0 0 1777 symbolic link\n", "10.0.0.1\n", "\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, out []byte) {
		argv := []string{"x"}
		line, err := OneLine(argv, out)
		if err == nil && (line == "" || strings.ContainsAny(line, "\n\x00")) {
			t.Errorf("line %q of %q", line, out)
		}
		if name, err := ParsePath(argv, out); err == nil && !strings.HasPrefix(name, "/") {
			t.Errorf("path %q of %q", name, out)
		}
		if n, err := ParseFileSize(argv, out); err == nil && n < 0 {
			t.Errorf("size %d of %q", n, out)
		}
		_, _ = ParseFileType(argv, out)
		_, _, _, _ = ParseOwner(argv, out)
		if st, err := ParseFileStat(argv, out); err == nil && fmt.Sprintf("%s %s %s %s\n", st.UID, st.GID, st.Mode, st.Kind) != string(out) {
			t.Errorf("%+v of %q", st, out)
		}
		_, _ = ParseAddresses(out)
		_, _, _ = ParseNextIDRange(out)
		if volumes, err := ParseVolumeList(out); err == nil {
			for _, v := range volumes {
				if _, err := ParseVolID(v.ID); err != nil {
					t.Errorf("volume %q of %q", v.ID, out)
				}
			}
		}
	})
}
