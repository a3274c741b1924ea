use super::*;
use crate::config::diff::tests::settings;

fn prefix(text: &str) -> Prefix {
    text.parse().unwrap()
}

/// An answer about prefixes, each with the protocols that announce it, of two that are up.
fn answer(prefixes: &[(&str, &[&str])]) -> Exports {
    let exports = |by: &[&str]| PrefixExports {
        announced_by: by.iter().map(|name| name.to_string()).collect(),
        up: 2,
        why: by.is_empty().then(|| "refused by the export filter of a, b".to_string()),
    };
    let prefixes = prefixes.iter().map(|(text, by)| (prefix(text), exports(by))).collect();
    Exports { protocols: Vec::new(), prefixes, not_reached: 0 }
}

#[test]
fn a_round_is_repeated_until_all_that_could_announce_a_listed_prefix_do() {
    let listed = BTreeSet::from([prefix("10.0.0.1")]);
    let check = |by: &[&str], expected: Round| {
        let mut family = FamilyExports::default();
        assert_eq!(family.take(Family::V4, &answer(&[("10.0.0.1", by)]), &listed), expected, "{by:?}");
        let known = &family.prefixes[&prefix("10.0.0.1")];
        assert_eq!(known.exports.announced_by, by);
        assert_eq!(known.to_nobody_since.is_some(), by.is_empty());
    };
    check(&["a", "b"], Round::Complete);
    check(&["a"], Round::Again);
    check(&[], Round::Again);
}

#[test]
fn the_time_without_any_peer_counts_from_the_first_answer_that_says_so() {
    let listed = BTreeSet::from([prefix("10.0.0.1")]);
    let mut family = FamilyExports::default();
    let mut since = |by: &[&str]| {
        family.take(Family::V4, &answer(&[("10.0.0.1", by)]), &listed);
        family.prefixes[&prefix("10.0.0.1")].to_nobody_since
    };
    let first = since(&[]);
    assert!(first.is_some());
    assert_eq!(since(&[]), first);
    assert_eq!(since(&["a"]), None);
    assert!(since(&[]) >= first);
}

#[test]
fn a_withdrawn_prefix_is_asked_about_until_nobody_is_told_of_it() {
    let mut family = FamilyExports::default();
    let (listed, none) = (BTreeSet::from([prefix("10.0.0.1")]), BTreeSet::new());
    assert_eq!(family.take(Family::V4, &answer(&[("10.0.0.1", &["a", "b"])]), &listed), Round::Complete);
    let state = |family: &FamilyExports| ExportState::from([(Family::V4, family.clone())]);
    assert!(is_announced(&state(&family), &[prefix("10.0.0.1")]));
    assert_eq!(family.take(Family::V4, &answer(&[("10.0.0.1", &["b"])]), &none), Round::Again);
    assert!(is_announced(&state(&family), &[prefix("10.0.0.1")]));
    assert_eq!(family.take(Family::V4, &answer(&[("10.0.0.1", &[])]), &none), Round::Complete);
    assert!(family.prefixes.is_empty() && !is_announced(&state(&family), &[prefix("10.0.0.1")]));
}

#[test]
fn prefixes_that_were_not_reached_keep_what_was_known() {
    let listed = BTreeSet::from([prefix("10.0.0.1"), prefix("10.0.0.2")]);
    let mut family = FamilyExports::default();
    family.take(Family::V4, &answer(&[("10.0.0.1", &["a", "b"]), ("10.0.0.2", &["a", "b"])]), &listed);
    let asked = family.asked;
    assert!(asked.is_some());
    let part = Exports { not_reached: 1, ..answer(&[("10.0.0.1", &["a", "b"])]) };
    family.take(Family::V4, &part, &listed);
    assert_eq!((family.prefixes.len(), family.not_reached, family.asked), (2, 1, asked));
}

#[test]
fn a_plan_has_each_socket_once_with_the_prefixes_of_its_families() {
    let services = "[a]\ncheck_cmd = true\nip_prefix = 10.0.0.1\n[b]\ncheck_cmd = true\nip_prefix = fd00::1\n";
    let plan = |daemon: &str| Plan::new(&settings(daemon, services));
    let both = "ipv6 = true\nbird6_reconfigure_cmd = x\n";
    assert!(plan(both).is_idle());
    let one = plan(&format!("{both}bird_control_socket = /b\nbird6_control_socket = /b\n"));
    assert_eq!(one.sockets, [("/b".into(), BTreeSet::from([prefix("10.0.0.1"), prefix("fd00::1")]))]);
    assert_eq!(one.interval, Some(Duration::from_secs(60)));
    let two = plan(&format!("{both}bird_control_socket = /b\nbird6_control_socket = /b6\n"));
    assert_eq!(two.sockets.len(), 2);
    let four = plan(&format!("{both}bird_control_socket = /b\n"));
    assert_eq!(four.sockets, [("/b".into(), BTreeSet::from([prefix("10.0.0.1")]))]);
    assert!(plan(&format!("{both}bird_control_socket = /b\nbird_export_interval = 0\n")).is_idle());
}
