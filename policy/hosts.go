package policy

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// A host is a row of clouds.csv: a host name and the cloud it proves. A name
// that begins with a dot stands for every host below it.
type host struct {
	name  string
	cloud Cloud // "" for a retired host
	kind  hostKind
	note  string // why a retired host proves nothing
}

// A hostKind is what answers at a host.
type hostKind string

const (
	hostVault   hostKind = "vault"   // a Key Vault
	hostHSM     hostKind = "hsm"     // a managed HSM
	hostLogin   hostKind = "login"   // a sign-in address
	hostGraph   hostKind = "graph"   // Microsoft Graph
	hostPortal  hostKind = "portal"  // an Azure portal
	hostARM     hostKind = "arm"     // Azure Resource Manager
	hostRetired hostKind = "retired" // was one of these, and proves nothing any more
)

// findHost returns the row that a host name matches: the same name, or, for a row
// that begins with a dot, any name below it. "x.vault.azure.net" matches
// ".vault.azure.net"; "vault.azure.net", "xvault.azure.net" and
// "x.vault.azure.net.evil.example" do not.
func (p *Policy) findHost(name string) (host, bool) {
	if name == "" {
		return host{}, false
	}
	for _, h := range p.hosts {
		if name == h.name || h.name[0] == '.' && len(name) > len(h.name) && strings.HasSuffix(name, h.name) {
			return h, true
		}
	}
	return host{}, false
}

// doubtVault says what is wrong with the host of a vault, "" for nothing.
func (p *Policy) doubtVault(name string) string {
	if h, known := p.findHost(name); known && (h.isVault() || h.kind == hostRetired) {
		return ""
	}
	return "not a Key Vault host" + p.inside(name)
}

// doubtAuthority says what is wrong with a host that an app signs in to.
func (p *Policy) doubtAuthority(name string) string {
	if h, known := p.findHost(name); known && (h.isAuthority() || h.kind == hostRetired) {
		return ""
	}
	return "not a sign-in, Graph, portal or management host that shows a cloud" + p.inside(name)
}

// inside returns a warning to add when a name contains a known host's name, as a
// name does that was made to be mistaken for it ("vault.azure.net.evil.example"),
// and "" otherwise.
func (p *Policy) inside(name string) string {
	for _, h := range p.hosts {
		known := strings.TrimPrefix(h.name, ".")
		if strings.Contains("."+name, "."+known+".") {
			return "; it has " + known + " inside a longer name, so do not sign in there"
		}
	}
	return ""
}

// isVault reports whether keys live at the host.
func (h host) isVault() bool { return h.kind == hostVault || h.kind == hostHSM }

// isAuthority reports whether the host shows which cloud an app signs in to.
func (h host) isAuthority() bool {
	return h.kind == hostLogin || h.kind == hostGraph || h.kind == hostPortal || h.kind == hostARM
}

// why is the sentence that goes with a fact inferred from the host.
func (h host) why(what string) string {
	if h.name[0] == '.' {
		return fmt.Sprintf("the %s ends in %s", what, h.name)
	}
	return fmt.Sprintf("the %s is %s", what, h.name)
}

// hostOf returns the host name of an address, in lower case, or "" if there is
// none. The address may lack its scheme. Only http and https count, and only
// names made of letters, digits, dots and dashes, so that neither the part before
// an @ nor letters of other alphabets that look like ours pass for a host.
func hostOf(address string) string {
	if !strings.Contains(address, ".") {
		return "" // quickly, because most words that Read looks at end here
	}
	u, ok := parseAddress(address)
	if !ok {
		return ""
	}
	name := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
	if len(name) > 253 || !strings.Contains(name, ".") {
		return ""
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || strings.ContainsFunc(label, func(r rune) bool {
			return r != '-' && (r < 'a' || r > 'z') && (r < '0' || r > '9')
		}) {
			return ""
		}
	}
	return name
}

// address returns an address as it was given, without the parts that may hold a
// secret: the user, the query and the fragment. It returns "" for anything that
// is not an http or https address.
func address(given string) string {
	u, ok := parseAddress(given)
	if !ok {
		return ""
	}
	u.User, u.RawQuery, u.Fragment, u.RawFragment, u.ForceQuery = nil, "", "", "", false
	out := u.String()
	if !strings.Contains(given, "://") {
		out = strings.TrimPrefix(out, "https://")
	}
	return clean(out)
}

func parseAddress(s string) (*url.URL, bool) {
	s = strings.TrimSpace(s)
	if len(s) > 2048 || strings.ContainsAny(s, " \t\r\n\\") {
		return nil, false
	}
	if !strings.Contains(s, "://") {
		s = "https://" + s
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" {
		return nil, false
	}
	return u, true
}

// loadHosts reads clouds.csv.
func (l *loader) loadHosts() {
	const file = "clouds.csv"
	kinds := []hostKind{hostVault, hostHSM, hostLogin, hostGraph, hostPortal, hostARM, hostRetired}
	seen := map[string]int{} // the line a host stands on
	for _, r := range l.records(file, "host", "cloud", "kind", "note") {
		h := host{name: strings.ToLower(r.cells["host"]), kind: hostKind(r.cells["kind"]), note: r.cells["note"]}
		switch {
		case hostOf(strings.TrimPrefix(h.name, ".")) != strings.TrimPrefix(h.name, ".") || h.name == "":
			l.wrong(file, r.line, fmt.Sprintf("%q is not a host name", r.cells["host"]), "write a name such as login.microsoftonline.us, or .vault.azure.net for every name below it")
			continue
		case seen[h.name] > 0:
			l.wrong(file, r.line, fmt.Sprintf("host %q is already there on line %d", h.name, seen[h.name]), "remove one of the lines")
			continue
		case !slices.Contains(kinds, h.kind):
			l.wrong(file, r.line, fmt.Sprintf("unknown kind %q", h.kind), "the kinds are "+allOf(kinds))
			continue
		case h.kind == hostRetired && h.note == "":
			l.wrong(file, r.line, "a retired host needs a note", "say why it proves nothing")
			continue
		}
		seen[h.name] = r.line
		if h.kind != hostRetired {
			cloud, ok := l.cloud(r, r.cells["cloud"])
			if !ok {
				continue
			}
			h.cloud = cloud
		}
		l.p.hosts = append(l.p.hosts, h)
	}
}
