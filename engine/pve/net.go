package pve

import (
	"fmt"
	"strconv"
	"strings"
)

// A Net is one network interface of a container (netN, Config.pm
// $netconf_desc). Texts are "" and numbers 0 when unset.
type Net struct {
	Name, Bridge, HWAddr string
	IP, GW               string // IP: CIDR, "dhcp" or "manual"
	IP6, GW6             string // IP6: CIDR, "auto", "dhcp" or "manual"
	Type                 string // "veth", which PVE fills in
	HostManaged          Flag   // the node configures the interface; OCI create sets it when unset
	Firewall, LinkDown   Flag
	Tag, MTU             int
	Rate, Trunks         string
	Extra                Props // keys that this version does not know
}

// ParseNet parses a netN value.
func ParseNet(s string) (Net, error) {
	props, err := ParseProps(s, "")
	if err != nil {
		return Net{}, err
	}
	var n Net
	for _, kv := range props {
		if err := n.set(kv.Key, kv.Value); err != nil {
			return Net{}, fmt.Errorf("%s: %w", kv.Key, err)
		}
	}
	return n, nil
}

func (n *Net) set(key, value string) (err error) {
	texts := map[string]*string{
		"name": &n.Name, "bridge": &n.Bridge, "hwaddr": &n.HWAddr, "ip": &n.IP, "gw": &n.GW,
		"ip6": &n.IP6, "gw6": &n.GW6, "type": &n.Type, "rate": &n.Rate, "trunks": &n.Trunks,
	}
	flags := map[string]*Flag{"host-managed": &n.HostManaged, "firewall": &n.Firewall, "link_down": &n.LinkDown}
	numbers := map[string]*int{"tag": &n.Tag, "mtu": &n.MTU}
	if t := texts[key]; t != nil {
		*t = value
		return nil
	}
	if f := flags[key]; f != nil {
		return setFlag(f, value)
	}
	if i := numbers[key]; i != nil {
		*i, err = strconv.Atoi(value)
		return err
	}
	n.Extra = append(n.Extra, KV{key, value})
	return nil
}

func setFlag(f *Flag, value string) error {
	b, err := ParseBool(value)
	if err == nil {
		*f = FlagOf(b)
	}
	return err
}

// String prints the interface as PVE does: name first, the rest sorted by key.
func (n Net) String() string { return n.props().String("") }

func (n Net) props() Props {
	var w propWriter
	w.text("name", n.Name)
	w.text("bridge", n.Bridge)
	w.flag("firewall", n.Firewall)
	w.text("gw", n.GW)
	w.text("gw6", n.GW6)
	w.flag("host-managed", n.HostManaged)
	w.text("hwaddr", n.HWAddr)
	w.text("ip", n.IP)
	w.text("ip6", n.IP6)
	w.flag("link_down", n.LinkDown)
	w.text("mtu", number(n.MTU))
	w.text("rate", n.Rate)
	w.text("tag", number(n.Tag))
	w.text("trunks", n.Trunks)
	w.text("type", n.Type)
	return append(w.p, n.Extra...).Canonical("", "name")
}

func number(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

// A FieldDiff is one property that differs. Texts are "" where unset.
type FieldDiff struct{ Field, Want, Have string }

// SameNet compares what is wanted with what a config holds and ignores what PVE
// completes by itself: type, and hwaddr unless one is wanted. An unset flag
// equals one that is off. The result is empty when nothing differs.
func SameNet(want, have Net) []FieldDiff {
	w, h := want.normal(), have.normal()
	if want.HWAddr == "" {
		w.HWAddr, h.HWAddr = "", ""
	}
	return diffProps(w.props(), h.props())
}

func (n Net) normal() Net {
	n.Type = ""
	n.HWAddr = strings.ToUpper(n.HWAddr)
	n.GW6, n.IP6 = strings.ToLower(n.GW6), strings.ToLower(n.IP6)
	for _, f := range []*Flag{&n.HostManaged, &n.Firewall, &n.LinkDown} {
		if *f == Off {
			*f = Unset
		}
	}
	return n
}

// diffProps lists differences, in the order of want and then of have.
func diffProps(want, have Props) []FieldDiff {
	var out []FieldDiff
	for _, kv := range want {
		if v, _ := have.Get(kv.Key); v != kv.Value {
			out = append(out, FieldDiff{kv.Key, kv.Value, v})
		}
	}
	for _, kv := range have {
		if _, ok := want.Get(kv.Key); !ok {
			out = append(out, FieldDiff{kv.Key, "", kv.Value})
		}
	}
	return out
}
