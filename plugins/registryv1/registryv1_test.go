package registryv1_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

func TestGeneratedCodeIsWhatTheProtoGives(t *testing.T) {
	if _, err := exec.LookPath("protoc"); err != nil {
		t.Skip("protoc is not installed; on Debian: apt install protobuf-compiler")
	}
	dir := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "./generate.sh", dir).CombinedOutput(); err != nil {
		t.Fatalf("generate.sh: %v\n%s", err, out)
	}
	made, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(made) != 2 {
		t.Fatalf("generate.sh made %q, %v; wanted two files", made, err)
	}
	for _, name := range made {
		want, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Base(name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is stale: make proto", filepath.Base(name))
		}
	}
}
