package policy

// An Outcome is what deciding comes to. The words are part of the outward
// contract (`rehome guide --format json`).
type Outcome string

const (
	Steps       Outcome = "steps"         // a remediation, every value filled in
	Ask         Outcome = "ask"           // one fact is missing: Decision.Need
	Conflict    Outcome = "conflict"      // two facts contradict each other: Decision.Need asks which holds
	NoPolicyRow Outcome = "no_policy_row" // the tables have no row; never a fallback
	Redirect    Outcome = "redirect"      // another guide owns it: Decision.Redirect
	Refused     Outcome = "refused"       // not permitted (cross-cloud control plane)
	OutOfScope  Outcome = "out_of_scope"  // not a title this policy knows
)

// A Scenario is the kind of violation, as the outward contract spells it.
type Scenario string

const (
	TenantMismatch Scenario = "tenant-mismatch"
	CloudMismatch  Scenario = "cloud-mismatch"
	SGMismatch     Scenario = "sg-mismatch"
	SecretsOnly    Scenario = "secrets-only"
	Rotation       Scenario = "rotation"
)

// A Decision is everything the policy has to say about a set of facts. It is
// made anew whenever a fact changes and holds no state of its own.
type Decision struct {
	Outcome     Outcome
	Scenario    Scenario // "" while unknown
	Option      string   // A, B, 1, 2, 3; "" while undecided or not applicable
	Row         *Row     // the policy row that applies; nil where none is needed or exists
	Redirect    string   // guide-advanced-remediation or assist-sg-update, with Outcome Redirect
	Need        *Need    // with Outcome Ask and Conflict
	Summary     Text     // the decision in one or two sentences, for every outcome
	Reasons     []string // each step of the way: which rule, which fact, from where
	Warnings    []Text   // what a person must hear besides the steps
	Remediation *Remediation
	Facts       []Fact  // what it was made from: the strongest claim for each name, inferred ones included
	Policy      Version // which policy decided, for every outcome
}

// A Need is the one thing to be asked next.
type Need struct {
	Fact    FactName
	Prompt  string   // the question, e.g. "Is this a first-party (1P) or a third-party (3P) app?"
	Why     string   // why it is asked, and what is already known
	Choices []Choice // every value that can be chosen, in the tables' order; the suggested one first
}

// A Choice is one possible answer. Label begins with the value as the tables
// write it and is at most 75 characters (Slack's limit for a button); Value is
// what `rehome guide`'s flag takes, at most 75 bytes.
type Choice struct {
	Value     string
	Label     string
	Hint      string // one line of help, may be empty, at most 75 characters
	Suggested bool   // offered first; never taken by itself
}

// A Row is one row of a policy table, looked up for one tenant and cloud.
// Source: seed 000, "Policy Tables".
type Row struct {
	Table       Party  // which table
	Key         string // the key cell as written: "AME", or "CME / AME / PME"
	Cloud       Cloud  // canonical
	Environment string // canonical: Prod
	Tenant      string // the tenant the new certificate belongs in; may differ from the SG owner's tenant
	AsWritten   string // the settings cell or cells as the table spells them
	Issuer      string // private issuer; AME in every row, which is not the tenant AME
	Vaults      string // "KV and dSMS"
	CorpDevices string // "No"
	File        string // the file and line the row stands in, e.g. "3p.csv:2"
}

// Party is 1P or 3P.
type Party string

// Cloud is a canonical cloud name.
type Cloud string

const (
	FirstParty Party = "1P"
	ThirdParty Party = "3P"

	Public   Cloud = "Public"
	Mooncake Cloud = "Mooncake"
	Fairfax  Cloud = "Fairfax"
)

// A Remediation is a playbook with every blank filled in.
type Remediation struct {
	Playbook     string // id of the playbook it came from, e.g. "tenant-mismatch-3p-a"
	Title        string // e.g. "Move the certificate to the production tenant"
	Threat       string // what an attacker could do: one sentence
	Settings     []Setting
	Steps        []Step
	Warnings     []Text
	Requirements []Requirement // hold for every remediation (seed 000, "Key Requirements")
	Links        []Link
	Policy       Version
}

// A Setting is one value to enter in OneCert, as the table spells it.
type Setting struct{ Name, Value string }

// A Step is one thing to do, in order.
type Step struct {
	ID     string // stable within the playbook: "issue-certificate"
	Title  string
	Text   Text
	Gate   bool // nothing after it may be done until it has been shown or attested
	Links  []Link
	Source string // where the rule comes from: "guide-cert-rehoming, scenario 1, 3P option A, step 3"
}

// A Requirement holds for every remediation.
type Requirement struct {
	Title string
	Text  Text
}

// A Link is a named address out of configuration. URL is http or https only.
type Link struct {
	Title string `json:"title"`
	URL   string `json:"url"`
}

// A Version says which policy decided.
type Version struct {
	Version string `json:"version"`         // the date the policy was last reviewed, 2026-04-30
	Digest  string `json:"digest"`          // sha256:… over every policy file
	Stale   string `json:"stale,omitempty"` // a sentence when the policy is older than its set age, else ""
}
