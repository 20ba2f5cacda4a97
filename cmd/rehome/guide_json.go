package main

import "rehome/policy"

// The JSON of `rehome guide`. It is part of the outward contract: names, order
// and types do not change; what is absent is null, and lists are never null.
type guideJSON struct {
	Outcome      policy.Outcome `json:"outcome"`
	Scenario     *string        `json:"scenario"`
	Option       *string        `json:"option"`
	OneCert      *oneCertJSON   `json:"onecert"`
	Redirect     *string        `json:"redirect"`
	Ask          *askJSON       `json:"ask"`
	Facts        []policy.Fact  `json:"facts"`
	Reasons      []string       `json:"reasons"`
	Steps        []stepJSON     `json:"steps"`
	Warnings     []string       `json:"warnings"`
	Requirements []string       `json:"requirements"`
	Links        []policy.Link  `json:"links"`
	Policy       policy.Version `json:"policy"`
	Markdown     string         `json:"markdown"`
}

type oneCertJSON struct {
	Cloud       policy.Cloud `json:"cloud"` // canonical
	Environment string       `json:"environment"`
	Tenant      string       `json:"tenant"`
	AsWritten   string       `json:"asWritten"` // the table's own cell
	Issuer      string       `json:"issuer"`
	Vaults      string       `json:"vaults"`
	CorpDevices string       `json:"corpDevices"`
}

type askJSON struct {
	Fact    policy.FactName `json:"fact"`
	Choices []string        `json:"choices"` // what the flag takes
	Prompt  string          `json:"prompt"`
	Why     string          `json:"why"`
}

type stepJSON struct {
	ID    string   `json:"id"`
	Title string   `json:"title"`
	Text  string   `json:"text"`
	Gate  bool     `json:"gate"`
	Links []string `json:"links"`
}

func contractOf(d policy.Decision) guideJSON {
	out := guideJSON{
		Outcome: d.Outcome, Scenario: orNull(string(d.Scenario)), Option: orNull(d.Option), Redirect: orNull(d.Redirect),
		Facts: list(d.Facts), Reasons: list(d.Reasons), Steps: []stepJSON{}, Warnings: texts(d.Warnings),
		Requirements: []string{}, Links: []policy.Link{}, Policy: d.Policy, Markdown: d.Markdown(),
	}
	if r := d.Row; r != nil {
		out.OneCert = &oneCertJSON{r.Cloud, r.Environment, r.Tenant, r.AsWritten, r.Issuer, r.Vaults, r.CorpDevices}
	}
	if n := d.Need; n != nil {
		out.Ask = &askJSON{Fact: n.Fact, Choices: []string{}, Prompt: n.Prompt, Why: n.Why}
		for _, c := range n.Choices {
			out.Ask.Choices = append(out.Ask.Choices, c.Value)
		}
	}
	if r := d.Remediation; r != nil {
		out.remediation(*r)
	}
	return out
}

func (out *guideJSON) remediation(r policy.Remediation) {
	for _, s := range r.Steps {
		step := stepJSON{ID: s.ID, Title: s.Title, Text: s.Text.String(), Gate: s.Gate, Links: []string{}}
		for _, l := range s.Links {
			step.Links = append(step.Links, l.URL)
		}
		out.Steps = append(out.Steps, step)
	}
	out.Warnings = append(out.Warnings, texts(r.Warnings)...)
	for _, q := range r.Requirements {
		out.Requirements = append(out.Requirements, q.Title+": "+q.Text.String())
	}
	out.Links = list(r.Links)
}

func texts(all []policy.Text) []string {
	out := make([]string, 0, len(all))
	for _, t := range all {
		out = append(out, t.String())
	}
	return out
}

// list makes a list that is [] in JSON when it is empty.
func list[T any](all []T) []T {
	if all == nil {
		return []T{}
	}
	return all
}

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
