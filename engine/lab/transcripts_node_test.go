package lab

import (
	"encoding/json"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/tengil/tengil/engine/lab/labtest"
)

// capturedNode makes a fresh node with what the captured one had.
func capturedNode(t *testing.T, tr transcript) *node {
	t.Helper()
	n, err := newNode(labtest.TempDir(t), Options{PVE: tr.Version})
	if err != nil {
		t.Fatal(err)
	}
	n.cut = func() {}
	placeImages(t, n, tr.text)
	if strings.Contains(tr.text, local+"/web:") { // the registry of the captured node
		for tag, name := range map[string]string{"latest": "web_latest", "v2": "web_v2", "user": "web_user", "exit3": "web_exit3", "nocmd": "web_nocmd"} {
			spec := templates()[name]
			spec.Ports, spec.Labels = []string{"80/tcp"}, map[string]string{"org.opencontainers.image.title": "web"}
			if tag == "v2" {
				spec.Layers = append(templates()["web_latest"].Layers, []LayerEntry{fileEntry("www/index.html", "hello v2\n")})
			}
			addImage(t, n, local+"/web:"+tag, spec)
		}
	}
	return n
}

// renamed puts the lab's node in the place of the captured one.
func (n *node) renamed(s string) string { return strings.ReplaceAll(s, "pve1", n.name) }

// A volatile is a text that changes from run to run, or with the machine.
type volatile struct{ pattern, instead string }

// volatiles are the texts that testdata/transcripts/README.md lists, and what the
// lab's hardware has otherwise.
func volatiles() []volatile {
	return []volatile{
		{`(?i)bc:24:11(:[0-9a-f]{2}){3}`, "MAC"},
		{`fe80::[0-9a-f:]+`, "fe80::LINK"},
		{`\b[0-9a-f]{40}\b`, "DIGEST"},
		{`\b[0-9a-f]{64}\b`, "DIGEST"},
		{`sha256:[0-9a-f]{64}`, "sha256:DIGEST"},
		{`UPID:(\w+):[0-9A-F]{8}:[0-9A-F]{8}:[0-9A-F]{8}:`, "UPID:$1:"},
		{`(?m)^(pid|uptime|mem|swap|disk|diskread|diskwrite|netin|netout|cpus): \d+$`, "$1: N"},
		{`"(pid|pstart|uptime|mem|swap|disk|diskread|diskwrite|netin|netout|cpus|ctime|avail|total|used|size)":\d+`, `"$1":0`},
		{`"used_fraction":[0-9.e-]+`, `"used_fraction":0`},
		{`\b1[78]\d{8}(\.\d+)?\b`, "TIME"},
		{`\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?`, "DATE"},
		{`(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) [ \d]\d ( \d{4}|\d\d:\d\d)`, "DATE"},
		{`10\.10\.10\.1\d\d\b`, "LEASE"},
		{` +at /usr/share/perl5/\S+ line \d+\.`, ""},
		{`(?m)^Wide character in print.*\n`, ""},
		{`trying to acquire lock\.\.\.\n OK\n`, ""},
		{`Total bytes read: .*`, "Total bytes read"},
		{`(?m)^    "created": .*\n`, ""},
		{`(?m)^ *\d+ task UPID`, "PID task UPID"},
		{`(?m)^total \d+$`, "total N"},
		{`container_images_oci\w+`, "container_images_oci"},
		{`(eth\d+)@if\d+`, "$1@ifN"},
		{`(?m)^\d+: (eth\d+)`, "N: $1"},
		{`scope link (tentative )?\n`, "scope link\n"},
		{`(?m)^/usr/libexec/pve-lab/.*\n`, ""},
	}
}

// stable takes out of an output what changes from run to run; set are the numbers
// that some command of the transcript names.
func (n *node) stable(s transcriptStep, text string, set map[string]bool) string {
	if !utf8.ValidString(text) { // as transcripts have such texts
		text = latin1(text)
	}
	text = n.renamed(text)
	for _, v := range volatiles() {
		text = regexp.MustCompile(v.pattern).ReplaceAllString(text, v.instead)
	}
	if s.Argv[0] == "zfs" || s.Argv[0] == "zpool" {
		text = stableZFS(s.Argv, text, set)
	}
	if s.Argv[0] == "skopeo" { // the order of tags is the registry's
		text = regexp.MustCompile(`"Size": \d+`).ReplaceAllString(text, `"Size": N`)
		text = regexp.MustCompile(`(?m)(^        "[^"]*",?\n)+`).ReplaceAllStringFunc(text, func(list string) string {
			lines := strings.Split(strings.ReplaceAll(list, ",\n", "\n"), "\n")
			slices.Sort(lines)
			return strings.Join(lines, "\n")
		})
	}
	if s.Argv[0] == "pvesm" {
		text = regexp.MustCompile(`\b\d{3,}\b( VMID)?`).ReplaceAllString(text, "N$1")
		text = regexp.MustCompile(`[\d.]+%`).ReplaceAllString(text, "P%")
		text = regexp.MustCompile(` {2,}`).ReplaceAllString(text, " ")
	}
	if strings.Contains(strings.Join(s.Argv, " "), "ls -la") {
		text = stableListing(text)
	}
	if s.Argv[0] == "pvesh" {
		text = stableJSON(text)
	}
	return stableOrder(text)
}

// stableListing leaves out of ls -l what hangs on other scenarios of the captured
// node (the parent directory), on its name and on inodes, and so the columns' widths.
func stableListing(text string) string {
	for _, v := range []volatile{
		{`(?m)^\d+ ([-dl][-rwxst]{9})`, "INODE $1"},
		{`(?m)^(d\S{9} +)\d+( +\S+ +\S+ +)\d+( DATE \.\.)$`, "${1}N${2}N$3"},
		{`(?m)^(l\S{9} +\d+ +\S+ +\S+ +)\d+`, "${1}N"},
		{`(?m)^(dr-xr-xr-x +)\d+(.* (proc|sys))$`, "${1}N$2"},
		{` +`, " "},
	} {
		text = regexp.MustCompile(v.pattern).ReplaceAllString(text, v.instead)
	}
	return text
}

// latin1 reads each byte as a character.
func latin1(text string) string {
	var b strings.Builder
	for i := range len(text) {
		b.WriteRune(rune(text[i]))
	}
	return b.String()
}

// stableZFS leaves out of what zfs prints the numbers that no two pools have
// alike, and the long lists of its usage.
func stableZFS(argv []string, text string, set map[string]bool) string {
	text, _, _ = strings.Cut(text, "usage:")
	text = regexp.MustCompile(`(^|[\t\n ])\d{2,}\b`).ReplaceAllStringFunc(text, func(n string) string {
		if set[strings.Trim(n, "\t\n ")] {
			return n
		}
		return strings.TrimRight(n, "0123456789") + "N"
	})
	if slices.Contains(argv, "all") { // user properties come as they were set
		lines := strings.Split(text, "\n")
		slices.Sort(lines)
		text = strings.Join(lines, "\n")
	}
	return text
}

// numbersOf returns the numbers that the commands of a transcript name.
func numbersOf(tr transcript) map[string]bool {
	set := map[string]bool{}
	for _, s := range tr.Steps {
		for _, a := range s.Argv {
			for _, n := range regexp.MustCompile(`\d{2,}`).FindAllString(a, -1) {
				set[n] = true
			}
			if m := regexp.MustCompile(`=(\d+)([KMG])$`).FindStringSubmatch(a); m != nil {
				set[strconv.FormatInt(parseSize(m[1]+m[2]), 10)] = true
			}
		}
	}
	return set
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
	for _, p := range []string{"creating base directory for volume at ", "Auto-Enabling host-managed network", "vm "} {
		if strings.HasPrefix(a, p) && strings.HasPrefix(b, p) {
			return true
		}
	}
	const missing = ": property is missing and it is not optional"
	return strings.HasSuffix(a, missing) && strings.HasSuffix(b, missing)
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
