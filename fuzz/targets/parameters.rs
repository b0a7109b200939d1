#![no_main]

#[path = "../bodies/parameters.rs"]
mod parameters;

libfuzzer_sys::fuzz_target!(|data: &[u8]| parameters::run(data));
