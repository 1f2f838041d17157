//go:build race

package main

// raced is set where the race detector is compiled in, which needs memory itself.
const raced = true
