package pve_test

import (
	"testing"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/pve"
)

// The text was captured on pve-container 6.0.18 and 6.1.10.
func TestNotInContainer(t *testing.T) {
	for said, want := range map[string]bool{
		"lxc-attach: 101: ../src/lxc/attach.c: lxc_attach_run_command: 1845 No such file or directory - Failed to exec \"/bin/nosuch\"\n": true,
		"tar: /srv: Cannot open: No such file or directory\n":                                                                             false,
		"": false,
	} {
		if got := pve.NotInContainer(&engine.ExitError{Exit: 127, Stderr: []byte(said)}); got != want {
			t.Errorf("%q: got %v", said, got)
		}
	}
	if pve.NotInContainer(nil) {
		t.Error("no error is no missing program")
	}
}
