package pve

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tengil/tengil/engine"
)

// Files that tell whether a node works as it should.
const (
	PolicyFile = "/etc/containers/policy.json" // skopeo pulls nothing without
	SubUIDFile = "/etc/subuid"                 // which ids root may map containers to
	SubGIDFile = "/etc/subgid"
	// StoreParent is on the file system of the store of images, and is always there.
	StoreParent = "/var/lib"

	membersFile    = "/etc/pve/.members"
	sshdConfig     = "/etc/ssh/sshd_config"
	sshdConfigGlob = "/etc/ssh/sshd_config.d/*.conf"
	passwdFile     = "/etc/passwd"
)

// The ids that Proxmox VE maps an unprivileged container to.
const (
	firstMappedID = 100000
	mappedIDs     = 65536
)

func clockAsk() engine.Ask { return engine.AskRun("date", "-u", "+%s") }

func syncAsk() engine.Ask {
	return engine.AskRun("timedatectl", "show", "-p", "NTPSynchronized", "--value")
}

func spaceAsk(dir string) engine.Ask { return engine.AskRun("stat", "-f", "-c", "%a %S %i", dir) }

// HealthAsks are the questions about the state of a node, besides FactAsks, whose
// answers the functions of this file read.
func HealthAsks() []engine.Ask {
	return []engine.Ask{
		engine.AskFile(PolicyFile), engine.AskFile(membersFile), engine.AskFile(SubUIDFile), engine.AskFile(SubGIDFile),
		engine.AskFile(sshdConfig), engine.AskGlob(sshdConfigGlob), engine.AskFile(passwdFile),
		clockAsk(), syncAsk(), engine.AskRun("id", "-u"), spaceAsk(StoreParent),
	}
}

// SpaceAsks are the questions about the space of directories; give the answers to
// FreeSpace.
func SpaceAsks(dirs []string) []engine.Ask {
	asks := make([]engine.Ask, len(dirs))
	for i, d := range dirs {
		asks[i] = spaceAsk(d)
	}
	return asks
}

// FreeSpace returns how much may be written to a directory.
func FreeSpace(a *engine.Answers, dir string) (engine.Size, error) {
	free, _, err := fileSystem(a, dir)
	return free, err
}

// SameFileSystem reports whether two directories are known to share their space.
func SameFileSystem(a *engine.Answers, dir, other string) bool {
	_, x, err := fileSystem(a, dir)
	_, y, otherErr := fileSystem(a, other)
	return err == nil && otherErr == nil && x == y
}

// fileSystem returns what is free and the file system's id (statfs(2)).
func fileSystem(a *engine.Answers, dir string) (free engine.Size, id string, err error) {
	ans := a.Get(spaceAsk(dir))
	if ans.Err != nil {
		return 0, "", ans.Err
	}
	var blocks, size int64
	if _, err := fmt.Sscan(string(ans.Result.Stdout), &blocks, &size, &id); err != nil {
		return 0, "", fmt.Errorf("stat -f %s: wanted free blocks, their size and the id of the file system, got %q", dir, ans.Result.Stdout)
	}
	return engine.Size(blocks * size), id, nil
}

// A Cluster is what pmxcfs says of the cluster that a node is in.
type Cluster struct {
	Name    string `json:"name"`
	Nodes   int    `json:"nodes"`
	Quorate int    `json:"quorate"` // 1 if it has a quorum
}

// ClusterOf reads .members; nil is a node of no cluster, which needs no quorum.
func ClusterOf(a *engine.Answers) (*Cluster, error) {
	data, err := a.File(membersFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var members struct {
		Cluster *Cluster `json:"cluster"`
	}
	if err := json.Unmarshal(data, &members); err != nil {
		return nil, fmt.Errorf("%s: %w", membersFile, err)
	}
	return members.Cluster, nil
}

// MapsContainers reports whether a file, SubUIDFile or SubGIDFile, lets root use
// the ids of unprivileged containers (subuid(5)).
func MapsContainers(a *engine.Answers, file string) (bool, error) {
	data, err := a.File(file)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	for line := range strings.Lines(string(data)) {
		f := strings.Split(strings.TrimSpace(line), ":")
		if len(f) != 3 || f[0] != "root" && f[0] != "0" {
			continue
		}
		first, err1 := strconv.ParseInt(f[1], 10, 64)
		count, err2 := strconv.ParseInt(f[2], 10, 64)
		if err1 == nil && err2 == nil && first <= firstMappedID && first+count >= firstMappedID+mappedIDs {
			return true, nil
		}
	}
	return false, nil
}

// NodeTime returns what the node's clock showed, to the second.
func NodeTime(a *engine.Answers) (time.Time, error) {
	ans := a.Get(clockAsk())
	if ans.Err != nil {
		return time.Time{}, ans.Err
	}
	text := strings.TrimSpace(string(ans.Result.Stdout))
	sec, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("date: wanted seconds, got %q", text)
	}
	return time.Unix(sec, 0), nil
}

// ClockFollows reports whether the node's clock is kept right by a time server;
// known is false where nothing tells.
func ClockFollows(a *engine.Answers) (follows, known bool) {
	ans := a.Get(syncAsk())
	text := strings.TrimSpace(string(ans.Result.Stdout))
	return text == "yes", ans.Err == nil && (text == "yes" || text == "no")
}

// UserID returns as whom commands run on the node; "0" is root.
func UserID(a *engine.Answers) (string, error) {
	ans := a.Get(engine.AskRun("id", "-u"))
	return strings.TrimSpace(string(ans.Result.Stdout)), ans.Err
}

// LoginShell returns root's login shell, "" if the node does not say.
func LoginShell(a *engine.Answers) string {
	data, err := a.File(passwdFile)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(data)) {
		if f := strings.Split(strings.TrimSpace(line), ":"); len(f) == 7 && f[0] == "root" {
			return f[6]
		}
	}
	return ""
}

// SSHDOption returns what the files of sshd say of an option for everybody, "" if
// nothing.
func SSHDOption(a *engine.Answers, option string) string {
	main, err := a.File(sshdConfig)
	if err != nil {
		return ""
	}
	included, err := a.Glob(sshdConfigGlob)
	if err != nil {
		included = nil
	}
	return SSHDValue(main, included, option)
}

// SSHDValue finds an option in the main file of sshd and those that Debian's
// includes. As sshd does, it takes the first value; it does not look into Match
// blocks.
func SSHDValue(main []byte, included map[string][]byte, option string) string {
	for line := range strings.Lines(string(main)) {
		key, rest := sshdLine(line)
		switch {
		case key == "match":
			return ""
		case key == "include" && strings.HasPrefix(rest, "/etc/ssh/sshd_config.d/"):
			for _, name := range slices.Sorted(maps.Keys(included)) {
				if value := sshdValue(string(included[name]), option); value != "" {
					return value
				}
			}
		case key == strings.ToLower(option):
			return rest
		}
	}
	return ""
}

func sshdValue(text, option string) string {
	for line := range strings.Lines(text) {
		key, rest := sshdLine(line)
		if key == "match" {
			return ""
		}
		if key == strings.ToLower(option) {
			return rest
		}
	}
	return ""
}

// sshdLine parts a line into its keyword in lower case and the rest.
func sshdLine(line string) (key, rest string) {
	line, _, _ = strings.Cut(strings.TrimSpace(line), "#")
	i := strings.IndexAny(line, " \t=")
	if i < 0 {
		return strings.ToLower(line), ""
	}
	return strings.ToLower(line[:i]), strings.Trim(line[i:], " \t=\"")
}
