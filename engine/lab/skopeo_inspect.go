package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/template"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// An inspection is what "skopeo inspect" prints; names and order of the fields
// are skopeo's, which format strings use.
type inspection struct {
	Name          string `json:",omitempty"`
	Tag           string `json:",omitempty"`
	Digest        string
	RepoTags      []string
	Created       *time.Time
	DockerVersion string
	Labels        map[string]string
	Architecture  string
	Os            string
	Layers        []string
	LayersData    []inspectedLayer
	Env           []string
}

type inspectedLayer struct {
	MIMEType    string
	Digest      string
	Size        int64
	Annotations map[string]string
}

func (s *skopeoRun) inspect() error {
	given := s.args[0]
	n, err := parseImageName(given)
	var src imageSource
	if err == nil {
		src, err = s.source(n, "")
	}
	if err != nil {
		return saidf("Error parsing image name %q: %w", given, err)
	}
	raw, err := src.manifest(s.ctx, "")
	if err != nil {
		return saidf("Error retrieving manifest for image: %w", err)
	}
	if s.flags["raw"] == "true" && s.flags["config"] != "true" {
		_, err := s.stdout.Write(raw.data)
		return err
	}
	img, err := s.choose(src)
	var none *choiceError
	if errors.As(err, &none) {
		err = fmt.Errorf("choosing image instance: %w", none.error)
	}
	if err != nil {
		return saidf("Error parsing manifest for image: %w", err)
	}
	if s.flags["config"] == "true" {
		return s.inspectConfig(img)
	}
	out, err := s.inspection(n, raw, img)
	if err != nil {
		return err
	}
	return s.print(out)
}

func (s *skopeoRun) inspectConfig(img *image) error {
	if s.flags["raw"] == "true" {
		_, err := s.stdout.Write(img.configBlob)
		return err
	}
	c, err := img.ociConfig()
	if err != nil {
		return saidf("Error reading OCI-formatted configuration data: %w", err)
	}
	return s.print(c)
}

// inspection collects what is printed; the digest is that of the index if there
// is one, all else is of the image chosen from it.
func (s *skopeoRun) inspection(n imageName, raw rawManifest, img *image) (*inspection, error) {
	c, err := img.ociConfig()
	if err != nil {
		return nil, err
	}
	out := &inspection{
		Digest: raw.digest(), RepoTags: []string{}, Created: c.Created, Labels: c.Config.Labels,
		Architecture: c.Architecture, Os: c.OS, Env: c.Config.Env, Layers: []string{},
	}
	for _, l := range img.manifest.Layers {
		out.Layers = append(out.Layers, l.Digest)
		out.LayersData = append(out.LayersData, inspectedLayer{l.MediaType, l.Digest, l.Size, l.Annotations})
	}
	if d, ok := img.src.(*dockerSource); ok {
		out.Name = d.shown.String()
		if s.flags["no-tags"] != "true" {
			if out.RepoTags, err = d.tags(); err != nil {
				return nil, saidf("Error determining repository tags: %w", err)
			}
		}
	}
	return out, nil
}

// print prints v as indented JSON or by the template of --format.
func (s *skopeoRun) print(v any) error {
	format := s.flags["format"]
	if format == "" || format == "json" {
		return printJSON(s.stdout, v)
	}
	t, err := template.New("").Funcs(template.FuncMap{"json": func(v any) (string, error) {
		data, err := json.Marshal(v)
		return string(data), err
	}, "join": strings.Join, "lower": strings.ToLower, "upper": strings.ToUpper}).Parse(format + "\n")
	if err != nil {
		return err
	}
	return t.Execute(s.stdout, v)
}

func printJSON(w io.Writer, v any) error {
	data, err := json.MarshalIndent(v, "", "    ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s\n", data)
	return err
}

// tags lists the tags of the repository.
func (d *dockerSource) tags() ([]string, error) {
	tags, err := remote.List(d.repo, d.options...)
	var answer *transport.Error
	if errors.As(err, &answer) && answer.StatusCode == 404 {
		return nil, errors.New("fetching tags list: repository name not known to registry")
	}
	if err != nil {
		return nil, fmt.Errorf("fetching tags list: %w", err)
	}
	return tags, nil
}

func (s *skopeoRun) listTags() error {
	n, err := parseImageName(s.args[0])
	if err != nil {
		return err
	}
	if n.transport != "docker" {
		return saidf("Unsupported transport '%s'. Only supported: 'docker', 'docker-archive'", n.transport)
	}
	_, ref, _ := strings.Cut(n.given, "//")
	if ref[strings.LastIndexByte(ref, '/')+1:] != n.repo.path[strings.LastIndexByte(n.repo.path, '/')+1:] {
		return saidf("No tag or digest allowed in reference")
	}
	d, err := s.dockerSource(n.repo, "", "")
	var tags []string
	if err == nil {
		tags, err = d.tags()
	}
	if err != nil {
		return saidf("Error listing repository tags: %w", err)
	}
	return printJSON(s.stdout, struct {
		Repository string
		Tags       []string
	}{n.repo.String(), tags})
}
