package engine_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/tengil/tengil"

// only says which packages, with what lies below them, may import a module
// directly; everybody else gets the reason.
var only = []struct {
	imported string
	by       []string
	why      string
}{
	{"go.starlark.net", []string{"engine/recipe", "builtins"}, "the language of recipes must not leak into the engine"},
	{"golang.org/x/crypto/ssh", []string{"engine/sshhost", "engine/lab"}, "one package knows how a node is reached, the lab is its other end"},
	{"github.com/hashicorp/go-plugin", []string{"plugins"}, "plugins are processes; nothing else needs to know"},
	{"google.golang.org/grpc", []string{"plugins"}, "plugins are processes; nothing else needs to know"},
	{"google.golang.org/protobuf", []string{"plugins"}, "plugins are processes; nothing else needs to know"},
	{"github.com/olekukonko/tablewriter", []string{"cmd/tg/ui"}, "one package draws"},
	{"github.com/spf13/cobra", []string{"cmd/tg"}, "commands are wiring"},
	{"github.com/google/go-containerregistry", []string{"engine/lab", "engine/ocireg"}, "nodes pull with skopeo; only the lab serves images"},
	{"mvdan.cc/sh", []string{"engine/sshhost", "engine/lab"}, "shell text is written in one package and read in the lab"},
	{module + "/engine/lab", []string{"cmd/tg", "builtins/kindtest"}, "the product must not depend on the model of a node"},
	{module + "/cmd", []string{"cmd"}, "commands are the top"},
}

type pkg struct {
	ImportPath string
	Imports    []string
	Standard   bool
	Doc        string
	GoFiles    []string
}

func list(t *testing.T) []pkg {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports,Standard,Doc,GoFiles", module+"/...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var pkgs []pkg
	dec := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return pkgs
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
}

func below(pkg, dir string) bool { return pkg == dir || strings.HasPrefix(pkg, dir+"/") }

func TestLayers(t *testing.T) {
	pkgs := list(t)
	if len(pkgs) < 10 {
		t.Fatalf("only %d packages listed: the test looks in the wrong place", len(pkgs))
	}
	for _, p := range pkgs {
		rel := strings.TrimPrefix(p.ImportPath, module+"/")
		for _, imp := range p.Imports {
			if rel == "engine" && strings.Contains(imp, ".") {
				t.Errorf("engine imports %s; it imports the standard library only", imp)
			}
			for _, rule := range only {
				if below(imp, rule.imported) && !slices.ContainsFunc(rule.by, func(dir string) bool { return below(rel, dir) || below(p.ImportPath, rule.imported) }) {
					t.Errorf("%s imports %s; only %s may: %s", rel, imp, strings.Join(rule.by, ", "), rule.why)
				}
			}
		}
	}
}

func TestEveryPackageSaysWhatItHides(t *testing.T) {
	for _, p := range list(t) {
		name := path.Base(p.ImportPath)
		want := "Package " + name + " "
		if len(p.GoFiles) > 0 && !strings.HasPrefix(p.Doc, want) && !strings.HasPrefix(p.Doc, "Command ") {
			t.Errorf("%s: package comment starts %.40q, wanted %q…", p.ImportPath, p.Doc, want)
		}
	}
}
