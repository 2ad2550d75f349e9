//! A function's name server: takes its queries, asks the host's name servers, hands the answers back.
//!
//! Guarantees: only plain questions go out, one at a time in a message of our own making (the function chooses the name and
//! the type, nothing else); answers are believed only with the number and the question that were asked; queries in flight,
//! connections, sizes and waits are bounded. What is refused is answered with the code for it.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use base_env::Env;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    task::JoinSet,
};

/// The host's list of name servers.
const CONFIGURATION: &str = "/etc/resolv.conf";
const PORT: u16 = 53;
/// As many as the C library asks.
const SERVERS_MAX: usize = 3;
const QUERIES_MAX: usize = 64;
const STREAMS_MAX: usize = 8;
const QUERY_BYTES_MAX: usize = 1232;
const ANSWER_BYTES_MAX: usize = 65_535;
/// How long one name server may take, and a connection to us be silent.
const SERVER_WAIT: Duration = Duration::from_secs(3);
const STREAM_IDLE_MAX: Duration = Duration::from_secs(10);

const HEADER_BYTES: usize = 12;
const FORMAT_ERROR: u8 = 1;
const SERVER_FAILURE: u8 = 2;
const NOT_IMPLEMENTED: u8 = 4;
const REFUSED: u8 = 5;
const CLASS_INTERNET: u16 = 1;
/// A NS CNAME SOA PTR HINFO MX TXT AAAA LOC SRV NAPTR DS SSHFP DNSKEY TLSA SVCB HTTPS URI CAA.
const TYPES: [u16; 21] = [1, 2, 5, 6, 12, 13, 15, 16, 28, 29, 33, 35, 43, 44, 48, 52, 64, 65, 256, 257, 46];
const TYPE_OPTIONS: u16 = 41;

/// How the function asked; its answer comes the same way.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Transport {
    Datagram,
    Stream,
}

/// A question that may be asked.
#[derive(Debug, PartialEq, Eq)]
struct Question {
    number: [u8; 2],
    /// Recursion desired, authentic data, checking disabled.
    flags: [u8; 2],
    /// Name, type, class.
    bytes: Vec<u8>,
    /// It carried options: whether signatures are wanted.
    options: Option<bool>,
}

/// What a query is answered with when it is not asked.
#[derive(Debug, PartialEq, Eq)]
enum Unasked {
    /// Nothing: it is no query.
    Silence,
    Code(u8),
}

/// Serves until it is dropped.
pub(super) async fn serve(queries: UdpSocket, streams: TcpListener, env: Env) {
    tokio::join!(serve_datagrams(Arc::new(queries), env.clone()), serve_streams(streams, env));
}

async fn serve_datagrams(socket: Arc<UdpSocket>, env: Env) {
    let mut asking = JoinSet::new();
    let mut buffer = [0; QUERY_BYTES_MAX];
    loop {
        let (length, peer) = tokio::select! {
            received = socket.recv_from(&mut buffer) => match received {
                Ok(received) => received,
                // An earlier answer found nobody.
                Err(error) => {
                    tracing::debug!(%error, "a function's query was not received");
                    env.sleep(Duration::from_millis(1)).await;
                    continue;
                }
            },
            Some(_) = asking.join_next() => continue,
        };
        // Beyond the bound a query is lost, which its asker knows how to handle.
        if asking.len() < QUERIES_MAX {
            let (query, socket, env) = (buffer[..length].to_vec(), Arc::clone(&socket), env.clone());
            asking.spawn(async move {
                if let Some(answer) = answer(&query, Transport::Datagram, &env).await {
                    // Who asked may be gone.
                    drop(socket.send_to(&answer, peer).await);
                }
            });
        }
    }
}

async fn serve_streams(listener: TcpListener, env: Env) {
    let mut open = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = open.join_next() => continue,
        };
        match accepted {
            Ok((stream, _)) if open.len() < STREAMS_MAX => drop(open.spawn(serve_stream(stream, env.clone()))),
            Ok(_) => {}
            Err(_) => env.sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn serve_stream(mut stream: TcpStream, env: Env) {
    loop {
        let Ok(Ok(query)) = env.timeout(STREAM_IDLE_MAX, read_framed(&mut stream, QUERY_BYTES_MAX)).await else {
            return;
        };
        let Some(answer) = answer(&query, Transport::Stream, &env).await else { return };
        if write_framed(&mut stream, &answer).await.is_err() {
            return;
        }
    }
}

async fn read_framed(stream: &mut TcpStream, most: usize) -> io::Result<Vec<u8>> {
    let length = usize::from(stream.read_u16().await?);
    if length > most {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}

async fn write_framed(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
    let length = u16::try_from(bytes.len()).map_err(io::Error::other)?;
    let mut framed = Vec::with_capacity(2 + bytes.len());
    framed.extend(length.to_be_bytes());
    framed.extend(bytes);
    stream.write_all(&framed).await
}

/// The answer to a query; none when it deserves none.
async fn answer(query: &[u8], transport: Transport, env: &Env) -> Option<Vec<u8>> {
    let question = match parse(query) {
        Ok(question) => question,
        Err(Unasked::Silence) => return None,
        Err(Unasked::Code(code)) => return Some(refusal(query, code)),
    };
    for server in servers(&std::fs::read_to_string(CONFIGURATION).unwrap_or_default()) {
        let mut number = [0; 2];
        env.fill(&mut number);
        let message = message(&question, number);
        let asked = match transport {
            Transport::Datagram => env.timeout(SERVER_WAIT, ask_datagram(server, &message, &question, number)).await,
            Transport::Stream => env.timeout(SERVER_WAIT, ask_stream(server, &message, &question, number)).await,
        };
        if let Ok(Ok(mut answer)) = asked {
            answer[..2].copy_from_slice(&question.number);
            return Some(answer);
        }
    }
    Some(refusal(query, SERVER_FAILURE))
}

async fn ask_datagram(server: SocketAddr, message: &[u8], question: &Question, number: [u8; 2]) -> io::Result<Vec<u8>> {
    let any: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    // A socket for each question: the kernel chooses another port each time, and lets only this server answer.
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(message).await?;
    let mut buffer = vec![0; 4096];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if belongs(&buffer[..length], question, number) {
            buffer.truncate(length);
            return Ok(buffer);
        }
    }
}

async fn ask_stream(server: SocketAddr, message: &[u8], question: &Question, number: [u8; 2]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    write_framed(&mut stream, message).await?;
    let answer = read_framed(&mut stream, ANSWER_BYTES_MAX).await?;
    if belongs(&answer, question, number) { Ok(answer) } else { Err(io::ErrorKind::InvalidData.into()) }
}

/// Whether it answers this question.
fn belongs(answer: &[u8], question: &Question, number: [u8; 2]) -> bool {
    let end = HEADER_BYTES + question.bytes.len();
    answer.len() >= end
        && answer[..2] == number
        && answer[2] & 0x80 != 0
        && answer[4..6] == [0, 1]
        && answer[HEADER_BYTES..end].eq_ignore_ascii_case(&question.bytes)
}

/// The message that is sent for a question.
fn message(question: &Question, number: [u8; 2]) -> Vec<u8> {
    let mut message = Vec::with_capacity(HEADER_BYTES + question.bytes.len() + 11);
    message.extend(number);
    message.extend(question.flags);
    message.extend([0, 1, 0, 0, 0, 0, 0, u8::from(question.options.is_some())]);
    message.extend(&question.bytes);
    if let Some(signatures) = question.options {
        message.push(0);
        message.extend(TYPE_OPTIONS.to_be_bytes());
        message.extend(u16::try_from(QUERY_BYTES_MAX).unwrap_or(512).to_be_bytes());
        message.extend([0, 0, if signatures { 0x80 } else { 0 }, 0, 0, 0]);
    }
    message
}

/// The query's own head and question with a code.
fn refusal(query: &[u8], code: u8) -> Vec<u8> {
    let mut answer = query[..HEADER_BYTES].to_vec();
    answer[2] = 0x80 | query[2] & 0x79;
    answer[3] = 0x80 | code;
    answer[6..].fill(0);
    match parse_name(query, HEADER_BYTES).and_then(|end| query.get(HEADER_BYTES..end + 4)) {
        Some(question) if query[4..6] == [0, 1] => answer.extend(question),
        _ => answer[4..6].fill(0),
    }
    answer
}

fn parse(query: &[u8]) -> Result<Question, Unasked> {
    let Some(head) = query.first_chunk::<HEADER_BYTES>() else { return Err(Unasked::Silence) };
    if head[2] & 0x80 != 0 {
        return Err(Unasked::Silence);
    }
    if head[2] & 0x78 != 0 {
        return Err(Unasked::Code(NOT_IMPLEMENTED));
    }
    if head[4..10] != [0, 1, 0, 0, 0, 0] || head[10] != 0 || head[11] > 1 {
        return Err(Unasked::Code(FORMAT_ERROR));
    }
    let malformed = Unasked::Code(FORMAT_ERROR);
    let Some(name_end) = parse_name(query, HEADER_BYTES) else { return Err(malformed) };
    let Some([t1, t2, c1, c2]) = query.get(name_end..).and_then(|rest| rest.first_chunk()).copied() else {
        return Err(malformed);
    };
    let end = name_end + 4;
    let options = match (head[11], query.get(end..)) {
        (0, _) => None,
        // The root's name, the type, size, extended code, version, flags.
        (_, Some([0, a, b, _, _, _, _, flags, ..])) if u16::from_be_bytes([*a, *b]) == TYPE_OPTIONS => {
            Some(flags & 0x80 != 0)
        }
        _ => return Err(malformed),
    };
    if !TYPES.contains(&u16::from_be_bytes([t1, t2])) || u16::from_be_bytes([c1, c2]) != CLASS_INTERNET {
        return Err(Unasked::Code(REFUSED));
    }
    Ok(Question {
        number: [head[0], head[1]],
        flags: [head[2] & 0x01, head[3] & 0x30],
        bytes: query[HEADER_BYTES..end].to_vec(),
        options,
    })
}

/// Where the name that begins at `at` ends; none when it is no plain name.
fn parse_name(bytes: &[u8], mut at: usize) -> Option<usize> {
    let begin = at;
    loop {
        let length = usize::from(*bytes.get(at)?);
        at += 1 + length;
        // Longer labels are pointers or unknown; a whole name has at most 255 bytes.
        if length > 63 || at - begin > 255 {
            return None;
        }
        if length == 0 {
            return Some(at);
        }
    }
}

/// The name servers in the host's configuration.
fn servers(configuration: &str) -> Vec<SocketAddr> {
    let named = configuration.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        if words.next() != Some("nameserver") {
            return None;
        }
        Some(SocketAddr::new(words.next()?.parse().ok()?, PORT))
    });
    named.take(SERVERS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(name: &str, kind: u16) -> Vec<u8> {
        let mut bytes = vec![0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.').filter(|label| !label.is_empty()) {
            bytes.push(label.len() as u8);
            bytes.extend(label.as_bytes());
        }
        bytes.push(0);
        bytes.extend(kind.to_be_bytes());
        bytes.extend([0, 1]);
        bytes
    }

    #[test]
    fn a_plain_question_is_asked_in_a_message_of_our_own() {
        let asked = query("example.com", 28);
        let question = parse(&asked).unwrap();
        assert_eq!((question.number, question.flags, question.options), ([0xab, 0xcd], [1, 0], None));
        let mut expected = asked.clone();
        expected[..2].copy_from_slice(&[7, 8]);
        assert_eq!(message(&question, [7, 8]), expected);
        let mut with_options = asked;
        with_options[11] = 1;
        with_options.extend([0, 0, 41, 16, 0, 0, 0, 0x80, 0, 0, 3, 9, 9, 9]);
        let question = parse(&with_options).unwrap();
        assert_eq!(question.options, Some(true));
        // What the function put into its options does not go out.
        assert!(message(&question, [7, 8]).ends_with(&[0, 0, 41, 0x04, 0xd0, 0, 0, 0x80, 0, 0, 0]));
    }

    #[test]
    fn everything_else_is_answered_with_its_code_or_not_at_all() {
        let with = |at: usize, byte: u8| {
            let mut bytes = query("example.com", 1);
            bytes[at] = byte;
            bytes
        };
        for (what, bytes, expected) in [
            ("too short", vec![0; 11], Unasked::Silence),
            ("an answer", with(2, 0x81), Unasked::Silence),
            ("an update", with(2, 0x28), Unasked::Code(NOT_IMPLEMENTED)),
            ("no question", with(5, 0), Unasked::Code(FORMAT_ERROR)),
            ("two questions", with(5, 2), Unasked::Code(FORMAT_ERROR)),
            ("records", with(7, 1), Unasked::Code(FORMAT_ERROR)),
            ("a pointer in the name", with(12, 0xc0), Unasked::Code(FORMAT_ERROR)),
            ("a name without end", with(12, 60), Unasked::Code(FORMAT_ERROR)),
            ("anything", query("example.com", 255), Unasked::Code(REFUSED)),
            ("a whole zone", query("example.com", 252), Unasked::Code(REFUSED)),
            ("another class", with(28, 3), Unasked::Code(REFUSED)),
            ("options that are none", with(11, 1), Unasked::Code(FORMAT_ERROR)),
        ] {
            assert_eq!(parse(&bytes), Err(expected), "{what}");
        }
        let long = vec!["a".repeat(63); 5].join(".");
        assert_eq!(parse(&query(&long, 1)), Err(Unasked::Code(FORMAT_ERROR)));
    }

    #[test]
    fn a_refusal_repeats_the_question_and_nothing_else() {
        let mut asked = query("example.com", 255);
        asked.extend([1, 2, 3]);
        let answer = refusal(&asked, REFUSED);
        assert_eq!(&answer[..12], [0xab, 0xcd, 0x81, 0x85, 0, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(answer[12..], asked[12..asked.len() - 3]);
        let broken = refusal(&[1, 2, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0xff], FORMAT_ERROR);
        assert_eq!(broken, [1, 2, 0x80, 0x81, 0, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn only_the_answer_to_the_question_is_believed() {
        let question = parse(&query("example.com", 1)).unwrap();
        let mut answer = message(&question, [7, 8]);
        answer[2] |= 0x80;
        assert!(belongs(&answer, &question, [7, 8]));
        answer[13] = b'E';
        assert!(belongs(&answer, &question, [7, 8]), "names are equal whatever their case");
        assert!(!belongs(&answer, &question, [7, 9]));
        assert!(!belongs(&answer[..20], &question, [7, 8]));
        answer[14] = b'y';
        assert!(!belongs(&answer, &question, [7, 8]));
    }

    #[test]
    fn the_hosts_name_servers_are_found() {
        let text = "# a comment\nsearch lan\nnameserver 192.0.2.1\nnameserver  fd00::53 # second\nnameserver x\nnameserver 1.1.1.1\nnameserver 9.9.9.9\n";
        let expected = ["192.0.2.1:53", "[fd00::53]:53", "1.1.1.1:53"].map(|text| text.parse().unwrap());
        assert_eq!(servers(text), expected);
    }
}
