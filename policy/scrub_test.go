package policy

import (
	"encoding/base64"
	"encoding/hex"
	"math/rand"
	"strings"
	"testing"
)

// The canaries are put together here, so that no scanner of this repository
// takes them for real.
var (
	tail         = "canary" + strings.Repeat("aB3_", 7)
	entraSecret  = "abc" + "8Q~" + tail
	olderSecret  = "Zz9-" + "canary" + "~" + "qW4.eR5_tY6-uI7oP8aS9dF0"
	derOf        = func(hexed string) string { return base64OfHex(hexed + strings.Repeat("a1", 90)) }
	pfx          = derOf("308209d1020103308209970609")
	pfxBER       = derOf("3080020103308006092a864886")
	pkcs8        = derOf("308204be020100300d06092a864886f70d0101010500048204a8")
	pkcs1        = derOf("308204a40201000282010100")
	ecPKCS8      = derOf("308187020100301306072a8648ce3d0201")
	ecSEC1       = derOf("30770201010420")
	encrypted    = derOf("3082050e304006092a864886f70d01050d3033")
	jwt          = "eyJ" + "hbGciOiJSUzI1NiIsImtpZCI6ImNhbmFyeSJ9" + ".eyJ" + "jYW5hcnkiOjF9" + ".canary-signature_0"
	storageKey   = strings.Repeat("canaryAB01+/", 7) + "ab" + "=="
	sas          = "sv=2025-01-05&st=2026-01-01&sr=c&sp=r&sig=" + "canary%2Babc%3D"
	conn         = "DefaultEndpointsProtocol=https;AccountName=contoso;AccountKey=" + storageKey + ";EndpointSuffix=core.windows.net"
	slackToken   = "xoxb-" + "1234567890-canaryabcdef"
	functionLink = "https://contoso.azurewebsites.net/api/x?code=" + "canary0123456789abcdef=="
)

func base64OfHex(s string) string {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return base64.StdEncoding.EncodeToString(b)
}

func TestSecretsAreTakenOutOfAnyText(t *testing.T) {
	pem := "-----BEGIN RSA PRIVATE KEY-----\n" + pkcs1 + "\n-----END RSA PRIVATE KEY-----"
	unknown := strings.ReplaceAll(pem, pkcs1, strings.Repeat("canary", 12)) // only its armour tells
	for name, tc := range map[string]struct{ secret, what string }{
		"an Entra client secret":            {entraSecret, whatSecret},
		"one with another version":          {"x.~" + "7Q~" + tail, whatSecret},
		"the shape before that":             {olderSecret, whatSecret},
		"a PEM private key":                 {pem, whatKey},
		"one on one line":                   {strings.ReplaceAll(pem, "\n", " "), whatKey},
		"one in JSON":                       {strings.ReplaceAll(pem, "\n", `\n`), whatKey},
		"one cut off":                       {pem[:150], whatKey},
		"one with a slip in its first line": {strings.Replace(unknown, "BEGIN", "BEGI7", 1), whatKey},
		"one without its first dashes":      {strings.TrimPrefix(unknown, "-----BEGIN RSA "), whatKey},
		"one with a line's end in its name": {strings.ReplaceAll(unknown, "PRIVATE KEY", "PRIVATE\n KEY"), whatKey},
		"PKCS#8 without its PEM":            {pkcs8, whatKey},
		"PKCS#1":                            {pkcs1, whatKey},
		"an elliptic curve":                 {ecPKCS8, whatKey},
		"its older form":                    {ecSEC1, whatKey},
		"an encrypted key":                  {encrypted, whatKey},
		"a PFX":                             {pfx, whatPFX},
		"a PFX in lines":                    {pfx[:64] + "\r\n" + pfx[64:128] + "\r\n" + pfx[128:], whatPFX},
		"a PFX of indefinite length":        {pfxBER, whatPFX},
		"a JWT":                             {jwt, whatToken},
		"a bearer token that is none":       {"Bearer " + "canary-0123456789-abcdef", whatToken},
		"basic authentication":              {"Authorization: Basic " + "Y2FuYXJ5OmNhbmFyeQ==", whatToken},
		"a Slack token":                     {slackToken, whatToken},
		"a storage key":                     {storageKey, whatAccess},
		"a connection string":               {conn, whatAccess},
		"a service bus":                     {"Endpoint=sb://contoso.servicebus.windows.net/;SharedAccessKeyName=root;SharedAccessKey=" + "canary0123456789abcdef+/=", whatAccess},
		"a shared access signature":         {"https://contoso.blob.core.windows.net/c/f?" + sas, whatAccess},
		"one on its own":                    {sas, whatAccess},
		"a function's key":                  {functionLink, whatAccess},
		"a SQL connection":                  {"Server=tcp:contoso.database.windows.net;User ID=app;Password=" + "canary!23;Encrypt=True", whatPass},
		"a password":                        {"pwd: " + "canary#1", whatPass},
		"a password in an address":          {"https://app:" + "canary@contoso.example/x", whatPass},
		"a secret by its name":              {"client_secret=" + "canary0123", whatSecret},
		"a secret by its name in JSON":      {`"clientSecret": "` + `canary0123"`, whatSecret},
		"a secret by its name in a string":  {`{\"client secret\":\"` + `canary0123\"}`, whatSecret},
		"a secret's value":                  {"Secret value: " + "canaryAb1cD2eF3", whatSecret},
		"an older secret by its name":       {"client secret = " + "canary/AbCd0123456789+efgh=", whatSecret},
		"an access token":                   {"access_token=" + "canary.0123456789", whatToken},
	} {
		for _, around := range [][2]string{{"", ""}, {"Rotate it: ", " by Friday"}, {"see ", ", then revoke"}, {"Contoso Ledger (", ")"}, {"\u00fcber \u2013 ", " \u2013 Ende"}} {
			text := around[0] + tc.secret + around[1]
			clean, found := Scrub(text)
			if strings.Contains(strings.ToLower(clean), "canary") || strings.Contains(clean, "oaGhoaGh") {
				t.Errorf("%s: %q is left of %q", name, clean, text)
			}
			if !strings.Contains(clean, Removed) || !strings.HasPrefix(clean, around[0]) {
				t.Errorf("%s: %q became %q", name, text, clean)
			}
			if len(found) == 0 || found[0] != tc.what {
				t.Errorf("%s is said to be %q, want %s", name, found, tc.what)
			}
			if again, found := Scrub(clean); again != clean || found != nil {
				t.Errorf("%s: scrubbed twice, %q became %q (%q)", name, clean, again, found)
			}
		}
	}
}

func TestWhatIsNoSecretIsLeftAlone(t *testing.T) {
	digest := "BB5D1064437D8720A5C53078185E6A361A78B10A"
	certificate := "-----BEGIN CERTIFICATE-----\n" + base64OfHex("308203a130820289a003020102021"+"0"+strings.Repeat("0c", 60)) + "\n-----END CERTIFICATE-----"
	for _, text := range []string{
		"3f6b2a10-8c4d-4e21-9a7b-5d0e6c1f2a01", "{3F6B2A10-8C4D-4E21-9A7B-5D0E6C1F2A01}", "client secret: 3f6b2a10-8c4d-4e21-9a7b-5d0e6c1f2a01", "password=3f6b2a10-8c4d-4e21-9a7b-5d0e6c1f2a01",
		digest, strings.ToLower(digest), "thumbprint: " + digest, "secret: " + digest, strings.Join(pairs(digest), ":"), strings.Repeat(digest[:32], 2), "sha256=" + strings.Repeat(digest[:32], 2),
		"u10QZEN9hyClxTB4GF5qNhp4sQo=", "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", "customKeyIdentifier=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
		"https://contoso-kv.vault.azure.net", "https://contoso-kv.vault.azure.net/certificates/ledger/ee059b2bb5bc48398a53b168c6cdcb04", "secret: https://contoso-kv.vault.azure.net/secrets/ledger-db/ee059b2bb5bc48398a53b168c6cdcb04",
		"https://contoso-kv.vault.azure.cn:443/keys/a?api-version=7.4", "https://login.microsoftonline.com/a0000000-0000-4000-8000-0000000000a2/oauth2/v2.0/token",
		"/subscriptions/5b0c0000-0000-4000-8000-000000000504/resourceGroups/contoso-cn-rg/providers/Microsoft.KeyVault/vaults/contoso-cn-kv",
		"APP-09: Workload Identity Federation & Certificate Credentials", "Secret: rotate it", "client secret: expired", "Password: expired on 2026-11-18", "access token: none", "Secrets: 2, certificates: 0", "password: ********"[:10],
		"secret: ledger-db-connection", "key: ledger", "API key: see the vault", "title: AAD Entra Apps in Prod Tenants", "id: KAI-100001", "status: active", "access: read", "auth: certificate",
		"Bearer of bad news", "bearer authentication", "Basic authentication is off", "a~b", "~/contoso/ledger", "C:\\Program Files\\MICROSOFT~1", "2026-11-18T07:00:00Z", "MICROSOFT", "MIIS", "MHcC",
		"user@contoso.com", "https://contoso.example/@ledger", "mailto:rivera@contoso.com", "https://contoso.example/a?owner=x@contoso.com",
		"lengthy_names_of_things_0123456789_that_people_give_to_apps_and_vaults", "x=1&y=2", "https://contoso.example/x?code=7&key=ledger", "passwords, keys and secrets", "the private key never leaves the vault", "PRIVATE KEY",
		"eyJ", "eyJhbGciOiJSUzI1NiJ9", certificate, "A8Q~", "Q~", "${CLIENT_SECRET}", "client_secret=${CLIENT_SECRET_1}", "Password=[removed]", "design=1", "",
	} {
		if clean, found := Scrub(text); clean != text || found != nil {
			t.Errorf("%q became %q: %q", text, clean, found)
		}
	}
	for _, title := range Default().Titles() {
		if clean, _ := Scrub(title.Text); clean != title.Text {
			t.Errorf("%q became %q", title.Text, clean)
		}
	}
}

func pairs(s string) []string {
	var out []string
	for ; len(s) > 1; s = s[2:] {
		out = append(out, s[:2])
	}
	return out
}

// A hundred thousand identifiers of the kinds that alerts are made of.
func TestRandomIdentifiersAreLeftAlone(t *testing.T) {
	r := rand.New(rand.NewSource(1))
	for range 25_000 {
		b := make([]byte, 32)
		r.Read(b)
		h := hex.EncodeToString(b)
		for _, text := range []string{
			h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:32], strings.ToUpper(h[:40]), h,
			"https://contoso-kv.vault.azure.net/certificates/a/" + h[:32], base64.StdEncoding.EncodeToString(b[:20]), base64.StdEncoding.EncodeToString(b),
		} {
			if clean, found := Scrub(text); clean != text {
				t.Fatalf("%q became %q: %q", text, clean, found)
			}
		}
	}
}

// Wherever a secret is put, it does not come out.
func FuzzScrub(f *testing.F) {
	f.Add("Rotate ", " by Friday")
	f.Add(`{"title": "`, `"}`)
	f.Add("-----BEGIN PRIVATE KEY-----", "~")
	f.Add("Password=", ";x")
	f.Fuzz(func(t *testing.T, before, after string) {
		for _, secret := range []string{entraSecret, jwt, pfx, pkcs8, "sig=" + "canary0123"} {
			clean, found := Scrub(before + " " + secret + " " + after)
			if strings.Contains(clean, secret) || len(found) == 0 {
				t.Errorf("%q is left in %q", secret, clean)
			}
			if again, _ := Scrub(clean); strings.Contains(again, secret) {
				t.Errorf("scrubbed twice it is back: %q", again)
			}
		}
	})
}

func BenchmarkScrubOfAnAlertsTexts(b *testing.B) {
	texts := []string{
		"AAD Entra Apps in Prod Tenants using certificates in Non-Prod Tenant", "Contoso Ledger Sync", "3f6b2a10-8c4d-4e21-9a7b-5d0e6c1f2a01",
		"https://contoso-corp-kv.vault.azure.net/certificates/ledger-sync", "2026-11-18T07:00:00Z", "BB5D1064437D8720A5C53078185E6A361A78B10A", "s360", "rivera@contoso.com",
	}
	for b.Loop() {
		for _, s := range texts {
			Scrub(s)
		}
	}
}

func TestOfWordsWithASecretNothingIsLeftToReadAsAWord(t *testing.T) {
	for text, want := range map[string]string{
		"3P password=Hunter2!! AME":                               "3P   AME",
		"client secret: hunter2-Hunter2 in PME":                   "in PME",
		"the key is abc8Q~abcdefghijklmnopqrstuvwxyz0123456 here": "the key is   here",
		"https://x.vault.azure.net/ 3P":                           "https://x.vault.azure.net/ 3P",
	} {
		if got, _ := Strip(text); got != want {
			t.Errorf("of %q %q is left, want %q", text, got, want)
		}
	}
}
