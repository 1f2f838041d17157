package pve

import (
	"fmt"
	"strings"
)

// A VolID is a volume id: "local-zfs:subvol-101-disk-0", "local:vztmpl/x.tar".
type VolID struct{ Storage, Name string }

// String returns STORAGE:NAME.
func (v VolID) String() string { return v.Storage + ":" + v.Name }

// Owner returns the guest id in the volume's name, 0 if there is none.
func (v VolID) Owner() int {
	var id, disk int
	name := v.Name[strings.LastIndexByte(v.Name, '/')+1:]
	for _, format := range []string{"subvol-%d-disk-%d", "vm-%d-disk-%d", "basevol-%d-disk-%d"} {
		if n, err := fmt.Sscanf(name, format, &id, &disk); n == 2 && err == nil {
			return id
		}
	}
	return 0
}

// ParseVolID parses a volume id.
func ParseVolID(s string) (VolID, error) {
	storage, name, ok := strings.Cut(s, ":")
	if !ok || name == "" || CheckStorageID(storage) != nil {
		return VolID{}, fmt.Errorf("unable to parse volume ID '%s'", s)
	}
	return VolID{storage, name}, nil
}

// CheckStorageID refuses what is no storage id (pve-storage-id in JSONSchema.pm).
func CheckStorageID(id string) error {
	for i, r := range id {
		letter := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
		digit := '0' <= r && r <= '9'
		if !(letter || i > 0 && (digit || strings.ContainsRune("-_.", r) && i < len(id)-1)) {
			return fmt.Errorf("%q is no storage id", id)
		}
	}
	if len(id) < 2 {
		return fmt.Errorf("%q is no storage id", id)
	}
	return nil
}

// maxArchiveName leaves room for "STORAGE:vztmpl/" within the 255 characters
// that pct takes for a template.
const maxArchiveName = 200

// ArchiveName returns the file name of an image's archive. It is made of the
// registry, the repository and the digest, so that no two images collide; it is
// plain lower-case .tar, which OCI detection wants, and has no ":", which ends a
// path for skopeo.
func ArchiveName(registry, repository, digest string) string {
	hex := fileSafe(strings.TrimPrefix(digest, "sha256:"))
	head := fileSafe(registry + "_" + repository)
	tail := "_" + hex + ".tar"
	if len(tail) > maxArchiveName/2 {
		tail = "_" + hex[:maxArchiveName/2-5] + ".tar"
	}
	if room := maxArchiveName - len(tail); len(head) > room {
		sum := strings.TrimPrefix(Digest([]byte(registry+"/"+repository)), "sha256:")[:12]
		head = head[:room-len(sum)-1] + "_" + sum
	}
	return head + tail
}

// fileSafe replaces what a template's file name cannot hold (normalize_content_filename
// in Storage.pm).
func fileSafe(s string) string {
	s = strings.ReplaceAll(s, "/", "_")
	out := strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("_.-", r) {
			return r
		}
		return '-'
	}, s)
	return strings.TrimLeft(out, ".-")
}
