//! One end of one round, in a process of its own. A server first prints where it listens and its certificate, a client is
//! told; either prints what it measured as its last line, or [`FAILED`] and why.

use crate::stack::Certificate;
use crate::tests::{self, Measured};
use crate::{Failure, host, stacks};
use clap::{Args, ValueEnum};
use std::net::{Ipv4Addr, SocketAddr};
use tokio::task::LocalSet;

/// Begins the last line of an end that failed.
pub(crate) const FAILED: &str = "failed: ";

#[derive(Args, Clone, Debug)]
pub(crate) struct Job {
    pub(crate) end: End,
    #[arg(long)]
    pub(crate) test: String,
    #[arg(long)]
    pub(crate) stack: String,
    /// Bytes, round trips or connections, as the test goes.
    #[arg(long)]
    pub(crate) amount: u64,
    /// For a client: the line that the server printed.
    #[arg(long)]
    pub(crate) server: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum End {
    Server,
    Client,
}

impl End {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Client => "client",
        }
    }

    /// Each end has a core to itself, so that they do not move about; with one core there is nothing to choose.
    const fn core(self) -> usize {
        match self {
            Self::Server => 0,
            Self::Client => 1,
        }
    }
}

pub(crate) fn run(job: &Job) -> Result<(), Failure> {
    host::stay_on_core(job.end.core());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // One of the stacks has a driver that must not leave its thread.
    let tasks = LocalSet::new();
    let measured = tasks.block_on(&runtime, async {
        match job.end {
            End::Server => serve(job).await,
            End::Client => ask(job).await,
        }
    });
    match measured {
        Ok(measured) => println!("{}", serde_json::to_string(&measured)?),
        Err(failure) => println!("{FAILED}{failure}"),
    }
    Ok(())
}

async fn serve(job: &Job) -> Result<Measured, Failure> {
    let (stack, test) = parts(job)?;
    let made = rcgen::generate_simple_self_signed([stacks::NAME.to_owned()])?;
    let certificate = Certificate { der: made.cert.der().to_vec(), key: made.signing_key.serialize_der() };
    let endpoint = (stack.server)(&certificate, (Ipv4Addr::LOCALHOST, 0).into())?;
    println!("{} {}", endpoint.address()?, hex(&certificate.der));
    let measured = (test.server)(&*endpoint, (), job).await?;
    endpoint.shutdown().await?;
    Ok(measured)
}

async fn ask(job: &Job) -> Result<Measured, Failure> {
    let (stack, test) = parts(job)?;
    let line = job.server.as_deref().ok_or("a client needs a server")?;
    let (address, der) = line.split_once(' ').ok_or("not what a server prints")?;
    let server: SocketAddr = address.parse()?;
    let certificate = Certificate { der: unhex(der)?, key: Vec::new() };
    let endpoint = (stack.client)(&certificate, (Ipv4Addr::LOCALHOST, 0).into())?;
    let measured = (test.client)(&*endpoint, server, job).await?;
    endpoint.shutdown().await?;
    Ok(measured)
}

fn parts(job: &Job) -> Result<(&'static crate::stack::Stack, &'static tests::Test), Failure> {
    let stack = stacks::ALL.iter().find(|stack| stack.name == job.stack).ok_or("no such stack")?;
    Ok((stack, tests::find(&job.test).ok_or("no such test")?))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Result<Vec<u8>, Failure> {
    let pairs = (0..text.len()).step_by(2).map(|at| text.get(at..at + 2).ok_or("half a byte"));
    pairs.map(|pair| Ok(u8::from_str_radix(pair?, 16)?)).collect()
}

#[cfg(test)]
#[test]
fn hexadecimal_reads_back() {
    assert_eq!(unhex(&hex(&[0, 0x7f, 0xff])).unwrap(), [0, 0x7f, 0xff]);
    assert!(unhex("abc").is_err());
}
