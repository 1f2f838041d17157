package lab

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// A skopeoRun is one run of skopeo 1.18.
type skopeoRun struct {
	*proc
	flags map[string]string // by long name; a flag without a value is "true"
	args  []string          // after the subcommand
	reg   *registries
	// missing is an image that was asked for and of which the lab has nothing.
	missing string
}

// errNotFound is wrapped by errors of images that are not there, with which
// skopeo exits with 2 instead of 1.
var errNotFound = errors.New("manifest unknown")

// nodeArch is the platform that the lab's node has.
const nodeArch = "amd64"

// skopeo is the program: it moves images between registries and archives.
func skopeo(p *proc) int {
	s := &skopeoRun{proc: p, flags: map[string]string{}, reg: p.node.registries()}
	err := s.main()
	var ended *endedError
	var failed *faultError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &ended):
		return ended.exit
	case errors.As(err, &failed):
		fmt.Fprint(p.stderr, failed.stderr)
		return failed.exit
	}
	fmt.Fprintf(p.stderr, "time=%q level=fatal msg=%q\n", time.Now().UTC().Format(time.RFC3339), err.Error())
	if s.missing != "" {
		fmt.Fprintf(p.stderr, "lab: there is no stand-in for %s; real images: tg lab start --pull\n", s.missing)
	}
	if errors.Is(err, errNotFound) {
		return 2
	}
	return 1
}

func (s *skopeoRun) main() error {
	commands := map[string]struct {
		flags string
		args  int
		run   func() error
	}{
		"inspect":   {imageFlags + "raw config format= f:format no-tags n:no-tags", 1, s.inspect},
		"copy":      {copyFlags, 2, s.copy},
		"list-tags": {imageFlags, 1, s.listTags},
		"login":     {loginFlags + "username= u:username password= p:password password-stdin get-login verbose v:verbose", 1, s.login},
		"logout":    {loginFlags + "all a:all", 1, s.logout},
	}
	rest, err := s.parse(s.argv[1:], globalFlags, true)
	if err != nil {
		return err
	}
	if s.flags["version"] == "true" || s.flags["v"] == "true" {
		fmt.Fprintln(s.stdout, "skopeo version 1.18.0")
		return nil
	}
	if len(rest) == 0 {
		return saidf("Missing command 'skopeo COMMAND'\nTry 'skopeo --help' for more information")
	}
	c, ok := commands[rest[0]]
	if !ok {
		return saidf("Unrecognized command `skopeo %s`\nTry 'skopeo --help' for more information", rest[0])
	}
	if s.args, err = s.parse(rest[1:], globalFlags+" "+c.flags, false); err != nil {
		return err
	}
	if len(s.args) != c.args {
		return argumentError(c.args)
	}
	return c.run()
}

func argumentError(want int) error {
	if want == 2 {
		return saidf("Exactly two arguments expected")
	}
	return saidf("Exactly one argument expected")
}

// Flags by command, as for parse.
const (
	globalFlags = "override-arch= override-os= override-variant= policy= insecure-policy debug command-timeout= tmpdir= registries.d= version v "
	imageFlags  = "authfile= creds= username= password= no-creds cert-dir= tls-verify retry-times= shared-blob-dir= "
	loginFlags  = "authfile= tls-verify cert-dir= compat-auth-file= "
	copyFlags   = "authfile= src-authfile= dest-authfile= src-creds= dest-creds= src-no-creds dest-no-creds src-tls-verify dest-tls-verify " +
		"src-cert-dir= dest-cert-dir= quiet q:quiet all a:all multi-arch= format= f:format digestfile= preserve-digests remove-signatures " +
		"retry-times= image-parallel-copies= dest-oci-accept-uncompressed-layers dest-shared-blob-dir= src-shared-blob-dir="
)

// parse reads the flags of argv into s.flags and returns the other words. known
// are the names of flags parted by blanks: "NAME=" takes a value, "x:NAME" is a
// short form. With first set it stops at the first word that is no flag.
func (s *skopeoRun) parse(argv []string, known string, first bool) ([]string, error) {
	var words []string
	for len(argv) > 0 {
		word := argv[0]
		argv = argv[1:]
		switch {
		case word == "--":
			return append(words, argv...), nil
		case len(word) < 2 || word[0] != '-':
			words = append(words, word)
			if first {
				return append(words, argv...), nil
			}
			continue
		}
		name, value, given := strings.Cut(strings.TrimLeft(word, "-"), "=")
		name, takes, ok := lookFlag(known, name, !strings.HasPrefix(word, "--"))
		switch {
		case !ok && strings.HasPrefix(word, "--"):
			return nil, fmt.Errorf("unknown flag: --%s", name)
		case !ok:
			return nil, fmt.Errorf("unknown shorthand flag: %q in %s", name[0], word)
		case takes && !given && len(argv) == 0:
			return nil, fmt.Errorf("flag needs an argument: --%s", name)
		case takes && !given:
			value, argv = argv[0], argv[1:]
		case !given:
			value = "true"
		}
		s.flags[name] = value
	}
	return words, nil
}

// lookFlag returns the long name of a flag and whether it takes a value.
func lookFlag(known, name string, short bool) (long string, takes, ok bool) {
	for f := range strings.FieldsSeq(known) {
		if long, is := strings.CutPrefix(f, name+":"); is && short {
			return lookFlag(known, long, false)
		}
		if f == name && (!short || len(name) == 1) {
			return name, false, true
		}
		if f == name+"=" && !short {
			return name, true, true
		}
	}
	return name, false, false
}

// tlsVerify reports whether a registry must speak HTTPS. prefix is "", "src-" or
// "dest-".
func (s *skopeoRun) tlsVerify(prefix string) bool { return s.flags[prefix+"tls-verify"] != "false" }

func (s *skopeoRun) arch() string { return orElse(s.flags["override-arch"], nodeArch) }

func (s *skopeoRun) os() string { return orElse(s.flags["override-os"], "linux") }
