package lab

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tengil/tengil/engine/pve"
)

// A cliError is what a command of PVE prints on standard error as it ends, and
// its exit status. On a node that status is what errno happens to be; the lab
// gives the captured one.
type cliError struct {
	exit int
	text string // with its last newline
}

func (e *cliError) Error() string { return strings.TrimRight(e.text, "\n") }

// dief returns an error like Perl's die.
func dief(exit int, format string, a ...any) error {
	return &cliError{exit, fmt.Sprintf(format, a...) + "\n"}
}

// A paramError is a set of refused parameters, reasons by key. As in PVE, reasons
// from the check of a format end in a newline of their own.
type paramError map[string]string

func (e paramError) Error() string {
	var b strings.Builder
	b.WriteString("400 Parameter verification failed.\n")
	for _, k := range slices.Sorted(maps.Keys(e)) {
		b.WriteString(k + ": " + e[k] + "\n")
	}
	return b.String()
}

// A guestCommand is a subcommand of pct, pvesh or pvesm.
type guestCommand struct {
	args    []string // names of the positional parameters; a "?" ends optional ones
	extra   bool     // takes any further arguments
	options map[string]optionKind
	schema  string // takes the options of this command in the schema as well
	usage   string
	run     func(c *guestCall) error
}

// An optionKind says how an option is given.
type optionKind int

const (
	textOption optionKind = iota
	boolOption            // its value may be left out, for 1
)

// A guestCall is one run of such a command.
type guestCall struct {
	*proc
	id    int // of the container, where the first argument is one
	args  map[string]string
	opts  map[string]string
	extra []string
	// warn takes what goes beside the result: standard error, but standard
	// output within a worker (RESTEnvironment.pm fork_worker).
	warn   io.Writer
	worked bool  // a worker was started
	task   *task // the last one
}

// cli runs the command of name with its arguments and returns the exit status.
func (cmd guestCommand) cli(p *proc, name string, argv []string) int {
	c := &guestCall{proc: p, warn: p.stderr}
	usage := fmt.Sprintf("%s %s\n", name, cmd.usage)
	err := cmd.parse(c, argv)
	if err == nil {
		err = cmd.run(c)
	}
	return c.report(err, usage)
}

// report prints an error as CLIHandler.pm does and returns the exit status.
func (c *guestCall) report(err error, usage string) int {
	var die *cliError
	var bad paramError
	var killed *endedError
	var failed *faultError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &killed):
		return killed.exit
	case errors.As(err, &bad):
		fmt.Fprint(c.stderr, bad.Error()+usage)
		return 2
	case errors.As(err, &failed):
		fmt.Fprintln(c.stderr, strings.TrimRight(err.Error(), "\n"))
		return failed.exit
	case errors.As(err, &die):
		fmt.Fprint(c.stderr, die.text)
		if strings.HasPrefix(die.text, "400 ") || strings.Contains(die.text, "\n400 ") {
			fmt.Fprint(c.stderr, usage)
		}
		return die.exit
	case c.ctx.Err() != nil:
		return exitKilled
	}
	fmt.Fprintln(c.stderr, err)
	return 255
}

// parse reads the arguments as get_options in JSONSchema.pm does with Getopt::Long.
func (cmd guestCommand) parse(c *guestCall, argv []string) error {
	c.args, c.opts = map[string]string{}, map[string]string{}
	var pos []string
	var unknown strings.Builder
	for i := 0; i < len(argv); i++ {
		arg := argv[i]
		if arg == "--" {
			pos = append(pos, argv[i+1:]...)
			break
		}
		if len(arg) < 2 || arg[0] != '-' {
			pos = append(pos, arg)
			continue
		}
		key, value, hasValue := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		kind, known := cmd.option(key)
		switch {
		case !known:
			unknown.WriteString("Unknown option: " + key + "\n")
			continue
		case hasValue:
		case kind == boolOption && (i+1 == len(argv) || strings.HasPrefix(argv[i+1], "-")):
			value = "1"
		case i+1 == len(argv):
			unknown.WriteString("Option " + key + " requires an argument\n")
			continue
		default:
			i++
			value = argv[i]
		}
		if kind == boolOption {
			on, err := pve.ParseBool(value)
			if err != nil {
				return dief(2, "400 unable to parse boolean option")
			}
			value = bool01(on)
		}
		c.opts[key] = value
	}
	if unknown.Len() > 0 {
		return dief(2, "%s400 unable to parse option", unknown.String())
	}
	return cmd.place(c, pos)
}

func bool01(on bool) string {
	if on {
		return "1"
	}
	return "0"
}

// option tells whether the command has an option.
func (cmd guestCommand) option(key string) (optionKind, bool) {
	if k, ok := cmd.options[key]; ok {
		return k, true
	}
	family, _ := pve.Family(key)
	o, ok := pve.Schema(cmd.schema)[family]
	if ok && o.Type == "boolean" {
		return boolOption, true
	}
	return textOption, ok
}

// place names the positional arguments.
func (cmd guestCommand) place(c *guestCall, pos []string) error {
	for _, name := range cmd.args {
		name, optional := strings.CutSuffix(name, "?")
		if len(pos) == 0 {
			if optional {
				break
			}
			return dief(2, "400 not enough arguments")
		}
		c.args[name] = pos[0]
		pos = pos[1:]
	}
	if len(pos) > 0 && !cmd.extra {
		return dief(2, "400 too many arguments")
	}
	c.extra = pos
	if id, ok := c.args["vmid"]; ok {
		return c.placeID(id)
	}
	return nil
}

// placeID checks a container's id (pve-vmid in JSONSchema.pm).
func (c *guestCall) placeID(text string) error {
	id, refused := parseVMID(text)
	if refused != "" {
		return paramError{"vmid": refused}
	}
	c.id = id
	return nil
}

// parseVMID reads an id; refused is the reason against what is none.
func parseVMID(text string) (id int, refused string) {
	id, err := strconv.Atoi(text)
	if err != nil {
		return 0, fmt.Sprintf("type check ('integer') failed - got '%s'", text)
	}
	if id < 100 || id > 999999999 || text[0] == '0' || text[0] == '+' {
		return 0, "invalid format - value does not look like a valid VM ID\n"
	}
	return id, ""
}

// configOptions returns the options that are to go to the config, those of the
// command itself left out.
func (c *guestCall) configOptions() map[string]string {
	out := maps.Clone(c.opts)
	maps.DeleteFunc(out, func(k, _ string) bool { return !pve.KnownOption(k) })
	return out
}

// checkOptions checks all options against the schema of the modelled version.
func (c *guestCall) checkOptions(command string) error {
	bad := paramError{}
	for _, k := range slices.Sorted(maps.Keys(c.opts)) {
		err := pve.CheckOption(c.node.pve, command, k, c.opts[k])
		var why *pve.OptionError
		switch {
		case errors.As(err, &why):
			bad[k] = why.Reason
		case errors.Is(err, pve.ErrUnknownOption):
			return dief(2, "Unknown option: %s\n400 unable to parse option", k)
		case err != nil:
			return dief(2, "%v", err)
		case k == "timezone" && !isTimeZone(c.opts[k]):
			bad[k] = fmt.Sprintf("invalid format - invalid time zone '%s'\n", c.opts[k])
		}
	}
	if len(bad) > 0 {
		return bad
	}
	return nil
}

// isTimeZone reports whether the time zone is one (pve-ct-timezone in Config.pm).
func isTimeZone(name string) bool {
	_, err := time.LoadLocation(name)
	return name == "host" || name != "" && name != "Local" && err == nil
}
