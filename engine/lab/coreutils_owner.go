package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"syscall"
)

// changeMode returns mode changed as chmod's argument says: octal, or clauses
// such as "u+rw,go-rwx".
func changeMode(mode fs.FileMode, text string, dir bool) (fs.FileMode, error) {
	if n, err := strconv.ParseUint(text, 8, 12); err == nil {
		return fs.FileMode(n), nil
	}
	for clause := range strings.SplitSeq(text, ",") {
		i := strings.IndexAny(clause, "+-=")
		if i < 0 {
			return 0, errors.New("invalid mode")
		}
		who, err := modeMask(clause[:i])
		if err != nil {
			return 0, err
		}
		bits, err := modeBits(clause[i+1:], dir || mode&0o111 != 0)
		if err != nil {
			return 0, err
		}
		switch clause[i] {
		case '+':
			mode |= bits & who
		case '-':
			mode &^= bits & who
		case '=':
			mode = mode&^(who&0o777) | bits&who
		}
	}
	return mode, nil
}

func modeMask(who string) (fs.FileMode, error) {
	if who == "" {
		who = "a"
	}
	var mask fs.FileMode
	for _, c := range who {
		switch c {
		case 'u':
			mask |= 0o4700
		case 'g':
			mask |= 0o2070
		case 'o':
			mask |= 0o1007
		case 'a':
			mask |= 0o7777
		default:
			return 0, errors.New("invalid mode")
		}
	}
	return mask, nil
}

func modeBits(what string, search bool) (fs.FileMode, error) {
	var bits fs.FileMode
	for _, c := range what {
		switch {
		case c == 'r':
			bits |= 0o444
		case c == 'w':
			bits |= 0o222
		case c == 'x' || c == 'X' && search:
			bits |= 0o111
		case c == 'X':
		case c == 's':
			bits |= 0o6000
		case c == 't':
			bits |= 0o1000
		default:
			return 0, errors.New("invalid mode")
		}
	}
	return bits, nil
}

func chmodProgram(p *proc) int {
	o, names, exit, ok := p.options(grammar{names: "R recursive v c f"}, 1)
	if !ok {
		return exit
	}
	if len(names) < 2 {
		return p.failf(1, "chmod: missing operand\nTry 'chmod --help' for more information.")
	}
	mode := names[0]
	if _, err := changeMode(0, mode, false); err != nil {
		return p.failf(1, "chmod: invalid mode: ‘%s’\nTry 'chmod --help' for more information.", mode)
	}
	defer p.node.save()
	return p.eachOwned(names[1:], o.has("R") || o.has("recursive"), true, func(f fileStat) string {
		f.owner.Mode, _ = changeMode(f.owner.Mode, mode, f.info.IsDir()) // checked above
		if inPmxcfs(f.at) {
			return fmt.Sprintf("chmod: changing permissions of '%s': %s", f.name, strerror(syscall.EPERM))
		}
		p.node.setOwner(f.at, f.owner)
		return ""
	})
}

func chownProgram(p *proc) int {
	o, names, exit, ok := p.options(grammar{names: "R recursive h no-dereference v c f"}, 1)
	if !ok {
		return exit
	}
	if len(names) < 2 {
		return p.failf(1, "chown: missing operand\nTry 'chown --help' for more information.")
	}
	uid, gid, msg := parseOwner(names[0])
	if msg != "" {
		return p.failf(1, "chown: %s", msg)
	}
	defer p.node.save()
	follow := !o.has("h") && !o.has("no-dereference")
	return p.eachOwned(names[1:], o.has("R") || o.has("recursive"), follow, func(f fileStat) string {
		if inPmxcfs(f.at) {
			return fmt.Sprintf("chown: changing ownership of '%s': %s", f.name, strerror(syscall.EPERM))
		}
		if uid >= 0 {
			f.owner.UID = uid
		}
		if gid >= 0 {
			f.owner.GID = gid
		}
		p.node.setOwner(f.at, f.owner)
		return ""
	})
}

// parseOwner parses "USER[:GROUP]" and ":GROUP"; -1 is unchanged.
func parseOwner(text string) (uid, gid int, msg string) {
	user, group, both := strings.Cut(text, ":")
	uid, gid = -1, -1
	if user != "" {
		if uid = idOf(user); uid < 0 {
			return 0, 0, fmt.Sprintf("invalid user: ‘%s’", text)
		}
	}
	if group != "" {
		if gid = idOf(group); gid < 0 {
			return 0, 0, fmt.Sprintf("invalid group: ‘%s’", text)
		}
	} else if both && uid >= 0 {
		gid = uid // "USER:" is the login group, which has the same number here
	}
	return uid, gid, ""
}

func idOf(name string) int {
	switch name {
	case "root":
		return 0
	case "www-data":
		return wwwData
	}
	id, err := strconv.ParseUint(name, 10, 31)
	if err != nil {
		return -1
	}
	return int(id)
}

// eachOwned calls change for the files and, if recursive, for all below them; it
// returns what is wrong, or "".
func (p *proc) eachOwned(names []string, recursive, follow bool, change func(fileStat) string) int {
	exit := 0
	for _, name := range names {
		f, err := p.look(name, follow)
		if err != nil {
			exit = p.failf(1, "%s: cannot access '%s': %s", path.Base(p.argv[0]), name, strerror(err))
			continue
		}
		if msg := change(f); msg != "" {
			exit = p.failf(1, "%s", msg)
		}
		if !recursive || !f.info.IsDir() {
			continue
		}
		list, err := p.node.readDir(f.at)
		if err != nil {
			exit = p.failf(1, "%s: cannot read directory '%s': %s", path.Base(p.argv[0]), name, strerror(err))
		}
		var below []string
		for _, e := range list {
			below = append(below, path.Join(name, e.Name()))
		}
		if len(below) > 0 && p.eachOwned(below, true, false, change) != 0 {
			exit = 1
		}
	}
	return exit
}
