package main

import (
	"context"

	"github.com/spf13/cobra"
)

func (s *session) hostShowCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "show [NAME]",
		Short: "Show what applications get on a host, and who has chosen it",
		Long: `Show what applications get on a host, and who has chosen it. Without NAME, of the host
that the other commands would work on.`,
		Args:              atMost("NAME"),
		ValidArgsFunction: s.completeKnownHost,
		RunE: func(cmd *cobra.Command, args []string) error {
			return s.hostShow(cmd.Context(), args)
		},
	}
}

// hostShow asks the host what tengil would choose. Of one that does not answer it
// shows what was given.
func (s *session) hostShow(ctx context.Context, names []string) error {
	conf, err := s.config()
	if err != nil {
		return err
	}
	t, err := s.hostNamed(conf, names)
	if err != nil {
		return err
	}
	view := hostView{Name: t.label(), Address: t.address, Default: t.name != "" && conf.Default == t.name, Given: t.choices}
	facts, err := s.look(ctx, t)
	if err == nil {
		view.Node, view.PVE, view.Effective = facts.Node, facts.PVE, &facts.Default
	}
	switch {
	case s.json():
		if err := s.term.JSON(view); err != nil {
			return err
		}
	case facts == nil || err != nil:
		s.printf("%s at %s\n", view.Name, view.Address)
		s.printChoices(choicesTable(t.choices, t.choices))
	default:
		s.printf("%s\n", nodeLine(view.Name, facts))
		s.printChoices(choicesTable(t.choices, facts.Default))
	}
	return err
}

// hostNamed is the host that is named, or else the one that commands work on.
func (s *session) hostNamed(c config, names []string) (target, error) {
	if len(names) == 0 {
		return s.target()
	}
	if s.host != "" {
		return target{}, usagef("both %s and --host %s; name one", names[0], s.host)
	}
	if names[0] == labName {
		return target{name: labName, address: labName}, nil
	}
	h, err := c.knownHost(names[0])
	return target{names[0], h.Address, h.Choices}, err
}

// label is how people call the host.
func (t target) label() string {
	if t.name == "" {
		return "this node"
	}
	return t.name
}
