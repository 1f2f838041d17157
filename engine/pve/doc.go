// Package pve is the vocabulary of a Proxmox VE node: guest configs, property
// strings, the entrypoint and environment syntax, volume ids, tags, storage.cfg,
// version gates, the option schema, and what the node's tools print.
//
// It is pure: parsers and printers only, no I/O. Facts about the formats come
// from Proxmox's sources (file names are cited) and from outputs captured on
// nodes; docs/proxmox.md collects them.
package pve
