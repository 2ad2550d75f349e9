//! Damaged and torn files: never a panic, never an event that was not written, never one twice.

use std::{collections::HashSet, fs, path::PathBuf};

use base_env::Env;
use proptest::prelude::*;
use store_segments::*;

use crate::support::*;

/// A directory with a journal and several segments, and the texts in it.
async fn filled() -> (tempfile::TempDir, HashSet<String>) {
    let folder = tempfile::tempdir().unwrap();
    let segments = open(folder.path(), small());
    let mut texts = HashSet::new();
    for number in 0..120 {
        let text = format!("event {number} {}", "w".repeat(number as usize % 40));
        segments.append(batch(GROUP, u128::from(number % 5), &[(number, &text)]), Durability::Buffered).await.unwrap();
        texts.insert(text);
    }
    (folder, texts)
}

fn files(folder: &tempfile::TempDir) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn read_what_is_left(folder: &tempfile::TempDir, texts: &HashSet<String>) -> usize {
    let (segments, _) = Segments::open(folder.path(), small(), Env::real()).unwrap();
    let mut seen = HashSet::new();
    let mut count = 0;
    for direction in [Direction::Forward, Direction::Backward] {
        let events = read(&segments, Query { direction, ..everything(GROUP) });
        count = events.len();
        seen.clear();
        for text in crate::support::texts(&events) {
            assert!(texts.contains(&text), "an event that nobody wrote: {text}");
            assert!(seen.insert(text), "an event came twice");
        }
    }
    segments.activity_since(0).ok();
    segments.group_bytes(GROUP).ok();
    count
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn damaged_bytes_are_noticed(
        damages in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 1..=255_u8), 1..6),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (folder, texts) = runtime.block_on(filled());
        for (file, at, flip) in damages {
            let files = files(&folder);
            let path = file.get(&files);
            let mut bytes = fs::read(path).unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            fs::write(path, bytes).unwrap();
        }
        read_what_is_left(&folder, &texts);
    }

    #[test]
    fn a_torn_file_keeps_what_is_before_the_tear(file in any::<prop::sample::Index>(), at in any::<prop::sample::Index>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (folder, texts) = runtime.block_on(filled());
        let files = files(&folder);
        let path = file.get(&files);
        let bytes = fs::read(path).unwrap();
        fs::write(path, &bytes[..at.index(bytes.len())]).unwrap();
        read_what_is_left(&folder, &texts);
    }
}

#[tokio::test]
async fn undamaged_everything_is_there() {
    let (folder, texts) = filled().await;
    assert_eq!(read_what_is_left(&folder, &texts), 120);
}

#[tokio::test]
async fn a_torn_journal_is_cut_and_written_on() {
    let folder = tempfile::tempdir().unwrap();
    let segments = open(folder.path(), Settings::default());
    for number in 0..3 {
        segments.append(batch(GROUP, 1, &[(number, "kept")]), Durability::Synced).await.unwrap();
    }
    drop(segments);
    let path = files(&folder).into_iter().find(|path| path.extension().is_some_and(|e| e == "journal")).unwrap();
    let mut bytes = fs::read(&path).unwrap();
    bytes.truncate(bytes.len() - 3);
    bytes.extend_from_slice(&[0xab; 50]);
    fs::write(&path, bytes).unwrap();
    let (segments, recovery) = Segments::open(folder.path(), Settings::default(), Env::real()).unwrap();
    assert_eq!((recovery.replayed_events, recovery.cut_bytes > 50), (2, true));
    segments.append(batch(GROUP, 1, &[(9, "after")]), Durability::Synced).await.unwrap();
    drop(segments);
    let segments = open(folder.path(), Settings::default());
    assert_eq!(texts(&read(&segments, everything(GROUP))), ["kept", "kept", "after"]);
}

#[tokio::test]
async fn files_that_a_crash_left_beside_their_replacement_do_not_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let segments = open(folder.path(), Settings { merge_count: 1000, ..small() });
    for number in 0..30 {
        segments.append(batch(GROUP, 1, &[(number, "some text")]), Durability::Buffered).await.unwrap();
    }
    segments.sync().await.unwrap();
    // A copy of everything, as if no removal had reached the disk.
    // One that is replaced just now is left out.
    let before: Vec<_> = files(&folder).into_iter().filter_map(|path| Some((fs::read(&path).ok()?, path))).collect();
    drop(segments);
    let segments = open(folder.path(), small());
    for number in 30..200 {
        segments.append(batch(GROUP, 1, &[(number, "some text")]), Durability::Buffered).await.unwrap();
    }
    segments.reclaim(Reclaim { streams: [(StreamId(99), GROUP)].into(), ..Reclaim::default() }).await.unwrap();
    drop(segments);
    let expected = read(&open(folder.path(), small()), everything(GROUP));
    assert_eq!(expected.len(), 200);
    let newest = files(&folder);
    let mut restored = 0;
    for (bytes, path) in before.iter().filter(|(_, path)| !newest.contains(path)) {
        // Only the direct replacement knows its predecessors: put back one at a time what it names.
        fs::write(path, bytes).unwrap();
        restored += 1;
        let reopened = open(folder.path(), Settings { merge_count: 1000, ..small() });
        let positions: Vec<_> = read(&reopened, everything(GROUP)).iter().map(|event| event.position).collect();
        assert!(positions.windows(2).all(|pair| pair[0] <= pair[1]));
        drop(reopened);
        fs::remove_file(path).ok();
    }
    assert!(restored > 0);
}
