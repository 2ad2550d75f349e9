//! The way out: what `internet` reaches, what it does not, and that `none` reaches nothing.

use std::{
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, TcpListener, UdpSocket},
};

use compute_api::{Egress, Environment, FindingState, FunctionHost};
use serde_json::json;

use crate::harness::{bench, block_on, event, success};

/// Each address is connected to, spoken to and listened to; what came of it is answered.
const CALLER: &str = r#"
import errno, socket
def attempt(address, port):
    try:
        with socket.create_connection((address, port), 5) as s:
            s.sendall(b"question")
            s.shutdown(socket.SHUT_WR)
            return s.makefile("rb").read().decode()
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error))
def datagram(address, port):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(2)
    try:
        s.connect((address, port))
        s.send(b"x")
        return s.recv(512).hex()
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error))
def handler(event, context):
    return {"tcp": {a: attempt(a, p) for a, p in event["tcp"]}, "udp": [datagram(a, p) for a, p in event["udp"]]}
"#;

/// Whether the host opens ways out; says why not.
fn can(host: &compute_process::ProcessHost) -> bool {
    let report = host.report();
    let egress = report.findings.iter().find(|finding| finding.name == "egress").unwrap();
    if egress.state != FindingState::Present {
        println!("left out: {}", egress.detail);
    }
    egress.state == FindingState::Present
}

/// The machine's own address towards the world, if it has one.
fn own_address() -> Option<Ipv4Addr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("203.0.113.1:9").ok()?;
    match socket.local_addr().ok()?.ip() {
        IpAddr::V4(v4) if !v4.is_loopback() => Some(v4),
        _ => None,
    }
}

/// A server that answers every question with what it was asked.
fn echo(listener: TcpListener) {
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut heard = Vec::new();
            stream.read_to_end(&mut heard).unwrap();
            stream.write_all(b"heard ").unwrap();
            stream.write_all(&heard).unwrap();
        }
    });
}

#[test]
fn the_way_out_leads_only_where_it_may() {
    if !can(&bench().host) {
        return;
    }
    block_on(async {
        let (mut spec, _lines) = bench().function("python3.11", "app.py", CALLER);
        spec.egress = Egress::Internet;
        let loopback = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut tcp = vec![json!(["127.0.0.1", loopback]), json!(["::ffff:10.1.2.3", 80]), json!(["::1", 80])];
        let private =
            ["10.0.0.1", "100.64.0.1", "169.254.169.254", "172.16.0.1", "192.168.0.1", "198.18.0.1", "224.0.0.1"];
        tcp.extend(private.map(|address| json!([address, 80])));
        let mut expected_own = None;
        if let Some(own) = own_address() {
            let listener = TcpListener::bind((own, 0)).unwrap();
            tcp.push(json!([own.to_string(), listener.local_addr().unwrap().port()]));
            expected_own = Some(own.to_string());
            echo(listener);
        }
        // A query for everything that is known of a name, which the resolver refuses by itself.
        let mut environment = bench().start(spec).await;
        let payload = json!({"tcp": tcp, "udp": [["203.0.113.1", 4000], ["10.0.0.1", 53]]}).to_string();
        let answer = success(&environment.invoke(event("r", &payload)).await);
        environment.stop().await;
        let tcp = &answer["tcp"];
        assert_eq!(tcp["127.0.0.1"], "ECONNREFUSED", "the function's own loopback is its own");
        assert_eq!(tcp["::1"], "ECONNREFUSED");
        for address in private.into_iter().chain(["::ffff:10.1.2.3"]) {
            assert_eq!(tcp[address], "EACCES", "{address}");
        }
        if let Some(own) = expected_own {
            assert_eq!(tcp[&own], "ECONNRESET", "the machine's own address");
        }
        assert_eq!(answer["udp"], json!(["ECONNREFUSED", "EACCES"]));
    });
}

#[test]
fn what_is_allowed_is_reached_and_both_ends_hear_the_end() {
    let Some(own) = own_address().filter(|_| can(&bench().host)) else {
        println!("left out: the machine has no address towards the world");
        return;
    };
    block_on(async {
        let listener = TcpListener::bind((own, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        echo(listener);
        let (mut spec, _lines) = bench().function("python3.11", "app.py", CALLER);
        spec.egress = Egress::Internet;
        spec.egress_allow = vec![own.to_string().parse().unwrap()];
        let payload = json!({"tcp": [[own.to_string(), port]], "udp": []}).to_string();
        let answer = success(&bench().once(spec, &payload).await);
        assert_eq!(answer["tcp"][own.to_string()], "heard question");
    });
}

#[test]
fn without_a_way_out_nothing_is_reached() {
    block_on(async {
        let (spec, _lines) = bench().function("python3.11", "app.py", CALLER);
        let payload = json!({"tcp": [["203.0.113.1", 80], ["10.0.0.1", 80], ["2001:db8::1", 80]],
                             "udp": [["203.0.113.1", 53], ["127.0.0.53", 53]]});
        let answer = success(&bench().once(spec, &payload.to_string()).await);
        for address in ["203.0.113.1", "10.0.0.1", "2001:db8::1"] {
            assert_eq!(answer["tcp"][address], "ENETUNREACH", "{address}");
        }
        assert_eq!(answer["udp"], json!(["ENETUNREACH", "ECONNREFUSED"]));
    });
}

#[test]
fn the_resolver_answers_what_it_refuses() {
    if !can(&bench().host) {
        return;
    }
    block_on(async {
        let code = r#"
import socket, struct
def handler(event, context):
    any_of_it = b"\xab\xcd\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x00\x00\xff\x00\x01"
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(5)
    s.sendto(any_of_it, ("127.0.0.53", 53))
    datagram = s.recv(512)
    t = socket.create_connection(("127.0.0.53", 53), 5)
    t.sendall(struct.pack(">H", len(any_of_it)) + any_of_it)
    stream = t.recv(512)[2:]
    return [datagram[3] & 15, stream[3] & 15, open("/etc/resolv.conf").read()]
"#;
        let (mut spec, _lines) = bench().function("python3.11", "app.py", code);
        spec.egress = Egress::Internet;
        let answer = success(&bench().once(spec, "{}").await);
        assert_eq!((&answer[0], &answer[1]), (&json!(5), &json!(5)));
        assert!(answer[2].as_str().unwrap().starts_with("nameserver 127.0.0.53\n"), "{answer}");
    });
}
