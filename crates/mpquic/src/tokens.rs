//! Address tokens as bytes that outlive a process. The bytes come back from who knows where, so nothing in them is trusted;
//! the tokens themselves mean something to their servers alone.

/// What the bytes begin with; the digit counts their formats.
const MARK: &[u8] = b"mpquic tokens 1\n";

/// Server, QUIC version, token.
type Token = (String, u32, Vec<u8>);

pub(crate) fn encode(tokens: &[Token]) -> Vec<u8> {
    let mut out = MARK.to_vec();
    for (server, version, token) in tokens {
        // A name or token that does not fit the two bytes of its length was never accepted by anybody.
        let (Ok(name_len), Ok(token_len)) = (u16::try_from(server.len()), u16::try_from(token.len())) else {
            continue;
        };
        out.extend(version.to_be_bytes());
        out.extend(name_len.to_be_bytes());
        out.extend(server.as_bytes());
        out.extend(token_len.to_be_bytes());
        out.extend(token);
    }
    out
}

pub(crate) fn decode(bytes: &[u8]) -> Option<Vec<Token>> {
    let mut rest = bytes.strip_prefix(MARK)?;
    let mut tokens = Vec::new();
    while !rest.is_empty() {
        let (version, after) = rest.split_first_chunk()?;
        rest = after;
        let name = take_counted(&mut rest)?;
        let token = take_counted(&mut rest)?;
        tokens.push((String::from_utf8(name).ok()?, u32::from_be_bytes(*version), token));
    }
    Some(tokens)
}

fn take_counted(rest: &mut &[u8]) -> Option<Vec<u8>> {
    let (len, after) = rest.split_first_chunk()?;
    let (taken, after) = after.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
    *rest = after;
    Some(taken.to_vec())
}

#[cfg(test)]
mod tests {
    use super::{MARK, decode, encode};

    #[test]
    fn tokens_come_back_as_they_were_and_damaged_bytes_not_at_all() {
        let tokens = vec![("one".to_owned(), 1, vec![7; 300]), ("two".to_owned(), 0x6b33_43cf, vec![8; 80])];
        let bytes = encode(&tokens);
        assert_eq!(decode(&bytes), Some(tokens));
        assert_eq!(decode(&encode(&[])), Some(Vec::new()));
        for len in (0..bytes.len()).filter(|len| *len != MARK.len() && *len != MARK.len() + 311) {
            assert_eq!(decode(&bytes[..len]), None, "cut after {len} bytes");
        }
        assert_eq!(decode(b"something else"), None);
    }
}
