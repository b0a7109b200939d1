//! What passes through a standing tunnel, and how it looks to those who use it.

use crate::raw::{self, Raw, Token};
use crate::rooted;
use crate::world::{NOBODY, SERVER_FILE, TARGET, World, eventually, status};
use http::StatusCode;
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream, UdpSocket};
use std::thread::sleep;
use std::time::{Duration, Instant};

fn is_installed(program: &str) -> bool {
    let found =
        std::process::Command::new("sh").args(["-c", &format!("command -v {program}")]).output().unwrap();
    if !found.status.success() {
        println!("not tried: {program} is not installed");
    }
    found.status.success()
}

#[test]
fn pings_and_traces_pass_as_over_any_router() {
    if !rooted() {
        return;
    }
    let tunnel = World::new().tunnel();
    let lan = &tunnel.world.lan;
    for target in [TARGET, "2001:db8:1::10"] {
        let (code, said) = lan.sh(&format!("ping -c 3 -i 0.2 -W 5 {target}"));
        assert!(code == 0 && said.contains(" 0% packet loss"), "{said}\n{}", tunnel.logs());
    }
    if is_installed("traceroute") {
        let (_, said) = lan.sh(&format!("traceroute -n -q 1 -w 3 {TARGET}"));
        let hops: Vec<&str> =
            said.lines().skip(1).filter_map(|line| line.split_whitespace().nth(1)).collect();
        assert_eq!(hops, ["192.168.77.1", "10.181.0.1", TARGET], "{said}\n{}", tunnel.logs());
    }
}

#[test]
fn a_packet_that_is_too_large_is_answered_with_a_size_that_passes() {
    if !rooted() {
        return;
    }
    let tunnel = World::new().tunnel();
    let lan = &tunnel.world.lan;
    for (target, headers, least) in [(TARGET, 28, 1280), ("2001:db8:1::10", 48, 1280)] {
        // The search for the paths' MTU takes a moment; afterwards the size is final.
        let mtu = eventually("a size", || {
            lan.sh("ip route flush cache; ip -6 route flush cache");
            let (_, said) = lan.sh(&format!("ping -c 1 -W 2 -s {} -M do {target}", 1500 - headers));
            let found = said.split("mtu").nth(1).map(|rest| rest.trim_start_matches([' ', '=', ':']));
            let digits = found.map(|rest| rest.chars().take_while(char::is_ascii_digit).collect::<String>());
            let mtu = digits.and_then(|digits| digits.parse::<u32>().ok());
            mtu.ok_or_else(|| format!("{said}\n{}", tunnel.logs()))
        });
        assert!((least..1500).contains(&mtu), "{mtu}\n{}", tunnel.logs());
        let exact = format!("ping -c 1 -W 5 -s {} -M do {target}", mtu - headers);
        eventually("a packet of exactly that size", || {
            let (code, said) = lan.sh(&exact);
            if code == 0 { Ok(()) } else { Err(format!("{said}\n{}", tunnel.logs())) }
        });
    }
}

#[test]
fn fragments_of_large_packets_arrive_whole() {
    if !rooted() {
        return;
    }
    let tunnel = World::new().tunnel();
    let (code, said) = tunnel.world.lan.sh(&format!("ping -c 2 -i 0.2 -W 5 -s 4000 -M dont {TARGET}"));
    assert!(code == 0, "{said}\n{}", tunnel.logs());
}

#[test]
fn a_client_that_has_said_all_still_hears_the_answer() {
    if !rooted() {
        return;
    }
    let tunnel = World::new().tunnel();
    let listener = tunnel.world.target.listen(7);
    tunnel.world.target.spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut all = Vec::new();
        // Nothing is said before the other side is done.
        stream.read_to_end(&mut all).unwrap();
        all.reverse();
        stream.write_all(&all).unwrap();
    });
    let data: Vec<u8> = (0..300_000u32).map(|n| n.to_le_bytes()[0]).collect();
    let sent = data.clone();
    let mut heard = tunnel.world.lan.run(move || {
        let mut stream = TcpStream::connect((TARGET, 7)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(&sent).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).map(|_| heard)
    });
    if let Ok(heard) = &mut heard {
        heard.reverse();
    }
    assert!(
        heard.as_ref().is_ok_and(|heard| *heard == data),
        "{:?}\n{}",
        heard.map(|h| h.len()),
        tunnel.logs()
    );
}

#[test]
fn a_target_that_refuses_shows_as_a_reset() {
    if !rooted() {
        return;
    }
    let tunnel = World::new().tunnel();
    let ended = tunnel.world.lan.run(|| {
        let mut stream = TcpStream::connect((TARGET, 81))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.read(&mut [0]).map(|n| n.to_string())
    });
    let kind = ended.as_ref().map_err(std::io::Error::kind).err();
    assert_eq!(kind, Some(std::io::ErrorKind::ConnectionReset), "{ended:?}\n{}", tunnel.logs());
}

#[test]
fn a_target_without_an_answer_is_given_up_in_time() {
    if !rooted() {
        return;
    }
    let tunnel = World::new().tunnel();
    // Whatever is sent there is lost without a word.
    tunnel
        .world
        .internet
        .must(&format!("ip neigh replace {NOBODY} lladdr 02:00:00:00:00:99 dev to-target nud permanent"));
    let begun = Instant::now();
    let (code, said) = tunnel.world.lan.sh(&format!("curl -sS -m 40 http://{NOBODY}/"));
    let took = begun.elapsed();
    // 56 is a reset, 28 would be curl's own patience. The server waits for ten seconds.
    assert_eq!(code, 56, "{said}\n{}", tunnel.logs());
    assert!((9..25).contains(&took.as_secs()), "after {took:?}: {said}\n{}", tunnel.logs());
}

#[test]
fn a_steady_udp_flow_passes_without_big_loss_and_in_order() {
    if !rooted() {
        return;
    }
    const COUNT: u32 = 5_000;
    const SIZE: usize = 1200;
    let tunnel = World::new().tunnel();
    let socket = tunnel.world.target.run(|| UdpSocket::bind("0.0.0.0:5001").unwrap());
    let counting = tunnel.world.target.spawn(move || {
        socket.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
        let (mut came, mut late, mut last) = (0, 0, 0);
        let mut buffer = [0; 2048];
        while let Ok(n) = socket.recv(&mut buffer) {
            assert_eq!(n, SIZE);
            let number = u32::from_le_bytes(buffer[..4].try_into().unwrap());
            came += 1;
            late += u32::from(number < last);
            last = last.max(number);
            if number == COUNT {
                break;
            }
        }
        (came, late)
    });
    tunnel.world.lan.run(|| {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        let begun = Instant::now();
        for number in 1..=COUNT {
            let mut packet = [0; SIZE];
            packet[..4].copy_from_slice(&number.to_le_bytes());
            socket.send_to(&packet, (TARGET, 5001)).unwrap();
            // 20 Mbit/s.
            let due = begun + Duration::from_micros(480) * number;
            sleep(due.saturating_duration_since(Instant::now()));
        }
        // The last one, for a receiver that missed it.
        for _ in 0..5 {
            sleep(Duration::from_millis(20));
            let mut packet = [0; SIZE];
            packet[..4].copy_from_slice(&COUNT.to_le_bytes());
            socket.send_to(&packet, (TARGET, 5001)).unwrap();
        }
    });
    let (came, late) = counting.join().unwrap();
    assert!(came > COUNT * 95 / 100, "{came} of {COUNT} came\n{}", tunnel.logs());
    assert!(late < COUNT / 50, "{late} of {COUNT} came out of order\n{}", tunnel.logs());
}

#[test]
fn a_server_with_several_threads_serves_clients_on_all_of_them() {
    if !rooted() {
        return;
    }
    let world = World::new();
    let token = Token::read(&world.enrol());
    world.internet.run(|| {
        let text = fs::read_to_string(SERVER_FILE).unwrap();
        fs::write(SERVER_FILE, format!("threads = 3\n{text}")).unwrap();
    });
    let server = world.serve();
    let served = raw::run(&world.router, move || async move {
        let mut clients = Vec::new();
        for _ in 0..40 {
            let client = Raw::connect(&token).await;
            let proof = client.proof().await;
            let greeted = client.hello(Some(&proof)).await == StatusCode::NO_CONTENT;
            let carried = client.tcp(&format!("{TARGET}:80"), Some(&proof)).await.0 == StatusCode::OK;
            clients.push((client, greeted && carried));
        }
        clients.iter().filter(|(_, served)| *served).count()
    });
    assert_eq!(served, 40, "{}", server.said());
    let tasks = fs::read_dir(format!("/proc/{}/task", server.id())).unwrap();
    let at_work = tasks.filter(|task| {
        let of = |file: &str| fs::read_to_string(task.as_ref().unwrap().path().join(file)).unwrap();
        // Nanoseconds on a processor come first: an idle thread has next to none, a handshake takes 200,000.
        let ran = of("schedstat").split(' ').next().unwrap().parse::<u64>().unwrap();
        of("comm").starts_with("mpquic") && ran > 400_000
    });
    assert_eq!(at_work.count(), 3);
}

#[test]
fn both_ends_tell_what_goes_on() {
    if !rooted() {
        return;
    }
    let tunnel = World::new().tunnel();
    let world = &tunnel.world;
    let mut download = world.lan.start(&[
        "curl",
        "-sS",
        "--limit-rate",
        "4M",
        "-o",
        "/dev/null",
        "-m",
        "60",
        &format!("http://{TARGET}/100000000"),
    ]);
    let number = |value: &serde_json::Value| value.as_f64().unwrap_or(-1.0);
    eventually("the client's numbers", || {
        let said = status(&world.router);
        let links = said["links"].as_array().unwrap().clone();
        let good = said["role"] == "client"
            && said["state"] == "connected"
            && links.len() == 2
            && links.iter().all(|link| link["state"] == "up" && number(&link["rtt_ms"]) > 0.0)
            && ["fibre", "lte"].iter().all(|name| links.iter().any(|link| link["name"] == *name))
            && (10.0..200.0).contains(&number(&said["totals"]["rate_mbps_down"]))
            && number(&said["totals"]["bytes_down"]) > 4e6
            && said["flows"]["tcp"] == 1
            && said["addresses"].as_array().is_some_and(|all| all.len() == 2);
        if good { Ok(()) } else { Err(format!("{said}\n{}", tunnel.logs())) }
    });
    eventually("the server's numbers", || {
        let said = status(&world.internet);
        let tenant = &said["tenants"][0];
        let links = said["links"].as_array().unwrap().clone();
        let good = said["role"] == "server"
            && said["state"] == "serving"
            && links.len() == 2
            && links.iter().all(|link| link["state"] == "up" && number(&link["rtt_ms"]) > 0.0)
            && (10.0..200.0).contains(&number(&said["totals"]["rate_mbps_down"]))
            && tenant["name"] == "default"
            && tenant["clients"] == 1
            && tenant["flows"] == 1
            && number(&tenant["bytes_down"]) > 4e6
            && number(&said["memory"]["resident_bytes"]) > 1e6;
        if good { Ok(()) } else { Err(format!("{said}\n{}", tunnel.logs())) }
    });
    assert!(download.is_running(), "{}", download.said());
    // What a tenant used stays with it when its flows are over.
    drop(download);
    eventually("the flow is over at both ends", || {
        let (client, server) = (status(&world.router), status(&world.internet));
        let over = client["flows"]["tcp"] == 0 && server["tenants"][0]["flows"] == 0;
        let kept = number(&server["tenants"][0]["bytes_down"]) > 4e6;
        if over && kept { Ok(()) } else { Err(format!("{client}\n{server}")) }
    });
}
