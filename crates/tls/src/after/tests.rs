use super::*;
use crate::rig::unhex;

/// A ticket message with these extensions.
fn ticket(extensions: &[u8]) -> Vec<u8> {
    let len = u16::try_from(extensions.len()).unwrap().to_be_bytes();
    let body =
        [&[0, 0, 0x1c, 0x20, 1, 2, 3, 4, 1, 0, 0, 4, 0xaa, 0xbb, 0xcc, 0xdd][..], &len, extensions].concat();
    [&[4, 0, 0, u8::try_from(body.len()).unwrap()][..], &body].concat()
}

#[test]
fn tickets_are_taken_in_one_piece_in_many_and_several_at_once() {
    let good = ticket(&unhex("002a0004ffffffff 1234 0001 00"));
    let stream = good.repeat(3);
    for chunk in [1, 2, 5, stream.len()] {
        let mut late = Late::default();
        stream.chunks(chunk).for_each(|piece| late.read(true, piece).unwrap());
        assert!(late.partial.is_empty(), "in pieces of {chunk}");
    }
}

#[test]
fn tickets_that_make_no_sense_are_refused() {
    let alert = |bytes: &[u8]| Late::default().read(true, bytes).unwrap_err().alert;
    // early_data without its value, and with a limit that QUIC does not have.
    assert_eq!(alert(&ticket(&unhex("002a0000"))), 47);
    assert_eq!(alert(&ticket(&unhex("002a000400000400"))), 47);
    assert_eq!(alert(&ticket(&unhex("002a0009ff"))), 50);
    let mut long = ticket(&[]);
    long.push(0);
    long[3] += 1;
    assert_eq!(alert(&long), 50);
    let full = ticket(&[]);
    for len in 0..full.len() - 4 {
        let mut short = full[..4 + len].to_vec();
        short[3] = u8::try_from(len).unwrap();
        assert_eq!(alert(&short), 50, "{len} bytes");
    }
}

#[test]
fn nothing_but_tickets_of_a_server_may_come() {
    for kind in (0..=u8::MAX).filter(|kind| *kind != NEW_SESSION_TICKET) {
        assert_eq!(Late::default().read(true, &[kind, 0, 0, 1, 0]).unwrap_err().alert, 10);
    }
    assert_eq!(Late::default().read(false, &ticket(&[])).unwrap_err().alert, 10);
    assert_eq!(Late::default().read(true, &[4, 1, 0, 0]).unwrap_err().alert, 50);
}

#[test]
fn a_secret_of_another_length_than_a_hashs_is_none() {
    assert!(Exporter::new(&[1; 32]).is_some() && Exporter::new(&[1; 48]).is_some());
    assert!([0, 31, 47, 49, 64].iter().all(|len| Exporter::new(&vec![1; *len]).is_none()));
}
