package pve

import (
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strings"
)

// format returns what PVE says about a value that breaks a named format, "" if
// it keeps it. Formats that need the node (time zones, storages) pass.
func (c checker) format(key string, o Option, value string) string {
	switch o.Format {
	case "property-string":
		return c.propertyString(key, o, value)
	case "dns-name":
		return unless(isDNSName(value), "value does not look like a valid DNS name")
	case "dns-name-list":
		return unless(all(value, isDNSName), "value does not look like a valid DNS name")
	case "lxc-ip-with-ll-iface-list":
		return unless(all(value, isIPWithZone), "value does not look like a valid IP address")
	case "pve-tag-list":
		return unless(all(value, func(t string) bool { return CheckTag(t) == nil }), "invalid characters in tag")
	case "pve-startup-order":
		_, err := ParseStartup(value)
		return unless(err == nil, fmt.Sprintf("unable to parse startup options '%s'", value))
	case "mac-addr":
		ok := regexp.MustCompile(`(?i)^[a-f0-9][02468ace](:[a-f0-9]{2}){5}$`).MatchString(value)
		return unless(ok, "value does not look like a valid unicast MAC address")
	case "ipv4":
		return unless(isIP(value, true), "value does not look like a valid IPv4 address")
	case "ipv6":
		return unless(isIP(value, false), "value does not look like a valid IPv6 address")
	case "pve-ipv4-config":
		return unless(value == "dhcp" || value == "manual" || isCIDR(value, true), "value does not look like a valid ipv4 network configuration")
	case "pve-ipv6-config":
		ok := value == "auto" || value == "dhcp" || value == "manual" || isCIDR(value, false)
		return unless(ok, "value does not look like a valid ipv6 network configuration")
	case "pve-lxc-mp-string":
		bad := regexp.MustCompile(`/\.\.?/|/\.\.?$|^\.\.?/`).MatchString(value)
		return unless(!bad, value+" contains illegal character sequences")
	case "pve-lxc-dev-string":
		bad := !strings.HasPrefix(value, "/dev/") || regexp.MustCompile(`/\.\.?/|/\.\.?$`).MatchString(value)
		return unless(!bad, value+" is not a valid device path")
	case "disk-size":
		ok := regexp.MustCompile(`^\d+(\.\d+)?([KMGT](iB)?)?$`).MatchString(value)
		return unless(ok, "value does not look like a valid disk size: "+value)
	case "pve-volume-id":
		_, err := ParseVolID(value)
		return unless(err == nil, fmt.Sprintf("unable to parse volume ID '%s'", value))
	case "pve-storage-id":
		return unless(CheckStorageID(value) == nil, fmt.Sprintf("storage ID '%s' contains illegal characters", value))
	}
	return ""
}

func unless(ok bool, text string) string {
	if ok {
		return ""
	}
	return text
}

func all(list string, ok func(string) bool) bool {
	return !slices.ContainsFunc(strings.FieldsFunc(list, isListSeparator), func(s string) bool { return !ok(s) })
}

func isDNSName(s string) bool {
	label := `[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?`
	return regexp.MustCompile(`^(` + label + `\.)*` + label + `$`).MatchString(s)
}

func isIP(s string, four bool) bool {
	a, err := netip.ParseAddr(s)
	return err == nil && a.Is4() == four && a.Zone() == ""
}

func isIPWithZone(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil || s == "host"
}

func isCIDR(s string, four bool) bool {
	p, err := netip.ParsePrefix(s)
	return err == nil && p.Addr().Is4() == four && p.Bits() >= 8
}

// propertyString checks a property string and all that is in it
// (parse_property_string in JSONSchema.pm).
func (c checker) propertyString(key string, o Option, value string) string {
	props, reason := splitProps(o, value)
	if reason != "" {
		return reason
	}
	var lines []string
	for _, k := range slices.Sorted(maps.Keys(o.Properties)) {
		p := o.Properties[k]
		v, set := props.Get(k)
		switch {
		case !exists(p, c.version):
		case !set && p.Required:
			lines = append(lines, k+": property is missing and it is not optional")
		case set:
			if r := c.value(k, p, v); r != "" {
				lines = append(lines, k+": "+r)
			}
		}
	}
	for _, kv := range props {
		if p, ok := o.Properties[kv.Key]; !ok || !exists(p, c.version) {
			lines = append(lines, kv.Key+": property is not defined in schema and the schema does not allow additional properties")
		}
	}
	if len(lines) == 0 {
		return ""
	}
	return "format error\n" + key + "." + strings.Join(lines, "\n"+key+".")
}

func splitProps(o Option, value string) (Props, string) {
	defaultKey := ""
	for k, p := range o.Properties {
		if p.DefaultKey {
			defaultKey = k
		}
	}
	var props Props
	for part := range strings.SplitSeq(value, ",") {
		if strings.TrimSpace(part) == "" {
			continue
		}
		k, v, ok := strings.Cut(part, "=")
		if !ok {
			if defaultKey == "" {
				return nil, "value without key, but schema does not define a default key"
			}
			k, v = defaultKey, part
		}
		if _, dup := props.Get(k); dup {
			return nil, "duplicate key in comma-separated list property: " + k
		}
		props = append(props, KV{k, v})
	}
	return props, ""
}
