package lab

import (
	"archive/tar"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
)

// A testImage is an archive that the transcripts use, rebuilt around empty
// files in place of its programs.
type testImage struct {
	spec   ImageSpec
	prefix string     // before the names of the archive's members
	second *ImageSpec // another image in the same archive
	nested bool       // the index holds an index of the images
}

// linkEntry is a symbolic link of a layer.
func linkEntry(name, to string) LayerEntry {
	return LayerEntry{Header: tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: to, Mode: 0o777}}
}

func dirEntry(name string) LayerEntry {
	return LayerEntry{Header: tar.Header{Name: name, Typeflag: tar.TypeDir}}
}

func fileEntry(name, content string) LayerEntry {
	return LayerEntry{Header: tar.Header{Name: name}, Content: content}
}

// realProgram is a file that looks like a program and is as large as a real one. It
// does not compress.
func realProgram(size int) string {
	b := []byte(elfHeader("amd64"))
	r := rand.NewChaCha8([32]byte{})
	more := make([]byte, size-len(b))
	_, _ = r.Read(more) // never fails
	return string(append(b, more...))
}

// large gives an image a program as large as a real one.
func large(s ImageSpec) ImageSpec {
	for i, e := range s.Layers[0] {
		if e.Header.Name == "bin/busybox" {
			s.Layers[0][i].Content = realProgram(2 << 20)
		}
	}
	return s
}

// busybox returns the entries of an image with these applets and files.
func busybox(applets string, files map[string]string) []LayerEntry {
	entries := []LayerEntry{
		dirEntry("bin/"),
		{Header: tar.Header{Name: "bin/busybox", Mode: 0o755}, Content: elfHeader("amd64")},
	}
	for a := range strings.FieldsSeq(applets) {
		entries = append(entries, linkEntry("bin/"+a, "busybox"))
	}
	entries = append(entries, LayerEntry{Header: tar.Header{Name: "tmp/", Typeflag: tar.TypeDir, Mode: 0o1777}})
	return append(entries, fileEntries(files, "amd64")...)
}

// accountFiles are the passwd and group of the images.
func accountFiles() map[string]string {
	return map[string]string{
		"etc/passwd": "root:x:0:0:root:/root:/bin/sh\nwww:x:1000:1000::/:/bin/sh\n",
		"etc/group":  "root:x:0:\nwww:x:1000:\nextra:x:2000:www\n",
	}
}

// oddBase is the first layer of the odd images.
func oddBase(more ...LayerEntry) []LayerEntry {
	files := accountFiles()
	files["www/index.html"] = "odd\n"
	return append(busybox("sh ls cat ps ip wget sleep id env httpd hostname touch stat kill printenv mkdir", files), more...)
}

// oddSpec is the config that the odd images have in common.
func oddSpec(change func(s *ImageSpec)) testImage {
	s := ImageSpec{
		Entrypoint: []string{"/bin/httpd"}, Cmd: []string{"-f", "-p", "80", "-h", "/www"},
		Env: []string{"PATH=/bin"}, WorkingDir: "/www", Layers: [][]LayerEntry{oddBase()},
	}
	if change != nil {
		change(&s)
	}
	return testImage{spec: s}
}

// webSpec is the config of the small web server.
func webSpec(index string, change func(s *ImageSpec)) ImageSpec {
	files := accountFiles()
	maps.Copy(files, map[string]string{
		"www/index.html": index + "\n", "sbin/": "", "usr/bin/": "", "var/": "", "etc/group": "root:x:0:\nwww:x:1000:\n",
	})
	s := ImageSpec{
		Entrypoint: []string{"/bin/httpd"}, Cmd: []string{"-f", "-v", "-p", "80", "-h", "/www"},
		Env: []string{"PATH=/bin:/sbin", "GREETING=hello world"}, WorkingDir: "/www", Volumes: []string{"/data"},
		Layers: [][]LayerEntry{busybox("sh ls cat ps ip wget sleep id env httpd hostname touch stat kill printenv mkdir grep true", files)},
	}
	if change != nil {
		change(&s)
	}
	return s
}

// templates are the archives of the storage local.
func templates() map[string]ImageSpec {
	return map[string]ImageSpec{
		"web_latest": large(webSpec("hello v1", nil)),
		"web_v2":     webSpec("hello v2", nil),
		"web_user": webSpec("hello v1", func(s *ImageSpec) {
			s.User, s.Cmd = "1000:1000", []string{"-f", "-v", "-p", "8080", "-h", "/www"}
		}),
		"web_exit3": webSpec("hello v1", func(s *ImageSpec) {
			s.Entrypoint, s.Cmd = []string{"/bin/sh", "-c", "echo going down >&2; exit 3"}, nil
		}),
		"web_nocmd": webSpec("hello v1", func(s *ImageSpec) { s.Entrypoint, s.Cmd = nil, nil }),
		"redis_latest": {
			Entrypoint: strings.Fields("/usr/bin/redis-server --bind 0.0.0.0 --protected-mode no --dir /data"),
			Env:        []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
			WorkingDir: "/data", Volumes: []string{"/data"},
			Layers: [][]LayerEntry{append([]LayerEntry{fileEntry("usr/bin/redis-server", placeholder)}, busybox("sh", map[string]string{
				"etc/os-release": "ID=debian\nVERSION_ID=\"13\"\n", "etc/debian_version": "13.1\n",
				"etc/passwd": "root:x:0:0:root:/root:/bin/sh\n",
			})...)},
		},
	}
}

// oddImages are the archives of /srv/odd, without those that only a real
// extractor tells apart.
func oddImages() map[string]testImage {
	env := func(lines ...string) testImage {
		return oddSpec(func(s *ImageSpec) { s.Env = append([]string{"PATH=/bin"}, lines...) })
	}
	command := func(entry []string, cmd ...string) testImage {
		return oddSpec(func(s *ImageSpec) { s.Entrypoint, s.Cmd = entry, cmd })
	}
	user := func(u string) testImage { return oddSpec(func(s *ImageSpec) { s.User = u }) }
	system := func(files map[string]string) testImage {
		return oddSpec(func(s *ImageSpec) { s.Layers = [][]LayerEntry{oddBase(fileEntries(files, "amd64")...)} })
	}
	signal := func(name string) testImage { return oddSpec(func(s *ImageSpec) { s.StopSignal = name }) }
	scratch := func(u string) testImage {
		return oddSpec(func(s *ImageSpec) {
			s.User = u
			s.Layers = [][]LayerEntry{busybox("sh httpd", map[string]string{"www/index.html": "odd\n"})}
		})
	}
	layers := func(second ...LayerEntry) testImage {
		return oddSpec(func(s *ImageSpec) { s.Layers = [][]LayerEntry{oddBase(replaceable()...), second} })
	}
	const stay = "exec sleep 1000"
	all := map[string]testImage{
		"plain":        {spec: large(oddSpec(nil).spec)},
		"nlenv":        env("A=1\nonboot: 1\nlxc.hook.pre-start: /bin/touch /tmp/injected-by-image"),
		"nlenv2":       env("A=1\nlxc.environment.runtime: B=2", "C=3\r"),
		"nlcwd":        oddSpec(func(s *ImageSpec) { s.WorkingDir = "/www\nonboot: 1" }),
		"nluser":       user("1000\nonboot: 1"),
		"nlcmd":        command([]string{"/bin/httpd"}, "-f", "-p\n80"),
		"escenv":       env("A=\x1b[31mred"),
		"tabenv":       env("A=a\tb", "T=\tx\t"),
		"delenv":       env("A=x\x7fy"),
		"escent":       command([]string{"/bin/sh", "-c", "echo \x1b; " + stay}),
		"envnames":     env("WITH.DOT=1", "WITH-DASH=2", "NOEQUALS", "EMPTY=", "=novalue", "DUP=1", "DUP=2", "9N=3", "SP ACE=4"),
		"envlong":      env("LONG=" + strings.Repeat("x", 6000)),
		"wolfi":        system(map[string]string{"etc/os-release": "ID=wolfi\nNAME=\"Wolfi\"\nVERSION_ID=\"20230201\"\n"}),
		"alpine":       system(map[string]string{"etc/os-release": "NAME=\"Alpine Linux\"\nID=alpine\nVERSION_ID=3.22.1\n", "etc/alpine-release": "3.22.1\n"}),
		"debian13":     system(map[string]string{"etc/os-release": "ID=debian\nVERSION_ID=\"13\"\n", "etc/debian_version": "13.1\n"}),
		"debian_nover": system(map[string]string{"etc/os-release": "ID=debian\nVERSION_ID=\"13\"\n"}),
		"ubuntu_nolsb": system(map[string]string{"etc/os-release": "ID=ubuntu\nVERSION_ID=\"24.04\"\n"}),

		"user_missing": user("nobodyhere"), "user_num": user("1234"), "user_numgrp": user("1000:2000"),
		"user_grpmissing": user("www:nogroup"), "user_scratch": scratch("www"), "user_scratchnum": scratch("1000"),
		"user_name": oddSpec(func(s *ImageSpec) { s.User, s.Cmd = "www", []string{"-f", "-p", "8080", "-h", "/www"} }),

		"dotslash": {spec: oddSpec(nil).spec, prefix: "./"},
		"arm64":    oddSpec(func(s *ImageSpec) { s.Arch = "arm64" }),
		"gzip":     oddSpec(nil), "zstd": oddSpec(nil), "foreign": oddSpec(nil),
		"encrypted": media("application/vnd.oci.image.layer.v1.tar+gzip+encrypted"),
		"docker_mt": media("application/vnd.docker.image.rootfs.diff.tar.gzip"),
		"multi":     twoPlatforms(false),
		"nested":    twoPlatforms(true),
		"trunclayer": oddSpec(func(s *ImageSpec) {
			s.Raw = func(r *RawImage) { r.Layers[0].Blob = r.Layers[0].Blob[:len(r.Layers[0].Blob)/2] }
		}),
		"badblob": oddSpec(func(s *ImageSpec) {
			s.Raw = func(r *RawImage) {
				l := &r.Layers[0]
				l.Digest = digestOf(l.Blob)
				l.Blob = l.Blob[:len(l.Blob)/2]
			}
		}),
		"wrongdiff": oddSpec(func(s *ImageSpec) {
			s.Raw = func(r *RawImage) { r.Layers[0].DiffID = "sha256:" + strings.Repeat("0", 64) }
		}),

		"sig_quit": signal("QUIT"), "sig_sigquit": signal("SIGQUIT"), "sig_num": signal("3"),
		"sig_rtmin": signal("SIGRTMIN+3"), "sig_bad": signal("SIGNOPE"),
		"volfile": oddSpec(func(s *ImageSpec) { s.Volumes = []string{"/www/index.html"} }),
		"volnl":   oddSpec(func(s *ImageSpec) { s.Volumes = []string{"/nl\nname"} }),
		"volumes": oddSpec(func(s *ImageSpec) {
			s.Volumes = []string{"/data with space", "relative", "/deep/er/path/", "/a/../../b", "/x,y", "/www/index.html/sub"}
		}),
		"content": oddSpec(func(s *ImageSpec) {
			s.Volumes = []string{"/data"}
			s.Layers = [][]LayerEntry{oddBase(
				LayerEntry{Header: tar.Header{Name: "data/", Typeflag: tar.TypeDir, Mode: 0o700, Uid: 1000, Gid: 1000}},
				LayerEntry{Header: tar.Header{Name: "data/from-image", Uid: 1000, Gid: 1000}, Content: "image\n"},
				fileEntry("data/same", "image version\n"),
			), {fileEntry("data/.wh.hostonly", "")}}
		}),
		"noconfig": oddSpec(func(s *ImageSpec) { s.Entrypoint, s.Cmd, s.Env, s.WorkingDir = nil, nil, nil, "" }),
		"sbininit": command([]string{"/sbin/init"}),

		"q_single":    command([]string{"sh", "-c", "echo 'x'; " + stay}),
		"q_double":    command([]string{"sh", "-c", `echo "x y" > /tmp/q; ` + stay}),
		"q_both":      command([]string{"sh", "-c", `echo "it's" > /tmp/q; ` + stay}),
		"q_dollar":    command([]string{"sh", "-c", "echo $PATH > /tmp/q; " + stay}),
		"q_backslash": command([]string{"sh", "-c", `echo a\\b > /tmp/q; ` + stay}),
		"q_empty":     command([]string{"sh", "-c", `echo "$0/$1/$2" > /tmp/q; ` + stay, "zero", "", "two"}),
		"q_args": command([]string{"/bin/sh", "-c", `for i in "$@"; do echo "<$i>"; done > /tmp/q; ` + stay, "sh"},
			"plain", "two words", `a"b`, "a'b", "x=y", "tab\tin", "*", "$HOME", `back\slash`, "#hash", ";", "end'"),
		"relcmd":      command([]string{"httpd", "-f"}),
		"nocmd_found": command([]string{"/bin/nothere"}),
		"term":        command([]string{"/bin/sh", "-c", "trap 'exit 0' TERM; while true; do sleep 1; done"}),

		"rep_wh":              layers(fileEntry(".wh.gone", ""), fileEntry("d/.wh.one", ""), dirEntry("op/"), fileEntry("op/.wh..wh..opq", ""), fileEntry("op/new", "n\n")),
		"rep_filedir":         layers(dirEntry("filedir/"), fileEntry("filedir/in", "now a dir\n")),
		"rep_filedir_noentry": layers(fileEntry("filedir/in", "now a dir\n")),
		"rep_filedir_wh":      layers(fileEntry(".wh.filedir", ""), dirEntry("filedir/"), fileEntry("filedir/in", "now a dir\n")),
		"rep_dirfile":         layers(fileEntry("dirfile", "now a file\n")),
		"rep_lnkdir":          layers(dirEntry("lnk/"), fileEntry("lnk/x", "x\n")),
		"rep_lnkfile":         layers(fileEntry("lnk", "now a file\n")),
		"rep_filelnk":         layers(linkEntry("gone", "d")),
		"rep_dirlnk":          layers(linkEntry("dirfile", "d")),
		"rep_vialnk":          layers(fileEntry("lnk/via", "through a relative link\n")),
		"rep_same": layers(
			LayerEntry{Header: tar.Header{Name: "gone", Mode: 0o600, Uid: 5, Gid: 6}, Content: "newer\n"},
			LayerEntry{Header: tar.Header{Name: "d/", Typeflag: tar.TypeDir, Mode: 0o700, Uid: 5}},
		),
		"whiteout": layers(fileEntry(".wh.gone", ""), fileEntry("d/.wh.one", ""), dirEntry("op/"), fileEntry("op/.wh..wh..opq", ""),
			fileEntry("op/new", "n\n"), dirEntry("filedir/"), fileEntry("filedir/in", "now a dir\n"), fileEntry("dirfile", "now a file\n"),
			dirEntry("lnk/"), fileEntry("lnk/x", "x\n")),
		"runlnkrel": oddSpec(func(s *ImageSpec) {
			s.Layers = [][]LayerEntry{
				oddBase(dirEntry("run/"), dirEntry("var/"), linkEntry("var/run", "../run")),
				{dirEntry("var/run/app/"), fileEntry("var/run/app/pid", "1\n")},
			}
		}),
		"runlnk": oddSpec(func(s *ImageSpec) {
			s.Layers = [][]LayerEntry{oddBase(dirEntry("run/"), dirEntry("var/"), linkEntry("var/run", "/run")),
				{dirEntry("var/run/app/"), fileEntry("var/run/app/pid", "1\n")}}
		}),
		"abspath": oddSpec(func(s *ImageSpec) { s.Layers = [][]LayerEntry{oddBase(fileEntry("/absfile", "abs\n"))} }),
		"symesc": oddSpec(func(s *ImageSpec) {
			s.Layers = [][]LayerEntry{oddBase(linkEntry("esc", "/tmp"), fileEntry("esc/escaped-symlink", "x\n"))}
		}),
		"symescrel": oddSpec(func(s *ImageSpec) {
			s.Layers = [][]LayerEntry{oddBase(linkEntry("esc2", "../../../../../../tmp"), fileEntry("esc2/escaped-symlink2", "x\n"))}
		}),
		"dotdot": oddSpec(func(s *ImageSpec) {
			s.Layers = [][]LayerEntry{oddBase(fileEntry("../../../../../tmp/escaped-dotdot", "x\n"), fileEntry("a/../b", "x\n"))}
		}),
		"hardesc": oddSpec(func(s *ImageSpec) {
			s.Layers = [][]LayerEntry{oddBase(LayerEntry{Header: tar.Header{Name: "shadow", Typeflag: tar.TypeLink, Linkname: "../../../../../../etc/hostname"}})}
		}),
		"bigid": owned(70000), "maxid": owned(65535),
	}
	all["envvals"] = env("LEAD=  two blanks", "TRAIL=two blanks  ", `DQ="quoted"`, "SQ='single'", "HASH=a # b", "HASHFIRST=#x",
		"EQ=a=b=c", "UNI=grüße ☃", `BS=a\nb\`, "DOLLAR=$HOME ${X} `id`", "COLON=a: b", "SEMI=a;b", "PCT=100%41")
	var many []string
	for i := range 200 {
		many = append(many, fmt.Sprintf("VAR_%03d=value number %d", i, i))
	}
	all["envmany"] = env(many...)
	return all
}

// twoPlatforms has an image for each of two platforms, the foreign one first.
func twoPlatforms(nested bool) testImage {
	image := func(arch string) ImageSpec {
		return oddSpec(func(s *ImageSpec) { s.Arch, s.Env = arch, []string{"PATH=/bin", "PLATFORM=" + arch} }).spec
	}
	second := image("amd64")
	return testImage{spec: image("arm64"), second: &second, nested: nested}
}

// media gives the layer a media type that it does not have.
func media(kind string) testImage {
	return oddSpec(func(s *ImageSpec) { s.Raw = func(r *RawImage) { r.Layers[0].MediaType = kind } })
}

// owned has a file of a user id.
func owned(id int) testImage {
	return oddSpec(func(s *ImageSpec) {
		s.Layers = [][]LayerEntry{oddBase(LayerEntry{Header: tar.Header{Name: "big", Uid: id, Gid: id}, Content: "x\n"})}
	})
}

// replaceable is what the second layers of some images replace.
func replaceable() []LayerEntry {
	return []LayerEntry{
		dirEntry("d/"), fileEntry("d/one", "1\n"), fileEntry("d/two", "2\n"), fileEntry("gone", "x\n"), dirEntry("op/"), fileEntry("op/old", "x\n"),
		fileEntry("filedir", "x\n"), dirEntry("dirfile/"), fileEntry("dirfile/in", "x\n"), linkEntry("lnk", "d"), fileEntry("h1", "hard\n"),
		{Header: tar.Header{Name: "h2", Typeflag: tar.TypeLink, Linkname: "h1"}},
	}
}

// placeImages writes the archives to where the transcripts have them, of the odd
// ones those that the text names.
func placeImages(t *testing.T, n *node, text string) {
	t.Helper()
	for name, spec := range templates() {
		placeImage(t, n, "/var/lib/vz/template/cache/"+name+".tar", testImage{spec: spec})
	}
	for name, image := range oddImages() {
		if strings.Contains(text, "odd_"+name+".tar") {
			placeImage(t, n, "/srv/odd/odd_"+name+".tar", image)
		}
	}
}

func placeImage(t *testing.T, n *node, file string, image testImage) {
	t.Helper()
	p := mustBuild(t, image.spec)
	if image.second != nil {
		q := mustBuild(t, *image.second)
		maps.Copy(p.blobs, q.blobs)
		p.manifests = append(p.manifests, q.manifests...)
	}
	index := entriesOf(p)
	if image.nested {
		index[0].Platform = &platform{Architecture: "arm64", OS: "linux"}
		index[1].Platform = &platform{Architecture: "amd64", OS: "linux"}
		inner, err := json.Marshal(manifest{SchemaVersion: 2, MediaType: mediaOCIIndex, Manifests: index})
		if err != nil {
			t.Fatal(err)
		}
		p.blobs[digestOf(inner)] = inner
		index = []descriptor{{MediaType: mediaOCIIndex, Digest: digestOf(inner), Size: int64(len(inner))}}
	}
	if err := n.writeFile(file, layoutTar(t, p, image.prefix, index), 0o644); err != nil {
		t.Fatal(err)
	}
}
