package intake

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"rehome/policy"
)

// systems are the sources the canonical schema knows.
var systems = []string{"s360", "entra-recommendation", "azure-monitor", "defender-for-cloud", "sentinel",
	"key-vault", "trueconfig", "assist-sg-update", "slack", "other"}

// canonical reads the canonical violation (the published JSON schema).
func canonical(f fields) policy.Violation {
	f.need("id", "source", "title")
	if !f.has("app") && !f.has("credential") {
		f.fault("", "neither app nor credential is there; add what is known of either, such as app.appId or credential.store.uri")
	}
	source := f.object("source")
	if f.has("source") {
		source.need("system")
	}
	control, service, fix := f.object("control"), f.object("service"), f.object("remediation")
	f.strangers(violationMembers)
	return policy.Violation{
		ID:       f.bounded("id", maxText),
		Source:   policy.ViolationFrom{System: source.oneOf("system", systems...), URL: source.address("url")},
		Title:    f.bounded("title", maxTitle),
		Control:  policy.Control{ID: control.text("id"), Name: control.text("name")},
		Severity: f.oneOf("severity", "Informational", "Low", "Medium", "High", "Critical"),
		Status:   f.oneOf("status", "active", "resolved", "dismissed", "postponed", "exempted"),
		Detected: f.time("detectedDateTime"),
		Observed: f.time("lastObservedDateTime"),
		Due:      f.time("dueDateTime"),
		ETA:      f.time("etaDateTime"),
		SLAState: f.oneOf("slaState", "OnTime", "OutOfSla", "Unknown"),
		Owner:    canonicalPerson(f.object("owner")),
		Assignee: canonicalPerson(f.object("assignee")),
		Service:  policy.Service{ID: service.text("id"), Name: service.text("name")},
		App:      canonicalApp(f.object("app")),
		Cred:     canonicalCredential(f.object("credential")),
		Fix:      policy.FixLinks{URL: fix.address("url"), WorkItemURL: fix.address("workItemUrl")},
		Handoff:  canonicalHandoff(f.object("handoff")),
	}
}

func canonicalPerson(f fields) policy.Owner {
	return policy.Owner{Alias: f.text("alias"), Email: f.text("email"), SlackUserID: slackUser(f)}
}

func canonicalApp(f fields) policy.App {
	return policy.App{
		AppID:              f.guid("appId"),
		ObjectID:           f.guid("objectId"),
		ServicePrincipalID: f.guid("servicePrincipalObjectId"),
		DisplayName:        f.text("displayName"),
		TenantID:           f.guid("tenantId"),
		TenantName:         f.text("tenantName"),
		OwnerOrg:           f.guid("appOwnerOrganizationId"),
		Cloud:              f.text("cloud"),
		Authority:          f.bounded("authority", maxURL),
		Party:              f.oneOf("party", string(policy.FirstParty), string(policy.ThirdParty)),
		SGOwnerTenant:      f.text("sgOwnerTenant"),
		SecretCount:        f.count("secretCount"),
		CertCount:          f.count("certCount"),
		SecretsOnly:        f.yes("secretsOnly"),
	}
}

func canonicalCredential(f fields) policy.Credential {
	thumbprint := f.thumbprint("thumbprint")
	if thumbprint == "" && f.has("customKeyIdentifier") {
		// The identifier is the thumbprint unless whoever uploaded the
		// certificate chose another (Graph keyCredential), so it may be neither.
		if b, ok := hash(f.raw("customKeyIdentifier")); ok {
			thumbprint = fmt.Sprintf("%X", b)
		}
	}
	store := f.object("store")
	return policy.Credential{
		Type:        f.oneOf("type", "certificate", "clientSecret", "federatedIdentityCredential"),
		KeyID:       f.guid("keyId"),
		Thumbprint:  thumbprint,
		SubjectName: f.text("subjectName"),
		Usage:       f.oneOf("usage", "Verify", "Sign", "Encrypt"),
		Start:       f.time("startDateTime"),
		End:         f.time("endDateTime"),
		Store: policy.KeyStore{
			Type:       store.oneOf("type", "KeyVault", "dSMS", "ManagedHSM", "other"),
			URI:        store.bounded("uri", maxURL),
			ResourceID: store.text("resourceId"),
			TenantID:   store.guid("tenantId"),
			TenantName: store.text("tenantName"),
			Cloud:      store.text("cloud"),
		},
	}
}

// canonicalHandoff reads what assist-sg-update passes on (seed 000, "Cert-Move
// Option for SG Scenarios").
func canonicalHandoff(f fields) policy.Handoff {
	if len(f.o) == 0 {
		return policy.Handoff{}
	}
	f.need("from", "option")
	h := policy.Handoff{From: f.oneOf("from", "assist-sg-update"), ConfirmedBy: f.text("confirmedBy")}
	switch f.oneOf("option", "1", "2") {
	case "1":
		h.Option = 1
	case "2":
		h.Option = 2
	}
	confirmed := f.object("confirmed")
	for _, name := range slices.Sorted(maps.Keys(confirmed.o)) {
		if s := confirmed.text(name); s != "" {
			if h.Confirmed == nil {
				h.Confirmed = map[string]string{}
			}
			h.Confirmed[confirmed.o[name].name] = s
		}
	}
	return h
}

var slackUserForm = regexp.MustCompile(`^[UW][A-Z0-9]{2,20}$`)

func slackUser(f fields) string {
	s := f.raw("slackUserId")
	if s != "" && !slackUserForm.MatchString(s) {
		f.leave(f.path("slackUserId"), "is not a Slack user id (U…) and was left out")
		return ""
	}
	return s
}

// cloudEvent opens a CloudEvents 1.0 envelope in structured mode.
func cloudEvent(f fields) []Alert {
	f.need("id", "source", "type")
	if v := f.raw("specversion"); v != "1.0" {
		f.fault("specversion", "must be 1.0")
		return nil
	}
	if t := strings.ToLower(f.raw("datacontenttype")); t != "" && !strings.Contains(t, "json") {
		f.fault("datacontenttype", "must be application/json")
		return nil
	}
	event := digest(f.bounded("source", maxURL), f.bounded("id", maxText))
	kind, at := f.bounded("type", maxTitle), f.time("time")
	data := cloudEventData(f)
	if data.o == nil {
		return nil
	}
	var alerts []Alert
	if strings.HasPrefix(kind, keyVaultPrefix) {
		alerts = f.only(KeyVault, keyVault(data, kind, f.raw("source"), f.raw("id"), at))
	} else {
		alerts = bare(data)
	}
	for i := range alerts {
		alerts[i].Event = event
		if i > 0 {
			alerts[i].Event += "." + strconv.Itoa(i)
		}
		if alerts[i].Violation.Detected.IsZero() {
			alerts[i].Violation.Detected = at
		}
	}
	return alerts
}

// cloudEventData returns the event's data, which may be JSON in base64.
func cloudEventData(f fields) fields {
	if !f.has("data_base64") {
		f.need("data")
		return f.object("data")
	}
	data := fields{reading: f.reading, at: f.path("data_base64")}
	raw, err := base64.StdEncoding.DecodeString(f.raw("data_base64"))
	if err != nil {
		f.fault("data_base64", "is not base64")
		return data
	}
	o, err := parse(raw)
	if err != nil {
		for _, fault := range Faults(err) {
			f.fault("data_base64", "holds no record: "+fault.Message)
		}
		return data
	}
	f.scrub(data.at, o)
	data.o = o
	return data
}

// s360 reads an S360 action item. There is no published schema: the names are
// those its public clients use, and more than one is tried where they differ.
func s360(f fields) policy.Violation {
	f.need("KpiActionItemId")
	custom, dims := f.embedded("CustomDimensions"), f.embedded("S360Dimensions")
	title := ""
	for _, name := range []string{"Title", "ActionItemTitle", "KpiTitle"} {
		if title == "" {
			title = f.bounded(name, maxTitle)
		}
	}
	if title == "" {
		f.need("Title")
	}
	cloud := custom.first("cloudType", "cloud")
	if cloud == "" {
		cloud = dims.first("CloudType")
	}
	owner, assignee := dims.first("ActionOwnerAlias"), f.first("DelegatedAssignedTo", "AssignedTo")
	switch {
	case owner == "":
		owner, assignee = assignee, ""
	case strings.EqualFold(owner, assignee):
		assignee = ""
	}
	return policy.Violation{
		ID:       f.bounded("KpiActionItemId", maxText),
		Source:   policy.ViolationFrom{System: "s360"},
		Title:    title,
		Control:  policy.Control{ID: f.text("KpiId"), Name: f.text("KpiTitle")},
		Observed: f.looseTime("LastUpdateTime"),
		Due:      f.looseTime("CurrentDueDate"),
		ETA:      f.looseTime("CurrentETA"),
		SLAState: s360SLA(f),
		Owner:    person(owner),
		Assignee: person(assignee),
		Service:  policy.Service{ID: f.text("TargetId"), Name: f.text("ServiceName")},
		App: policy.App{
			AppID:       custom.guid("AppId"),
			DisplayName: custom.first("AppDisplayName", "AppName"),
			TenantID:    custom.guid("AppHomeTenantId"),
			Cloud:       cloud,
		},
		Cred: policy.Credential{
			Thumbprint:  custom.thumbprint("CertThumbprint"),
			SubjectName: custom.first("CertSubjectName"),
			Store:       policy.KeyStore{URI: custom.bounded("CertVaultUri", maxURL)},
		},
		Fix: policy.FixLinks{URL: f.address("URL"), WorkItemURL: dims.address("ADOWorkItemHTMLUrl")},
	}
}

// person is whom a feed names in one text: a mail address, or else an alias.
func person(name string) policy.Owner {
	if strings.Contains(name, "@") {
		return policy.Owner{Email: name}
	}
	return policy.Owner{Alias: name}
}

// s360SLA keeps the SLA state open: one public client says OnTime, another OnTrack.
func s360SLA(f fields) string {
	switch s := strings.ToLower(f.raw("SLAState")); s {
	case "":
		return ""
	case "ontime", "ontrack":
		return "OnTime"
	case "outofsla":
		return "OutOfSla"
	}
	f.note(f.path("SLAState"), "is not a state known here (OnTime, OnTrack, OutOfSla) and was taken as Unknown")
	return "Unknown"
}

const keyVaultPrefix = "Microsoft.KeyVault."

// keyVaultEventGrid reads a Key Vault event in Event Grid's own schema.
func keyVaultEventGrid(f fields) policy.Violation {
	kind := f.bounded("eventType", maxTitle)
	if !strings.HasPrefix(kind, keyVaultPrefix) {
		f.fault("eventType", "is not an event of Key Vault (Microsoft.KeyVault.…), the only Event Grid events understood here")
		return policy.Violation{}
	}
	f.need("id")
	return keyVault(f.object("data"), kind, f.bounded("topic", maxURL), f.bounded("id", maxText), f.time("eventTime"))
}

// keyVault reads the data of a Key Vault event. It names no app: that has to be
// found by the certificate, or asked. Event Grid numbers its events; the finding
// is the object in the vault, so that NearExpiry and the Expired a month later
// are one.
func keyVault(f fields, kind, source, id string, at time.Time) policy.Violation {
	if strings.HasSuffix(kind, "NewVersionCreated") || strings.HasSuffix(kind, "AccessPolicyChanged") {
		f.ignore("", "a "+kind+" says that something was done, not that something is wrong; subscribe to CertificateNearExpiry and CertificateExpired")
		return policy.Violation{}
	}
	f.need("Id")
	v := policy.Violation{
		ID:       cmp.Or(vaultObject(f), strings.TrimPrefix(source+"/"+id, "/")),
		Source:   policy.ViolationFrom{System: "key-vault"},
		Title:    kind,
		Control:  policy.Control{ID: kind},
		Detected: at,
		Observed: at,
		Cred: policy.Credential{
			Start: f.unixTime("NBF"),
			End:   f.unixTime("EXP"),
			Store: policy.KeyStore{Type: "KeyVault", URI: f.bounded("Id", maxURL)},
		},
	}
	if strings.HasPrefix(strings.ToLower(source), "/subscriptions/") {
		v.Cred.Store.ResourceID = cut(source, maxText)
	}
	if strings.EqualFold(f.raw("ObjectType"), "Certificate") {
		v.Cred.Type = "certificate"
	}
	if strings.HasSuffix(kind, "NearExpiry") || strings.HasSuffix(kind, "Expired") {
		v.Due = v.Cred.End
		if !v.Due.IsZero() {
			f.note(f.path("EXP"), "is when it expires, and was taken as the due date")
		}
	}
	return v
}

// vaultObject names the object of an event without its version, as
// "contoso-kv.vault.azure.net/certificates/name": by its address, whose case
// does not matter, or else by the names beside it. It returns "" for neither.
func vaultObject(f fields) string {
	if u, err := url.Parse(f.look("Id")); err == nil && u.Host != "" {
		if parts := strings.Split(strings.Trim(u.Path, "/"), "/"); len(parts) >= 2 {
			return strings.ToLower(u.Host + "/" + parts[0] + "/" + parts[1])
		}
	}
	vault, kind, name := f.look("VaultName"), f.look("ObjectType"), f.look("ObjectName")
	if vault == "" || name == "" {
		return ""
	}
	return strings.ToLower(vault + "/" + kind + "/" + name)
}
