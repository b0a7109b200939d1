//! The whole tunnel, as its users and its enemies meet it: server and client in namespaces of one machine. Needs root;
//! without it each test says so and passes.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
#![allow(clippy::print_stdout, reason = "a test that cannot run says so")]
#![allow(clippy::disallowed_methods, reason = "these tests run in real time")]

mod lab;
mod place;
mod raw;
mod strangers;
mod traces;
mod traffic;
mod world;
mod wrong;

fn rooted() -> bool {
    let rooted = nix::unistd::geteuid().is_root();
    if !rooted {
        println!("skipped: needs root");
    }
    rooted
}
