package lab

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

// An authFile is containers-auth.json(5).
type authFile struct {
	Auths map[string]authEntry `json:"auths"`
}

type authEntry struct {
	Auth string `json:"auth"` // base64 of USER:PASSWORD
}

// get returns "USER:PASSWORD" of a registry, "" if it has none.
func (a authFile) get(host string) string {
	creds, err := base64.StdEncoding.DecodeString(a.Auths[host].Auth)
	if err != nil {
		return ""
	}
	return string(creds)
}

// authFile returns where the credentials are: --authfile, else the runtime
// directory's, which is gone when root has logged out (containers-auth.json(5)).
func (s *skopeoRun) authFile(prefix string) string {
	if name := orElse(s.flags[prefix+"authfile"], s.flags["authfile"]); name != "" {
		return s.abs(name)
	}
	if name := s.getenv("REGISTRY_AUTH_FILE"); name != "" {
		return s.abs(name)
	}
	if dir := s.getenv("XDG_RUNTIME_DIR"); dir != "" {
		return dir + "/containers/auth.json"
	}
	return "/run/containers/0/auth.json"
}

// readAuth reads a file of credentials; one that is not there has none.
func (s *skopeoRun) readAuth(name string) (authFile, error) {
	a := authFile{Auths: map[string]authEntry{}}
	data, err := s.node.readFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return a, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &a)
	}
	if err != nil {
		return a, fmt.Errorf("reading auth file %q: %w", name, err)
	}
	return a, nil
}

// passwords are those that skopeo knows for what it reads: of the file that was
// named, else of the runtime directory's and, where that says nothing of a registry,
// of the one in root's home (containers-auth.json(5)).
func (s *skopeoRun) passwords(prefix string) (authFile, error) {
	known, err := s.readAuth(s.authFile(prefix))
	if err != nil || s.flags[prefix+"authfile"]+s.flags["authfile"]+s.getenv("REGISTRY_AUTH_FILE") != "" {
		return known, err
	}
	more, err := s.readAuth(rootHome + "/.config/containers/auth.json")
	for host, entry := range more.Auths {
		if known.get(host) == "" {
			known.Auths[host] = entry
		}
	}
	return known, err
}

// changeAuth sets the credentials of a registry, or removes them.
func (s *skopeoRun) changeAuth(host, creds string) error {
	name := s.authFile("")
	old, err := s.readAuth(name)
	if err != nil {
		return err
	}
	changed := authFile{Auths: maps.Clone(old.Auths)}
	delete(changed.Auths, host)
	if creds != "" {
		changed.Auths[host] = authEntry{base64.StdEncoding.EncodeToString([]byte(creds))}
	}
	data, err := json.MarshalIndent(changed, "", "\t")
	if err != nil {
		return err
	}
	return s.node.writeFile(name, data, 0o600)
}

func (s *skopeoRun) login() error {
	host := strings.TrimPrefix(strings.TrimPrefix(s.args[0], "https://"), "http://")
	if s.flags["get-login"] == "true" {
		known, err := s.readAuth(s.authFile(""))
		if err != nil {
			return err
		}
		user, _, ok := strings.Cut(known.get(host), ":")
		if !ok {
			return fmt.Errorf("not logged into %s", host)
		}
		fmt.Fprintln(s.stdout, user)
		return nil
	}
	user, password := s.flags["username"], s.flags["password"]
	if s.flags["password-stdin"] == "true" {
		data, err := io.ReadAll(s.stdin)
		if err != nil {
			return err
		}
		password = strings.TrimRight(string(data), "\r\n")
	}
	if user == "" || password == "" {
		return errors.New("lab: skopeo login needs --username and --password-stdin, there is no terminal")
	}
	if err := s.ping(host, s.tlsVerify("")); err != nil {
		return fmt.Errorf("authenticating creds for %q: %w", host, err)
	}
	if !s.accepts(host, user, password) {
		return fmt.Errorf("logging into %q: invalid username/password", host)
	}
	if err := s.changeAuth(host, user+":"+password); err != nil {
		return err
	}
	fmt.Fprintln(s.stdout, "Login Succeeded!")
	return nil
}

func (s *skopeoRun) logout() error {
	host := s.args[0]
	known, err := s.readAuth(s.authFile(""))
	if err != nil {
		return err
	}
	if known.get(host) == "" {
		return fmt.Errorf("not logged into %s", host)
	}
	if err := s.changeAuth(host, ""); err != nil {
		return err
	}
	fmt.Fprintf(s.stdout, "Removed login credentials for %s\n", host)
	return nil
}

// accepts reports whether a registry lets the user in.
func (s *skopeoRun) accepts(host, user, password string) bool {
	for _, scheme := range []string{"https", "http"} {
		req, err := http.NewRequestWithContext(s.ctx, http.MethodGet, scheme+"://"+host+"/v2/", nil)
		if err != nil {
			return false
		}
		req.SetBasicAuth(user, password)
		resp, err := s.reg.RoundTrip(req)
		if err != nil {
			continue
		}
		return resp.Body.Close() == nil && resp.StatusCode == http.StatusOK
	}
	return false
}

// RequireLogin makes a registry of the lab refuse everybody but one user.
func (l *Lab) RequireLogin(host, user, password string) error {
	if !(dockerRepo{host, "x"}).valid() {
		return fmt.Errorf("require login: bad host %q", host)
	}
	dir := filepath.Join(l.node.registries().dir, "repos", host)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return replaceFile(filepath.Join(dir, "_login"), []byte(user+":"+password), 0o600)
}

// allowed reports whether a request comes from who may ask the registry.
func (r *registries) allowed(host string, req *http.Request) bool {
	want, err := os.ReadFile(filepath.Join(r.dir, "repos", host, "_login"))
	if err != nil {
		return errors.Is(err, fs.ErrNotExist)
	}
	user, password, _ := req.BasicAuth()
	return user+":"+password == string(want)
}

// refuseLogin answers a request that is not allowed.
func refuseLogin(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusUnauthorized)
	_, _ = io.WriteString(w, `{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}`)
}
