package lab

import "strings"

// Docker's media types of the same things (schema 2).
const (
	mediaDockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	mediaDockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
	mediaDockerConfig   = "application/vnd.docker.container.image.v1+json"
	mediaDockerLayer    = "application/vnd.docker.image.rootfs.diff.tar.gzip"
)

// isIndexType reports whether a media type is that of a multi-platform index.
func isIndexType(t string) bool { return t == mediaOCIIndex || t == mediaDockerList }

// ociLayerType returns OCI's media type for a layer of either kind, as
// containers/image converts it.
func ociLayerType(t string) string {
	switch t {
	case mediaDockerLayer:
		return mediaOCILayer + "+gzip"
	case "application/vnd.docker.image.rootfs.diff.tar":
		return mediaOCILayer
	case "application/vnd.docker.image.rootfs.diff.tar.zstd":
		return mediaOCILayer + "+zstd"
	}
	if strings.HasPrefix(t, "application/vnd.docker.image.rootfs.foreign.diff.tar") {
		return "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
	}
	return t
}
