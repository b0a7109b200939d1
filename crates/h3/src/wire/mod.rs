//! HTTP/3 frames, settings and varints as bytes. No streams and no state beyond a number that is half there.

pub(crate) mod frame;
pub(crate) mod settings;
pub(crate) mod varint;

#[cfg(test)]
mod tests;
