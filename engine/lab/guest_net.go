package lab

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// The network behind the node's bridge vmbr0 and what its DHCP server gives out.
const (
	dhcpNet   = "10.10.10."
	dhcpFirst = 100
	dhcpLast  = 199
)

// lease returns the address, with prefix length, that the DHCP server gives to a
// hardware address: the one it had, else the lowest that nobody has, else one
// that no running container uses. A lease belongs to the hardware address: who
// has that later gets it.
func (n *node) lease(id int, hwaddr string) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	leased, used := map[string]bool{}, map[string]bool{}
	for _, g := range n.state.Guests.all() {
		if a := g.Leases[hwaddr]; a != "" {
			return a + "/24"
		}
		for _, a := range g.Leases {
			leased[a] = true
		}
		for _, l := range g.Links {
			a, _, _ := strings.Cut(l.IP, "/")
			used[a] = true
		}
	}
	free := func(a string) bool { return !leased[a] && !used[a] }
	idle := func(a string) bool { return !used[a] }
	for _, ok := range []func(string) bool{free, idle} {
		for last := dhcpFirst; last <= dhcpLast; last++ {
			if a := dhcpNet + strconv.Itoa(last); ok(a) {
				n.state.giveLease(id, hwaddr, a)
				return a + "/24"
			}
		}
	}
	return ""
}

// giveLease notes a lease and ends another of the same address.
func (s *state) giveLease(id int, hwaddr, addr string) {
	for other, g := range s.Guests.all() {
		for hwaddr, a := range g.Leases {
			if a == addr {
				delete(s.Guests.edit(other).Leases, hwaddr)
			}
		}
	}
	g := s.editGuest(id)
	if g.Leases == nil {
		g.Leases = map[string]string{}
	}
	g.Leases[hwaddr] = addr
}

// guestAt finds the running container that has an address, or whose host name it is.
func (n *node) guestAt(host string) (id int, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for id, g := range n.state.Guests.all() {
		if !g.Running {
			continue
		}
		if g.Hostname == host {
			return id, true
		}
		for _, l := range g.Links {
			for _, cidr := range []string{l.IP, l.IP6} {
				if a, _, _ := strings.Cut(cidr, "/"); a == host && a != "" {
					return id, true
				}
			}
		}
	}
	return 0, false
}

// dialGuest opens a connection to ip:port of a running container, as a program on
// the node would. What answers is a model of its application: HTTP is answered
// with 200, or 503 where it is not healthy; other protocols are accepted and get
// no answer. Errors are *net.OpError: connection refused where nothing listens,
// no route to host where nothing has the address.
func (n *node) dialGuest(ctx context.Context, addr string) (net.Conn, error) {
	fail := func(err error) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: fmt.Errorf("%s: %w", addr, err)}
	}
	if err := ctx.Err(); err != nil {
		return fail(err)
	}
	host, portText, err := net.SplitHostPort(addr)
	if err != nil {
		return fail(err)
	}
	port, err := strconv.Atoi(portText)
	if err != nil {
		return fail(err)
	}
	if _, err := netip.ParseAddr(host); err != nil {
		return fail(&net.DNSError{Err: "no such host", Name: host, IsNotFound: true})
	}
	id, ok := n.guestAt(host)
	if !ok {
		return fail(syscall.EHOSTUNREACH)
	}
	if !n.listens(id, port) {
		return fail(syscall.ECONNREFUSED)
	}
	state := n.probe(id)
	if state == errNotListening {
		return fail(syscall.ECONNREFUSED)
	}
	here, there := net.Pipe()
	n.background.Go(func() { n.serveGuest(id, there, state == nil) })
	return here, nil
}

// listens reports whether the application in a container listens on a port.
func (n *node) listens(id, port int) bool {
	g := n.guest(id)
	if len(g.Init) > 0 && path.Base(g.Init[0]) == "httpd" {
		return port == httpPort(g.Init)
	}
	return len(g.Ports) == 0 || slices.Contains(g.Ports, port)
}

// serveGuest answers one connection until the other side or the lab closes it.
func (n *node) serveGuest(id int, conn net.Conn, well bool) {
	defer conn.Close()
	stop := context.AfterFunc(n.life.context(), func() { conn.Close() })
	defer stop()
	in := bufio.NewReader(conn)
	for {
		head, err := in.Peek(4)
		if err != nil {
			return
		}
		if !isHTTP(head) {
			_, _ = in.Discard(in.Buffered()) // taken and not understood
			continue
		}
		req, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		if err := n.respond(id, conn, req, well); err != nil || req.Close {
			return
		}
	}
}

func isHTTP(head []byte) bool {
	for _, method := range []string{"GET ", "HEAD", "POST", "PUT ", "OPTI"} {
		if bytes.Equal(head, []byte(method)) {
			return true
		}
	}
	return false
}

func (n *node) respond(id int, conn net.Conn, req *http.Request, well bool) error {
	body, code := n.httpBody(id), http.StatusOK
	if !well {
		body, code = "Service Unavailable\n", http.StatusServiceUnavailable
	}
	if req.Method == http.MethodHead {
		body = ""
	}
	if conf, err := n.guestConfig(id); err == nil {
		n.console(conf).say("%s %s %d", req.Method, req.URL.Path, code)
	}
	_, err := fmt.Fprintf(conn, "HTTP/1.1 %d %s\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s",
		code, http.StatusText(code), len(body), body)
	return err
}

// httpBody is what a container's application answers: busybox's httpd has a
// directory to serve, of all others "ok" has to do.
func (n *node) httpBody(id int) string {
	g := n.guest(id)
	for i, a := range g.Init {
		if a != "-h" || i+1 == len(g.Init) || path.Base(g.Init[0]) != "httpd" {
			continue
		}
		data, err := guestRoot{n, g.Mounts}.readFile(path.Join(g.Init[i+1], "index.html"))
		if err == nil {
			return string(data)
		}
	}
	return "ok\n"
}

// urlTarget returns the host and port of a URL, which may lack a scheme.
func urlTarget(url string) (host, port string) {
	port = "80"
	if rest, ok := strings.CutPrefix(url, "https://"); ok {
		url, port = rest, "443"
	}
	url = strings.TrimPrefix(url, "http://")
	url, _, _ = strings.Cut(url, "/")
	if h, p, err := net.SplitHostPort(url); err == nil {
		return h, p
	}
	return strings.Trim(url, "[]"), port
}

// linkLocal returns the IPv6 link-local address of a hardware address (RFC 4291).
func linkLocal(hwaddr string) netip.Addr {
	mac, err := net.ParseMAC(hwaddr)
	if err != nil || len(mac) != 6 {
		return netip.Addr{}
	}
	return netip.AddrFrom16([16]byte{
		0: 0xfe, 1: 0x80, 8: mac[0] ^ 2, 9: mac[1], 10: mac[2], 11: 0xff, 12: 0xfe, 13: mac[3], 14: mac[4], 15: mac[5],
	})
}
