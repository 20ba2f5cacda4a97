package intake

import (
	"cmp"
	"fmt"
	"strings"

	"rehome/policy"
)

// The shapes of Azure and Entra. Each says which document its names are from.

// entraRecommendation reads a recommendation of Microsoft Entra together with
// the resources it is about, one violation for each (Graph beta, resource types
// recommendation and impactedResource). An impacted resource alone is understood, too.
func entraRecommendation(f fields) []Alert {
	if !f.has("impactedResources") {
		if f.has("subjectId") {
			return f.impacted(fields{reading: f.reading})
		}
		f.fault("impactedResources", "is missing; ask Graph for it with $expand=impactedResources")
		return nil
	}
	var alerts []Alert
	for _, resource := range f.list("impactedResources") {
		alerts = append(alerts, resource.impacted(f)...)
	}
	return alerts
}

// impacted reads one impacted resource of a recommendation. What is wrong with
// it is no reason to do without the others.
func (f fields) impacted(rec fields) []Alert {
	before := len(f.faults)
	f.need("id")
	recommendation := cmp.Or(f.bounded("recommendationId", maxText), rec.bounded("id", maxText))
	if recommendation == "" {
		f.fault("recommendationId", "is missing; add it, or the recommendation around the resource")
	}
	kind := cmp.Or(rec.text("recommendationType"), nickname(recommendation))
	title := cmp.Or(rec.bounded("displayName", maxTitle), kind)
	details := f.pairs("additionalDetails")
	v := policy.Violation{
		ID:       recommendation + "|" + f.bounded("id", maxText),
		Source:   policy.ViolationFrom{System: "entra-recommendation", URL: f.address("portalUrl")},
		Title:    title,
		Control:  policy.Control{ID: kind},
		Severity: rec.mapped("priority", map[string]string{"low": "Low", "medium": "Medium", "high": "High"}),
		Status:   f.entraStatus(rec),
		Detected: f.looseTime("addedDateTime"),
		Observed: rec.looseTime("lastCheckedDateTime"),
		Due:      rec.looseTime("impactStartDateTime"),
		ETA:      f.looseTime("postponeUntilDateTime"),
		Owner:    person(f.text("owner")),
		App: policy.App{
			AppID:       details.guid("AppId"),
			DisplayName: f.text("displayName"),
			TenantID:    tenantOf(recommendation),
		},
		Cred: policy.Credential{
			KeyID: details.guid("CredentialId"),
			End:   details.looseTime("ExpirationDate"),
		},
	}
	f.subject(&v)
	if v.Cred.KeyID != "" {
		v.ID += "|" + v.Cred.KeyID
	}
	if v.Title == "" {
		f.fault("recommendationId", "names no recommendation, and none is around it; add its displayName")
	}
	if len(f.faults) > before {
		return nil
	}
	return []Alert{{Shape: Entra, Violation: v}}
}

// subject reads which app a resource is. Recommendations about people are none
// of ours.
func (f fields) subject(v *policy.Violation) {
	switch kind := strings.ToLower(f.raw("resourceType")); kind {
	case "", "app", "application":
		v.App.AppID = cmp.Or(v.App.AppID, f.guid("subjectId"))
	case "serviceprincipal":
		v.App.ServicePrincipalID = f.guid("subjectId")
	default:
		f.fault("resourceType", "is neither an application nor a service principal; send recommendations about apps only")
		return
	}
	if v.App.AppID == "" && v.App.ServicePrincipalID == "" {
		f.fault("subjectId", "names no application; add its app id")
	}
}

// entraStatus is the resource's own state; a recommendation that is over is so
// for all of its resources.
func (f fields) entraStatus(rec fields) string {
	states := map[string]string{"active": "active", "completedbysystem": "resolved", "completedbyuser": "resolved",
		"dismissed": "dismissed", "postponed": "postponed", "unknownfuturevalue": ""}
	whole, own := rec.mapped("status", states), f.mapped("status", states)
	if (policy.Violation{Status: whole}).Over() {
		return whole
	}
	return cmp.Or(own, whole)
}

// tenantOf returns the tenant a recommendation's id begins with
// ("<tenant id>_Microsoft.Identity.IAM.Insights.ApplicationCredentialExpiry").
func tenantOf(recommendation string) string {
	tenant, _, _ := strings.Cut(recommendation, "_")
	if guidForm.MatchString(tenant) {
		return strings.ToLower(tenant)
	}
	return ""
}

// nickname returns what a recommendation's id ends with.
func nickname(recommendation string) string {
	if !strings.Contains(recommendation, "_") {
		return ""
	}
	return recommendation[strings.LastIndexByte(recommendation, '.')+1:]
}

// azureMonitor reads an alert in Azure Monitor's common alert schema. Which app
// it is about stands in the custom properties of its rule, which its author
// fills in: appId, appDisplayName, appTenantId, keyId, thumbprint, vaultUri and
// the other names below.
func azureMonitor(f fields) policy.Violation {
	if s := f.raw("schemaId"); s != "" && s != "azureMonitorCommonAlertSchema" {
		f.fault("schemaId", "must be azureMonitorCommonAlertSchema; switch the action group to the common alert schema")
		return policy.Violation{}
	}
	d := f.object("data")
	e := d.object("essentials")
	e.need("alertRule", "monitorCondition")
	custom := d.object("customProperties")
	if len(custom.o) == 0 {
		custom = f.object("customProperties") // where the documentation's sample has it
	}
	id := cmp.Or(custom.bounded("findingId", maxText), e.bounded("originAlertId", maxText), e.bounded("alertId", maxText))
	if id == "" {
		e.fault("originAlertId", "is missing, and so is alertId; add either")
	}
	v := policy.Violation{
		ID:       id,
		Source:   policy.ViolationFrom{System: "azure-monitor"},
		Title:    cmp.Or(custom.bounded("title", maxTitle), e.bounded("alertRule", maxTitle)),
		Control:  policy.Control{ID: custom.text("controlId"), Name: custom.text("controlName")},
		Severity: e.mapped("severity", map[string]string{"sev0": "Critical", "sev1": "High", "sev2": "Medium", "sev3": "Low", "sev4": "Informational"}),
		Status:   e.mapped("monitorCondition", map[string]string{"fired": "active", "resolved": "resolved"}),
		Detected: e.looseTime("firedDateTime"),
		Observed: e.looseTime("resolvedDateTime"),
		Due:      custom.looseTime("dueDateTime"),
		Owner:    person(custom.first("owner", "ownerAlias", "ownerEmail")),
		Service:  policy.Service{ID: custom.text("serviceId"), Name: custom.first("service", "serviceName")},
		App:      customApp(custom),
		Cred:     customCredential(custom),
		Fix:      policy.FixLinks{URL: custom.address("remediationUrl"), WorkItemURL: custom.address("workItemUrl")},
	}
	if items := e.texts("configurationItems"); v.Service == (policy.Service{}) && len(items) > 0 {
		v.Service.ID = items[0]
	}
	if v.Nameless() && !v.Over() { // what is over is known by its id
		d.fault("customProperties", "names neither an app nor a credential; add appId, keyId, thumbprint or vaultUri to the custom properties of the alert rule")
	}
	return v
}

// customApp reads what the author of a rule says of the app.
func customApp(f fields) policy.App {
	return policy.App{
		AppID:              firstGUID(f, "appId", "applicationId"),
		ObjectID:           f.guid("appObjectId"),
		ServicePrincipalID: firstGUID(f, "servicePrincipalObjectId", "servicePrincipalId"),
		DisplayName:        f.first("appDisplayName", "appName"),
		TenantID:           firstGUID(f, "appTenantId", "appHomeTenantId"),
		TenantName:         f.first("appTenant", "appTenantName"),
		OwnerOrg:           f.guid("appOwnerOrganizationId"),
		Cloud:              f.first("appCloud", "cloud"),
		Authority:          f.bounded("authority", maxURL),
		Party:              f.oneOf("party", string(policy.FirstParty), string(policy.ThirdParty)),
		SGOwnerTenant:      f.text("sgOwnerTenant"),
	}
}

func customCredential(f fields) policy.Credential {
	return policy.Credential{
		KeyID:       firstGUID(f, "keyId", "credentialId"),
		Thumbprint:  f.thumbprint("thumbprint"),
		SubjectName: f.text("subjectName"),
		End:         f.looseTime("endDateTime"),
		Store:       policy.KeyStore{URI: f.bounded("vaultUri", maxURL), TenantID: f.guid("vaultTenantId")},
	}
}

func firstGUID(f fields, names ...string) string {
	for _, name := range names {
		if id := f.guid(name); id != "" {
			return id
		}
	}
	return ""
}

// isAssessment recognises an assessment by its resource type.
func isAssessment(f fields) bool {
	return strings.EqualFold(f.look("type"), "Microsoft.Security/assessments") ||
		strings.Contains(strings.ToLower(f.look("id")), "/providers/microsoft.security/assessments/")
}

// defender reads an assessment of Defender for Cloud (Microsoft.Security
// assessments, 2021-06-01), with its governance assignment where whoever sends
// it put that beside it, as governanceAssignment.
func defender(f fields) policy.Violation {
	f.need("id")
	p := f.object("properties")
	metadata, more, status := p.object("metadata"), p.object("additionalData"), p.object("status")
	title := cmp.Or(p.bounded("displayName", maxTitle), metadata.bounded("displayName", maxTitle))
	if title == "" {
		p.need("displayName")
	}
	status.need("code")
	v := policy.Violation{
		ID:       f.bounded("id", maxText),
		Source:   policy.ViolationFrom{System: "defender-for-cloud", URL: p.object("links").address("azurePortal")},
		Title:    title,
		Control:  policy.Control{ID: f.text("name")},
		Severity: metadata.mapped("severity", map[string]string{"low": "Low", "medium": "Medium", "high": "High", "critical": "Critical"}),
		Status: status.mapped("code", map[string]string{"unhealthy": "active", "healthy": "resolved",
			"notapplicable": "dismissed"}),
		Detected: status.looseTime("firstEvaluationDate"),
		Observed: status.looseTime("statusChangeDate"),
		Service:  policy.Service{ID: p.object("resourceDetails").text("id")},
		App:      customApp(more),
		Cred:     customCredential(more),
	}
	governance(f, p, &v)
	if v.Nameless() && !v.Over() { // what is over is known by its id
		p.fault("additionalData", "names neither an app nor a credential; add appId, keyId, thumbprint or vaultUri to the assessment's additional data")
	}
	return v
}

// governance reads who is to fix it and by when. An ETA's justification is not
// kept: it is for whoever set the date.
func governance(f, p fields, v *policy.Violation) {
	g := f.object("governanceAssignment")
	if len(g.o) == 0 {
		g = p.object("governanceAssignment")
	}
	if g.has("properties") {
		g = g.object("properties")
	}
	v.Owner = person(g.text("owner"))
	v.Due = g.looseTime("remediationDueDate")
	v.ETA = g.object("remediationEta").looseTime("eta")
	v.Fix.WorkItemURL = g.object("additionalData").address("ticketLink")
	if g.yes("isGracePeriod") {
		v.SLAState = "OnTime" // for as long as it lasts
	}
}

// sentinel reads a row of the table SecurityAlert. Its TenantId is the
// workspace's and says nothing of the app, so it is not read.
func sentinel(f fields) policy.Violation {
	id := cmp.Or(f.bounded("SystemAlertId", maxText), f.bounded("VendorOriginalId", maxText))
	if id == "" {
		f.need("SystemAlertId")
	}
	title := cmp.Or(f.bounded("AlertName", maxTitle), f.bounded("DisplayName", maxTitle))
	if title == "" {
		f.need("AlertName")
	}
	v := policy.Violation{
		ID:       id,
		Source:   policy.ViolationFrom{System: "sentinel", URL: f.address("AlertLink")},
		Title:    title,
		Control:  policy.Control{ID: f.text("AlertType")},
		Severity: f.mapped("AlertSeverity", map[string]string{"informational": "Informational", "low": "Low", "medium": "Medium", "high": "High"}),
		Status: f.mapped("Status", map[string]string{"new": "active", "inprogress": "active", "resolved": "resolved",
			"dismissed": "dismissed", "unknown": ""}),
		Detected: f.looseTime("StartTime"),
		Observed: f.looseTime("EndTime"),
	}
	extended := f.embedded("ExtendedProperties")
	custom := extended.embedded("Custom Details")
	v.App, v.Cred = customApp(custom), customCredential(custom)
	if v.App == (policy.App{}) && v.Cred == (policy.Credential{}) {
		v.App, v.Cred = customApp(extended), customCredential(extended)
	}
	entities(f, &v)
	v.App.DisplayName = cmp.Or(v.App.DisplayName, f.text("CompromisedEntity"))
	if v.Nameless() && !v.Over() { // what is over is known by its id
		f.fault("ExtendedProperties", "names neither an app nor a credential; add appId, keyId, thumbprint or vaultUri as custom details of the analytics rule")
	}
	return v
}

// entities takes the app from a cloud application among the alert's entities,
// where its AppId is one of Entra: it may be the number of a catalogue.
func entities(f fields, v *policy.Violation) {
	for _, e := range f.list("Entities") {
		if !strings.EqualFold(e.look("Type"), "cloud-application") {
			continue
		}
		if id := e.look("AppId"); v.App.AppID == "" && guidForm.MatchString(id) {
			v.App.AppID = strings.ToLower(id)
		}
		v.App.DisplayName = cmp.Or(v.App.DisplayName, e.text("Name"))
	}
}

// mapped returns what a feed's word means here.
func (f fields) mapped(name string, words map[string]string) string {
	s := f.raw(name)
	if s == "" {
		return ""
	}
	meaning, known := words[strings.ToLower(s)]
	if !known {
		f.note(f.path(name), "is a word not known here and was not taken")
	}
	return meaning
}

// look returns a text without judging it, "" for anything else.
func (f fields) look(name string) string {
	s, _ := f.get(name).value.(string)
	return oneLine(s)
}

// embedded returns an object, also one that is sent as a text of JSON. A member
// of it that is a list of one is that one (Sentinel's custom details).
func (f fields) embedded(name string) fields {
	in := fields{reading: f.reading, at: f.path(name)}
	switch v := f.get(name).value.(type) {
	case object:
		in.o = v
	case string:
		if strings.TrimSpace(v) == "" {
			return in
		}
		o, err := parse([]byte(v))
		if err != nil {
			f.fault(name, "holds no JSON object")
			return in
		}
		in.o = o
	case nil:
	default:
		f.fault(name, "must be a JSON object, or a text that holds one")
	}
	for k, m := range in.o {
		if one, ok := m.value.([]any); ok && len(one) == 1 {
			in.o[k] = member{m.name, one[0]}
		}
	}
	return in
}

// list returns the objects of a list, also of one that is sent as a text of
// JSON. Anything in it that is no object is a fault.
func (f fields) list(name string) []fields {
	value := f.get(name).value
	if s, ok := value.(string); ok && strings.TrimSpace(s) != "" {
		o, err := parse([]byte(`{"list":` + s + `}`))
		if err != nil {
			f.fault(name, "holds no JSON list")
			return nil
		}
		value = o["list"].value
	}
	all, ok := value.([]any)
	if !ok {
		if s, text := value.(string); value != nil && (!text || strings.TrimSpace(s) != "") {
			f.fault(name, "must be a list")
		}
		return nil
	}
	out := make([]fields, 0, len(all))
	for i, v := range all {
		at := fmt.Sprintf("%s[%d]", f.path(name), i)
		o, ok := v.(object)
		if !ok {
			say(&f.faults, at, "must be a JSON object")
			continue
		}
		out = append(out, fields{f.reading, at, o})
	}
	return out
}

// texts returns the texts of a list.
func (f fields) texts(name string) []string {
	all, _ := f.get(name).value.([]any)
	var out []string
	for _, v := range all {
		if s, ok := v.(string); ok {
			out = append(out, cut(oneLine(s), maxText))
		}
	}
	return out
}

// pairs returns a list of key and value (Graph's keyValue) as an object.
func (f fields) pairs(name string) fields {
	in := fields{reading: f.reading, at: f.path(name), o: object{}}
	for _, pair := range f.list(name) {
		if key := pair.look("key"); key != "" {
			in.o[fold(key)] = member{key, pair.o["value"].value}
		}
	}
	return in
}
