use super::*;
use crate::report::document::DrainStatus;
use crate::testing::sample;

#[test]
fn a_service_has_the_most_urgent_class_that_fits() {
    let check = |expected: Urgency, change: fn(&mut ServiceStatus)| {
        let mut service = sample::service_status("a", State::Up, &[("10.0.0.1/32", true), ("::1/128", true)]);
        change(&mut service);
        assert_eq!(Urgency::of(&service), expected, "{service:?}");
        assert_eq!(expected.is_well(), matches!(expected, Urgency::Up | Urgency::Disabled | Urgency::Drained));
    };
    fn drain(service: &mut ServiceStatus) {
        service.state = State::Down;
        service.drained = Some(DrainStatus { file: "/d".into(), since: service.since.clone(), until: None });
    }
    fn disable(service: &mut ServiceStatus) {
        service.state = State::Down;
        service.disabled = Some("withdraw".into());
    }
    check(Urgency::Up, |_| ());
    check(Urgency::Up, |service| service.why = Some("the check failed with exit code 1".into()));
    check(Urgency::Disabled, disable);
    check(Urgency::Disabled, |service| (service.overdue_s, service.disabled) = (Some(1.0), Some("withdraw".into())));
    check(Urgency::Drained, drain);
    check(Urgency::Drained, |service| {
        disable(service);
        drain(service);
    });
    check(Urgency::Unknown, |service| service.state = State::Unknown);
    for change in [disable, drain] {
        let mut service = sample::service_status("a", State::Up, &[("10.0.0.1/32", true)]);
        change(&mut service);
        service.prefixes[0].wanted = Some(false);
        assert_eq!(Urgency::of(&service), Urgency::OutOfSync);
    }
    check(Urgency::OutOfSync, |service| {
        service.state = State::Unknown;
        service.prefixes[1].in_bird = Some(false);
    });
    check(Urgency::OutOfSync, |service| service.prefixes[1].in_file = Some(false));
    check(Urgency::Impaired, |service| service.prefixes[1].missing = true);
    check(Urgency::Impaired, |service| {
        service.state = State::Unknown;
        service.problem = Some("no thread".into());
    });
    check(Urgency::Down, |service| {
        service.state = State::Down;
        service.problem = Some("no thread".into());
    });
    check(Urgency::Stuck, |service| (service.state, service.overdue_s) = (State::Down, Some(1.0)));
    check(Urgency::Stuck, |service| {
        drain(service);
        service.overdue_s = Some(1.0);
    });
}

#[test]
fn classes_are_ordered_by_urgency() {
    use Urgency::*;
    let order = [Stuck, Down, Impaired, OutOfSync, Unknown, Drained, Disabled, Up];
    assert!(order.is_sorted());
}
