package main

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"rehome/bot"
	"rehome/bot/entra"
	"rehome/bot/intake"
	"rehome/bot/intake/entratoken"
	"rehome/conversation"
	"rehome/policy"
)

// intakeSettings say who may send alerts to /v1/violations, and how much.
type intakeSettings struct {
	TokenFiles []string       `yaml:"tokenFiles"` // beside REHOME_INTAKE_TOKEN; each with one token or more
	MaxMiB     int64          `yaml:"maxMiB"`     // of a request; 0: 16
	MaxRecords int            `yaml:"maxRecords"` // in a request; 0: 10,000
	Rate       float64        `yaml:"rate"`       // requests a second of one source; 0: no limit
	Burst      int            `yaml:"burst"`      // requests of one source at once, with a rate
	Origins    []string       `yaml:"origins"`    // who may subscribe by the handshake of CloudEvents; none given: eventgrid.azure.net
	Entra      *tokenSettings `yaml:"entra"`
}

// tokenSettings say which tokens of Entra are good for sending alerts.
type tokenSettings struct {
	Tenant    string   `yaml:"tenant"`
	Audiences []string `yaml:"audiences"`
	Callers   []string `yaml:"callers"`
	Role      string   `yaml:"role"`
	Authority string   `yaml:"authority"`
	Issuers   []string `yaml:"issuers"`
}

// ownerSettings are what the operator knows of who answers for what.
type ownerSettings struct {
	Services   map[string]string `yaml:"services"`   // service id or name → mail address or user id
	MailDomain string            `yaml:"mailDomain"` // makes a mail address of an alert's alias
}

// tellingSettings say when people are told, and how much at once.
type tellingSettings struct {
	Gather string    `yaml:"gather"`
	Alone  *int      `yaml:"alone"`
	Urgent string    `yaml:"urgent"`
	Digest *int      `yaml:"digest"`
	Quiet  bot.Quiet `yaml:"quiet"`

	gather, urgent time.Duration // what the words mean
}

// directoryEntry is one Entra tenant in one cloud, and how the bot signs in.
type directoryEntry struct {
	Name              string          `yaml:"name"`
	Tenant            string          `yaml:"tenant"`
	Cloud             string          `yaml:"cloud"`
	Graph             string          `yaml:"graph"`
	Authority         string          `yaml:"authority"`
	InstanceDiscovery *bool           `yaml:"instanceDiscovery"`
	Credential        credentialEntry `yaml:"credential"`
}

// credentialEntry names what proves who the bot is. Secrets are in files.
type credentialEntry struct {
	Kind            string `yaml:"kind"`
	Client          string `yaml:"client"`
	TokenFile       string `yaml:"tokenFile"`
	Identity        string `yaml:"identity"`
	CertificateFile string `yaml:"certificateFile"`
	PasswordFile    string `yaml:"passwordFile"`
	SendChain       bool   `yaml:"sendChain"`
	SecretFile      string `yaml:"secretFile"`
	AllowSecret     bool   `yaml:"allowSecret"`
}

var ruleForm = regexp.MustCompile(`^routing rule (\d+): `)

func (s *settings) checkAlerts() error {
	if err := checkChannel("securityChannel", s.SecurityChannel); err != nil {
		return err
	}
	for i, id := range s.AlertChannels {
		if err := checkChannel(fmt.Sprintf("alertChannels.%d", i), cmp.Or(id, "(empty)")); err != nil {
			return err
		}
	}
	for i, link := range s.AlertLinks {
		if u, err := url.Parse(link); err != nil || u.Scheme != "https" || u.Host == "" {
			return bad(fmt.Sprintf("alertLinks.%d", i), "%q is not an https address; write the one that findings are at or below, such as https://contoso.example/findings", link)
		}
	}
	if err := s.checkRoutes(); err != nil {
		first := problemsOf(err)[0]
		name := "routes"
		if m := ruleForm.FindStringSubmatch(first); m != nil {
			n, _ := strconv.Atoi(m[1]) // digits, by the pattern
			name, first = fmt.Sprintf("routes.%d", n-1), strings.TrimPrefix(first, m[0])
		}
		return bad(name, "%s", first)
	}
	in := s.Intake
	switch {
	case in.MaxMiB < 0 || in.MaxMiB > 1024:
		return bad("intake.maxMiB", "is %d; write how many MiB a request may have, 1 to 1024", in.MaxMiB)
	case in.MaxRecords < 0:
		return bad("intake.maxRecords", "is %d; write how many records a request may hold", in.MaxRecords)
	case in.Rate < 0 || in.Burst < 0:
		return bad("intake.rate", "and its burst are requests, and cannot be negative; leave them out for no limit")
	}
	if e := in.Entra; e != nil {
		if _, err := e.verifier(); err != nil {
			return bad("intake.entra", "is not complete: %s", err)
		}
	}
	for service, who := range s.Owners.Services {
		if !strings.Contains(who, "@") && !userForm.MatchString(who) {
			return bad("owners.services."+service, "is answered for by %q, which is neither a mail address nor a user id (U…)", who)
		}
	}
	if d := s.Owners.MailDomain; d != "" && (strings.Contains(d, "@") || !strings.Contains(d, ".")) {
		return bad("owners.mailDomain", "%q is not a domain; write what stands behind the @, such as contoso.example", d)
	}
	if _, ok := repeats[s.Unreadable]; !ok {
		return bad("unreadableHistory", "%q is not known; write at-least-once or at-most-once", s.Unreadable)
	}
	return nil
}

// repeats says of each value of unreadableHistory whether what may have been sent
// is given up rather than sent again.
var repeats = map[string]bool{"": false, "at-least-once": false, "at-most-once": true}

// checkRoutes checks the routing rules by the words of the policy in force. Where
// that cannot be read, whoever needs it says so.
func (s *settings) checkRoutes() error {
	if len(s.Routes) == 0 {
		return nil
	}
	pol, err := s.policy()
	if err != nil {
		return nil //nolint:nilerr // see above
	}
	return pol.CheckRoutes(s.Routes)
}

// A Slack user's id.
var userForm = regexp.MustCompile(`^[UW][A-Z0-9]{6,20}$`)

func (t *tellingSettings) check() error {
	for _, d := range []struct {
		name, words string
		into        *time.Duration
		most        time.Duration
	}{
		{"telling.gather", t.Gather, &t.gather, time.Hour},
		{"telling.urgent", t.Urgent, &t.urgent, 90 * 24 * time.Hour},
	} {
		var err error
		if *d.into, err = time.ParseDuration(cmp.Or(d.words, "0s")); err != nil || *d.into < 0 || *d.into > d.most {
			return bad(d.name, "%q is not a length of time up to %s; write it as 10s, 5m or 48h", d.words, d.most)
		}
	}
	switch {
	case t.Alone != nil && *t.Alone < 0:
		return bad("telling.alone", "is %d; write up to how many alerts at once are direct messages of their own", *t.Alone)
	case t.Digest != nil && (*t.Digest < 0 || *t.Digest > 23):
		return bad("telling.digest", "is %d; write the hour of the day, 0 to 23", *t.Digest)
	case t.Quiet.From < 0 || t.Quiet.From > 23 || t.Quiet.To < 0 || t.Quiet.To > 23:
		return bad("telling.quiet", "is from %d to %d; write hours of the day, 0 to 23", t.Quiet.From, t.Quiet.To)
	}
	return nil
}

func (t *tellingSettings) manners() bot.Manners {
	m := bot.Manners{Window: t.gather, Quiet: t.Quiet, Urgent: t.urgent}
	// There 0 is what was not said, and here what somebody wrote.
	if t.Alone != nil {
		m.Alone = cmp.Or(*t.Alone, -1)
	}
	if t.Digest != nil {
		m.Digest = cmp.Or(*t.Digest, 24)
	}
	if t.Urgent != "" && t.urgent == 0 {
		m.Urgent = -1
	}
	return m
}

// ownership is what ownerSettings say, as the bot looks it up.
func (o *ownerSettings) ownership() bot.Ownership {
	out := bot.Ownership{Services: map[string]string{}, MailDomain: o.MailDomain}
	for service, who := range o.Services {
		out.Services[strings.ToLower(service)] = who
	}
	return out
}

func (s *settings) checkDirectories() error {
	for i, d := range s.Directories {
		at := fmt.Sprintf("directories.%d", i)
		if !tenantForm.MatchString(d.Tenant) {
			return bad(at+".tenant", "%q is not a tenant id; write it as 00000000-0000-0000-0000-000000000000", d.Tenant)
		}
		if _, err := entra.ParseCloud(d.Cloud); err != nil {
			return bad(at+".cloud", "is wrong: %s", err)
		}
		switch entra.Kind(d.Credential.Kind) {
		case entra.WorkloadIdentity, entra.ManagedIdentity, entra.ManagedFederation, entra.ClientCertificate, entra.ClientSecret, entra.AzureCLI:
		default:
			return bad(at+".credential.kind", "%q is not known; write workload-identity, managed-identity, managed-federation, client-certificate, azure-cli or, if it must be, client-secret", d.Credential.Kind)
		}
	}
	return nil
}

var tenantForm = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

// directories returns the directories to ask: the one of azidentity's own
// variables first, then those of rehome.yaml. There may be none.
func (p *program) directories(s settings) ([]entra.DirectoryConfig, error) {
	var out []entra.DirectoryConfig
	first, ok, err := entra.FromEnvironment(p.env)
	if err != nil {
		return nil, err
	}
	if ok {
		out = append(out, first)
	}
	for i, d := range s.Directories {
		one, err := d.config(p.env("GRAPH_BASE_URL"))
		if err != nil {
			return nil, bad(fmt.Sprintf("directories.%d", i), "cannot be used: %s", err)
		}
		out = append(out, one)
	}
	return out, nil
}

func (d *directoryEntry) config(graphURL string) (entra.DirectoryConfig, error) {
	cloud, err := entra.ParseCloud(d.Cloud)
	if err != nil {
		return entra.DirectoryConfig{}, err // unreachable: it was checked with the settings
	}
	c := d.Credential
	password, err := secretFile(c.PasswordFile)
	if err != nil {
		return entra.DirectoryConfig{}, err
	}
	clientSecret, err := secretFile(c.SecretFile)
	if err != nil {
		return entra.DirectoryConfig{}, err
	}
	return entra.DirectoryConfig{
		Name: d.Name, TenantID: d.Tenant, Cloud: cloud, GraphBaseURL: cmp.Or(d.Graph, graphURL), Authority: d.Authority,
		DisableInstanceDiscovery: d.InstanceDiscovery != nil && !*d.InstanceDiscovery,
		Credential: entra.CredentialConfig{
			Kind: entra.Kind(c.Kind), ClientID: c.Client, TokenFile: c.TokenFile, IdentityClientID: c.Identity,
			CertificateFile: c.CertificateFile, CertificatePassword: entra.Secret(password.reveal()), SendChain: c.SendChain,
			ClientSecret: entra.Secret(clientSecret.reveal()), AllowClientSecret: c.AllowSecret,
		},
	}, nil
}

// verifier is what checks the tokens of Entra.
func (t *tokenSettings) verifier() (*entratoken.Verifier, error) {
	return entratoken.New(entratoken.Config{
		Tenant: t.Tenant, Audiences: t.Audiences, Callers: t.Callers, Role: t.Role, Authority: t.Authority, Issuers: t.Issuers,
	})
}

// door is who may send alerts, and how much. With neither tokens nor Entra
// nobody may.
func (p *program) door(s settings) (intake.Door, error) {
	d := intake.Door{
		MaxBody: s.Intake.MaxMiB << 20, MaxRecords: s.Intake.MaxRecords, Rate: s.Intake.Rate, Burst: s.Intake.Burst, Origins: s.Intake.Origins,
	}
	tokens, err := p.secrets("REHOME_INTAKE_TOKEN", s.Intake.TokenFiles)
	if err != nil {
		return d, err
	}
	for _, t := range tokens {
		d.Tokens = append(d.Tokens, t.reveal())
	}
	if s.Intake.Entra != nil {
		if d.Entra, err = s.Intake.Entra.verifier(); err != nil {
			return d, err // unreachable: it was checked with the settings
		}
	}
	return d, nil
}

// maySend reports whether anybody may send alerts through the door.
func maySend(d intake.Door) bool { return len(d.Tokens) > 0 || d.Entra != nil }

// A router says in which channel an alert is worked.
type router struct {
	rules []policy.RouteRule
	other string // for what no rule fits
}

// router returns the routing in force. What no rule fits goes to the triage
// channel, or else to the security channel, or else where the first rule sends.
func (s *settings) router() (router, error) {
	r := router{rules: s.Routes, other: cmp.Or(s.Channel, s.SecurityChannel)}
	if r.other == "" && len(s.Routes) > 0 {
		r.other = s.Routes[0].Channel
	}
	if r.other == "" {
		return r, errors.New("alerts have no channel to be worked in; set REHOME_CHANNEL to the id of the triage channel, or write routes: in rehome.yaml")
	}
	return r, nil
}

// by returns what says where an alert is worked, by the words of a policy.
func (r router) by(p *policy.Policy) func(policy.Violation, policy.Facts) conversation.Place {
	return func(v policy.Violation, f policy.Facts) conversation.Place {
		channel, _ := p.Route(r.rules, r.other, v, f)
		return conversation.Place{Channel: channel}
	}
}

// secretFile reads the secret that is in a file alone; "" names none.
func secretFile(file string) (secret, error) {
	if file == "" {
		return secret{}, nil
	}
	all, err := secretsIn(file)
	if err != nil {
		return secret{}, err
	}
	if len(all) != 1 {
		return secret{}, fmt.Errorf("%s must hold the secret alone, on one line", file)
	}
	return all[0], nil
}

// secretsIn reads a file with a secret on each line.
func secretsIn(file string) ([]secret, error) {
	stat, err := os.Stat(file)
	if err != nil {
		return nil, fmt.Errorf("%w; write the secret there", err)
	}
	if stat.Size() > maxSecret || !stat.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a file with a secret in it; check the path", file)
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("%w; let the user that runs rehome read it", err)
	}
	var out []secret
	for line := range strings.Lines(string(content)) {
		if line = strings.TrimSpace(line); line != "" {
			out = append(out, secret{line})
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s is empty; write the secret there", file)
	}
	return out, nil
}
