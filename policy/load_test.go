package policy

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
)

// with returns the built-in file with one piece of it replaced, as a folder to
// lay over the policy.
func with(t testing.TB, file, old, replacement string) fstest.MapFS {
	t.Helper()
	content, ok := Default().files[file]
	if !ok || !strings.Contains(string(content), old) {
		t.Fatalf("%s does not hold %q", file, old)
	}
	return fstest.MapFS{file: {Data: []byte(strings.Replace(string(content), old, replacement, 1))}}
}

func TestTheBuiltInPolicyIsSound(t *testing.T) {
	if _, err := Load(nil); err != nil {
		t.Fatal(err)
	}
}

func TestAFolderReplacesSingleFiles(t *testing.T) {
	folder := with(t, "policy.csv", "2026-04-30", "2026-06-01")
	folder[".hidden"] = &fstest.MapFile{Data: []byte("x")}
	folder["..data/3p.csv"] = &fstest.MapFile{Data: []byte("x")}
	p, err := Load(folder)
	if err != nil {
		t.Fatal(err)
	}
	v := p.Version(now)
	if v.Version != "2026-06-01" || v.Digest == Default().Version(now).Digest || len(p.Rows(ThirdParty)) != 9 {
		t.Errorf("%+v", v)
	}
	if same, _ := Load(fstest.MapFS{}); same.Version(now).Digest != Default().Version(now).Digest {
		t.Error("an empty folder changes the digest")
	}
}

// A table that was cut off, or a folder where it should be, must not pass for
// the table.
func TestATableThatIsNotThereIsSaid(t *testing.T) {
	for _, file := range []string{"1p.csv", "3p.csv", "titles.csv"} {
		heading, _, _ := strings.Cut(string(Default().Files()[file]), "\n")
		if _, err := Load(fstest.MapFS{file: {Data: []byte(heading + "\n")}}); err == nil || !strings.Contains(err.Error(), file+":1: there is nothing below the heading line; put") {
			t.Errorf("%s with a heading only: %v", file, err)
		}
		if _, err := Load(fstest.MapFS{file + "/x": {Data: []byte("x")}}); err == nil || !strings.Contains(err.Error(), file+":1: this is a folder where a file should be; remove") {
			t.Errorf("%s as a folder: %v", file, err)
		}
	}
}

// Each bad file says where it is bad, what is wrong, and what to do.
func TestBadPolicyFilesSayWhereAndWhatToDo(t *testing.T) {
	const playbook = "playbooks/tenant-mismatch-3p-a.md"
	for _, tt := range []struct {
		name           string
		file, old, new string
		want           string
	}{
		{"a missing column", "3p.csv", "app_tenant,onecert_cloud,", "app_tenant,", `3p.csv:1: column "onecert_cloud" is missing; the columns are app_tenant,onecert_cloud,`},
		{"an unknown column", "1p.csv", "corp_devices", "corp_devises", `1p.csv:1: unknown column "corp_devises"; the columns are`},
		{"too few cells", "3p.csv", "CME,Mooncake,", "CME,", "3p.csv:3: there are 5 cells where the heading names 6; fill in"},
		{"a stray quote", "3p.csv", "CME,Mooncake", `CME,"Mooncake`, "is not valid CSV"},
		{"an unknown cloud", "3p.csv", "GME,Public", "GME,Publik", `3p.csv:4: unknown cloud "Publik"; write Public, Mooncake or Fairfax`},
		{"an environment without a tenant", "3p.csv", "Prod + GME", "Prod", `3p.csv:4: environment "Prod" cannot be read; write it as Prod + AME`},
		{"an empty cell", "3p.csv", "Prod + GME,AME,", "Prod + GME,,", "3p.csv:4: private_issuer is empty; fill it in"},
		{"two empty cells", "3p.csv", "Prod + GME,AME,KV and dSMS,", "Prod + GME,,,", "3p.csv:4: allowed_vaults is empty; fill it in; a remediation shows every cell of its row\n3p.csv:4: private_issuer is empty; fill it in"},
		{"an environment of another tenant", "3p.csv", "Prod + GME", "Prod + PME", "3p.csv:4: the app tenant is GME and the environment is for PME; make the two agree"},
		{"a tenant twice", "3p.csv", "GME,Public", "cme,Public", `3p.csv:4: tenant "cme" already has a row at 3p.csv:3; remove`},
		{"a pair twice", "1p.csv", "GME,Public,Public + Prod + GME", "AME,Public,Public + Prod + AME", "1p.csv:4: SG owner AME in Public already has a row at 1p.csv:2; remove"},
		{"clouds of a row that differ", "1p.csv", "MoonCake + Prod + CME", "Public + Prod + CME", "1p.csv:3: the app cloud is Mooncake and the settings are for Public; make the two agree"},
		{"settings that cannot be read", "1p.csv", "MoonCake + Prod + CME", "MoonCake", `1p.csv:3: settings "MoonCake" cannot be read; write`},
		{"an environment that is none", "1p.csv", "Public + Prod + GME", "Public + Stage + GME", `1p.csv:4: environment "Stage" is not known; write Prod`},
		{"one of the other table", "3p.csv", "GME,Public,Prod + GME", "GME,Public,Pord + GME", `3p.csv:4: environment "Pord" is not known; write Prod`},
		{"a target tenant that is none", "1p.csv", "Public + Prod + GME", "Public + Prod + GMEE", `1p.csv:4: 3p.csv has no tenant "GMEE" in Public; correct the tenant`},
		{"a target tenant of another cloud", "1p.csv", "Public + Prod + GME", "Public + Prod + USME", `1p.csv:4: 3p.csv has no tenant "USME" in Public; correct the tenant`},
		{"an owner without a name", "1p.csv", "CME / AME / PME", "CME / / PME", "1p.csv:3: the SG owner cell has an empty name"},
		{"a title twice in another spelling", "titles.csv", "APP-09,secrets-only,secrets-only,no,", "app–09,rotation,rotation,no,\nAPP-09,secrets-only,secrets-only,no,", `titles.csv:17: title "APP-09" is already there on line 16; remove`},
		{"an unknown class", "titles.csv", "rotation-expired", "rotation-late", `titles.csv:8: unknown class "rotation-late"; the classes are`},
		{"an unknown scenario", "titles.csv", "tenant-mismatch,tenant-mismatch", "tenant-mismatch,tenants", `titles.csv:2: unknown scenario "tenants"`},
		{"a choice that is too long", "titles.csv", "AAD Entra Apps in Prod", "All of the many AAD Entra Apps in Prod", "titles.csv:2: the title is longer than 75 bytes"},
		{"a host that is none", "clouds.csv", ".vault.azure.net", ".vault azure net", `clouds.csv:8: ".vault azure net" is not a host name`},
		{"a host twice", "clouds.csv", ".vault.azure.cn", ".VAULT.azure.net", `clouds.csv:9: host ".vault.azure.net" is already there on line 8`},
		{"an unknown kind", "clouds.csv", "Public,portal", "Public,gate", `unknown kind "gate"; the kinds are`},
		{"a host in an unknown cloud", "clouds.csv", "portal.azure.com,Public", "portal.azure.com,", `unknown cloud ""`},
		{"a retired host without a reason", "clouds.csv", "retired,Microsoft Cloud Germany was retired in October 2021", "retired,", "a retired host needs a note"},
		{"an alias twice", "aliases.csv", "app_cloud,Public,AzureCloud", "app_cloud,Public,COMMERCIAL", `aliases.csv:12: alias "COMMERCIAL" is already there on line 10`},
		{"an alias of another value", "aliases.csv", "app_cloud,Mooncake,China", "app_cloud,Mooncake,Public", `"Public" already means something else; choose`},
		{"an alias of nothing", "aliases.csv", "app_cloud,Mooncake,China", "app_cloud,Moon,China", `unknown cloud "Moon"; write Public, Mooncake or Fairfax`},
		{"an alias of an unknown fact", "aliases.csv", "app_cloud,Mooncake,China", "cloud,Mooncake,China", `unknown fact "cloud"`},
		{"an empty alias", "aliases.csv", "app_cloud,Mooncake,China", "app_cloud,Mooncake,-", "the alias is empty"},
		{"a link twice", "links.csv", "dsms-basics,", "kv-template,", `link key "kv-template" is already there`},
		{"a link that runs something", "links.csv", "https://aka.ms/ccoa", "javascript:alert(1)", "neither http nor https"},
		{"a link with a space", "links.csv", "https://aka.ms/ccoa", "https://aka.ms/cc oa", "is not an address"},
		{"a link under an unknown condition", "links.csv", "store=dSMS|unknown", "shop=KV", `unknown condition "shop"; conditions are on store,`},
		{"a link under an impossible condition", "links.csv", "store=dSMS|unknown", "store=AKV", `condition store cannot be "AKV"; it is KV, dSMS or unknown`},
		{"a link without an address", "links.csv", "https://aka.ms/ccoa", "", "a cell is empty; fill in key, title and url"},
		{"a day that is none", "policy.csv", "2026-04-30", "April", `policy.csv:2: version "April" is not a day; write`},
		{"an age that is none", "policy.csv", "180", "half a year", `policy.csv:3: max_age_days "half a year" is not a number`},
		{"a missing name", "policy.csv", "max_age_days,180\n", "", `policy.csv:1: "max_age_days" is missing; add a line`},
		{"an unknown name", "policy.csv", "max_age_days", "max_age", `policy.csv:3: unknown name "max_age"; the names are`},
		{"an id that is none", "policy.csv", "f8cdef31-a31e-4b4a-93e4-5f571e91255a", "f8cdef31", `policy.csv:4: "f8cdef31" is not a tenant id`},
		{"an unknown link in a requirement", "requirements.md", "link:sdp", "link:sdq", `requirements.md:4: unknown link key "sdq"; add it to links.csv`},
		{"a playbook for the same way", "playbooks/tenant-mismatch-3p-b.md", "option: B", "option: A", `label "Option B — Move the app to the non-prod tenant" does not begin with its option`},
		{"a way without a playbook", "playbooks/rotation.md", "scenario: rotation", "scenario: rotating", `playbooks:1: there is no playbook for scenario "rotation", party "", option ""; put these three`},
		{"no front matter", playbook, "---\n", "", playbook + ":1: there is no front matter"},
		{"an unknown name in the front matter", playbook, "hint:", "tip:", playbook + `:8: unknown name "tip"; the names are id,`},
		{"no threat", playbook, "threat:", "hint:", `the front matter has no "threat"; add`},
		{"an unknown party", playbook, "party: 3P", "party: 2P", playbook + `:4: unknown party "2P"; write 1P or 3P`},
		{"unknown settings", playbook, "settings: required", "settings: maybe", `unknown settings "maybe"; write required, optional or none`},
		{"a step without a gate before it", playbook, "gate: true\n", "", `step "disable-old" takes trust away and no gate stands before it; put`},
		{"a gate that is not always there", playbook, "gate: true\n", "gate: true\nwhen: store=KV\n", "no gate stands before it"},
		{"a step that hides what it does", playbook, "untrusts: true\n", "", `step "disable-old" takes trust away but is not marked; add a line untrusts: true`},
		{"a step twice", playbook, "## switch-app:", "## issue-certificate:", `step id "issue-certificate" is already there on line`},
		{"a step without a source", playbook, "source: guide-cert-rehoming, scenario 1, 3P option A, step 4\n", "", `step "switch-app" has no source`},
		{"a heading without an id", playbook, "## switch-app: Move", "## Move", `heading "Move the app`},
		{"an unknown link", playbook, "links: kv-template", "links: kv-tmplate", `unknown link key "kv-tmplate"`},
		{"an unknown link in the text", playbook, "[R2D request](link:r2d)", "[R2D request](link:r2)", `unknown link key "r2"`},
		{"an unknown blank", playbook, "{vaults}", "{vault}", `unknown blank {vault}; the blanks are {app}`},
		{"a shared text that is not there", playbook, "text: prove-unused", "text: prove-used", `there is no steps/prove-used.md for step "prove-unused"; write one of steps/prove-unused.md`},
		{"a shared text and another", playbook, "text: prove-unused\n", "text: prove-unused\n\nHello.\n", `step "prove-unused" has a text here and in steps/prove-unused.md; take out`},
		{"a shared text that says nothing", "steps/prove-unused.md", string(Default().Files()["steps/prove-unused.md"]), "\n", `step "prove-unused" has no text; say what to do`},
		{"a blank that may stay open", "steps/prove-unused.md", "when thumbprint=known: - No row", "- No row", "blank {thumbprint} may have nothing to fill in here; put the line under “when thumbprint=known: ”"},
		{"a row's blank where there is no row", "playbooks/tenant-mismatch-3p-b.md", "Expect downtime.", "Expect downtime in {tenant}.", "blank {tenant} may have nothing to fill in here"},
		{"outside words that are stressed", playbook, "where {app} is registered", "where **{app}** is registered", "{app} cannot be stressed"},
		{"a block without an end", "playbooks/secrets-only.md", "$secretKeyId\n```\n", "$secretKeyId\n", "the block does not end; close it"},
		{"words before the first step", playbook, "\n## create-vault", "\nHello\n## create-vault", "there is text before the first step"},
		{"a line that is never read", playbook, "- Allowed vaults", "when party=1P: - Allowed vaults", "the condition on party never holds in this playbook; remove the line; here it is 3P"},
		{"lines that contradict their step", "playbooks/rotation.md", "untrusts: true\n\nDisable", "untrusts: true\nwhen: row=no\n\nwhen row=yes: Disable", "the condition on row never holds in this playbook"},
		{"a step that is never there", playbook, "gate: true\n", "gate: true\nwhen: expired=yes\n", "the condition on expired never holds in this playbook"},
		{"a threat for one case only", "playbooks/tenant-mismatch-1p-a.md", "threat: when handoff=no:", "threat: when handoff=yes:", `the lines "threat" do not cover every case once; give one line`},
		{"threats on different things", "playbooks/tenant-mismatch-1p-a.md", "threat: when handoff=no:", "threat: when store=KV:", `the lines "threat" are not on one condition each`},
		{"two threats at once", playbook, "threat: An", "threat: Another.\nthreat: An", `the lines "threat" are not on one condition each`},
		{"a hint that a row makes too long", playbook, "hint: Recommended: new vault", "hint: Recommended for {tenant} and {settings}: new vault", "the hint is longer than 75 characters: “"},
		{"not UTF-8", "requirements.md", "SDP", "\xff", "requirements.md:3: the file is not UTF-8; save it as UTF-8"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Load(with(t, tt.file, tt.old, tt.new))
			if err == nil {
				t.Fatal("it was loaded")
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got\n%v\nwant\n%s", err, tt.want)
			}
			for line := range strings.Lines(err.Error()) {
				at, rest, _ := strings.Cut(line, ": ")
				if _, n, ok := strings.Cut(at, ":"); !ok || n == "" || !strings.Contains(rest, "; ") {
					t.Errorf("%q does not say where and what to do", line)
				}
			}
		})
	}
}

// A select in Slack holds a hundred options.
func TestNoMoreTitlesAreOfferedThanASelectHolds(t *testing.T) {
	content := string(Default().Files()["titles.csv"])
	offered := strings.Count(content, ",yes,")
	for i := range 101 - offered {
		content += fmt.Sprintf("Contoso finding %d,rotation,rotation,yes,\n", i)
		_, err := Load(fstest.MapFS{"titles.csv": {Data: []byte(content)}})
		if full := offered+i+1 > 100; full != (err != nil) || full && !strings.Contains(err.Error(), "more than 100 titles are offered, and a select holds no more; write no") {
			t.Fatalf("%d titles: %v", offered+i+1, err)
		}
	}
}

// What several playbooks share is read for each of them, and its faults are
// said once, where they are.
func TestAFaultInASharedTextIsSaidOnce(t *testing.T) {
	_, err := Load(with(t, "steps/prove-unused.md", "{thumbprint}", "{fingerprint}"))
	if want := "steps/prove-unused.md:16: unknown blank {fingerprint}; the blanks are {app}"; err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "\n") {
		t.Errorf("got\n%v\nwant %s, once", err, want)
	}
}

func TestAllThatIsWrongIsSaidAtOnce(t *testing.T) {
	folder := with(t, "3p.csv", "GME,Public", "GME,Publik")
	folder["links.csv"] = &fstest.MapFile{Data: []byte("key,title\n")}
	folder["playbook.md"] = &fstest.MapFile{Data: []byte("x")}
	folder["big.csv"] = &fstest.MapFile{Data: []byte("x")}
	folder["titles.csv"] = &fstest.MapFile{Data: make([]byte, maxFileSize+1)}
	_, err := Load(folder)
	for _, want := range []string{"3p.csv:4: unknown cloud", "links.csv:1: column", "playbook.md:1: this is not a policy file; remove it", "titles.csv:1: it is larger than 1 MiB"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not said in\n%v", want, err)
		}
	}
}

// brokenFS cannot be read.
type brokenFS struct{}

func (brokenFS) Open(string) (fs.File, error) { return nil, errors.New("no such folder") }

func TestAFolderThatCannotBeReadIsAnError(t *testing.T) {
	if _, err := Load(brokenFS{}); err == nil || !strings.Contains(err.Error(), "cannot be read (no such folder); check that the folder exists") {
		t.Errorf("%v", err)
	}
}

func FuzzLoad(f *testing.F) {
	for name, content := range Default().Files() {
		f.Add(name, content)
	}
	f.Fuzz(func(t *testing.T, name string, content []byte) {
		if _, ok := Default().files[name]; !ok {
			return
		}
		p, err := Load(fstest.MapFS{name: {Data: content}})
		if err != nil {
			return
		}
		for _, title := range p.Titles() {
			_ = p.Decide(answered("violation", title.Text, "party", "3P", "app_tenant", "AME", "option", "A"), now).Markdown()
		}
	})
}
