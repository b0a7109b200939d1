//! A token shown to the person who is to carry it to a client.

use crate::output::Output;
use crate::token::Token;
use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};

/// The line with the token, and the QR code if somebody sees it or asked for it.
pub(super) fn token(token: &Token, qr: bool) -> String {
    let text = token.encoded();
    let picture =
        if qr || Output::Stdout.is_terminal() { code(&text).unwrap_or_default() } else { String::new() };
    format!("token: {text}\n{picture}")
}

/// Light modules are drawn, as terminals are dark more often than not; cameras read both.
fn code(text: &str) -> Option<String> {
    let code = QrCode::with_error_correction_level(text, EcLevel::L).ok()?;
    let image = code.render::<Dense1x2>().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build();
    Some(format!("\n{image}\n\n"))
}
