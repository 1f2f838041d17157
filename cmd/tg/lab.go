package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tengil/tengil/engine/lab"
)

type labFlags struct {
	pve, gpu, storage string
	pull              bool
	real, sshd        bool // containers run with LXC; OpenSSH's server lets in
	foreground        bool
	idle              time.Duration // 0: until it is stopped
}

func (s *session) labCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "lab",
		Short: "The built-in practice node",
		Long: `The lab is a model of a Proxmox VE node inside tg, for trying things out: commands
reach it over SSH as they reach a real one, with --host lab. Its containers are
modelled, nothing real runs; on Linux as root, tg lab start --real runs them with
LXC. It needs no start: a command that finds it stopped
starts it, and it ends when nobody has used it for a minute. Started by hand, it
goes on until it is stopped.`,
		Args: cobra.ArbitraryArgs,
		RunE: group,
	}
	cmd.AddCommand(s.labStartCmd(), s.labServeCmd(), s.labStopCmd(), s.labResetCmd(), s.labStatusCmd(), s.labHealthCmd(), s.labFaultCmd(), s.labShellCmd(), s.labInitCmd(), s.labDoctorCmd())
	return cmd
}

func (s *session) labStartCmd() *cobra.Command {
	var f labFlags
	cmd := &cobra.Command{
		Use:   "start",
		Short: "Start the lab in the background",
		Args:  exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.check(); err != nil {
				return err
			}
			if f.foreground {
				return s.labServe(cmd.Context(), f)
			}
			return s.labStart(cmd.Context(), f)
		},
	}
	addLabFlags(cmd, &f)
	cmd.Flags().BoolVar(&f.foreground, "foreground", false, "stay, and stop on Ctrl-C")
	return cmd
}

// What a lab can be.
var (
	labReleases = []string{"9.1", "9.2"}
	labGPUs     = []string{"intel", "amd", "nvidia", "none"}
	labStorages = []string{"zfs", "dir", "lvmthin"}
)

// check refuses what no lab can be, whether there is one already or not.
func (f labFlags) check() error {
	for _, c := range []struct {
		flag, value string
		wanted      []string
	}{{"pve", f.pve, labReleases}, {"gpu", f.gpu, labGPUs}, {"storage", f.storage, labStorages}} {
		if c.value != "" && !slices.Contains(c.wanted, c.value) {
			return usagef("--%s is %q; wanted %s", c.flag, c.value, strings.Join(c.wanted, ", "))
		}
	}
	return nil
}

func addLabFlags(cmd *cobra.Command, f *labFlags) {
	cmd.Flags().StringVar(&f.pve, "pve", "", "release of a new lab: 9.1 or 9.2")
	cmd.Flags().StringVar(&f.gpu, "gpu", "", "what a new lab has: intel, amd, nvidia or none")
	cmd.Flags().StringVar(&f.storage, "storage", "", "what a new lab keeps data on: zfs, dir or lvmthin")
	cmd.Flags().BoolVar(&f.pull, "pull", false, "fetch real images from real registries")
	cmd.Flags().BoolVar(&f.real, "real", false, "run containers for real, with LXC; needs Linux and root (tg lab doctor)")
	cmd.Flags().BoolVar(&f.sshd, "sshd", false, "let in through the machine's own OpenSSH server; means --real too")
	for name, values := range map[string]cobra.CompletionFunc{
		"pve": completeWords(labReleases...), "gpu": completeWords(labGPUs...),
		"storage": completeWords(labStorages...),
	} {
		if err := cmd.RegisterFlagCompletionFunc(name, values); err != nil {
			panic(err) // the flag is defined right above
		}
	}
}

// args are the arguments by which this program runs a lab with these flags.
func (f labFlags) args() []string {
	return []string{
		"lab", "serve", "--pve=" + f.pve, "--gpu=" + f.gpu, "--storage=" + f.storage,
		fmt.Sprintf("--pull=%t", f.pull), fmt.Sprintf("--real=%t", f.real), fmt.Sprintf("--sshd=%t", f.sshd), "--idle=" + f.idle.String(),
	}
}

// A labState is the lab for programs.
type labState struct {
	Running bool   `json:"running"`
	Dir     string `json:"dir"`
	Exists  bool   `json:"exists"`
	Addr    string `json:"addr,omitempty"`
	PID     int    `json:"pid,omitempty"`
	PVE     string `json:"pve,omitempty"`
	Real    bool   `json:"real,omitempty"`
	// Term tells how long it stays: "idle" or "stopped", as in lab.Term.
	Term lab.Term `json:"term,omitempty"`
}

// stateOf is the state of a lab that runs.
func stateOf(dir string, at lab.Endpoint) labState {
	return labState{Running: true, Dir: dir, Exists: true, Addr: at.Addr, PID: at.PID, PVE: at.PVE, Real: at.Real, Term: at.Term}
}

func (s *session) labStatusCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Tell whether the lab runs, and where",
		Args:  exactly(),
		RunE:  func(*cobra.Command, []string) error { return s.labStatus() },
	}
}

func (s *session) labStatus() error {
	dir, err := s.labDir()
	if err != nil {
		return err
	}
	state := labState{Dir: dir}
	if at, running := lab.Find(dir); running {
		state = stateOf(dir, at)
	}
	_, err = os.Stat(filepath.Join(dir, "state.json"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	state.Exists = err == nil
	if s.json() {
		return s.term.JSON(state)
	}
	switch {
	case state.Running:
		s.printf("lab runs: Proxmox VE %s at %s, process %d\n", state.PVE, state.Addr, state.PID)
		if state.Term == lab.UntilIdle {
			s.printf("it ends when nobody has used it for %s; to keep it:\n    tg lab start\n", labIdle)
		}
	case state.Exists:
		s.printf("lab is stopped; a command with --host lab starts it\n")
	default:
		s.printf("there is no lab yet; the first command with --host lab makes it\n")
	}
	s.printf("directory: %s\n", dir)
	return nil
}
