//! Tests with real interfaces in a network namespace.

use super::*;
use crate::testing::isolated::{in_own_network, sh, skipped};

fn has(kernel: &mut Netlink, interface: &str, prefix: &str) -> bool {
    kernel.addresses().unwrap().has(interface, &prefix.parse().unwrap())
}

/// Returns whether the kernel has reported a change. It does so before the command that changes
/// something exits.
fn has_changed(kernel: &mut Netlink) -> bool {
    let has_changed = poll_until(&mut [PollFd::new(kernel, PollFlags::IN)], Some(Instant::now()));
    kernel.take_changes().unwrap();
    assert!(!poll_until(&mut [PollFd::new(kernel, PollFlags::IN)], Some(Instant::now())));
    has_changed
}

#[test]
fn addresses_are_those_of_the_kernel() {
    if !in_own_network("sys::netlink::tests::addresses_are_those_of_the_kernel") {
        return;
    }
    let mut kernel = Netlink::open().unwrap();
    assert!(!has(&mut kernel, "lo", "10.9.0.1/32"));
    sh("ip link add d0 type veth peer name d9; ip link property add dev d0 altname quite-another-name
        ip address add 10.9.0.1/32 dev lo label lo:any
        ip address add 10.9.0.2/24 dev d0
        ip address add 10.9.0.3 peer 10.9.0.4/32 dev d0
        ip address add fd00::1/128 dev d0");
    let mut check = |interface, prefix, expected| assert_eq!(has(&mut kernel, interface, prefix), expected, "{prefix}");
    check("lo", "10.9.0.1/32", true);
    check("lo:any", "10.9.0.1/32", true);
    check("d0", "10.9.0.1/32", false);
    check("none", "10.9.0.1/32", false);
    // The prefix length counts, and a host's address differs from its network's.
    check("d0", "10.9.0.2/32", false);
    check("d0", "10.9.0.0/24", false);
    check("d0", "10.9.0.3/32", true);
    check("d0", "10.9.0.4/32", false);
    check("d0", "fd00::1/128", true);
    check("quite-another-name", "fd00::1/128", true);
    sh("ip link set d0 name d1");
    check("d0", "fd00::1/128", false);
    check("d1", "fd00::1/128", true);
}

/// Every name resolves to the same interface as in the command that the original runs.
#[test]
fn interfaces_have_the_names_that_ip_accepts() {
    if !in_own_network("sys::netlink::tests::interfaces_have_the_names_that_ip_accepts") {
        return;
    }
    // d0 has the index 3. A member of a bridge keeps its addresses. A name may look like a label or
    // an index.
    sh("ip link add d0 type veth peer name p0; ip link property add dev d0 altname a-name-longer-than-any-interface
        ip link property add dev d0 altname short; ip link property add dev d0 altname lo:7
        ip link add d23456789012345 type veth peer name if1
        ip link add d0.10 type veth peer name p2
        ip link add br0 type bridge; ip link set d0.10 master br0
        ip address add 10.9.0.1/32 dev lo label lo:any; ip address add 10.9.0.2/32 dev lo label lo:2
        ip address add 10.9.0.3/32 dev d0; ip address add 10.9.0.4/32 dev d23456789012345
        ip address add 10.9.0.5/32 dev d0.10; ip address add 10.9.0.6/32 dev br0 label br0:0");
    let mut interfaces = vec!["lo", "d0", "d23456789012345", "d0.10", "br0"];
    for (kind, name, add) in [
        ("VLAN", "d0.11", "ip link add link d0 name d0.11 type vlan id 11"),
        ("VRF", "red", "ip link add red type vrf table 10; ip link set d0 master red"),
    ] {
        if runs(add) {
            interfaces.push(name);
            sh(&format!("ip address add 10.9.0.{}/32 dev {name}", 5 + interfaces.len()));
        } else {
            skipped(format_args!("the names of a {kind}: this kernel has none"));
        }
    }
    let addresses = Netlink::open().unwrap().addresses().unwrap();
    let mut names: Vec<_> = interfaces.iter().map(ToString::to_string).collect();
    names.extend(
        interfaces
            .iter()
            .flat_map(|name| ["1", "any", "", "1:2", "123456789012"].map(|label| format!("{name}:{label}"))),
    );
    names.extend(
        "lo:123456789012 :lo lo@ d0@p0 d2345678901234 LO * a-name-longer-than-any-interface short short: short:1 lo:7 \
        a-name-longer-than-any-interface:1 if if0 if1 if2 if3 if3x if03 if+3 if-3 if99 if99999999999 if:3 if3:1 ifb3"
            .split_whitespace()
            .map(String::from),
    );
    let mut counts = [0; 2];
    for name in &names {
        for last in 1..10 {
            let prefix = format!("10.9.0.{last}/32");
            let expected = runs(&format!("/sbin/ip address show dev '{name}' to {prefix} | grep -q ' {prefix} '"));
            assert_eq!(addresses.has(name, &prefix.parse().unwrap()), expected, "{name} {prefix}");
            counts[usize::from(expected)] += 1;
        }
        // For an index that no interface has, `ip` prints an error and succeeds.
        let expected =
            runs(&format!("! /sbin/ip address show dev '{name}' 2>&1 | grep -qi 'does not exist\\|no such'"));
        assert_eq!(addresses.has_interface(name), expected, "{name}");
    }
    assert!(counts.iter().all(|count| *count > 30), "{counts:?}");
}

/// Returns whether a script of `sh` succeeds.
fn runs(script: &str) -> bool {
    use crate::sys::process::{Exit, Limits, Program};
    let limits = Limits { deadline: Instant::now() + Duration::from_secs(60), grace: None, max_output: 1000 };
    let stop = crate::sys::stop_token::StopToken::new().unwrap();
    matches!(Program::new(&["sh", "-c", script].map(String::from)).run(&limits, &stop).exit, Exit::Exited(0))
}

/// Flags mark tentative addresses and failed duplicates. This address stays tentative during the
/// test.
#[test]
fn tentative_addresses_count() {
    if !in_own_network("sys::netlink::tests::tentative_addresses_count") {
        return;
    }
    sh("ip link add v0 type veth peer name v1; ip link set v0 up; ip link set v1 up
        sysctl -qw net.ipv6.conf.v0.dad_transmits=1000; ip address add fd00::1/128 dev v0
        ip address show dev v0 tentative | grep -q fd00::1");
    assert!(has(&mut Netlink::open().unwrap(), "v0", "fd00::1/128"));
}

#[test]
fn changes_are_reported() {
    if !in_own_network("sys::netlink::tests::changes_are_reported") {
        return;
    }
    sh("ip link add d0 type veth peer name d9; ip address add 10.9.0.9/32 dev d0");
    let mut kernel = Netlink::open().unwrap();
    assert!(!has_changed(&mut kernel));
    for change in [
        "ip address add 10.9.0.1/32 dev lo",
        "ip address add fd00::1/128 dev lo",
        "ip address del fd00::1/128 dev lo",
        "ip address flush dev lo",
        "ip link set d0 name d1",
        "ip link del d1",
    ] {
        sh(change);
        assert!(has_changed(&mut kernel), "{change}");
    }
    assert_eq!(kernel.addresses().unwrap().differences(&Addresses::default()), []);
    assert!(!has_changed(&mut kernel), "a request is not a change");
}

#[test]
fn a_thousand_addresses_and_more_changes_than_the_queue_holds_are_read() {
    if !in_own_network("sys::netlink::tests::a_thousand_addresses_and_more_changes_than_the_queue_holds_are_read") {
        return;
    }
    let mut kernel = Netlink::open().unwrap();
    sh("for a in 1 2 3 4; do for b in $(seq 250); do echo address add 10.9.$a.$b/32 dev lo; done; done | ip -batch -
        for n in $(seq 2000); do
            echo address add 10.8.0.1/32 dev lo; echo address del 10.8.0.1/32 dev lo
        done | ip -batch -");
    assert!(has_changed(&mut kernel));
    let addresses = kernel.addresses().unwrap();
    for n in 0..1000 {
        let prefix = format!("10.9.{}.{}/32", 1 + n / 250, 1 + n % 250);
        assert!(addresses.has("lo", &prefix.parse().unwrap()), "{prefix}");
    }
    assert!(!addresses.has("lo", &"10.8.0.1/32".parse().unwrap()));
    sh("ip address add 10.8.0.1/32 dev lo");
    assert!(has_changed(&mut kernel));
}

#[test]
fn toggling_the_differences_makes_two_sets_equal() {
    let address = |interface: &str, last| InterfaceAddress {
        interface: interface.into(),
        ip: [10, 0, 0, last].into(),
        length: 32,
    };
    let (mut one, mut other) = (Addresses::default(), Addresses::default());
    one.toggle(&address("lo", 1));
    one.toggle(&address("d0", 2));
    other.toggle(&address("lo", 1));
    other.toggle(&address("lo", 2));
    let mut differences = one.differences(&other);
    differences.sort_by_key(|address| address.interface.clone());
    assert_eq!(differences, [address("d0", 2), address("lo", 2)]);
    differences.iter().for_each(|address| one.toggle(address));
    assert_eq!((one.differences(&other), &one), (vec![], &other));
}
