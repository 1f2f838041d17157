package lab

import (
	"encoding/json"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/tengil/tengil/engine/lab/labtest"
)

// A replayNode is a lab's node on which a transcript is replayed.
type replayNode struct{ *node }

// capturedNode makes a fresh node with what the captured one had.
func capturedNode(t *testing.T, tr transcript, text string) *replayNode {
	t.Helper()
	l, err := Open(t.Context(), Options{Dir: labtest.TempDir(t), PVE: tr.Version})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	n := &replayNode{l.node}
	placeImages(t, n.node, text)
	for name, o := range scenarioDirs(tr.Scenario) {
		if err := n.mkdirAll(name); err != nil {
			t.Fatal(err)
		}
		n.setOwner(name, o)
	}
	for name, content := range scenarioFiles(tr.Scenario) {
		if err := n.writeFile(name, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(name, "/tank/at/") {
			n.setOwner(name, owner{UID: mappedRoot, GID: mappedRoot, Mode: 0o644})
		}
	}
	if tr.Scenario == "01-image-wins" {
		for _, name := range []string{"noconfig", "sbininit"} {
			placeImage(t, n.node, "/root/odd/odd_"+name+".tar", oddImages()[name])
		}
	}
	if tr.Scenario == "02-create-errors" {
		if err := os.Symlink("media", n.host("/tank/link")); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

// scenarioDirs are directories that were there before the first step, or that
// unrecorded steps made.
func scenarioDirs(scenario string) map[string]owner {
	root, mapped := owner{Mode: 0o755}, owner{UID: mappedRoot, GID: mappedRoot, Mode: 0o755}
	switch scenario {
	case "02-create-errors":
		return map[string]owner{"/tank/media": root, "/tank/with blank": mapped, "/tank/a=b": mapped}
	case "05-mounts-ids":
		return map[string]owner{"/tank/at": mapped, "/tank/at2": root, "/tank/at3": root}
	}
	return nil
}

func scenarioFiles(scenario string) map[string]string {
	switch scenario {
	case "02-create-errors":
		return map[string]string{"/tank/file": "x\n"}
	case "05-mounts-ids":
		return map[string]string{
			"/tank/at/hostonly": "host\n", "/tank/at/same": "host version\n",
			"/tank/at2/hostonly": "host\n", "/tank/at2/same": "host version\n",
		}
	}
	return nil
}

// renamed puts the lab's node in the place of the captured one.
func (n *replayNode) renamed(s string) string { return strings.ReplaceAll(s, "pve1", n.name) }

// A volatile is a text that changes from run to run, or with the machine.
type volatile struct{ pattern, instead string }

// volatiles are the texts that testdata/transcripts/README.md lists, and what the
// lab's hardware has otherwise.
func volatiles() []volatile {
	return []volatile{
		{`(?i)bc:24:11(:[0-9a-f]{2}){3}`, "MAC"},
		{`fe80::[0-9a-f:]+`, "fe80::LINK"},
		{`\b[0-9a-f]{40}\b`, "DIGEST"},
		{`sha256:[0-9a-f]{64}`, "sha256:DIGEST"},
		{`UPID:(\w+):[0-9A-F]{8}:[0-9A-F]{8}:[0-9A-F]{8}:`, "UPID:$1:"},
		{`(?m)^(pid|uptime|mem|swap|disk|diskread|diskwrite|netin|netout|cpus): \d+$`, "$1: N"},
		{`"(pid|uptime|mem|swap|disk|diskread|diskwrite|netin|netout|cpus|ctime|avail|total|used|size)":\d+`, `"$1":0`},
		{`"used_fraction":[0-9.e-]+`, `"used_fraction":0`},
		{`\b1[78]\d{8}(\.\d+)?\b`, "TIME"},
		{`\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d`, "DATE"},
		{`(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) [ \d]\d ( \d{4}|\d\d:\d\d)`, "DATE"},
		{`10\.10\.10\.1\d\d\b`, "LEASE"},
		{` +at /usr/share/perl5/\S+ line \d+\.`, ""},
		{`(?m)^Wide character in print.*\n`, ""},
		{`trying to acquire lock\.\.\.\n OK\n`, ""},
		{`Total bytes read: .*`, "Total bytes read"},
		{`(?m)^    "created": .*\n`, ""},
	}
}

// stable takes out of an output what changes from run to run.
func (n *replayNode) stable(s transcriptStep, text string) string {
	text = n.renamed(text)
	for _, v := range volatiles() {
		text = regexp.MustCompile(v.pattern).ReplaceAllString(text, v.instead)
	}
	if s.Argv[0] == "zfs" && len(s.Argv) > 4 && strings.HasPrefix(s.Argv[4], "name,used") {
		text = regexp.MustCompile(`(?m)^(\S+)\t\d+\t`).ReplaceAllString(text, "$1\tUSED\t")
	}
	if s.Argv[0] == "pvesm" {
		text = regexp.MustCompile(`\b\d{3,}\b( VMID)?`).ReplaceAllString(text, "N$1")
		text = regexp.MustCompile(`[\d.]+%`).ReplaceAllString(text, "P%")
		text = regexp.MustCompile(` {2,}`).ReplaceAllString(text, " ")
	}
	if s.Argv[0] == "pvesh" {
		text = stableJSON(text)
	}
	return stableOrder(text)
}

// stableOrder sorts what comes in the order of a Perl hash: refused parameters,
// and messages of one kind.
func stableOrder(text string) string {
	lines := strings.Split(text, "\n")
	for i := 0; i < len(lines); i++ {
		end := i
		switch {
		case strings.HasPrefix(lines[i], "400 "):
			i++
			end = i
			for end < len(lines) && !strings.HasPrefix(lines[end], "pct ") && !strings.HasPrefix(lines[end], "pvesh ") {
				end++
			}
		default:
			for end < len(lines) && sameKind(lines[i], lines[end]) {
				end++
			}
		}
		if end > i {
			slices.Sort(lines[i:end])
			i = end - 1
		}
	}
	return strings.Join(lines, "\n")
}

func sameKind(a, b string) bool {
	for _, p := range []string{"creating base directory for volume at ", "Auto-Enabling host-managed network"} {
		if strings.HasPrefix(a, p) && strings.HasPrefix(b, p) {
			return true
		}
	}
	return false
}

// stableJSON sorts the lists of an answer, whose order is that of a Perl hash.
func stableJSON(text string) string {
	var list []map[string]any
	if err := json.Unmarshal([]byte(text), &list); err == nil {
		rows := make([]string, len(list))
		for i, row := range list {
			rows[i] = jsonText(sortedContent(row))
		}
		slices.Sort(rows)
		return strings.Join(rows, "\n")
	}
	var one map[string]any
	if err := json.Unmarshal([]byte(text), &one); err == nil {
		return jsonText(sortedContent(one))
	}
	return text
}

func sortedContent(row map[string]any) map[string]any {
	if content, ok := row["content"].(string); ok {
		parts := strings.Split(content, ",")
		slices.Sort(parts)
		row["content"] = path.Join(parts...)
	}
	return row
}
