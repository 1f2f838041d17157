package pve

import (
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/tengil/tengil/engine"
)

// readGPUs joins what the kernel says about DRM devices with what the NVIDIA
// driver says about its cards. Devices of other vendors (virtio, BMC graphics)
// are no GPUs for a recipe.
func readGPUs(a *engine.Answers, f *engine.Facts) error {
	byPCI := map[string]*engine.GPU{}
	drm, err := a.Glob(drmGlob)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(drm)) {
		if line := firstLine(drm[name]); len(drm[name]) > 0 && !ueventLine.MatchString(line) {
			return fmt.Errorf("%s: wanted lines KEY=VALUE, got %.80q", name, line)
		}
		addDRM(byPCI, path.Base(path.Dir(path.Dir(name))), drm[name])
	}
	nvidia, err := a.Glob(nvidiaGlob)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(nvidia)) {
		if err := addNVIDIA(byPCI, name, nvidia[name]); err != nil {
			return err
		}
	}
	for _, pci := range slices.Sorted(maps.Keys(byPCI)) {
		f.GPUs = append(f.GPUs, *byPCI[pci])
	}
	return nil
}

var ueventLine = regexp.MustCompile(`^[A-Z][A-Z0-9_]*=`)

// addDRM takes the uevent file of a device such as card0 or renderD128;
// connectors (card0-HDMI-A-1) have the same file and are left out.
func addDRM(byPCI map[string]*engine.GPU, device string, uevent []byte) {
	props := map[string]string{}
	for line := range strings.Lines(string(uevent)) {
		k, v, _ := strings.Cut(strings.TrimSpace(line), "=")
		props[k] = v
	}
	id, _, _ := strings.Cut(strings.ToLower(props["PCI_ID"]), ":")
	vendor := map[string]string{"8086": "intel", "1002": "amd", "10de": "nvidia"}[id]
	pci := props["PCI_SLOT_NAME"]
	card := regexp.MustCompile(`^card[0-9]+$`).MatchString(device)
	render := regexp.MustCompile(`^renderD[0-9]+$`).MatchString(device)
	if vendor == "" || pci == "" || !card && !render {
		return
	}
	gpu := byPCI[pci]
	if gpu == nil {
		gpu = &engine.GPU{Vendor: vendor, PCI: pci, Driver: props["DRIVER"]}
		byPCI[pci] = gpu
	}
	if card {
		gpu.Card = device
	} else {
		gpu.Render = device
	}
}

// addNVIDIA takes /proc/driver/nvidia/gpus/PCI/information.
func addNVIDIA(byPCI map[string]*engine.GPU, name string, information []byte) error {
	props := map[string]string{}
	for line := range strings.Lines(string(information)) {
		k, v, _ := strings.Cut(line, ":")
		props[strings.TrimSpace(k)] = strings.TrimSpace(v)
	}
	minor, err := strconv.Atoi(props["Device Minor"])
	if err != nil || minor < 0 {
		return fmt.Errorf("%s: wanted a number for Device Minor, got %q", name, props["Device Minor"])
	}
	pci := strings.ToLower(path.Base(path.Dir(name)))
	gpu := byPCI[pci]
	if gpu == nil {
		gpu = &engine.GPU{Vendor: "nvidia", PCI: pci, Driver: "nvidia"}
		byPCI[pci] = gpu
	}
	gpu.Name = props["Model"]
	gpu.Nodes = []string{fmt.Sprintf("/dev/nvidia%d", minor), "/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools"}
	return nil
}
