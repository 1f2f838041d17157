// Package registryv1 is version 1 of what tengil and a registry plugin say to each
// other: registry.proto, and what protoc makes of it.
package registryv1

import "github.com/tengil/tengil/engine"

// What both sides of the handshake must agree on.
const (
	Version     = 1
	CookieKey   = "TENGIL_PLUGIN"
	CookieValue = "registry"
	// RetryAfter is the trailer of a RESOURCE_EXHAUSTED that the plugin itself sent.
	RetryAfter = "tengil-retry-after"
	// MaxChunk is how many bytes of a blob a message has at most.
	MaxChunk = 1 << 20
)

// Powers are the names of what a registry can do, here and in the engine.
var Powers = map[engine.RegistryPower]Power{
	engine.CanTags:   Power_CAN_TAGS,
	engine.CanSearch: Power_CAN_SEARCH,
	engine.CanSource: Power_CAN_SOURCE,
	engine.CanBlobs:  Power_CAN_BLOBS,
}
