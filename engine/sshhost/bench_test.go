package sshhost_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/sshhost"
)

// BenchmarkBatchGlob reads what a big cluster holds: 10,000 configurations.
func BenchmarkBatchGlob(b *testing.B) {
	dir := b.TempDir()
	const n = 10_000
	for i := range n {
		if err := os.WriteFile(fmt.Sprintf("%s/%d.conf", dir, i), []byte("arch: amd64\ncores: 2\n"), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	h := sshhost.Local(sshhost.Options{})
	defer h.Close()
	for b.Loop() {
		a, err := h.Batch(b.Context(), []engine.Ask{engine.AskGlob(dir + "/*.conf")})
		if err != nil {
			b.Fatal(err)
		}
		if got, err := a.Glob(dir + "/*.conf"); err != nil || len(got) != n {
			b.Fatalf("got %d files, %v; want %d", len(got), err, n)
		}
	}
}
