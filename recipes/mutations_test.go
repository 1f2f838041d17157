package recipes_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"
)

// A mutation breaks a promise on purpose: one text of one file is replaced by
// another, and a test must fail. They lie in testdata/mutations, one a file.
type mutation struct {
	promise  string // number, and what is broken
	file     string // relative to the project's root
	packages string // of the test
	run      string // pattern of the tests that must notice
	old, new string
}

var mutationHead = regexp.MustCompile(`^(promise|file|test|run): (.+)$`)

func readMutation(t *testing.T, name string) mutation {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	a := txtar.Parse(data)
	head := map[string]string{}
	for line := range strings.Lines(string(a.Comment)) {
		f := mutationHead.FindStringSubmatch(strings.TrimSpace(line))
		if f == nil {
			t.Fatalf("%s: line %q; wanted promise, file, test or run", name, line)
		}
		head[f[1]] = f[2]
	}
	m := mutation{promise: head["promise"], file: head["file"], packages: head["test"], run: head["run"]}
	for _, f := range a.Files {
		switch f.Name {
		case "old":
			m.old = string(f.Data)
		case "new":
			m.new = string(f.Data)
		}
	}
	if m.promise == "" || m.file == "" || m.packages == "" || m.run == "" || m.old == "" {
		t.Fatalf("%s is not complete: %+v", name, m)
	}
	return m
}

func mutations(t *testing.T) []string {
	t.Helper()
	names, err := filepath.Glob("testdata/mutations/*.txtar")
	if err != nil || len(names) < 15 {
		t.Fatalf("%d mutations, %v; wanted at least 15", len(names), err)
	}
	return names
}

// applied returns the file of the mutation with the mutation in it.
func (m mutation) applied(t *testing.T) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", m.file))
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(data), m.old); n != 1 {
		t.Fatalf("%s has the old text %d times, wanted once:\n%s", m.file, n, m.old)
	}
	return bytes.Replace(data, []byte(m.old), []byte(m.new), 1)
}

// The list of mutations keeps up with the code, and each promise has one.
func TestMutationsFitTheCode(t *testing.T) {
	t.Parallel()
	has := map[string]int{}
	for _, name := range mutations(t) {
		m := readMutation(t, name)
		m.applied(t)
		number, _, _ := strings.Cut(m.promise, " ")
		has[number]++
	}
	for _, n := range []string{"1", "2", "3", "4", "5", "6", "7", "8", "9", "10"} {
		if has[n] == 0 {
			t.Errorf("no mutation breaks promise %s", n)
		}
	}
}

// Each mutation is caught by the tests that it names, which pass without it. It
// takes minutes, so it is run by make mutations.
func TestMutationsAreCaught(t *testing.T) {
	if os.Getenv("MUTATIONS") != "1" {
		t.Skip("make mutations")
	}
	clean := map[string]bool{}
	caught := 0
	for _, name := range mutations(t) {
		m := readMutation(t, name)
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			if key := m.packages + " " + m.run; !clean[key] {
				if out, ok := m.test(t, nil); !ok {
					t.Fatalf("the tests fail without the mutation:\n%s", out)
				}
				clean[key] = true
			}
			begin := time.Now()
			out, ok := m.test(t, m.applied(t))
			switch {
			case ok:
				t.Errorf("nothing notices: %s", m.promise)
			case !strings.Contains(out, "--- FAIL"):
				t.Errorf("the tests did not run:\n%s", out)
			default:
				caught++
				t.Logf("promise %s: caught in %s by %s", m.promise, time.Since(begin).Round(time.Second), failedTest(out))
			}
		})
	}
	t.Logf("%d of %d mutations caught", caught, len(mutations(t)))
}

// test runs the tests of the mutation; text, if not nil, is what stands for its
// file. It reports whether they passed.
func (m mutation) test(t *testing.T, text []byte) (out string, passed bool) {
	t.Helper()
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"test", "-short", "-failfast", "-count=1", "-timeout=10m", "-run", m.run}
	if text != nil {
		dir := t.TempDir()
		overlay := map[string]map[string]string{"Replace": {filepath.Join(root, m.file): filepath.Join(dir, "mutated.go")}}
		list, err := json.Marshal(overlay)
		if err != nil {
			t.Fatal(err)
		}
		for name, data := range map[string][]byte{"mutated.go": text, "overlay.json": list} {
			if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		args = append(args, "-overlay", filepath.Join(dir, "overlay.json"))
	}
	cmd := exec.CommandContext(t.Context(), "go", append(args, strings.Fields(m.packages)...)...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "MUTATIONS=0")
	data, err := cmd.CombinedOutput()
	return string(data), err == nil
}

// failedTest returns the first test that failed.
func failedTest(out string) string {
	s := bufio.NewScanner(strings.NewReader(out))
	for s.Scan() {
		if name, ok := strings.CutPrefix(strings.TrimSpace(s.Text()), "--- FAIL: "); ok {
			name, _, _ = strings.Cut(name, " ")
			return name
		}
	}
	return "no test"
}
