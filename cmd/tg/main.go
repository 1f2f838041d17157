// Command tg deploys multi-container applications on Proxmox VE nodes from
// recipes. Each command is one file here, named after it; run.go is the one to
// read first. Wiring, what is connected to what, happens in this package and
// nowhere else.
package main

import (
	"context"
	"os"

	"github.com/tengil/tengil/cmd/tg/ui"
)

func main() {
	tg := &session{
		term:   ui.Open(os.Stdin, os.Stdout, os.Stderr, os.Getenv),
		getenv: os.Getenv,
	}
	os.Exit(tg.main(context.Background(), os.Args[1:]))
}
