package scaffold_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/plugins/launch"
	"github.com/tengil/tengil/plugins/registrytest"
	"github.com/tengil/tengil/plugins/scaffold"
)

// conforms runs the suite on a plugin's process.
func conforms(t *testing.T, file string, checks int) {
	t.Helper()
	p := launch.Program(file, engine.RegistryInfo{}, nil, launch.Options{})
	report := registrytest.Run(t.Context(), p, registrytest.Options{})
	if err := errors.Join(report.Err(), p.Close()); err != nil {
		t.Error(err)
	}
	if passed, _, _ := report.Count(); passed < checks {
		t.Errorf("%d checks passed; wanted %d: %+v", passed, checks, report)
	}
}

func TestGoPluginsPassAsTheyAreWritten(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "mine")
	if _, _, err := scaffold.Write(dir, "registry-mine", "go"); err != nil {
		t.Fatal(err)
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	sums, err := os.ReadFile(filepath.Join(root, "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "go.sum"), sums, 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(argv ...string) {
		t.Helper()
		c := exec.CommandContext(context.WithoutCancel(t.Context()), argv[0], argv[1:]...)
		c.Dir, c.Env = dir, append(os.Environ(), "GOFLAGS=-mod=mod", "GOPROXY=off", "GOWORK=off")
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%q: %v\n%s", argv, err, out)
		}
	}
	// As go mod tidy does, with this tree in place of a release.
	run("go", "mod", "edit", "-require=github.com/tengil/tengil@v0.0.0", "-replace=github.com/tengil/tengil="+root)
	run("go", "build", ".")
	run("go", "test", ".")
	conforms(t, filepath.Join(dir, "registry-mine"), 11)
}

func TestPythonPluginsPassAsTheyAreWritten(t *testing.T) {
	if out, err := exec.CommandContext(t.Context(), "/usr/bin/python3", "-c", "import grpc, google.protobuf, cryptography").CombinedOutput(); err != nil {
		t.Skipf("on Debian: apt install python3-grpcio python3-protobuf python3-cryptography\n%s", out)
	}
	dir := filepath.Join(t.TempDir(), "mine")
	if _, _, err := scaffold.Write(dir, "registry-mine", "python"); err != nil {
		t.Fatal(err)
	}
	conforms(t, filepath.Join(dir, "registry-mine"), 13)
	t.Run("the one that ships", func(t *testing.T) { conforms(t, "registry-python.py", 13) })
}

func TestWhatIsThereIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "x"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := scaffold.Write(dir, "registry-mine", "go"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("wrote into a folder that has something in it: %v", err)
	}
	if _, _, err := scaffold.Write(filepath.Join(dir, "y"), "registry-mine", "cobol"); err == nil {
		t.Error("there is no scaffold in COBOL")
	}
}
