package hosttest

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tengil/tengil/engine"
)

func batchMixed(t *testing.T, s suite) {
	dir := s.fresh(t, "mixed")
	s.write(t, dir+"/n1/lxc/100.conf", "arch: amd64\n")
	s.write(t, dir+"/n2/lxc/101.conf", "")
	s.write(t, dir+"/n2/lxc/102.txt", "no")
	s.write(t, dir+"/n2/lxc/.103.conf", "hidden")
	s.run(t, "mkdir", dir+"/n2/lxc/104.conf")
	fail := []string{"sh", "-c", "echo out; echo err >&2; exit 4"}
	ask := []engine.Ask{
		engine.AskRun("cat", dir+"/n1/lxc/100.conf"), engine.AskRun(fail...), engine.AskRun("cat"),
		engine.AskFile(dir + "/n2/lxc/102.txt"), engine.AskFile(dir + "/none"), engine.AskFile(dir + "/n2/lxc/101.conf"),
		engine.AskGlob(dir + "/*/lxc/*.conf"), engine.AskGlob(dir + "/*/none/*"),
		engine.AskFile(dir + "/none"), // twice
	}
	a, err := s.Batch(t.Context(), ask)
	if err != nil {
		t.Fatal(err)
	}
	if r, err := a.Run("cat", dir+"/n1/lxc/100.conf"); err != nil || string(r.Stdout) != "arch: amd64\n" {
		t.Errorf("command: got %q, %v", r.Stdout, err)
	}
	if r, err := a.Run("cat"); err != nil || len(r.Stdout) != 0 {
		t.Errorf("command that reads: got %q, %v", r.Stdout, err)
	}
	r, err := a.Run(fail...)
	var exit *engine.ExitError
	if !errors.As(err, &exit) || exit.Exit != 4 || r.Exit != 4 || string(r.Stdout) != "out\n" || string(exit.Stderr) != "err\n" {
		t.Errorf("failing command: got %+v, %v", r, err)
	}
	if b, err := a.File(dir + "/n2/lxc/102.txt"); err != nil || string(b) != "no" {
		t.Errorf("file: got %q, %v", b, err)
	}
	if b, err := a.File(dir + "/n2/lxc/101.conf"); err != nil || len(b) != 0 {
		t.Errorf("empty file: got %q, %v", b, err)
	}
	if _, err := a.File(dir + "/none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: got %v, want %v", err, fs.ErrNotExist)
	}
	got, err := a.Glob(dir + "/*/lxc/*.conf")
	want := map[string][]byte{dir + "/n1/lxc/100.conf": []byte("arch: amd64\n"), dir + "/n2/lxc/101.conf": {}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("glob: %v (-want +got):\n%s", err, diff)
	}
	if got, err := a.Glob(dir + "/*/none/*"); err != nil || len(got) != 0 {
		t.Errorf("glob of nothing: got %v, %v", got, err)
	}
}

func batchErrors(t *testing.T, s suite) {
	dir := s.fresh(t, "errors")
	asks := []engine.Ask{
		engine.AskFile(dir), engine.AskFile("relative"), engine.AskFile(dir + "/a\x00b"), engine.AskGlob("*.conf"),
		engine.AskRun("-x"), engine.AskRun("no-such-program-here"), engine.AskFile(dir + "/none/below"),
	}
	a, err := s.Batch(t.Context(), asks)
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range asks {
		got := a.Get(q).Err
		missing := errors.Is(got, fs.ErrNotExist)
		if want := strings.HasSuffix(q.File(), "/below"); got == nil || missing != want {
			t.Errorf("%s: got %v; missing is %t, want %t", q, got, missing, want)
		}
	}
}

func batchBytes(t *testing.T, s suite) {
	dir := s.fresh(t, "bytes")
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	contents := map[string][]byte{}
	var asks []engine.Ask
	for i, c := range []string{string(all), "\n", "\n\n", "no newline", "\x1etg", "", strings.Repeat("x", 200_000)} {
		name := fmt.Sprintf("%s/file %d's", dir, i)
		s.write(t, name, c)
		contents[name] = []byte(c)
		asks = append(asks, engine.AskFile(name), engine.AskRun("cat", name))
	}
	a, err := s.Batch(t.Context(), append(asks, engine.AskGlob(dir+"/*")))
	if err != nil {
		t.Fatal(err)
	}
	got, err := a.Glob(dir + "/*")
	if diff := cmp.Diff(contents, got); diff != "" || err != nil {
		t.Errorf("glob: %v (-want +got):\n%.2000s", err, diff)
	}
	for name, want := range contents {
		if b, err := a.File(name); err != nil || string(b) != string(want) {
			t.Errorf("%s: got %d bytes, %v; want %d", name, len(b), err, len(want))
		}
		if r, err := a.Run("cat", name); err != nil || string(r.Stdout) != string(want) {
			t.Errorf("cat %s: got %d bytes, %v; want %d", name, len(r.Stdout), err, len(want))
		}
	}
}

// batchNames reads more files than one process takes, with names that a shell or a
// program could misread.
func batchNames(t *testing.T, s suite) {
	dir := s.fresh(t, "names")
	names := []string{
		"-n", "--", "a b", " lead", "trail ", "it's", `a"b`, `a\b`, `a\`, "$(id)", "`id`", "$f1", "${d}", "[a]", "{a,b}", "a;b", "a&b", "a|b",
		"line\nfeed", "\n", "tab\t", "%s%d", "héllo", "日本語", "!", "#", "~", "=", "\x01\x1b[31m", strings.Repeat("n", 200),
	}
	const plain = 420
	s.run(t, append([]string{"sh", "-c", `cd "$1" && shift && for f; do printf %s "of $f" >"./$f.x" || exit; done
		i=0; while [ $i -lt 420 ]; do echo $i >"./$i.x"; i=$((i+1)); done; mkdir ./dir.x`, "sh", dir}, names...)...)
	want := map[string][]byte{}
	for _, name := range names {
		want[dir+"/"+name+".x"] = []byte("of " + name)
	}
	for i := range plain {
		want[fmt.Sprintf("%s/%d.x", dir, i)] = fmt.Appendln(nil, i)
	}
	asks := []engine.Ask{engine.AskGlob(dir + "/*.x")}
	for _, name := range names {
		asks = append(asks, engine.AskFile(dir+"/"+name+".x"))
	}
	a, err := s.Batch(t.Context(), asks)
	if err != nil {
		t.Fatal(err)
	}
	got, err := a.Glob(dir + "/*.x")
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("glob: %v (-want +got):\n%.2000s", err, diff)
	}
	for _, name := range names {
		if b, err := a.File(dir + "/" + name + ".x"); err != nil || string(b) != "of "+name {
			t.Errorf("%q: got %q, %v", name, b, err)
		}
	}
}

// batchMany is longer than what fits in one argument.
func batchMany(t *testing.T, s suite) {
	dir := s.fresh(t, "many")
	var asks []engine.Ask
	for i := range 40 {
		asks = append(asks, engine.AskRun("sh", "-c", `echo "$1"`, "sh", fmt.Sprint("command ", i)))
	}
	for i := range 1000 {
		asks = append(asks, engine.AskFile(fmt.Sprintf("%s/%s/%d", dir, strings.Repeat("long", 60), i)))
	}
	s.write(t, dir+"/there", "yes")
	asks = append(asks, engine.AskFile(dir+"/there"))
	a, err := s.Batch(t.Context(), asks)
	if err != nil {
		t.Fatal(err)
	}
	for i, q := range asks[:40] {
		if r := a.Get(q); string(r.Result.Stdout) != fmt.Sprint("command ", i, "\n") || r.Err != nil {
			t.Errorf("command %d: got %q, %v", i, r.Result.Stdout, r.Err)
		}
	}
	for _, q := range asks[40:1040] {
		if r := a.Get(q); !errors.Is(r.Err, fs.ErrNotExist) {
			t.Fatalf("%s: got %v, want %v", q, r.Err, fs.ErrNotExist)
		}
	}
	if b, err := a.File(dir + "/there"); err != nil || string(b) != "yes" {
		t.Errorf("got %q, %v", b, err)
	}
}

func batchEmpty(t *testing.T, s suite) {
	a, err := s.Batch(t.Context(), nil)
	if err != nil || a == nil {
		t.Errorf("got %v, %v", a, err)
	}
}
