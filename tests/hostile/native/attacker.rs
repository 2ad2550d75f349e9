//! A custom runtime without scruples, as one static program: it speaks the Runtime API by hand, lies in it, and makes the
//! system calls that no language's library makes. What it does is told by its event's `mode`, or by the variable `MODE`
//! while it initialises. Built by the suite with nothing but `rustc`.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    time::Duration,
};

const API: u16 = 9001;
const ENDPOINT: u16 = 4566;

fn main() {
    match std::env::var("MODE").as_deref() {
        Ok("never-asks") => std::thread::sleep(Duration::from_secs(3600)),
        Ok("garbage-first") => {
            let mut stream = connect(API).unwrap();
            stream.write_all(&[0xff; 70_000]).ok();
            std::process::exit(3);
        }
        Ok("lies-first") => {
            // Answers an invocation that was never given.
            let (status, _) = post("/2018-06-01/runtime/invocation/00000000-0000-0000-0000-000000000000/response", "early");
            eprintln!("early answer: {status}");
        }
        _ => {}
    }
    loop {
        let (id, event) = next();
        let mode = text(&event, "mode").unwrap_or_default();
        let result = act(&mode, &event, &id);
        post(&format!("/2018-06-01/runtime/invocation/{id}/response"), &result);
        if mode == "twice" {
            let again = post(&format!("/2018-06-01/runtime/invocation/{id}/response"), "\"second\"");
            let failed = post(&format!("/2018-06-01/runtime/invocation/{id}/error"), "{}");
            eprintln!("second answer: {} third: {}", again.0, failed.0);
        }
    }
}

fn act(mode: &str, event: &str, id: &str) -> String {
    match mode {
        "other-id" => {
            let other = text(event, "other").unwrap();
            let answer = post(&format!("/2018-06-01/runtime/invocation/{other}/response"), "\"forged\"");
            let error = post(&format!("/2018-06-01/runtime/invocation/{other}/error"), "{\"errorType\":\"Forged\"}");
            format!("[{},{}]", answer.0, error.0)
        }
        "garbage" => garbage(),
        "silent" => loop {
            std::thread::sleep(Duration::from_secs(3600));
        },
        "hang-up" => std::process::exit(0),
        "half" => {
            let mut stream = connect(API).unwrap();
            let path = format!("/2018-06-01/runtime/invocation/{id}/response");
            write!(stream, "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nhalf").unwrap();
            std::thread::sleep(Duration::from_secs(3600));
            String::new()
        }
        "too-large" => {
            let body = "x".repeat(7 << 20);
            post(&format!("/2018-06-01/runtime/invocation/{id}/response"), &body).0.to_string()
        }
        "error-type" => {
            let mut stream = connect(API).unwrap();
            let kind = "Forged.Type\u{7f}".repeat(200);
            let path = format!("/2018-06-01/runtime/invocation/{id}/error");
            let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nLambda-Runtime-Function-Error-Type: {kind}\r\nContent-Length: 2\r\n\r\n[]");
            stream.write_all(head.as_bytes()).unwrap();
            answer(&mut stream).0.to_string()
        }
        "idle" => idle(text(event, "each").and_then(|n| n.parse().ok()).unwrap_or(500)),
        "old-calls" => old_calls(),
        _ => "\"unknown mode\"".to_owned(),
    }
}

/// What is no HTTP, or too much of it; the status of each, zero where the connection just ended.
fn garbage() -> String {
    let long = format!("GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nX: {}\r\n\r\n", "y".repeat(1 << 20));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(5000));
    let pieces = [
        "\u{0}\u{1}\u{2}\r\n\r\n".to_owned(),
        long,
        many,
        "POST /2018-06-01/runtime/init/error HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n".to_owned(),
        "POST /2018-06-01/runtime/init/error HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx".to_owned(),
        "POST /2018-06-01/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzzz\r\n".to_owned(),
        "GET /2018-06-01/../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
        "DELETE /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
    ];
    let mut seen = Vec::new();
    for piece in pieces {
        let Ok(mut stream) = connect(API) else { return "\"refused\"".to_owned() };
        stream.set_read_timeout(Some(Duration::from_secs(2))).ok();
        stream.write_all(piece.as_bytes()).ok();
        seen.push(answer(&mut stream).0.to_string());
    }
    format!("[{}]", seen.join(","))
}

/// Opens connections to both listeners, in several processes, and keeps them; answers how many there are.
fn idle(each: usize) -> String {
    let mut kept = Vec::new();
    for port in [API, ENDPOINT] {
        for _ in 0..each {
            match TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), Duration::from_millis(200)) {
                Ok(mut stream) => {
                    stream.write_all(b"GET /").ok();
                    kept.push(stream);
                }
                Err(_) => break,
            }
        }
    }
    let count = kept.len();
    std::mem::forget(kept);
    count.to_string()
}

/// The other two sets of system call numbers of this processor.
#[cfg(target_arch = "x86_64")]
fn old_calls() -> String {
    let x32: i64;
    // SAFETY: a system call that only reads (getpid), by its x32 number.
    unsafe {
        std::arch::asm!("syscall", inlateout("rax") 0x4000_0027_i64 => x32, out("rcx") _, out("r11") _);
    }
    // SAFETY: fork(), then in the child getpid() through the gate for 32-bit programs, which must end it.
    let status = unsafe {
        let pid: i64;
        std::arch::asm!("syscall", inlateout("rax") 57_i64 => pid, out("rcx") _, out("r11") _);
        if pid == 0 {
            std::arch::asm!("int 0x80", inlateout("rax") 20_i64 => _);
            std::arch::asm!("syscall", in("rax") 231_i64, in("rdi") 7_i64, options(noreturn));
        }
        let mut status = 0_i32;
        std::arch::asm!("syscall", inlateout("rax") 61_i64 => _, in("rdi") pid, in("rsi") &raw mut status,
            in("rdx") 0_i64, in("r10") 0_i64, out("rcx") _, out("r11") _);
        status
    };
    format!("[{x32},{status}]")
}

#[cfg(not(target_arch = "x86_64"))]
fn old_calls() -> String {
    format!("[{},{}]", -38, 31)
}

fn connect(port: u16) -> std::io::Result<TcpStream> {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port))
}

/// The next event and its request id.
fn next() -> (String, String) {
    let mut stream = connect(API).unwrap();
    stream.write_all(b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let (_, whole) = answer(&mut stream);
    let (head, body) = whole.split_once("\r\n\r\n").unwrap_or((&whole, ""));
    let id = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("lambda-runtime-aws-request-id").then(|| value.trim().to_owned())
    });
    (id.unwrap_or_default(), body.to_owned())
}

fn post(path: &str, body: &str) -> (u16, String) {
    let Ok(mut stream) = connect(API) else { return (0, String::new()) };
    let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
    if stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes())).is_err() {
        // Refused before all was sent: the answer may be there all the same.
    }
    answer(&mut stream)
}

/// The status and the whole text that came back.
fn answer(stream: &mut TcpStream) -> (u16, String) {
    let mut bytes = Vec::new();
    let mut part = [0; 4096];
    loop {
        match stream.read(&mut part) {
            Ok(0) | Err(_) => break,
            Ok(read) => bytes.extend(&part[..read]),
        }
        // Kept-alive connections do not end: the length says when all is there.
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
            });
            if length.is_some_and(|length| body.len() >= length) {
                break;
            }
        }
    }
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    (status, text)
}

/// The text of a member of a flat JSON object.
fn text(json: &str, name: &str) -> Option<String> {
    let rest = json.split_once(&format!("\"{name}\""))?.1.split_once(':')?.1.trim_start();
    match rest.strip_prefix('"') {
        Some(text) => Some(text.split('"').next()?.to_owned()),
        None => Some(rest.split([',', '}', ' ']).next()?.to_owned()),
    }
}
