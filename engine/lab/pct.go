package lab

import (
	"fmt"
	"strings"
)

// pct is the node's container tool (src/PVE/CLI/pct.pm in pve-container).
func pct(p *proc) int {
	if len(p.argv) < 2 {
		fmt.Fprint(p.stderr, "ERROR: no command specified\n"+pctUsage)
		return 255
	}
	name := p.argv[1]
	cmd, ok := pctCommands()[name]
	if !ok && strings.Contains(pctUsage, "pct "+name+" ") {
		return p.failf(255, "the lab does not model 'pct %s'", name)
	}
	if !ok {
		fmt.Fprintf(p.stderr, "ERROR: unknown command 'pct %s'\n%s", name, pctUsage)
		return 255
	}
	cmd.usage = usageOf(name)
	if p.node.noQuorum() {
		cmd.run = withoutQuorum(name, cmd.run)
	}
	return cmd.cli(p, "pct "+name, p.argv[2:])
}

// usageOf returns what follows a subcommand's name in the list of them all.
func usageOf(name string) string {
	for line := range strings.Lines(pctUsage) {
		if rest, ok := strings.CutPrefix(strings.TrimLeft(line, " "), "pct "+name+" "); ok {
			return strings.TrimSuffix(rest, "\n")
		}
	}
	return ""
}

// pctCommands returns the subcommands that are modelled.
func pctCommands() map[string]guestCommand {
	id := []string{"vmid"}
	return map[string]guestCommand{
		"create":       {args: []string{"vmid", "ostemplate"}, schema: "create", run: pctCreate},
		"set":          {args: id, schema: "set", run: pctSet},
		"config":       {args: id, options: map[string]optionKind{"current": boolOption, "snapshot": textOption}, run: pctConfig},
		"pending":      {args: id, run: pctPending},
		"status":       {args: id, options: map[string]optionKind{"verbose": boolOption}, run: pctStatus},
		"list":         {run: pctList},
		"start":        {args: id, options: map[string]optionKind{"debug": boolOption, "skiplock": boolOption}, run: pctStart},
		"stop":         {args: id, options: map[string]optionKind{"skiplock": boolOption, "overrule-shutdown": boolOption}, run: pctStop},
		"shutdown":     {args: id, options: map[string]optionKind{"timeout": textOption, "forceStop": boolOption}, run: pctShutdown},
		"reboot":       {args: id, options: map[string]optionKind{"timeout": textOption}, run: pctReboot},
		"destroy":      {args: id, options: destroyOptionKinds(), run: pctDestroy},
		"unlock":       {args: id, run: pctUnlock},
		"mount":        {args: id, run: pctMount},
		"unmount":      {args: id, run: pctUnmount},
		"exec":         {args: id, extra: true, options: map[string]optionKind{"keep-env": boolOption}, run: pctExec},
		"enter":        {args: id, options: map[string]optionKind{"keep-env": boolOption}, run: pctEnter},
		"push":         {args: []string{"vmid", "file", "destination"}, options: copyOptionKinds(), run: pctPush},
		"pull":         {args: []string{"vmid", "path", "destination"}, options: copyOptionKinds(), run: pctPull},
		"resize":       {args: []string{"vmid", "disk", "size"}, options: map[string]optionKind{"digest": textOption}, run: pctResize},
		"move-volume":  {args: []string{"vmid", "volume", "storage?", "target-vmid?", "target-volume?"}, options: moveOptionKinds(), run: pctMoveVolume},
		"rescan":       {options: map[string]optionKind{"vmid": textOption, "dryrun": boolOption}, run: pctRescan},
		"snapshot":     {args: []string{"vmid", "snapname"}, options: map[string]optionKind{"description": textOption}, run: pctSnapshot},
		"delsnapshot":  {args: []string{"vmid", "snapname"}, options: map[string]optionKind{"force": boolOption}, run: pctDelSnapshot},
		"rollback":     {args: []string{"vmid", "snapname"}, options: map[string]optionKind{"start": boolOption}, run: pctRollback},
		"listsnapshot": {args: id, run: pctListSnapshot},
	}
}

// pctUsage is what pct prints of itself.
const pctUsage = `USAGE: pct <COMMAND> [ARGS] [OPTIONS]

       pct clone <vmid> <newid> [OPTIONS]
       pct create <vmid> <ostemplate> [OPTIONS]
       pct destroy <vmid> [OPTIONS]
       pct list 
       pct migrate <vmid> <target> [OPTIONS]
       pct move-volume <vmid> <volume> [<storage>] [<target-vmid>] [<target-volume>] [OPTIONS]
       pct pending <vmid>
       pct resize <vmid> <disk> <size> [OPTIONS]
       pct restore <vmid> <ostemplate> [OPTIONS]
       pct template <vmid>

       pct config <vmid> [OPTIONS]
       pct set <vmid> [OPTIONS]

       pct delsnapshot <vmid> <snapname> [OPTIONS]
       pct listsnapshot <vmid>
       pct rollback <vmid> <snapname> [OPTIONS]
       pct snapshot <vmid> <snapname> [OPTIONS]

       pct reboot <vmid> [OPTIONS]
       pct resume <vmid>
       pct shutdown <vmid> [OPTIONS]
       pct start <vmid> [OPTIONS]
       pct stop <vmid> [OPTIONS]
       pct suspend <vmid>

       pct console <vmid> [OPTIONS]
       pct cpusets 
       pct df <vmid>
       pct enter <vmid> [OPTIONS]
       pct exec <vmid> [<extra-args>] [OPTIONS]
       pct fsck <vmid> [OPTIONS]
       pct fstrim <vmid> [OPTIONS]
       pct mount <vmid>
       pct pull <vmid> <path> <destination> [OPTIONS]
       pct push <vmid> <file> <destination> [OPTIONS]
       pct remote-migrate <vmid> [<target-vmid>] <target-endpoint> --target-bridge <string> --target-storage <string> [OPTIONS]
       pct rescan  [OPTIONS]
       pct status <vmid> [OPTIONS]
       pct unlock <vmid>
       pct unmount <vmid>

       pct help [<extra-args>] [OPTIONS]
`
