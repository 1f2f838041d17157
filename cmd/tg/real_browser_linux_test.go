package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// browsers are names of Chromium, that of make real first.
var browsers = []string{"chromium-headless-shell", "chromium", "chromium-browser", "google-chrome"}

func needBrowser(t *testing.T) string {
	t.Helper()
	for _, name := range browsers {
		if _, err := exec.LookPath(name); err == nil {
			return name
		}
	}
	t.Skip("no browser is installed; to mend it, on Debian: make real")
	return ""
}

// shows opens the stack as a person does, and looks at what a browser makes of it.
// The picture is kept where TENGIL_ARTIFACTS says.
func shows(t *testing.T, r *realRig) {
	browser := needBrowser(t)
	cmd := exec.Command("tg", "open", "stack", "-o", "json")
	cmd.Dir, cmd.Env = r.home, append(r.env(), "PATH=") // where it finds nothing that opens a browser
	local, stop := openForward(t, cmd)
	defer stop()
	look := func(how ...string) string {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		// Its own sandbox does not work for root.
		args := append([]string{"--headless", "--no-sandbox", "--disable-gpu", "--user-data-dir=" + t.TempDir()}, how...)
		cmd := exec.CommandContext(ctx, browser, append(args, local)...)
		var errs bytes.Buffer
		cmd.Stderr = &errs
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v\n%s", browser, err, &errs)
		}
		return string(out)
	}
	page := look("--dump-dom")
	for _, want := range []string{
		"<h1>hello</h1>",
		`<li class="well"><b>PostgreSQL</b> 1 rows</li>`,
		`<li class="well"><b>redis</b> 1 uploads</li>`,
		`<li class="well"><b>machine learning</b> model `,
		fmt.Sprintf("<td>%s</td><td>%s</td>", itemName, fmt.Sprintf("%x", sha256.Sum256([]byte(itemText)))[:16]),
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page has no %q", want)
		}
	}
	if t.Failed() {
		t.Log(page)
	}
	dir := os.Getenv("TENGIL_ARTIFACTS")
	if dir == "" {
		dir = t.TempDir()
	}
	picture := filepath.Join(dir, "stack.png")
	look("--window-size=900,620", "--screenshot="+picture)
	f, err := os.Open(picture)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	im, err := png.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	// A page without what marks a service as well would be of greys alone.
	green := 0
	for y := range im.Bounds().Dy() {
		for x := range im.Bounds().Dx() {
			if r, g, b, _ := im.At(x, y).RGBA(); g > 2*r && g > b+b/2 {
				green++
			}
		}
	}
	if green < 300 {
		t.Errorf("the picture has %d green points, wanted those of three services", green)
	}
}
