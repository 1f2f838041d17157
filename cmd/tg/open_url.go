package main

import (
	"context"
	"fmt"
	"net/url"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/pve"
)

func (s *session) openURLCmd() *cobra.Command {
	var print bool
	cmd := &cobra.Command{
		Use:   "open APP",
		Short: "Open an application in the browser",
		Long: `Print the address of an application, its output "url", and open it in the browser
of this machine.`,
		Args:              exactly("APP"),
		ValidArgsFunction: s.completeApp,
		RunE:              func(cmd *cobra.Command, args []string) error { return s.openURL(cmd.Context(), args[0], print) },
	}
	cmd.Flags().BoolVar(&print, "print", false, "only print it")
	return cmd
}

// openURL prints the url of an app and opens it.
func (s *session) openURL(ctx context.Context, app string, print bool) error {
	u, err := s.urlOf(ctx, app)
	if err != nil {
		return err
	}
	if s.json() {
		if err := s.term.JSON(map[string]string{"app": app, "url": u}); err != nil {
			return err
		}
	} else {
		s.printf("%s\n", u)
	}
	if print {
		return nil
	}
	return browse(u)
}

// urlOf asks the node for the output of the app's last run.
func (s *session) urlOf(ctx context.Context, app string) (string, error) {
	host, err := s.connect(ctx)
	if err != nil {
		return "", err
	}
	defer host.Close()
	states, err := s.apps(ctx, host, app)
	if err != nil {
		return "", err
	}
	if len(states) == 0 {
		return "", s.noSuchApp(ctx, host, app)
	}
	if states[0].onlyData() {
		return "", s.onlyDataLeft(ctx, host, app)
	}
	u := states[0].Outputs["url"]
	if u == "" {
		return "", engine.WithHint(fmt.Errorf("%s has no output %q that is known and not secret", app, "url"),
			"what it has:\n    "+s.line("show", app))
	}
	return u, checkURL(app, u)
}

// checkURL refuses what a browser, or what starts it, would take for more than the
// address of a page.
func checkURL(app, text string) error {
	if r, at := pve.ControlChars(text); at >= 0 {
		return fmt.Errorf("the url of %s holds the control character %U; it is not opened", app, r)
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return fmt.Errorf("the url of %s: %w", app, err)
	case u.Scheme != "http" && u.Scheme != "https":
		return fmt.Errorf("the url of %s is %q; only http and https are opened", app, text)
	case u.Host == "" || strings.ContainsAny(text, " \"<>\\^`{|}"):
		return fmt.Errorf("the url of %s is %q, which is no address of a page", app, text)
	}
	return nil
}

// browse starts what this machine opens addresses with. A browser that it becomes
// is not waited for.
func browse(u string) error {
	argv := []string{"xdg-open", u}
	switch runtime.GOOS {
	case "darwin":
		argv = []string{"open", u}
	case "windows":
		argv = []string{"rundll32", "url.dll,FileProtocolHandler", u}
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	if err := cmd.Start(); err != nil {
		return engine.WithHint(fmt.Errorf("open the browser: %w", err), "the address alone: add --print")
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }() // it ends with this process at the latest
	select {
	case err := <-ended:
		if err != nil {
			return engine.WithHint(fmt.Errorf("open the browser: %s: %w", argv[0], err), "the address alone: add --print")
		}
	case <-time.After(browserPatience):
	}
	return nil
}

// browserPatience is how long what opens an address has to say that it cannot.
const browserPatience = 2 * time.Second
