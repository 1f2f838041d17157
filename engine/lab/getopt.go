package lab

import (
	"fmt"
	"slices"
	"strings"
)

// options is what parse found: values by option name, in order; an option
// without an argument has "".
type options map[string][]string

func (o options) has(name string) bool { return len(o[name]) > 0 }

// last returns the last value of an option, "" if it was not given.
func (o options) last(name string) string {
	v := o[name]
	if len(v) == 0 {
		return ""
	}
	return v[len(v)-1]
}

// A grammar says which options a program takes. A name that ends in ":" takes an
// argument; names of one letter are short.
type grammar struct {
	names string // blank-separated: "r H o: recursive unit:"
	// inOrder ends the options at the first operand, as in programs that run
	// another program.
	inOrder bool
	// operand, if not nil, is told of each operand with the options before it.
	operand func(before options, operand string)
}

// An optionError is an argument that the grammar does not have, worded as by
// getopt_long(3).
type optionError struct{ msg string }

func (e *optionError) Error() string { return e.msg }

func (g grammar) find(name string) (arg, ok bool) {
	for n := range strings.FieldsSeq(g.names) {
		if strings.TrimSuffix(n, ":") == name {
			return strings.HasSuffix(n, ":"), true
		}
	}
	return false, false
}

// parse splits args, without the program's name, into options and operands.
func (g grammar) parse(args []string) (options, []string, error) {
	opts := options{}
	var operands []string
	for len(args) > 0 {
		a := args[0]
		args = args[1:]
		var err error
		switch {
		case a == "--":
			return opts, append(operands, args...), nil
		case strings.HasPrefix(a, "--"):
			args, err = g.long(opts, a[2:], args)
		case len(a) > 1 && a[0] == '-':
			args, err = g.short(opts, a[1:], args)
		case g.inOrder:
			return opts, append([]string{a}, args...), nil
		default:
			operands = append(operands, a)
			if g.operand != nil {
				g.operand(opts, a)
			}
		}
		if err != nil {
			return nil, nil, err
		}
	}
	return opts, operands, nil
}

func (g grammar) long(opts options, a string, rest []string) ([]string, error) {
	name, value, given := strings.Cut(a, "=")
	arg, ok := g.find(name)
	switch {
	case !ok || len(name) < 2:
		return nil, &optionError{fmt.Sprintf("unrecognized option '--%s'", a)}
	case arg && !given && len(rest) == 0:
		return nil, &optionError{fmt.Sprintf("option '--%s' requires an argument", name)}
	case arg && !given:
		value, rest = rest[0], rest[1:]
	case !arg && given:
		return nil, &optionError{fmt.Sprintf("option '--%s' doesn't allow an argument", name)}
	}
	opts[name] = append(opts[name], value)
	return rest, nil
}

func (g grammar) short(opts options, a string, rest []string) ([]string, error) {
	for a != "" {
		name := a[:1]
		a = a[1:]
		arg, ok := g.find(name)
		switch {
		case !ok:
			return nil, &optionError{fmt.Sprintf("invalid option -- '%s'", name)}
		case !arg:
			opts[name] = append(opts[name], "")
		case a != "":
			opts[name] = append(opts[name], a)
			return rest, nil
		case len(rest) == 0:
			return nil, &optionError{fmt.Sprintf("option requires an argument -- '%s'", name)}
		default:
			opts[name] = append(opts[name], rest[0])
			return rest[1:], nil
		}
	}
	return rest, nil
}

// numbered returns args with "-3" put as "-n3", the old form of head and tail.
func numbered(args []string) []string {
	out := slices.Clone(args)
	for i, a := range out {
		if len(a) > 1 && a[0] == '-' && strings.Trim(a[1:], "0123456789") == "" {
			out[i] = "-n" + a[1:]
		}
	}
	return out
}

// options parses the program's arguments; if ok is false it has complained as
// the programs of coreutils do, and the status is exit.
func (p *proc) options(g grammar, exit int) (o options, operands []string, status int, ok bool) {
	o, operands, err := g.parse(p.argv[1:])
	if err != nil {
		fmt.Fprintf(p.stderr, "%[1]s: %v\nTry '%[1]s --help' for more information.\n", p.argv[0], err)
		return nil, nil, exit, false
	}
	return o, operands, 0, true
}
