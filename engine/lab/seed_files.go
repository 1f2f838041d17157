package lab

import (
	"fmt"

	"github.com/tengil/tengil/engine/pve"
)

// freshDirs are the directories of a fresh node that hold none of freshFiles.
func freshDirs() []string {
	return []string{
		"/etc/pve/nodes/" + nodeName + "/lxc", "/etc/pve/nodes/" + nodeName + "/qemu-server",
		"/etc/cron.d", "/etc/pve/priv", "/etc/pve/ha", "/etc/pve/sdn", "/etc/pve/firewall",
		"/var/lib/vz/template/cache", "/var/lib/vz/template/iso", "/var/lib/vz/dump", "/var/lib/vz/images",
		"/var/lib/lxc", "/var/log/pve/tasks", "/var/log/lxc", "/var/cache", "/var/tmp",
		"/run/lock/lxc", "/run/lock/pve-manager", "/run/pve", "/run/lxc", "/run/containers",
		"/root", "/tmp", "/mnt", "/media", "/srv", "/opt", "/home", "/usr/bin", "/usr/sbin", "/usr/lib", "/usr/local/bin",
		"/dev/shm", "/dev/pts",
	}
}

// freshLinks are the symbolic links of a fresh node.
func freshLinks() map[string]string {
	return map[string]string{
		"/etc/pve/local":       "nodes/" + nodeName,
		"/etc/pve/lxc":         "nodes/" + nodeName + "/lxc",
		"/etc/pve/qemu-server": "nodes/" + nodeName + "/qemu-server",
		"/var/run":             "/run",
		"/var/lock":            "/run/lock",
		"/bin":                 "usr/bin",
		"/sbin":                "usr/sbin",
		"/lib":                 "usr/lib",
	}
}

// freshFiles are the files of a fresh node that tengil, or who looks around on
// it, reads.
func freshFiles() map[string]string {
	return map[string]string{
		"/etc/hostname":    nodeName + "\n",
		"/etc/hosts":       "127.0.0.1 localhost.localdomain localhost\n10.10.10.1 " + nodeName + ".lab.local " + nodeName + "\n",
		"/etc/resolv.conf": "search lab.local\nnameserver 10.10.10.1\n",
		// Debian's golang-github-containers-common; skopeo refuses to work without it.
		"/etc/containers/policy.json": "{\n    \"default\": [\n        {\n            \"type\": \"insecureAcceptAnything\"\n        }\n    ],\n    \"transports\": {\"docker-daemon\": {\"\": [{\"type\": \"insecureAcceptAnything\"}]}}\n}\n",
		"/etc/os-release":             "PRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\nNAME=\"Debian GNU/Linux\"\nVERSION_ID=\"13\"\nID=debian\n",
		"/etc/timezone":               "Etc/UTC\n",
		"/etc/passwd":                 "root:x:0:0:root:/root:/bin/bash\nwww-data:x:33:33:www-data:/var/www:/usr/sbin/nologin\n",
		"/etc/ssh/sshd_config":        "Include /etc/ssh/sshd_config.d/*.conf\nPermitRootLogin yes\nKbdInteractiveAuthentication no\nUsePAM yes\n",
		"/etc/subuid":                 "root:100000:65536\n",
		"/etc/subgid":                 "root:100000:65536\n",
		"/etc/network/interfaces": "auto lo\niface lo inet loopback\n\niface nic0 inet manual\n\n" +
			"auto vmbr0\niface vmbr0 inet static\n\taddress 10.10.10.1/24\n\tbridge-ports nic0\n\tbridge-stp off\n\tbridge-fd 0\n",
		pve.FstabFile:                           "# <file system> <mount point> <type> <options> <dump> <pass>\nproc /proc proc defaults 0 0\n",
		"/etc/pve/datacenter.cfg":               "keyboard: en-us\n",
		"/etc/pve/user.cfg":                     "user:root@pam:1:0:::root@localhost::\n",
		"/sys/class/net/vmbr0/bridge/bridge_id": "8000.bc2411f0a1b2\n",
		"/sys/class/net/vmbr0/address":          "bc:24:11:f0:a1:b2\n",
		"/sys/class/net/lo/address":             "00:00:00:00:00:00\n",
		"/proc/sys/kernel/hostname":             nodeName + "\n",
		"/proc/sys/kernel/osrelease":            kernelRelease + "\n",
		pve.MountsFile:                          "",
		"/proc/loadavg":                         "0.16 0.07 0.40 1/312 20417\n",
		"/proc/meminfo": "MemTotal:       32798112 kB\nMemFree:        21023840 kB\nMemAvailable:   27340444 kB\n" +
			"Buffers:          102876 kB\nCached:          2263112 kB\nSwapTotal:             0 kB\nSwapFree:              0 kB\n",
		"/dev/null": "", "/dev/zero": "", "/dev/random": "", "/dev/urandom": "", "/dev/tty": "", "/dev/full": "",
		"/dev/kvm": "", "/dev/fuse": "", "/dev/net/tun": "",
	}
}

// plainRegistries is the registries.conf of a fresh node whose containers run for
// real: what the machine itself serves needs no TLS.
const plainRegistries = "[[registry]]\nlocation = \"127.0.0.1\"\ninsecure = true\n[[registry]]\nlocation = \"localhost\"\ninsecure = true\n"

// storageName is the storage that Options.Storage means.
func storageName(option string) string {
	if option == "" {
		return "zfs"
	}
	return option
}

// storageCfg is the storage.cfg of a fresh node.
func storageCfg(option string) (string, error) {
	const local = "dir: local\n\tpath /var/lib/vz\n\tcontent iso,vztmpl,backup,import"
	switch storageName(option) {
	case "zfs":
		return local + "\n\nzfspool: local-zfs\n\tpool rpool/data\n\tsparse\n\tcontent images,rootdir\n\n", nil
	case "dir":
		return local + ",images,rootdir\n\n", nil
	case "lvmthin":
		return local + "\n\nlvmthin: local-lvm\n\tthinpool data\n\tvgname " + volumeGroup + "\n\tcontent rootdir,images\n\n", nil
	}
	return "", fmt.Errorf("no storage %q: there are zfs, dir and lvmthin", option)
}

// kernelRelease is what uname -r says.
const kernelRelease = "6.17.13-2-pve"

// gpuName is the GPU that Options.GPU means.
func gpuName(option string) string {
	if option == "" {
		return "intel"
	}
	return option
}

// gpuFiles are the files by which a node shows its GPU.
func gpuFiles(option string) (map[string]string, error) {
	switch gpuName(option) {
	case "none":
		return map[string]string{}, nil
	case "intel":
		return drmFiles("0000:00:02.0", "i915", "8086:46D1"), nil
	case "amd":
		return drmFiles("0000:06:00.0", "amdgpu", "1002:1638"), nil
	case "nvidia":
		files := drmFiles("0000:01:00.0", "nvidia", "10DE:2504")
		for _, dev := range []string{"nvidia0", "nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-modeset"} {
			files["/dev/"+dev] = ""
		}
		files["/proc/driver/nvidia/version"] = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.95.05  Tue Sep 23 10:11:16 UTC 2025\n"
		files["/proc/driver/nvidia/gpus/0000:01:00.0/information"] = "Model: \t\t NVIDIA GeForce RTX 3060\n" +
			"IRQ:   \t\t 162\nGPU UUID: \t GPU-6f0b1c52-6d0f-4f4e-9d6a-3f6f0e4a2b11\nVideo BIOS: \t 94.06.25.00.8d\n" +
			"Bus Type: \t PCIe\nDMA Size: \t 47 bits\nDMA Mask: \t 0x7fffffffffff\nBus Location: \t 0000:01:00.0\n" +
			"Device Minor: \t 0\nGPU Firmware: \t 580.95.05\nGPU Excluded:\t No\n"
		return files, nil
	}
	return nil, fmt.Errorf("no GPU %q: there are intel, amd, nvidia and none", option)
}

// drmFiles are what the kernel shows of one graphics card with one monitor.
func drmFiles(slot, driver, id string) map[string]string {
	uevent := fmt.Sprintf("DRIVER=%s\nPCI_CLASS=30000\nPCI_ID=%s\nPCI_SUBSYS_ID=0000:0000\nPCI_SLOT_NAME=%s\n", driver, id, slot)
	return map[string]string{
		"/sys/class/drm/card0/device/uevent":      uevent,
		"/sys/class/drm/renderD128/device/uevent": uevent,
		// A connector's "device" is its card, not the PCI device.
		"/sys/class/drm/card0-HDMI-A-1/device/uevent": "MAJOR=226\nMINOR=0\nDEVNAME=dri/card0\nDEVTYPE=drm_minor\n",
		"/sys/class/drm/version":                      "drm 1.1.0 20060810\n",
		"/dev/dri/card0":                              "",
		"/dev/dri/renderD128":                         "",
		// Links on a real node (systemd's 60-drm.rules); here they are devices too.
		"/dev/dri/by-path/pci-" + slot + "-card":   "",
		"/dev/dri/by-path/pci-" + slot + "-render": "",
	}
}
