package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tengil/tengil/cmd/tg/ui"
)

// A session is one call of tg: where it reads and writes, and the flags that all
// commands share.
type session struct {
	term    *ui.Terminal
	getenv  func(string) string
	host    string // --host
	output  string // --output: "" or "json"
	verbose bool
	stop    *interrupts
}

// main runs one command line and returns the exit status.
func (s *session) main(ctx context.Context, args []string) int {
	ctx, s.stop = catchInterrupts(ctx)
	defer s.stop.release()
	root := s.root(args)
	root.SetArgs(args)
	root.SetOut(s.term.Out)
	root.SetErr(s.term.Err)
	return s.report(root.ExecuteContext(ctx))
}

const about = `tg deploys multi-container applications on Proxmox VE from recipes.

It reads a recipe, compares it with the node, shows what it would change, and
makes it so. Nothing is stored but on the node itself.

  tg --host lab run immich     try it on the built-in practice node
  tg recipes list              what there is
  tg --host root@pve1 doctor   is my node ready?
`

// root returns the command tg with everything below it. args are what it will be
// given, for hints alone.
func (s *session) root(args []string) *cobra.Command {
	var version bool
	root := &cobra.Command{
		Use:           "tg",
		Short:         "Deploy applications on Proxmox VE from recipes",
		Long:          about + exitText(),
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if version && len(args) == 0 {
				return s.version()
			}
			return group(cmd, args)
		},
		Args: cobra.ArbitraryArgs,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			if s.output != "" && s.output != "json" && s.output != "text" {
				return usagef("--output is %q; wanted text or json", s.output)
			}
			return nil
		},
	}
	// A command that only has commands below it is no use alone.
	root.SetUsageTemplate(strings.Replace(root.UsageTemplate(), "{{if .Runnable}}", "{{if and .Runnable (not .HasAvailableSubCommands)}}", 1))
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return &usageError{fmt.Errorf("%w\n  hint: %s", err, flagHint(c, err, args))}
	})
	root.Flags().BoolVar(&version, "version", false, "print the version of tg, as tg version does")
	flags := root.PersistentFlags()
	flags.StringVar(&s.host, "host", "", "node to work on: lab, a name of the config file, or user@host (TG_HOST)")
	flags.StringVarP(&s.output, "output", "o", "", "text or json")
	flags.BoolVarP(&s.verbose, "verbose", "v", false, "tell each command on the node and how long it took, on standard error")
	for name, values := range map[string]cobra.CompletionFunc{"host": s.completeHost, "output": completeWords("text", "json")} {
		if err := root.RegisterFlagCompletionFunc(name, values); err != nil {
			panic(err) // the flag is defined right above
		}
	}
	root.AddGroup(
		&cobra.Group{ID: "apps", Title: "Applications:"},
		&cobra.Group{ID: "recipes", Title: "Recipes:"},
		&cobra.Group{ID: "node", Title: "Nodes:"},
	)
	add := func(id string, cmds ...*cobra.Command) {
		for _, c := range cmds {
			c.GroupID = id
			root.AddCommand(c)
		}
	}
	add("apps", s.runCmd(), s.planCmd(), s.destroyCmd(), s.psCmd(), s.showCmd(), s.logsCmd(), s.execCmd(), s.shellCmd(), s.cpCmd(),
		s.startCmd(), s.stopCmd(), s.restartCmd(),
		s.auditCmd(), s.eventsCmd(),
		s.openURLCmd(),
	)
	add("recipes", s.recipesCmd(), s.graphCmd(), s.docsCmd(), s.fmtCmd())
	add("node", s.hostCmd(), s.ociCmd(), s.labCmd(), s.doctorCmd(), s.pluginsCmd())
	root.AddCommand(s.versionCmd(), s.manCmd())
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		if c.Name() == "completion" { // a shell that it does not know is no call for help
			c.Args, c.RunE = cobra.ArbitraryArgs, group
		}
	}
	return root
}

// flagHint says what may help with a flag that is wrong. Options of a recipe are no
// flags, which who types "--gpu intel" has to be told.
func flagHint(c *cobra.Command, err error, args []string) string {
	help := c.CommandPath() + " --help"
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) || len(unknown.GetSpecifiedName()) < 2 || !strings.Contains(c.Use, "key=value") {
		return help
	}
	name, value := unknown.GetSpecifiedName(), "…"
	for i, a := range args {
		if given, ok := strings.CutPrefix(a, "--"+name+"="); ok {
			value = given
		} else if a == "--"+name && i+1 < len(args) && !strings.HasPrefix(args[i+1], "-") {
			value = args[i+1]
		}
	}
	return fmt.Sprintf("an option of a recipe is given without dashes: %s\n        %s", ui.Command([]string{name + "=" + value}), help)
}

// group is what a command does that only has commands below it.
func group(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cmd.Help()
	}
	var known []string
	near := ""
	for _, c := range cmd.Commands() {
		if c.Hidden {
			continue
		}
		known = append(known, c.Name())
		if slices.Contains(c.SuggestFor, args[0]) {
			near = c.Name()
		}
	}
	if near == "" {
		near = nearest(args[0], known)
	}
	if near != "" {
		return usagef("there is no command %q (did you mean %q?)", cmd.CommandPath()+" "+args[0], cmd.CommandPath()+" "+near)
	}
	return usagef("there is no command %q\n  hint: %s --help", cmd.CommandPath()+" "+args[0], cmd.CommandPath())
}

// exactly wants the named arguments, no more, no less.
func exactly(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < len(names):
			return usagef("%s needs %s\n  hint: %s", cmd.Name(), strings.Join(names[len(args):], " and "), cmd.UseLine())
		case len(args) > len(names):
			return usagef("%s takes %s, got %q\n  hint: %s", cmd.Name(), orNothing(names), args[len(names):], cmd.UseLine())
		}
		for i, name := range names {
			if args[i] == "" { // as of a variable that is not set
				return usagef("%s is empty\n  hint: %s", name, cmd.UseLine())
			}
		}
		return nil
	}
}

// atLeast wants the named argument, and lets others follow.
func atLeast(name string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		return exactly(name)(cmd, args[:min(len(args), 1)])
	}
}

// atMost lets the named argument be left out.
func atMost(name string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		return exactly(name)(cmd, args)
	}
}

func orNothing(names []string) string {
	if len(names) == 0 {
		return "no arguments"
	}
	return "nothing but " + strings.Join(names, " and ")
}

// line returns a command line for this host as it is to be typed.
func (s *session) line(words ...string) string {
	if s.host != "" {
		words = append([]string{"--host", s.host}, words...)
	}
	return ui.Command(append([]string{"tg"}, words...))
}

func (s *session) json() bool { return s.output == "json" }

// log returns where what goes on inside is written: nowhere without --verbose.
func (s *session) log() *slog.Logger {
	if !s.verbose {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(s.term.Err, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// printf writes to standard output.
func (s *session) printf(format string, a ...any) { fmt.Fprintf(s.term.Out, format, a...) }

// notef writes to standard error: what people should read and programs not parse.
func (s *session) notef(format string, a ...any) { fmt.Fprintf(s.term.Err, format, a...) }

// stateDir returns where tg keeps what is not configuration, below the XDG
// state directory.
func (s *session) stateDir() (string, error) {
	if dir := s.getenv("XDG_STATE_HOME"); dir != "" {
		return dir + "/tengil", nil
	}
	home, err := s.home()
	return home + "/.local/state/tengil", err
}

func (s *session) home() (string, error) {
	if home := s.getenv("HOME"); home != "" {
		return home, nil
	}
	return os.UserHomeDir()
}

func completeWords(words ...string) cobra.CompletionFunc {
	words = slices.Sorted(slices.Values(words))
	return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return words, cobra.ShellCompDirectiveNoFileComp
	}
}
