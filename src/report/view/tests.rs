use super::*;
use crate::report::document::State;
use crate::testing::sample;

fn document() -> Document {
    let daemon = sample::daemon_state(vec![]);
    let mut document =
        crate::report::status::document(&daemon, crate::sys::clock::Now::read(), &jiff::tz::TimeZone::UTC);
    document.services = [("web", State::Up), ("dns", State::Down), ("new", State::Unknown)]
        .map(|(name, state)| sample::service_status(name, state, &[("10.0.0.1/32", true)]))
        .to_vec();
    document
}

fn view(json: bool, down: bool, services: &[&str]) -> View {
    View { json, down, services: services.iter().map(|name| name.to_string()).collect() }
}

const STYLE: Style = Style { colors: false, width: 80 };

#[test]
fn only_services_are_filtered() {
    let check = |down: bool, services: &[&str], expected: &[&str]| {
        let whole = document();
        let text = view(true, down, services).show(whole.clone(), b"{}".to_vec(), STYLE).unwrap();
        let shown: Document = serde_json::from_slice(&text).unwrap();
        let names: Vec<&str> = shown.services.iter().map(|service| &*service.name).collect();
        assert_eq!(names, expected);
        assert_eq!(Document { services: whole.services.clone(), ..shown }, whole);
        let table = view(false, down, services).show(whole, Vec::new(), STYLE).unwrap();
        let table = String::from_utf8(table).unwrap();
        for name in ["web", "dns", "new"] {
            assert_eq!(table.contains(&format!("\n{name} ")), expected.contains(&name), "{table}");
        }
        assert_eq!(table.contains("SERVICE"), !expected.is_empty(), "{table}");
    };
    check(true, &[], &["dns", "new"]);
    check(false, &["new", "web"], &["web", "new"]);
    check(false, &["web", "web"], &["web"]);
    check(true, &["web", "new"], &["new"]);
    check(true, &["web"], &[]);
}

#[test]
fn an_unfiltered_document_is_shown_as_it_was_sent() {
    let text = view(true, false, &[]).show(document(), b"as it was sent".to_vec(), STYLE).unwrap();
    assert_eq!(text, b"as it was sent");
}

#[test]
fn an_unknown_service_is_an_error_that_names_the_nearest() {
    let check = |services: &[&str], expected: &str| {
        for (json, down) in [(false, false), (true, true)] {
            let error = view(json, down, services).show(document(), Vec::new(), STYLE).unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
    };
    check(&["web", "dsn"], "the running daemon has no service dsn; did you mean dns?");
    check(&["none-like-it"], "the running daemon has no service none-like-it");
}
