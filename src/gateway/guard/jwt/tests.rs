//! Stories of tokens, good and bad; signed with the keys that the standards print.

use std::panic::{AssertUnwindSafe, catch_unwind};

use proptest::prelude::*;
use ring::{hmac, rand, rsa, signature};

use super::keys::Key;
use super::*;
use crate::base::base64::{Alphabet, decode, encode};
use crate::config::site::{Algorithm, KeyOf};
use crate::gateway::Notes;
use crate::gateway::guard::Secret;
use crate::gateway::guard::tests::{Asked, upstream, value};

const RSA_PEM: &str = "\
-----BEGIN PUBLIC KEY-----\n\
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAofgWCuLjybRlzo0tZWJj\n\
NiuSfb4p4fAkd/wWJcyQoTbji9k0l8W26mPddxHmfHQp+Vaw+4qPCJrcS2mJPMEz\n\
P1Pt0Bm4d4QlL+yRT+SFd2lZS+pCgNMsD1W/YpRPEwOWvG6b32690r2jZ47soMZo\n\
9wGzjb/7OMg0LOL+bSf63kpaSHSXndS5z5rexMdbBYUsLA9e+KXBdQOS+UTo7WTB\n\
EMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6/I5IhlJH7aGhyxX\n\
FvUK+DWNmoudF8NAco9/h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXp\n\
oQIDAQAB\n\
-----END PUBLIC KEY-----\n";
const RSA_PKCS1_PEM: &str = "\
-----BEGIN RSA PUBLIC KEY-----\n\
MIIBCgKCAQEAofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd/wWJcyQoTbji9k0l8W2\n\
6mPddxHmfHQp+Vaw+4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL+yRT+SFd2lZS+pCgNMs\n\
D1W/YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb/7OMg0LOL+bSf63kpaSHSXndS5\n\
z5rexMdbBYUsLA9e+KXBdQOS+UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxv\n\
b3qCo5ZwKh9kG4LT6/I5IhlJH7aGhyxXFvUK+DWNmoudF8NAco9/h9iaGNj8q2et\n\
hFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQIDAQAB\n\
-----END RSA PUBLIC KEY-----\n";
const EC_PEM: &str = "\
-----BEGIN PUBLIC KEY-----\n\
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEf83OJ3D2xF1Bg8vub9tLe1gHMzV7\n\
6e8Tus9uPHvRVEXH8UTNG72bfocs3+257rn0s2ldbqkLJK2KRiMohYjlrQ==\n\
-----END PUBLIC KEY-----\n";
const ED_PEM: &str = "\
-----BEGIN PUBLIC KEY-----\n\
MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n\
-----END PUBLIC KEY-----\n";
const WEAK_PEM: &str = "\
-----BEGIN PUBLIC KEY-----\n\
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQCi/wXbmSisIwEb26w5fEnaNe3A\n\
XeGbHxIjkuFX9Kld0faxBYDt/IYOxvmfp5mD5MXpu/HGw6A9/5Qwk0s5VKJtMNej\n\
nvpf+l166fdaDgQvdZl3z1BzYWsPnYuPp9RSSKLABVwZXHDl6sQQXfjVnNrjAfIV\n\
Da4KSSph/e6EpGxkTwIDAQAB\n\
-----END PUBLIC KEY-----\n";
const P384_PEM: &str = "\
-----BEGIN PUBLIC KEY-----\n\
MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAE7OchUNi6/xsHynbxSoIKSP4W8lUSLYBF\n\
JGd2dwSpWJgwYw2r+OC20NDiuJM4GBTfjtqjC11fB8qTM+gHRW3f8ju8muV/sr5N\n\
hyo8pLegVEut2qX7kV0j2uAoSDDtEBNm\n\
-----END PUBLIC KEY-----\n";

/// RFC 7515 appendix A.1.
const SECRET: &str = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
/// RFC 7515 appendix A.2: n, e, d, p, q, dp, dq, qi.
const RSA: [&str; 8] = [
    "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ",
    "AQAB",
    "Eq5xpGnNCivDflJsRQBXHx1hdR1k6Ulwe2JZD50LpXyWPEAeP88vLNO97IjlA7_GQ5sLKMgvfTeXZx9SE-7YwVol2NXOoAJe46sui395IW_GO-pWJ1O0BkTGoVEn2bKVRUCgu-GjBVaYLU6f3l9kJfFNS3E0QbVdxzubSu3Mkqzjkn439X0M_V51gfpRLI9JYanrC4D4qAdGcopV_0ZHHzQlBjudU2QvXt4ehNYTCBr6XCLQUShb1juUO1ZdiYoFaFQT5Tw8bGUl_x_jTj3ccPDVZFD9pIuhLhBOneufuBiB4cS98l2SR_RQyGWSeWjnczT0QU91p1DhOVRuOopznQ",
    "4BzEEOtIpmVdVEZNCqS7baC4crd0pqnRH_5IB3jw3bcxGn6QLvnEtfdUdiYrqBdss1l58BQ3KhooKeQTa9AB0Hw_Py5PJdTJNPY8cQn7ouZ2KKDcmnPGBY5t7yLc1QlQ5xHdwW1VhvKn-nXqhJTBgIPgtldC-KDV5z-y2XDwGUc",
    "uQPEfgmVtjL0Uyyx88GZFF1fOunH3-7cepKmtH4pxhtCoHqpWmT8YAmZxaewHgHAjLYsp1ZSe7zFYHj7C6ul7TjeLQeZD_YwD66t62wDmpe_HlB-TnBA-njbglfIsRLtXlnDzQkv5dTltRJ11BKBBypeeF6689rjcJIDEz9RWdc",
    "BwKfV3Akq5_MFZDFZCnW-wzl-CCo83WoZvnLQwCTeDv8uzluRSnm71I3QCLdhrqE2e9YkxvuxdBfpT_PI7Yz-FOKnu1R6HsJeDCjn12Sk3vmAktV2zb34MCdy7cpdTh_YVr7tss2u6vneTwrA86rZtu5Mbr1C1XsmvkxHQAdYo0",
    "h_96-mK1R_7glhsum81dZxjTnYynPbZpHziZjeeHcXYsXaaMwkOlODsWa7I9xXDoRwbKgB719rrmI2oKr6N3Do9U0ajaHF-NKJnwgjMd2w9cjz3_-kyNlxAr2v4IKhGNpmM5iIgOS1VZnOZ68m6_pbLBSp3nssTdlqvd0tIiTHU",
    "IYd7DHOhrWvxkwPQsRM2tOgrjbcrfvtQJipd-DlcxyVuuM9sQLdgjVk2oy26F0EmpScGLq2MowX7fhd_QJQ3ydy5cY7YIBi87w93IKLEdfnbJtoOPLUW0ITrJReOgo1cq9SbsxYawBgfp_gh6A5603k2-ZQwVK0JKSHuLFkuQ3U",
];
/// RFC 7515 appendix A.3: x, y, d.
const EC: [&str; 3] = [
    "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI",
];
/// RFC 8037 appendix A.1: x, d.
const ED: [&str; 2] =
    ["11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"];

/// The payload of the examples in RFC 7515; good until this.
const EXPIRES: u64 = 1_300_819_380;
const PAYLOAD: &str =
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";

const NOW: u64 = 1_700_000_000;

fn bytes(text: &str) -> Vec<u8> {
    decode(text.as_bytes(), Alphabet::Url).expect(text)
}

fn jwks() -> String {
    let [n, e, ..] = RSA;
    let ([x, y, _], [okp, _]) = (EC, ED);
    format!(
        r#"{{"keys":[
            {{"kty":"oct","kid":"h","k":"{SECRET}"}},
            {{"kty":"RSA","kid":"r","use":"sig","alg":"RS256","n":"{n}","e":"{e}"}},
            {{"kty":"EC","kid":"e","crv":"P-256","key_ops":["verify"],"x":"{x}","y":"{y}"}},
            {{"kty":"OKP","kid":"o","crv":"Ed25519","x":"{okp}"}}]}}"#
    )
}

fn all_keys() -> KeySet {
    KeySet::new(jwks::keys(jwks().as_bytes()).unwrap()).unwrap()
}

fn signature(algorithm: Algorithm, message: &[u8]) -> Vec<u8> {
    let random = rand::SystemRandom::new();
    match algorithm {
        Algorithm::Hs256 => {
            hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &bytes(SECRET)), message).as_ref().to_vec()
        }
        Algorithm::Rs256 => {
            let [n, e, d, p, q, dp, dq, qi] = RSA.map(bytes);
            let public_key = rsa::PublicKeyComponents { n, e };
            let pair = rsa::KeyPairComponents { public_key, d, p, q, dP: dp, dQ: dq, qInv: qi };
            let pair = rsa::KeyPair::from_components(&pair).unwrap();
            let mut out = vec![0; pair.public().modulus_len()];
            pair.sign(&signature::RSA_PKCS1_SHA256, &random, message, &mut out).unwrap();
            out
        }
        Algorithm::Es256 => {
            let [x, y, d] = EC.map(bytes);
            let public = [vec![4], x, y].concat();
            let kind = &signature::ECDSA_P256_SHA256_FIXED_SIGNING;
            let pair = signature::EcdsaKeyPair::from_private_key_and_public_key(kind, &d, &public, &random);
            pair.unwrap().sign(&random, message).unwrap().as_ref().to_vec()
        }
        Algorithm::EdDsa => {
            let [x, d] = ED.map(bytes);
            let pair = signature::Ed25519KeyPair::from_seed_and_public_key(&d, &x).unwrap();
            pair.sign(message).as_ref().to_vec()
        }
    }
}

fn token(algorithm: Algorithm, head: &str, claims: &str) -> String {
    let text = |part: &str| encode(part.as_bytes(), Alphabet::Url);
    let message = format!("{}.{}", text(head), text(claims));
    let signature = encode(&signature(algorithm, message.as_bytes()), Alphabet::Url);
    format!("{message}.{signature}")
}

/// A token of HS256 with these claims.
fn claiming(claims: &str) -> String {
    token(Algorithm::Hs256, r#"{"alg":"HS256"}"#, claims)
}

/// With an end and these claims besides.
fn good(claims: &str) -> String {
    claiming(&format!(r#"{{"exp":{}{claims}}}"#, NOW + 60))
}

fn verdict(token: &str, rules: &Rules) -> Result<Claims, Fault> {
    judge(token.as_bytes(), &all_keys(), &Seen::new(0), rules, NOW)
}

fn fault(token: &str) -> Option<Fault> {
    verdict(token, &Rules::default()).err()
}

#[test]
fn the_examples_of_the_standards_are_good() {
    let (keys, seen) = (all_keys(), Seen::new(100));
    let rules = Rules { issuer: Some("joe".into()), ..Rules::default() };
    for token in [
        format!(
            "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.{PAYLOAD}.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
        ),
        format!(
            "eyJhbGciOiJSUzI1NiJ9.{PAYLOAD}.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"
        ),
        format!(
            "eyJhbGciOiJFUzI1NiJ9.{PAYLOAD}.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
        ),
    ] {
        let claims = judge(token.as_bytes(), &keys, &seen, &rules, EXPIRES - 1).expect(&token);
        assert_eq!(claims.text("http://example.com/is_root").as_deref(), Some("true"));
        let again = judge(token.as_bytes(), &keys, &seen, &rules, EXPIRES);
        assert_eq!(again, Err(Fault::Expired), "a token that is known ends like any other");
        let mut forged = token.clone().into_bytes();
        *forged.last_mut().unwrap() ^= 4;
        assert!(judge(&forged, &keys, &seen, &rules, EXPIRES - 1).is_err());
    }
    // RFC 8037 appendix A.4: its payload is no JSON.
    let key = Key::local(Algorithm::EdDsa, None, ED_PEM.as_bytes()).unwrap();
    let signature = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    let message = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
    assert!(key.verifies(message, &bytes(signature)));
    assert!(!key.verifies(&message[1..], &bytes(signature)));
}

#[test]
fn every_algorithm_is_verified_and_told_from_the_others() {
    let all = [Algorithm::Hs256, Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa];
    let names = ["HS256", "RS256", "ES256", "EdDSA"];
    for (algorithm, name) in all.into_iter().zip(names) {
        let claims = format!(r#"{{"exp":{}}}"#, NOW + 1);
        assert_eq!(fault(&token(algorithm, &format!(r#"{{"alg":"{name}"}}"#), &claims)), None, "{name}");
        for other in names.into_iter().filter(|other| *other != name) {
            let confused = token(algorithm, &format!(r#"{{"alg":"{other}"}}"#), &claims);
            assert_eq!(fault(&confused), Some(Fault::Signature), "{name} said to be {other}");
        }
    }
}

#[test]
fn none_is_no_algorithm_in_whatever_case() {
    for name in ["none", "None", "NONE", "nOnE", "none ", "", "hs256", "HS256 ", "HS384", "RS512", "PS256"] {
        for head in [format!(r#"{{"alg":"{name}"}}"#), format!(r#"{{"typ":"JWT","alg":"{name}"}}"#)] {
            let signed = token(Algorithm::Hs256, &head, &format!(r#"{{"exp":{}}}"#, NOW + 1));
            assert_eq!(fault(&signed), Some(Fault::Signature), "{head}");
            let bare = &signed[..=signed.rfind('.').unwrap()];
            assert_eq!(fault(bare), Some(Fault::Malformed), "and without a signature");
            assert_eq!(fault(bare.trim_end_matches('.')), Some(Fault::Malformed));
        }
    }
    for head in ["{}", r#"{"alg":null}"#, r#"{"alg":["HS256"]}"#, r#"{"alg":0}"#] {
        assert_eq!(fault(&token(Algorithm::Hs256, head, "{}")), Some(Fault::Signature), "{head}");
    }
}

/// The secret of a forger is what everybody has: the public key, in every spelling.
#[test]
fn a_public_key_is_no_secret() {
    let der = bytes(&encode(&pem_bytes(RSA_PEM), Alphabet::Url));
    for public in
        [RSA_PEM.as_bytes(), RSA_PEM.trim().as_bytes(), RSA_PKCS1_PEM.as_bytes(), &der, &bytes(RSA[0])]
    {
        let head = encode(br#"{"alg":"HS256"}"#, Alphabet::Url);
        let message = format!("{head}.{}", encode(br#"{"exp":9999999999}"#, Alphabet::Url));
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, public), message.as_bytes());
        let forged = format!("{message}.{}", encode(tag.as_ref(), Alphabet::Url));
        let keys =
            KeySet::new(vec![Key::local(Algorithm::Rs256, None, RSA_PEM.as_bytes()).unwrap()]).unwrap();
        let verdict = judge(forged.as_bytes(), &keys, &Seen::new(0), &Rules::default(), NOW);
        assert_eq!(verdict, Err(Fault::Signature), "it is a key for RS256");
    }
    for key in [RSA_PEM.as_bytes(), RSA_PKCS1_PEM.as_bytes(), EC_PEM.as_bytes(), ED_PEM.as_bytes(), &der] {
        let mistake = Key::local(Algorithm::Hs256, None, key).err().expect("refused when it is read");
        assert!(mistake.contains("not a secret"), "{mistake}");
    }
}

fn pem_bytes(pem: &str) -> Vec<u8> {
    let letters: String = pem.lines().filter(|line| !line.starts_with("--")).collect();
    decode(letters.as_bytes(), Alphabet::Standard).unwrap()
}

#[test]
fn an_empty_or_zero_signature_is_none() {
    let claims = format!(r#"{{"exp":{}}}"#, NOW + 1);
    for (algorithm, name, len) in [
        (Algorithm::Es256, "ES256", 64),
        (Algorithm::EdDsa, "EdDSA", 64),
        (Algorithm::Rs256, "RS256", 256),
        (Algorithm::Hs256, "HS256", 32),
    ] {
        let token = token(algorithm, &format!(r#"{{"alg":"{name}"}}"#), &claims);
        let message = &token[..token.rfind('.').unwrap()];
        for signature in [
            vec![0; len],
            vec![0; 1],
            vec![0xff; len],
            vec![0; len + 1],
            [vec![0; len - 1], vec![1]].concat(),
        ] {
            let zero = format!("{message}.{}", encode(&signature, Alphabet::Url));
            assert_eq!(fault(&zero), Some(Fault::Signature), "{name}, {} bytes", signature.len());
        }
        assert_eq!(fault(&format!("{message}.")), Some(Fault::Malformed));
    }
    // A signature of ASN.1 is another spelling, which JWS does not have.
    let key = Key::local(Algorithm::Es256, None, EC_PEM.as_bytes()).unwrap();
    assert!(!key.verifies(b"a", b"\x30\x06\x02\x01\x00\x02\x01\x00"));
}

#[test]
fn a_key_that_the_token_brings_is_not_looked_at() {
    let claims = format!(r#"{{"exp":{}}}"#, NOW + 1);
    let [x, _] = ED;
    let (pair, own) = forger();
    for member in [
        format!(r#""jwk":{{"kty":"OKP","crv":"Ed25519","x":"{own}"}}"#),
        r#""jku":"https://evil.example/keys.json""#.to_owned(),
        r#""x5u":"https://evil.example/cert.pem""#.to_owned(),
        r#""x5c":["MIIB"]"#.to_owned(),
    ] {
        let head = format!(r#"{{"alg":"EdDSA",{member}}}"#);
        let text = |part: &str| encode(part.as_bytes(), Alphabet::Url);
        let message = format!("{}.{}", text(&head), text(&claims));
        let forged = format!("{message}.{}", encode(pair.sign(message.as_bytes()).as_ref(), Alphabet::Url));
        assert_eq!(fault(&forged), Some(Fault::Signature), "{member}");
        assert_eq!(fault(&token(Algorithm::EdDsa, &head, &claims)), None, "ours, and passed over: {member}");
    }
    assert_ne!(x, own);
}

/// A pair of keys that nobody trusts.
fn forger() -> (signature::Ed25519KeyPair, String) {
    use signature::KeyPair as _;
    let pair = signature::Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let public = encode(pair.public_key().as_ref(), Alphabet::Url);
    (pair, public)
}

#[test]
fn a_kid_chooses_among_our_keys_and_is_nothing_else() {
    let claims = format!(r#"{{"exp":{}}}"#, NOW + 1);
    let with = |kid: &str| token(Algorithm::EdDsa, &format!(r#"{{"alg":"EdDSA","kid":{kid}}}"#), &claims);
    assert_eq!(fault(&with(r#""o""#)), None);
    for kid in [
        r#""r""#,
        r#""O""#,
        r#""""#,
        r#""../../../../dev/null""#,
        r#""/etc/passwd\u0000""#,
        r#""x' UNION SELECT 'o'; --""#,
        r#""o\u0000""#,
        r#""|id""#,
    ] {
        assert_eq!(fault(&with(kid)), Some(Fault::Signature), "{kid}");
    }
    for kid in ["1", "null", "[\"o\"]", "{}"] {
        assert_eq!(fault(&with(kid)), Some(Fault::Malformed), "{kid}");
    }
    // A key without a name is asked whatever the token says.
    let keys = KeySet::new(vec![Key::local(Algorithm::EdDsa, None, ED_PEM.as_bytes()).unwrap()]).unwrap();
    let verdict = judge(with("\"any\"").as_bytes(), &keys, &Seen::new(0), &Rules::default(), NOW);
    assert!(verdict.is_ok());
}

#[test]
fn what_must_be_understood_is_not() {
    let claims = format!(r#"{{"exp":{}}}"#, NOW + 1);
    for crit in [r#"["exp"]"#, r#"["b64"]"#, "[]", "null", r#""x""#] {
        let head = format!(r#"{{"alg":"HS256","crit":{crit},"b64":false}}"#);
        assert_eq!(fault(&token(Algorithm::Hs256, &head, &claims)), Some(Fault::Malformed), "{crit}");
    }
    for kind in [r#""JWT""#, r#""at+jwt""#, r#""jwt""#, r#""JOSE""#, "7"] {
        let head = format!(r#"{{"alg":"HS256","typ":{kind}}}"#);
        assert_eq!(fault(&token(Algorithm::Hs256, &head, &claims)), None, "{kind}");
    }
}

#[test]
fn a_member_that_stands_twice_is_one_too_many() {
    let claims = format!(r#"{{"exp":{}}}"#, NOW + 1);
    for head in [
        r#"{"alg":"HS256","alg":"HS256"}"#,
        r#"{"alg":"none","alg":"HS256"}"#,
        r#"{"alg":"HS256","\u0061lg":"none"}"#,
    ] {
        assert_eq!(fault(&token(Algorithm::Hs256, head, &claims)), Some(Fault::Malformed), "{head}");
    }
    for twice in [
        format!(r#"{{"exp":{0},"exp":{0}}}"#, NOW + 1),
        format!(r#"{{"exp":1,"exp":{}}}"#, NOW + 1),
        format!(r#"{{"exp":{},"sub":"a","sub":"admin"}}"#, NOW + 1),
        format!(r#"{{"exp":{},"x":{{"a":1,"a":1}}}}"#, NOW + 1),
    ] {
        assert_eq!(fault(&claiming(&twice)), Some(Fault::Malformed), "{twice}");
    }
}

#[test]
fn times_are_numbers_and_are_kept_give_or_take_the_leeway() {
    use Fault::{Early, Expired, Malformed};
    let at = |claims: String, leeway_seconds| {
        verdict(&claiming(&claims), &Rules { leeway_seconds, ..Rules::default() }).err()
    };
    assert_eq!(at(format!(r#"{{"exp":{}}}"#, NOW + 1), 0), None);
    assert_eq!(at(format!(r#"{{"exp":{NOW}}}"#), 0), Some(Expired), "on or after");
    assert_eq!(at(format!(r#"{{"exp":{}.5}}"#, NOW), 0), None, "fractions are allowed");
    assert_eq!(at(format!(r#"{{"exp":{}}}"#, NOW - 29), 30), None);
    assert_eq!(at(format!(r#"{{"exp":{}}}"#, NOW - 30), 30), Some(Expired));
    assert_eq!(at(format!(r#"{{"exp":{}}}"#, NOW - 60), 86_400), Some(Expired), "a minute is the most");
    for exp in ["-1", "0", "-1e300", "1e-300"] {
        assert_eq!(at(format!(r#"{{"exp":{exp}}}"#), 60), Some(Expired), "{exp}");
    }
    assert_eq!(at(r#"{"exp":1e300}"#.to_owned(), 0), None);
    for exp in
        [r#""9999999999""#, "null", "true", "[9999999999]", "{}", "1e999", "NaN", "0x99999999", "09999999999"]
    {
        assert_eq!(at(format!(r#"{{"exp":{exp}}}"#), 60), Some(Malformed), "{exp}");
    }
    assert_eq!(at(r#"{"sub":"a"}"#.to_owned(), 60), Some(Malformed), "a token must end");
    for begins in ["nbf", "iat"] {
        let claims = |value: String| format!(r#"{{"exp":{},"{begins}":{value}}}"#, NOW + 9_999);
        assert_eq!(at(claims(NOW.to_string()), 0), None);
        assert_eq!(at(claims((NOW + 1).to_string()), 0), Some(Early), "{begins}");
        assert_eq!(at(claims((NOW + 60).to_string()), 60), None);
        assert_eq!(at(claims((NOW + 61).to_string()), 999), Some(Early));
        assert_eq!(at(claims("\"1\"".to_owned()), 0), Some(Malformed));
    }
}

#[test]
fn another_issuer_and_another_audience_are_not_ours() {
    let rules = Rules {
        issuer: Some("https://id.example".into()),
        audiences: vec!["api".into(), "web".into()],
        ..Rules::default()
    };
    let of = |claims: &str| verdict(&good(claims), &rules).err();
    let issuer = r#","iss":"https://id.example""#;
    assert_eq!(of(&format!(r#"{issuer},"aud":"api""#)), None);
    assert_eq!(of(&format!(r#"{issuer},"aud":["other","web"]"#)), None);
    for aud in [
        r#","aud":"API""#,
        r#","aud":"api ""#,
        r#","aud":["other"]"#,
        r#","aud":[]"#,
        r#","aud":[["api"]]"#,
        r#","aud":{"api":1}"#,
        r#","aud":null"#,
        "",
    ] {
        assert_eq!(of(&format!("{issuer}{aud}")), Some(Fault::Audience), "{aud}");
    }
    for iss in [r#","iss":"https://id.example/""#, r#","iss":["https://id.example"]"#, r#","iss":null"#, ""] {
        assert_eq!(of(&format!(r#"{iss},"aud":"api""#)), Some(Fault::Issuer), "{iss}");
    }
}

#[test]
fn what_is_not_three_parts_of_strict_base64url_is_no_token() {
    let token = good("");
    assert_eq!(fault(&token), None);
    let mut parts = token.split('.');
    let (head, payload, signature) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
    for bad in [
        String::new(),
        "...".to_owned(),
        format!("{head}.{payload}"),
        format!("{token}."),
        format!(".{token}"),
        format!("{token}.{signature}"),
        format!("{head}..{signature}"),
        format!("{token}="),
        format!("{token}\n"),
        format!("{head}=.{payload}.{signature}"),
        format!("{head} .{payload}.{signature}"),
        token.replacen('.', ".\u{0}", 1),
        format!("{}.{payload}.{signature}", &head[..head.len() - 1]),
    ] {
        assert!(fault(&bad).is_some(), "{bad:?}");
    }
    // 32 bytes are 43 letters, of which the last has two bits that do not count.
    let last = token.chars().last().unwrap();
    let twins =
        ('A'..='Z').chain('a'..='z').chain('0'..='9').chain(['-', '_']).filter(|other| *other != last);
    assert!(
        twins.map(|other| format!("{}{other}", &token[..token.len() - 1])).all(|twin| fault(&twin).is_some())
    );
    for (head, claims) in [("[]", "{}"), ("1", "{}"), (r#"{"alg":"HS256"} x"#, "{}")] {
        assert_eq!(fault(&self::token(Algorithm::Hs256, head, claims)), Some(Fault::Malformed));
    }
    for claims in ["[]", "\"a\"", "", "{", "{\"exp\":9999999999}{}"] {
        assert_eq!(fault(&claiming(claims)), Some(Fault::Malformed), "{claims}");
    }
}

#[test]
fn a_token_that_is_too_long_is_refused_unread() {
    let padded = |len: usize| good(&format!(r#","pad":"{}""#, "x".repeat(len)));
    assert_eq!(fault(&padded(5_900)), None);
    assert_eq!(fault(&padded(49_152)), Some(Fault::Malformed), "64 KiB");
    let overlong = padded(6_200);
    assert!(overlong.len() > token::TOKEN_BYTES_MAX);
    assert_eq!(fault(&overlong), Some(Fault::Malformed));
}

#[test]
fn weak_keys_and_wrong_ones_are_mistakes_when_they_are_read() {
    let mistake = |algorithm, key: &[u8]| Key::local(algorithm, None, key).err().unwrap_or_default();
    let says = |algorithm, key: &str, part: &str| {
        let mistake = mistake(algorithm, key.as_bytes());
        assert!(mistake.contains(part), "{key}: {mistake:?}");
    };
    says(Algorithm::Hs256, "secret", "at least 32");
    says(Algorithm::Hs256, &"s".repeat(31), "31 bytes");
    assert_eq!(mistake(Algorithm::Hs256, &[0xaa; 32]), "");
    says(Algorithm::Rs256, WEAK_PEM, "1024 bits");
    says(Algorithm::Rs256, EC_PEM, "for ES256, not for RS256");
    says(Algorithm::Es256, RSA_PEM, "for RS256, not for ES256");
    says(Algorithm::Es256, P384_PEM, "no public key of");
    says(Algorithm::EdDsa, "not PEM", "no PEM file");
    says(Algorithm::Rs256, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "private key");
    says(Algorithm::Rs256, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "certificate");
    let off_curve = EC_PEM.replacen("6e8Tus", "6e8Tut", 1);
    says(Algorithm::Es256, &off_curve, "no point of P-256");
    for (algorithm, pem) in [
        (Algorithm::Rs256, RSA_PEM),
        (Algorithm::Rs256, RSA_PKCS1_PEM),
        (Algorithm::Es256, EC_PEM),
        (Algorithm::EdDsa, ED_PEM),
    ] {
        assert_eq!(mistake(algorithm, pem.as_bytes()), "", "{pem}");
        // Cut or changed anywhere it is another key or none, and never a panic.
        for at in 0..pem.len() {
            let _ = Key::local(algorithm, None, &pem.as_bytes()[..at]);
        }
    }
}

#[test]
fn a_set_of_keys_is_read_and_its_mistakes_are_named() {
    let read = |keys: &str| jwks::keys(format!(r#"{{"keys":[{keys}]}}"#).as_bytes());
    let count = |keys: &str| read(keys).map(|keys| keys.len());
    let says = |keys: &str, part: &str| {
        let mistake = read(keys).err().unwrap_or_default();
        assert!(mistake.contains(part), "{keys}: {mistake:?}");
    };
    let [x, y, _] = EC;
    let [n, e, ..] = RSA;
    for passed_over in [
        format!(r#"{{"kty":"RSA","use":"enc","n":"{n}","e":"{e}"}}"#),
        format!(r#"{{"kty":"RSA","alg":"RSA-OAEP","n":"{n}","e":"{e}"}}"#),
        format!(r#"{{"kty":"RSA","alg":"RS512","n":"{n}","e":"{e}"}}"#),
        format!(r#"{{"kty":"RSA","key_ops":["encrypt"],"n":"{n}","e":"{e}"}}"#),
        r#"{"kty":"EC","crv":"P-521","x":"AA","y":"AA"}"#.to_owned(),
        r#"{"kty":"OKP","crv":"X25519","x":"AA"}"#.to_owned(),
        r#"{"kty":"future"}"#.to_owned(),
        r#"{"kty":"oct","alg":"none","k":""}"#.to_owned(),
    ] {
        assert_eq!(count(&passed_over), Ok(0), "{passed_over}");
    }
    says(r#"{"kid":"a"}"#, "key 1 of the set has no kty");
    says(r#"{"kty":"oct","k":"AAAA"}"#, "at least 32");
    says(&format!(r#"{{"kty":"RSA","n":"{n}="}}"#), "no base64url");
    says(&format!(r#"{{"kty":"RSA","n":"{n}"}}"#), "has no e");
    says(&format!(r#"{{"kty":"RSA","n":"AA{n}","e":"AQAB"}}"#), "no ");
    says(&format!(r#"{{"kty":"RSA","n":"{n}","e":"AQ"}}"#), "no RSA key");
    says(&format!(r#"{{"kty":"RSA","alg":"HS256","n":"{n}","e":"{e}"}}"#), "not for keys of its kty");
    says(&format!(r#"{{"kty":"EC","crv":"P-256","x":"{y}","y":"{x}"}}"#), "no point of P-256");
    says(&format!(r#"{{"kty":"EC","crv":"P-256","x":"{x}","y":"AAAA"}}"#), "P-256 has 32");
    says(r#"{"kty":"OKP","crv":"Ed25519","x":"AAAA"}"#, "32 bytes");
    says("7", "is no object");
    assert!(jwks::keys(b"{\"keys\":[],\"keys\":[]}").is_err() && jwks::keys(b"{}").is_err());
    assert!(KeySet::new(Vec::new()).is_err());
    let twice = [jwks::keys(jwks().as_bytes()).unwrap(), jwks::keys(jwks().as_bytes()).unwrap()];
    let mistake = KeySet::new(twice.into_iter().flatten().collect()).err().unwrap();
    assert!(mistake.contains("two keys with the kid \"h\""), "{mistake}");
    let many = (0..17).map(|_| Key::secret(None, &[1; 32]).unwrap()).collect();
    assert!(KeySet::new(many).is_err());
}

fn config() -> site::Jwt {
    let rule = |claim: &str, field: &str| ClaimRule { claim: claim.into(), field: field.into() };
    site::Jwt {
        keys: Vec::new(),
        issuer: None,
        audiences: Vec::new(),
        leeway_seconds: 0,
        cookie: None,
        claims: vec![rule("sub", "X-User"), rule("roles", "X-Roles")],
        realm: "the \"api\"".into(),
        forwards_token: false,
    }
}

fn gate(config: &site::Jwt) -> Jwt {
    Jwt::new(config, all_keys())
}

fn asked(token: &str) -> Asked {
    Asked::from("192.0.2.1").at_unix(NOW).with("Authorization", format!("Bearer {token}"))
}

#[test]
fn who_has_no_token_is_asked_for_one_and_who_has_a_bad_one_is_told() {
    let gate = gate(&config());
    let challenge = |asked: &Asked| {
        let (_, response) = asked.pass(&gate);
        (response.status.code(), value(&response, "WWW-Authenticate").map(str::to_owned))
    };
    let without = Asked::from("192.0.2.1").at_unix(NOW);
    let plain = (401, Some(r#"Bearer realm="the \"api\"""#.to_owned()));
    assert_eq!(challenge(&without), plain);
    assert_eq!(challenge(&without.with("authorization", "Basic YTpi")), plain, "another scheme");
    let expired = claiming(&format!(r#"{{"exp":{}}}"#, NOW - 1));
    let told =
        r#"Bearer realm="the \"api\"", error="invalid_token", error_description="The token has expired""#;
    assert_eq!(challenge(&asked(&expired)), (401, Some(told.to_owned())));
    for token in ["", "x", "a.b.c", "\"}; drop", &good("")[1..]] {
        let (status, told) = challenge(&asked(token));
        assert!(status == 401 && told.unwrap().contains("error=\"invalid_token\""), "{token}");
    }
    assert_eq!(challenge(&asked(&good("")).with("authorization", "Bearer x")).0, 401, "two of them");
    assert_eq!(challenge(&asked(&good(""))), (200, None));
    let lower = Asked::from("192.0.2.1").at_unix(NOW).with("authorization", format!("bEARER   {}", good("")));
    assert_eq!(challenge(&lower).0, 200);
}

#[test]
fn claims_go_upstream_and_what_the_client_says_in_their_place_does_not() {
    let gate = gate(&config());
    let spoof = |token: &str| asked(token).with("x-user", "root").with("X-ROLES", "all").pass(&gate).0;
    let notes = spoof(&good(r#","sub":"alice","roles":["a","b"]"#));
    assert_eq!(upstream(&notes), "X-User: alice\r\nX-Roles: a,b\r\n");
    let notes = spoof(&good(""));
    assert_eq!(upstream(&notes), "", "no claim, no field");
    for taken in ["x-user", "x-roles", "authorization"] {
        assert!(notes.upstream().takes(taken.as_bytes()), "{taken}");
    }
    let forwarding = Jwt::new(&site::Jwt { forwards_token: true, ..config() }, all_keys());
    assert!(!asked(&good("")).pass(&forwarding).0.upstream().takes(b"authorization"));
}

/// Fault 30: what a token says gets into fields, logs and limits; never as a second line.
#[test]
fn a_claim_is_one_line_or_lets_nobody_in() {
    let gate = gate(&config());
    for sub in [r"a\r\nX-Admin: 1", r"a\nb", r"a\u0000", r"\u001b[31ma", r"a\u007f", r"\u0085a", " a", r"a\t"]
    {
        let (notes, response) = asked(&good(&format!(r#","sub":"{sub}""#))).pass(&gate);
        assert_eq!(response.status, Status::UNAUTHORIZED, "{sub}");
        assert!(!upstream(&notes).contains("Admin"));
        assert!(notes.kept::<Claims>().is_none());
    }
    let (notes, _) = asked(&good(r#","sub":"Jörg \"the\" {r}""#)).pass(&gate);
    assert_eq!(upstream(&notes), "X-User: Jörg \"the\" {r}\r\n");
}

#[test]
fn a_token_in_a_cookie_is_taken_out_and_the_others_are_left() {
    let gate = gate(&site::Jwt { cookie: Some("session".into()), ..config() });
    let with = |cookie: &str| Asked::from("192.0.2.1").at_unix(NOW).with("cookie", cookie).pass(&gate);
    let token = good(r#","sub":"alice""#);
    let (notes, response) = with(&format!("a=1; session={token}; b=x=y"));
    assert_eq!(response.status, Status::OK);
    assert_eq!(upstream(&notes), "cookie: a=1; b=x=y\r\nX-User: alice\r\n");
    let (notes, _) = with(&format!("session={token}"));
    assert!(notes.upstream().takes(b"cookie") && !upstream(&notes).contains("cookie"));
    assert_eq!(with(&format!("session={token}; session=x")).1.status, Status::UNAUTHORIZED, "which of them?");
    assert_eq!(with(&format!("Session={token}")).1.status, Status::UNAUTHORIZED);
    assert_eq!(asked(&token).pass(&gate).1.status, Status::UNAUTHORIZED, "not where it is looked for");
}

#[test]
fn where_nobody_knows_the_time_no_token_is_good() {
    let response = asked(&good("")).at_unix(0).pass(&gate(&config())).1;
    assert_eq!(response.status, Status::UNAUTHORIZED);
}

#[test]
fn limits_can_count_by_claim() {
    let gate = gate(&config());
    let secret = Secret::of(1);
    let key = |claims: &str| {
        let mut notes = Notes::default();
        asked(&good(claims)).ask_with(&mut notes, |exchange| {
            assert!(matches!(gate.enter(exchange), Flow::On));
            secret.key(&KeyOf::Claim("tenant".into()), exchange)
        })
    };
    assert_eq!(key(r#","tenant":"a""#), key(r#","tenant":"a","sub":"x""#));
    assert_ne!(key(r#","tenant":"a""#), key(r#","tenant":"b""#));
    assert_eq!(key(""), secret.client(Some("192.0.2.1".parse().unwrap())));
}

proptest! {
    /// What is changed anywhere is not good any more, and nothing panics.
    #[test]
    fn a_good_token_is_good_in_no_other_spelling(at in 0usize..200, to: u8) {
        let token = good(r#","sub":"alice""#);
        let mut bytes = token.clone().into_bytes();
        let at = at % bytes.len();
        prop_assume!(bytes[at] != to);
        bytes[at] = to;
        prop_assert!(judge(&bytes, &all_keys(), &Seen::new(0), &Rules::default(), NOW).is_err());
    }

    #[test]
    fn nothing_that_is_shown_panics(token in "([A-Za-z0-9_=-]{0,30}\\.?){0,5}", raw: Vec<u8>) {
        let keys = all_keys();
        for bytes in [token.as_bytes(), &raw] {
            let judged = catch_unwind(AssertUnwindSafe(|| {
                judge(bytes, &keys, &Seen::new(4), &Rules::default(), NOW).is_err()
            }));
            prop_assert!(judged.unwrap());
        }
    }
}
