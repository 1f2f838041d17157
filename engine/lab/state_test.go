package lab

import "testing"

// What a client was told is on disk by then: a lab that is killed has it.
func TestWhatAClientIsToldIsSaved(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		do   func(l *guestLab) error
	}{
		{"by the status of a request", func(l *guestLab) error { _, err := l.ssh("zfs create tank/saved"); return err }},
		{"by output while a request runs", func(l *guestLab) error {
			s, err := l.connect().NewSession()
			if err != nil {
				return err
			}
			out, err := s.StdoutPipe()
			if err != nil {
				return err
			}
			if err := s.Start("zfs create tank/saved && echo done; sleep 1000"); err != nil {
				return err
			}
			_, err = out.Read(make([]byte, 10))
			return err
		}},
		{"without a session", func(l *guestLab) error { l.must("zfs", "create", "tank/saved"); return nil }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := newGuestLab(t)
			if err := tt.do(l); err != nil {
				t.Fatal(err)
			}
			s, err := loadState(l.node.dir)
			if err != nil || !s.ZFS.Datasets.has("tank/saved") {
				t.Errorf("what is on disk does not tell of it (%v)", err)
			}
		})
	}
}
