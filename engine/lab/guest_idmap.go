package lab

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// unmapped is the id that a container shows for owners that it does not map.
const unmapped = 65534

// An idEntry maps size ids of a container, from inside on, to ids on the file
// system of a mount.
type idEntry struct {
	kind             string // "u" or "g"
	inside, on, size int
}

// parseIDMap reads option idmap of a mount: "u:1000:1000:1;g:1000:1000:1".
func parseIDMap(text string) ([]idEntry, error) {
	var out []idEntry
	for part := range strings.SplitSeq(text, ";") {
		var e idEntry
		if _, err := fmt.Sscanf(part, "%1s:%d:%d:%d", &e.kind, &e.inside, &e.on, &e.size); err != nil {
			return nil, dief(255, "invalid map entry '%s'", part)
		}
		out = append(out, e)
	}
	return out, nil
}

// idMap returns the entries of a mount, before those of the container.
func (m guestMount) idMap() []idEntry {
	switch m.IDMap {
	case "":
		return nil
	case "passthrough":
		return []idEntry{{"u", 0, 0, 65536}, {"g", 0, 0, 65536}}
	}
	entries, _ := parseIDMap(m.IDMap) // was checked when it was set
	return entries
}

// shown returns the id that the container sees for an owner on the mount.
func (m guestMount) shown(kind string, id int) int {
	entries := m.idMap()
	for _, e := range entries {
		if e.kind == kind && id >= e.on && id < e.on+e.size {
			return e.inside + id - e.on
		}
	}
	inside := id - mappedRoot
	taken := slices.ContainsFunc(entries, func(e idEntry) bool {
		return e.kind == kind && inside >= e.inside && inside < e.inside+e.size
	})
	if inside < 0 || inside >= 65536 || taken {
		return unmapped
	}
	return inside
}

// stored returns the owner on the mount of what an id of the container makes.
func (m guestMount) stored(kind string, id int) int {
	for _, e := range m.idMap() {
		if e.kind == kind && id >= e.inside && id < e.inside+e.size {
			return e.on + id - e.inside
		}
	}
	return id + mappedRoot
}

// mount returns the mount that a path without links lies on.
func (r guestRoot) mount(name string) guestMount {
	for _, m := range slices.Backward(r.mounts) {
		if within(path.Clean("/"+name), m.Path) {
			return m
		}
	}
	return guestMount{}
}

// rootOf returns the owner of what the container's root makes at a path.
func (r guestRoot) rootOf(name string) (uid, gid int) {
	m := r.mount(name)
	return m.stored("u", 0), m.stored("g", 0)
}
