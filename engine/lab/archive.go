package lab

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"github.com/tengil/tengil/engine/pve"
)

// Media types of the OCI image specification that proxmox-oci knows.
const (
	mediaOCIManifest = "application/vnd.oci.image.manifest.v1+json"
	mediaOCIIndex    = "application/vnd.oci.image.index.v1+json"
	mediaOCIConfig   = "application/vnd.oci.image.config.v1+json"
	mediaOCILayer    = "application/vnd.oci.image.layer.v1.tar"
)

// A descriptor points to a blob, as in manifests and indexes.
type descriptor struct {
	MediaType   string            `json:"mediaType,omitempty"`
	Digest      string            `json:"digest"`
	Size        int64             `json:"size"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Platform    *platform         `json:"platform,omitempty"`
}

// A platform is what an image of an index is for.
type platform struct {
	Architecture string `json:"architecture"`
	OS           string `json:"os"`
	Variant      string `json:"variant,omitempty"`
}

// A manifest is an image manifest or, with Manifests set, an index.
type manifest struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType,omitempty"`
	Config        *descriptor  `json:"config,omitempty"`
	Layers        []descriptor `json:"layers,omitempty"`
	Manifests     []descriptor `json:"manifests,omitempty"`
}

// A tarListError is an archive that tar(1) cannot list; Output is what tar printed.
type tarListError struct {
	Path   string
	Output string
}

// Error is how pve-container reports it (Create.pm archive_is_oci_format).
func (e *tarListError) Error() string {
	return fmt.Sprintf("command 'tar -tf %s' failed: exit code 2", e.Path)
}

// isOCIArchive reports whether pct create takes the file for an OCI image: its
// name ends in ".tar" and it has members "oci-layout", "index.json" and
// something below "blobs/", all without "./" before them (Create.pm
// archive_is_oci_format). name is absolute on the node. If the file cannot be
// listed, the error is a *tarListError.
func (n *node) isOCIArchive(name string) (bool, error) {
	if !strings.HasSuffix(name, ".tar") {
		return false, nil
	}
	members, err := n.tarMembers(name)
	if err != nil {
		return false, err
	}
	_, layout := members["oci-layout"]
	_, index := members["index.json"]
	blobs := false
	for member := range members {
		blobs = blobs || strings.HasPrefix(member, "blobs/")
	}
	return layout && index && blobs, nil
}

// A section is where the content of a member lies in its archive.
type section struct{ offset, size int64 }

// tarMembers lists an uncompressed tar file of the node.
func (n *node) tarMembers(name string) (map[string]section, error) {
	f, err := n.open(name, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	members := map[string]section{}
	tr := tar.NewReader(f)
	for {
		h, err := tr.Next()
		if err == io.EOF && len(members) > 0 {
			return members, wholeTar(name, f, members)
		}
		if err != nil {
			return nil, &tarListError{name, tarComplaint(err, len(members))}
		}
		at, err := f.Seek(0, io.SeekCurrent)
		if err != nil {
			return nil, err
		}
		members[h.Name] = section{at, h.Size}
	}
}

// wholeTar checks that the last member is not cut off, which listing alone does
// not notice when the file ends within its content.
func wholeTar(name string, f *os.File, members map[string]section) error {
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	for _, s := range members {
		if s.offset+s.size > fi.Size() {
			return &tarListError{name, tarComplaint(io.ErrUnexpectedEOF, len(members))}
		}
	}
	return nil
}

// tarComplaint is what tar(1) prints about a file that it cannot read to its end.
func tarComplaint(err error, members int) string {
	if members == 0 && !errors.Is(err, io.ErrUnexpectedEOF) {
		return "tar: This does not look like a tar archive\ntar: Exiting with failure status due to previous errors\n"
	}
	return "tar: Unexpected EOF in archive\ntar: Error is not recoverable: exiting now\n"
}

// An ociArchive is the image that pct create takes out of an OCI archive: the
// first manifest of its index, whatever its platform (proxmox-oci oci_tar_image.rs).
type ociArchive struct {
	// Config is the image's config with all that pct create uses.
	Config pve.ImageConfig
	// Digest is the manifest's.
	Digest string

	node    *node
	path    string
	members map[string]section
	layers  []descriptor
	diffIDs []string

	ordered []layer  // nil: not looked at yet
	plain   *os.File // holds uncompressed layers; nil: none was kept
	kept    int64    // bytes of it
}

// An ociError is an error of proxmox-oci in its own words.
type ociError struct {
	doing string // "parsing" or "extracting"
	err   error
}

// saidf returns an error in the words of a program that is modelled, which may
// begin with a capital.
func saidf(format string, a ...any) error { return fmt.Errorf(format, a...) }

func (e *ociError) Error() string { return fmt.Sprintf("Error while %s OCI image: %v", e.doing, e.err) }

func (e *ociError) Unwrap() error { return e.err }

// parseError returns an *ociError from before anything was unpacked.
func parseError(format string, a ...any) error {
	return &ociError{"parsing", fmt.Errorf(format, a...)}
}

// openArchive reads the image of an OCI archive of the node. Errors have the
// texts of proxmox-oci: "Error while parsing OCI image: …". It does not look
// whether pct create would recognise the archive; isOCIArchive does. The caller
// closes the archive.
func (n *node) openArchive(name string) (*ociArchive, error) {
	if !n.openToAll(name) {
		return nil, parseError("IO error: Permission denied (os error 13)")
	}
	members, err := n.tarMembers(name)
	if err != nil {
		return nil, parseError("IO error: %v", err)
	}
	a := &ociArchive{node: n, path: name, members: members}
	d, err := a.firstManifest()
	if err != nil {
		return nil, err
	}
	var m manifest
	if err := a.readJSON(d.Digest, &m); err != nil {
		return nil, err
	}
	if m.Config == nil {
		return nil, parseError("JSON error: missing field `config`")
	}
	a.Digest, a.layers = d.Digest, m.Layers
	return a, a.readConfig(m.Config.Digest)
}

// firstManifest returns the first entry of the index that is an image manifest.
// An index within the index is not followed.
func (a *ociArchive) firstManifest() (descriptor, error) {
	data, err := a.read("index.json")
	if err != nil {
		return descriptor{}, parseError("IO error: %v", err)
	}
	var index manifest
	if err := json.Unmarshal(data, &index); err != nil {
		return descriptor{}, parseError("JSON error: %v", err)
	}
	for _, d := range index.Manifests {
		if d.MediaType == mediaOCIManifest {
			return d, nil
		}
	}
	return descriptor{}, parseError("Unsupported CPU architecture")
}

// readConfig fills Config and the list of layers from the config blob.
func (a *ociArchive) readConfig(digest string) error {
	data, err := a.readBlob(digest)
	if err != nil {
		return err
	}
	cfg, err := pve.ParseImageConfig(data)
	if err != nil {
		return parseError("JSON error: %v", err)
	}
	a.Config, a.diffIDs = cfg, cfg.DiffIDs
	return nil
}

func (a *ociArchive) readJSON(digest string, to any) error {
	data, err := a.readBlob(digest)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, to); err != nil {
		return parseError("JSON error: %v", err)
	}
	return nil
}

func (a *ociArchive) readBlob(digest string) ([]byte, error) {
	data, err := a.read(blobName(digest))
	if err != nil {
		return nil, parseError("IO error: %v", err)
	}
	return data, nil
}

// blobName is a blob's member name: "blobs/sha256/…".
func blobName(digest string) string { return "blobs/" + strings.Replace(digest, ":", "/", 1) }

// read returns the content of one member.
func (a *ociArchive) read(name string) ([]byte, error) {
	r, err := a.open(name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// open opens one member; the caller closes it.
func (a *ociArchive) open(name string) (io.ReadCloser, error) {
	s, ok := a.members[name]
	if !ok {
		return nil, saidf("No such file or directory (os error 2)")
	}
	f, err := a.node.open(a.path, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	return &sectionReader{io.NewSectionReader(f, s.offset, s.size), f}, nil
}

type sectionReader struct {
	io.Reader
	io.Closer
}

// close removes what was kept of the archive's layers.
func (a *ociArchive) close() error {
	if a.plain == nil {
		return nil
	}
	return errors.Join(a.plain.Close(), os.Remove(a.plain.Name()))
}

// openToAll reports whether the mapped root of a container, uid 100000 on the
// node, may read the file: each directory above it is open to others.
func (n *node) openToAll(name string) bool {
	to, err := n.resolve(name, true)
	if err != nil {
		return false
	}
	for need := os.FileMode(0o004); ; need = 0o001 {
		fi, err := os.Lstat(n.host(to))
		if err == nil && n.owner(to, fi).Mode&need == 0 {
			return false
		}
		if to == "/" {
			return true
		}
		to = path.Dir(to)
	}
}
