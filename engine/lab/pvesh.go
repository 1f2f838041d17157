package lab

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/tengil/tengil/engine/pve"
)

// pvesh is the node's shell of the API (src/PVE/CLI/pvesh.pm in pve-manager).
func pvesh(p *proc) int {
	if len(p.argv) < 2 {
		fmt.Fprint(p.stderr, "ERROR: no command specified\n"+pveshUsage)
		return 255
	}
	verb := p.argv[1]
	if !slices.Contains([]string{"get", "create", "set", "delete"}, verb) {
		fmt.Fprintf(p.stderr, "ERROR: unknown command 'pvesh %s'\n%s", verb, pveshUsage)
		return 255
	}
	cmd := guestCommand{
		args: []string{"api_path"}, usage: "<api_path> [OPTIONS] [FORMAT_OPTIONS]",
		options: map[string]optionKind{"output-format": textOption}, run: pveshRun(verb),
	}
	maps.Copy(cmd.options, pveshOptions(verb, p.argv[2:]))
	return cmd.cli(p, "pvesh "+verb, p.argv[2:])
}

// pveshOptions returns the options of the API path among the arguments.
func pveshOptions(verb string, args []string) map[string]optionKind {
	api := ""
	if len(args) > 0 {
		api = strings.TrimSuffix(args[0], "/")
	}
	flags := map[string]optionKind{}
	schema := ""
	switch {
	case verb == "get":
		return map[string]optionKind{"type": textOption, "content": textOption, "vmid": textOption, "limit": textOption, "source": textOption, "typefilter": textOption, "current": boolOption}
	case verb == "create" && strings.HasSuffix(api, "/lxc"):
		schema = "create"
		flags["vmid"], flags["ostemplate"] = textOption, textOption
	case verb == "set" && strings.HasSuffix(api, "/config"):
		schema = "set"
	case verb == "create":
		return map[string]optionKind{"timeout": textOption, "forceStop": boolOption}
	case verb == "delete":
		return destroyOptionKinds()
	}
	for name, o := range pve.Schema(schema) {
		kind := textOption
		if o.Type == "boolean" {
			kind = boolOption
		}
		base, numbered := strings.CutSuffix(name, "[n]")
		if !numbered {
			flags[name] = kind
			continue
		}
		for i := o.Index.Min; i <= o.Index.Max; i++ {
			flags[base+strconv.Itoa(i)] = kind
		}
	}
	return flags
}

func pveshRun(verb string) func(c *guestCall) error {
	return func(c *guestCall) error {
		parts := strings.Split(strings.Trim(c.args["api_path"], "/"), "/")
		if parts[0] == "nodes" && len(parts) > 1 && parts[1] != c.node.name {
			return dief(11, "hostname lookup '%s' failed - failed to get address info for: %s: Temporary failure in name resolution", parts[1], parts[1])
		}
		if verb != "get" {
			return c.pveshTask(verb, parts)
		}
		v, err := c.pveshGet(parts)
		if err != nil {
			return err
		}
		return c.print(v)
	}
}

// noHandler is said of a path that the API does not have, or the lab.
func noHandler(verb string, parts []string) error {
	return dief(1, "No '%s' handler defined for '/%s'", verb, strings.Join(parts, "/"))
}

// print prints an answer in the format that is asked for.
func (c *guestCall) print(v any) error {
	format := c.opts["output-format"]
	switch value := v.(type) {
	case string:
		if format == "" || format == "text" {
			fmt.Fprintln(c.stdout, value)
			return nil
		}
	case map[string]any:
		if format == "" || format == "text" {
			printTable(c, value)
			return nil
		}
	}
	switch format {
	case "json-pretty":
		fmt.Fprintln(c.stdout, prettyJSON(v))
	case "json":
		fmt.Fprintln(c.stdout, jsonText(v))
	default:
		return dief(255, "the lab prints lists as JSON only: use --output-format json")
	}
	return nil
}

// prettyJSON prints as Perl's JSON module does: three blanks, and blanks around ":".
func prettyJSON(v any) string {
	var b bytes.Buffer
	if err := json.Indent(&b, []byte(jsonText(v)), "", "   "); err != nil {
		return "null"
	}
	var out strings.Builder
	for line := range strings.Lines(b.String()) {
		trimmed := strings.TrimLeft(line, " ")
		if end := strings.Index(trimmed, `": `); strings.HasPrefix(trimmed, `"`) && end > 0 {
			line = line[:len(line)-len(trimmed)] + trimmed[:end+1] + " : " + trimmed[end+3:]
		}
		out.WriteString(line)
	}
	return out.String()
}

// printTable prints an object as a table of its keys.
func printTable(c *guestCall, v map[string]any) {
	keys := slices.Sorted(maps.Keys(v))
	texts := map[string][]string{}
	wide, wideValue := len("key"), len("value")
	for _, k := range keys {
		text, ok := v[k].(string)
		if !ok {
			text = jsonText(v[k])
		}
		texts[k] = strings.Split(strings.TrimRight(text, "\n"), "\n")
		wide = max(wide, len(k))
		for _, l := range texts[k] {
			wideValue = max(wideValue, len([]rune(l)))
		}
	}
	rule := func(left, line, middle, right string) {
		fmt.Fprintln(c.stdout, left+strings.Repeat(line, wide+2)+middle+strings.Repeat(line, wideValue+2)+right)
	}
	row := func(a, b string) { fmt.Fprintf(c.stdout, "│ %-*s │ %-*s │\n", wide, a, wideValue, b) }
	rule("┌", "─", "┬", "┐")
	row("key", "value")
	rule("╞", "═", "╪", "╡")
	for i, k := range keys {
		if i > 0 {
			rule("├", "─", "┼", "┤")
		}
		for j, l := range texts[k] {
			if j > 0 {
				k = ""
			}
			row(k, l)
		}
	}
	rule("└", "─", "┴", "┘")
}

// jsonText prints a value as PVE's JSON does: keys sorted, no HTML escapes.
func jsonText(v any) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return "null"
	}
	return strings.TrimRight(b.String(), "\n")
}

// pveshUsage is what pvesh prints of itself.
const pveshUsage = `USAGE: pvesh <COMMAND> [ARGS] [OPTIONS]

       pvesh create <api_path> [OPTIONS] [FORMAT_OPTIONS]
       pvesh delete <api_path> [OPTIONS] [FORMAT_OPTIONS]
       pvesh get <api_path> [OPTIONS] [FORMAT_OPTIONS]
       pvesh ls <api_path> [OPTIONS] [FORMAT_OPTIONS]
       pvesh set <api_path> [OPTIONS] [FORMAT_OPTIONS]
       pvesh usage <api_path> [OPTIONS]

       pvesh help [<extra-args>] [OPTIONS]
`
