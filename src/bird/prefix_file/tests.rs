use super::*;
use proptest::prelude::*;

const TIME: &str = "2026-11-22 10:05:35.130014";

fn prefixes(text: &str) -> Vec<Prefix> {
    text.split_whitespace().map(|word| word.parse().unwrap()).collect()
}

#[test]
fn a_rendered_file_has_the_bytes_of_the_original() {
    let list = prefixes("10.189.200.255/32 10.52.12.5/32 10.52.12.1/32");
    assert_eq!(
        render("ACAST_PS_ADVERTISE", Some(&list[0]), &list, TIME, 18195),
        "# Generated 2026-11-22 10:05:35.130014 by anycast-healthchecker (pid=18195)\n\
         # 10.189.200.255/32 is a dummy IP Prefix. It should NOT be used and REMOVED from the constant.\n\
         define ACAST_PS_ADVERTISE =\n    \
             [\n        \
                 10.189.200.255/32,\n        \
                 10.52.12.5/32,\n        \
                 10.52.12.1/32\n    \
             ];\n"
    );
}

#[test]
fn an_empty_list_has_no_dummy_and_no_flaw() {
    let text = render("NOTHING", None, &[], TIME, 1);
    assert!(text.ends_with("define NOTHING =\n    [ ];\n"), "{text}");
    let expected =
        PrefixFile { variable: Some("NOTHING".to_string()), prefixes: Vec::new(), flaw: None, provisional: false };
    assert_eq!(parse(text.as_bytes(), Family::V4), expected);
    assert!(is_canonical(text.as_bytes(), false, "NOTHING", None, &[]));
}

#[test]
fn only_time_and_process_may_differ_in_a_canonical_file() {
    let list = prefixes("10.189.200.255/32 10.52.12.5/32");
    let check = |text: &str, expected: bool| {
        assert_eq!(is_canonical(text.as_bytes(), false, "A", Some(&list[0]), &list), expected, "{text}");
        let mut marked = text.to_string();
        mark_provisional(&mut marked);
        assert!(!is_canonical(marked.as_bytes(), false, "A", Some(&list[0]), &list), "{marked}");
        assert!(!is_canonical(text.as_bytes(), true, "A", Some(&list[0]), &list), "{text}");
        assert_eq!(is_canonical(marked.as_bytes(), true, "A", Some(&list[0]), &list), expected, "{marked}");
    };
    let text = render("A", Some(&list[0]), &list, TIME, 18195);
    check(&text, true);
    check(&text.replace("2026", "2027").replace("18195", "1"), true);
    check(&text.replace("# Generated", "# Edited"), false);
    check(&text.replace("define A", "define B"), false);
    check(&text.replace(".5/32", ".6/32"), false);
    check(&text.replace("    ]", "]"), false);
    check(&format!("{text}\n"), false);
    check("", false);
    check("# Generated ", false);
}

#[test]
fn the_provisional_mark_is_found_in_broken_files_and_changes_nothing_else() {
    let list = prefixes("10.189.200.255/32 10.52.12.5/32");
    let plain = render("A", Some(&list[0]), &list, TIME, 18195);
    let mut marked = plain.clone();
    mark_provisional(&mut marked);
    let file = parse(plain.as_bytes(), Family::V4);
    assert!(!file.provisional);
    assert_eq!(parse(marked.as_bytes(), Family::V4), PrefixFile { provisional: true, ..file });
    assert_eq!(marked.lines().filter(|line| !plain.contains(line)).count(), 1);
    let cut = parse(&marked.as_bytes()[..marked.len() - 9], Family::V4);
    assert!(cut.flaw.is_some() && cut.provisional);
}

/// Compares the legible prefixes and the flaw of a text. BIRD must accept every text without a
/// flaw: see tests/bird_grammar.rs.
fn check(text: &[u8], legible: &str, flaw: &str) {
    let file = parse(text, Family::V4);
    let shown = String::from_utf8_lossy(text);
    assert_eq!(file.prefixes, prefixes(legible), "legible in {shown:?}");
    assert_eq!(file.flaw.map_or(String::new(), |flaw| flaw.to_string()), flaw, "flaw of {shown:?}");
}

#[test]
fn a_file_that_bird_accepts_has_no_flaw() {
    for text in [
        "define A=[10.0.0.1/32,10.0.0.2/32];",
        "define A = [ 10.0.0.1/32, 10.0.0.2/32 ];",
        "\tdefine\tA\t=\n\n[\t10.0.0.1 / 32\t,\n10.0.0.2/032]\n;;",
        "# one, [ ] 10.9.9.9/32\ndefine A = [ 10.0.0.1/32, # 10.9.9.9/32\r\n 10.0.0.2/32 ]; # end",
        "define /* 10.9.9.9/32 \u{e9}\0 # */ A = [ 10.0.0.1/32/**/, /* * / */ 10.0.0.2/32 ];",
        "define 'A-B.C:D' = [ 10.0.0.1/32, 10.0.0.2/32 ];",
    ] {
        check(text.as_bytes(), "10.0.0.1/32 10.0.0.2/32", "");
    }
    check(b"define A = [ 0.0.0.0/0, 10.0.0.0/8, 10.0.0.0/8 ];", "0.0.0.0/0 10.0.0.0/8 10.0.0.0/8", "");
}

#[test]
fn a_file_that_bird_refuses_or_reads_differently_has_a_flaw() {
    let one = "10.0.0.1/32";
    check(b"", "", "it is empty");
    check(b"\n # 10.0.0.1/32\n", "", "it is empty");
    check(b"define A = [ 10.0.0.1/32 ]", one, "it ends where ';' should follow");
    check(b"define A = [ 10.0.0.1/32,", one, "it ends where a prefix should follow");
    check(b"define A = [ 10.0.0.1/32 /* ];", one, "line 1: something BIRD cannot read stands where ',' or ']' should");
    check(b"define A = [ 10.0.0.1/32, ];", one, "line 1: ']' stands where a prefix should");
    check(b"define A = [ , 10.0.0.1/32 ];", one, "line 1: ',' stands where a prefix should");
    check(
        b"define A =\n[ 10.0.0.1/32,, 10.0.0.2/32 ];",
        "10.0.0.1/32 10.0.0.2/32",
        "line 2: ',' stands where a prefix should",
    );
    check(
        b"define A =\n[ 10.0.0.1/32\n10.0.0.2/32 ];",
        "10.0.0.1/32 10.0.0.2/32",
        "line 3: '10.0.0.2' stands where ',' or ']' should",
    );
    check(b"define A = [ 10.0.0.1 ];", one, "line 1: ']' stands where '/' and a prefix length should");
    check(b"define A = [ 10.0.0.0/8+ ];", "", "line 1: '8+' stands where a prefix length in digits should");
    check(b"define A = [ 10.0.0.0/8{24,32} ];", "", "line 1: '8{24' stands where a prefix length in digits should");
    check(b"define A = [ 10.0.0.1/24 ];", "", "line 1: '10.0.0.1/24' has host bits set, did you mean 10.0.0.0/24?");
    check(
        b"define A = [ 10.0.0.0/255.0.0.0 ];",
        "10.0.0.0/8",
        "line 1: '255.0.0.0' stands where a prefix length in digits should",
    );
    check(b"define A = [ 010.0.0.1/32 ];", "", "line 1: '010.0.0.1/32' is not an IPv4 or IPv6 address or prefix");
    check(b"define A = [ 10.0.0.1/32, ::1/128 ];", one, "line 1: ::1/128 does not belong into a list of IPv4 prefixes");
    check(b"define A = [ ::1/128 ];", "", "line 1: ::1/128 does not belong into a list of IPv4 prefixes");
    check(b"define A = [ B ];", "", "line 1: ']' stands where '/' and a prefix length should");
    check(b"define A = [ \"10.0.0.1/32\" ];", one, "line 1: something BIRD cannot read stands where a prefix should");
    check(
        b"define A = [ 10.0.0.1/32 ];\r\n",
        one,
        "line 1: something BIRD cannot read stands where the end of the file should",
    );
    check(
        b"\xef\xbb\xbfdefine A = [ 10.0.0.1/32 ];",
        one,
        "line 1: something BIRD cannot read stands where 'define' should",
    );
    check(b"define A = [ 10.0.0.1/32\0 ];", one, "line 1: something BIRD cannot read stands where ',' or ']' should");
    check(
        b"define A = [ /* /* */ 10.0.0.1/32 ];",
        one,
        "line 1: something BIRD cannot read stands where a prefix should",
    );
    check(b"define 1A = [ 10.0.0.1/32 ];", one, "line 1: '1A' stands where the constant's name should");
    check(b"define A-B = [ 10.0.0.1/32 ];", one, "line 1: 'A-B' stands where the constant's name should");
    check(
        b"define A = [ 10.0.0.1/32 ];\ndefine B = [ ];",
        one,
        "line 2: 'define' stands where the end of the file should",
    );
    check(b"define A = 10.0.0.1/32;", one, "line 1: '10.0.0.1' stands where '[' should");
}

#[test]
fn prefixes_are_salvaged_from_broken_files() {
    let noise = "something BIRD cannot read";
    check(
        b"  10.0.0.1/32,\r\n\x00\xff10.0.0.2/32, ]",
        "10.0.0.1/32 10.0.0.2/32",
        "line 1: '10.0.0.1' stands where 'define' should",
    );
    check(b"\xff\xfe10.0.0.1", "", &format!("line 1: {noise} stands where 'define' should"));
    // Cut off: .1 may have been .12, but a length has at most two digits.
    check(
        b"define A = [\n 10.0.0.2/32,\n 10.0.0.1",
        "10.0.0.2/32",
        "it ends where '/' and a prefix length should follow",
    );
    check(
        b"define A = [\n 10.0.0.2/32,\n 10.0.0.1/32",
        "10.0.0.2/32 10.0.0.1/32",
        "it ends where ',' or ']' should follow",
    );
    check(
        b"10.0.0.1/10.0.0.2/32 10.0.0.3/\n10.0.0.4\n",
        "10.0.0.2/32 10.0.0.4/32",
        "line 1: '10.0.0.1' stands where 'define' should",
    );
    let giant = format!("define A = [ {} ];", "1".repeat(10_000_000));
    check(giant.as_bytes(), "", &format!("line 1: {noise} stands where a prefix should"));
}

#[test]
fn the_variable_is_found_in_broken_files_too() {
    let check = |text: &str, expected: Option<&str>| {
        assert_eq!(parse(text.as_bytes(), Family::V4).variable.as_deref(), expected, "{text:?}");
    };
    check("define A = [ 10.0.0.1/32,", Some("A"));
    check("garbage\ndefine 'A-B' =", Some("'A-B'"));
    check("# define A = []", None);
    check("", None);
}

#[test]
fn ten_thousand_prefixes_are_read_back() {
    let list: Vec<Prefix> =
        (0..10_000u32).map(|n| format!("10.{}.{}.1/32", n / 256, n % 256).parse().unwrap()).collect();
    let text = render("A", Some(&list[0]), &list, TIME, 1);
    assert_eq!(
        parse(text.as_bytes(), Family::V4),
        PrefixFile { variable: Some("A".to_string()), prefixes: list, flaw: None, provisional: false }
    );
}

/// A parser that is not linear would take hours.
#[test]
fn a_huge_broken_file_is_read_in_linear_time() {
    for unit in [",", "a ", "/**/", "/*", "#", "\n", "10.0.0.1/ ", "define ", "/ ", "/*\n*/a"] {
        let file = parse(unit.repeat(500_000 / unit.len()).as_bytes(), Family::V4);
        assert!(file.flaw.is_some() && file.prefixes.is_empty(), "{unit:?}");
    }
    let commented = format!("define A = [ 10.0.0.1{0}/{0}32{0}]{0};", "/* */".repeat(50_000));
    check(commented.as_bytes(), "10.0.0.1/32", "");
}

fn any_prefix(family: Family) -> impl Strategy<Value = Prefix> {
    (any::<u128>(), 0u8..=128).prop_map(move |(bits, length)| {
        let net: ipnet::IpNet = match family {
            Family::V4 => ipnet::Ipv4Net::new((bits as u32).into(), length % 33).unwrap().trunc().into(),
            Family::V6 => ipnet::Ipv6Net::new(bits.into(), length).unwrap().trunc().into(),
        };
        net.to_string().parse().unwrap()
    })
}

fn any_file() -> impl Strategy<Value = (Family, Vec<Prefix>, Option<Prefix>, String)> {
    let family = prop_oneof![Just(Family::V4), Just(Family::V6)];
    family.prop_flat_map(|family| {
        let list = prop::collection::vec(any_prefix(family), 0..20);
        (Just(family), list, prop::option::of(any_prefix(family)), "[A-Za-z_][A-Za-z0-9_]{0,63}|'[A-Z.:-]{1,64}'")
    })
}

proptest! {
    #[test]
    fn a_rendered_file_is_read_back((family, list, dummy, variable) in any_file()) {
        let text = render(&variable, dummy.as_ref(), &list, TIME, 7);
        prop_assert!(is_canonical(text.as_bytes(), false, &variable, dummy.as_ref(), &list));
        prop_assert_eq!(parse(text.as_bytes(), family), PrefixFile { variable: Some(variable), prefixes: list, flaw: None, provisional: false });
    }

    #[test]
    fn a_truncated_file_has_a_flaw_or_the_whole_list((family, list, dummy, variable) in any_file()) {
        let text = render(&variable, dummy.as_ref(), &list, TIME, 7);
        for end in 0..text.len() {
            let file = parse(&text.as_bytes()[..end], family);
            prop_assert!(file.flaw.is_some() || file.prefixes == list, "cut at {}", end);
        }
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        parse(&bytes, Family::V4);
    }

    /// A file of shuffled tokens that has no flaw reads the same when it is rendered again.
    #[test]
    fn a_file_without_a_flaw_survives_a_round_trip(pieces in prop::collection::vec(
        prop::sample::select(vec!["define ", "A ", "= ", "[ ", "10.0.0.1/32 ", ", ", "]", ";", "10.0.0.0/8", "#\n", "/* */", "\0", "/", "8"]), 0..14,
    )) {
        let file = parse(pieces.concat().as_bytes(), Family::V4);
        if file.flaw.is_none() {
            let text = render(&file.variable.clone().unwrap(), None, &file.prefixes, TIME, 7);
            prop_assert_eq!(parse(text.as_bytes(), Family::V4), file);
        }
    }
}
