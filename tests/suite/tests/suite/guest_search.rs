//! Finding people by what somebody types of their names, in the lists of both services.

use std::collections::BTreeSet;

use harness::client::Client;
use harness::database::SETTLED_WITHIN;
use harness::engine::TestDatabase;
use harness::world::{Settings, World};
use serde_json::{Value, json};
use url::form_urlencoded::byte_serialize;

use crate::case::{Case, Ctx, cases};

pub fn cases() -> Vec<Case> {
    cases![
        case10_special_letters_are_found_by_what_people_type,
        case11_people_are_found_by_any_beginning_of_any_word_in_any_order,
        case11_a_changed_name_is_found_and_the_one_before_is_not,
    ]
}

/// Both services, over people that the emitter was given.
struct Hotel {
    world: World,
    emitter: Client,
    receiver: Client,
    other: TestDatabase,
}

impl Hotel {
    async fn with(ctx: &Ctx, people: &[Value]) -> Self {
        let other = ctx.servers.fresh(ctx.engine, "finding_receiver").await.unwrap();
        let world = World::start(Settings::on(ctx.database.url(), other.url()))
            .await
            .unwrap();
        let hotel = Self {
            emitter: Client::new(world.emitter_api()),
            receiver: Client::new(world.receiver_api()),
            world,
            other,
        };
        for (nth, person) in people.iter().enumerate() {
            let made = hotel
                .emitter
                .post("/guests", person, &format!("guest-{nth}"))
                .await;
            assert_eq!(made.unwrap().status, 201, "{person}");
        }
        hotel.world.settled(SETTLED_WITHIN).await.unwrap();
        hotel
    }

    /// The last names of those that the emitter lists.
    async fn guests(&self, typed: &str) -> BTreeSet<String> {
        last_names(&self.emitter, "/guests?last_name=", typed).await
    }

    /// The last names of those that the receiver lists.
    async fn profiles(&self, typed: &str) -> BTreeSet<String> {
        last_names(&self.receiver, "/guest-profiles?name=", typed).await
    }

    async fn stop(self) {
        self.world.stop().await.unwrap();
        self.other.remove().await.unwrap();
    }
}

/// The last names of a list's rows, page by page.
async fn last_names(client: &Client, path: &str, typed: &str) -> BTreeSet<String> {
    let typed: String = byte_serialize(typed.as_bytes()).collect();
    let (mut names, mut next) = (BTreeSet::new(), format!("{path}{typed}"));
    loop {
        let page = client.get(&next).await.unwrap();
        assert_eq!(page.status, 200, "{next}: {}", page.body);
        let rows = page.body["data"].as_array().unwrap().iter();
        names.extend(rows.map(|row| row["last_name"].as_str().unwrap_or("?").to_owned()));
        match page.body["pagination"]["next_cursor"].as_str() {
            Some(cursor) => next = format!("{path}{typed}&cursor={cursor}"),
            None => return names,
        }
    }
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

async fn case10_special_letters_are_found_by_what_people_type(ctx: Ctx) {
    // A last name, and what finds it alone of them all.
    let table: [(&str, &[&str]); 23] = [
        ("Łódź", &["lodz", "Łódź", "LODZ", "lód"]),
        ("Đặng", &["dang", "đang", "Đặ", "dặng"]),
        ("Þórsson", &["thorsson", "þorsson", "Thórs", "ÞÓRSSON"]),
        ("Søren", &["soren", "søren", "soeren", "SÖREN"]),
        ("Œuvre", &["oeuvre", "œuvre", "OEUV"]),
        ("Æbelø", &["aebelo", "æbelø", "aebeloe"]),
        ("Guðmundur", &["gudmundur", "guðm"]),
        ("Weiß", &["weiss", "weiß", "WEISS", "WEIẞ"]),
        ("Yıldız", &["yildiz", "yıldız", "YILDIZ"]),
        ("İnönü", &["inonu", "INONU", "inoenue"]),
        ("Ħamrun", &["hamrun", "ħamr"]),
        ("Ŧuomas", &["tuomas"]),
        ("Ŋiokno", &["niokno", "ngiokno"]),
        ("Əsgərov", &["esgerov", "asgarov", "əsgərov"]),
        (
            "Müller",
            &["muller", "mueller", "müller", "mu\u{308}ller", "ＭÜＬＬＥＲ"],
        ),
        ("Ågård", &["agard", "aagaard", "ågård", "Åg"]),
        ("Nguyễn", &["nguyen", "nguyễn"]),
        ("Ǉubić", &["ljubic"]),
        ("Ɓalarabe", &["balarabe"]),
        ("ﬁnch", &["finch"]),
        ("Παπαδόπουλος", &["παπαδοπουλος", "ΠΑΠΑΔΌΠΟΥΛΟΣ"]),
        ("Йовчев", &["йовчев", "ЙОВ"]),
        ("Goethe", &["goethe", "göthe"]),
    ];
    let people: Vec<Value> = table.iter().map(|(name, _)| json!({"last_name": name})).collect();
    let hotel = Hotel::with(&ctx, &people).await;
    for (name, all_typed) in table {
        for typed in all_typed {
            let only = set(&[name]);
            assert_eq!(hotel.guests(typed).await, only, "E {typed}");
            assert_eq!(hotel.profiles(typed).await, only, "R {typed}");
        }
    }
    hotel.stop().await;
}

async fn case11_people_are_found_by_any_beginning_of_any_word_in_any_order(ctx: Ctx) {
    let people = [
        json!({"first_name": "María", "last_name": "de la Cruz"}),
        json!({"first_name": "John", "last_name": "Smith-Jones"}),
        json!({"first_name": "Anne", "last_name": "Smith Jones"}),
        json!({"first_name": "Liam", "last_name": "O'Brien"}),
        json!({"first_name": "Aoife", "last_name": "O\u{2019}Brien Kelly"}),
        json!({"first_name": "Jan", "last_name": "van den Berg"}),
        json!({"first_name": "Marta", "last_name": "Gal·la", "second_last_name": "Puig i Cadafalch"}),
        json!({"first_name": "Jean-Luc", "last_name": "St. Pierre, Jr."}),
    ];
    let hotel = Hotel::with(&ctx, &people).await;
    let smiths = ["Smith-Jones", "Smith Jones"].as_slice();
    let brians = ["O'Brien", "O\u{2019}Brien Kelly"].as_slice();
    // By last names, at both.
    for (typed, expected) in [
        ("cruz", ["de la Cruz"].as_slice()),
        ("la cruz", &["de la Cruz"]),
        ("cruz de", &["de la Cruz"]),
        ("delacruz", &["de la Cruz"]),
        ("jones", smiths),
        ("smith jones", smiths),
        ("jones smith", smiths),
        ("smith-jones", smiths),
        ("smith\u{2010}jones", smiths),
        ("smithjones", smiths),
        ("jo smi", smiths),
        ("obrien", brians),
        ("o brien", brians),
        ("o'brien", brians),
        ("O\u{2BC}BRIEN", brians),
        ("O\u{B4}Brien", brians),
        ("brien", brians),
        ("kelly obr", &["O\u{2019}Brien Kelly"]),
        ("berg", &["van den Berg"]),
        ("vandenberg", &["van den Berg"]),
        ("galla", &["Gal·la"]),
        ("gal la", &["Gal·la"]),
        ("cadafalch puig", &["Gal·la"]),
        ("st pierre", &["St. Pierre, Jr."]),
        ("pierre jr", &["St. Pierre, Jr."]),
        ("ruz", &[]),
        ("smith brown", &[]),
        ("cruz%", &[]),
    ] {
        assert_eq!(hotel.guests(typed).await, set(expected), "E {typed}");
        assert_eq!(hotel.profiles(typed).await, set(expected), "R {typed}");
    }
    // By all of a person's names, at the receiver.
    for (typed, expected) in [
        ("maria cruz", ["de la Cruz"].as_slice()),
        ("cruz maria", &["de la Cruz"]),
        ("mar", &["de la Cruz", "Gal·la"]),
        ("john jones", &["Smith-Jones"]),
        ("jean luc pierre", &["St. Pierre, Jr."]),
        ("jeanluc", &["St. Pierre, Jr."]),
        ("marta smith", &[]),
    ] {
        assert_eq!(hotel.profiles(typed).await, set(expected), "R {typed}");
    }
    hotel.stop().await;
}

async fn case11_a_changed_name_is_found_and_the_one_before_is_not(ctx: Ctx) {
    let hotel = Hotel::with(&ctx, &[json!({"last_name": "Æbelø-Juhl"})]).await;
    let list = hotel.emitter.get("/guests").await.unwrap();
    let path = format!("/guests/{}", list.body["data"][0]["id"].as_str().unwrap());
    let named = |name: &str| json!({"last_name": name});
    for (body, found, not_found) in [
        (json!({"title": "Dr"}), "juhl", "koch"),
        (named("Koch"), "koch", "juhl"),
        (json!({"second_last_name": "Øst"}), "ost koch", "juhl"),
        (json!({"second_last_name": null}), "koch", "ost"),
    ] {
        let changed = hotel.emitter.put(&path, &body).await.unwrap();
        assert_eq!(changed.status, 200, "{}", changed.body);
        hotel.world.settled(SETTLED_WITHIN).await.unwrap();
        for (typed, number) in [(found, 1), (not_found, 0)] {
            assert_eq!(hotel.guests(typed).await.len(), number, "E {typed}");
            assert_eq!(hotel.profiles(typed).await.len(), number, "R {typed}");
        }
    }
    hotel.stop().await;
}
