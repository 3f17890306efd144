use super::*;
use std::collections::BTreeMap;

fn alpha2(text: &str) -> Option<&'static str> {
    match Meaning::of(text)? {
        Meaning::Country(alpha2) => Some(alpha2),
        Meaning::NoCountry { .. } => None,
    }
}

#[test]
fn case09_every_country_is_found_by_each_of_its_names() {
    let countries: Vec<_> = lines::<4>(ISO_3166_1).collect();
    assert_eq!(countries.len(), 249);
    for [code, alpha3, numeric, name] in &countries {
        let small = name.to_lowercase();
        let with_article = format!("{name} (the)");
        let with_and = name.replace(" and ", " & ");
        for text in [code, alpha3, numeric, name, &*small, &with_article, &with_and] {
            assert_eq!(alpha2(text), Some(*code), "{text}");
        }
    }
    let names: Vec<_> = lines::<3>(NAMES).collect();
    assert!(names.len() > 700);
    for [code, name, source] in names {
        assert_eq!(alpha2(name), Some(code), "{name}");
        assert!(["cldr", "countrynames", "i18n-iso-countries", "own"].contains(&source));
        assert!(
            code == "XK" || countries.iter().any(|[alpha2, ..]| *alpha2 == code),
            "{code}"
        );
    }
}

#[test]
fn case09_no_two_countries_share_a_key() {
    let mut by_words: BTreeMap<String, String> = BTreeMap::new();
    let mut by_letters: BTreeMap<String, String> = BTreeMap::new();
    let add = |map: &mut BTreeMap<String, String>, key: String, code: &str| {
        let earlier = map.insert(key.clone(), code.to_owned());
        assert!(
            earlier.is_none_or(|earlier| earlier == code),
            "{key} is {code} too"
        );
    };
    for [code, alpha3, numeric, name] in lines::<4>(ISO_3166_1) {
        for text in [code, alpha3, numeric, name] {
            add(&mut by_words, words(text), code);
        }
        add(&mut by_letters, letters(name), code);
    }
    for [code, name, _] in lines::<3>(NAMES) {
        add(&mut by_words, words(name), code);
        add(&mut by_letters, letters(name), code);
    }
    for [code, country, ..] in lines::<4>(OTHER_CODES) {
        add(
            &mut by_words,
            words(code),
            if country == NONE { code } else { country },
        );
    }
    assert!(!by_words.contains_key(""));
}

#[test]
fn every_line_of_the_data_files_is_read() {
    let content = |file: &str| file.lines().filter(|line| !line.starts_with('#')).count();
    assert_eq!(lines::<4>(ISO_3166_1).count(), content(ISO_3166_1));
    assert_eq!(lines::<3>(NAMES).count(), content(NAMES));
    assert_eq!(lines::<4>(OTHER_CODES).count(), content(OTHER_CODES));
}

#[test]
fn case07_codes_as_other_systems_write_them() {
    for (text, code) in [
        ("UK", "GB"),
        ("uk", "GB"),
        ("EL", "GR"),
        ("U.K.", "GB"),
        ("U.S.A.", "US"),
        ("U.S.", "US"),
        ("UAE", "AE"),
        ("U.A.E.", "AE"),
        ("GBR", "GB"),
        ("840", "US"),
        ("FX", "FR"),
        ("TP", "TL"),
        ("BU", "MM"),
        ("ZR", "CD"),
        ("DD", "DE"),
        ("ROM", "RO"),
        ("IC", "ES"),
        ("XKX", "XK"),
        ("ＤＥ", "DE"),
    ] {
        assert_eq!(alpha2(text), Some(code), "{text}");
    }
}

#[test]
fn case08_codes_of_passports() {
    for (text, code) in [
        ("D", "DE"),
        ("D<<", "DE"),
        ("GBD", "GB"),
        ("GBN", "GB"),
        ("GBO", "GB"),
        ("GBP", "GB"),
        ("GBS", "GB"),
        ("RKS", "XK"),
    ] {
        assert_eq!(alpha2(text), Some(code), "{text}");
    }
    for code in [
        "XXA", "XXB", "XXC", "XXX", "UNO", "UNA", "UNK", "EUE", "XBA", "XIM", "XCC", "XCE", "XCO", "XEC",
        "XPO", "XES", "XMP", "XOM", "XDC", "EU", "UN", "SU", "YU", "AN", "CS",
    ] {
        let Some(Meaning::NoCountry { code: kept, .. }) = Meaning::of(code) else {
            panic!("{code} is no country");
        };
        assert_eq!(kept, code);
        assert_eq!(Country::parse(code), None);
    }
}

#[test]
fn case09_names_as_people_write_them() {
    for (text, code) in [
        ("United States of America (the)", "US"),
        ("  united   kingdom ", "GB"),
        ("Great Britain", "GB"),
        ("England", "GB"),
        ("Holland", "NL"),
        ("The Netherlands", "NL"),
        ("Russia", "RU"),
        ("South Korea", "KR"),
        ("Korea, Republic of", "KR"),
        ("Korea (the Democratic People's Republic of)", "KP"),
        ("Ivory Coast", "CI"),
        ("Côte d’Ivoire", "CI"),
        ("COTE D'IVOIRE", "CI"),
        ("Burma", "MM"),
        ("Macedonia", "MK"),
        ("Cape Verde", "CV"),
        ("East Timor", "TL"),
        ("Vatican", "VA"),
        ("Holy See (the)", "VA"),
        ("Czechia", "CZ"),
        ("Turkey", "TR"),
        ("Türkiye", "TR"),
        ("St. Lucia", "LC"),
        ("St Kitts & Nevis", "KN"),
        ("Bosnia & Herzegovina", "BA"),
        ("DR Congo", "CD"),
        ("Congo-Kinshasa", "CD"),
        ("Congo (the Democratic Republic of the)", "CD"),
        ("Congo (the)", "CG"),
        ("Guinea", "GN"),
        ("Equatorial Guinea", "GQ"),
        ("Samoa", "WS"),
        ("American Samoa", "AS"),
        ("Virgin Islands (U.S.)", "VI"),
        ("Virgin Islands (British)", "VG"),
        ("Saint Martin (French part)", "MF"),
        ("Taiwan (Province of China)", "TW"),
        ("Palestine", "PS"),
        ("Kosovo", "XK"),
        ("Deutschland", "DE"),
        ("España", "ES"),
        ("Ελλάδα", "GR"),
        ("日本", "JP"),
        ("HongKong", "HK"),
        ("newzealand", "NZ"),
    ] {
        assert_eq!(alpha2(text), Some(code), "{text}");
    }
}

#[test]
fn case07_letters_that_stand_apart_are_a_code_and_words_for_nothing_are_none() {
    for (text, code) in [("U. K.", "GB"), ("U S A", "US"), ("U. A. E.", "AE"), ("ST", "ST")] {
        let found = Meaning::of(text).and_then(Meaning::country);
        assert_eq!(found.as_ref().map(Country::as_str), Some(code), "{text}");
    }
    for text in ["N/A", "n.a.", "NULL", "none", "Unknown", "XX"] {
        assert!(
            matches!(Meaning::of(text), Some(Meaning::NoCountry { .. })),
            "{text}"
        );
    }
    assert_eq!(Meaning::of("Saint"), None);
}

#[test]
fn what_is_no_country_is_refused() {
    for text in [
        "",
        " ",
        "QQ",
        "999",
        "Atlantis",
        "of the",
        "U",
        "U-S",
        "republic",
        "Virgin Islands",
        "Europe",
        "--",
    ] {
        assert_eq!(Meaning::of(text), None, "{text:?}");
    }
}
