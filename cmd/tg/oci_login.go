package main

import (
	"bytes"
	"context"
	"errors"
	"io"

	"github.com/spf13/cobra"

	"github.com/tengil/tengil/builtins/oci"
	"github.com/tengil/tengil/cmd/tg/ui"
)

func (s *session) ociLoginCmd() *cobra.Command {
	var user string
	var stdin bool
	cmd := &cobra.Command{
		Use:   "login REGISTRY",
		Short: "Give a node the password of a registry",
		Long: `Have skopeo on the node log in to a registry and remember it in ` + oci.AuthFile + `,
which root alone reads. The password is asked for, or read from standard input with
--password-stdin; it is on no command line and in no log.`,
		Example: `  tg oci login ghcr.io --username ben
  pass show ghcr | tg oci login ghcr.io --username ben --password-stdin`,
		Args: exactly("REGISTRY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return s.ociLogin(cmd.Context(), args[0], user, stdin)
		},
	}
	cmd.Flags().StringVarP(&user, "username", "u", "", "who logs in")
	cmd.Flags().BoolVar(&stdin, "password-stdin", false, "read the password from standard input")
	return cmd
}

// maxPassword is more than any password or token has, in bytes.
const maxPassword = 64 << 10

func (s *session) ociLogin(ctx context.Context, registry, user string, stdin bool) (err error) {
	if user == "" {
		return usagef("who logs in to %s? add --username NAME", registry)
	}
	var password []byte
	if stdin {
		if password, err = io.ReadAll(io.LimitReader(s.term.In, maxPassword+1)); err != nil {
			return err
		}
		password = bytes.TrimRight(password, "\r\n")
	} else {
		password, err = s.term.AskHidden("Password of " + user + " at " + registry + ":")
		if errors.Is(err, ui.ErrNobody) {
			return usagef("nobody to ask for the password: this is no terminal\n  hint: hand it over on standard input, with --password-stdin")
		}
		if err != nil {
			return err
		}
	}
	if len(password) == 0 || len(password) > maxPassword || bytes.ContainsAny(password, "\n\x00") {
		return usagef("wanted a password of one line, got %d bytes", len(password))
	}
	host, err := s.connect(ctx)
	if err != nil {
		return err
	}
	defer host.Close()
	if err := oci.Login(ctx, host, registry, user, bytes.NewReader(password)); err != nil {
		return err
	}
	s.printf("%s knows the password of %s at %s\n", host.Name(), user, registry)
	return nil
}

func (s *session) ociLogoutCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "logout REGISTRY",
		Short: "Have a node forget the password of a registry",
		Args:  exactly("REGISTRY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			host, err := s.connect(cmd.Context())
			if err != nil {
				return err
			}
			defer host.Close()
			if err := oci.Logout(cmd.Context(), host, args[0]); err != nil {
				return err
			}
			s.printf("%s has forgotten the password of %s\n", host.Name(), args[0])
			return nil
		},
	}
}
