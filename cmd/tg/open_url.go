package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/pve"
)

type openFlags struct {
	print, forward bool
	port           int
}

func (s *session) openURLCmd() *cobra.Command {
	var f openFlags
	cmd := &cobra.Command{
		Use:   "open APP",
		Short: "Open an application in the browser",
		Long: `Print the address of an application, its output "url", and open it in the browser
of this machine.

Where this machine does not reach that address and the node does, as with a lab, a
port of this machine, on 127.0.0.1, leads there over the connection to the node.
The address of that port is then what is printed and opened, until Ctrl-C.`,
		Example: `  tg open immich
  tg open immich --forward --port 8080`,
		Args:              exactly("APP"),
		ValidArgsFunction: s.completeApp,
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.port < 0 || f.port > 65535 {
				return usagef("--port is %d; wanted 1 to 65535", f.port)
			}
			f.forward = f.forward || f.port != 0
			return s.openURL(cmd.Context(), args[0], f)
		},
	}
	cmd.Flags().BoolVar(&f.print, "print", false, "only print it: open no browser, and forward only with --forward")
	cmd.Flags().BoolVar(&f.forward, "forward", false, "lead there from a port of this machine, whether it reaches the address or not")
	cmd.Flags().IntVar(&f.port, "port", 0, "that port, and --forward; without it the application's own if it is free, else any")
	return cmd
}

// openURL prints the url of an app and opens it.
func (s *session) openURL(ctx context.Context, app string, f openFlags) (err error) {
	host, err := s.connect(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, host.Close()) }()
	state, err := s.withURL(ctx, host, app)
	if err != nil {
		return err
	}
	u, err := parseURL(app, state.Outputs["url"])
	if err != nil {
		return err
	}
	if !f.forward && !f.print {
		if f.forward, err = s.needsForward(ctx, host, state, u); err != nil {
			return err
		}
	}
	if f.forward {
		return s.openForwarded(ctx, host, app, u, f)
	}
	if err := s.tellURL(app, u.text, ""); err != nil || f.print {
		return err
	}
	return s.browse(u.text)
}

// tellURL prints an address, and by which local one it is reached, if it is.
func (s *session) tellURL(app, u, local string) error {
	if s.json() {
		out := map[string]string{"app": app, "url": u}
		if local != "" {
			out["local"] = local
		}
		return s.term.JSON(out)
	}
	s.printf("%s\n", cmp.Or(local, u))
	return nil
}

// needsForward reports whether the node reaches a page and this machine does not.
func (s *session) needsForward(ctx context.Context, host *node, app appState, u pageURL) (bool, error) {
	if host.address == "" || host.address != labName && answersHere(ctx, u.addr) {
		return false, nil
	}
	err := reaches(ctx, host, u.addr)
	switch {
	case err == nil:
		return true, nil
	case ctx.Err() != nil:
		return false, ctx.Err()
	case slices.ContainsFunc(app.Things, func(t thing) bool { return t.Address != "" && t.Address == hostOf(u.text) }):
		return false, s.doesNotAnswer(app.App, err)
	}
	s.notef("%s answers neither here nor from %s\n", u.addr, host.Name())
	return false, nil
}

func (s *session) doesNotAnswer(app string, err error) error {
	return engine.WithHint(fmt.Errorf("%s does not answer: %w", app, err),
		"how its containers are, and what they print:\n    "+s.line("ps")+"\n    "+s.line("logs", app))
}

// openForwarded opens a page through the node, until ctx ends.
func (s *session) openForwarded(ctx context.Context, host *node, app string, u pageURL, f openFlags) error {
	if err := reaches(ctx, host, u.addr); err != nil {
		return s.doesNotAnswer(app, err)
	}
	ln, err := listenNear(ctx, f.port, u.addr)
	if err != nil {
		return err
	}
	fw := &forward{
		listener: ln,
		dial:     func(ctx context.Context) (net.Conn, error) { return host.Dial(ctx, "tcp", u.addr) },
		failed:   func(err error) { s.notef("%s\n", err) },
	}
	over := make(chan error, 1)
	go func() { over <- fw.serve(ctx) }()
	local := u.at(ln.Addr().String())
	if err := s.tellURL(app, u.text, local); err != nil {
		return errors.Join(err, ln.Close(), <-over)
	}
	s.notef("leads to %s from %s; Ctrl-C ends it\n", u.addr, host.Name())
	if !f.print {
		if err := s.browse(local); err != nil {
			s.notef("%s\n", err)
		}
	}
	return <-over
}

// withURL returns what the node has of an app whose last run put out an url.
func (s *session) withURL(ctx context.Context, host *node, app string) (appState, error) {
	states, err := s.apps(ctx, host, app)
	if err != nil {
		return appState{}, err
	}
	if len(states) == 0 {
		return appState{}, s.noSuchApp(ctx, host, app)
	}
	if states[0].onlyData() {
		return appState{}, s.onlyDataLeft(ctx, host, app)
	}
	if states[0].Outputs["url"] == "" {
		return appState{}, engine.WithHint(fmt.Errorf("%s has no output %q that is known and not secret", app, "url"),
			"what it has:\n    "+s.line("show", app))
	}
	return states[0], nil
}

// A pageURL is the address of a page.
type pageURL struct {
	text string
	url  url.URL
	addr string // HOST:PORT
}

// at is the same page by another address.
func (p pageURL) at(addr string) string {
	u := p.url
	u.Host = addr
	return u.String()
}

// parseURL refuses what a browser, or what starts it, would take for more than the
// address of a page.
func parseURL(app, text string) (pageURL, error) {
	if r, at := pve.ControlChars(text); at >= 0 {
		return pageURL{}, fmt.Errorf("the url of %s holds the control character %U; it is not opened", app, r)
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return pageURL{}, fmt.Errorf("the url of %s: %w", app, err)
	case u.Scheme != "http" && u.Scheme != "https":
		return pageURL{}, fmt.Errorf("the url of %s is %q; only http and https are opened", app, text)
	case u.Hostname() == "" || strings.ContainsAny(text, " \"<>\\^`{|}"):
		return pageURL{}, fmt.Errorf("the url of %s is %q, which is no address of a page", app, text)
	}
	port := cmp.Or(u.Port(), map[string]string{"http": "80", "https": "443"}[u.Scheme])
	return pageURL{text: text, url: *u, addr: net.JoinHostPort(u.Hostname(), port)}, nil
}

// browse starts what this machine opens addresses with. A browser that it becomes
// is not waited for. That there is none is said, and is no error.
func (s *session) browse(u string) error {
	argv := []string{"xdg-open", u}
	switch runtime.GOOS {
	case "darwin":
		argv = []string{"open", u}
	case "windows":
		argv = []string{"rundll32", "url.dll,FileProtocolHandler", u}
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	err := cmd.Start()
	if errors.Is(err, exec.ErrNotFound) {
		s.notef(noBrowser, argv[0])
		return nil
	}
	if err != nil {
		return engine.WithHint(fmt.Errorf("open the browser: %w", err), "the address alone: add --print")
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }() // it ends with this process at the latest
	select {
	case err := <-ended:
		var exit *exec.ExitError
		if argv[0] == "xdg-open" && errors.As(err, &exit) && exit.ExitCode() == xdgNoProgram {
			s.notef(noBrowser, argv[0])
			return nil
		}
		if err != nil {
			return engine.WithHint(fmt.Errorf("open the browser: %s: %w", argv[0], err), "the address alone: add --print")
		}
	case <-time.After(browserPatience):
	}
	return nil
}

const noBrowser = "not opened: %s finds no browser here\n"

// xdgNoProgram is the exit status of an xdg-open that found none to open it with;
// see xdg-open(1).
const xdgNoProgram = 3

// browserPatience is how long what opens an address has to say that it cannot.
const browserPatience = 2 * time.Second
