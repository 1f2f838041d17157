// Package lab is an embedded Proxmox VE node for tests, demos and authors of
// recipes: one process, without root and without a network. It is reached
// through a real SSH server, runs what it is sent in a real POSIX shell, and
// answers with modelled programs (pct, pvesh, pvesm, zfs, skopeo, systemd-run
// and the few of coreutils that tengil uses) that take the same argv and print
// what a node prints. Config files, archives, datasets and the root file systems
// of containers are real files below one directory.
//
// It is a model that our code can be wrong against: it is written from captured
// output of real nodes, checks options by the real schema, refuses what a node
// refuses and leaves behind what a node leaves behind when a program is killed
// half way. It shares the vocabulary of package pve with the code it serves, so
// that both agree proves nothing; the captured transcripts in the tests do.
//
// Faults can be set on any program: it fails, hangs, is killed or loses the
// connection before, in the middle of or after its work. Every program that ran
// is recorded, so that a test can prove that nothing was changed.
//
// What it does not do: run the software of an image (a guest is a process table
// and a few sockets), enforce permissions or resource limits, keep more than one
// node, or model what tengil does not use. A program or an option that it does
// not know fails loudly.
package lab
