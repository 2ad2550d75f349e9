//! AWS's published example, bodies that are wrong, and pieces of every size.

use proptest::prelude::*;

use super::*;

/// The example of the S3 API Reference: 65 KiB of the letter `a`, in chunks of 64 KiB.
fn example_chain() -> Chain {
    let key = SigningKey::derive("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "20130524", "us-east-1", "s3");
    Chain {
        key,
        signed_at: Timestamp::parse_basic("20130524T000000Z").unwrap(),
        scope: "20130524/us-east-1/s3/aws4_request".to_owned(),
        previous: "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9".to_owned(),
    }
}

const SIGNATURES: [&str; 3] = [
    "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
    "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
    "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
];

fn example_body() -> Vec<u8> {
    let mut body = Vec::new();
    for (length, signature) in [65_536_usize, 1024, 0].into_iter().zip(SIGNATURES) {
        body.extend(format!("{length:x};chunk-signature={signature}\r\n").into_bytes());
        body.extend(vec![b'a'; length]);
        body.extend(b"\r\n");
    }
    body
}

type Read = (Vec<u8>, Vec<(String, String)>);

fn read(mut chunked: Chunked, body: &[u8], step: usize) -> Result<Read, ChunkError> {
    let mut payload = Vec::new();
    for part in body.chunks(step.max(1)) {
        let mut part = Bytes::copy_from_slice(part);
        while let Some(piece) = chunked.next(&mut part)? {
            payload.extend_from_slice(&piece);
        }
    }
    Ok((payload, chunked.finish()?))
}

#[test]
fn the_published_example_is_read_whatever_the_pieces() {
    for step in [1, 7, 1000, 65_536, 1 << 20] {
        let (payload, trailers) = read(Chunked::new(Some(example_chain()), false), &example_body(), step).unwrap();
        assert_eq!((payload.len(), payload.iter().all(|byte| *byte == b'a')), (66_560, true), "{step}");
        assert!(trailers.is_empty());
    }
}

#[test]
fn a_chunk_that_was_changed_moved_or_left_out_is_a_mismatch() {
    let body = example_body();
    let signed = |body: &[u8]| read(Chunked::new(Some(example_chain()), false), body, 4096).unwrap_err();
    let mut changed = body.clone();
    changed[70_000 - 4_000] = b'b';
    assert_eq!(signed(&changed), ChunkError::Mismatch);
    let second = body.windows(5).position(|window| window == b"400;c").unwrap();
    assert_eq!(signed(&body[second..]), ChunkError::Mismatch, "the first is missing");
    let last = body.windows(4).rposition(|window| window == b"\r\n0;").unwrap() + 2;
    assert_eq!(signed(&[&body[..second], &body[last..]].concat()), ChunkError::Mismatch, "the second is missing");
    assert_eq!(signed(&body[..last]), ChunkError::Incomplete);
    assert_eq!(signed(&body[..body.len() / 2]), ChunkError::Incomplete);
}

#[test]
fn trailers_come_with_and_without_signatures() {
    let body = b"5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nx-amz-checksum-crc32: DUoRhQ==\r\n\r\n";
    let (payload, trailers) = read(Chunked::new(None, true), body, 3).unwrap();
    assert_eq!(payload, b"hello world");
    assert_eq!(trailers, [("x-amz-checksum-crc32".to_owned(), "DUoRhQ==".to_owned())]);
    let mut chain = example_chain();
    let last = chain.of_chunk(&Sha256::digest(b""));
    chain.previous.clone_from(&last);
    let signature = chain.of_trailers(&Sha256::digest(b"x-amz-checksum-crc32:AAAAAA==\n"));
    let body = |signature: &str| {
        format!(
            "0;chunk-signature={last}\r\nx-amz-checksum-crc32:AAAAAA==\r\nx-amz-trailer-signature:{signature}\r\n\r\n"
        )
    };
    let signed = |body: &str| read(Chunked::new(Some(example_chain()), true), body.as_bytes(), 11);
    assert_eq!(signed(&body(&signature)).unwrap().1.len(), 1);
    assert_eq!(signed(&body(&last)).unwrap_err(), ChunkError::Mismatch);
    let unsigned = format!("0;chunk-signature={last}\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n");
    assert!(matches!(signed(&unsigned).unwrap_err(), ChunkError::Malformed(_)));
    assert_eq!(signed(&format!("0;chunk-signature={last}\r\n")).unwrap_err(), ChunkError::Incomplete);
}

#[test]
fn what_is_not_in_chunks_is_refused() {
    for body in [
        "x\r\n",
        "\r\n",
        "-1\r\n",
        "+1\r\na\r\n",
        "ffffffffffffffffff\r\n",
        "1\r\nab\r\n",
        "0\r\n\r\nmore",
        "0\r\nno colon\r\n\r\n",
        "0\r\na:1\r\nA:2\r\n\r\n",
        "0\r\n:1\r\n\r\n",
    ] {
        let error = read(Chunked::new(None, true), body.as_bytes(), 2).unwrap_err();
        assert!(matches!(error, ChunkError::Malformed(_)), "{body:?}: {error:?}");
    }
    for body in ["", "1", "1\r\n", "1\r\na", "1\r\na\r\n", "0\r\na:1\r\n"] {
        assert_eq!(read(Chunked::new(None, true), body.as_bytes(), 2), Err(ChunkError::Incomplete), "{body:?}");
    }
    let announced = read(Chunked::new(None, false), b"0\r\na:1\r\n\r\n", 4).unwrap_err();
    assert!(matches!(announced, ChunkError::Malformed(_)));
    let long = format!("0\r\na:{}\r\n\r\n", "x".repeat(LINE_MAX));
    assert!(matches!(read(Chunked::new(None, true), long.as_bytes(), 64), Err(ChunkError::Malformed(_))));
    let many: String = (0..2000).map(|n| format!("x-trailer-{n}:value\r\n")).collect();
    assert!(matches!(
        read(Chunked::new(None, true), format!("0\r\n{many}\r\n").as_bytes(), 64),
        Err(ChunkError::Malformed(_))
    ));
}

proptest! {
    #[test]
    fn every_payload_comes_back_however_it_is_cut(
        payload in proptest::collection::vec(any::<u8>(), 0..400),
        chunk in 1_usize..100,
        step in 1_usize..50,
    ) {
        let mut body = Vec::new();
        for part in payload.chunks(chunk) {
            body.extend(format!("{:X}\r\n", part.len()).into_bytes());
            body.extend_from_slice(part);
            body.extend(b"\r\n");
        }
        body.extend(b"0\r\n\r\n");
        prop_assert_eq!(read(Chunked::new(None, false), &body, step), Ok((payload, Vec::new())));
    }

    #[test]
    fn whatever_the_bytes_nothing_panics(body in proptest::collection::vec(any::<u8>(), 0..300), step in 1_usize..50) {
        drop(read(Chunked::new(None, true), &body, step));
        drop(read(Chunked::new(Some(example_chain()), true), &body, step));
    }
}
