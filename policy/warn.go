package policy

import "fmt"

// warn adds what a person must hear besides the outcome: claims that
// contradict each other, words that were not taken for facts, and signs that
// the violation is not, or not only, what its title says.
func (c *course) warn() {
	c.warnContradictions()
	c.warnUnclear()
	c.warnHosts()
	c.warnNoRow()
	switch c.d.Scenario {
	case CloudMismatch:
		c.warnCloudsAgree()
		c.warnNonProd()
	case TenantMismatch:
		c.warnCloudsDiffer()
	case Rotation:
		c.warnWrongVault()
	case SGMismatch, SecretsOnly:
	}
	if row := c.d.Row; row != nil && row.Table == FirstParty {
		if owner := c.f.Value(SGOwner); owner != row.Tenant {
			c.warning(Text{{Kind: Bold, Text: fmt.Sprintf("Target tenant: %s (policy row; SG owner is %s).", row.Tenant, owner)},
				{Kind: Plain, Text: " The table sends this pair to another tenant than the owner's; the table counts."}})
		}
	}
}

// warnNoRow says why there are steps without a policy row although its key is
// known: nobody should take them for checked by the tables.
func (c *course) warnNoRow() {
	if c.d.Outcome != Steps || c.d.Row != nil {
		return
	}
	tenant, owner, cloud := c.f.Value(AppTenant), c.f.Value(SGOwner), c.f.Value(AppCloud)
	row, outcome := c.lookup(c.path.Party)
	switch {
	case outcome == Conflict:
		c.warning(Text{{Kind: Plain, Text: "Two facts contradict each other: the app's tenant "}, {Kind: Value, Text: tenant},
			{Kind: Plain, Text: fmt.Sprintf(" is in %s (%s), and the app's cloud is said to be %s. No policy row was used; change the one that is wrong.", row.Cloud, row.File, cloud)}})
	case outcome == Redirect:
		c.warning(Text{{Kind: Plain, Text: "The security group's owner is " + owner + ", which is an invalid SG owner, so no policy row was used. Have the group corrected with "},
			{Kind: Bold, Text: assistSG}, {Kind: Plain, Text: " as well."}})
	case outcome == NoPolicyRow && c.path.Party == ThirdParty:
		c.warning(Text{{Kind: Plain, Text: "There is no policy row for a 3P app in "}, {Kind: Value, Text: tenant}, {Kind: Plain, Text: ". Check the tenant."}})
	case outcome == NoPolicyRow:
		in := ""
		if cloud != "" {
			in = " in " + cloud
		}
		c.warning(Text{{Kind: Plain, Text: "There is no policy row for a 1P app with SG owner "}, {Kind: Value, Text: owner}, {Kind: Plain, Text: in + ". Check the owner and the cloud."}})
	}
}

// warnContradictions names both claims where two sources differ on a fact. The
// decision went by the stronger one.
func (c *course) warnContradictions() {
	for _, name := range []FactName{Violated, PartyFact, OwnerOrg, AppTenant, SGOwner, AppCloud, CertCloud, CertTenant} {
		best, _ := c.f.Get(name)
		for _, source := range precedence {
			other, ok := c.f.Claim(name, source)
			if !ok || other.Value == best.Value {
				continue
			}
			c.warning(Text{
				{Kind: Plain, Text: fmt.Sprintf("Two sources differ on the %s: ", name.Words())},
				{Kind: Value, Text: fmt.Sprintf("%s (%s)", best.Value, best.how())}, {Kind: Plain, Text: " and "},
				{Kind: Value, Text: fmt.Sprintf("%s (%s)", other.Value, other.how())},
				{Kind: Plain, Text: ". I go by the first" + ifWrong(name)},
			})
		}
	}
}

// ifWrong says what to do when the weaker of two claims is right: what nobody is
// asked for is put right where it came from.
func ifWrong(name FactName) string {
	switch name {
	case OwnerOrg, CertCloud, CertTenant:
		return "."
	}
	return "; change it if the second is right."
}

// warnUnclear repeats what was stated but was not taken for a fact, and why: a
// cloud word that may mean two things, and an owner id that hints at a party.
func (c *course) warnUnclear() {
	if f, ok := c.f.Get(CloudWord); ok {
		c.warning(Text{{Kind: Plain, Text: "The cloud was given as "}, {Kind: Value, Text: f.Value},
			{Kind: Plain, Text: "; "}, {Kind: Value, Text: f.Why}, {Kind: Plain, Text: ". It was not taken for a fact: say the cloud or the tenant by its full name."}})
	}
	if f, ok := c.f.Get(OwnerOrg); ok && c.p.hintOwners[f.Value] {
		if party, known := c.f.Get(PartyFact); !known || party.Value == string(ThirdParty) {
			c.warning(Text{{Kind: Plain, Text: "The app is owned by organisation "}, {Kind: Code, Text: f.Value},
				{Kind: Plain, Text: ", Microsoft's own tenant. That hints at a first-party app and does not prove it."}})
		}
	}
}

// warnHosts warns of a vault's or an authority's address from which nothing, or
// something contradictory, follows.
func (c *course) warnHosts() {
	if f, ok := c.f.Get(VaultURI); ok {
		h, known := c.p.findHost(hostOf(f.Value))
		switch {
		case !known || !h.isVault() && h.kind != hostRetired:
			c.warning(Text{{Kind: Plain, Text: "The vault's address "}, {Kind: Code, Text: f.Value}, {Kind: Plain, Text: " is in no cloud I know, so it says nothing about where the certificate is" + orNothing(": it is ", f.Doubt) + "."}})
		case h.kind == hostRetired:
			c.warning(Text{{Kind: Plain, Text: "The vault's address "}, {Kind: Code, Text: f.Value}, {Kind: Plain, Text: " proves nothing: " + h.note + ". Check where the certificate is now."}})
		case h.kind == hostHSM:
			c.warning(Text{{Kind: Code, Text: f.Value}, {Kind: Plain, Text: " is a managed HSM. HSM pools cannot hold certificates, only keys: check which vault the certificate is really in."}})
		}
		if entry, ok := c.p.named(c.f.Value(CertTenant)); ok && known && h.isVault() && entry.Cloud != h.cloud {
			c.warning(Text{{Kind: Plain, Text: fmt.Sprintf("The vault's address is in %s and its tenant %s is in %s. One of the two is wrong; check the vault.", h.cloud, entry.Name, entry.Cloud)}})
		}
	}
	if f, ok := c.f.Get(AppAuthor); ok {
		if h, known := c.p.findHost(hostOf(f.Value)); !known && f.Doubt != "" {
			c.warning(Text{{Kind: Plain, Text: "The app's authority "}, {Kind: Code, Text: f.Value}, {Kind: Plain, Text: " says nothing about the app's cloud: it is " + f.Doubt + "."}})
		} else if known && h.kind == hostRetired {
			c.warning(Text{{Kind: Plain, Text: "The app's authority "}, {Kind: Code, Text: f.Value}, {Kind: Plain, Text: " proves nothing: " + h.note + "."}})
		}
	}
}

// orNothing returns s after before, or "" for "".
func orNothing(before, s string) string {
	if s == "" {
		return ""
	}
	return before + s
}

// warnCloudsAgree warns when the app and the certificate of a cloud mismatch are
// in the same cloud.
func (c *course) warnCloudsAgree() {
	app, cert := c.f.Value(AppCloud), c.f.Value(CertCloud)
	if app == "" || app != cert {
		return
	}
	c.warning(Text{{Kind: Plain, Text: fmt.Sprintf("The clouds agree: the app and the certificate are both in %s, so this looks like a tenant mismatch. If it is, change the violation to “", app)},
		{Kind: Plain, Text: c.titleOf(classTenant)}, {Kind: Plain, Text: "”."}})
}

// warnNonProd warns when the old certificate of a cloud mismatch is in a
// non-production tenant, which makes it a tenant mismatch too.
func (c *course) warnNonProd() {
	if entry, ok := c.p.named(c.f.Value(CertTenant)); ok && entry.NonProd {
		c.warning(Say(fmt.Sprintf("The old certificate is in %s, a non-production tenant: this is a tenant mismatch as well.", entry.Name) + c.rowFixesBoth()))
	}
}

// warnCloudsDiffer warns when the app and the old certificate of a tenant
// mismatch are in two clouds, which makes it a cloud mismatch too.
func (c *course) warnCloudsDiffer() {
	app, cert := c.f.Value(AppCloud), c.f.Value(CertCloud)
	if app == "" || cert == "" || app == cert || c.d.Need != nil && c.d.Need.Fact == AppCloud {
		return
	}
	text := fmt.Sprintf("The old certificate is in %s and the app in %s: this is a cloud mismatch as well.", cert, app)
	if c.d.Option == "B" {
		text += " Moving the app to another tenant does not change its cloud; option A fixes both."
	}
	c.warning(Say(text + c.rowFixesBoth()))
}

// warnWrongVault warns when a certificate that is to be rotated is in the wrong
// cloud or in a non-production tenant: renewing it there would renew the mistake.
func (c *course) warnWrongVault() {
	app, cert := c.f.Value(AppCloud), c.f.Value(CertCloud)
	if row, outcome := c.p.Lookup(ThirdParty, c.f.Value(AppTenant), ""); app == "" && outcome == Steps && c.f.Value(PartyFact) == string(ThirdParty) {
		app = string(row.Cloud)
	}
	entry, named := c.p.named(c.f.Value(CertTenant))
	switch {
	case app != "" && cert != "" && app != cert:
		c.warning(Say(fmt.Sprintf("The certificate is in %s and the app in %s. Do not renew it where it is: this is a cloud mismatch as well, so change the violation to “%s”.", cert, app, c.titleOf(classCloud))))
	case named && entry.NonProd:
		c.warning(Say(fmt.Sprintf("The certificate is in %s, a non-production tenant. If the app is in production, do not renew it where it is: change the violation to “%s”.", entry.Name, c.titleOf(classTenant))))
	}
}

// rowFixesBoth returns the sentence that the policy row fixes both mismatches, or
// "" where there is no row.
func (c *course) rowFixesBoth() string {
	if c.d.Row == nil {
		return ""
	}
	return " A new certificate made by the policy row fixes both."
}

// titleOf returns the first offered title of a class, or the class's name when
// none is offered.
func (c *course) titleOf(class Class) string {
	for _, t := range c.p.titles.rows {
		if t.Class == class && t.Offered {
			return t.Text
		}
	}
	return string(class)
}
