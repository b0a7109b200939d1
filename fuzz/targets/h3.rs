#![no_main]

#[path = "../bodies/h3.rs"]
mod h3;

libfuzzer_sys::fuzz_target!(|data: &[u8]| h3::run(data));
