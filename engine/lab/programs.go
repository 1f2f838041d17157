package lab

import "maps"

// programs returns every program of the node by name.
func programs() map[string]program {
	all := map[string]program{}
	for _, some := range []map[string]program{
		corePrograms(), zfsPrograms(), systemdPrograms(), guestPrograms(), imagePrograms(), servicePrograms(),
	} {
		maps.Copy(all, some)
	}
	return all
}
