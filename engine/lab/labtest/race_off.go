//go:build !race

package labtest

// Raced is set where the race detector is compiled in, which takes memory and five
// to ten times as long. Tests look at fewer of many like cases then.
const Raced = false
