package gpu

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tengil/tengil/engine"
)

func cards() (intel, amd, nvidia, reserved engine.GPU) {
	return engine.GPU{Vendor: "intel", Name: "UHD 770", PCI: "0000:00:02.0", Driver: "i915", Card: "card0", Render: "renderD128"},
		engine.GPU{Vendor: "amd", PCI: "0000:03:00.0", Driver: "amdgpu", Card: "card1", Render: "renderD129"},
		engine.GPU{Vendor: "nvidia", Name: "RTX 4000", PCI: "0000:01:00.0", Driver: "nvidia", Nodes: []string{"/dev/nvidia0", "/dev/nvidiactl"}},
		engine.GPU{Vendor: "amd", PCI: "0000:04:00.0", Driver: "vfio-pci"}
}

func TestChoose(t *testing.T) {
	intel, amd, nvidia, reserved := cards()
	for _, tt := range []struct {
		name  string
		want  string
		index int
		gpus  []engine.GPU
		pci   string // "" for none
		says  string
	}{
		{"auto without a GPU attaches nothing", "auto", 0, nil, "", "no GPU on pve"},
		{"auto prefers open drivers", "auto", 0, []engine.GPU{nvidia, amd}, amd.PCI, "number 0 of 2"},
		{"auto passes over a card that a virtual machine holds", "auto", 0, []engine.GPU{reserved}, "", "vfio-pci"},
		{"a vendor is insisted on", "nvidia", 0, []engine.GPU{intel, nvidia}, nvidia.PCI, "RTX 4000"},
		{"none is none", "none", 0, []engine.GPU{intel}, "", "as the recipe says"},
		{"the index counts what fits", "auto", 1, []engine.GPU{nvidia, intel}, nvidia.PCI, "number 1 of 2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, why, err := choose(tt.want, tt.index, &engine.Facts{Node: "pve", GPUs: tt.gpus})
			if err != nil {
				t.Fatal(err)
			}
			pci := ""
			if got != nil {
				pci = got.PCI
			}
			if pci != tt.pci {
				t.Errorf("want the card at %q, got %q", tt.pci, pci)
			}
			if !strings.Contains(why, tt.says) {
				t.Errorf("want a reason with %q, got %q", tt.says, why)
			}
		})
	}
}

func TestChooseRefuses(t *testing.T) {
	intel, _, _, reserved := cards()
	for _, tt := range []struct {
		name  string
		want  string
		index int
		gpus  []engine.GPU
		says  string
	}{
		{"a vendor that is not there", "amd", 0, []engine.GPU{intel}, "no amd GPU on pve; it has: intel UHD 770"},
		{"a vendor whose card has no device nodes", "amd", 0, []engine.GPU{reserved}, "driver vfio-pci"},
		{"an index beyond the last", "auto", 2, []engine.GPU{intel}, "has 1 that fit"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := choose(tt.want, tt.index, &engine.Facts{Node: "pve", GPUs: tt.gpus})
			if err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("want an error with %q, got %v", tt.says, err)
			}
		})
	}
}

func TestDevicesAreNamedBySlot(t *testing.T) {
	intel, _, _, _ := cards()
	var got []string
	for _, d := range devicesOf(intel) {
		got = append(got, d.path+" "+d.alias)
	}
	want := []string{
		"/dev/dri/by-path/pci-0000:00:02.0-card /dev/dri/card0",
		"/dev/dri/by-path/pci-0000:00:02.0-render /dev/dri/renderD128",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("devices (-want +got):\n%s", diff)
	}
}

func TestParseGroups(t *testing.T) {
	got := parseGroups([]byte("root:x:0:\nrender:x:104:\nvideo:x:44:app\nrender:x:999:\nbroken\nbig:x:70000:\nminus:x:-1:\nx:y:z:\n:x:5:"))
	want := map[string]int{"root": 0, "render": 104, "video": 44, "": 5}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("groups (-want +got):\n%s", diff)
	}
}

func FuzzParseGroups(f *testing.F) {
	f.Add("render:x:104:\n")
	f.Fuzz(func(t *testing.T, s string) {
		for name, gid := range parseGroups([]byte(s)) {
			if gid < 0 || gid > 65535 {
				t.Errorf("group %q has id %d", name, gid)
			}
		}
	})
}
