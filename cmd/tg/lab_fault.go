package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/lab"
	"github.com/tengil/tengil/engine/pve"
)

func (s *session) labFaultCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "fault",
		Short: "Let things go wrong in the lab: commands, disks, the cluster, registries, power",
		Long: `Let things go wrong in the lab, to see what tg makes of it. A fault that is added hits
one command, file or request, once or some times, as long as the lab runs. A full or
read-only disk, a lost quorum and a bad registry stay until they are cleared, also
when the lab is started again.`,
		Args: cobra.ArbitraryArgs,
		RunE: group,
	}
	cmd.AddCommand(s.labFaultAddCmd(), s.labFaultDiskFullCmd(), s.labFaultReadOnlyCmd(), s.labFaultNoQuorumCmd(),
		s.labFaultRegistryCmd(), s.labFaultRebootCmd(), s.labFaultListCmd(), s.labFaultClearCmd())
	return cmd
}

// onLab runs a program of the lab and returns what it printed.
func (s *session) onLab(ctx context.Context, argv []string) (out []byte, err error) {
	n, err := s.connectLab(ctx, target{name: labName, address: labName})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	r, err := n.Run(ctx, engine.Cmd{Argv: argv})
	var exit *engine.ExitError
	if errors.As(err, &exit) {
		said := strings.TrimPrefix(strings.TrimSpace(string(exit.Stderr)), lab.FaultProgram+": ")
		if said == "" {
			return nil, err
		}
		return nil, usagef("%s", said)
	}
	return r.Stdout, err
}

// setCondition brings the lab's node into a condition.
func (s *session) setCondition(ctx context.Context, c lab.Condition) error {
	if err := c.Check(); err != nil {
		return usagef("%v", err)
	}
	argv, err := c.SetArgv()
	if err != nil {
		return err
	}
	if _, err := s.onLab(ctx, argv); err != nil {
		return err
	}
	if s.json() {
		return s.term.JSON(c)
	}
	s.printf("%s\nto end it:\n    tg lab fault clear %s\n", c, strings.TrimSpace(string(c.Kind)+" "+c.On))
	return nil
}

func (s *session) labFaultAddCmd() *cobra.Command {
	var f lab.Fault
	var on, of, when, do, times, run string
	cmd := &cobra.Command{
		Use:   "add",
		Short: "Add a fault of one command, file or request",
		Long: `Add a fault. --on chooses what it hits: how a command begins, or with --of read and
write a path or pattern of a file, with --of request a text in what is asked over SSH.
--do says what happens: fail (--exit, --stderr), cut (all connections are lost), hang,
kill, pause (--for), truncate (its output or the file read, after --bytes), replace (by
--text) or meddle (somebody else runs --run).`,
		Example: `  tg lab fault add --on 'pct start' --nth 2 --when during --do cut
  tg lab fault add --on 'pct set' --do meddle --run 'pct destroy 101'
  tg lab fault add --of read --on '/etc/pve/lxc/*.conf' --do truncate --bytes 40`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if on == "" {
				return usagef("--on is missing: what the fault hits\n  hint: tg lab fault add --on 'pct start'")
			}
			for _, w := range []struct {
				flag, word string
				to         interface{ UnmarshalText([]byte) error }
			}{{"of", of, &f.Of}, {"when", when, &f.When}, {"do", do, &f.Do}} {
				if err := w.to.UnmarshalText([]byte(w.word)); err != nil {
					return usagef("--%s %v", w.flag, err)
				}
			}
			f.Prefix, f.Argv = strings.Fields(on), strings.Fields(run)
			if f.Of != lab.Programs {
				f.Prefix = []string{on}
			}
			if f.Times, _ = strconv.Atoi(times); times == "forever" {
				f.Times = lab.Forever
			} else if f.Times < 1 {
				return usagef("--times is %q; wanted a number from 1, or forever", times)
			}
			return s.labFaultAdd(cmd.Context(), f)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&on, "on", "", "what it hits")
	flags.StringVar(&of, "of", "program", "one of "+strings.Join(lab.SubjectWords(), ", "))
	flags.IntVar(&f.Nth, "nth", 1, "the how manieth match from now")
	flags.StringVar(&times, "times", "1", "how often from then on, or forever")
	flags.StringVar(&when, "when", "before", "one of "+strings.Join(lab.WhenWords(), ", "))
	flags.StringVar(&do, "do", "fail", "one of "+strings.Join(lab.EffectWords(), ", "))
	flags.DurationVar(&f.For, "for", 0, "wait so long before")
	flags.IntVar(&f.Exit, "exit", 1, "with fail: the exit status")
	flags.StringVar(&f.Stderr, "stderr", "", "with fail: what it says")
	flags.IntVar(&f.Bytes, "bytes", 0, "with truncate: how much is left")
	flags.StringVar(&f.Text, "text", "", "with replace: what comes instead")
	flags.StringVar(&run, "run", "", "with meddle: what somebody else runs")
	return cmd
}

func (s *session) labFaultAdd(ctx context.Context, f lab.Fault) error {
	if f.Stderr != "" && !strings.HasSuffix(f.Stderr, "\n") {
		f.Stderr += "\n"
	}
	if err := f.Check(); err != nil {
		return usagef("%v", err)
	}
	argv, err := f.AddArgv()
	if err != nil {
		return err
	}
	if _, err := s.onLab(ctx, argv); err != nil {
		return err
	}
	if s.json() {
		return s.term.JSON(f)
	}
	s.printf("%s\n", f)
	return nil
}

func (s *session) labFaultDiskFullCmd() *cobra.Command {
	free := "0"
	cmd := &cobra.Command{
		Use:     "disk-full WHAT",
		Short:   "Leave no room, or little, in a pool, dataset, storage or directory",
		Example: "  tg lab fault disk-full tank\n  tg lab fault disk-full local-zfs --free 1M",
		Args:    exactly("WHAT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			size, err := pve.ParseSize(free)
			if err != nil {
				return usagef("--free: %v", err)
			}
			return s.setCondition(cmd.Context(), lab.Condition{Kind: lab.DiskFull, On: args[0], Free: int64(size)})
		},
	}
	cmd.Flags().StringVar(&free, "free", free, "how much is left: 500, 64K, 1M")
	return cmd
}

func (s *session) labFaultReadOnlyCmd() *cobra.Command {
	return &cobra.Command{
		Use:     "read-only WHAT",
		Short:   "Make a pool, dataset, storage or directory read-only",
		Example: "  tg lab fault read-only local-zfs",
		Args:    exactly("WHAT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return s.setCondition(cmd.Context(), lab.Condition{Kind: lab.ReadOnly, On: args[0]})
		},
	}
}

func (s *session) labFaultNoQuorumCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "no-quorum",
		Short: "Let the node's cluster lose its quorum",
		Args:  exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return s.setCondition(cmd.Context(), lab.Condition{Kind: lab.NoQuorum})
		},
	}
}

func (s *session) labFaultRegistryCmd() *cobra.Command {
	c := lab.Condition{Kind: lab.BadRegistry}
	rate := "1M"
	var words []string
	for _, t := range lab.Troubles() {
		words = append(words, string(t))
	}
	cmd := &cobra.Command{
		Use:   "registry NAME TROUBLE",
		Short: "Put a registry, or one repository of it, in trouble",
		Long: `Put a registry, or one repository of it, in trouble, which is one of: ` + strings.Join(words, ", ") + `.
429, 500 and 503 are answers; slow blobs come with --rate bytes in a second; cut, short,
wrong-digest and missing-blob are of blobs; bad-manifest and not-a-manifest of manifests;
redirect-loop sends whoever asks for either round in a circle.`,
		Example: `  tg lab fault registry ghcr.io 429 --retry-after 30s
  tg lab fault registry docker.io/library/redis cut`,
		Args:      exactly("NAME", "TROUBLE"),
		ValidArgs: words,
		RunE: func(cmd *cobra.Command, args []string) error {
			c.On, c.Trouble = args[0], lab.Trouble(args[1])
			if c.Trouble == lab.SlowBlobs {
				size, err := pve.ParseSize(rate)
				if err != nil {
					return usagef("--rate: %v", err)
				}
				c.Rate = int64(size)
			}
			return s.setCondition(cmd.Context(), c)
		},
	}
	cmd.Flags().StringVar(&rate, "rate", rate, "with slow: how much comes in a second")
	cmd.Flags().DurationVar(&c.RetryAfter, "retry-after", 0, "with 429 and 503: when to come again")
	return cmd
}

// rebootTimeout is how long the lab's node may take to come back.
const rebootTimeout = 30 * time.Second

func (s *session) labFaultRebootCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "reboot",
		Short: "Take the node's power away, and boot it again",
		Args:  exactly(),
		RunE:  func(cmd *cobra.Command, _ []string) error { return s.labReboot(cmd.Context()) },
	}
}

func (s *session) labReboot(ctx context.Context) error {
	_, err := s.onLab(ctx, lab.RebootArgv)
	if !errors.Is(err, engine.ErrTransient) { // else the connection went with the power
		return fmt.Errorf("the lab did not reboot: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, rebootTimeout)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := s.labAnswers(ctx)
		if err == nil {
			if s.json() {
				return s.term.JSON(map[string]bool{"rebooted": true})
			}
			s.printf("the lab's node lost its power and has booted again\n")
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("the lab does not come back: %w", err)
		}
	}
}

// labAnswers reports why the lab that runs does not run a program, nil if it does.
func (s *session) labAnswers(ctx context.Context) (err error) {
	dir, err := s.labDir()
	if err != nil {
		return err
	}
	at, err := lab.Last(dir)
	if err != nil {
		return err
	}
	h, err := s.dialLab(ctx, at, labName)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.Close()) }()
	_, err = h.Run(ctx, engine.Cmd{Argv: []string{"true"}})
	return err
}

func (s *session) labFaultListCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List what is wrong in the lab, or will go wrong",
		Args:  exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			out, err := s.onLab(cmd.Context(), lab.ListFaultsArgv)
			if err != nil {
				return err
			}
			var all lab.Faults
			if err := json.Unmarshal(out, &all); err != nil {
				return err
			}
			if s.json() {
				return s.term.JSON(all)
			}
			for _, c := range all.Conditions {
				s.printf("%s\n", c)
			}
			for _, f := range all.Faults {
				s.printf("%s\n", f)
			}
			if len(all.Conditions)+len(all.Faults) == 0 {
				s.printf("nothing is wrong in the lab\n")
			}
			return nil
		},
	}
}

func (s *session) labFaultClearCmd() *cobra.Command {
	var kinds []string
	for _, k := range lab.ConditionKinds() {
		kinds = append(kinds, string(k))
	}
	return &cobra.Command{
		Use:       "clear [KIND [WHAT]]",
		Short:     "End all faults, or one kind: " + strings.Join(kinds, ", "),
		Example:   "  tg lab fault clear\n  tg lab fault clear registry ghcr.io",
		Args:      cobra.MaximumNArgs(2),
		ValidArgs: kinds,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				if err := (lab.Condition{Kind: lab.ConditionKind(args[0])}).CheckKind(); err != nil {
					return usagef("%v", err)
				}
			}
			if _, err := s.onLab(cmd.Context(), append(lab.ClearFaultsArgv[:2:2], args...)); err != nil {
				return err
			}
			if s.json() {
				return s.term.JSON(map[string]bool{"cleared": true})
			}
			s.printf("cleared\n")
			return nil
		},
	}
}
