//! A look into a ClientHello for the client's transport parameters, before it is decided which version of QUIC answers
//! it. TLS itself reads the same bytes afterwards, and judges them.

use mpquic_proto::crypto::Hello;

/// RFC 8446 §4: the type of a ClientHello.
const CLIENT_HELLO: u8 = 1;
/// Longer ones are left for TLS to refuse.
const HELLO_MAX: usize = 0xffff;
/// RFC 9001 §8.2.
const TRANSPORT_PARAMETERS: u16 = 0x39;

pub(crate) fn parameters_in(bytes: &[u8]) -> Hello<'_> {
    let Some((head, rest)) = bytes.split_first_chunk::<4>() else { return Hello::Incomplete };
    let [kind, len @ ..] = *head;
    let len = len.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
    if kind != CLIENT_HELLO || len > HELLO_MAX {
        return Hello::Without;
    }
    let Some(body) = rest.get(..len) else { return Hello::Incomplete };
    find(body).map_or(Hello::Without, Hello::Parameters)
}

/// RFC 8446 §4.1.2.
fn find(body: &[u8]) -> Option<&[u8]> {
    // Version and random, session ID, cipher suites, compression methods.
    let mut rest = body.get(2 + 32..)?;
    counted(&mut rest, 1)?;
    counted(&mut rest, 2)?;
    counted(&mut rest, 1)?;
    let mut extensions = counted(&mut rest, 2)?;
    while !extensions.is_empty() {
        let (kind, after) = extensions.split_first_chunk()?;
        extensions = after;
        let content = counted(&mut extensions, 2)?;
        if u16::from_be_bytes(*kind) == TRANSPORT_PARAMETERS {
            return Some(content);
        }
    }
    None
}

/// What follows a length of `width` bytes.
fn counted<'a>(rest: &mut &'a [u8], width: usize) -> Option<&'a [u8]> {
    let (len, after) = rest.split_at_checked(width)?;
    let len = len.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
    let (content, after) = after.split_at_checked(len)?;
    *rest = after;
    Some(content)
}

#[cfg(test)]
mod tests {
    use super::parameters_in;
    use crate::rig::{CLIENT_PARAMETERS, Pair, V1};
    use mpquic_base::Rng;
    use mpquic_proto::crypto::Hello;

    fn hello() -> Vec<u8> {
        Pair::pinned(V1).client.flush().remove(0).1
    }

    #[test]
    fn parameters_are_found_as_soon_as_the_hello_is_whole() {
        let hello = hello();
        for len in 0..hello.len() {
            assert_eq!(parameters_in(&hello[..len]), Hello::Incomplete);
        }
        assert_eq!(parameters_in(&hello), Hello::Parameters(CLIENT_PARAMETERS));
        assert_eq!(parameters_in(&[&hello[..], b"more"].concat()), Hello::Parameters(CLIENT_PARAMETERS));
    }

    #[test]
    fn other_messages_and_endless_ones_are_left_to_tls() {
        assert_eq!(parameters_in(&[2, 0, 0, 5]), Hello::Without);
        assert_eq!(parameters_in(&[1, 1, 0, 0]), Hello::Without);
        assert_eq!(parameters_in(&[1, 0, 0, 2, 3, 3]), Hello::Without);
    }

    #[test]
    fn damaged_hellos_are_read_without_a_panic() {
        let hello = hello();
        let mut found = 0;
        for seed in 0..3000 {
            let mut rng = Rng::from_number(seed);
            let mut bent = hello.clone();
            for _ in 0..4 {
                let at = usize::try_from(rng.below(bent.len() as u64)).unwrap();
                bent[at] = rng.below(256).to_le_bytes()[0];
            }
            found += u32::from(matches!(parameters_in(&bent), Hello::Parameters(_)));
        }
        assert!((1..3000).contains(&found), "{found}");
    }
}
