//! Percent-encoding of URI template variables (RFC 3986 §2.1, RFC 6570 §3.2.2), and what a host name may be.

/// RFC 1035 §2.3.4: octets of a name.
const NAME_MAX: usize = 255;
const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// Everything but the unreserved characters is encoded.
pub(crate) fn encode(text: &str, out: &mut String) {
    for byte in text.bytes() {
        if is_unreserved(byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
}

/// `None` if a percent sign is not followed by two hexadecimal digits, or if the result is not UTF-8.
pub(crate) fn decode(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        let (high, low) = (digit(bytes.next())?, digit(bytes.next())?);
        out.push(u8::try_from(high << 4 | low).ok()?);
    }
    String::from_utf8(out).ok()
}

/// RFC 3986 §3.2.2: the characters of a reg-name, after decoding.
pub(crate) fn is_name(text: &str) -> bool {
    let fits = |byte: u8| is_unreserved(byte) || b"!$&'()*+,;=".contains(&byte);
    !text.is_empty() && text.len() <= NAME_MAX && text.bytes().all(fits)
}

const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}
