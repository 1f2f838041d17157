package sshhost

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/kevinburke/ssh_config"

	"github.com/tengil/tengil/engine"
)

// A target is what the user wrote: an alias of the config, or a host name.
type target struct {
	user, host, port string // user and port may be ""
}

// CheckTarget reports what is wrong with a destination, without looking whether
// there is such a host.
func CheckTarget(to string) error {
	_, err := parseTarget(to)
	return err
}

// parseTarget reads "ssh://[user@]host[:port]" or "[user@]host". A host that
// starts with a dash is refused, as ssh does.
func parseTarget(s string) (target, error) {
	var t target
	if strings.HasPrefix(s, "ssh://") {
		u, err := url.Parse(s)
		if err != nil || (u.Path != "" && u.Path != "/") || u.RawQuery != "" || u.Fragment != "" {
			return t, fmt.Errorf("target %q, wanted ssh://[user@]host[:port]", s)
		}
		if _, has := u.User.Password(); has {
			return t, errors.New("a target must not hold a password")
		}
		t = target{u.User.Username(), u.Hostname(), u.Port()}
	} else if i := strings.LastIndex(s, "@"); i >= 0 {
		t = target{user: s[:i], host: s[i+1:]}
		if t.user == "" {
			return t, fmt.Errorf("target %q has no user before the @", s)
		}
	} else {
		t.host = s
	}
	if host, port, ok := strings.Cut(t.host, ":"); ok && t.port == "" && port != "" && strings.Trim(port, "0123456789") == "" {
		t.host, t.port = host, port // an IPv6 address has more than one colon
	}
	if t.host == "" || strings.HasPrefix(t.host, "-") || strings.ContainsAny(t.host, " \t\r\n\x00/") {
		return t, fmt.Errorf("target %q, wanted ssh://[user@]host[:port] or [user@]host", s)
	}
	return t, nil
}

// parseJump reads one element of ProxyJump: "[user@]host[:port]" or an ssh URL.
func parseJump(s string) (target, error) {
	if strings.HasPrefix(s, "ssh://") {
		return parseTarget(s)
	}
	return parseTarget("ssh://" + s)
}

// A hop is one host to connect to, with all that the config says about it.
type hop struct {
	name       string // as the user calls it
	user       string
	addr       string // host:port
	keyFiles   []string
	onlyKeys   bool // IdentitiesOnly
	knownHosts []string
	timeout    time.Duration
	pinned     bool // its key and ours are given, not looked up
}

// sshArgs is what to write after ssh to reach h by hand.
func (h hop) sshArgs() string {
	host, port, _ := net.SplitHostPort(h.addr)
	if port == "22" {
		return h.user + "@" + host
	}
	return "-p " + port + " " + h.user + "@" + host
}

// config answers what the user's ssh_config says. The zero config says nothing.
type config struct {
	file *ssh_config.Config
	path string
	opts Options
}

func loadConfig(o Options) (config, error) {
	c := config{path: o.Config, opts: o}
	if o.Config == "" {
		return c, nil
	}
	f, err := os.Open(o.Config)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return c, err
	}
	defer f.Close()
	if c.file, err = ssh_config.Decode(f); err != nil {
		return c, engine.WithHint(fmt.Errorf("%s: %w", o.Config, err),
			"another file can be named in the settings of the host")
	}
	return c, nil
}

func (c config) all(alias, key string) ([]string, error) {
	if c.file == nil {
		return nil, nil
	}
	vals, err := c.file.GetAll(alias, key)
	if err != nil {
		return nil, fmt.Errorf("%s: %s of %s: %w", c.path, key, alias, err)
	}
	return vals, nil
}

// settings are the values of one alias; the first error is kept.
type settings struct {
	c     config
	alias string
	err   error
}

func (s *settings) all(key string) []string {
	vals, err := s.c.all(s.alias, key)
	if s.err == nil {
		s.err = err
	}
	return vals
}

func (s *settings) get(key, def string) string {
	if vals := s.all(key); len(vals) > 0 && vals[0] != "" {
		return vals[0]
	}
	return def
}

// maxJumps limits chains, so that a config that refers to itself ends.
const maxJumps = 8

// route returns the hosts to connect to, one through the other; the last is t.
func (c config) route(t target, defaultUser string, depth int) ([]hop, error) {
	if depth > maxJumps {
		return nil, fmt.Errorf("%s: more than %d jumps on the way to %q", c.path, maxJumps, t.host)
	}
	s := &settings{c: c, alias: t.host}
	h, err := c.hop(s, t, defaultUser)
	if err != nil {
		return nil, err
	}
	jumps := s.get("ProxyJump", "none")
	if cmd := s.get("ProxyCommand", "none"); jumps == "none" && cmd != "none" {
		return nil, engine.WithHint(fmt.Errorf("%s: ProxyCommand of %q is not supported", c.path, t.host), "use ProxyJump")
	}
	if s.err != nil {
		return nil, s.err
	}
	if jumps == "none" {
		return []hop{h}, nil
	}
	var out []hop
	for i, j := range strings.Split(jumps, ",") {
		jt, err := parseJump(strings.TrimSpace(j))
		if err != nil {
			return nil, fmt.Errorf("%s: ProxyJump of %q: %w", c.path, t.host, err)
		}
		via, err := c.route(jt, c.jumpUser(), depth+1)
		if err != nil {
			return nil, err
		}
		if i > 0 { // reached through the one before it, not by its own jumps
			via = via[len(via)-1:]
		}
		out = append(out, via...)
	}
	return append(out, h), nil
}

func (c config) jumpUser() string {
	if c.opts.User == "" {
		return "root"
	}
	return c.opts.User
}

// hop looks up everything but the jumps.
func (c config) hop(s *settings, t target, defaultUser string) (hop, error) {
	h := hop{name: t.host, user: t.user, timeout: c.opts.connectTimeout()}
	if h.user == "" {
		h.user = s.get("User", defaultUser)
	}
	port := t.port
	if port == "" {
		port = s.get("Port", "22")
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return h, fmt.Errorf("port %q of %q, wanted 1 to 65535", port, t.host)
	}
	host := expandTokens(s.get("HostName", t.host), map[byte]string{'h': t.host})
	h.addr = net.JoinHostPort(strings.Trim(host, "[]"), port)
	if n, err := strconv.Atoi(s.get("ConnectTimeout", "0")); err == nil && n > 0 {
		h.timeout = time.Duration(n) * time.Second
	}
	h.onlyKeys = strings.EqualFold(s.get("IdentitiesOnly", "no"), "yes")
	tokens := map[byte]string{'h': host, 'n': t.host, 'p': port, 'r': h.user, 'u': c.opts.User, 'd': c.opts.Home}
	for _, f := range s.all("IdentityFile") {
		if f != "none" {
			h.keyFiles = append(h.keyFiles, c.filePath(f, tokens))
		}
	}
	for _, f := range strings.Fields(s.get("UserKnownHostsFile", "")) {
		h.knownHosts = append(h.knownHosts, c.filePath(f, tokens))
	}
	if len(h.knownHosts) == 0 && c.opts.KnownHosts != "" {
		h.knownHosts = []string{c.opts.KnownHosts}
	}
	return h, s.err
}

// filePath expands one file name of the config: ~, tokens, quotes.
func (c config) filePath(name string, tokens map[byte]string) string {
	name = strings.Trim(name, `"`)
	if rest, ok := strings.CutPrefix(name, "~/"); ok {
		name = filepath.Join(c.opts.Home, rest)
	}
	return expandTokens(name, tokens)
}

// expandTokens replaces %x by tokens['x'] and %% by %; other % stay.
func expandTokens(s string, tokens map[byte]string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '%' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		v, ok := tokens[s[i+1]]
		switch {
		case s[i+1] == '%':
			b.WriteByte('%')
		case ok:
			b.WriteString(v)
		default:
			b.WriteString(s[i : i+2])
		}
		i++
	}
	return b.String()
}
