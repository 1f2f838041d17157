package pve

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// A Guest is one container as the API lists it: an entry of /nodes/N/lxc.
type Guest struct {
	ID       int
	Name     string // hostname
	Status   string // "running", "stopped"
	Lock     string
	Tags     []string
	Uptime   int64 // seconds
	PID      int
	Template bool
}

// Running reports whether the status is "running".
func (g Guest) Running() bool { return g.Status == "running" }

type guestJSON struct {
	VMID     looseInt `json:"vmid"`
	Name     string   `json:"name"`
	Status   string   `json:"status"`
	Lock     string   `json:"lock"`
	Tags     string   `json:"tags"`
	Uptime   looseInt `json:"uptime"`
	PID      looseInt `json:"pid"`
	Template looseInt `json:"template"`
}

func (j guestJSON) guest() Guest {
	return Guest{
		ID: int(j.VMID), Name: j.Name, Status: j.Status, Lock: j.Lock, Tags: ParseTags(j.Tags),
		Uptime: int64(j.Uptime), PID: int(j.PID), Template: j.Template != 0,
	}
}

// ParseGuestList reads what "pvesh get /nodes/N/lxc --output-format json"
// prints, sorted by id.
func ParseGuestList(data []byte) ([]Guest, error) {
	var list []guestJSON
	if err := json.Unmarshal(data, &list); err != nil {
		return nil, fmt.Errorf("pvesh get …/lxc: wanted a list of containers: %w", err)
	}
	if list == nil {
		return nil, errors.New("pvesh get …/lxc: wanted a list of containers, got null")
	}
	out := make([]Guest, 0, len(list))
	for _, j := range list {
		if j.VMID <= 0 {
			return nil, fmt.Errorf("pvesh get …/lxc: vmid is %d; wanted a positive number", j.VMID)
		}
		out = append(out, j.guest())
	}
	slices.SortFunc(out, func(a, b Guest) int { return a.ID - b.ID })
	return out, nil
}

// ParseAddresses reads what "lxc-info -n ID -iH" prints: one address a line.
func ParseAddresses(out []byte) ([]netip.Addr, error) {
	var addrs []netip.Addr
	for line := range strings.Lines(string(out)) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		a, err := netip.ParseAddr(line)
		if err != nil {
			return nil, fmt.Errorf("lxc-info: wanted an address on each line, got %.80q", line)
		}
		addrs = append(addrs, a)
	}
	return addrs, nil
}

// Reachable returns the address under which others reach a container: the first
// IPv4, else the first IPv6 one; loopback and link-local addresses do not count.
func Reachable(addrs []netip.Addr) (netip.Addr, bool) {
	var six netip.Addr
	for _, a := range addrs {
		switch {
		case a.IsLoopback() || a.IsLinkLocalUnicast() || a.IsUnspecified():
		case a.Is4():
			return a, true
		case !six.IsValid():
			six = a
		}
	}
	return six, six.IsValid()
}

// A ListedGuest is one entry of /etc/pve/.vmlist, which lists the guests of all nodes.
type ListedGuest struct {
	Node string `json:"node"`
	Type string `json:"type"` // "lxc" or "qemu"
}

// VMListFile lists the guests of all nodes of a cluster, without a lock.
const VMListFile = "/etc/pve/.vmlist"

// ParseVMList reads VMListFile.
func ParseVMList(data []byte) (map[int]ListedGuest, error) {
	var j struct {
		IDs map[string]ListedGuest `json:"ids"`
	}
	if err := json.Unmarshal(data, &j); err != nil {
		return nil, fmt.Errorf("%s: %w", VMListFile, err)
	}
	out := make(map[int]ListedGuest, len(j.IDs))
	for id, g := range j.IDs {
		n, err := strconv.Atoi(id)
		if err != nil || n <= 0 {
			return nil, fmt.Errorf("%s: id is %q; wanted a positive number", VMListFile, id)
		}
		out[n] = g
	}
	return out, nil
}

// looseInt takes what Perl makes of numbers in JSON: 5, "5", 5.0, "" and null.
type looseInt int64

func (n *looseInt) UnmarshalJSON(data []byte) error {
	s := string(bytes.Trim(data, `"`))
	if s == "" || s == "null" || s == "false" {
		*n = 0
		return nil
	}
	if s == "true" {
		*n = 1
		return nil
	}
	if i, err := strconv.ParseInt(s, 10, 64); err == nil {
		*n = looseInt(i)
		return nil
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || f != f || f > 1e15 || f < -1e15 {
		return fmt.Errorf("%q is no number", s)
	}
	*n = looseInt(f)
	return nil
}
