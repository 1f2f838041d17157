package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/tengil/tengil/engine/lab"
)

const troubleshooting = "../../docs/troubleshooting.md"

// A fence is a fenced block of a document.
type fence struct {
	line  int // of its first line, from 1
	kind  string
	lines []string
}

// fences returns the fenced blocks of a document, in order.
func fences(doc string) []fence {
	var all []fence
	open := false
	for i, line := range strings.Split(doc, "\n") {
		kind, mark := strings.CutPrefix(line, "```")
		switch {
		case mark && !open:
			all, open = append(all, fence{line: i + 2, kind: kind}), true
		case mark:
			open = false
		case open:
			last := &all[len(all)-1]
			last.lines = append(last.lines, line)
		}
	}
	return all
}

// typed is a command of a console block and what it prints.
type typed struct {
	line    int
	command string
	want    []string
}

func (f fence) typed(t *testing.T) []typed {
	var all []typed
	for i, line := range f.lines {
		if command, ok := strings.CutPrefix(line, "$ "); ok {
			all = append(all, typed{line: f.line + i, command: command})
		} else if len(all) == 0 {
			t.Fatalf("%s:%d: a console block begins with \"$ \"", troubleshooting, f.line)
		} else {
			all[len(all)-1].want = append(all[len(all)-1].want, line)
		}
	}
	return all
}

// pattern makes a regular expression of what the document shows: … is any text of a
// line, and a line of … alone is any number of lines.
func pattern(want []string) *regexp.Regexp {
	var b strings.Builder
	b.WriteString(`\A`)
	for _, line := range want {
		if strings.TrimSpace(line) == "…" {
			b.WriteString(`(?:.*\n)*`)
			continue
		}
		b.WriteString(strings.ReplaceAll(regexp.QuoteMeta(line), "…", `.*`) + `\n`)
	}
	return regexp.MustCompile(b.String() + `\z`)
}

// A console runs the commands of a document in one directory, on one fresh lab.
type console struct {
	t   *testing.T
	dir string
	env []string
}

// newConsole starts a lab; SSH reaches it as pve1, with a host key that nobody has
// seen, and as pve2, with one that is known.
func newConsole(t *testing.T) *console {
	root := t.TempDir()
	c := &console{t: t, dir: filepath.Join(root, "work")}
	home, at := filepath.Join(root, "home"), filepath.Join(root, "lab")
	for _, d := range []string{c.dir, filepath.Join(home, ".ssh")} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	c.env = append(slices.DeleteFunc(os.Environ(), func(kv string) bool {
		return strings.HasPrefix(kv, "TG_") || strings.HasPrefix(kv, "XDG_") || strings.HasPrefix(kv, "SSH_")
	}), "HOME="+home, "TG_LAB_DIR="+at, "USER=ben")
	t.Cleanup(func() {
		stopLab(t, at)
		// It answers nobody before it has written its last file, see lab.Close.
		err := waitFor(context.Background(), labStopTimeout, func() bool {
			_, err := os.Stat(filepath.Join(at, "endpoint.json"))
			return errors.Is(err, fs.ErrNotExist)
		})
		if err != nil {
			t.Error(err)
		}
	})
	if out, err := c.run("tg lab start"); err != nil {
		t.Fatalf("tg lab start: %v\n%s", err, out)
	}
	endpoint, running := lab.Find(at)
	if !running {
		t.Fatal("the lab does not run")
	}
	host, port, _ := strings.Cut(endpoint.Addr, ":")
	config := fmt.Sprintf("Host pve1 pve2\n  HostName %s\n  Port %s\n  User root\nHost pve1\n  UserKnownHostsFile ~/.ssh/none\nHost pve2\n  UserKnownHostsFile ~/.ssh/known\n", host, port)
	for name, text := range map[string]string{"config": config, "known": fmt.Sprintf("[%s]:%s %s\n", host, port, endpoint.HostKey)} {
		if err := os.WriteFile(filepath.Join(home, ".ssh", name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// run returns what a command line prints on both streams, without the line that says
// that it is the lab.
func (c *console) run(line string) (string, error) {
	cmd := exec.CommandContext(c.t.Context(), "sh", "-c", line)
	cmd.Dir, cmd.Env = c.dir, c.env
	out, err := cmd.CombinedOutput()
	return strings.ReplaceAll(string(out), "lab: stand-in images, nothing real runs\n", ""), err
}

// save writes a recipe whose first line is "# NAME".
func (c *console) save(f fence) {
	name, ok := strings.CutPrefix(f.lines[0], "# ")
	if !ok {
		c.t.Fatalf("%s:%d: the first line of a recipe names its file", troubleshooting, f.line)
	}
	if err := os.WriteFile(filepath.Join(c.dir, name), []byte(strings.Join(f.lines, "\n")+"\n"), 0o600); err != nil {
		c.t.Fatal(err)
	}
}

// Whoever meets a message finds it as it is printed: the blocks of the document are
// run, one after another, on one fresh lab.
func TestTroubleshootingIsReal(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("needs sh")
	}
	t.Parallel()
	doc, err := os.ReadFile(troubleshooting)
	if err != nil {
		t.Fatal(err)
	}
	c := newConsole(t)
	for _, f := range fences(string(doc)) {
		switch f.kind {
		case "python":
			c.save(f)
		case "console":
			for _, cmd := range f.typed(t) {
				if name, ok := strings.CutPrefix(cmd.command, "export "); ok {
					c.env = append(c.env, name)
					continue
				}
				if got, _ := c.run(cmd.command); !pattern(cmd.want).MatchString(got) { // a status that is not 0 is wanted as often as not
					t.Errorf("%s:%d: $ %s\ngot\n%s\nwant\n%s", troubleshooting, cmd.line, cmd.command, got, strings.Join(cmd.want, "\n"))
				}
			}
		default:
			t.Errorf("%s:%d: a block of kind %q is not checked", troubleshooting, f.line, f.kind)
		}
	}
}

// The table at the beginning leads from each message to a section that shows it.
func TestTroubleshootingTableLeadsToItsMessages(t *testing.T) {
	data, err := os.ReadFile(troubleshooting)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, _ := strings.Cut(string(data), "\n## ")
	sections := map[string]string{}
	for _, s := range regexp.MustCompile(`(?m)^#{2,3} `).Split("## "+rest, -1) {
		title, body, _ := strings.Cut(s, "\n")
		sections[anchor(title)] = body
	}
	row := regexp.MustCompile("(?m)^\\| `(.+)` \\| \\[.+\\]\\(#(.+)\\) \\|$")
	rows := row.FindAllStringSubmatch(head, -1)
	if len(rows) < 12 {
		t.Fatalf("the table has %d rows", len(rows))
	}
	for _, r := range rows {
		body, ok := sections[r[2]]
		if !ok {
			t.Errorf("there is no section #%s", r[2])
			continue
		}
		shown := regexp.MustCompile(strings.ReplaceAll(regexp.QuoteMeta(r[1]), "…", ".*"))
		if !shown.MatchString(body) {
			t.Errorf("section #%s does not show %q", r[2], r[1])
		}
	}
}

// anchor is how a heading is named in a link.
func anchor(title string) string {
	return strings.ReplaceAll(regexp.MustCompile(`[^a-z0-9 -]`).ReplaceAllString(strings.ToLower(title), ""), " ", "-")
}
