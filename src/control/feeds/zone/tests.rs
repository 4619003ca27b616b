//! Zones put together from messages that are built here, right and wrong.

use super::*;
use domain::base::iana::{Class, Rcode};
use domain::base::{MessageBuilder, Ttl};
use domain::rdata::{A, Cname, Soa};
use proptest::prelude::*;
use std::str::FromStr;

#[derive(Clone, Debug)]
enum Rr {
    Soa(u32),
    A(&'static str, u8),
    /// In another class.
    Chaos(&'static str),
    Cname(&'static str, &'static str),
}

fn name(text: &str) -> Name<Vec<u8>> {
    Name::from_str(text).expect("a name")
}

/// One message that answers an AXFR or IXFR with these records.
fn message(rtype: Rtype, records: &[Rr]) -> Vec<u8> {
    let mut question = MessageBuilder::new_vec().question();
    question.header_mut().set_qr(true);
    question.header_mut().set_rcode(Rcode::NOERROR);
    question.push((name("rpz.example."), rtype)).unwrap();
    let mut answer = question.answer();
    let ttl = Ttl::from_secs(60);
    for record in records {
        match record {
            Rr::Soa(serial) => {
                let seconds = Ttl::from_secs;
                let soa = Soa::new(
                    name("ns.example."),
                    name("me.example."),
                    Serial(*serial),
                    seconds(3600),
                    seconds(600),
                    seconds(86400),
                    seconds(60),
                );
                answer.push((name("rpz.example."), Class::IN, ttl, soa)).unwrap();
            }
            Rr::A(owner, last) => {
                answer.push((name(owner), Class::IN, ttl, A::from_octets(192, 0, 2, *last))).unwrap();
            }
            Rr::Chaos(owner) => {
                answer.push((name(owner), Class::CH, ttl, A::from_octets(192, 0, 2, 1))).unwrap();
            }
            Rr::Cname(owner, target) => {
                answer.push((name(owner), Class::IN, ttl, Cname::new(name(target)))).unwrap();
            }
        }
    }
    answer.additional().finish()
}

fn put_together(
    zone: Option<Zone>,
    size_max: u64,
    messages: impl IntoIterator<Item = Vec<u8>>,
) -> Result<Option<Assembled>, Text> {
    let mut assembly = Assembly::new(name("rpz.example.").as_slice(), zone, size_max)?;
    for message in messages {
        if let Some(assembled) = assembly.take(message)? {
            return Ok(Some(assembled));
        }
    }
    Ok(None)
}

fn whole() -> Zone {
    let records = [
        Rr::Soa(1),
        Rr::Cname("Bad.rpz.example.", "."),
        Rr::A("garden.rpz.example.", 1),
        Rr::A("garden.rpz.example.", 1),
        Rr::Soa(1),
    ];
    match put_together(None, 1 << 20, [message(Rtype::AXFR, &records)]) {
        Ok(Some(Assembled::Changed(zone))) => zone,
        other => panic!("{other:?}"),
    }
}

fn change(records: &[Rr]) -> Result<Option<Assembled>, Text> {
    put_together(Some(whole()), 1 << 20, [message(Rtype::IXFR, records)])
}

#[test]
fn a_whole_zone_is_written_and_read_back() {
    let zone = whole();
    assert_eq!((zone.entries(), zone.soa.serial), (3, 1), "a record that comes twice is there once");
    let text = zone.to_text();
    assert_eq!(
        text,
        "rpz.example. 60 IN SOA ns.example. me.example. 1 3600 600 86400 60\n\
         bad.rpz.example. 60 IN CNAME .\n\
         garden.rpz.example. 60 IN A 192.0.2.1\n"
    );
    assert_eq!(Zone::from_text(&text).unwrap(), Zone { bytes: Zone::from_text(&text).unwrap().bytes, ..zone });
    for wrong in ["", "x", "rpz.example. 60 IN A 192.0.2.1", &format!("{text}garden"), &format!("{text}a b IN A x")] {
        assert!(Zone::from_text(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn changes_are_made_step_by_step() {
    let steps = [
        Rr::Soa(3),
        Rr::Soa(1),
        Rr::Cname("bad.RPZ.example.", "."),
        Rr::Soa(2),
        Rr::A("new.rpz.example.", 2),
        Rr::Soa(2),
        Rr::A("new.rpz.example.", 2),
        Rr::Soa(3),
        Rr::A("newer.rpz.example.", 3),
        Rr::Soa(3),
    ];
    let Ok(Some(Assembled::Changed(zone))) = change(&steps) else { panic!("it is right") };
    let text = zone.to_text();
    assert_eq!((zone.soa.serial, zone.entries()), (3, 3));
    assert!(text.contains("newer.rpz") && !text.contains("bad.rpz") && !text.contains("new.rpz"), "{text}");
}

#[test]
fn the_same_serial_is_no_change_and_another_alone_asks_for_all() {
    assert_eq!(change(&[Rr::Soa(1)]), Ok(Some(Assembled::Unchanged(whole()))));
    assert_eq!(change(&[Rr::Soa(2)]), Ok(Some(Assembled::AskForAll)));
    assert_eq!(change(&[Rr::Soa(0)]), Ok(Some(Assembled::AskForAll)), "the primary was set back");
}

#[test]
fn an_ixfr_may_be_answered_with_the_whole_zone() {
    let Ok(Some(Assembled::Changed(zone))) = change(&[Rr::Soa(9), Rr::A("x.rpz.example.", 1), Rr::Soa(9)]) else {
        panic!("it is right");
    };
    assert_eq!((zone.soa.serial, zone.entries()), (9, 2), "nothing of the old one is left");
}

#[test]
fn what_does_not_fit_is_refused() {
    let x = || Rr::A("x.rpz.example.", 1);
    let cases: [(&[Rr], &str); 6] = [
        (&[Rr::Soa(3), Rr::Soa(2), x(), Rr::Soa(3), x(), Rr::Soa(3)], "changes to serial 2"),
        (&[Rr::Soa(2), Rr::Soa(1), x(), Rr::Soa(2), Rr::Soa(2)], "not here"),
        (&[Rr::Soa(3), Rr::Soa(1), Rr::Soa(2), x(), Rr::Soa(3)], "end at serial 2"),
        (&[Rr::Soa(3), Rr::Soa(1), Rr::Soa(1), x(), Rr::Soa(3)], "lead from"),
        (&[Rr::Soa(2), Rr::Soa(1), Rr::Soa(2), Rr::A("x.other.example.", 1), Rr::Soa(2)], "another zone"),
        (&[Rr::Soa(2), x(), Rr::A("y.other.", 1), Rr::Soa(2)], "another zone"),
    ];
    for (records, part) in cases {
        let why = change(records).unwrap_err().english();
        assert!(why.contains(part), "{records:?}: {why}");
    }
    let many = [Rr::Soa(1), Rr::A("a.rpz.example.", 1), Rr::A("b.rpz.example.", 1), Rr::Soa(1)];
    let why = put_together(None, 40, [message(Rtype::AXFR, &many)]).unwrap_err().english();
    assert!(why.contains("size_max"), "{why}");
    assert_eq!(put_together(None, 40, [message(Rtype::AXFR, &many[..2])]), Ok(None), "it has not ended");
}

#[test]
fn spaces_in_names_part_no_words_and_other_classes_are_refused() {
    let spaces = Rr::Cname(r"a\032b.rpz.example.", r"c\\.x\032y.");
    let zone = put_together(None, 1000, [message(Rtype::AXFR, &[Rr::Soa(1), spaces, Rr::Soa(1)])]);
    let Ok(Some(Assembled::Changed(zone))) = zone else { panic!("{zone:?}") };
    let text = zone.to_text();
    assert!(text.ends_with("a\\032b.rpz.example. 60 IN CNAME c\\\\.x\\032y.\n"), "{text}");
    assert_eq!(Zone::from_text(&text).unwrap().to_text(), text);
    let chaos = [Rr::Soa(1), Rr::Chaos("a.rpz.example."), Rr::Soa(1)];
    let why = put_together(None, 1000, [message(Rtype::AXFR, &chaos)]).unwrap_err().english();
    assert!(why.contains("cannot be written"), "{why}");
}

#[test]
fn serials_are_compared_around_the_end_of_their_numbers() {
    assert!(is_newer(0, u32::MAX) && is_newer(1, 0) && is_newer(0x7fff_ffff, 0));
    assert!(!is_newer(u32::MAX, 0) && !is_newer(0, 0) && !is_newer(0x8000_0000, 0), "neither way at half of them");
}

fn any_rr() -> impl Strategy<Value = Rr> {
    let owners = [
        "a.rpz.example.",
        "b.rpz.example.",
        "*.b.rpz.example.",
        "rpz.example.",
        "other.example.",
        r"a\032b.rpz.example.",
    ];
    prop_oneof![
        (0..4_u32).prop_map(Rr::Soa),
        (prop::sample::select(owners.to_vec()), 0..3_u8).prop_map(|(owner, last)| Rr::A(owner, last)),
        prop::sample::select(owners.to_vec()).prop_map(|owner| Rr::Cname(owner, ".")),
        prop::sample::select(owners.to_vec()).prop_map(Rr::Chaos),
    ]
}

proptest! {
    #[test]
    fn no_sequence_of_records_is_more_than_refused(
        is_ixfr: bool,
        messages in prop::collection::vec(prop::collection::vec(any_rr(), 1..6), 1..4),
    ) {
        let rtype = if is_ixfr { Rtype::IXFR } else { Rtype::AXFR };
        let messages = messages.iter().map(|records| message(rtype, records));
        if let Ok(Some(Assembled::Changed(zone) | Assembled::Unchanged(zone))) = put_together(Some(whole()), 1000, messages) {
            let text = zone.to_text();
            let again = Zone::from_text(&text).unwrap();
            prop_assert_eq!(again.to_text(), text);
            prop_assert_eq!(again.soa, zone.soa);
        }
    }

    #[test]
    fn bytes_of_any_kind_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = put_together(Some(whole()), 1000, [bytes]);
    }

    #[test]
    fn text_of_any_kind_is_read_or_refused(text in ".{0,200}") {
        let _ = Zone::from_text(&text);
    }
}
