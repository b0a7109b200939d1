//! Frames and field sections by hand, so that they can also be wrong.

/// A field section of literals.
pub(crate) fn fields(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = vec![0, 0];
    for (name, value) in fields {
        prefixed(&mut block, 0x20, 7, name);
        prefixed(&mut block, 0x00, 127, value);
    }
    block
}

fn prefixed(block: &mut Vec<u8>, flags: u8, mask: u8, text: &str) {
    match u8::try_from(text.len()) {
        Ok(len) if len < mask => block.push(flags | len),
        _ => {
            block.push(flags | mask);
            let mut rest = text.len() - usize::from(mask);
            while rest >= 128 {
                block.push((rest % 128 + 128).to_le_bytes()[0]);
                rest /= 128;
            }
            block.push(rest.to_le_bytes()[0]);
        }
    }
    block.extend_from_slice(text.as_bytes());
}

/// A frame whose type is below 64.
pub(crate) fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap() | 0x8000_0000;
    [&[kind], &len.to_be_bytes()[..], payload].concat()
}

pub(crate) fn headers(list: &[(&str, &str)]) -> Vec<u8> {
    frame(0x01, &fields(list))
}

pub(crate) const GET: &[(&str, &str)] =
    &[(":method", "GET"), (":scheme", "https"), (":authority", "localhost"), (":path", "/")];
pub(crate) const POST: &[(&str, &str)] =
    &[(":method", "POST"), (":scheme", "https"), (":authority", "localhost"), (":path", "/")];
/// A control stream's type and empty SETTINGS.
pub(crate) const HELLO: &[u8] = &[0x00, 0x04, 0x00];
