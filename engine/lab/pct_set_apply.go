package lab

import (
	"fmt"
	"maps"
	"slices"

	"github.com/tengil/tengil/engine/pve"
)

// apply makes all that is pending effective; the container does not run
// (vmconfig_apply_pending in Config.pm).
func (u *update) apply() error {
	for _, k := range slices.Sorted(maps.Keys(u.conf.PendingDelete)) {
		if err := u.applyDelete(k); err != nil {
			u.refused[k] = "unable to apply pending change " + k + ": " + err.Error() + "\n"
			continue
		}
		unsetOption(&u.conf.Section, k)
		delete(u.conf.PendingDelete, k)
	}
	u.dropUnchanged()
	for _, k := range pendingKeys(u.conf) {
		v, _ := pendingOption(u.conf, k)
		v, err := u.applySet(k, v)
		if err != nil {
			return err
		}
		setOption(&u.conf.Section, k, v)
		unsetPending(u.conf, k)
	}
	return nil
}

// applyDelete does what the deletion of a key asks for beside the key.
func (u *update) applyDelete(key string) error {
	switch {
	case isIndexed(key, "mp"):
		if m, err := pve.ParseMount(u.conf.Get(key)); err == nil && m.Kind() == pve.VolumeMount {
			addUnused(u.conf, m.Volume)
		}
	case isIndexed(key, "unused"):
		return u.destroyUnused(u.conf.Get(key))
	}
	return nil
}

func (u *update) destroyUnused(volume string) error {
	if volumeInUse(u.conf, volume) {
		return nil
	}
	v, err := u.node.volume(volume)
	if err != nil {
		return err
	}
	return u.freeVolume(v)
}

// applySet returns the text that is kept of a pending value.
func (u *update) applySet(key, value string) (string, error) {
	switch {
	case isIndexed(key, "net"):
		return u.completeNet(value)
	case isIndexed(key, "mp"):
		return u.applyMount(key, value)
	}
	return value, nil
}

// applyMount makes the volume that a mount point asks for
// (apply_pending_mountpoint in Config.pm).
func (u *update) applyMount(key, value string) (string, error) {
	m, err := pve.ParseMount(value)
	if err != nil {
		return "", dief(255, "%v", err)
	}
	old := u.conf.Get(key)
	if m.Kind() == pve.VolumeMount {
		if err := u.settleVolume(&m); err != nil {
			return "", err
		}
	}
	if o, err := pve.ParseMount(old); err == nil && o.Kind() == pve.VolumeMount && o.Volume != m.Volume {
		addUnused(u.conf, o.Volume)
	}
	return printMount(m), nil
}

// settleVolume allocates a new volume, or looks up the size of one that is named.
func (u *update) settleVolume(m *pve.Mount) error {
	if storage, gib, fresh := newVolume(m.Volume); fresh {
		v, size, err := u.allocate(storage, gib)
		m.Volume, m.Size = v.id.String(), formatSize(size)
		return err
	}
	v, err := u.node.volume(m.Volume)
	if err != nil {
		return err
	}
	size, err := u.node.volumeSize(v)
	if err != nil {
		fmt.Fprintf(u.warn, "Could not rescan volume size - %v\n\n", err)
		return nil
	}
	m.Size = formatSize(size)
	return nil
}

// addUnused notes a volume that is in use no more.
func addUnused(conf *pve.Config, volume string) {
	free := -1
	for i := 255; i >= 0; i-- {
		v, used := conf.Options[fmt.Sprintf("unused%d", i)]
		if v == volume {
			return
		}
		if !used {
			free = i
		}
	}
	if free >= 0 {
		conf.Options[fmt.Sprintf("unused%d", free)] = volume
	}
}

// volumeInUse reports whether a disk of the config or of a snapshot has the volume.
func volumeInUse(conf *pve.Config, volume string) bool {
	for _, options := range allOptions(conf) {
		for _, k := range diskKeys(options) {
			if m, err := pve.ParseMount(options[k]); err == nil && m.Volume == volume {
				return true
			}
		}
	}
	return false
}

func allOptions(conf *pve.Config) []map[string]string {
	all := []map[string]string{conf.Options}
	for _, s := range conf.Snapshots {
		all = append(all, s.Options)
	}
	return all
}

// dropUsed removes the unused entries of volumes that are in use again.
func dropUsed(conf *pve.Config) {
	for _, i := range conf.Indexed("unused") {
		key := fmt.Sprintf("unused%d", i)
		for _, k := range diskKeys(conf.Options) {
			if m, err := pve.ParseMount(conf.Options[k]); err == nil && m.Volume == conf.Options[key] {
				delete(conf.Options, key)
			}
		}
	}
}
