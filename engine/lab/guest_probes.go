package lab

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// guestProbes are the programs by which images tell whether their application
// works. What they say hangs on the health that the lab gives the container.
func guestProbes() map[string]func(g *guestProc) int {
	answer := func(well, ill string, exit int) func(g *guestProc) int {
		return func(g *guestProc) int {
			if g.node.probe(g.id) == nil {
				fmt.Fprint(g.stdout, well)
				return 0
			}
			fmt.Fprint(g.stderr, ill)
			return exit
		}
	}
	redis := answer("PONG\n", "Could not connect to Redis at 127.0.0.1:6379: Connection refused\n", 1)
	valkey := answer("PONG\n", "Could not connect to Valkey at 127.0.0.1:6379: Connection refused\n", 1)
	mysql := answer("mysqld is alive\n", "mysqladmin: connect to server at 'localhost' failed\n", 1)
	quiet := answer("", "", 1)
	return map[string]func(g *guestProc) int{
		"pg_isready":         guestPgIsReady,
		"psql":               answer("", "psql: error: connection to server failed: Connection refused\n", 2),
		"redis-cli":          redis,
		"valkey-cli":         valkey,
		"keydb-cli":          redis,
		"mysqladmin":         mysql,
		"mariadb-admin":      mysql,
		"mongosh":            answer("{ ok: 1 }\n", "MongoNetworkError: connect ECONNREFUSED 127.0.0.1:27017\n", 1),
		"nc":                 quiet,
		"healthcheck":        quiet,
		"healthcheck.sh":     quiet,
		"immich-healthcheck": quiet,
		"wget":               guestHTTP,
		"curl":               guestHTTP,
	}
}

// guestPgIsReady is pg_isready, which tells a server that starts from none.
func guestPgIsReady(g *guestProc) int {
	err := g.node.probe(g.id)
	text, exit := "accepting connections", 0
	switch err {
	case nil:
	case errNotListening:
		text, exit = "no response", 2
	default:
		text, exit = "rejecting connections", 1
	}
	if !slices.Contains(g.argv, "-q") {
		fmt.Fprintf(g.stdout, "/var/run/postgresql:5432 - %s\n", text)
	}
	return exit
}

// lookUp finds the container that a name or address leads to from inside this
// one: by /etc/hosts, then, if it has a resolver, by the names that the DHCP
// server knows.
func (g *guestProc) lookUp(host string) (id int, ok bool) {
	hosts, _ := g.readFile("/etc/hosts") // none has no names
	for line := range strings.Lines(string(hosts)) {
		if f := strings.Fields(line); len(f) > 1 && slices.Contains(f[1:], host) {
			return g.node.guestAt(f[0])
		}
	}
	if _, err := netip.ParseAddr(host); err != nil && !g.root.exists("/etc/resolv.conf") {
		return 0, false
	}
	return g.node.guestAt(host)
}

// guestHTTP is wget and curl, of the container's own application or another's.
func guestHTTP(g *guestProc) int {
	url := ""
	for _, a := range g.argv[1:] {
		if strings.Contains(a, "://") || strings.HasPrefix(a, "localhost") || strings.HasPrefix(a, "127.0.0.1") {
			url = a
		}
	}
	host, port := urlTarget(url)
	id := g.id
	if host != "localhost" && host != "127.0.0.1" && host != "::1" {
		other, ok := g.lookUp(host)
		if !ok {
			return g.failf(1, "%s: bad address '%s'", g.argv[0], host)
		}
		id = other
	}
	switch err := g.node.probe(id); err {
	case nil:
		fmt.Fprint(g.stdout, g.node.httpBody(id))
		return 0
	case errNotListening:
		if g.argv[0] == "curl" {
			return g.failf(7, "curl: (7) Failed to connect to %s port %s: Connection refused", host, port)
		}
		return g.failf(1, "wget: can't connect to remote host (%s): Connection refused", host)
	default:
		if g.argv[0] == "curl" {
			return g.failf(22, "curl: (22) The requested URL returned error: 503")
		}
		return g.failf(1, "wget: server returned error: HTTP/1.1 503 Service Unavailable")
	}
}
