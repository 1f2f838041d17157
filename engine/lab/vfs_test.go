package lab

import "testing"

// What is known of a directory does not outlive the directory.
func TestPathsFollowWhatTakesADirectorysPlace(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, script string }{
		{"a link", "rm -r /etc/a && ln -s b /etc/a"},
		{"a link that is moved there", "ln -s b /etc/c && rm -r /etc/a && mv /etc/c /etc/a"},
		{"another directory", "rm -r /etc/a && mv /etc/b /etc/a"},
		{"a tree with a link in it", "mkdir /etc/t && ln -s ../b/deep /etc/t/deep && rm -r /etc/a && mv /etc/t /etc/a"},
		{"a file system", "zfs create -o mountpoint=/etc/b2 tank/a && mkdir -p /etc/b2/deep && echo new > /etc/b2/deep/f && zfs set mountpoint=/etc/a tank/a"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := newGuestLab(t)
			l.must("sh", "-c", "mkdir -p /etc/a/deep /etc/b/deep && echo old > /etc/a/deep/f && echo new > /etc/b/deep/f")
			if got := l.must("cat", "/etc/a/deep/f"); got != "old\n" {
				t.Fatalf("before: %q", got)
			}
			l.must("sh", "-c", tt.script)
			if got := l.must("cat", "/etc/a/deep/f"); got != "new\n" {
				t.Errorf("after: %q, want %q", got, "new\n")
			}
		})
	}
}
