use super::*;
use crate::bird::protocol::framing::Framing;

fn response(text: &str) -> Response {
    let mut responses = Vec::new();
    Framing::default().feed(text.as_bytes(), &mut responses).unwrap();
    responses.remove(0)
}

const BIRD_2: &str = "2002-Name       Proto      Table      State  Since         Info\n\
                      1002-device1    Device     ---        up     08:52:58.010  \n \
                      direct1    Direct     ---        up     08:52:58.010  \n \
                      up1        BGP        ---        up     08:53:00.513  Established   \n \
                      up-2.x     BGP        ---        start  08:52:58.010  Active        Socket: Connection refused\n \
                      ospf1      OSPF       master4    up     2026-11-22 08:52:58  Running\n \
                      ospf2      OSPF       master4    up     08:52:58.010  Alone\n \
                      new        Telepathy  ---        up     08:52:58.010  \n0000 \n";

#[test]
fn protocols_with_neighbors() {
    let found = Protocol::with_neighbors(&response(BIRD_2));
    let shown: Vec<String> = found
        .iter()
        .map(|one| format!("{} {} {} | {} | {} | {}", one.name, one.kind, one.state, one.since, one.info, one.is_up()))
        .collect();
    let expected = [
        "up1 BGP up | 08:53:00.513 | Established | true",
        "up-2.x BGP start | 08:52:58.010 | Active Socket: Connection refused | false",
        "ospf1 OSPF up | 2026-11-22 08:52:58 | Running | true",
        "ospf2 OSPF up | 08:52:58.010 | Alone | false",
        "new Telepathy up | 08:52:58.010 |  | true",
    ];
    assert_eq!(shown, expected);
    assert_eq!(found[4].situation(), "up");
}

#[test]
fn any_answer_is_a_list() {
    for text in ["9001 syntax error\n", "1002-\n0000 \n", "1002-a b\n0000 \n", "0000 \n"] {
        assert_eq!(Protocol::with_neighbors(&response(text)), [], "{text}");
    }
}

#[test]
fn requests() {
    let prefix: Prefix = "10.52.12.1/32".parse().unwrap();
    let of = |n: usize, version| Protocol::with_neighbors(&response(BIRD_2))[n].request(&prefix, version);
    let version = |major| Some(Version { major, minor: 0, patch: 12 });
    assert_eq!(of(0, version(2)), "show route 10.52.12.1/32 exported up1\n");
    assert_eq!(of(0, None), "show route 10.52.12.1/32 exported up1\n");
    assert_eq!(of(0, version(1)), "show route 10.52.12.1/32 export up1\n");
    assert_eq!(of(1, version(3)), "show route 10.52.12.1/32 exported 'up-2.x'\n");
}

#[test]
fn answers() {
    let check = |text: &str, expected: Export| assert_eq!(Export::of(&response(text)), expected, "{text}");
    check(
        "1007-Table master4:\n 10.52.12.1/32        unicast [direct1 08:52:58.010] * (240)\n\tdev lo\n0000 \n"
            .replace("\n\t", "\n \t")
            .as_str(),
        Export::Announced,
    );
    check("1007-10.52.12.1/32  dev lo [direct1 19:02:58] * (240)\n0000 \n", Export::Announced);
    check("0000 \n", Export::Refused);
    check("8001 Network not found\n", Export::NotInTable);
    check("8001 Network not in table\n", Export::NotInTable);
    check("9001 No valid tables\n", Export::OtherFamily);
    check("9001 syntax error\n", Export::Unknown("syntax error".into()));
}

#[test]
fn one_reason_if_nobody_announces_it() {
    let all = Protocol::with_neighbors(&response(BIRD_2));
    let check = |found: &[(usize, Export)], announced_by: &[&str], why: Option<&str>| {
        let found: Vec<(&Protocol, Export)> = found.iter().map(|(at, export)| (&all[*at], export.clone())).collect();
        let exports = PrefixExports::new(&all, &found);
        assert_eq!(exports.announced_by, announced_by);
        assert_eq!((exports.up, exports.why.as_deref()), (found.len(), why));
    };
    use Export::{Announced, NotInTable, Refused, Unknown};
    check(&[(0, Announced), (2, Refused)], &["up1"], None);
    check(&[(0, Refused), (2, Refused)], &[], Some("refused by the export filter of up1, ospf1"));
    check(&[(0, NotInTable)], &[], Some("not in BIRD's table: does protocol direct see the interface?"));
    check(&[(0, Unknown("syntax error".into()))], &[], Some("asking failed: syntax error"));
    check(&[], &[], Some("no session is up (up-2.x: Active Socket: Connection refused, ospf2: Alone)"));
    assert_eq!(
        PrefixExports::new(&[], &[]).why.unwrap(),
        "BIRD has no protocol that speaks to neighbors of this family"
    );
}
