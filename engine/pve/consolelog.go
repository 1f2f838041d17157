package pve

import (
	"fmt"
	"path"
	"regexp"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/tengil/tengil/engine"
)

// Proxmox keeps nothing of what an application prints; LXC can, into a file that it
// bounds and rotates by itself. Of the keys for that, Proxmox takes the file's name
// alone in a container's config, but it takes lxc.include: LXC then reads the *.conf of
// a directory, and goes on without where the directory is missing (docs/proxmox.md).

// ConsoleLogSize is how large a log becomes before LXC begins a new one and keeps the
// old one beside it, in the place of an older one. LXC wants a power of two.
const ConsoleLogSize = 8 * engine.MiB

// ConsoleLogMax is what a container's logs take at most.
const ConsoleLogMax = 2 * ConsoleLogSize

// The keys of a container's raw lines that lead to its log.
const (
	LXCInclude     = "lxc.include"
	ConsoleLogFile = "lxc.console.logfile"
)

// ConsoleLog returns the log of a container whose logs are in dir. The one before it
// has .1 after its name.
func ConsoleLog(dir string) string { return path.Join(dir, "console.log") }

// ConsoleConf returns what LXC is to read, and the file in dir that holds it.
func ConsoleConf(dir string) (name string, data []byte) {
	return path.Join(dir, "lxc.conf"), fmt.Appendf(nil,
		"# Where LXC keeps what the container prints. Written by tengil; changes here are overwritten.\n%s = %s\nlxc.console.size = %d\nlxc.console.rotate = 1\n",
		ConsoleLogFile, ConsoleLog(dir), ConsoleLogSize)
}

// ConsoleInclude is the raw line of a container whose logs are in dir. The slash at the
// end has LXC start the container even where the directory is missing.
func ConsoleInclude(dir string) KV { return KV{Key: LXCInclude, Value: path.Clean(dir) + "/"} }

// sequences are what a program sends to a terminal besides text: CSI with its
// parameters, OSC up to its end, and the short ones.
var sequences = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile("\x1b(?:\\[[0-?]*[ -/]*[@-~]|\\][^\x07\x1b]*(?:\x07|\x1b\\\\)?|[ -/]*[0-~])")
})

// ConsoleLine returns a line of a log as text alone: without what a terminal would obey
// and without what lets a reader see something else than what is there. What a line
// wrote over itself, as a progress bar does, is left out.
func ConsoleLine(line string) string {
	line = strings.TrimRight(sequences().ReplaceAllString(line, ""), "\r\n")
	line = line[strings.LastIndexByte(line, '\r')+1:]
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || r != '\t' && engine.Misleads(r) {
			return -1
		}
		return r
	}, line)
}

// ConsoleTail returns the last lines of a log's end, without empty ones: n at most, of
// at most width characters each, cut between words. whole says that the text begins where a line does.
func ConsoleTail(end string, whole bool, n, width int) []string {
	if _, rest, cut := strings.Cut(end, "\n"); !whole && cut {
		end = rest
	}
	var lines []string
	for line := range strings.Lines(end) {
		if line = ConsoleLine(line); strings.TrimSpace(line) == "" {
			continue
		}
		if r := []rune(line); len(r) > width {
			line = string(r[:width])
			// Half a word would hide from a masker what the whole is.
			line = line[:strings.LastIndexAny(line, " \t")+1] + "…"
		}
		lines = append(lines, line)
	}
	return lines[max(0, len(lines)-n):]
}
