package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"usher/cmd/usher/certificates"
	"usher/tenant"
)

// client calls a running gateway.
type client struct {
	url        string
	credential string
	tenant     string // with the operator key, the tenant that calls about rooms are for
	http       *http.Client
	out        output
}

const callTimeout = 30 * time.Second

// reply is an answer of the gateway that is no error.
type reply struct {
	body jsontext.Value
	etag string
}

// call makes a request; body is encoded as JSON unless it is nil.
func (c *client) call(ctx context.Context, method, path string, body any, headers ...string) (reply, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var content io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return reply{}, err
		}
		content = bytes.NewReader(encoded)
	}
	if !strings.HasPrefix(c.url, "http://") && !strings.HasPrefix(c.url, "https://") {
		return reply{}, fmt.Errorf("%q is not the gateway's URL: it begins with http:// or https://", c.url)
	}
	request, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(c.url, "/")+path, content)
	if err != nil {
		return reply{}, fmt.Errorf("%s is not a URL to call: %w", c.url, err)
	}
	request.Header.Set("Authorization", "Bearer "+c.credential)
	if c.tenant != "" {
		request.Header.Set("Usher-Tenant", c.tenant)
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		if headers[i+1] != "" {
			request.Header.Set(headers[i], headers[i+1])
		}
	}
	response, err := c.http.Do(request)
	if err != nil {
		return reply{}, fmt.Errorf("no answer from %s: %w", c.url, cause(err))
	}
	defer func() { _ = response.Body.Close() }()
	raw, err := io.ReadAll(response.Body)
	if err != nil {
		return reply{}, fmt.Errorf("the answer of %s broke off: %w", c.url, err)
	}
	if response.StatusCode >= http.StatusBadRequest {
		return reply{}, refusal(response.StatusCode, raw)
	}
	return reply{body: raw, etag: response.Header.Get("ETag")}, nil
}

// refusal is a problem document in one line.
func refusal(status int, raw []byte) error {
	var p struct {
		Code      string `json:"code"`
		Detail    string `json:"detail"`
		RequestID string `json:"request_id"`
		Errors    []struct {
			Field   string `json:"field"`
			Message string `json:"message"`
		} `json:"errors"`
	}
	if err := json.Unmarshal(raw, &p); err != nil || p.Code == "" {
		return fmt.Errorf("the gateway answered %d and no problem document; is it Usher?", status)
	}
	said := p.Detail
	if len(p.Errors) > 1 {
		each := make([]string, len(p.Errors))
		for i, e := range p.Errors {
			each[i] = e.Field + " " + e.Message
		}
		said = strings.Join(each, "; ")
	}
	return fmt.Errorf("%s: %s (request %s)", p.Code, said, p.RequestID)
}

// all fetches every page of a list and gives its entries.
func (c *client) all(ctx context.Context, path, member string) (entries []jsontext.Value, err error) {
	separator := "?"
	if strings.Contains(path, "?") {
		separator = "&"
	}
	for token := ""; ; {
		page := path
		if token != "" {
			page += separator + "page_token=" + url.QueryEscape(token)
		}
		r, err := c.call(ctx, http.MethodGet, page, nil)
		if err != nil {
			return nil, err
		}
		var members map[string]jsontext.Value
		if err := json.Unmarshal(r.body, &members); err != nil {
			return nil, fmt.Errorf("read the answer: %w", err)
		}
		var some []jsontext.Value
		if err := json.Unmarshal(members[member], &some); err != nil {
			return nil, fmt.Errorf("read the answer: %w", err)
		}
		entries = append(entries, some...)
		if members["next_page_token"] == nil {
			return entries, nil
		}
		if err := json.Unmarshal(members["next_page_token"], &token); err != nil {
			return nil, fmt.Errorf("read the answer: %w", err)
		}
	}
}

// profiles is the configuration file: which gateways there are, and with what to call them.
type profiles struct {
	Current  string             `yaml:"current"`
	Profiles map[string]profile `yaml:"profiles"`
}

type profile struct {
	URL             string `yaml:"url"`
	OperatorKey     string `yaml:"operator_key"`
	OperatorKeyFile string `yaml:"operator_key_file"`
	APIKey          string `yaml:"api_key"`
	APIKeyFile      string `yaml:"api_key_file"`
	CAFile          string `yaml:"ca_file"`
	CertFile        string `yaml:"cert_file"`
	KeyFile         string `yaml:"key_file"`
	ServerName      string `yaml:"server_name"`
}

const (
	configVariable = "USHER_CONFIG"
	defaultURL     = "http://127.0.0.1:8080"
)

// loadProfile reads the profile from the configuration file. Without a file, or a name, it is empty.
func loadProfile(name string) (profile, error) {
	path := os.Getenv(configVariable)
	if path == "" {
		dir, err := os.UserConfigDir()
		if err != nil {
			return profile{}, nil //nolint:nilerr // a user without a home has no file
		}
		path = filepath.Join(dir, "usher", "config.yaml")
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) && name == "" {
		return profile{}, nil
	}
	if err != nil {
		return profile{}, fmt.Errorf("read the profiles: %w", err)
	}
	var p profiles
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	if err := decoder.Decode(&p); err != nil {
		return profile{}, fmt.Errorf("read the profiles of %s: %w", path, err)
	}
	if name == "" {
		name = p.Current
	}
	chosen, ok := p.Profiles[name]
	if !ok && name != "" {
		return profile{}, fmt.Errorf("%s has no profile %q", path, name)
	}
	return chosen, nil
}

// credential is the key to call with: the operator's where there is one. A variable wins over the profile. No key is ever
// taken from the command line, where other users of the machine could read it.
func (p profile) credential() (key string, operators bool, err error) {
	for _, source := range []struct {
		variable, key, file string
		operators           bool
	}{
		{"USHER_OPERATOR_KEY", p.OperatorKey, p.OperatorKeyFile, true}, {"USHER_API_KEY", p.APIKey, p.APIKeyFile, false},
	} {
		switch {
		case os.Getenv(source.variable) != "":
			return os.Getenv(source.variable), source.operators, nil
		case source.key != "":
			return source.key, source.operators, nil
		case source.file != "":
			text, err := os.ReadFile(source.file)
			if err != nil {
				return "", false, fmt.Errorf("read the key: %w", err)
			}
			return strings.TrimSpace(string(text)), source.operators, nil
		}
	}
	return "", false, errors.New("no key to call with: set USHER_OPERATOR_KEY or USHER_API_KEY, or name one in a profile")
}

// newClient makes a client as the command's flags say.
func newClient(c *cobra.Command) (*client, error) {
	flag := func(name string) string {
		value, err := c.Flags().GetString(name)
		if err != nil {
			return "" // the command has no such flag
		}
		return value
	}
	p, err := loadProfile(flag("profile"))
	if err != nil {
		return nil, err
	}
	first := func(texts ...string) string {
		for _, text := range texts {
			if text != "" {
				return text
			}
		}
		return ""
	}
	made := &client{
		url: first(flag("url"), os.Getenv("USHER_URL"), p.URL, defaultURL), tenant: flag("tenant"),
		out: output{w: c.OutOrStdout(), format: flag("output")},
	}
	made.http, err = httpClient(certificates.Files{
		CA:   first(flag("ca-file"), os.Getenv("USHER_CA_FILE"), p.CAFile),
		Cert: first(flag("cert-file"), os.Getenv("USHER_CERT_FILE"), p.CertFile),
		Key:  first(flag("key-file"), os.Getenv("USHER_KEY_FILE"), p.KeyFile),
	}, first(flag("server-name"), os.Getenv("USHER_SERVER_NAME"), p.ServerName))
	if err != nil {
		return nil, err
	}
	var operators bool
	if made.credential, operators, err = p.credential(); err != nil {
		return nil, err
	}
	if operators && !tenant.IsAPIKey(made.credential) && made.tenant == "" && c.Flags().Lookup("tenant") != nil {
		return nil, errors.New("the operator key goes for every tenant: say with --tenant whose rooms are meant")
	}
	return made, made.out.check()
}

// httpClient makes connections with the certificates.
func httpClient(files certificates.Files, serverName string) (*http.Client, error) {
	set, err := certificates.Load(files, time.Now)
	if err != nil {
		return nil, fmt.Errorf("read the certificates to call with: %w", err)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = set.Client()
	transport.TLSClientConfig.ServerName = serverName
	return &http.Client{Transport: transport}, nil
}
