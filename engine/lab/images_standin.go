package lab

import (
	"archive/tar"
	"bytes"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// A standIn describes an image of a public registry as far as pct create and a
// recipe can tell: its config, its accounts and the directories of its volumes.
// Lists are words parted by blanks.
type standIn struct {
	repo string // "docker.io/library/postgres"
	// match are patterns of the tags that the row is for; "" is every tag. The
	// first row of a repository that matches counts.
	match string
	// tags are known before anybody asks for them, so that their digests are.
	tags       string
	base       string // of distributions; "" is an image from scratch
	entry, cmd string // ENTRYPOINT and CMD
	arg        string // a last word of CMD that holds blanks
	env        string // K=V, besides PATH
	path       string // PATH before the usual directories
	user, dir  string // USER and WORKDIR
	volumes    string
	owner      string // of the volumes: "999:999"
	mode       int64  // of the volumes; 0 is 0755
	ports      string // "80/tcp"
	stop       string // STOPSIGNAL
	accounts   string // "name:uid:gid:home", each with a group of its name
	groups     string // "name:gid"
	docker     bool   // has Docker's media types
	single     bool   // for amd64 only, without an index
}

// newStandIn returns the manifest or index of a tag that nobody has asked for
// yet, and notes that the repository has it; the error wraps fs.ErrNotExist if it
// has no stand-in of the tag. Tags that begin with "nosuch" have none, so that
// tests can ask for what is not there.
func (r *registries) newStandIn(repo dockerRepo, tag string) (storedManifest, error) {
	if r.real != nil || len(standInRows(repo.String())) == 0 || strings.HasPrefix(tag, "nosuch") {
		return storedManifest{}, fs.ErrNotExist
	}
	p, err := builtStandIn(repo, tag)
	if err != nil {
		return storedManifest{}, err
	}
	if err := r.markStandIn(repo); err != nil {
		return storedManifest{}, err
	}
	dir := filepath.Join(r.repoDir(repo), "_tags")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return storedManifest{}, err
	}
	return p.manifests[len(p.manifests)-1], replaceFile(filepath.Join(dir, tag), []byte(p.digest()), 0o600)
}

// standInManifest returns a manifest by digest, of a tag that is known.
func (r *registries) standInManifest(repo dockerRepo, digest string) (m storedManifest, err error) {
	return m, r.eachStandIn(repo, func(p push) bool {
		i := slices.IndexFunc(p.manifests, func(m storedManifest) bool { return m.Digest == digest })
		if i >= 0 {
			m = p.manifests[i]
		}
		return i >= 0
	})
}

// standInBlob returns a blob of a tag that is known.
func (r *registries) standInBlob(repo dockerRepo, digest string) (b blob, err error) {
	return b, r.eachStandIn(repo, func(p push) bool {
		data, ok := p.blobs[digest]
		b = blob{io.NopCloser(bytes.NewReader(data)), int64(len(data))}
		return ok
	})
}

// eachStandIn calls have with the stand-ins of a repository until one returns
// true; otherwise the error is fs.ErrNotExist.
func (r *registries) eachStandIn(repo dockerRepo, have func(p push) bool) error {
	if r.real != nil || len(standInRows(repo.String())) == 0 {
		return fs.ErrNotExist
	}
	tags, err := r.tags(repo)
	if err != nil {
		return err
	}
	for _, tag := range tags {
		p, err := builtStandIn(repo, tag)
		if err != nil {
			return err
		}
		if have(p) {
			return nil
		}
	}
	return fs.ErrNotExist
}

// built are the stand-ins that this process has made, by repository and tag. All
// labs share them, as they are the same everywhere.
var built sync.Map // "docker.io/library/postgres:17" → func() (push, error)

// builtStandIn returns the stand-in of a tag, made once. The caller does not
// change it.
func builtStandIn(repo dockerRepo, tag string) (push, error) {
	name := repo.String()
	make := sync.OnceValues(func() (push, error) { return buildImage(rowFor(standInRows(name), tag).spec(tag)) })
	one, _ := built.LoadOrStore(name+":"+tag, make)
	return one.(func() (push, error))()
}

// markStandIn notes that a repository without images has stand-ins from now on.
func (r *registries) markStandIn(repo dockerRepo) error {
	if r.holds(repo) {
		return nil
	}
	if !r.holdsHost("") { // the first image of this lab
		r.log.Info(StandInNotice)
	}
	dir := r.repoDir(repo)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "_stand-in"), nil, 0o600)
}

// standInTable holds the rows by repository, the general one last.
var standInTable = sync.OnceValue(func() map[string][]standIn {
	all := map[string][]standIn{}
	for _, row := range slices.Concat(serviceImages(), appImages(), mediaImages()) {
		all[row.repo] = append(all[row.repo], row)
	}
	return all
})

// standInRows returns the rows of a repository, the general one last.
func standInRows(repo string) []standIn { return standInTable()[repo] }

// standInTags returns the tags of a repository that its rows name.
func standInTags(repo dockerRepo) []string {
	var tags []string
	for _, row := range standInRows(repo.String()) {
		tags = append(tags, strings.Fields(row.tags)...)
	}
	return tags
}

// isStandInHost reports whether a registry has stand-in images.
func isStandInHost(host string) bool {
	return slices.Contains([]string{
		"docker.io", "ghcr.io", "lscr.io", "quay.io", "codeberg.org", "registry.rocket.chat", "registry.gitlab.com", "gcr.io",
	}, host)
}

func rowFor(rows []standIn, tag string) standIn {
	for _, row := range rows {
		for pattern := range strings.FieldsSeq(row.match) {
			if ok, err := path.Match(pattern, tag); ok && err == nil {
				return row
			}
		}
	}
	return rows[len(rows)-1]
}

// spec returns the image of a tag. The tag goes into a label, so that each tag
// has a digest of its own.
func (s standIn) spec(tag string) ImageSpec {
	const usual = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	spec := ImageSpec{
		Entrypoint: strings.Fields(s.entry), Cmd: strings.Fields(s.cmd),
		Env:  append([]string{"PATH=" + s.path + usual}, strings.Fields(s.env)...),
		User: s.user, WorkingDir: s.dir, StopSignal: s.stop,
		Volumes: strings.Fields(s.volumes), Ports: strings.Fields(s.ports),
		Labels: map[string]string{
			"org.opencontainers.image.title":       path.Base(s.repo),
			"org.opencontainers.image.version":     tag,
			"org.opencontainers.image.description": StandInNotice,
		},
		Files: s.files(), Layers: [][]LayerEntry{s.appLayer(tag)},
		Docker: s.docker, Platforms: []string{"amd64", "arm64"},
	}
	if s.arg != "" {
		spec.Cmd = append(spec.Cmd, s.arg)
	}
	if s.single {
		spec.Platforms = nil
	}
	return spec
}

// files returns the layer of the distribution, with the image's accounts.
func (s standIn) files() map[string]string {
	d, ok := distributions()[s.base]
	if !ok {
		return nil
	}
	files := maps.Clone(d.files)
	passwd, group := d.passwd, d.group
	for account := range strings.FieldsSeq(s.accounts) {
		f := strings.Split(account+":::", ":")
		passwd += f[0] + ":x:" + f[1] + ":" + f[2] + "::" + f[3] + ":/usr/sbin/nologin\n"
		group += f[0] + ":x:" + f[2] + ":\n"
	}
	for g := range strings.FieldsSeq(s.groups) {
		name, gid, _ := strings.Cut(g, ":")
		group += name + ":x:" + gid + ":\n"
	}
	files["etc/passwd"], files["etc/group"] = passwd, group
	return files
}

// appLayer returns the layer of the application: its program and volumes.
func (s standIn) appLayer(tag string) []LayerEntry {
	files := map[string]string{"usr/share/stand-in": s.repo + ":" + tag + "\n"}
	if s.base == "" {
		files = map[string]string{}
	}
	words := append(strings.Fields(s.entry), strings.Fields(s.cmd)...)
	if len(words) > 0 && !strings.HasPrefix(words[0], "/bin/") {
		program := words[0]
		if !path.IsAbs(program) {
			program = path.Join("/usr/local/bin", program)
		}
		files[strings.TrimPrefix(program, "/")] = placeholder
	}
	entries := fileEntries(files, "")
	uid, gid, _ := strings.Cut(s.owner, ":")
	for _, volume := range strings.Fields(s.volumes) {
		e := LayerEntry{Header: tar.Header{Name: strings.TrimPrefix(volume, "/") + "/", Typeflag: tar.TypeDir, Mode: s.mode}}
		e.Uid, e.Gid = number(uid), number(gid)
		entries = append(entries, e)
	}
	return entries
}

// number reads a number of the table; what is none is 0.
func number(s string) int {
	n, _ := strconv.Atoi(s)
	return n
}

// A distribution is what pct create and recipes look at in a base image.
type distribution struct {
	files         map[string]string
	passwd, group string
}

// distributions returns the base images by name. Ids are those of base-passwd
// (Debian, Ubuntu) and alpine-baselayout.
func distributions() map[string]distribution {
	const (
		debianPasswd = "root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n" +
			"www-data:x:33:33:www-data:/var/www:/usr/sbin/nologin\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
		debianGroup = "root:x:0:\ndaemon:x:1:\ntty:x:5:\nwww-data:x:33:\nvideo:x:44:\nusers:x:100:\nnogroup:x:65534:\n"
		alpinePass  = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/sbin/nologin\n"
		alpineGroup = "root:x:0:root\ntty:x:5:\nvideo:x:27:root\nwww-data:x:82:\nusers:x:100:\nnobody:x:65534:\n"
	)
	debian := func(version, point, name string) distribution {
		return distribution{map[string]string{
			"bin/sh": placeholder, "tmp/": "", "root/": "", "etc/debian_version": point + "\n",
			"etc/os-release": "PRETTY_NAME=\"Debian GNU/Linux " + version + " (" + name + ")\"\nNAME=\"Debian GNU/Linux\"\n" +
				"VERSION_ID=\"" + version + "\"\nVERSION_CODENAME=" + name + "\nID=debian\n",
		}, debianPasswd, debianGroup}
	}
	return map[string]distribution{
		"debian12": debian("12", "12.11", "bookworm"),
		"debian13": debian("13", "13.1", "trixie"),
		"ubuntu24": {map[string]string{
			"bin/sh": placeholder, "tmp/": "", "root/": "",
			"etc/os-release":     "PRETTY_NAME=\"Ubuntu 24.04.2 LTS\"\nNAME=\"Ubuntu\"\nVERSION_ID=\"24.04\"\nID=ubuntu\nID_LIKE=debian\n",
			"etc/lsb-release":    "DISTRIB_ID=Ubuntu\nDISTRIB_RELEASE=24.04\nDISTRIB_CODENAME=noble\n",
			"etc/debian_version": "trixie/sid\n",
		}, debianPasswd, debianGroup},
		"alpine": {map[string]string{
			"bin/sh": placeholder, "tmp/": "", "root/": "", "etc/alpine-release": "3.22.1\n",
			"etc/os-release": "NAME=\"Alpine Linux\"\nID=alpine\nVERSION_ID=3.22.1\nPRETTY_NAME=\"Alpine Linux v3.22\"\n",
		}, alpinePass, alpineGroup},
		"busybox": {map[string]string{"bin/sh": placeholder, "tmp/": "", "root/": ""}, alpinePass, alpineGroup}, // no os-release
		"distroless": {map[string]string{ // no shell
			"tmp/": "", "root/": "", "etc/debian_version": "12.11\n",
			"etc/os-release": "PRETTY_NAME=\"Distroless\"\nNAME=\"Debian GNU/Linux\"\nID=\"debian\"\nVERSION_ID=\"12\"\n",
		}, debianPasswd, debianGroup},
		"void": {map[string]string{ // unknown to pct create, which needs --ostype unmanaged
			"bin/sh": placeholder, "tmp/": "", "root/": "",
			"etc/os-release": "NAME=\"Void\"\nID=\"void\"\nPRETTY_NAME=\"Void Linux\"\n",
		}, alpinePass, alpineGroup},
		"ubi": {map[string]string{ // a release that pct create takes for CentOS
			"bin/sh": placeholder, "tmp/": "", "root/": "", "etc/redhat-release": "Red Hat Enterprise Linux release 9.6 (Plow)\n",
			"etc/os-release": "NAME=\"Red Hat Enterprise Linux\"\nID=\"rhel\"\nID_LIKE=\"fedora\"\nVERSION_ID=\"9.6\"\n",
		}, alpinePass, alpineGroup},
		"wolfi": {map[string]string{ // unknown to pct create, which needs --ostype unmanaged
			"bin/sh": placeholder, "tmp/": "", "root/": "",
			"etc/os-release": "ID=wolfi\nNAME=\"Wolfi\"\nPRETTY_NAME=\"Wolfi\"\nVERSION_ID=\"20230201\"\n",
		}, alpinePass, alpineGroup},
	}
}
