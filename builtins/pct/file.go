package pct

import (
	"fmt"
	"path"
	"strconv"
	"strings"

	"github.com/tengil/tengil/builtins/bind"
	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/pve"
)

// FileKind is the name of the recipe function.
const FileKind = "file"

// File returns the kind file.
func File() engine.Kind {
	return engine.Kind{
		Name: FileKind,
		Doc: "Puts a file into a container or a dataset. In a container it is mounted read-only from the node, so that nothing is " +
			"written into a file system that the image controls, and a changed file takes effect when the container restarts. " +
			"In a dataset it is written where the application may change it; the next run puts it back as the recipe has it.",
		Example: `file(server, "/etc/app/app.conf", content = "listen = 8080\n")`,
		Params: []engine.Param{
			{Name: "target", Type: engine.TypeStep, Of: []string{"pct_create", "zfs_dataset"}, Required: true, Position: 1,
				Doc: "The container or dataset.", Example: `server`},
			{Name: "path", Type: engine.TypeString, Required: true, Position: 2,
				Doc: "Path in the container, or below the top of the dataset.", Example: `"/etc/app/app.conf"`},
			{Name: "content", Type: engine.TypeText, Required: true,
				Doc: "The whole content. It may hold values of other steps and secrets.", Example: `"password = %s\n" % password`},
			{Name: "mode", Type: engine.TypeString, Default: "0644, with a secret 0600", Doc: "Permissions, in octal.", Example: `"0640"`},
			{Name: "uid", Type: engine.TypeInt, Default: "0", Doc: "User in the container that owns it.", Example: `1000`},
			{Name: "gid", Type: engine.TypeInt, Default: "0", Doc: "Group in the container that owns it.", Example: `1000`},
		},
		New:      newFile,
		FindAsks: fileFindAsks,
		Find:     findFiles,
	}
}

// A content is what both forms of a file share.
type content struct {
	app, name string // name is the step's
	text      engine.Text
	uid, gid  int    // on the node
	mode      string // "644", as stat prints it
}

func newFile(c engine.Call) (*engine.Made, error) {
	h := c.Args.Step("target")
	file, err := newContent(c)
	if err != nil {
		return nil, err
	}
	dest := c.Args.String("path")
	if err := checkLXCPath(dest); err != nil {
		return nil, engine.ArgErrorf("path", "%w", err)
	}
	dest = path.Clean(dest)
	if dest == "/" {
		return nil, engine.ArgErrorf("path", "wanted the path of a file, got %q", dest)
	}
	file.name = h.ID.Name() + dest
	if container, ok := h.Detail.(*Container); ok {
		return newBindFile(c, h, container, file, dest)
	}
	src, ok := bind.Of(h)
	if !ok || src.Dataset == "" {
		return nil, engine.ArgErrorf("target", "%s takes no files; wanted a container or a dataset", h.ID)
	}
	spec := dataFile{content: file, dataset: src.Dataset, dir: src.Dir, mountpoint: src.Path, dest: dest}
	return &engine.Made{Name: file.name, Parts: []engine.Part{{
		Spec: spec, Uses: append(file.text.Refs(), src.Path.Refs()...), After: []engine.NodeID{src.Node},
	}}}, nil
}

func newContent(c engine.Call) (content, error) {
	f := content{app: c.App, text: c.Args.Text("content"), mode: "644"}
	if f.text.Secret() {
		f.mode = "600"
	}
	for _, p := range []string{"uid", "gid"} {
		if n := c.Args.Int(p); n < 0 || n > bind.MaxID {
			return f, engine.ArgErrorf(p, "wanted 0 to %d, got %d", bind.MaxID, n)
		}
	}
	f.uid, f.gid = bind.HostID+int(c.Args.Int("uid")), bind.HostID+int(c.Args.Int("gid"))
	if c.Args.Has("mode") {
		n, err := strconv.ParseUint(c.Args.String("mode"), 8, 16)
		if err != nil || n > 0o777 {
			return f, engine.ArgErrorf("mode", "wanted an octal number such as %q, got %q", "0644", c.Args.String("mode"))
		}
		f.mode = strconv.FormatUint(n, 8)
	}
	return f, nil
}

// owner is what stat prints of a file that is as wanted.
func (f content) owner() string { return fmt.Sprintf("%d %d %s", f.uid, f.gid, f.mode) }

// parseOwner returns what ownerAsk asks for, as file.owner has it.
func parseOwner(name string, out []byte) (string, error) {
	uid, gid, mode, err := pve.ParseOwner(ownerAsk(name).Argv(), out)
	return uid + " " + gid + " " + mode, err
}

func ownerAsk(name string) engine.Ask { return engine.AskRun("stat", "-c", "%u %g %a", name) }

// perm returns the mode as a number; newContent has checked it.
func (f content) perm() uint32 {
	n, _ := strconv.ParseUint(f.mode, 8, 16)
	return uint32(n)
}

// brief tells a content for people without showing it: it may hold secrets.
func brief(data []byte) string {
	return fmt.Sprintf("%d bytes, %s", len(data), pve.Digest(data)[:len("sha256:")+12])
}

// mountLine returns the raw line that mounts a file of the node read-only over
// dest, which is made where the image lacks it.
func mountLine(source, dest string) string {
	return "lxc.mount.entry: " + source + " " + strings.TrimPrefix(dest, "/") + " none bind,ro,create=file 0 0"
}
