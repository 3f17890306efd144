use super::*;

const NOW: UnixMillis = UnixMillis(1_467_415_800_000); // 2016-07-01T23:30:00Z

fn object(value: &Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

fn lisbon() -> Property {
    let body = json!({"id": "LIS01", "name": " Lisbon ", "timezone": "Europe/Lisbon", "currency": "EUR"});
    Property::create(object(&body), NOW).unwrap()
}

fn codes(refusal: Refusal) -> Vec<(String, String)> {
    let Refusal::Invalid(errors) = refusal else {
        panic!("{refusal:?}")
    };
    errors
        .into_iter()
        .map(|error| (error.pointer, error.code))
        .collect()
}

#[test]
fn starts_on_todays_date_in_its_own_zone() {
    let property = lisbon();
    assert_eq!(property.business_date.to_string(), "2016-07-02");
    assert_eq!((property.version, property.name.as_str()), (1, "Lisbon"));
}

#[test]
fn each_rule_is_named() {
    for (name, value, code) in [
        ("id", json!("lis"), "invalid"),
        ("id", json!(null), "required"),
        ("name", json!("  "), "required"),
        ("name", json!("x".repeat(201)), "length"),
        ("timezone", json!("Mars/Olympus"), "unknown_value"),
        ("timezone", json!("Etc/Unknown"), "unknown_value"),
        ("timezone", json!("WET0WEST,M3.5.0/1,M10.5.0"), "unknown_value"),
        ("currency", json!("EURO"), "unknown_value"),
        ("currency", json!("XAU"), "unknown_value"),
        ("business_date", json!("2016-02-30"), "not_a_date"),
        ("stars", json!(5), "unknown_field"),
    ] {
        let mut body = object(&lisbon().to_json());
        body.insert(name.to_owned(), value.clone());
        let refused = codes(Property::create(body, NOW).unwrap_err());
        assert_eq!(refused, [(format!("/{name}"), code.to_owned())], "{name} {value}");
    }
}

#[test]
fn merging_what_was_read_changes_nothing() {
    let property = lisbon();
    let answer = object(&property.to_json());
    assert_eq!(property.merge(answer, NOW.plus_millis(1)), Ok(None));
    assert_eq!(property.merge(Map::new(), NOW.plus_millis(1)), Ok(None));
}

#[test]
fn merging_changes_what_it_names_and_counts_the_version() {
    let property = lisbon();
    let later = NOW.plus_millis(5);
    let merged = property
        .merge(object(&json!({"name": "City"})), later)
        .unwrap()
        .unwrap();
    let expected = Property {
        name: "City".to_owned(),
        version: 2,
        updated_at: later,
        ..property
    };
    assert_eq!(merged, expected);
}

#[test]
fn neither_the_id_nor_the_business_date_can_be_moved() {
    for (name, value) in [
        ("id", json!("LIS02")),
        ("business_date", json!("2016-07-03")),
        ("business_date", json!(null)),
    ] {
        let refused = lisbon().merge(object(&json!({name: value})), NOW).unwrap_err();
        assert_eq!(codes(refused), [(format!("/{name}"), "immutable".to_owned())]);
    }
}
