package lab

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
)

// guestPrograms returns the programs that manage containers and volumes.
func guestPrograms() map[string]program {
	return map[string]program{
		"pct":         pct,
		"pvesh":       pvesh,
		"pvesm":       pvesm,
		"lxc-info":    lxcInfo,
		"curl":        curl,
		HealthProgram: healthProgram,
		FaultProgram:  faultProgram,
	}
}

// lxcInfo prints the addresses of a container: lxc-info -n ID -iH.
func lxcInfo(p *proc) int {
	o, _, exit, ok := p.options(grammar{names: "n: name: i ips H no-humanize"}, 1)
	switch {
	case !ok:
		return exit
	case !o.has("i") && !o.has("ips") || !o.has("H") && !o.has("no-humanize"):
		return p.failf(1, "lxc-info: the lab models lxc-info -n ID -iH only")
	}
	id := o.last("n") + o.last("name")
	vmid, refused := parseVMID(id)
	g := p.node.guest(vmid)
	if refused != "" || !g.Running {
		return p.failf(1, "%s doesn't exist", id)
	}
	var addrs []string
	for _, l := range p.node.driver.links(vmid) {
		for _, cidr := range []string{l.IP, l.IP6} {
			if a, _, ok := strings.Cut(cidr, "/"); ok {
				addrs = append(addrs, a)
			}
		}
	}
	slices.Sort(addrs)
	for _, a := range addrs {
		fmt.Fprintln(p.stdout, a)
	}
	return 0
}

// curl is curl on the node with -s, -S, -f and -m, which reaches containers only. It
// prints the body.
func curl(p *proc) int {
	o, urls, err := grammar{names: "s S f m: silent show-error fail max-time:"}.parse(p.argv[1:])
	switch {
	case err != nil:
		return p.failf(2, "curl: %v\ncurl: try 'curl --help' or 'curl --manual' for more information", err)
	case len(urls) != 1:
		return p.failf(2, "curl: (2) the lab models one URL")
	}
	url := urls[0]
	host, port := urlTarget(url)
	conn, err := p.node.driver.dial(p.ctx, net.JoinHostPort(host, port))
	if err != nil {
		return 7
	}
	defer conn.Close()
	req, err := http.NewRequestWithContext(p.ctx, http.MethodGet, url, nil)
	if err != nil {
		return 3
	}
	if err := req.Write(conn); err != nil {
		return 56
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), req)
	if err != nil {
		return 56
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 400 && (o.has("f") || o.has("fail")) {
		return 22
	}
	if _, err := io.Copy(p.stdout, resp.Body); err != nil {
		return 23
	}
	return 0
}
