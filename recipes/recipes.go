// Package recipes holds the recipes that ship with tg: one Starlark file for each
// app, in lib what several of them load, and in kinds step kinds written in Starlark.
package recipes

import "embed"

// FS is the catalog of the recipes that ship: "immich.star", "lib/postgres.star".
// It is what "tg run immich" loads from, and the catalog that "//lib/…" means there.
//
//go:embed *.star lib/*.star kinds/*.star
var FS embed.FS
