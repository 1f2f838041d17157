package pve

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/tengil/tengil/engine"
)

// Captured: pve-storage 9.1.1, 2026-11-23.
const storageCfg = "dir: local\n\tpath /var/lib/vz\n\tcontent iso,vztmpl,backup,import\n\n" +
	"zfspool: local-zfs\n\tpool rpool/data\n\tsparse\n\tcontent images,rootdir\n\n"

// node returns the answers of a node with two pools and an Intel and a NVIDIA GPU.
func node() map[string]engine.Answer {
	run := func(out string) engine.Answer { return engine.Answer{Result: engine.Result{Stdout: []byte(out)}} }
	file := func(text string) engine.Answer { return engine.Answer{Data: []byte(text)} }
	intel := []byte("DRIVER=i915\nPCI_CLASS=30000\nPCI_ID=8086:46A6\nPCI_SUBSYS_ID=1043:1A30\nPCI_SLOT_NAME=0000:00:02.0\nMODALIAS=pci:v00008086\n")
	bmc := []byte("DRIVER=ast\nPCI_ID=1A03:2000\nPCI_SLOT_NAME=0000:05:00.0\n")
	m := map[string]engine.Answer{
		packagesAsk().Key(): run("libpve-rs-perl 0.11.4\nlibpve-storage-perl 9.1.1\nlxc-pve 6.0.5-3\npve-container 6.1.10\npve-manager 9.1.7\nskopeo 1.18.0+ds1-1+b5\n"),
		engine.AskRun("dpkg", "--print-architecture").Key(): run("amd64\n"),
		NodeNameAsk().Key():                  run("pve1\n"),
		engine.AskRun("nproc").Key():         run("8\n"),
		engine.AskFile(memInfo).Key():        file("MemTotal:       32768000 kB\nMemFree:  1 kB\n"),
		engine.AskFile(StorageCfgFile).Key(): file(storageCfg),
		engine.AskFile(VMListFile).Key():     file(`{"version":1,"ids":{}}`),
		poolsAsk().Key():                     run("rpool\t16642998272\t16642322432\tONLINE\ntank\t16642998272\t6642404352\tONLINE\n"),
		engine.AskGlob(bridgeGlob).Key(): {Files: map[string][]byte{
			"/sys/class/net/vmbr1/bridge/bridge_id": nil, "/sys/class/net/vmbr0/bridge/bridge_id": nil, "/sys/class/net/fwbr101i0/bridge/bridge_id": nil,
		}},
		engine.AskGlob(drmGlob).Key(): {Files: map[string][]byte{
			"/sys/class/drm/card1/device/uevent": intel, "/sys/class/drm/renderD128/device/uevent": intel,
			"/sys/class/drm/card1-HDMI-A-1/device/uevent": intel, "/sys/class/drm/card0/device/uevent": bmc,
		}},
		engine.AskGlob(nvidiaGlob).Key(): {Files: map[string][]byte{
			"/proc/driver/nvidia/gpus/0000:01:00.0/information": []byte("Model: \t\t NVIDIA GeForce RTX 3060\nIRQ:   \t\t 160\nBus Location: \t 0000:01:00.0\nDevice Minor: \t 0\n"),
		}},
	}
	return m
}

func TestParseFacts(t *testing.T) {
	for _, q := range FactAsks() {
		if _, ok := node()[q.Key()]; !ok {
			t.Errorf("the test's node does not answer %q", q)
		}
	}
	got, err := ParseFacts(engine.NewAnswers(node()), engine.Choices{Nameserver: "9.9.9.9"})
	if err != nil {
		t.Fatal(err)
	}
	want := &engine.Facts{
		Node: "pve1", Arch: "amd64", PVE: "9.1", Cores: 8, Memory: 32768000 * engine.KiB,
		Packages: map[string]string{"libpve-rs-perl": "0.11.4", "libpve-storage-perl": "9.1.1", "lxc-pve": "6.0.5-3",
			"pve-container": "6.1.10", "pve-manager": "9.1.7", "skopeo": "1.18.0+ds1-1+b5"},
		Pools: []engine.Pool{{Name: "rpool", Size: 16642998272, Free: 16642322432, Health: "ONLINE"}, {Name: "tank", Size: 16642998272, Free: 6642404352, Health: "ONLINE"}},
		Storages: []engine.Storage{
			{Name: "local", Type: "dir", Content: []string{"iso", "vztmpl", "backup", "import"}, Path: "/var/lib/vz"},
			{Name: "local-zfs", Type: "zfspool", Content: []string{"images", "rootdir"}, Pool: "rpool/data"},
		},
		Bridges: []string{"vmbr0", "vmbr1"},
		GPUs: []engine.GPU{
			{Vendor: "intel", PCI: "0000:00:02.0", Driver: "i915", Card: "card1", Render: "renderD128"},
			{Vendor: "nvidia", Name: "NVIDIA GeForce RTX 3060", PCI: "0000:01:00.0", Driver: "nvidia",
				Nodes: []string{"/dev/nvidia0", "/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools"}},
		},
		Default: engine.Choices{Pool: "tank", Storage: "local-zfs", Templates: "local", Bridge: "vmbr0", Nameserver: "9.9.9.9"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestTheNameOfANodeIsThatOfItsCluster(t *testing.T) {
	for printed, want := range map[string]string{"pve1\n": "pve1", "pve1.example.com\n": "pve1", "p\n": "p", "pve1": "", "\n": "", ".lan\n": "", "../x\n": "", "pve 1\n": ""} {
		a := engine.NewAnswers(map[string]engine.Answer{NodeNameAsk().Key(): {Result: engine.Result{Stdout: []byte(printed)}}})
		if got, err := NodeName(a); got != want || (err == nil) != (want != "") {
			t.Errorf("%q is node %q, %v; want %q", printed, got, err, want)
		}
	}
}

func TestFactsAreTheSameEachTime(t *testing.T) {
	first := ""
	for range 20 {
		f, err := ParseFacts(engine.NewAnswers(node()), engine.Choices{})
		if err != nil {
			t.Fatal(err)
		}
		data, err := json.Marshal(f)
		if err != nil {
			t.Fatal(err)
		}
		if first == "" {
			first = string(data)
		}
		if string(data) != first {
			t.Fatalf("facts are %s, before they were %s", data, first)
		}
	}
}

func TestParseFactsRefuses(t *testing.T) {
	out := func(text string) engine.Answer { return engine.Answer{Result: engine.Result{Stdout: []byte(text)}} }
	for _, c := range []struct {
		name   string
		ask    engine.Ask
		answer engine.Answer
		want   string
	}{
		{"a machine without Proxmox", packagesAsk(), out("skopeo 1.0\n"), "is this a Proxmox VE node?"},
		{"a lost connection", packagesAsk(), engine.Answer{Err: fmt.Errorf("connection lost")}, "connection lost"},
		{"a garbled architecture", engine.AskRun("dpkg", "--print-architecture"), out("motd: hello\namd64\n"), `dpkg --print-architecture: wanted one word, got "motd: hello\namd64\n"`},
		{"a garbled name", NodeNameAsk(), out("-x.lan\n"), `uname -n: wanted the name of a node, got "-x.lan"`},
		{"a garbled number of cores", engine.AskRun("nproc"), out("many\n"), `nproc: wanted a number of cores, got "many"`},
		{"no memory", engine.AskFile(memInfo), engine.Answer{Data: []byte("x\n")}, `/proc/meminfo: wanted a line MemTotal, got "x"`},
		{"a garbled pool", poolsAsk(), out("tank 1 2\n"), `zpool list: wanted name, size, free and health, got "tank 1 2"`},
		{"a garbled storage.cfg", engine.AskFile(StorageCfgFile), engine.Answer{Data: []byte("dir local\n")}, `storage.cfg: line 1 is "dir local"; wanted TYPE: NAME`},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := node()
			m[c.ask.Key()] = c.answer
			_, err := ParseFacts(engine.NewAnswers(m), engine.Choices{})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error is %v, want one with %q", err, c.want)
			}
		})
	}
}

func TestFactsOfABareNode(t *testing.T) {
	m := node()
	exit := func(code int, stderr string) engine.Answer {
		return engine.Answer{Err: &engine.ExitError{Exit: code, Stderr: []byte(stderr)}}
	}
	m[poolsAsk().Key()] = exit(127, "zpool: not found")
	m[engine.AskFile(StorageCfgFile).Key()] = engine.Answer{Err: &fs.PathError{Op: "read", Path: StorageCfgFile, Err: fs.ErrNotExist}}
	packages := m[packagesAsk().Key()] // one package is not installed
	packages.Err = &engine.ExitError{Exit: 1, Stdout: packages.Result.Stdout}
	m[packagesAsk().Key()] = packages
	for _, glob := range []string{bridgeGlob, drmGlob, nvidiaGlob} {
		m[engine.AskGlob(glob).Key()] = engine.Answer{Files: map[string][]byte{}}
	}
	f, err := ParseFacts(engine.NewAnswers(m), engine.Choices{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(engine.Choices{Storage: "local", Templates: "local"}, f.Default); diff != "" {
		t.Errorf("choices (-want +got):\n%s", diff)
	}
	m[poolsAsk().Key()] = exit(1, "cannot open 'x': I/O error")
	if _, err := ParseFacts(engine.NewAnswers(m), engine.Choices{}); err == nil {
		t.Error("a zpool that fails passes for a node without pools")
	}
}

func TestChoicesMustExist(t *testing.T) {
	for _, c := range []struct {
		name   string
		choice engine.Choices
		want   string
	}{
		{"pool", engine.Choices{Pool: "nosuch"}, `pve1 has no pool "nosuch"; it has "rpool", "tank"`},
		{"storage without rootdir", engine.Choices{Storage: "local"}, `pve1 has no storage for root file systems "local"; it has "local-zfs"`},
		{"storage without vztmpl", engine.Choices{Templates: "local-zfs"}, `it has "local"`},
		{"bridge", engine.Choices{Bridge: "vmbr9"}, `pve1 has no bridge "vmbr9"; it has "vmbr0", "vmbr1"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := ParseFacts(engine.NewAnswers(node()), c.choice)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error is %v, want one with %q", err, c.want)
			}
		})
	}
	f, err := ParseFacts(engine.NewAnswers(node()), engine.Choices{Pool: "rpool", Bridge: "vmbr1"})
	if err != nil || f.Default.Pool != "rpool" || f.Default.Bridge != "vmbr1" {
		t.Errorf("choices are %+v, %v", f, err)
	}
}

func TestStorageOfOtherNodesIsNotChosen(t *testing.T) {
	m := node()
	m[engine.AskFile(StorageCfgFile).Key()] = engine.Answer{Data: []byte(
		"# comment\nzfspool: there\n\tpool t\n\tcontent rootdir\n\tnodes pve2,pve3\n\nlvmthin: off\n\tcontent rootdir\n\tdisable\n\n" +
			"dir: here\n\tpath /x\n\tcontent rootdir,vztmpl\n\tnodes pve1\n\nzfspool: zfs\n\tpool tank/ct\n")}
	f, err := ParseFacts(engine.NewAnswers(m), engine.Choices{})
	if err != nil {
		t.Fatal(err)
	}
	if f.Default.Storage != "zfs" || f.Default.Templates != "here" {
		t.Errorf("chose %+v", f.Default)
	}
	m[engine.AskFile(StorageCfgFile).Key()] = engine.Answer{Data: []byte("zfspool: there\n\tpool t\n\tcontent rootdir\n\tnodes pve2\n")}
	if f, err = ParseFacts(engine.NewAnswers(m), engine.Choices{}); err != nil || f.Default.Storage != "" {
		t.Errorf("chose %+v, %v", f.Default, err)
	}
}
