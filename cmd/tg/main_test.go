package main

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/tengil/tengil/engine/lab"
	"github.com/tengil/tengil/engine/lab/labtest"
	"github.com/tengil/tengil/plugins/registrytest"
	"github.com/tengil/tengil/plugins/sdk"
)

var update = flag.Bool("update", false, "rewrite the expected files in the scripts")

func TestMain(m *testing.M) {
	testscript.Main(checked{m}, map[string]func(){
		"tg":     main,
		"sample": func() { sdk.ServeEngine(registrytest.NewSample("amd64", nil)) }, // a plugin
	})
}

// A checked is the tests of the package, which must not leave anything.
type checked struct{ *testing.M }

// Run implements testscript.TestingM.
func (c checked) Run() int { return labtest.Main(c.M) }

// TestScripts are the specification of the command line. Each script has a lab of
// its own, which is opened for each command and keeps its state between them.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		WorkdirRoot:         t.TempDir(), // testscript removes its own only if every script has run
		RequireExplicitExec: true,
		UpdateScripts:       *update,
		Cmds:                map[string]func(ts *testscript.TestScript, neg bool, args []string){"await": await},
		Setup: func(e *testscript.Env) error {
			dir := filepath.Join(e.WorkDir, "lab")
			e.Defer(func() { stopLab(t, dir) })
			home := filepath.Join(e.WorkDir, "home")
			e.Setenv("HOME", home)
			e.Setenv("TG_LAB_DIR", dir)
			e.Setenv("USER", "ben")
			e.Setenv("TERM", "xterm")
			return os.Mkdir(home, 0o700)
		},
	})
}

// await is the command "await FILE [REGEXP]": it waits until a file is there that
// matches, as one that a command in the background writes will be.
func await(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 || len(args) > 2 {
		ts.Fatalf("usage: await FILE [REGEXP]")
	}
	pattern := regexp.MustCompile("(?m)" + strings.Join(args[1:], ""))
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	err := waitFor(ctx, time.Minute, func() bool {
		data, err := os.ReadFile(ts.MkAbs(args[0]))
		return err == nil && pattern.Match(data)
	})
	if err != nil {
		ts.Fatalf("%s: %v", strings.Join(args, " "), err)
	}
}

// stopLab ends the lab that a script started and, having failed, did not stop.
func stopLab(t testing.TB, dir string) {
	at, running := lab.Find(dir)
	if !running {
		return
	}
	if err := stopProcess(context.Background(), at.PID); err != nil {
		t.Error(err)
	}
}
