package main

import (
	"strings"

	"github.com/tengil/tengil/engine"
)

// nearest returns which of names was probably meant by word: the one that it is a
// slip of, or one that begins or goes on with it; "" if none is near.
func nearest(word string, names []string) string {
	if best := engine.Nearest(word, names); best != "" || len(word) < 3 {
		return best
	}
	for _, n := range names {
		if strings.HasPrefix(n, word) || strings.HasPrefix(word, n) {
			return n
		}
	}
	return ""
}
