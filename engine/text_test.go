package engine_test

import (
	"testing"

	"github.com/tengil/tengil/engine"
)

func TestMisleads(t *testing.T) {
	for what, runes := range map[string]string{
		"control characters":       "\x00\x07\x1b\x7f\u0080\u0085\u009b\u009f",
		"line ends and tabs":       "\t\n\r\v\f\u2028\u2029",
		"marks of direction":       "\u061c\u200e\u200f",
		"embeddings and overrides": "\u202a\u202b\u202c\u202d\u202e",
		"isolates":                 "\u2066\u2067\u2068\u2069",
		"zero width":               "\u200b\u200c\u200d\u2060\u2063\ufeff\u00ad\u180e",
		"annotations":              "\ufff9\ufffa\ufffb",
		"tags":                     "\U000e0001\U000e0041\U000e007f",
		"letters without a shape":  "\u034f\u115f\u1160\u3164\uffa0",
	} {
		for _, r := range runes {
			if !engine.Misleads(r) {
				t.Errorf("%U of %s does not count", r, what)
			}
		}
	}
	for _, r := range " ~azAZ09\u00a0äß€→·…é漢字かなעربี👍🏽\ufe0f\u0301\ufffd" {
		if engine.Misleads(r) {
			t.Errorf("%U (%c) counts", r, r)
		}
	}
}
