package pct

import "testing"

func TestCheckIDMap(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		ok       bool
	}{
		{"nothing is fine", "", true},
		{"passthrough is a word of its own", "passthrough", true},
		{"users and groups count apart", "u:1000:1000:1;g:1000:1000:1", true},
		{"ranges may touch", "u:0:5000:1000;u:1000:0:10", true},
		{"ranges may not overlap", "u:0:5000:1000;u:999:0:10", false},
		{"the kind is u or g", "x:0:0:1", false},
		{"an empty range maps nothing", "u:0:0:0", false},
		{"ids inside end at 65535", "u:65535:0:2", false},
		{"a comma would end the property", "u:0:0:1,ro=1", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := checkIDMap(tt.in); (err == nil) != tt.ok {
				t.Errorf("%q: wanted ok=%v, got %v", tt.in, tt.ok, err)
			}
		})
	}
}

func TestUnescapeReversesFileName(t *testing.T) {
	f := bindFile{content: content{app: "app", name: "db/etc/x_y z.conf"}}
	escaped := f.base()[len("/var/lib/tengil/app/files/") : len(f.base())-1]
	if got := unescape(escaped); got != f.name {
		t.Errorf("want %q, got %q from %q", f.name, got, escaped)
	}
}
