package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net"
	"os"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"rehome/policy"
	"rehome/store/bolt"
)

// settings are what a deployment chooses. They come from rehome.yaml
// (deploy/rehome.example.yaml explains each) and from the environment, which
// wins. Secrets are no settings: they come from the environment or from files
// of their own, see secret.
type settings struct {
	Listen  string                 `yaml:"listen"`
	Store   string                 `yaml:"store"`
	Keep    string                 `yaml:"keep"` // days that what is over is kept, "400d"; "" for ever
	Room    roomSettings           `yaml:"room"`
	Channel string                 `yaml:"channel"`
	Sockets int                    `yaml:"sockets"` // connections for Socket Mode; 0: two
	Policy  string                 `yaml:"policy"`
	Log     logSettings            `yaml:"log"`
	Slack   slackSettings          `yaml:"slack"`
	Tenants map[string]tenantEntry `yaml:"tenants"`

	Intake          intakeSettings     `yaml:"intake"`
	Routes          []policy.RouteRule `yaml:"routes"`
	SecurityChannel string             `yaml:"securityChannel"`
	AlertChannels   []string           `yaml:"alertChannels"`
	AlertLinks      []string           `yaml:"alertLinks"`
	Directories     []directoryEntry   `yaml:"directories"`
	Owners          ownerSettings      `yaml:"owners"`
	Telling         tellingSettings    `yaml:"telling"`
	Unreadable      string             `yaml:"unreadableHistory"` // at-least-once or at-most-once

	tenants map[string]policy.TenantEntry // Tenants, or the file REHOME_TENANTS names, checked
}

type logSettings struct {
	Format string `yaml:"format"` // text or json
	Level  string `yaml:"level"`  // debug, info, warn, error
}

// slackSettings are how long Slack is waited for.
type slackSettings struct {
	Timeout   string `yaml:"timeout"`   // of one request
	Settle    string `yaml:"settle"`    // until a message whose answer never came is looked for
	Unlimited bool   `yaml:"unlimited"` // the workspace has no limits on how fast it is written to

	timeout, settle time.Duration // what the words mean
}

// roomSettings are how much room the store may take up.
type roomSettings struct {
	MaxMiB   int `yaml:"maxMiB"`   // of its file; 0: as much as the disk has
	SpareMiB int `yaml:"spareMiB"` // of that, kept for what is under way; 0: the store's own
}

type tenantEntry struct {
	Name    string `yaml:"name" json:"name"`
	Cloud   string `yaml:"cloud" json:"cloud"`
	NonProd bool   `yaml:"nonProd" json:"nonProd"`
}

const settingNames = "listen, store, keep, room, channel, sockets, policy, log.format, log.level, slack, tenants, " +
	"intake, routes, securityChannel, alertChannels, alertLinks, directories, owners, telling, unreadableHistory"

// The defaults keep everything on this machine.
const (
	defaultListen = "127.0.0.1:8080"
	defaultStore  = "bolt:rehome.db"
)

// settings reads rehome.yaml, if one is named, and the environment, and checks
// what came of it.
func (p *program) settings() (settings, error) {
	var s settings
	if file := cmp.Or(p.config, p.env("REHOME_CONFIG")); file != "" {
		content, err := os.ReadFile(file)
		if err != nil {
			return s, fmt.Errorf("%w; --config and REHOME_CONFIG name the file with the settings", err)
		}
		if s, err = parseSettings(file, content); err != nil {
			return s, err
		}
	}
	s.Listen = cmp.Or(p.env("REHOME_LISTEN"), s.Listen, defaultListen)
	s.Store = cmp.Or(p.env("REHOME_STORE"), s.Store, defaultStore)
	s.Channel = cmp.Or(p.env("REHOME_CHANNEL"), s.Channel)
	s.Policy = cmp.Or(p.env("REHOME_POLICY"), s.Policy)
	if file := p.env("REHOME_TENANTS"); file != "" {
		content, err := os.ReadFile(file)
		if err != nil {
			return s, fmt.Errorf("REHOME_TENANTS: %w; it names a JSON file of tenant ids and names", err)
		}
		if s.tenants, err = policy.ParseTenants(content); err != nil {
			return s, fmt.Errorf("REHOME_TENANTS: %s: %w", file, err)
		}
	}
	return s, s.check()
}

// configured reads the settings and the policy that is in force by them.
func (p *program) configured() (settings, *policy.Policy, error) {
	s, err := p.settings()
	if err != nil {
		return s, nil, err
	}
	pol, err := s.policy()
	return s, pol, err
}

// parseSettings reads rehome.yaml. Errors read "file:line: what; what to do".
func parseSettings(file string, content []byte) (settings, error) {
	var s settings
	tree, err := parser.ParseBytes(content, 0)
	if err != nil {
		return s, yamlError(file, err)
	}
	if err := yaml.UnmarshalWithOptions(content, &s, yaml.Strict()); err != nil {
		return s, yamlError(file, err)
	}
	lines := linesOf(tree)
	if s.tenants, err = checkTenants(s.Tenants, func(id string) string { return fmt.Sprintf("%s:%d: ", file, lines["tenants."+id]) }); err != nil {
		return s, err
	}
	var bad *badSetting
	if err := s.check(); errors.As(err, &bad) {
		return s, fmt.Errorf("%s:%d: %w", file, lineOf(lines, bad.name), err)
	}
	return s, nil
}

func yamlError(file string, err error) error {
	var at yaml.Error
	if !errors.As(err, &at) {
		return fmt.Errorf("%s: %w", file, err)
	}
	line := 1
	if t := at.GetToken(); t != nil && t.Position != nil {
		line = t.Position.Line
	}
	what := at.GetMessage()
	var mistyped *yaml.TypeError
	if errors.As(err, &mistyped) {
		what = fmt.Sprintf("%s is written here where %s is wanted", kindOfValue(mistyped.SrcType.Kind()), kindOfValue(mistyped.DstType.Kind()))
	}
	if strings.Contains(what, "unknown field") {
		what += "; the settings are " + settingNames
	}
	return fmt.Errorf("%s:%d: %s; deploy/rehome.example.yaml shows every setting", file, line, what)
}

// kindOfValue names a kind of value as YAML has it.
func kindOfValue(k reflect.Kind) string {
	switch k { //nolint:exhaustive // the rest are numbers
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "a text"
	case reflect.Map, reflect.Struct:
		return "a mapping"
	case reflect.Slice:
		return "a list"
	default:
		return "a number"
	}
}

// linesOf returns the line of every key, by its dotted path; the places of a
// list are numbered from 0.
func linesOf(tree *ast.File) map[string]int {
	out := map[string]int{}
	var walk func(at string, n ast.Node)
	entry := func(at string, v *ast.MappingValueNode) {
		key := at + v.Key.GetToken().Value
		out[key] = v.Key.GetToken().Position.Line
		walk(key+".", v.Value)
	}
	walk = func(at string, n ast.Node) {
		switch n := n.(type) {
		case *ast.MappingNode:
			for _, v := range n.Values {
				entry(at, v)
			}
		case *ast.MappingValueNode:
			entry(at, n)
		case *ast.SequenceNode:
			for i, v := range n.Values {
				out[at+strconv.Itoa(i)] = v.GetToken().Position.Line
				walk(at+strconv.Itoa(i)+".", v)
			}
		}
	}
	for _, doc := range tree.Docs {
		walk("", doc.Body)
	}
	return out
}

// lineOf is the line of a setting or, when it is not there, of what it belongs
// in.
func lineOf(lines map[string]int, name string) int {
	for {
		if line, ok := lines[name]; ok {
			return line
		}
		cut := strings.LastIndexByte(name, '.')
		if cut < 0 {
			return 1
		}
		name = name[:cut]
	}
}

// checkTenants lets policy judge the tenants of rehome.yaml one by one, so that
// each error has its place.
func checkTenants(given map[string]tenantEntry, place func(id string) string) (map[string]policy.TenantEntry, error) {
	out := map[string]policy.TenantEntry{}
	var errs []error
	for id, entry := range given {
		one, err := json.Marshal(map[string]tenantEntry{id: entry})
		if err != nil {
			return nil, err // unreachable: strings and a bool
		}
		checked, err := policy.ParseTenants(one)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s%s", place(id), strings.TrimPrefix(err.Error(), "line 1: ")))
		}
		maps.Copy(out, checked)
	}
	return out, errors.Join(errs...)
}

// badSetting is a setting with a value that cannot be.
type badSetting struct{ name, message string }

func (b *badSetting) Error() string {
	return placeForm.ReplaceAllStringFunc(b.name, counted) + " " + b.message
}

// placeForm is a place of a list in a setting's path: people count from 1.
var placeForm = regexp.MustCompile(`\.\d+`)

func counted(place string) string {
	n, _ := strconv.Atoi(place[1:]) // digits, by the pattern
	return fmt.Sprintf("[%d]", n+1)
}

func bad(name, format string, args ...any) error {
	return &badSetting{name, fmt.Sprintf(format, args...)}
}

// A Slack channel's id: C for public channels, G for older private ones.
var channelForm = regexp.MustCompile(`^[CG][A-Z0-9]{7,20}$`)

// check judges the settings that are there.
func (s *settings) check() error {
	if s.Listen != "" {
		if err := checkListen(s.Listen); err != nil {
			return bad("listen", "%s", err)
		}
	}
	if s.Store != "" {
		if err := checkStore(s.Store); err != nil {
			return bad("store", "%s", err)
		}
	}
	if _, err := parseKeep(s.Keep); err != nil {
		return bad("keep", "%s", err)
	}
	if err := cmp.Or(s.Room.check(), checkChannel("channel", s.Channel)); err != nil {
		return err
	}
	if s.Sockets < 0 || s.Sockets > 2 {
		return bad("sockets", "is %d; write how many connections Socket Mode keeps open, 1 or 2", s.Sockets)
	}
	switch s.Log.Format {
	case "", "text", "json":
	default:
		return bad("log.format", "%q is not known; write text or json", s.Log.Format)
	}
	if s.Log.Level != "" {
		if err := new(slog.Level).UnmarshalText([]byte(s.Log.Level)); err != nil {
			return bad("log.level", "%q is not known; write debug, info, warn or error", s.Log.Level)
		}
	}
	return cmp.Or(s.Slack.check(), s.checkAlerts(), s.checkDirectories(), s.Telling.check())
}

// The bounds of roomSettings, in MiB. A file grows in steps of 16.
const (
	leastFile, mostFile   = 64, 1 << 20
	leastSpare, mostSpare = 8, 64 << 10
)

func (r roomSettings) check() error {
	switch {
	case r.MaxMiB != 0 && (r.MaxMiB < leastFile || r.MaxMiB > mostFile):
		return bad("room.maxMiB", "is %d; write how many MiB the store's file may grow to, %d to %d, or leave it out for no limit", r.MaxMiB, leastFile, mostFile)
	case r.SpareMiB != 0 && (r.SpareMiB < leastSpare || r.SpareMiB > mostSpare):
		return bad("room.spareMiB", "is %d; write how many MiB are kept for what is under way, %d to %d", r.SpareMiB, leastSpare, mostSpare)
	case r.MaxMiB != 0 && r.SpareMiB > r.MaxMiB/2:
		return bad("room.spareMiB", "is %d, more than half of room.maxMiB; write %d or less", r.SpareMiB, r.MaxMiB/2)
	}
	return nil
}

// storeOptions are the settings that the store knows.
func (s *settings) storeOptions() bolt.Options {
	return bolt.Options{MaxSize: s.Room.MaxMiB << 20, Headroom: int64(s.Room.SpareMiB) << 20}
}

// The bounds of slackSettings. A Slack that may take so long to answer may take
// as long to show what it took, so that settle is the longer one.
const (
	defaultTimeout = 10 * time.Second
	defaultSettle  = 20 * time.Second
	leastTimeout   = 100 * time.Millisecond
	mostTimeout    = time.Minute
	mostSettle     = 10 * time.Minute
)

func (s *slackSettings) check() (err error) {
	s.timeout, err = time.ParseDuration(cmp.Or(s.Timeout, defaultTimeout.String()))
	if err != nil || s.timeout < leastTimeout || s.timeout > mostTimeout {
		return bad("slack.timeout", "%q is not a length of time from %s to %s; write it as 10s", s.Timeout, leastTimeout, mostTimeout)
	}
	s.settle, err = time.ParseDuration(cmp.Or(s.Settle, defaultSettle.String()))
	switch {
	case err != nil || s.settle > mostSettle:
		return bad("slack.settle", "%q is not a length of time up to %s; write it as 20s", s.Settle, mostSettle)
	case s.settle < 2*s.timeout:
		return bad("slack.settle", "is %s, which is too short for a timeout of %s: a message may come late that we had no answer about; write at least %s", s.settle, s.timeout, 2*s.timeout)
	}
	return nil
}

// checkChannel judges a setting that is a channel's id, or is not set.
func checkChannel(name, id string) error {
	if id == "" || channelForm.MatchString(id) {
		return nil
	}
	return bad(name, "%q is not a channel id; take it from the channel's details in Slack (C…), not its name", id)
}

// checkListen judges an address to listen at.
func checkListen(addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if err == nil {
		_, err = net.LookupPort("tcp", port) //nolint:noctx // a number, or a name that this machine knows
	}
	if err != nil {
		return fmt.Errorf("%q is not an address; write host:port, such as %s", addr, defaultListen)
	}
	return nil
}

func checkStore(store string) error {
	_, err := storePath(store)
	return err
}

// openStore opens a store's file, or says how to name another one.
func openStore(path string, o bolt.Options) (*bolt.Store, error) {
	st, err := bolt.Open(path, o)
	var system *fs.PathError
	switch {
	case errors.Is(err, bolt.ErrLocked):
		return nil, fmt.Errorf("%s is held by another rehome; stop that one, or name another store with --store or REHOME_STORE: %w", path, bolt.ErrLocked)
	case errors.As(err, &system):
		return nil, fmt.Errorf("the store %s cannot be used: %w; name a file on a local disk that you may write, with --store or REHOME_STORE as bolt:PATH", path, err)
	}
	return st, err
}

// storePath returns the file of a store that is named as bolt:PATH.
func storePath(store string) (string, error) {
	path, ok := strings.CutPrefix(store, "bolt:")
	if !ok || path == "" {
		return "", fmt.Errorf("%q is not a store; write bolt:PATH, such as %s", store, defaultStore)
	}
	return path, nil
}

// logger writes to standard error, where service managers look for it.
func (p *program) logger(s logSettings) *slog.Logger {
	var level slog.Level // info
	if s.Level != "" {
		_ = level.UnmarshalText([]byte(s.Level)) // checked with the settings
	}
	o := &slog.HandlerOptions{Level: level}
	if s.Format == "json" {
		return slog.New(slog.NewJSONHandler(p.err, o))
	}
	return slog.New(slog.NewTextHandler(p.err, o))
}

// policy returns the policy in force: the built-in one, with the files of the
// policy folder in place of its own and the tenants known by name.
func (s *settings) policy() (*policy.Policy, error) {
	if s.Policy == "" {
		return policy.Default().WithTenants(s.tenants), nil
	}
	folder, err := policyFolder(s.Policy)
	if err != nil {
		return nil, inForce(err)
	}
	p, err := policy.Load(folder)
	if err != nil {
		problems := problemsOf(err)
		more := ""
		if len(problems) > 1 {
			more = fmt.Sprintf(" (and %d more)", len(problems)-1)
		}
		return nil, fmt.Errorf("policy folder %s: %s%s; see all with: rehome policy check %[1]s", s.Policy, problems[0], more)
	}
	return p.WithTenants(s.tenants), nil
}

// inForce says where the name of the policy folder came from.
func inForce(err error) error {
	return fmt.Errorf("REHOME_POLICY (or policy: in rehome.yaml): %w, or unset it to use the built-in ones", err)
}

// policyFolder opens a folder with policy files. Its errors name no setting:
// the folder may be a word of the command line.
func policyFolder(path string) (fs.FS, error) {
	stat, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("policy folder: %w; name a folder with policy files", err)
	}
	if !stat.IsDir() {
		return nil, fmt.Errorf("policy folder: %s is not a folder; name the folder that the policy files are in", path)
	}
	return os.DirFS(path), nil
}

// problemsOf takes apart what policy.Load joined: one problem each.
func problemsOf(err error) []string {
	var out []string
	for line := range strings.Lines(err.Error()) {
		if line = strings.TrimSpace(line); line != "" {
			out = append(out, line)
		}
	}
	return out
}
