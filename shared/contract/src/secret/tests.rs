use super::*;

#[test]
fn takes_both_forms() {
    assert_eq!(
        "sixteen bytes is".parse::<Secret>().unwrap().bytes(),
        b"sixteen bytes is"
    );
    let encoded = Secret::encode(&[7; 32]);
    assert_eq!(encoded.parse::<Secret>().unwrap().bytes(), [7; 32]);
}

#[test]
fn refuses_short_and_broken_ones() {
    for (text, why) in [
        ("", SecretError::Missing),
        ("fifteen bytes .", SecretError::PlainLength),
        ("whsec_", SecretError::StandardLength),
        ("whsec_AAAA", SecretError::StandardLength),
        ("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7o", SecretError::NotBase64),
        (
            "whsec_not base64 but long enough to be plain",
            SecretError::NotBase64,
        ),
    ] {
        assert_eq!(text.parse::<Secret>(), Err(why), "{text}");
    }
    assert_eq!("  ".parse::<SecretList>(), Err(SecretError::Missing));
    assert_eq!(
        "a-long-enough-secret short".parse::<SecretList>(),
        Err(SecretError::PlainLength)
    );
    assert_eq!(
        "a-long-enough-secret ".repeat(5).parse::<SecretList>(),
        Err(SecretError::TooMany)
    );
}

#[test]
fn never_prints() {
    let list: SecretList = "canary-canary-canary canary-canary-second".parse().unwrap();
    let shown = format!("{list:?} {:?} {:#?}", list.as_slice(), list.as_slice()[0]);
    assert!(!shown.contains("canary") && !shown.contains("99"), "{shown}");
}

/// The base64 of 32 bytes, and of 48.
const KEY: &str = "C2FVsBQIhrscChlQIMV+b5sSYspob7oDC2FVsBQIhrs=";
const LONG_KEY: &str = "C2FVsBQIhrscChlQIMV+b5sSYspob7oDC2FVsBQIhrscChlQIMV+b5sSYspob7oD";

#[test]
fn case22_what_looks_like_a_damaged_standard_secret_is_no_plain_one() {
    let url_safe = KEY.replace('+', "-");
    let (half, rest) = LONG_KEY.split_at(40);
    for (text, why) in [
        (format!("v1,whsec_{KEY}"), SecretError::SignaturePrefix),
        (format!("v1,{KEY}whsec_"), SecretError::Prefix),
        (format!("WHSEC_{KEY}"), SecretError::Prefix),
        (format!("Whsec_{KEY}"), SecretError::Prefix),
        (format!("whsec-{KEY}"), SecretError::Prefix),
        (format!("whsec{KEY}"), SecretError::Prefix),
        (format!("whsec:{KEY}"), SecretError::Prefix),
        (format!("whsec%5F{KEY}"), SecretError::Prefix),
        (format!("whsce_{KEY}"), SecretError::Prefix),
        (format!("wsec_{KEY}"), SecretError::Prefix),
        (format!("hsec_{KEY}"), SecretError::Prefix),
        (format!("whsecc_{KEY}"), SecretError::Prefix),
        (format!("\u{ff57}\u{ff48}sec_{KEY}"), SecretError::Prefix),
        (format!("SECRET=whsec_{KEY}"), SecretError::Prefix),
        (format!("_whsec_{KEY}"), SecretError::Prefix),
        (format!("bearer:whsec_{KEY}"), SecretError::Prefix),
        (format!("Bearer whsec_{KEY}"), SecretError::Beside),
        (format!("v1, whsec_{KEY}"), SecretError::Beside),
        (format!("whsk_{KEY}"), SecretError::Asymmetric),
        (format!("WHPK_{KEY}"), SecretError::Asymmetric),
        (format!("'whsec_{KEY}'"), SecretError::Quoted),
        (format!("\"whsec_{KEY}\""), SecretError::Quoted),
        (format!("\u{201c}whsec_{KEY}\u{201d}"), SecretError::Quoted),
        (format!("'whsec_{KEY}"), SecretError::Prefix),
        (format!("whsec_{KEY}'"), SecretError::NotBase64),
        (format!("whsec_{KEY},"), SecretError::NotBase64),
        (
            format!("whsec_{}", KEY.trim_end_matches('=')),
            SecretError::NotBase64,
        ),
        (format!("whsec_{url_safe}"), SecretError::NotBase64),
        (format!("whsec_{half} {rest}"), SecretError::Broken),
        (format!("whsec_{half}\r\n{rest}"), SecretError::Broken),
        (format!("whsec_ {KEY}"), SecretError::Broken),
        (format!("\u{feff}whsec_{KEY}"), SecretError::Invisible),
        (format!("whsec_\u{200b}{KEY}"), SecretError::Invisible),
        (format!("whsec_{KEY}\u{200b}"), SecretError::Invisible),
        (format!("wh\u{ad}sec_{KEY}"), SecretError::Invisible),
        ("'a-plain-secret-in-quotes'".to_owned(), SecretError::Quoted),
        (
            "a-plain-secret-with\u{200d}-a-joiner".to_owned(),
            SecretError::Invisible,
        ),
        (
            "a-plain-secret-with\u{7}-a-bell".to_owned(),
            SecretError::Invisible,
        ),
    ] {
        let list = text.parse::<SecretList>();
        assert_eq!(list, Err(why), "{text:?}");
        // Beside another too, in any order.
        for beside in [
            format!("{text} a-plain-secret-beside"),
            format!("a-plain-secret-beside {text}"),
        ] {
            assert!(beside.parse::<SecretList>().is_err(), "{beside:?}");
        }
    }
}

#[test]
fn what_was_copied_whole_is_taken_whatever_stands_around_it() {
    for (text, secrets) in [
        (format!("whsec_{KEY}"), 1),
        (format!(" whsec_{KEY}\r\n"), 1),
        (format!("whsec_{KEY}\u{a0}"), 1),
        (format!("whsec_{KEY} whsec_{LONG_KEY}"), 2),
        (format!("a-plain-secret-before whsec_{KEY}"), 2),
        (format!("whsec_{KEY} a-plain-secret-after"), 2),
        (KEY.to_owned(), 1),
        ("it's \"in\" no quotes-that-wrap-it".replace(' ', "-"), 1),
        ("sec_0123456789abcdef".to_owned(), 1),
        ("v1,0123456789abcdef".to_owned(), 1),
        ("\u{e9}t\u{e9}-p\u{e2}te-bris\u{e9}e".to_owned(), 1),
    ] {
        let list = text.parse::<SecretList>().map(|list| list.as_slice().len());
        assert_eq!(list, Ok(secrets), "{text:?}");
    }
}

#[test]
fn the_text_of_a_key_means_the_same_key() {
    for text in [
        "sixteen-bytes---",
        "a-plain-secret-of-more-than-24-bytes",
        &"x".repeat(200),
        "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
    ] {
        let secret: Secret = text.parse().unwrap();
        assert!(secret.text().parse::<Secret>().unwrap() == secret, "{text}");
    }
}
