// Command make-images builds the images of testdata/stack and says where they
// are. Given a registry on this machine, it pushes them there, having started it if
// it is to.
package main

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/tengil/tengil/engine/lab/debimage"
)

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "make-images:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	registry := flag.String("push", "", "push to this registry, which needs no TLS: 127.0.0.1:5000")
	serve := flag.Bool("serve", false, "start that registry if none answers; it stays")
	flag.Parse()
	cache, err := debimage.Cache()
	if err != nil {
		return err
	}
	images, err := debimage.Build(ctx, filepath.Join("testdata", "stack"), cache)
	if err != nil {
		return err
	}
	if *serve {
		pid, err := debimage.Serve(ctx, *registry, filepath.Join(cache, "registry"))
		if err != nil {
			return err
		}
		if pid != 0 {
			fmt.Printf("started a registry on %s; to end it:\n    kill %d\n", *registry, pid)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(images)) {
		fmt.Printf("%s %s\n", name, images[name])
		if *registry == "" {
			continue
		}
		if err := debimage.Push(ctx, images[name], *registry+"/stack/"+name+":1"); err != nil {
			return err
		}
	}
	return nil
}
