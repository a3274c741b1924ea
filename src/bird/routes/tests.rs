use super::*;
use proptest::prelude::*;

/// Prefix number `n`; 0 is the dummy.
fn prefix(n: u32) -> Prefix {
    format!("10.0.{}.{}/32", n / 256, n % 256).parse().unwrap()
}

fn prefixes(numbers: &[u32]) -> Vec<Prefix> {
    numbers.iter().copied().map(prefix).collect()
}

fn desired<'a>(decisions: &[(u32, &'a str, Decision)]) -> Vec<DesiredPrefix<'a>> {
    decisions.iter().map(|&(n, service, decision)| DesiredPrefix { prefix: prefix(n), service, decision }).collect()
}

/// Compares the list that replaces `listed`, and the first words of each finding's sentence.
fn check(
    listed: &[u32],
    decisions: &[(u32, &str, Decision)],
    unmanaged: UnmanagedPrefixes,
    list: &[u32],
    sentences: &[&str],
) {
    let routes = next(&prefixes(listed), &desired(decisions), Some(&prefix(0)), unmanaged);
    assert_eq!(routes.list, prefixes(list), "{listed:?} {decisions:?}");
    let actual: Vec<String> =
        routes.findings.iter().map(|finding| finding.sentence(Phase::Running, Path::new("/p.conf"))).collect();
    assert_eq!(actual.len(), sentences.len(), "{actual:?}");
    assert!(actual.iter().zip(sentences).all(|(actual, start)| actual.starts_with(start)), "{actual:?}");
}

use Decision::{Advertise, Keep, Withdraw};

#[test]
fn prefixes_are_announced_and_withdrawn() {
    let remove = UnmanagedPrefixes::Remove;
    check(&[0], &[(1, "a", Advertise)], remove, &[0, 1], &["announcing 10.0.0.1/32 for a"]);
    check(&[0, 1], &[(1, "a", Advertise)], remove, &[0, 1], &[]);
    check(
        &[0, 1],
        &[(1, "a", Withdraw)],
        remove,
        &[0],
        &["withdrawing 10.0.0.1/32 for a", "Bird configuration doesn't have IP prefixes for any"],
    );
    check(&[0], &[(1, "a", Withdraw)], remove, &[0], &[]);
    check(&[2, 0, 1], &[(1, "a", Advertise), (2, "b", Withdraw)], remove, &[0, 1], &["withdrawing 10.0.0.2/32 for b"]);
    // The order of the file is kept; additions follow in the order of the configuration.
    check(
        &[3, 0],
        &[(2, "b", Advertise), (1, "a", Advertise), (3, "c", Advertise)],
        remove,
        &[3, 0, 2, 1],
        &["announcing 10.0.0.2/32 for b", "announcing 10.0.0.1/32 for a"],
    );
}

#[test]
fn changes_of_one_service_share_a_sentence() {
    let (up, down) = (Advertise, Withdraw);
    check(
        &[0, 3, 5, 4],
        &[(1, "a", up), (2, "b", up), (7, "a", up), (3, "c", down), (4, "c", down), (5, "d", down), (6, "c", up)],
        UnmanagedPrefixes::Remove,
        &[0, 1, 2, 7, 6],
        &[
            "withdrawing 10.0.0.3/32,10.0.0.4/32 for c",
            "withdrawing 10.0.0.5/32 for d",
            "announcing 10.0.0.1/32,10.0.0.7/32 for a",
            "announcing 10.0.0.2/32 for b",
            "announcing 10.0.0.6/32 for c",
        ],
    );
}

#[test]
fn undecided_prefixes_stay_as_first_read() {
    let decisions = [(1, "a", Keep(true)), (2, "b", Keep(false))];
    check(&[0, 1], &decisions, UnmanagedPrefixes::Remove, &[0, 1], &[]);
    // Another process has changed the file.
    check(&[0], &decisions, UnmanagedPrefixes::Remove, &[0, 1], &["announcing 10.0.0.1/32 for a"]);
    check(&[0, 1, 2], &decisions, UnmanagedPrefixes::Remove, &[0, 1], &["withdrawing 10.0.0.2/32 for b"]);
}

#[test]
fn the_dummy_is_always_listed() {
    check(&[], &[], UnmanagedPrefixes::Keep, &[0], &["dummy IP prefix 10.0.0.0/32 wasn't found"]);
    check(&[1, 0, 0], &[(1, "a", Advertise)], UnmanagedPrefixes::Keep, &[1, 0], &[]);
    check(&[1], &[(1, "a", Advertise)], UnmanagedPrefixes::Keep, &[0, 1], &["dummy IP prefix"]);
    check(&[0], &[(0, "a", Withdraw)], UnmanagedPrefixes::Keep, &[0], &[]);
    check(&[], &[(0, "a", Advertise)], UnmanagedPrefixes::Keep, &[0], &["dummy IP prefix"]);
    let routes = next(&[], &[], None, UnmanagedPrefixes::Remove);
    assert_eq!(routes, Routes { list: Vec::new(), findings: Vec::new() });
}

#[test]
fn unmanaged_prefixes_are_kept_or_removed() {
    check(
        &[0, 7, 1, 8, 7],
        &[(1, "a", Advertise)],
        UnmanagedPrefixes::Keep,
        &[0, 7, 1, 8],
        &["found IP prefixes 10.0.0.7/32,10.0.0.8/32 in /p.conf"],
    );
    check(
        &[0, 7, 1, 8, 7],
        &[(1, "a", Advertise)],
        UnmanagedPrefixes::Remove,
        &[0, 1],
        &["found 10.0.0.7/32,10.0.0.8/32 IP prefixes in Bird"],
    );
    check(
        &[0, 7],
        &[],
        UnmanagedPrefixes::Remove,
        &[0],
        &["found 10.0.0.7/32 IP prefixes", "Bird configuration doesn't"],
    );
}

#[test]
fn the_smallest_decision_wins() {
    let check = |first: Decision, second: Decision, listed: bool| {
        let routes = next(&[], &desired(&[(1, "a", first), (1, "b", second)]), None, UnmanagedPrefixes::Remove);
        assert_eq!(routes.list, if listed { prefixes(&[1]) } else { Vec::new() }, "{first:?} {second:?}");
    };
    check(Advertise, Advertise, true);
    check(Advertise, Keep(false), false);
    check(Advertise, Keep(true), true);
    check(Keep(true), Withdraw, false);
    check(Withdraw, Advertise, false);
    // The log names the service that withdraws the prefix.
    let routes = next(
        &prefixes(&[1, 2]),
        &desired(&[(1, "a", Advertise), (1, "b", Withdraw), (1, "c", Withdraw), (2, "d", Advertise)]),
        None,
        UnmanagedPrefixes::Remove,
    );
    assert_eq!(routes.findings, [Finding::Withdrawn { prefixes: prefixes(&[1]), service: "b" }]);
}

#[test]
fn each_finding_has_its_level_and_its_sentence_at_the_start() {
    let check = |finding: Finding<'_>, level: LogLevel, sentence: &str| {
        assert_eq!(finding.level(), level);
        assert_eq!(finding.sentence(Phase::Start, Path::new("/var/p.conf")), sentence);
    };
    check(
        Finding::DummyMissing(prefix(0)),
        LogLevel::Warning,
        "dummy IP prefix 10.0.0.0/32 is missing from bird configuration /var/p.conf, adding it",
    );
    check(
        Finding::UnmanagedFound(prefixes(&[1, 2])),
        LogLevel::Warning,
        "found IP prefixes 10.0.0.1/32,10.0.0.2/32 in /var/p.conf without a service check configured",
    );
    check(
        Finding::UnmanagedRemoved(prefixes(&[1])),
        LogLevel::Warning,
        "removing IP prefix(es) 10.0.0.1/32 from /var/p.conf because they don't have a service check configured",
    );
    check(
        Finding::Announced { prefixes: prefixes(&[1]), service: "a" },
        LogLevel::Info,
        "announcing 10.0.0.1/32 for a",
    );
    check(
        Finding::Withdrawn { prefixes: prefixes(&[2, 1]), service: "a" },
        LogLevel::Info,
        "withdrawing 10.0.0.2/32,10.0.0.1/32 for a",
    );
    check(
        Finding::NoRoutesLeft,
        LogLevel::Warning,
        "Bird configuration doesn't have IP prefixes for any of the services we monitor! It means local node \
         doesn't receive any traffic",
    );
}

#[test]
fn ten_thousand_prefixes_take_linear_time() {
    let listed: Vec<Prefix> = (0..10_000).map(prefix).collect();
    let desired: Vec<DesiredPrefix<'_>> = (1..10_001)
        .map(|n| DesiredPrefix {
            prefix: prefix(n),
            service: "s",
            decision: if n % 2 == 0 { Withdraw } else { Advertise },
        })
        .collect();
    let routes = next(&listed, &desired, Some(&listed[0]), UnmanagedPrefixes::Remove);
    assert_eq!(routes.list.len(), 5_001);
    let withdrawn: Vec<usize> = routes
        .findings
        .iter()
        .map(|finding| match finding {
            Finding::Withdrawn { prefixes, service: "s" } => prefixes.len(),
            finding => panic!("{finding:?}"),
        })
        .collect();
    assert_eq!(withdrawn, [4_999]);
}

fn decision() -> impl Strategy<Value = Decision> {
    prop_oneof![Just(Withdraw), any::<bool>().prop_map(Keep), Just(Advertise)]
}

proptest! {
    #[test]
    fn the_list_agrees_with_a_model(
        listed in prop::collection::vec(0u32..12, 0..15),
        decisions in prop::collection::vec((1u32..8, decision()), 0..12),
        dummy in prop::option::of(Just(prefix(0))),
        keep: bool,
    ) {
        let unmanaged = if keep { UnmanagedPrefixes::Keep } else { UnmanagedPrefixes::Remove };
        let listed = prefixes(&listed);
        let desired: Vec<DesiredPrefix<'_>> = decisions.iter().map(|&(n, decision)| DesiredPrefix { prefix: prefix(n), service: "s", decision }).collect();
        let routes = next(&listed, &desired, dummy.as_ref(), unmanaged);

        // The model decides for each prefix on its own.
        for n in 0..12 {
            let of_prefix: Vec<Decision> = decisions.iter().filter(|(of, _)| *of == n).map(|(_, decision)| *decision).collect();
            let is_listed = if Some(prefix(n)) == dummy {
                true
            } else if of_prefix.is_empty() {
                keep && listed.contains(&prefix(n))
            } else {
                !of_prefix.contains(&Withdraw)
                    && !of_prefix.contains(&Keep(false))
            };
            prop_assert_eq!(routes.list.iter().filter(|listed| **listed == prefix(n)).count(), usize::from(is_listed), "{}", n);
        }

        // Prefixes that stay keep their order.
        let order = |list: &[Prefix], of: &[Prefix]| {
            let mut order: Vec<Prefix> = Vec::new();
            list.iter().for_each(|prefix| if of.contains(prefix) && !order.contains(prefix) { order.push(*prefix) });
            order
        };
        prop_assert_eq!(order(&listed, &routes.list), order(&routes.list, &listed));

        // A second step returns the same list, and only the finding that unmanaged prefixes exist.
        let again = next(&routes.list, &desired, dummy.as_ref(), unmanaged);
        prop_assert_eq!(&again.list, &routes.list);
        prop_assert!(again.findings.iter().all(|finding| matches!(finding, Finding::UnmanagedFound(_))), "{:?}", again.findings);
    }
}
