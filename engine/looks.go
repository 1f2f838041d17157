package engine

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
)

// A look is what a program may be called with so that it changes nothing.
type look struct {
	verbs   []string // the first argument is one of them; nil: any
	options string   // options by name, parted by blanks; one that ends in "=" takes a value
	exactly bool     // nothing but one of the options may stand there
	content bool     // it reads what its arguments name, which no device may be
}

// looks are the programs that only look, with what they may be called with. A
// program that changes something with some option is listed with the others only.
func looks() map[string]look {
	return map[string]look{
		"cat": {content: true}, "head": {options: "-n= -c= --lines= --bytes=", content: true}, "tail": {options: "-n= -c= --lines= --bytes=", content: true},
		"grep":      {options: "-q -s -c -l -n -h -H -i -v -w -x -E -F -e= -m= -A= -B= -C= -o -r -a", content: true},
		"sha256sum": {content: true}, "wc": {options: "-l -c -w -m", content: true}, "cmp": {options: "-s", content: true},
		"stat": {options: "-c= --format= -L -f --printf="}, "test": {options: "*"}, "ls": {options: "-1 -a -A -d -l -n -R -L"},
		"readlink": {options: "-f -e -m -n"}, "realpath": {options: "-e -m -s"},
		"df": {options: "-B= -P -T -k --output="}, "du": {options: "-s -b -k -x"}, "findmnt": {options: "-n -o= -T= -J -r"}, "mountpoint": {options: "-q -d"},
		"lsblk": {options: "-n -o= -J -b -d -p -r"}, "id": {options: "-u -g -n -G"}, "getent": {options: "-s="}, "getfacl": {options: "-c -p -n"},
		"uname": {options: "-a -r -m -n -s"}, "nproc": {}, "which": {options: "-a"},
		"systemctl": {verbs: []string{"show", "is-active", "is-enabled", "is-failed", "cat", "list-units", "list-unit-files", "list-timers"},
			options: "-p= --property= --value --all -a --plain --no-legend --no-pager --full -l -q --quiet --type= --state="},
		"zfs": {verbs: []string{"get", "list"}, options: "-H -p -o= -t= -r -d= -s="}, "zpool": {verbs: []string{"get", "list", "status"}, options: "-H -p -o= -v"},
		"pct": {verbs: []string{"list", "config", "status"}}, "qm": {verbs: []string{"list", "config", "status"}},
		"pvesm": {verbs: []string{"list", "status", "path"}, options: "--storage= --content= --vmid="},
		"pvesh": {verbs: []string{"get"}, options: "--output-format= --noborder --noheader"},
		"dpkg":  {options: "-s -l --status --list --print-architecture"}, "dpkg-query": {options: "-W --show -s --status -l --list -f= --showformat="},
		"exportfs": {options: "-s -v", exactly: true}, "crontab": {options: "-l -u=", exactly: true},
		"testparm":  {options: "-s -v --suppress-prompt --verbose --parameter-name= --section-name= --show-all-parameters", content: true},
		"smbstatus": {options: "-b -p -S -L -n -u= --brief --processes --shares --locks --numeric --json"},
	}
}

// programDirs are where the programs of looks are, if they are called by a path.
var programDirs = []string{"/bin", "/sbin", "/usr/bin", "/usr/sbin"}

// CheckLooks returns an error if a command might change something, for all that is
// known: programs, verbs and options that nobody has looked at are refused.
func CheckLooks(argv []string) error {
	if len(argv) == 0 || argv[0] == "" {
		return errors.New("wanted a program and its arguments, got nothing")
	}
	all := looks()
	name := path.Base(argv[0])
	l, ok := all[name]
	if !ok || argv[0] != name && !slices.Contains(programDirs, path.Dir(argv[0])) {
		return WithHint(fmt.Errorf("%q is not known to change nothing", argv[0]),
			"while looking there are these programs: "+strings.Join(slices.Sorted(maps.Keys(all)), ", "))
	}
	args := argv[1:]
	if l.verbs != nil {
		if len(args) == 0 || !slices.Contains(l.verbs, args[0]) {
			return fmt.Errorf("%s only with one of %s, so that it changes nothing", name, strings.Join(l.verbs, ", "))
		}
		args = args[1:]
	}
	return l.check(name, args)
}

func (l look) check(name string, args []string) error {
	values, ended := false, false
	for _, a := range args {
		switch {
		case values:
			values = false
			continue
		case a == "--" && !l.exactly:
			ended = true
			continue
		case l.options == "*":
		case l.exactly || !ended && strings.HasPrefix(a, "-") && a != "-":
			takes, ok := l.option(a)
			if !ok {
				return fmt.Errorf("%s with %q is not known to change nothing; it may be given %s", name, a, orNone(l.options))
			}
			values = takes
			continue
		}
		if l.content && isDevice(a) {
			return fmt.Errorf("%s of %q: opening a device may change something", name, a)
		}
	}
	return nil
}

// isDevice reports whether a names what lies below /dev, as seen from root's home.
func isDevice(a string) bool {
	if !path.IsAbs(a) {
		a = "/root/" + a
	}
	return strings.HasPrefix(path.Clean(a), "/dev/")
}

func orNone(options string) string {
	if options == "" {
		return "no options"
	}
	return strings.ReplaceAll(options, "=", "")
}

// option reports whether a is one of the options, and whether its value is the next
// argument. A value may also follow "=", or a short name directly.
func (l look) option(a string) (takesNext, ok bool) {
	for o := range strings.FieldsSeq(l.options) {
		name, takes := strings.CutSuffix(o, "=")
		switch {
		case a == name:
			return takes, true
		case takes && strings.HasPrefix(name, "--") && strings.HasPrefix(a, name+"="):
			return false, true
		case takes && len(name) == 2 && strings.HasPrefix(a, name):
			return false, true
		}
	}
	return false, false
}
