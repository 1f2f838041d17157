package sshhost

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/tengil/tengil/engine"
)

// Statuses of the script of WriteFile that are not those of a failed command.
const (
	exitLocked  = 75 // EX_TEMPFAIL, given to flock(1)
	exitChanged = 76
)

// WriteFile implements engine.Host, in one round trip: the content goes to a new
// file beside f.Name, which is then renamed; on any failure the new file is removed.
// f.Perm of 0 means 0600. A lock that is not free within Options.LockWait is a
// transient error. f.Was is checked for sure only under f.Lock.
//
// A new file that a loss of power left behind is removed by the next WriteFile of
// f.Name that finds it 10 minutes old: by then whoever wrote it has ended, or has
// lost its connection and will never rename it. In directories of the node's own,
// where no user keeps files, the next WriteFile of any name removes it.
func (h *Host) WriteFile(ctx context.Context, f engine.File) error {
	body, err := h.writeScript(f)
	if err != nil {
		return err
	}
	name := "write " + f.Name
	ctx, cancel := h.within(ctx)
	defer cancel()
	r, err := h.do(ctx, job{name: name, body: body, stdin: bytes.NewReader(f.Data), audit: f.Audit})
	if err != nil || r.status == 0 {
		return h.overdue(ctx, err)
	}
	switch {
	case r.status == exitChanged:
		return fmt.Errorf("%s on %s: %w", name, h.name, engine.ErrChanged)
	case r.status == exitLocked:
		return engine.Transient(fmt.Errorf("%s on %s: %s is locked by another process, waited %s", name, h.name, f.Lock, h.lockWait))
	}
	return fmt.Errorf("on %s: %w", h.name, &engine.ExitError{Argv: []string{"write", f.Name}, Exit: r.status, Stderr: r.stderr})
}

// replaceScript checks and renames: $1 is the file, $2 the new one, $3 what the
// file must hold: nothing to check if empty, "none" for no file, else its SHA-256.
const replaceScript = `
[ ! -d "$1" ] || { echo "$1 is a directory" >&2; exit 1; }
case $3 in
"") ;;
none) [ ! -e "$1" ] && [ ! -h "$1" ] || exit 76 ;;
*)
	[ -e "$1" ] || exit 76
	sum=$(sha256sum <"$1") || exit
	[ "${sum%% *}" = "$3" ] || exit 76 ;;
esac
mv -f "$2" "$1"`

// sweepScript removes those of its arguments that are 10 minutes old, but starts no
// program where there is none.
const sweepScript = `sweep() {
	[ -f "$1" ] || return 0
	now=$(date +%s)
	for old; do
		made=$(stat -c %Y "$old") && [ "$((now - made))" -ge 600 ] && rm -f "$old"
	done 2>/dev/null
}
`

// writeScript returns the shell text of WriteFile. Below /etc/pve there is no
// chmod: pmxcfs gives each file the mode of its place.
func (h *Host) writeScript(f engine.File) (string, error) {
	name, err := quotePath(f.Name)
	if err != nil {
		return "", err
	}
	if path.Clean(f.Name) != f.Name || f.Name == "/" {
		return "", fmt.Errorf("path %q is not clean", f.Name)
	}
	var b strings.Builder
	b.WriteString(stay)
	b.WriteString(parents(f.Name) + " || exit\n")
	dir, base := path.Split(f.Name)
	b.WriteString(onPipe(`rm -f "$t"`))
	temp := dir + "." + base + ".tg-"
	fmt.Fprintf(&b, "%ssweep %s??????\n", sweepScript, left(dir, temp))
	// A mktemp that is ended by a signal may have made the file.
	fmt.Fprintf(&b, "t=$(%smktemp %s) || exit\n", ignore, word(temp+"XXXXXX"))
	b.WriteString("replace() {\n")
	b.WriteString("cat >\"$t\" || return 1\n")
	fmt.Fprintf(&b, "size=$(stat -c %%s \"$t\") || return 1\n")
	fmt.Fprintf(&b, "[ \"$size\" -eq %d ] || { echo \"$size bytes arrived, wanted %d\" >&2; return 1; }\n", len(f.Data), len(f.Data))
	if f.Perm != 0 && !strings.HasPrefix(f.Name, "/etc/pve/") {
		fmt.Fprintf(&b, "chmod %o \"$t\" || return 1\n", f.Perm.Perm())
	}
	args := name + " \"$t\" " + word(wanted(f.Was))
	if f.Lock == "" {
		fmt.Fprintf(&b, "( set -- %s\n%s\n)\n", args, replaceScript)
	} else {
		locked, err := flock(f.Lock, h.lockWait)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "%ssh -c %s sh %s\n", locked, word(replaceScript), args)
	}
	b.WriteString("}\nreplace && exit\ns=$?\n" + ignore + "rm -f \"$t\"\nexit \"$s\"\n")
	return b.String(), nil
}

// left returns the words that match, with six characters after them, the new files
// that may be swept.
func left(dir, temp string) string {
	for _, own := range []string{"/etc/pve/", "/run/tengil/", "/var/lib/tengil/"} {
		if strings.HasPrefix(dir, own) {
			return word(dir) + ".*.tg-"
		}
	}
	return word(temp)
}

// wanted is the third argument of replaceScript.
func wanted(was []byte) string {
	switch {
	case was == nil:
		return ""
	case len(was) == 0:
		return "none"
	}
	sum := sha256.Sum256(was)
	return hex.EncodeToString(sum[:])
}

// parents returns the shell command that makes the missing parents of name, with mode
// 0700: given every parent by name, mkdir -m sets it on each that it makes. pmxcfs
// has its own modes and no chmod.
func parents(name string) string {
	dir := path.Dir(name)
	if dir == "/" {
		return "true"
	}
	if strings.HasPrefix(dir+"/", "/etc/pve/") {
		return fmt.Sprintf("[ -d %s ] || mkdir -p %[1]s", word(dir))
	}
	var all string
	for d := dir; d != "/"; d = path.Dir(d) {
		all = " " + word(d) + all
	}
	return fmt.Sprintf("[ -d %s ] || mkdir -p -m 700%s", word(dir), all)
}

// flock returns the shell text before a command that makes it wait for a lock.
func flock(name string, wait time.Duration) (string, error) {
	quoted, err := quotePath(name)
	if err != nil {
		return "", err
	}
	dir := word(path.Dir(name))
	return fmt.Sprintf("[ -d %s ] || mkdir -p %[1]s || return 1\nflock -w %g -E %d %s ", dir, wait.Seconds(), exitLocked, quoted), nil
}
