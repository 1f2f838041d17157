package pve

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// OneLine returns the only line that a command printed, without its end. What was
// cut off, has more lines or is no text is an error that names the command.
func OneLine(argv []string, out []byte) (string, error) {
	line, ok := strings.CutSuffix(string(out), "\n")
	if _, at := ControlChars(line); !ok || at >= 0 || line == "" {
		return "", wanted(argv, "one line", out)
	}
	return line, nil
}

// wanted says what a command should have printed and, shortened, what it did.
func wanted(argv []string, what string, out []byte) error {
	return fmt.Errorf("%s: wanted %s, got %.80q", strings.Join(argv, " "), what, out)
}

// ParseFileType reads what "stat -c %F FILE" prints: "directory", "symbolic link".
func ParseFileType(argv []string, out []byte) (string, error) {
	kind, err := OneLine(argv, out)
	known := []string{"regular file", "regular empty file", "directory", "symbolic link", "character special file", "block special file", "fifo", "socket"}
	if err != nil || !slices.Contains(known, kind) {
		return "", wanted(argv, "a type of file", out)
	}
	return kind, nil
}

// ParsePath reads what "readlink -f FILE" or "pvesm path VOLUME" prints: one
// absolute path.
func ParsePath(argv []string, out []byte) (string, error) {
	name, err := OneLine(argv, out)
	if err != nil || !path.IsAbs(name) {
		return "", wanted(argv, "one absolute path", out)
	}
	return name, nil
}

// ParseFileSize reads what "stat -c %s FILE" prints.
func ParseFileSize(argv []string, out []byte) (int64, error) {
	line, err := OneLine(argv, out)
	if err != nil {
		return 0, wanted(argv, "a number of bytes", out)
	}
	n, err := strconv.ParseInt(line, 10, 64)
	if err != nil || n < 0 {
		return 0, wanted(argv, "a number of bytes", out)
	}
	return n, nil
}

// ParseFileSizes reads what "stat -c '%s %n' FILE..." prints of the files that are
// there.
func ParseFileSizes(argv []string, out []byte) (map[string]int64, error) {
	sizes := map[string]int64{}
	for line := range strings.Lines(string(out)) {
		size, name, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		n, err := strconv.ParseInt(size, 10, 64)
		if !ok || err != nil || n < 0 {
			return nil, wanted(argv, "a number of bytes and a name in each line", out)
		}
		sizes[name] = n
	}
	return sizes, nil
}

var ownerLine = regexp.MustCompile(`^([0-9]{1,10}) ([0-9]{1,10}) ([0-7]{1,4})$`)

// ParseOwner reads what "stat -c '%u %g %a' FILE" prints.
func ParseOwner(argv []string, out []byte) (uid, gid, mode string, err error) {
	line, err := OneLine(argv, out)
	m := ownerLine.FindStringSubmatch(line)
	if err != nil || m == nil {
		return "", "", "", wanted(argv, "owner, group and mode", out)
	}
	return m[1], m[2], m[3], nil
}

// A FileStat is what stat tells of a file: ids of owner and group, permissions in
// octal ("755"), and the type as ParseFileType returns it.
type FileStat struct{ UID, GID, Mode, Kind string }

// ParseFileStat reads what "stat -c '%u %g %a %F' FILE" prints.
func ParseFileStat(argv []string, out []byte) (FileStat, error) {
	f := strings.SplitN(string(out), " ", 4) // only the type has blanks
	if len(f) < 4 {
		return FileStat{}, wanted(argv, "owner, group, mode and type", out)
	}
	uid, gid, mode, err1 := ParseOwner(argv, []byte(strings.Join(f[:3], " ")+"\n"))
	kind, err2 := ParseFileType(argv, []byte(f[3]))
	if err1 != nil || err2 != nil {
		return FileStat{}, wanted(argv, "owner, group, mode and type", out)
	}
	return FileStat{uid, gid, mode, kind}, nil
}

// wholeLines splits what a command printed into lines. The last one must have its
// end: without it the output was cut off, and the line may mean something else.
func wholeLines(argv []string, out []byte) ([]string, error) {
	if len(out) == 0 {
		return nil, nil
	}
	text, ok := strings.CutSuffix(string(out), "\n")
	if !ok {
		return nil, wanted(argv, "whole lines", out[max(0, len(out)-60):])
	}
	return strings.Split(text, "\n"), nil
}
