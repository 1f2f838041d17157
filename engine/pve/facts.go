package pve

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/tengil/tengil/engine"
)

// StorageCfgFile lists the storages of a cluster.
const StorageCfgFile = "/etc/pve/storage.cfg"

const (
	bridgeGlob = "/sys/class/net/*/bridge/bridge_id"
	drmGlob    = "/sys/class/drm/*/device/uevent"
	nvidiaGlob = "/proc/driver/nvidia/gpus/*/information"
	memInfo    = "/proc/meminfo"
)

func packagesAsk() engine.Ask {
	return engine.AskRun("dpkg-query", "-W", "-f", `${Package} ${Version}\n`, "pve-manager", "pve-container",
		"libpve-storage-perl", "libpve-rs-perl", "lxc-pve", "skopeo", "zfsutils-linux")
}

func poolsAsk() engine.Ask {
	return engine.AskRun("zpool", "list", "-Hp", "-o", "name,size,free,health")
}

// FactAsks are the questions whose answers ParseFacts reads. The guest list of
// the cluster is among them, for those who ask for it afterwards.
func FactAsks() []engine.Ask {
	return []engine.Ask{
		packagesAsk(),
		engine.AskRun("dpkg", "--print-architecture"),
		NodeNameAsk(),
		engine.AskRun("nproc"),
		engine.AskFile(memInfo),
		engine.AskFile(StorageCfgFile),
		engine.AskFile(VMListFile),
		engine.AskGlob(bridgeGlob),
		engine.AskGlob(drmGlob),
		engine.AskGlob(nvidiaGlob),
		poolsAsk(),
	}
}

// ParseFacts makes a node's facts out of the answers to FactAsks. Choices that
// are given win, and must exist; docs/hosts.md says how the others are made.
func ParseFacts(a *engine.Answers, want engine.Choices) (*engine.Facts, error) {
	f := &engine.Facts{}
	for _, read := range []func(*engine.Answers, *engine.Facts) error{
		readPackages, readNames, readSizes, readStorages, readPools, readBridges, readGPUs,
	} {
		if err := read(a, f); err != nil {
			return nil, &engine.Error{Err: err, Hint: engine.HintOf(err)} // which shortens what it repeats
		}
	}
	def, err := choose(f, want)
	if err != nil {
		return nil, err
	}
	f.Default = def
	return f, nil
}

func readPackages(a *engine.Answers, f *engine.Facts) error {
	ans := a.Get(packagesAsk())
	var exit *engine.ExitError
	// With a package that it does not know, dpkg-query prints the others and exits with 1.
	if ans.Err != nil && (!errors.As(ans.Err, &exit) || len(ans.Result.Stdout) == 0) {
		return ans.Err
	}
	lines, err := wholeLines(packagesAsk().Argv(), ans.Result.Stdout)
	if err != nil {
		return err
	}
	f.Packages = map[string]string{}
	for _, line := range lines {
		name, version, ok := strings.Cut(strings.TrimSpace(line), " ")
		if ok && version != "" {
			f.Packages[name] = version
		}
	}
	manager := f.Packages["pve-manager"]
	if manager == "" {
		return fmt.Errorf("dpkg-query: wanted the version of pve-manager among others, got %.80q; is this a Proxmox VE node?", ans.Result.Stdout)
	}
	for name, version := range f.Packages {
		if !debianVersion.MatchString(version) {
			return fmt.Errorf("dpkg-query: wanted the version of %s, got %.80q", name, version)
		}
	}
	parts := strings.SplitN(manager, ".", 3)
	f.PVE = strings.Join(parts[:min(2, len(parts))], ".")
	return nil
}

// debianVersion is a version as deb-version(7) has it.
var debianVersion = regexp.MustCompile(`^([0-9]+:)?[0-9][A-Za-z0-9.+~-]*$`)

func readNames(a *engine.Answers, f *engine.Facts) error {
	arch, err := word(a, "dpkg", "--print-architecture")
	if err != nil {
		return err
	}
	if f.Node, err = NodeName(a); err != nil {
		return err
	}
	if !slices.Contains([]string{"amd64", "arm64", "riscv64"}, arch) {
		return fmt.Errorf("dpkg --print-architecture: wanted amd64, arm64 or riscv64, got %.80q", arch)
	}
	f.Arch = arch
	return nil
}

// NodeNameAsk asks for the name of the node that answers.
func NodeNameAsk() engine.Ask { return engine.AskRun("uname", "-n") }

// NodeName reads the answer to NodeNameAsk: the name that the node has in its cluster.
func NodeName(a *engine.Answers) (string, error) {
	long, err := word(a, NodeNameAsk().Argv()...)
	if err != nil {
		return "", err
	}
	short, _, _ := strings.Cut(long, ".") // the cluster uses the short one
	if !nodeName().MatchString(short) {
		return "", fmt.Errorf("uname -n: wanted the name of a node, got %.80q", long)
	}
	return short, nil
}

// nodeName is what PVE takes as the name of a node (pve-node in JSONSchema.pm).
var nodeName = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?$`)
})

// word returns the only word that a command printed, on a whole line.
func word(a *engine.Answers, argv ...string) (string, error) {
	r, err := a.Run(argv...)
	if err != nil {
		return "", err
	}
	line, err := OneLine(argv, r.Stdout)
	if err != nil || strings.ContainsAny(line, " \t") {
		return "", wanted(argv, "one word", r.Stdout)
	}
	return line, nil
}

func readSizes(a *engine.Answers, f *engine.Facts) error {
	cores, err := word(a, "nproc")
	if err != nil {
		return err
	}
	if f.Cores, err = strconv.Atoi(cores); err != nil || f.Cores < 1 {
		return fmt.Errorf("nproc: wanted a number of cores, got %.80q", cores)
	}
	data, err := a.File(memInfo)
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(line)
		if len(fields) >= 2 && fields[0] == "MemTotal:" {
			n, err := strconv.ParseInt(fields[1], 10, 50)
			if err != nil {
				return fmt.Errorf("%s: wanted a number of kB for MemTotal, got %q", memInfo, fields[1])
			}
			f.Memory = engine.Size(n) * engine.KiB
			return nil
		}
	}
	return fmt.Errorf("%s: wanted a line MemTotal, got %.80q", memInfo, firstLine(data))
}

func readStorages(a *engine.Answers, f *engine.Facts) error {
	data, err := a.File(StorageCfgFile)
	if errors.Is(err, fs.ErrNotExist) {
		// Without the file PVE has its built-in storage "local" (Storage.pm).
		data, err = []byte("dir: local\n\tpath /var/lib/vz\n\tcontent images,rootdir,vztmpl,iso,backup,snippets\n"), nil
	}
	if err != nil {
		return err
	}
	f.Storages, err = ParseStorageCfg(data)
	return err
}

func readPools(a *engine.Answers, f *engine.Facts) error {
	ans := a.Get(poolsAsk())
	if WithoutZFS(ans.Err) {
		return nil
	}
	if ans.Err != nil {
		return ans.Err
	}
	lines, err := wholeLines(poolsAsk().Argv(), ans.Result.Stdout)
	if err != nil {
		return err
	}
	for _, text := range lines {
		fields := strings.Split(text, "\t")
		if len(fields) != 4 {
			return fmt.Errorf("zpool list: wanted name, size, free and health, got %.80q", text)
		}
		if err := CheckDataset(fields[0]); err != nil {
			return fmt.Errorf("zpool list: wanted the name of a pool: %w", err)
		}
		size, err1 := ParseSize(fields[1])
		free, err2 := ParseSize(fields[2])
		if err := errors.Join(err1, err2); err != nil {
			return fmt.Errorf("zpool list: pool %q: %w", fields[0], err)
		}
		f.Pools = append(f.Pools, engine.Pool{Name: fields[0], Size: size, Free: free, Health: fields[3]})
	}
	return nil
}

// WithoutZFS reports whether the error of a zfs or zpool command says that the
// program is missing or has no kernel module, so that the node has no datasets.
func WithoutZFS(err error) bool {
	var exit *engine.ExitError
	if !errors.As(err, &exit) {
		return false
	}
	return exit.Exit == 127 || bytes.Contains(exit.Stderr, []byte("ZFS modules"))
}

func readBridges(a *engine.Answers, f *engine.Facts) error {
	files, err := a.Glob(bridgeGlob)
	if err != nil {
		return err
	}
	for name := range files {
		bridge := path.Base(path.Dir(path.Dir(name)))
		// PVE makes a bridge fwbrIDiN for each interface with a firewall.
		if !strings.HasPrefix(bridge, "fwbr") {
			f.Bridges = append(f.Bridges, bridge)
		}
	}
	slices.Sort(f.Bridges)
	return nil
}

func firstLine(data []byte) string {
	line, _, _ := strings.Cut(string(data), "\n")
	return line
}
