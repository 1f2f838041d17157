package pve

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// An ImageConfig is the part of an OCI image config that Proxmox or tengil uses
// (restore_oci_archive in Create.pm). What "skopeo inspect --config" prints is one.
type ImageConfig struct {
	Arch, OS, Variant string
	Env               []string // "NAME=value"
	Entrypoint, Cmd   []string
	User              string // "user[:group]", names or numbers
	WorkingDir        string
	Volumes           []string // sorted
	ExposedPorts      []string // "8080/tcp", sorted
	StopSignal        string
	Labels            map[string]string
	DiffIDs           []string // digests of the unpacked layers
}

type imageConfigJSON struct {
	Architecture string `json:"architecture"`
	OS           string `json:"os"`
	Variant      string `json:"variant"`
	Config       struct {
		Env          []string
		Entrypoint   []string
		Cmd          []string
		User         string
		WorkingDir   string
		Volumes      map[string]any
		ExposedPorts map[string]any
		StopSignal   string
		Labels       map[string]string
	} `json:"config"`
	RootFS struct {
		DiffIDs []string `json:"diff_ids"`
	} `json:"rootfs"`
}

// ParseImageConfig reads an image config in JSON.
func ParseImageConfig(data []byte) (ImageConfig, error) {
	var j imageConfigJSON
	if err := json.Unmarshal(data, &j); err != nil {
		return ImageConfig{}, fmt.Errorf("image config: %w", err)
	}
	if j.RootFS.DiffIDs == nil {
		return ImageConfig{}, errors.New("image config: wanted the digests of layers in rootfs.diff_ids, got none")
	}
	c := j.Config
	return ImageConfig{
		Arch: j.Architecture, OS: j.OS, Variant: j.Variant,
		Env: c.Env, Entrypoint: c.Entrypoint, Cmd: c.Cmd, User: c.User, WorkingDir: c.WorkingDir,
		Volumes:      slices.Sorted(maps.Keys(c.Volumes)),
		ExposedPorts: slices.Sorted(maps.Keys(c.ExposedPorts)),
		StopSignal:   c.StopSignal, Labels: c.Labels, DiffIDs: j.RootFS.DiffIDs,
	}, nil
}

// Argv returns the command of a container made of the image.
func (c ImageConfig) Argv() []string { return slices.Concat(c.Entrypoint, c.Cmd) }

// Check refuses an image that Proxmox must not be given. It writes Env,
// WorkingDir, User and StopSignal into the guest config without looking for line
// breaks, so that an image could add config lines that run as root on the node;
// and it takes an image of another architecture without a word. The findings are
// joined, up to maxFindings. Arch is Debian's name, as OCI's is the same for amd64 and arm64.
func (c ImageConfig) Check(arch string) error {
	var errs []error
	if c.OS != "" && c.OS != "linux" || c.Arch != "" && c.Arch != arch {
		errs = append(errs, fmt.Errorf("image is for %q, wanted %q", c.OS+"/"+c.Arch, "linux/"+arch))
	}
	for _, f := range c.texts() {
		if err := checkImageText(f.field, f.text); err != nil {
			errs = append(errs, err)
		}
	}
	errs = append(errs, c.checkEnv()...)
	for i, v := range c.Volumes {
		if !strings.HasPrefix(v, "/") || slices.Contains(strings.Split(v, "/"), "..") {
			errs = append(errs, fmt.Errorf("image Volumes[%d] is %q; wanted an absolute path without \"..\"", i, v))
		}
	}
	if c.WorkingDir != "" && !strings.HasPrefix(c.WorkingDir, "/") {
		errs = append(errs, fmt.Errorf("image WorkingDir is %q; wanted an absolute path", c.WorkingDir))
	}
	if c.StopSignal != "" && !validSignal(c.StopSignal) {
		errs = append(errs, fmt.Errorf("image StopSignal is %q; LXC wants a number or a name like SIGTERM", c.StopSignal))
	}
	if more := len(errs) - maxFindings; more > 0 {
		errs = append(errs[:maxFindings], fmt.Errorf("and %d more", more))
	}
	return errors.Join(errs...)
}

// maxFindings is how many faults of one image are told.
const maxFindings = 10

type imageText struct{ field, text string }

func (c ImageConfig) texts() []imageText {
	out := []imageText{{"User", c.User}, {"WorkingDir", c.WorkingDir}, {"StopSignal", c.StopSignal}}
	for _, l := range []struct {
		field string
		list  []string
	}{{"Env", c.Env}, {"Entrypoint", c.Entrypoint}, {"Cmd", c.Cmd}, {"Volumes", c.Volumes}} {
		for i, s := range l.list {
			out = append(out, imageText{fmt.Sprintf("%s[%d]", l.field, i), s})
		}
	}
	return out
}

func checkImageText(field, text string) error {
	if r, i := ControlChars(text); i >= 0 {
		return fmt.Errorf("image %s is %q and holds the control character %U at byte %d, which could add lines to the container's config", field, text, r, i)
	}
	return nil
}

func (c ImageConfig) checkEnv() []error {
	var errs []error
	for i, e := range c.Env {
		name, _, ok := strings.Cut(e, "=")
		switch {
		case !ok:
			errs = append(errs, fmt.Errorf("image Env[%d] is %q without \"=\", with which no container starts", i, e))
		case name == "" || strings.ContainsAny(name, " \t"):
			errs = append(errs, fmt.Errorf("image Env[%d] is %q; wanted a name without blanks before \"=\"", i, e))
		}
	}
	return errs
}

// validSignal reports whether LXC takes the text as a signal (sig_parse in
// confile_utils.c): a number, a name with SIG, SIGRTMIN+n or SIGRTMAX-n.
func validSignal(s string) bool {
	if regexp.MustCompile(`^[0-9]{1,2}$`).MatchString(s) {
		return true
	}
	if regexp.MustCompile(`^(SIGRTMIN\+|SIGRTMAX-)[0-9]{1,2}$`).MatchString(s) {
		return true
	}
	names := strings.Fields("HUP INT QUIT ILL ABRT FPE KILL SEGV PIPE ALRM TERM USR1 USR2 CHLD CONT STOP TSTP " +
		"TTIN TTOU TRAP IOT BUS STKFLT CLD URG XCPU XFSZ VTALRM PROF WINCH IO POLL PWR SYS")
	name, ok := strings.CutPrefix(s, "SIG")
	return ok && slices.Contains(names, name)
}
